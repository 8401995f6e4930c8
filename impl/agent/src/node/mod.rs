// SPDX-License-Identifier: Apache-2.0
//! This node on the network: its device, its addresses, the prefixes of its pods.

mod facts;
mod ports;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::config::Network;
pub use facts::{Device, Facts};
pub use ports::{PortWatch, warn_of_overlap};

/// The MTU where there is no device to ask: Ethernet's.
const DEFAULT_MTU: u32 = 1500;
/// How many bits an automatic IPv4 range has, as in 1.4.
const AUTO_BITS: u8 = 16;
/// How many bits an automatic IPv6 range has, as in 1.4.
const AUTO_BITS6: u8 = 96;

/// Why the agent does not know what addresses to give to pods.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The kernel does not tell.
    #[error(transparent)]
    Netlink(#[from] netlink::NetlinkError),
    /// The namespace of this process cannot be opened.
    #[error(transparent)]
    NetNs(#[from] netlink::NetNsError),
    /// `--device` is not there.
    #[error("--device={0:?}: there is no such device")]
    NoDevice(String),
    /// Nothing to derive a range from.
    #[error("--{0}=auto: this node has no global IPv4 address to derive it from; give --{0} a prefix")]
    NoAddress(&'static str),
    /// Packets that leave need an address to come back to.
    #[error(
        "--masquerade: device {0:?} has no IPv4 address; give it one, or --masquerade=false if pods' addresses are routed"
    )]
    NothingToMasqueradeWith(String),
}

/// One family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Addressing<Net, Address> {
    /// The pods' addresses on this node.
    pub range: Net,
    /// The pods' gateway: `cilium_host`.
    pub router: Address,
    /// Where others reach this node.
    #[serde(skip, default = "Option::default")]
    pub node: Option<Address>,
}

/// What the agent after this one needs to give the same addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kept {
    /// IPv4.
    pub ipv4: Option<Addressing<Ipv4Net, Ipv4Addr>>,
    /// IPv6.
    pub ipv6: Option<Addressing<Ipv6Net, Ipv6Addr>>,
}

/// This node on the network.
#[derive(Clone, Debug)]
pub struct Node {
    /// The device towards other nodes, if there is one.
    pub device: Option<String>,
    /// The pods' MTU, bytes.
    pub mtu: u32,
    /// IPv4, if it is on.
    pub ipv4: Option<Addressing<Ipv4Net, Ipv4Addr>>,
    /// IPv6, if it is on.
    pub ipv6: Option<Addressing<Ipv6Net, Ipv6Addr>>,
    /// Prefixes inside the pods' ranges that others use: addresses and local routes.
    pub reserved: Vec<IpNet>,
}

impl Node {
    /// What the addresses and prefixes are, from what was said, what is the case and what was before.
    ///
    /// # Errors
    /// [`NodeError`] where none of them tells.
    pub fn decide(network: &Network, facts: &Facts, kept: Kept) -> Result<Self, NodeError> {
        let device = match &network.device {
            Some(name) => Some(facts.device(name).ok_or_else(|| NodeError::NoDevice(name.clone()))?),
            None => facts.default_device(),
        };
        let said4 = network.ipv4.and_then(|family| family.node);
        let said6 = network.ipv6.and_then(|family| family.node);
        let node4 = said4.or_else(|| facts.address(device, v4));
        let node6 = said6.or_else(|| facts.address(device, v6));
        let auto4 = || node4.map(automatic4);
        let ipv4 = match network.ipv4 {
            None => None,
            Some(family) => {
                let range = family.range.or(kept.ipv4.map(|kept| kept.range)).or_else(auto4);
                let range = range.ok_or(NodeError::NoAddress("ipv4-range"))?;
                let router = kept.ipv4.map(|kept| kept.router).filter(|router| is_host4(range, *router));
                let router = router.unwrap_or_else(|| first4(range));
                Some(Addressing { range, router, node: node4 })
            }
        };
        let ipv6 = match network.ipv6 {
            None => None,
            Some(family) => {
                let derived = || ipv4.map(|ipv4| ipv4.range).or_else(auto4);
                let auto = || derived().map(|range| automatic6(network.ipv6_cluster, range));
                let range = family.range.or(kept.ipv6.map(|kept| kept.range)).or_else(auto);
                let range = range.ok_or(NodeError::NoAddress("ipv6-range"))?;
                let router = kept.ipv6.map(|kept| kept.router).filter(|router| is_host6(range, *router));
                let router = router.unwrap_or_else(|| first6(range));
                Some(Addressing { range, router, node: node6 })
            }
        };
        // A device without global IPv6 sends no IPv6 out: only a missing IPv4 address is a mistake.
        let bare = |device: &&Device| !device.addresses.iter().any(|net| v4(net.addr()).is_some());
        if let Some(device) = device.filter(bare).filter(|_| network.masquerade && ipv4.is_some()) {
            return Err(NodeError::NothingToMasqueradeWith(device.name.clone()));
        }
        let ranges = ranges(ipv4, ipv6);
        Ok(Self {
            mtu: network.mtu.or(device.map(|device| device.mtu)).unwrap_or(DEFAULT_MTU),
            device: device.map(|device| device.name.clone()),
            ipv4,
            ipv6,
            reserved: facts.inside(&ranges),
        })
    }

    /// The pods' addresses on this node, of each family that is on.
    pub fn pod_ranges(&self) -> Vec<IpNet> {
        ranges(self.ipv4, self.ipv6)
    }

    /// What the next agent needs.
    pub fn kept(&self) -> Kept {
        Kept { ipv4: self.ipv4, ipv6: self.ipv6 }
    }
}

fn ranges(
    ipv4: Option<Addressing<Ipv4Net, Ipv4Addr>>,
    ipv6: Option<Addressing<Ipv6Net, Ipv6Addr>>,
) -> Vec<IpNet> {
    let ipv4 = ipv4.map(|ipv4| ipv4.range.into());
    ipv4.into_iter().chain(ipv6.map(|ipv6| ipv6.range.into())).collect()
}

fn v4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V6(address) => Some(address),
        IpAddr::V4(_) => None,
    }
}

/// 1.4's rule: `10.X.0.0/16`, X being the last byte of the node's address.
fn automatic4(node: Ipv4Addr) -> Ipv4Net {
    let [.., last] = node.octets();
    Ipv4Net::new_assert(Ipv4Addr::new(10, last, 0, 0), AUTO_BITS)
}

/// 1.4's rule: the cluster's prefix, then the first address of the IPv4 range.
fn automatic6(cluster: Ipv6Net, range: Ipv4Net) -> Ipv6Net {
    let high = u128::from(cluster.network());
    let low = u128::from(u32::from(range.network())) << 32;
    Ipv6Net::new_assert((high | low).into(), AUTO_BITS6)
}

/// The first address after the network's own.
fn first4(range: Ipv4Net) -> Ipv4Addr {
    (u32::from(range.network()) + 1).into()
}

fn first6(range: Ipv6Net) -> Ipv6Addr {
    (u128::from(range.network()) + 1).into()
}

fn is_host4(range: Ipv4Net, address: Ipv4Addr) -> bool {
    range.contains(&address) && address != range.network() && address != range.broadcast()
}

fn is_host6(range: Ipv6Net, address: Ipv6Addr) -> bool {
    range.contains(&address) && address != range.network()
}
