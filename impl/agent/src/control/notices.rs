// SPDX-License-Identifier: Apache-2.0
//! What the control plane wants people to know: into the log, and to whoever listens to events.

use controlplane::{ControlPlane, EndpointRef, Notice, State};
use monitor::{AgentEvent, Event, Hub};

pub struct Notices {
    hub: Hub,
}

impl Notices {
    pub fn new(hub: Hub) -> Self {
        Self { hub }
    }

    pub fn tell(&self, plane: &ControlPlane, notice: Notice) {
        match notice {
            Notice::Synced => tracing::info!("all sources are known: what nobody desires is removed now"),
            Notice::Waiting(sources) => {
                let sources: Vec<_> = sources.iter().map(ToString::to_string).collect();
                tracing::info!(?sources, "waiting for sources");
            }
            Notice::RestoreFailed { id: 0, reason } => tracing::error!(reason, "the node's state is lost"),
            Notice::RestoreFailed { id, reason } => {
                tracing::error!(endpoint = id, reason, "endpoint is not taken up");
            }
            Notice::EndpointState { id, state, reason } => {
                let shown = state.map_or("disconnected", State::as_str);
                tracing::info!(endpoint = id, state = shown, reason, "endpoint");
                self.publish(plane, id, state, reason);
            }
            Notice::NoIdentity { labels, reason } => {
                tracing::error!(labels, reason, "no identity: what needs it goes without");
            }
            Notice::Twice { object, counts, file } => {
                tracing::warn!(object, counts, file, "two files define the same object");
            }
            Notice::ServiceRefused { what, reason } => {
                tracing::warn!(what, reason, "part of a service is not done");
            }
            Notice::ServicesRestoredLate => {
                tracing::error!(
                    "the ids of services of an earlier run came after the start, and are not used"
                );
            }
            Notice::AddressOfNode { address, id } => {
                tracing::error!(%address, endpoint = id, "an address of the node belongs to an endpoint too");
            }
        }
    }

    fn publish(&self, plane: &ControlPlane, id: u16, state: Option<State>, reason: String) {
        let labels = || {
            plane
                .endpoint(&EndpointRef::Local(id))
                .map(|view| view.identity_labels.printable())
                .unwrap_or_default()
        };
        let event = match state {
            None => AgentEvent::EndpointDeleted { id, labels: Vec::new() },
            Some(State::Creating) => AgentEvent::EndpointCreated { id, labels: labels() },
            Some(State::Ready) => AgentEvent::EndpointRegenerated { id, labels: labels() },
            Some(State::NotReady) => {
                AgentEvent::EndpointRegenerationFailed { id, labels: labels(), error: reason }
            }
            Some(_) => return,
        };
        self.hub.publish(Event::Agent(event));
    }
}
