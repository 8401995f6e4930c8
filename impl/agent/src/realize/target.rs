// SPDX-License-Identifier: Apache-2.0
//! What the realizing thread needs of a datapath.

use std::time::{Duration, Instant};

use controlplane::{Deltas, Desired, Failure};

/// A map in the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapSummary {
    /// Its name.
    pub name: String,
    /// Where it is pinned.
    pub path: String,
    /// How many entries it can hold.
    pub max_entries: u32,
    /// How many it holds, where that is known without reading it all.
    pub entries: Option<u64>,
}

/// A map with its entries as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapDump {
    /// Where it is pinned.
    pub path: String,
    /// Keys and values.
    pub entries: Vec<(String, String)>,
    /// Entries that are there and not among `entries`, since the dump has a limit.
    pub left_out: u64,
}

/// Packets that met the same fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketCount {
    /// Why they were dropped; 0 for forwarded.
    pub reason: u8,
    /// Where to.
    pub direction: maps::Direction,
    /// How many.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Whether services are brought about where processes connect, so that no packet need be translated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sockets {
    /// Sockets are translated: of processes in this control group and below it.
    Translated(String),
    /// Only packets are, and why.
    Not(String),
}

/// What became of connections of sockets to backends that went, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndedSockets {
    /// Times that sockets were looked for.
    pub passes: u64,
    /// Sockets that were ended.
    pub ended: u64,
    /// Times that it failed.
    pub failures: u64,
    /// Why it failed last; or why it never works here.
    pub reason: Option<String>,
    /// Whether it never works here.
    pub unsupported: bool,
}

/// What the cleaning of connection tables has done since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// Times that all tables were gone through.
    pub passes: u64,
    /// Connections that had ended and were removed.
    pub removed: u64,
    /// Times that the kernel refused.
    pub errors: u64,
}

/// Why there is no datapath.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(pub String);

impl From<std::io::Error> for TargetError {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// A datapath: the kernel's, or another value in tests. All calls come from one thread.
pub trait Target: 'static {
    /// Brings changes about. Returns all rows that are not as desired afterwards, also those of earlier calls.
    fn apply(&mut self, deltas: &Deltas) -> Vec<Failure>;

    /// Makes everything as desired, and removes what nobody desires. Called once all sources are known.
    fn resync(&mut self, desired: &Desired) -> Vec<Failure>;

    /// Tries again what failed.
    fn retry(&mut self) -> Vec<Failure>;

    /// Somebody listens to events, and wants these; `None`: nobody does.
    ///
    /// # Errors
    /// Why the kernel cannot be told.
    fn listen(&mut self, level: Option<u32>) -> Result<(), String>;

    /// Cleans up for at most some milliseconds. Returns when it wants to be called again.
    fn clean(&mut self, now: Instant) -> Duration;

    /// What that has done since the start.
    fn cleaning(&self) -> Cleaning;

    /// The ids of frontends and backends that the tables have: before the first change, those of an earlier run.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn services(&self) -> Result<loadbalancer::Restored, String>;

    /// Whether sockets are translated.
    fn sockets(&self) -> Sockets;

    /// What became of connections of sockets to backends that went.
    fn ended_sockets(&self) -> EndedSockets;

    /// The maps.
    fn maps(&self) -> Vec<MapSummary>;

    /// A map with at most `limit` entries; none of this name is `None`.
    ///
    /// # Errors
    /// Why it cannot be read.
    fn dump(&self, name: &str, limit: usize) -> Option<Result<MapDump, String>>;

    /// Packets since the maps were made.
    ///
    /// # Errors
    /// Why they cannot be read.
    fn packets(&self) -> Result<Vec<PacketCount>, String>;
}
