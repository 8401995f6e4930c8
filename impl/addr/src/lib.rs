// SPDX-License-Identifier: Apache-2.0
//! Addresses, ports and prefixes as values; network order is a type.
//!
//! Prefixes are [`ipnet::IpNet`]; here is what policy needs beyond it.

mod network_order;
mod port;
mod prefix;
mod protocol;

pub use network_order::{Be16, Be32};
pub use port::{ParsePortError, Port, PortMask, PortRange, PortRangeError};
pub use prefix::{PrefixError, aggregated, enclosing, parse_prefix, parse_prefix_or_address, without};
pub use protocol::{Protocol, UnknownProtocol};
