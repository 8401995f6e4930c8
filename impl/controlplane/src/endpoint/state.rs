// SPDX-License-Identifier: Apache-2.0
//! Where an endpoint is in its life, and what happened to it.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;

use crate::event::Timestamp;

/// Where an endpoint is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Just asked for.
    Creating,
    /// No number stands for its labels yet.
    WaitingForIdentity,
    /// The targets cannot have it as desired; they go on trying.
    NotReady,
    /// What is desired of it changed, and cannot be told before all sources are known.
    WaitingToRegenerate,
    /// What is desired of it is told to the targets.
    Regenerating,
    /// An earlier run had it; it is as that run left it until all sources are known.
    Restoring,
    /// The targets have it as desired.
    Ready,
    /// It goes.
    Disconnecting,
}

impl State {
    /// All of them.
    pub const EVERY: [Self; 8] = [
        Self::Creating,
        Self::WaitingForIdentity,
        Self::NotReady,
        Self::WaitingToRegenerate,
        Self::Regenerating,
        Self::Restoring,
        Self::Ready,
        Self::Disconnecting,
    ];

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::WaitingForIdentity => "waiting-for-identity",
            Self::NotReady => "not-ready",
            Self::WaitingToRegenerate => "waiting-to-regenerate",
            Self::Regenerating => "regenerating",
            Self::Restoring => "restoring",
            Self::Ready => "ready",
            Self::Disconnecting => "disconnecting",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether what happened is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogCode {
    /// It is.
    Ok,
    /// It is not.
    Failed,
}

/// Something that happened to an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    /// When.
    pub at: Timestamp,
    /// Whether it is well.
    pub code: LogCode,
    /// The state it was in afterwards.
    pub state: State,
    /// What happened.
    pub message: Cow<'static, str>,
}

/// The last things that happened to an endpoint.
#[derive(Debug, Clone, Default)]
pub(crate) struct Log(VecDeque<LogEntry>);

impl Log {
    /// How many are kept, as in Cilium 1.4; of more the oldest goes.
    pub(crate) const LENGTH: usize = 256;

    pub(crate) fn push(&mut self, entry: LogEntry) {
        if self.0.len() == Self::LENGTH {
            self.0.pop_front();
        }
        self.0.push_back(entry);
    }

    /// From the oldest.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &LogEntry> {
        self.0.iter()
    }
}
