// SPDX-License-Identifier: Apache-2.0
//! Who wants to be told what.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The kinds of events, by which users choose.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// What the agent did.
    Agent,
    /// What programs say of themselves.
    Debug,
    /// Dropped packets.
    Drop,
    /// What policy said.
    PolicyVerdict,
    /// Packets on their way.
    Trace,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Agent, Self::Debug, Self::Drop, Self::PolicyVerdict, Self::Trace];

    /// As users write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Debug => "debug",
            Self::Drop => "drop",
            Self::PolicyVerdict => "policy-verdict",
            Self::Trace => "trace",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// This is no kind of event.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownKind {
    /// 1.4 has it.
    #[error("events of type {kind} are not supported yet: {feature}")]
    NotSupported {
        /// As it was written.
        kind: String,
        /// What would make such events.
        feature: &'static str,
    },
    /// Nobody has it.
    #[error("{0:?} is no type of event: write agent, debug, drop, policy-verdict or trace")]
    Unknown(String),
}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        if let Some(kind) = Self::ALL.into_iter().find(|kind| kind.as_str() == text) {
            return Ok(kind);
        }
        Err(match text {
            "capture" => UnknownKind::NotSupported { kind: text.to_owned(), feature: "packet captures" },
            "l7" => UnknownKind::NotSupported { kind: text.to_owned(), feature: "the L7 proxy" },
            _ => UnknownKind::Unknown(text.to_owned()),
        })
    }
}

/// What a subscriber wants. Sets that are empty ask for all; the others must all be satisfied, as in 1.4.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these kinds.
    pub types: BTreeSet<Kind>,
    /// Only what programs of these endpoints saw.
    pub from: BTreeSet<u16>,
    /// Only what is for these endpoints.
    pub to: BTreeSet<u16>,
    /// Only what these endpoints saw or what is for them or about them.
    pub related: BTreeSet<u16>,
}

impl Filter {
    /// Whether any event of this kind can match.
    pub fn wants(&self, kind: Kind) -> bool {
        self.types.is_empty() || self.types.contains(&kind)
    }

    /// Whether an event matches that an endpoint saw and that is for another.
    pub(crate) fn matches(&self, kind: Kind, source: Option<u32>, destination: Option<u32>) -> bool {
        let among = |set: &BTreeSet<u16>, id: Option<u32>| {
            id.and_then(|id| u16::try_from(id).ok()).is_some_and(|id| set.contains(&id))
        };
        self.wants(kind)
            && (self.from.is_empty() || among(&self.from, source))
            && (self.to.is_empty() || among(&self.to, destination))
            && (self.related.is_empty() || among(&self.related, source) || among(&self.related, destination))
    }

    /// Whether an event matches that is about an endpoint, or about none.
    pub(crate) fn matches_about(&self, kind: Kind, endpoint: Option<u32>) -> bool {
        self.from.is_empty() && self.to.is_empty() && self.matches(kind, endpoint, endpoint)
    }
}
