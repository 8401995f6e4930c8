// SPDX-License-Identifier: Apache-2.0
//! Addresses of the two families, so that every behaviour is asked of both.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Nobody in particular.
pub const WORLD_IDENTITY: u32 = 2;
/// The identity that the node's ipcache gives to [`Family::known`].
pub const CIDR_IDENTITY: u32 = (1 << 24) + 1;
/// Prefix length of a family's pods: (IPv4, IPv6).
pub const MASK: (u8, u8) = (16, 64);

/// IPv4 and IPv6, equals.
pub const BOTH: [Family; 2] = [Family::V4, Family::V6];

/// The internet protocol of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// Version 4.
    V4,
    /// Version 6.
    V6,
}

impl Family {
    fn pick(self, v4: [u8; 4], v6: [u16; 8]) -> IpAddr {
        match self {
            Self::V4 => Ipv4Addr::from(v4).into(),
            Self::V6 => Ipv6Addr::from(v6).into(),
        }
    }

    /// A pod's address; numbers order as addresses do.
    pub fn pod(self, number: u8) -> IpAddr {
        self.pick([10, 1, 0, number], [0xfd00, 0, 0, 0, 0, 0, 0, u16::from(number)])
    }

    /// The pods' gateway.
    pub fn router(self) -> IpAddr {
        self.pod(1)
    }

    /// The node's address: what it masquerades with.
    pub fn node(self) -> IpAddr {
        self.pick([192, 0, 2, 1], [0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])
    }

    /// Whom a pod sees that reaches itself through a service.
    pub fn loopback(self) -> IpAddr {
        self.pick([169, 254, 42, 1], [0xfd00, 0xa9fe, 0x2a01, 0, 0, 0, 0, 1])
    }

    /// A service's own address.
    pub fn cluster(self) -> IpAddr {
        self.pick([172, 30, 0, 10], [0x2001, 0xdb8, 0x30, 0, 0, 0, 0, 10])
    }

    /// A pod of another node.
    pub fn remote_pod(self) -> IpAddr {
        self.pick([172, 16, 9, 9], [0x2001, 0xdb8, 0x16, 0, 0, 0, 0, 9])
    }

    /// Somebody far away that no prefix of the ipcache holds.
    pub fn world(self) -> IpAddr {
        self.pick([198, 51, 100, 7], [0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 7])
    }

    /// A router between here and there.
    pub fn hop(self) -> IpAddr {
        self.pick([203, 0, 113, 254], [0x2001, 0xdb8, 0xfffe, 0, 0, 0, 0, 254])
    }

    /// Somebody in a prefix that the ipcache knows.
    pub fn known(self) -> IpAddr {
        self.pick([198, 18, 5, 5], [0x2001, 0xdb8, 0x18, 0, 0, 0, 0, 5])
    }

    /// Somebody in the prefix that is reached without masquerading.
    pub fn native(self) -> IpAddr {
        self.pick([172, 16, 3, 3], [0x2001, 0xdb8, 0x16, 0, 0, 0, 0, 3])
    }

    /// ICMP's protocol number.
    pub const fn icmp(self) -> u8 {
        match self {
            Self::V4 => 1,
            Self::V6 => 58,
        }
    }

    /// The ICMP type of an error: a port that nobody listens at, or a time that is over.
    pub const fn error_types(self) -> [u8; 2] {
        match self {
            Self::V4 => [3, 11],
            Self::V6 => [1, 3],
        }
    }
}
