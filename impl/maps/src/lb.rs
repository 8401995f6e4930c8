// SPDX-License-Identifier: Apache-2.0
//! Services: frontends, their slots, and backends by id.

use std::net::{IpAddr, SocketAddr};

use addr::{Be16, Be32};
use ipnet::IpNet;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::endpoint::{address6, words};

/// Values of [`LbKey4::scope`] and [`LbKey6::scope`].
pub mod lb_scope {
    /// Connections from outside; and, without [`super::lb_flags::TWO_SCOPES`], from everywhere.
    pub const EXTERNAL: u8 = 0;
    /// Connections from pods and from the node.
    pub const INTERNAL: u8 = 1;
}

/// Bits of [`LbFrontend::flags`].
pub mod lb_flags {
    /// What the network sends to it is translated too.
    pub const EXTERNAL: u16 = 1;
    /// There is another row of this frontend with [`super::lb_scope::INTERNAL`].
    pub const TWO_SCOPES: u16 = 2;
    /// The address is the node's own: for all of the node's namespace the port is taken.
    pub const NODE_PORT: u16 = 4;
    /// Only who is in one of the frontend's source ranges is let in.
    pub const SOURCE_RANGES: u16 = 8;
}

/// `struct lb_config`: what programs must know of load balancing beyond the tables.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbConfig {
    /// Of the node's own network namespace.
    pub host_netns_cookie: u64,
    /// Whether there are services at all.
    pub enabled: u32,
    /// Whether slots are a Maglev table, chosen by a hash of the connection; otherwise at random.
    pub maglev: u32,
    /// First port for NodePorts.
    pub node_port_min: u32,
    /// Last port for NodePorts.
    pub node_port_max: u32,
    /// Whether remote backends answer clients themselves.
    pub dsr: u32,
    /// Whom a pod sees as its client when it reaches itself through a service.
    pub loopback4: Be32,
    /// Whom a pod sees as its client when it reaches itself through a service.
    pub loopback6: [Be32; 4],
    /// From whom the node's processes come where their sockets do not say it; 0: not known.
    pub node4: Be32,
    /// The same over IPv6.
    pub node6: [Be32; 4],
    /// Zero.
    pub pad: u32,
}

macro_rules! by_family {
    ($key:ident, $backend:ident, $reverse:ident, $address:ty, $ip:expr, $key_c:literal, $backend_c:literal, $reverse_c:literal) => {
        #[doc = $key_c]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $key {
            /// The frontend's address.
            pub addr: $address,
            /// The frontend's port.
            pub port: Be16,
            /// Protocol number.
            pub protocol: u8,
            /// [`lb_scope`].
            pub scope: u8,
        }

        impl $key {
            /// Address and port.
            pub fn socket(&self) -> SocketAddr {
                SocketAddr::new($ip(self.addr), self.port.get())
            }
        }

        #[doc = $backend_c]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $backend {
            /// The backend's address.
            pub addr: $address,
            /// The backend's port.
            pub port: Be16,
            /// Protocol number.
            pub protocol: u8,
            /// Zero.
            pub flags: u8,
        }

        impl $backend {
            /// Address and port.
            pub fn socket(&self) -> SocketAddr {
                SocketAddr::new($ip(self.addr), self.port.get())
            }
        }

        #[doc = $reverse_c]
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout,
        )]
        #[repr(C)]
        pub struct $reverse {
            /// The frontend's address.
            pub addr: $address,
            /// The frontend's port; 0: no frontend has this id.
            pub port: Be16,
            /// Zero.
            pub pad: u16,
        }

        impl $reverse {
            /// Address and port, if there is such a frontend.
            pub fn socket(&self) -> Option<SocketAddr> {
                (self.port.get() != 0).then(|| SocketAddr::new($ip(self.addr), self.port.get()))
            }
        }
    };
}

by_family!(
    LbKey4,
    LbBackend4,
    LbReverse4,
    Be32,
    |word: Be32| IpAddr::V4(word.into()),
    "`struct lb4_key`: a frontend over IPv4.",
    "`struct lb4_backend`: a backend over IPv4.",
    "`struct lb4_reverse`: the address that answers carry."
);
by_family!(
    LbKey6,
    LbBackend6,
    LbReverse6,
    [Be32; 4],
    |words| IpAddr::V6(address6(words)),
    "`struct lb6_key`: a frontend over IPv6.",
    "`struct lb6_backend`: a backend over IPv6.",
    "`struct lb6_reverse`: the address that answers carry."
);

/// `struct lb_frontend`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbFrontend {
    /// Its id, never 0.
    pub id: u16,
    /// [`lb_flags`].
    pub flags: u16,
    /// How many slots it has, numbered from 1.
    pub count: u32,
    /// How long a client keeps its backend, seconds; 0: not at all.
    pub affinity_timeout_s: u32,
    /// Zero.
    pub pad: u32,
}

