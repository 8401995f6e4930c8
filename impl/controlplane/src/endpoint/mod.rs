// SPDX-License-Identifier: Apache-2.0
//! Endpoints: what has an address, labels and a policy on this node.

mod reference;
mod state;

pub use reference::{EndpointRef, EndpointRefError};
pub use state::{LogCode, LogEntry, State};
