// SPDX-License-Identifier: Apache-2.0
//! Services: which are there, how backends are chosen, how large the kernel's tables are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use addr::{Port, PortRange};
use ipnet::IpNet;
use loadbalancer::Algorithm;

use super::{ConfigError, Settings};

/// Rows of frontends: their ids have 16 bits, and 0 is none.
const FRONTENDS: std::ops::RangeInclusive<u32> = 1..=65_535;
/// Rows of slots, of backends and of source ranges: up to 16Mi, as for connections.
const ROWS: std::ops::RangeInclusive<u32> = 1..=1 << 24;

/// Which services there are, and how they are brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Services {
    /// Whether services of Kubernetes are taken from the sources.
    pub kubernetes: bool,
    /// Where NodePorts are.
    pub node_ports: PortRange,
    /// How backends are chosen.
    pub algorithm: Algorithm,
    /// Whether backends on other nodes answer clients outside themselves.
    pub dsr: bool,
    /// Whether sockets are translated, where the kernel can.
    pub sockets: bool,
    /// Whose sockets: a control group of version 2. `None`: to be found, or mounted.
    pub cgroup_root: Option<PathBuf>,
    /// Frontends of both families and scopes together, and clients with affinity.
    pub frontends_max: u32,
    /// Rows of slots.
    pub slots_max: u32,
    /// Rows of backends.
    pub backends_max: u32,
    /// Rows of source ranges, per family.
    pub source_ranges_max: u32,
    /// Whom a pod sees as its client when it reaches itself through a service.
    pub loopback4: Ipv4Addr,
    /// The same over IPv6.
    pub loopback6: Ipv6Addr,
}

impl Services {
    const LOOPBACK4: &str = "ipv4-service-loopback-address";
    const LOOPBACK6: &str = "ipv6-service-loopback-address";

    pub(super) fn parse(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            kubernetes: !settings.switch("disable-k8s-services")?,
            node_ports: node_ports(settings)?,
            algorithm: algorithm(settings)?,
            dsr: settings.word("bpf-lb-mode", &[("snat", false), ("dsr", true)])?,
            sockets: settings.switch("bpf-lb-sock")?,
            cgroup_root: settings.path("cgroup-root")?,
            frontends_max: settings.number("bpf-lb-map-max", FRONTENDS)?,
            slots_max: settings.number("bpf-lb-slot-map-max", ROWS)?,
            backends_max: settings.number("bpf-lb-backend-map-max", ROWS)?,
            source_ranges_max: settings.number("bpf-lb-source-range-map-max", ROWS)?,
            loopback4: loopback(settings, Self::LOOPBACK4, "an IPv4 address")?,
            loopback6: loopback(settings, Self::LOOPBACK6, "an IPv6 address")?,
        })
    }

    /// Whether the loopback addresses are nobody else's: a pod would take what another sends it for its own.
    ///
    /// # Errors
    /// [`ConfigError::Contradiction`] that names the flag and who has the address.
    pub fn check_loopback(&self, pods: &[IpNet], node: &[IpAddr]) -> Result<(), ConfigError> {
        let addresses =
            [(Self::LOOPBACK4, IpAddr::V4(self.loopback4)), (Self::LOOPBACK6, IpAddr::V6(self.loopback6))];
        for (name, address) in addresses {
            let owner = match pods.iter().find(|range| range.contains(&address)) {
                Some(range) => format!("of this node's pods, {range}"),
                None if node.contains(&address) => "one of this node".into(),
                None => continue,
            };
            return Err(ConfigError::Contradiction(format!(
                "--{name}={address}: is an address {owner}; give one that nobody has"
            )));
        }
        Ok(())
    }
}

fn node_ports(settings: &Settings) -> Result<PortRange, ConfigError> {
    const NAME: &str = "node-port-range";
    let refused =
        |problem: &str| settings.invalid(NAME, format!("{problem}: write FIRST,LAST, such as 30000,32767"));
    let text = settings.list(NAME).join(",");
    let parse =
        |text: &str| text.trim().parse::<Port>().map_err(|_| refused("must be two ports from 1 to 65535"));
    let (first, last) = text.split_once(',').ok_or_else(|| refused("must be two ports"))?;
    let (first, last) = (parse(first)?, parse(last)?);
    PortRange::new(first, last).map_err(|_| refused("its first port is behind its last"))
}

fn algorithm(settings: &Settings) -> Result<Algorithm, ConfigError> {
    const SIZE: &str = "bpf-lb-maglev-table-size";
    let size = settings.text(SIZE).parse().ok().filter(|size| Algorithm::TABLE_SIZES.contains(size));
    let table_size = size.ok_or_else(|| {
        let sizes: Vec<_> = Algorithm::TABLE_SIZES.iter().map(ToString::to_string).collect();
        settings.invalid(SIZE, format!("must be one of {}", sizes.join(", ")))
    })?;
    settings.word(
        "bpf-lb-algorithm",
        &[("random", Algorithm::Random), ("maglev", Algorithm::Maglev { table_size })],
    )
}

/// An address that can be a source on the wire between a pod and itself.
fn loopback<A: std::str::FromStr + Copy + Into<IpAddr>>(
    settings: &Settings,
    name: &'static str,
    expected: &str,
) -> Result<A, ConfigError> {
    let address: A =
        settings.text(name).parse().map_err(|_| settings.invalid(name, format!("must be {expected}")))?;
    let general: IpAddr = address.into();
    if general.is_unspecified() || general.is_multicast() || general.is_loopback() {
        let problem =
            "the kernel refuses packets from it: write a link-local or private address that nobody has";
        return Err(settings.invalid(name, problem));
    }
    Ok(address)
}
