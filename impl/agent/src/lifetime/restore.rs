// SPDX-License-Identifier: Apache-2.0
//! What the agent before left: endpoints whose interfaces are still there, rules of the API.

use std::collections::{BTreeMap, BTreeSet};

use controlplane::{EndpointState, Event, NodeState, SourceName};

use crate::state::{NodeFile, StateDir, StateError};

/// What was found, checked.
#[derive(Debug, Default)]
pub struct Restored {
    /// Endpoints to take up.
    pub endpoints: Vec<EndpointState>,
    /// Those that cannot be, and why; 0 is the node.
    pub failed: BTreeMap<u16, String>,
    /// Those whose interfaces are gone.
    pub gone: BTreeSet<u16>,
    /// The node's own.
    pub node: Option<NodeState>,
}

/// Reads the state directory. `links` are the interfaces that are there, by name.
///
/// # Errors
/// When the directory cannot be read at all.
pub fn restore(state: &StateDir, links: &BTreeMap<String, u32>) -> Result<Restored, StateError> {
    let mut restored = Restored::default();
    match state.node(NodeFile::Node) {
        Ok(node) => restored.node = node,
        Err(error) => {
            restored.failed.insert(0, error.to_string());
        }
    }
    let found = state.endpoints::<EndpointState>()?;
    restored.failed.extend(found.skipped.into_iter().map(|(id, error)| (id, error.to_string())));
    for (id, mut endpoint) in found.endpoints {
        if endpoint.id != id {
            let reason = format!("the file of endpoint {id} is that of endpoint {}", endpoint.id);
            restored.failed.insert(id, reason);
            continue;
        }
        match links.get(&endpoint.interface) {
            // Its pod ended while no agent ran: nothing is wrong.
            None => {
                tracing::info!(
                    endpoint = id,
                    interface = endpoint.interface,
                    "its interface is gone, and so is it"
                );
                restored.gone.insert(id);
            }
            Some(index) => {
                // A machine that was restarted numbers interfaces anew.
                endpoint.ifindex = *index;
                restored.endpoints.push(endpoint);
            }
        }
    }
    Ok(restored)
}

impl Restored {
    /// What the control plane is told: at last that this was all.
    pub fn into_events(self) -> impl Iterator<Item = Event> {
        let failed = self.failed.into_iter().map(|(id, reason)| Event::RestoreFailed { id, reason });
        failed
            .chain(self.node.map(Event::RestoredNode))
            .chain(self.endpoints.into_iter().map(Event::Restored))
            .chain([Event::SourceSynced(SourceName::State)])
    }
}
