// SPDX-License-Identifier: Apache-2.0
//! Traffic in the manner of netperf, and the clockwork that gives each subject its turn.
//!
//! The client is this process, one thread per connection; the server is a process of its own
//! ([`serve`]), so that a round trip switches address spaces as it does between two pods.

mod client;
mod clients;
mod counters;
mod cpu;
mod phase;
mod serve;
mod server;
mod socket;
mod tally;
mod turns;
mod watchdog;

pub use client::{Client, ClientError, Close};
pub use clients::{Clients, SliceReport};
pub use counters::{CounterError, network_id, retransmitted_segments};
pub use cpu::{Cores, CpuError, Scheduler, online, pin};
pub use phase::{Measured, Outcome, PhaseError, PhaseOptions, STALL, Turn, measure};
pub use serve::{Endpoint, Order, ServeError, serve};
pub use server::{Server, ServerError};
pub use tally::{Tally, percentile};
pub use turns::order;
