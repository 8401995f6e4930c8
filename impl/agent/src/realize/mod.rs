// SPDX-License-Identifier: Apache-2.0
//! The thread that makes the outside as desired: state files and datapath. It alone writes to them.

mod realizer;
mod state_files;
mod target;
#[cfg(test)]
mod tests;

pub use realizer::{Busy, Latest, REALIZE_QUEUE, Realizer, Statistics};
pub use state_files::StateFiles;
pub use target::{Cleaning, EndedSockets, MapDump, MapSummary, PacketCount, Sockets, Target, TargetError};
