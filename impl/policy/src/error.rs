// SPDX-License-Identifier: Apache-2.0
//! Why rules are refused, and which field it is.

use std::fmt;

use identity::SelectorError;

/// A feature of `cilium.io/v2` that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Feature {
    /// `rules` of a port: HTTP, Kafka, DNS and others.
    L7Rules,
    /// `toFQDNs`.
    ToFqdns,
    /// `toGroups`.
    ToGroups,
    /// `CiliumClusterwideNetworkPolicy`, which came after 1.4.
    ClusterwidePolicy,
}

impl Feature {
    /// The feature in words, beginning with the field of the schema.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::L7Rules => "toPorts.rules (L7 policy)",
            Self::ToFqdns => "toFQDNs (DNS policy)",
            Self::ToGroups => "toGroups (cloud provider's groups)",
            Self::ClusterwidePolicy => "CiliumClusterwideNetworkPolicy",
        }
    }
}

impl fmt::Display for Feature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why rules are refused. `path` is the field from the root of what was read: `[2].ingress[0].toPorts[1].ports[0].port`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    /// Not JSON, or not YAML.
    #[error("not readable as {format}: {reason}")]
    Syntax {
        /// What it should be.
        format: &'static str,
        /// What the parser says, with line and column.
        reason: String,
    },
    /// A field that is unknown, missing, or of another type.
    #[error("{path}: {reason}")]
    Schema {
        /// Field; `.` is the whole.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A field whose value cannot be.
    #[error("{path}: {reason}")]
    Value {
        /// Field.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A selector that cannot be.
    #[error("{path}.{error}")]
    Selector {
        /// Field.
        path: String,
        /// What is wrong with it, with the field inside the selector.
        error: SelectorError,
    },
    /// Valid, and not there.
    #[error("{path}: {feature} is not supported")]
    Unsupported {
        /// What is missing.
        feature: Feature,
        /// Field.
        path: String,
    },
    /// More than a limit lets through.
    #[error("{path}: {found} {what}: at most {limit} are allowed")]
    TooMany {
        /// Field; `.` is the whole.
        path: String,
        /// What is counted.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
}
