// SPDX-License-Identifier: Apache-2.0
//! Numbers as they stand in packets and in maps that programs look packets up in.

use std::fmt;

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

macro_rules! network_order {
    ($name:ident, $number:ty, $bytes:literal, $doc:literal) => {
        #[doc = $doc]
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
        #[repr(transparent)]
        pub struct $name($number);

        impl $name {
            /// From a number as we count.
            pub const fn new(number: $number) -> Self {
                Self(number.to_be())
            }

            /// The number as we count.
            pub const fn get(self) -> $number {
                <$number>::from_be(self.0)
            }

            /// As the bytes follow each other in a packet.
            pub const fn to_bytes(self) -> [u8; $bytes] {
                self.0.to_ne_bytes()
            }

            /// From bytes of a packet.
            pub const fn from_bytes(bytes: [u8; $bytes]) -> Self {
                Self(<$number>::from_ne_bytes(bytes))
            }
        }

        impl From<$number> for $name {
            fn from(number: $number) -> Self {
                Self::new(number)
            }
        }

        impl From<$name> for $number {
            fn from(ordered: $name) -> Self {
                ordered.get()
            }
        }

        /// By the number, not by how it lies in memory.
        impl Ord for $name {
            fn cmp(&self, other: &Self) -> std::cmp::Ordering {
                self.get().cmp(&other.get())
            }
        }

        impl PartialOrd for $name {
            fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
                Some(self.cmp(other))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.get().fmt(f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.get())
            }
        }
    };
}

network_order!(Be16, u16, 2, "A 16-bit number that lies in memory in network order: a port in a map's key.");
network_order!(
    Be32,
    u32,
    4,
    "A 32-bit number that lies in memory in network order: an IPv4 address in a map's key."
);

impl From<std::net::Ipv4Addr> for Be32 {
    fn from(address: std::net::Ipv4Addr) -> Self {
        Self::from_bytes(address.octets())
    }
}

impl From<Be32> for std::net::Ipv4Addr {
    fn from(ordered: Be32) -> Self {
        Self::from(ordered.to_bytes())
    }
}
