// SPDX-License-Identifier: Apache-2.0
//! What an endpoint's policy map is to hold.

use std::collections::BTreeMap;
use std::fmt;

/// As seen from the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// To the endpoint.
    Ingress,
    /// From the endpoint.
    Egress,
}

impl Direction {
    /// Both.
    pub const BOTH: [Self; 2] = [Self::Ingress, Self::Egress];

    /// The word in rules and on the command line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A key of a policy map. Zeros mean any: any identity, any protocol, any port. A lookup takes the first hit, and any
/// hit allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyKey {
    /// The peer; 0 is any.
    pub identity: u32,
    /// Number in the IP header; 0 is any, and then the port is any too.
    pub protocol: u8,
    /// Destination port in host order; bits beyond `port_prefix` are 0.
    pub port: u16,
    /// How many leading bits of the port matter: 0 (any port) to 16 (this port).
    pub port_prefix: u8,
    /// Which way.
    pub direction: Direction,
}

impl PolicyKey {
    /// Everything in this direction: what the map of an endpoint without policy holds.
    pub const fn any(direction: Direction) -> Self {
        Self::identity(0, direction)
    }

    /// Everything from or to this peer.
    pub const fn identity(identity: u32, direction: Direction) -> Self {
        Self { identity, protocol: 0, port: 0, port_prefix: 0, direction }
    }

    /// Whether it allows this packet: the peer, the protocol, and the destination port in host order.
    pub const fn covers(&self, identity: u32, protocol: u8, port: u16) -> bool {
        let mask = if self.port_prefix == 0 { 0 } else { u16::MAX << 16u8.saturating_sub(self.port_prefix) };
        (self.identity == 0 || self.identity == identity)
            && (self.protocol == 0 || self.protocol == protocol && port & mask == self.port)
    }
}

/// The [`PolicyEntry::rule`] of what no rule asked for: no enforcement, or the host that is always let in.
pub const NOT_A_RULE: u32 = 0;

/// What a policy map says of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyEntry {
    /// Port of the proxy that the connection is sent to, in host order; 0 is none.
    pub proxy_port: u16,
    /// Id of the first rule in the repository that asked for it, or [`NOT_A_RULE`].
    pub rule: u32,
}

/// All that one endpoint's policy map is to hold.
pub type MapState = BTreeMap<PolicyKey, PolicyEntry>;

/// How one endpoint's policy map changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyDelta {
    /// The endpoint.
    pub endpoint: u16,
    /// Entries that are new, or say something else; by key.
    pub upserts: Vec<(PolicyKey, PolicyEntry)>,
    /// Keys that go; sorted.
    pub removals: Vec<PolicyKey>,
    /// Whether what no entry allows is dropped at ingress.
    pub enforcing_ingress: bool,
    /// Whether what no entry allows is dropped at egress.
    pub enforcing_egress: bool,
}
