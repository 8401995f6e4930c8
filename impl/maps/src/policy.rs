// SPDX-License-Identifier: Apache-2.0
//! `cilium_policy_<id>`: who may talk to, and be talked to by, one endpoint.

use addr::Be16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct policy_key`. Zero means any, but for [`PolicyKey::egress`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyKey {
    /// The peer's identity.
    pub sec_label: u32,
    /// Destination port; bits beyond the prefix are 0.
    pub dport: Be16,
    /// Protocol number.
    pub protocol: u8,
    /// 1 for what the endpoint sends, 0 for what it is sent.
    pub egress: u8,
    /// How many leading bits of the port matter, 0 to 16.
    pub port_prefix: u8,
    /// Zero.
    pub pad: [u8; 3],
}

/// `struct policy_entry`. Counters count verdicts: packets of a connection are counted in its conntrack entry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct PolicyEntry {
    /// Where the proxy listens; 0 for no redirection.
    pub proxy_port: Be16,
    /// Zero.
    pub pad: u16,
    /// The rule that it comes from.
    pub rule: u32,
    /// Verdicts.
    pub packets: u64,
    /// Bytes of the packets of these verdicts.
    pub bytes: u64,
}
