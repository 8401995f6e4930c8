// SPDX-License-Identifier: Apache-2.0
//! Numbers of the kernel's structs, and how they are written.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The hash of a flow: `0x` and hexadecimal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Mark(pub u32);

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for Mark {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Mark {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.strip_prefix("0x").and_then(|digits| u32::from_str_radix(digits, 16).ok());
        number
            .map(Self)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not 0x and hexadecimal")))
    }
}

/// An enum that is a byte in the kernel's structs and a word in JSON and text.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $number:literal $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
            /// None of these: another version's.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl $name {
            /// From the kernel's number.
            pub const fn of(number: u8) -> Self {
                match number {
                    $($number => Self::$variant,)+
                    _ => Self::Unknown,
                }
            }

            /// In a word.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Unknown => "unknown",
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
    };
}

words! {
    /// Whether a packet goes into or out of an endpoint.
    Direction {
        /// Into it.
        Ingress = 1 "ingress",
        /// Out of it.
        Egress = 2 "egress",
    }
}

words! {
    /// What conntrack says of a packet.
    TraceState {
        /// The first of a connection.
        New = 0 "new",
        /// From the initiator.
        Established = 1 "established",
        /// From the responder.
        Reply = 2 "reply",
        /// An error about a connection.
        Related = 3 "related",
    }
}

words! {
    /// Where a packet was seen.
    ObservationPoint {
        /// On its way to an endpoint.
        ToEndpoint = 0 "to-endpoint",
        /// On its way to the proxy.
        ToProxy = 1 "to-proxy",
        /// On its way to the node.
        ToHost = 2 "to-host",
        /// On its way to the node's network stack.
        ToStack = 3 "to-stack",
        /// On its way into a tunnel.
        ToOverlay = 4 "to-overlay",
        /// Coming from an endpoint.
        FromEndpoint = 5 "from-endpoint",
        /// Coming from the proxy.
        FromProxy = 6 "from-proxy",
        /// Coming from the node.
        FromHost = 7 "from-host",
        /// Coming from the node's network stack.
        FromStack = 8 "from-stack",
        /// Coming out of a tunnel.
        FromOverlay = 9 "from-overlay",
        /// Coming from a device of the node.
        FromNetwork = 10 "from-network",
        /// On its way to a device of the node.
        ToNetwork = 11 "to-network",
    }
}

words! {
    /// What policy says.
    PolicyAction {
        /// Drop it.
        Deny = 0 "deny",
        /// Let it pass.
        Allow = 1 "allow",
    }
}

words! {
    /// What of a packet the policy entry named.
    PolicyMatch {
        /// There was no entry.
        None = 0 "none",
        /// Its peer, its protocol and its port.
        L3L4 = 1 "L3-L4",
        /// Its peer.
        L3Only = 2 "L3-Only",
        /// Its protocol and its port.
        L4Only = 3 "L4-Only",
        /// Nothing: the entry allows all.
        All = 4 "all",
    }
}
