// SPDX-License-Identifier: Apache-2.0
//! What could not be done with which map.

use std::io;
use std::path::PathBuf;

use crate::NotAPrefix;

/// `E2BIG`, with which hash maps say that they are full.
const E2BIG: i32 = 7;
/// `ENOSPC`, with which tries say so.
const ENOSPC: i32 = 28;

/// Why an operation on a map failed.
#[derive(Debug, thiserror::Error)]
pub enum MapError {
    /// No map is pinned there, or it cannot be opened.
    #[error("open map {path}: {source:#}")]
    Open {
        /// The pin.
        path: PathBuf,
        /// The kernel's answer.
        source: libbpf_rs::Error,
    },
    /// It is there, with rows of other sizes: another version made it.
    #[error("map {map} has keys of {found_key} and values of {found_value} bytes, not of {key} and {value}")]
    Layout {
        /// Its name.
        map: String,
        /// Expected size of a key.
        key: u32,
        /// Expected size of a value.
        value: u32,
        /// Size of its keys.
        found_key: u32,
        /// Size of its values.
        found_value: u32,
    },
    /// Each of its rows has one value for each CPU: it is read otherwise.
    #[error("map {map} has a value for each CPU")]
    PerCpu {
        /// Its name.
        map: String,
    },
    /// There is no room for another row.
    #[error("{action} map {map}: it is full, with {capacity} rows")]
    Full {
        /// What was tried.
        action: &'static str,
        /// Its name.
        map: String,
        /// How many rows it holds.
        capacity: u32,
    },
    /// The kernel refused.
    #[error("{action} map {map}: {source}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// Its name.
        map: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Another device has the row.
    #[error(
        "write to map {map}: the row of device {ifindex} is that of device {by}, whose index differs by a multiple of 65536"
    )]
    Taken {
        /// Its name.
        map: String,
        /// Index of the device that is refused.
        ifindex: u32,
        /// Index of the device that is there.
        by: u32,
    },
    /// A row holds what no row should.
    #[error("map {map}: {source}")]
    Row {
        /// Its name.
        map: String,
        /// What it holds.
        source: NotAPrefix,
    },
}

impl MapError {
    pub(crate) fn new(action: &'static str, map: &str, capacity: u32, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(E2BIG | ENOSPC) => Self::Full { action, map: map.to_owned(), capacity },
            _ => Self::Refused { action, map: map.to_owned(), source },
        }
    }

    /// Whether nothing is pinned there.
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Open { source, .. } if source.kind() == libbpf_rs::ErrorKind::NotFound)
    }

    /// Whether it failed for want of room.
    pub const fn is_full(&self) -> bool {
        matches!(self, Self::Full { .. })
    }
}