/// `struct lb_slot_key`.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, FromBytes, IntoBytes, Immutable, KnownLayout,
)]
#[repr(C)]
pub struct LbSlotKey {
    /// The frontend's id.
    pub id: u16,
    /// The slot, from 1.
    pub slot: u16,
}

macro_rules! source_key {
    ($key:ident, $address:ty, $family:ident, $words:expr, $ip:expr, $c:literal) => {
        #[doc = $c]
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(C)]
        pub struct $key {
            /// Bits that count: 32, and those of the range.
            pub prefixlen: u32,
            /// The frontend's id.
            pub id: u16,
            /// Zero.
            pub pad: u16,
            /// The range's address.
            pub addr: $address,
        }

        impl $key {
            /// Bits before the address.
            pub const STATIC_BITS: u32 = 32;

            /// Of a range of this family.
            pub fn new(id: u16, range: IpNet) -> Option<Self> {
                let IpNet::$family(range) = range.trunc() else { return None };
                let prefixlen = Self::STATIC_BITS + u32::from(range.prefix_len());
                Some(Self { prefixlen, id, pad: 0, addr: $words(range.addr()) })
            }

            /// The range; none if it is no key of ours.
            pub fn range(&self) -> Option<IpNet> {
                let length = u8::try_from(self.prefixlen.checked_sub(Self::STATIC_BITS)?).ok()?;
                let range = IpNet::new($ip(self.addr), length).ok()?;
                (self.id != 0 && self.pad == 0 && range == range.trunc()).then_some(range)
            }
        }
    };
}

source_key!(
    LbSourceKey4,
    Be32,
    V4,
    Be32::from,
    |word: Be32| IpAddr::V4(word.into()),
    "`struct lb4_source_key`: a range of clients over IPv4 that may use a frontend."
);
source_key!(
    LbSourceKey6,
    [Be32; 4],
    V6,
    |address| words(IpAddr::V6(address)),
    |words| IpAddr::V6(address6(words)),
    "`struct lb6_source_key`: a range of clients over IPv6 that may use a frontend."
);

/// `struct lb_affinity_key`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbAffinityKey {
    /// The client's address, IPv4 in the first word; or the cookie of its network namespace in the first two.
    pub client: [Be32; 4],
    /// The frontend's id.
    pub id: u16,
    /// 1: the client is a network namespace.
    pub by_netns: u8,
    /// Zero.
    pub pad: u8,
}

/// `struct lb_affinity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbAffinity {
    /// Seconds of `CLOCK_MONOTONIC`.
    pub last_used_s: u32,
    /// The backend's id.
    pub backend: u32,
}

/// `struct lb4_socket_key`: a socket, and whom it speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbSocketKey4 {
    /// The socket's cookie.
    pub cookie: u64,
    /// The backend's address.
    pub addr: Be32,
    /// The backend's port.
    pub port: Be16,
    /// Zero.
    pub pad: u16,
}

/// `struct lb6_socket_key`: a socket, and whom it speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbSocketKey6 {
    /// The socket's cookie.
    pub cookie: u64,
    /// The backend's address.
    pub addr: [Be32; 4],
    /// The backend's port.
    pub port: Be16,
    /// Zero.
    pub pad: u16,
    /// Zero.
    pub pad2: u32,
}

/// `struct lb4_socket`: whom the socket believes that it speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbSocket4 {
    /// The frontend's address.
    pub addr: Be32,
    /// The frontend's port.
    pub port: Be16,
    /// The frontend's id.
    pub id: u16,
}

/// `struct lb6_socket`: whom the socket believes that it speaks to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LbSocket6 {
    /// The frontend's address.
    pub addr: [Be32; 4],
    /// The frontend's port.
    pub port: Be16,
    /// The frontend's id.
    pub id: u16,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_found_again_in_its_key_and_what_is_none_is_told() {
        for text in ["0.0.0.0/0", "10.1.0.0/16", "192.0.2.7/32", "::/0", "2001:db8::/32", "2001:db8::1/128"] {
            let range: IpNet = text.parse().unwrap();
            let (v4, v6) = (LbSourceKey4::new(7, range), LbSourceKey6::new(7, range));
            assert_eq!(v4.and_then(|key| key.range()).or_else(|| v6?.range()), Some(range));
            assert_eq!(v4.is_some(), text.contains('.'));
        }
        let untidy = LbSourceKey4::new(7, "10.1.2.3/8".parse().unwrap()).unwrap();
        assert_eq!(untidy.range().unwrap().to_string(), "10.0.0.0/8");
        for wrong in [
            LbSourceKey4 { prefixlen: 31, ..untidy },
            LbSourceKey4 { prefixlen: 65, ..untidy },
            LbSourceKey4 { prefixlen: 0x1_0000, ..untidy },
            LbSourceKey4 { id: 0, ..untidy },
            LbSourceKey4 { pad: 1, ..untidy },
            LbSourceKey4 { addr: std::net::Ipv4Addr::new(10, 0, 0, 1).into(), ..untidy },
        ] {
            assert_eq!(wrong.range(), None, "{wrong:?}");
        }
    }
}
