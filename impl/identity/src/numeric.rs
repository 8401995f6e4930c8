// SPDX-License-Identifier: Apache-2.0
//! The number that stands for a set of labels in packets and maps.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::reserved;

/// This is no numeric identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is not a numeric identity: write a number from 0 to 4294967295, or a reserved name such as host"
)]
pub struct NotAnIdentity(pub String);

/// A numeric identity, in host byte order.
///
/// Bits 0 to 15 number it within its cluster, bits 16 to 23 are the cluster, bit 24 says that it is known to this node
/// only.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NumericIdentity(u32);

impl NumericIdentity {
    /// Not known, or not valid.
    pub const UNKNOWN: Self = Self(0);
    /// The node that the agent runs on.
    pub const HOST: Self = Self(1);
    /// What is outside the cluster.
    pub const WORLD: Self = Self(2);
    /// Pods that are not managed.
    pub const UNMANAGED: Self = Self(3);
    /// Health endpoints.
    pub const HEALTH: Self = Self(4);
    /// Endpoints without labels yet.
    pub const INIT: Self = Self(5);

    /// Set in identities that never leave the node.
    pub const LOCAL_SCOPE: u32 = 1 << 24;
    /// The first of those that users give with `--fixed-identity-mapping`; the last is 255.
    pub const FIRST_FIXED: u32 = 128;
    /// The first that is not reserved.
    pub const FIRST_ALLOCATED: u32 = 256;
    /// By how many bits the cluster is shifted.
    const CLUSTER_SHIFT: u32 = 16;

    /// From a number.
    pub const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The number.
    pub const fn as_u32(self) -> u32 {
        self.0
    }

    /// Whether it is fixed and the same everywhere: below 256, and not unknown.
    pub const fn is_reserved(self) -> bool {
        self.0 != 0 && self.0 < Self::FIRST_ALLOCATED
    }

    /// Whether a user may give it with `--fixed-identity-mapping`: 128 to 255.
    pub const fn is_fixed(self) -> bool {
        self.0 >= Self::FIRST_FIXED && self.0 < Self::FIRST_ALLOCATED
    }

    /// Whether it is known to this node only.
    pub const fn is_local(self) -> bool {
        self.0 & Self::LOCAL_SCOPE != 0
    }

    /// The cluster that gave it; 0 for reserved and local ones.
    pub const fn cluster_id(self) -> u8 {
        // The mask leaves eight bits.
        if self.is_local() { 0 } else { ((self.0 >> Self::CLUSTER_SHIFT) & 0xff) as u8 }
    }
}

/// The name of a reserved identity, otherwise the number.
impl fmt::Display for NumericIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match reserved::name_of(*self) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A number or a reserved name.
impl FromStr for NumericIdentity {
    type Err = NotAnIdentity;

    fn from_str(text: &str) -> Result<Self, NotAnIdentity> {
        if let Some(identity) = reserved::identity_named(text) {
            return Ok(identity);
        }
        // `u32::from_str` takes a sign.
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        match text.parse() {
            Ok(number) if digits => Ok(Self(number)),
            _ => Err(NotAnIdentity(text.to_owned())),
        }
    }
}

/// Numbers from which an allocator may give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdentityRange {
    first: u32,
    last: u32,
}

impl IdentityRange {
    /// Those of CIDRs and names, which never leave the node: 16777217 to 33554431.
    pub const LOCAL: Self =
        Self { first: NumericIdentity::LOCAL_SCOPE | 1, last: NumericIdentity::LOCAL_SCOPE | 0xff_ffff };

    /// Those of one cluster: 256 to 65535 with the cluster's id above them.
    pub const fn cluster(cluster_id: u8) -> Self {
        let cluster = (cluster_id as u32) << NumericIdentity::CLUSTER_SHIFT;
        Self { first: cluster | NumericIdentity::FIRST_ALLOCATED, last: cluster | 0xffff }
    }

    /// From `first` to `last`, both included; none if that is empty.
    pub const fn new(first: NumericIdentity, last: NumericIdentity) -> Option<Self> {
        if first.0 <= last.0 { Some(Self { first: first.0, last: last.0 }) } else { None }
    }

    /// The lowest.
    pub const fn first(self) -> NumericIdentity {
        NumericIdentity(self.first)
    }

    /// The highest.
    pub const fn last(self) -> NumericIdentity {
        NumericIdentity(self.last)
    }

    /// How many there are.
    pub const fn size(self) -> u64 {
        self.last as u64 - self.first as u64 + 1
    }

    /// Whether this is one of them.
    pub const fn contains(self, identity: NumericIdentity) -> bool {
        self.first <= identity.0 && identity.0 <= self.last
    }

    /// The one after `identity`; after the last comes the first.
    pub(crate) const fn after(self, identity: NumericIdentity) -> NumericIdentity {
        if identity.0 >= self.last || identity.0 < self.first {
            NumericIdentity(self.first)
        } else {
            NumericIdentity(identity.0 + 1)
        }
    }
}

impl fmt::Display for IdentityRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.first, self.last)
    }
}
