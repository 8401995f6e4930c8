// SPDX-License-Identifier: Apache-2.0
//! `cilium_lxc` and `cilium_lxc_by_id`: the endpoints of this node, by address and by number.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::Be32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// How a key says whether its address is IPv4 or IPv6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Family {
    /// IPv4.
    V4 = 1,
    /// IPv6.
    V6 = 2,
}

impl Family {
    /// The family of an address.
    pub const fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// The words of an address: an IPv4 address is in the first, and the others are 0.
pub(crate) fn words(address: IpAddr) -> [Be32; 4] {
    match address {
        IpAddr::V4(v4) => [v4.into(), Be32::new(0), Be32::new(0), Be32::new(0)],
        IpAddr::V6(v6) => words6(v6),
    }
}

pub(crate) fn words6(address: Ipv6Addr) -> [Be32; 4] {
    zerocopy::transmute!(address.octets())
}

pub(crate) fn address6(words: [Be32; 4]) -> Ipv6Addr {
    let octets: [u8; 16] = zerocopy::transmute!(words);
    octets.into()
}

/// The address that words and a family stand for; `None` for a family that is none.
pub(crate) fn address(family: u8, words: [Be32; 4]) -> Option<IpAddr> {
    match family {
        f if f == Family::V4 as u8 => Some(Ipv4Addr::from(words[0]).into()),
        f if f == Family::V6 as u8 => Some(address6(words).into()),
        _ => None,
    }
}

/// `struct endpoint_key`: an address of an endpoint or of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EndpointKey {
    /// The address; IPv4 in the first word.
    pub ip: [Be32; 4],
    /// A [`Family`].
    pub family: u8,
    /// Zero.
    pub pad5: [u8; 3],
}

impl EndpointKey {
    /// The address; `None` if the family is none.
    pub fn address(&self) -> Option<IpAddr> {
        address(self.family, self.ip)
    }
}

impl From<IpAddr> for EndpointKey {
    fn from(address: IpAddr) -> Self {
        Self { ip: words(address), family: Family::of(address) as u8, pad5: [0; 3] }
    }
}

/// Bits of [`EndpointInfo::flags`].
pub mod endpoint_flags {
    /// An address of the node itself.
    pub const HOST: u16 = 1;
}

/// `struct endpoint_info`: whose address it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct EndpointInfo {
    /// The host's end of the pod's pair.
    pub ifindex: u32,
    /// The endpoint's number; 0 for the node.
    pub lxc_id: u16,
    /// [`endpoint_flags`].
    pub flags: u16,
    /// Its identity.
    pub sec_id: u32,
    /// Zero.
    pub pad: u32,
}

/// Bits of [`LxcRow::options`].
pub mod lxc_options {
    /// Packets that are dropped are told.
    pub const DROP_NOTIFICATION: u32 = 1;
    /// Packets that pass are told, when somebody listens.
    pub const TRACE_NOTIFICATION: u32 = 2;
    /// Conntrack entries count packets and bytes.
    pub const CONNTRACK_ACCOUNTING: u32 = 4;
    /// Verdicts of policy are told.
    pub const POLICY_VERDICT_NOTIFICATION: u32 = 8;
    /// Debug events.
    pub const DEBUG: u32 = 16;
}

/// `struct lxc_row`: an endpoint by its number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LxcRow {
    /// The host's end of the pod's pair; 0 if there is no such endpoint.
    pub ifindex: u32,
    /// Its identity.
    pub sec_id: u32,
    /// The lengths of port prefixes in use for ingress: bit n for n bits, bit 0 for a protocol without a port.
    pub ingress_prefixes: u32,
    /// As for ingress.
    pub egress_prefixes: u32,
    /// [`lxc_options`].
    pub options: u32,
    /// The pod's Ethernet address.
    pub mac: [u8; 6],
    /// That of the host's end.
    pub node_mac: [u8; 6],
    /// Zero.
    pub pad: [u32; 2],
}
