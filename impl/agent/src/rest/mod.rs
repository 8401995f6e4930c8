// SPDX-License-Identifier: Apache-2.0
//! The REST API of Cilium 1.4, over a unix socket.
//!
//! Requests that change something become events for the control thread, and are answered when it says so: after what was
//! asked is realized. Questions are answered from views, converted to the models of the `api` crate.

mod change;
mod config;
mod debuginfo;
mod endpoint;
mod endpoint_model;
mod identity;
mod ipam;
mod maps;
mod message;
mod metrics;
mod policy;
mod refused;
mod route;
mod serve;
mod service;
mod status;
#[cfg(test)]
mod tests;
mod timestamp;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use monitor::Hub;

use crate::config::Config;
use crate::control::Control;
use crate::metrics::Counters;
use crate::monitoring::Monitoring;
use crate::node::Node;
use crate::realize::{Realizer, Target};

pub use message::Reply;
pub use refused::Refused;
pub use serve::{CONNECTIONS, or_pause, serve_connection, serve_metrics, serve_unix};
pub use timestamp::rfc3339;

/// How long a question may take. The threads answer in microseconds unless something is very wrong.
const ANSWER: Duration = Duration::from_secs(10);
/// How long a request waits until it is realized, a little less than 1.4's clients wait for their reply.
const REALIZED: Duration = Duration::from_secs(55);

/// What handlers know.
#[derive(Debug)]
pub struct Api<T> {
    /// The control plane.
    pub control: Control,
    /// State files and datapath.
    pub realizer: Realizer<T>,
    /// What was told at start.
    pub config: Config,
    /// This node.
    pub node: Node,
    /// What happened so far.
    pub counters: Counters,
    /// Who listens to events.
    pub hub: Hub,
    /// What they are told.
    pub monitoring: Arc<Monitoring>,
    /// When the agent started.
    pub started: SystemTime,
}

impl<T: Target> Api<T> {
    /// The answer to a question about the control plane.
    async fn plane<R: Send + 'static>(
        &self,
        question: impl FnOnce(&controlplane::ControlPlane) -> R + Send + 'static,
    ) -> Result<R, Refused> {
        let receiver = self.control.ask(question)?;
        Refused::unless_answered(ANSWER, "the control thread", receiver).await
    }

    /// The answer to a question about the datapath.
    async fn target<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, Refused> {
        let receiver = self.realizer.ask(question)?;
        Refused::unless_answered(ANSWER, "the datapath", receiver).await
    }

    /// Carries a request out, to its end.
    async fn request(
        &self,
        make: impl FnOnce(controlplane::Ticket) -> controlplane::Event + Send + 'static,
    ) -> Result<controlplane::Answer, Refused> {
        self.ask_for(make).await?.map_err(Refused::from)
    }

    /// As [`Api::request`], with the refusal as it is.
    async fn ask_for(
        &self,
        make: impl FnOnce(controlplane::Ticket) -> controlplane::Event + Send + 'static,
    ) -> Result<controlplane::Reply, Refused> {
        self.counters.event("api");
        let receiver = self.control.request(make)?;
        Refused::unless_answered(REALIZED, "the datapath", receiver).await
    }
}
