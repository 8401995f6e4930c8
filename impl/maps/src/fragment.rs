// SPDX-License-Identifier: Apache-2.0
//! `cilium_frag4` and `cilium_frag6`: the ports of a datagram, which only its first fragment carries.

use addr::{Be16, Be32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct frag_key4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentKey4 {
    /// Source.
    pub saddr: Be32,
    /// Destination.
    pub daddr: Be32,
    /// Identification, as in the header.
    pub id: Be16,
    /// Protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: u8,
}

/// `struct frag_key6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentKey6 {
    /// Source.
    pub saddr: [Be32; 4],
    /// Destination.
    pub daddr: [Be32; 4],
    /// Identification, as in the header.
    pub id: Be32,
    /// Protocol number.
    pub protocol: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// `struct frag_ports`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct FragmentPorts {
    /// Source.
    pub sport: Be16,
    /// Destination.
    pub dport: Be16,
}
