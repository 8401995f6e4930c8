// SPDX-License-Identifier: Apache-2.0
//! What the datapath and the agent tell: decoded, formatted, filtered, given to all that listen.
//!
//! In the agent, one thread reads the ring buffer and gives what it reads to [`Hub::publish_kernel`]; others give
//! [`AgentEvent`]s to [`Hub::publish`]. A [`Server`] hands them to whoever connects to the monitor's socket, where
//! [`Events`] reads them. The socket speaks JSON by lines: see [`wire`].

mod agent_event;
mod client;
mod decode;
mod dissect;
mod event;
mod filter;
mod hub;
mod interfaces;
mod queue;
mod server;
mod text;
pub mod wire;
mod words;

pub use agent_event::AgentEvent;
pub use client::{Events, MonitorError};
pub use decode::{DecodeError, Decoder};
pub use dissect::{Flow, Summary};
pub use event::{DebugMessage, DropNotice, Event, Lost, LostWhere, PolicyVerdict, TraceNotice};
pub use filter::{Filter, Kind, UnknownKind};
pub use hub::{Hub, HubStatistics, Listening, MAX_SUBSCRIBERS, SubscribeError, Subscription};
pub use interfaces::InterfaceNames;
pub use server::Server;
pub use words::{Direction, Mark, ObservationPoint, PolicyAction, PolicyMatch, TraceState};
