// SPDX-License-Identifier: Apache-2.0
//! `cilium_ct4_global` and its kin: one entry per connection, found from both directions.

use std::net::IpAddr;

use addr::{Be16, Be32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::endpoint::address6;

/// Bits of [`ConntrackEntry::flags`].
pub mod conntrack_flags {
    /// The initiator is the second end of the key; otherwise the first.
    pub const INITIATOR_IS_SECOND: u16 = 1;
    /// The initiator has sent FIN or RST.
    pub const TX_CLOSING: u16 = 2;
    /// The responder has sent FIN or RST.
    pub const RX_CLOSING: u16 = 4;
    /// A packet other than SYN was seen.
    pub const SEEN_NON_SYN: u16 = 8;
    /// The responder has answered.
    pub const REPLY_SEEN: u16 = 16;
    /// Between two pods, and the host's stack translated it: answers must go there too.
    pub const VIA_STACK: u16 = 32;
    /// An endpoint at one of the ends wants packets and bytes counted.
    pub const ACCOUNTING: u16 = 64;
    /// The responder is a service's frontend: the entry says which backend stands for it.
    pub const SERVICE: u16 = 128;
    /// A pod that reaches itself through a service, as a client of the loopback address.
    pub const LOOPBACK: u16 = 256;
    /// The responder is a pod that answers for a frontend of another node: a masquerading mapping says which.
    pub const DSR: u16 = 512;
}

macro_rules! conntrack_key {
    ($name:ident, $address:ty, $doc:literal, $ip:expr) => {
        #[doc = $doc]
        ///
        /// The smaller end, by address and then port in network order, is the first.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $name {
            /// Addresses of the ends.
            pub addr: [$address; 2],
            /// Ports of the ends; of an echo, its identifier at the end that asks, and 0.
            pub port: [Be16; 2],
            /// Protocol number.
            pub protocol: u8,
            /// Zero.
            pub pad: [u8; 3],
        }

        impl $name {
            /// The addresses of both ends.
            pub fn addresses(&self) -> [IpAddr; 2] {
                self.addr.map($ip)
            }
        }
    };
}

conntrack_key!(ConntrackKey4, Be32, "`struct ct_key4`: a connection over IPv4.", |word| IpAddr::V4(
    word.into()
));
conntrack_key!(ConntrackKey6, [Be32; 4], "`struct ct_key6`: a connection over IPv6.", |words| IpAddr::V6(
    address6(words)
));

/// `struct ct_entry`. Tx is from the initiator.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ConntrackEntry {
    /// Packets from the initiator.
    pub tx_packets: u64,
    /// Bytes from the initiator.
    pub tx_bytes: u64,
    /// Packets from the responder.
    pub rx_packets: u64,
    /// Bytes from the responder.
    pub rx_bytes: u64,
    /// When it ends, seconds of `CLOCK_MONOTONIC`.
    pub lifetime: u32,
    /// The epoch in which its verdict was found.
    pub epoch: u32,
    /// Identity of the initiator.
    pub src_sec_id: u32,
    /// Identity of the responder.
    pub dst_sec_id: u32,
    /// Number of the initiator; 0 for what is no pod of this node.
    pub src_lxc_id: u16,
    /// Number of the responder.
    pub dst_lxc_id: u16,
    /// The service whose address replies must carry; 0 for none.
    pub rev_nat_index: u16,
    /// [`conntrack_flags`].
    pub flags: u16,
    /// TCP flags from the initiator.
    pub tx_flags_seen: u8,
    /// TCP flags from the responder.
    pub rx_flags_seen: u8,
    /// Zero.
    pub pad: u16,
    /// When it was last told, seconds of `CLOCK_MONOTONIC`.
    pub last_report: u32,
    /// The programs' clock when the lifetime was last written.
    pub tick: u32,
    /// Zero.
    pub pad2: u32,
}

/// `struct ct_service`: what an entry of [`conntrack_flags::SERVICE`] has in the place of its counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct ConntrackService {
    /// The backend's address; IPv4 in the first word.
    pub addr: [Be32; 4],
    /// The backend's port.
    pub port: Be16,
    /// Zero.
    pub pad: u16,
    /// The backend's id.
    pub backend: u32,
    /// Zero.
    pub pad2: u64,
}

impl ConntrackEntry {
    /// Which backend stands for the frontend that is its responder; none if that is no frontend.
    pub fn service(&self) -> Option<ConntrackService> {
        let counters = [self.tx_packets, self.tx_bytes, self.rx_packets, self.rx_bytes];
        let is_service = self.flags & conntrack_flags::SERVICE != 0;
        is_service.then(|| zerocopy::transmute!(counters))
    }

    /// Whether it has ended at this time, seconds of `CLOCK_MONOTONIC`.
    pub const fn is_expired(&self, now_s: u32) -> bool {
        self.lifetime < now_s
    }

    /// Whether this endpoint is one of its ends.
    pub const fn concerns(&self, lxc_id: u16) -> bool {
        lxc_id != 0 && (self.src_lxc_id == lxc_id || self.dst_lxc_id == lxc_id)
    }
}
