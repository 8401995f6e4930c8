// SPDX-License-Identifier: Apache-2.0
//! Ports and ranges of ports.

use std::fmt;
use std::num::NonZeroU16;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// This is no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a port: write a number from 1 to 65535")]
pub struct ParsePortError(pub String);

/// A port from 1 to 65535, in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Port(NonZeroU16);

impl Port {
    /// The lowest.
    pub const MIN: Self = Self(NonZeroU16::MIN);
    /// The highest.
    pub const MAX: Self = Self(NonZeroU16::MAX);

    /// None if `number` is 0.
    pub const fn new(number: u16) -> Option<Self> {
        match NonZeroU16::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0.get()
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for Port {
    type Err = ParsePortError;

    fn from_str(text: &str) -> Result<Self, ParsePortError> {
        // The parser of numbers takes a sign, a port has none.
        let digits = text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(ParsePortError(text.to_owned())),
        }
    }
}

/// A range that holds no port.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port range {first}-{last} ends before it begins")]
pub struct PortRangeError {
    /// Where it begins.
    pub first: Port,
    /// Where it ends.
    pub last: Port,
}

/// Ports from a first to a last, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// From `first` to `last`.
    pub fn new(first: Port, last: Port) -> Result<Self, PortRangeError> {
        if first <= last { Ok(Self { first, last }) } else { Err(PortRangeError { first, last }) }
    }

    /// The first port.
    pub const fn first(self) -> Port {
        self.first
    }

    /// The last port.
    pub const fn last(self) -> Port {
        self.last
    }

    /// Whether this port is in it.
    pub fn contains(self, port: Port) -> bool {
        self.first <= port && port <= self.last
    }

    /// The fewest masked ports that together are exactly this range, in ascending order: the keys of a map that looks
    /// up the longest prefix. At most 30. Port 0 is in no range, so that 1 to 65535 is 16 keys; who means every port
    /// writes [`PortMask::ANY`].
    pub fn masks(self) -> Vec<PortMask> {
        let (mut at, end) = (u32::from(self.first.get()), u32::from(self.last.get()) + 1);
        let mut masks = Vec::new();
        while at < end {
            // As large as the alignment of `at` lets it be, and no larger than what is left.
            let bits = at.trailing_zeros().min((end - at).ilog2());
            // Below 65536: `at` is less than `end`, and `bits` less than 16 since `at` is not 0.
            masks.push(PortMask { port: at as u16, mask: (u32::from(u16::MAX) << bits) as u16 });
            at += 1 << bits;
        }
        masks
    }
}

impl From<Port> for PortRange {
    fn from(port: Port) -> Self {
        Self { first: port, last: port }
    }
}

/// `80`, or `80-90`.
impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last { self.first.fmt(f) } else { write!(f, "{}-{}", self.first, self.last) }
    }
}

/// A port whose lower bits do not matter, in host order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortMask {
    /// The port; bits outside of the mask are 0.
    pub port: u16,
    /// Leading ones.
    pub mask: u16,
}

impl PortMask {
    /// Every port, 0 as well.
    pub const ANY: Self = Self { port: 0, mask: 0 };

    /// How many leading bits matter: 0 to 16.
    pub const fn prefix_len(self) -> u8 {
        // At most 16.
        self.mask.leading_ones() as u8
    }

    /// Whether the port is one of these.
    pub const fn contains(self, port: u16) -> bool {
        port & self.mask == self.port
    }
}
