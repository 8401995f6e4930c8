// SPDX-License-Identifier: Apache-2.0
//! What is said on the monitor's socket: JSON, one value a line.
//!
//! The client sends a [`Request`]. The server says [`Reply`]: that it listens for the client from now on, or why not.
//! Then come [`Event`](crate::Event)s until either hangs up. 1.4 spoke Go's `gob` here, which nothing but Go reads.

use std::collections::BTreeSet;
use std::io::{self, BufRead, Read};

use serde::{Deserialize, Serialize};

use crate::{Filter, Kind};

/// The longest line that either side reads.
pub const MAX_LINE_BYTES: u64 = 64 << 10;

/// The first line of a client: `{}` asks for everything but payloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// As [`Filter::types`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub types: BTreeSet<Kind>,
    /// As [`Filter::from`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub from: BTreeSet<u16>,
    /// As [`Filter::to`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub to: BTreeSet<u16>,
    /// As [`Filter::related`].
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub related: BTreeSet<u16>,
    /// Whether it wants the bytes of packets.
    pub payload: bool,
}

impl Request {
    /// What it wants.
    pub fn filter(&self) -> Filter {
        let Self { types, from, to, related, payload: _ } = self.clone();
        Filter { types, from, to, related }
    }
}

/// The first line of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Reply {
    /// What happens from now on is told.
    Subscribed,
    /// Nothing will be told.
    Refused {
        /// Why.
        message: String,
    },
}

/// A line, without its end; `None` when the other side has hung up.
pub(crate) fn read_line(reader: &mut impl BufRead) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    reader.take(MAX_LINE_BYTES + 1).read_until(b'\n', &mut line)?;
    match line.pop() {
        None => Ok(None),
        Some(b'\n') => Ok(Some(line)),
        Some(_) if line.len() as u64 >= MAX_LINE_BYTES => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a line is longer than {MAX_LINE_BYTES} bytes"),
        )),
        Some(_) => Err(io::Error::new(io::ErrorKind::UnexpectedEof, "a line has no end")),
    }
}

/// A value as a line.
pub(crate) fn line<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}
