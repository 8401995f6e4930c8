// SPDX-License-Identifier: Apache-2.0
//! Addresses, devices and the kernel's tables.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{ConfigError, Settings};

/// A table of connections: 1Ki to 16Mi entries, as in 1.4.
const CONNECTIONS: std::ops::RangeInclusive<u32> = 1 << 10..=1 << 24;
/// Lengths that an IPv4 pod range can have: enough for the router, the node's network and one pod.
const RANGE_BITS: std::ops::RangeInclusive<u8> = 8..=29;
/// The length that 1.4 asks of an IPv6 pod range.
const RANGE6_BITS: u8 = 96;
/// The length that 1.4 asks of the prefix that all nodes share.
const CLUSTER6_BITS: u8 = 64;
/// The smallest MTU that IPv6 allows, and the largest that IP can say.
const MTU: std::ops::RangeInclusive<u32> = 1280..=65535;
/// Longest name of a device: `IFNAMSIZ` without its final zero.
const DEVICE_NAME_LIMIT: usize = 15;

/// What was said of one address family that is switched on. `None` is for what is to be found out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddressFamily<Net, Address> {
    /// The pods' addresses on this node.
    pub range: Option<Net>,
    /// The node's address.
    pub node: Option<Address>,
}

/// Addresses, devices and the kernel's tables.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    /// IPv4, if it is on.
    pub ipv4: Option<AddressFamily<Ipv4Net, Ipv4Addr>>,
    /// IPv6, if it is on.
    pub ipv6: Option<AddressFamily<Ipv6Net, Ipv6Addr>>,
    /// Length of the IPv4 prefix that all nodes' pods share.
    pub ipv4_cluster_bits: u8,
    /// The IPv6 prefix that all nodes' pods share.
    pub ipv6_cluster: Ipv6Net,
    /// The device towards other nodes; `None`: that of the default route.
    pub device: Option<String>,
    /// The pods' MTU, bytes; `None`: that of the device.
    pub mtu: Option<u32>,
    /// Whether packets that leave the cluster get the node's address.
    pub masquerade: bool,
    /// TCP connections that are tracked, per family.
    pub connections_tcp: u32,
    /// Other connections that are tracked, per family.
    pub connections_any: u32,
    /// Whether hash maps take their memory at once.
    pub preallocate: bool,
}

impl Network {
    pub(super) fn parse(settings: &Settings) -> Result<Self, ConfigError> {
        let ipv4 = family(settings, ["enable-ipv4", "ipv4-range", "ipv4-node"], "IPv4")?;
        let ipv6 = family(settings, ["enable-ipv6", "ipv6-range", "ipv6-node"], "IPv6")?;
        if ipv4.is_none() && ipv6.is_none() {
            return Err(ConfigError::Contradiction(format!(
                "{} and {} are both false: pods need one of them",
                settings.origin("enable-ipv4"),
                settings.origin("enable-ipv6")
            )));
        }
        let ipv4_cluster_bits = settings.number("ipv4-cluster-cidr-mask-size", 1..=32)? as u8;
        if let Some(range) = ipv4.and_then(|family: AddressFamily<Ipv4Net, Ipv4Addr>| family.range) {
            check_range4(settings, range, ipv4_cluster_bits)?;
        }
        if let Some(range) = ipv6.and_then(|family: AddressFamily<Ipv6Net, Ipv6Addr>| family.range)
            && (range.prefix_len() != RANGE6_BITS || range.addr() != range.network())
        {
            return Err(settings.invalid("ipv6-range", "must be a /96 without host bits"));
        }
        Ok(Self {
            ipv4,
            ipv6,
            ipv4_cluster_bits,
            ipv6_cluster: cluster6(settings)?,
            device: device(settings)?,
            mtu: match settings.text("mtu") {
                "0" => None,
                _ => Some(settings.number("mtu", MTU)?),
            },
            masquerade: settings.switch("masquerade")?,
            connections_tcp: settings.number("bpf-ct-global-tcp-max", CONNECTIONS)?,
            connections_any: settings.number("bpf-ct-global-any-max", CONNECTIONS)?,
            preallocate: settings.switch("preallocate-bpf-maps")?,
        })
    }
}

/// One family's options: whether it is on, its range, the node's address.
fn family<Net: std::str::FromStr, Address: std::str::FromStr>(
    settings: &Settings,
    [enable, range, node]: [&'static str; 3],
    name: &str,
) -> Result<Option<AddressFamily<Net, Address>>, ConfigError> {
    let parsed = AddressFamily {
        range: settings.value_unless(range, "auto", &format!("auto or an {name} prefix"))?,
        node: settings.value_unless(node, "auto", &format!("auto or an {name} address"))?,
    };
    if settings.switch(enable)? {
        return Ok(Some(parsed));
    }
    let said = [(range, parsed.range.is_some()), (node, parsed.node.is_some())];
    match said.into_iter().find(|(_, said)| *said) {
        Some((other, _)) => Err(ConfigError::Contradiction(format!(
            "{} is set and {} is false: leave one of them out",
            settings.origin(other),
            settings.origin(enable)
        ))),
        None => Ok(None),
    }
}

fn check_range4(settings: &Settings, range: Ipv4Net, cluster_bits: u8) -> Result<(), ConfigError> {
    let (bits, short, long) = (range.prefix_len(), *RANGE_BITS.start(), *RANGE_BITS.end());
    if !RANGE_BITS.contains(&bits) || range.addr() != range.network() {
        let problem = format!("must be a prefix of {short} to {long} bits without host bits");
        return Err(settings.invalid("ipv4-range", problem));
    }
    if bits < cluster_bits {
        return Err(ConfigError::Contradiction(format!(
            "{}: the node's prefix {range} is wider than the cluster's, which has {cluster_bits} bits ({})",
            settings.origin("ipv4-range"),
            settings.origin("ipv4-cluster-cidr-mask-size"),
        )));
    }
    Ok(())
}

fn cluster6(settings: &Settings) -> Result<Ipv6Net, ConfigError> {
    const NAME: &str = "ipv6-cluster-alloc-cidr";
    let refused = || settings.invalid(NAME, "must be an IPv6 prefix of 64 bits without host bits");
    settings
        .text(NAME)
        .parse()
        .ok()
        .filter(|net: &Ipv6Net| net.prefix_len() == CLUSTER6_BITS && net.addr() == net.network())
        .ok_or_else(refused)
}

fn device(settings: &Settings) -> Result<Option<String>, ConfigError> {
    match settings.text("device") {
        "" | "undefined" => Ok(None),
        name if name.len() > DEVICE_NAME_LIMIT || name.contains(['/', ' ', ':']) => {
            Err(settings.invalid("device", "is no name that a device can have"))
        }
        name => Ok(Some(name.into())),
    }
}
