// SPDX-License-Identifier: Apache-2.0
//! `cilium_snat_v4_external` and `cilium_snat_v6_external`: connections that leave with the node's address.

use addr::{Be16, Be32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Values of [`SnatKey4::direction`] and [`SnatKey6::direction`].
pub mod snat_direction {
    /// The key is the packet as the pod sends it, the entry the source with which it leaves.
    pub const OUT: u8 = 0;
    /// The key is the packet as the remote answers it, the entry the destination that it is for.
    pub const IN: u8 = 1;
}

/// `struct snat_key4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SnatKey4 {
    /// Source.
    pub saddr: Be32,
    /// Destination.
    pub daddr: Be32,
    /// Source port, or an echo's identifier.
    pub sport: Be16,
    /// Destination port.
    pub dport: Be16,
    /// Protocol number.
    pub protocol: u8,
    /// [`snat_direction`].
    pub direction: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// `struct snat_key6`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SnatKey6 {
    /// Source.
    pub saddr: [Be32; 4],
    /// Destination.
    pub daddr: [Be32; 4],
    /// Source port, or an echo's identifier.
    pub sport: Be16,
    /// Destination port.
    pub dport: Be16,
    /// Protocol number.
    pub protocol: u8,
    /// [`snat_direction`].
    pub direction: u8,
    /// Zero.
    pub pad: [u8; 2],
}

/// `struct snat_entry`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct SnatEntry {
    /// The address; IPv4 in the first word.
    pub addr: [Be32; 4],
    /// The port.
    pub port: Be16,
    /// Zero.
    pub pad: u16,
    /// When it ends, seconds of `CLOCK_MONOTONIC`.
    pub lifetime: u32,
    /// The programs' clock when the lifetime was last written.
    pub tick: u32,
    /// Zero.
    pub pad2: u32,
}
