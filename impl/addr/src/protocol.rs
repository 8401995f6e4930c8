// SPDX-License-Identifier: Apache-2.0
//! The protocols above IP that policy tells apart.

use std::fmt;
use std::str::FromStr;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer, de};

/// This is no protocol that policy knows.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown protocol {0:?}: one of TCP, UDP, SCTP, ICMP, ICMPv6, ANY")]
pub struct UnknownProtocol(pub String);

/// A protocol of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Protocol {
    /// Whatever the packet carries.
    Any,
    /// 1.
    Icmp,
    /// 6.
    Tcp,
    /// 17.
    Udp,
    /// 58.
    Icmpv6,
    /// 132.
    Sctp,
}

impl Protocol {
    /// All of them.
    pub const EVERY: [Self; 6] = [Self::Any, Self::Icmp, Self::Tcp, Self::Udp, Self::Icmpv6, Self::Sctp];

    /// The number in the IP header; 0 for any, which is what map keys hold.
    pub const fn number(self) -> u8 {
        match self {
            Self::Any => 0,
            Self::Icmp => 1,
            Self::Tcp => 6,
            Self::Udp => 17,
            Self::Icmpv6 => 58,
            Self::Sctp => 132,
        }
    }

    /// The protocol of this number in an IP header or map key.
    pub fn from_number(number: u8) -> Option<Self> {
        Self::EVERY.into_iter().find(|protocol| protocol.number() == number)
    }

    /// The word in rules.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Any => "ANY",
            Self::Icmp => "ICMP",
            Self::Tcp => "TCP",
            Self::Udp => "UDP",
            Self::Icmpv6 => "ICMPv6",
            Self::Sctp => "SCTP",
        }
    }

    /// Whether its packets have ports.
    pub const fn has_ports(self) -> bool {
        matches!(self, Self::Tcp | Self::Udp | Self::Sctp)
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// In upper or lower case.
impl FromStr for Protocol {
    type Err = UnknownProtocol;

    fn from_str(text: &str) -> Result<Self, UnknownProtocol> {
        Self::EVERY
            .into_iter()
            .find(|protocol| protocol.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownProtocol(text.to_owned()))
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Protocol {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
