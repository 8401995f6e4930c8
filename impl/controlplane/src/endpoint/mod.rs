// SPDX-License-Identifier: Apache-2.0
//! Endpoints: what has an address, labels and a policy on this node.

pub(crate) mod labels;
mod record;
mod reference;
mod registry;
mod state;

pub(crate) use record::Endpoint;
pub use reference::{EndpointRef, EndpointRefError};
pub(crate) use registry::Registry;
pub use state::{LogCode, LogEntry, State};
