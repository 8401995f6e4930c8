// SPDX-License-Identifier: Apache-2.0
//! The state directory as a target.

use std::collections::BTreeMap;

use controlplane::{Desired, EndpointState, Failure, NodeState, Row};

use crate::state::{NodeFile, StateDir, StateError};

/// What is to be written or removed and could not be yet.
#[derive(Debug)]
pub struct StateFiles {
    dir: StateDir,
    pending: BTreeMap<u16, (Option<EndpointState>, String)>,
    node: Option<(NodeState, String)>,
}

impl StateFiles {
    /// Of this directory.
    pub fn new(dir: StateDir) -> Self {
        Self { dir, pending: BTreeMap::new(), node: None }
    }

    /// Writes what is new. Before the datapath: an endpoint that works and is forgotten would be taken away at restart.
    pub fn write(&mut self, upserts: &[(u16, EndpointState)], node: Option<&NodeState>) {
        for (id, state) in upserts {
            let done = self.dir.write(*id, state);
            self.note(*id, Some(state), done);
        }
        if let Some(state) = node {
            self.node =
                failed(self.dir.write_node(NodeFile::Node, state)).map(|reason| (state.clone(), reason));
        }
    }

    /// Removes what is gone. After the datapath: an endpoint that does not work and is known is made to work at restart.
    pub fn remove(&mut self, removals: &[u16]) {
        for id in removals {
            let done = self.dir.remove(*id);
            self.note(*id, None, done);
        }
    }

    /// Makes the directory as desired.
    pub fn resync(&mut self, desired: &Desired) {
        let upserts: Vec<_> = desired.state.iter().map(|(id, state)| (*id, state.clone())).collect();
        self.pending.clear();
        self.write(&upserts, Some(&desired.node));
        match self.dir.ids() {
            Ok(ids) => {
                let gone: Vec<_> = ids.into_iter().filter(|id| !desired.state.contains_key(id)).collect();
                self.remove(&gone);
            }
            // What is left over is skipped at the next start too, for its interface is gone.
            Err(error) => tracing::error!(%error, "state files of old endpoints cannot be found"),
        }
    }

    /// Tries again what failed.
    pub fn retry(&mut self) {
        for (id, (state, _)) in std::mem::take(&mut self.pending) {
            let done = match &state {
                Some(state) => self.dir.write(id, state),
                None => self.dir.remove(id),
            };
            self.note(id, state.as_ref(), done);
        }
        if let Some((state, _)) = self.node.take() {
            self.write(&[], Some(&state));
        }
    }

    /// What is not as desired.
    pub fn failures(&self) -> impl Iterator<Item = Failure> {
        let endpoints = self
            .pending
            .iter()
            .map(|(id, (_, reason))| Failure { row: Row::State(*id), reason: reason.clone() });
        endpoints
            .chain(self.node.iter().map(|(_, reason)| Failure { row: Row::Node, reason: reason.clone() }))
    }

    fn note(&mut self, id: u16, state: Option<&EndpointState>, done: Result<(), StateError>) {
        match failed(done) {
            None => self.pending.remove(&id),
            Some(reason) => self.pending.insert(id, (state.cloned(), reason)),
        };
    }
}

fn failed(done: Result<(), StateError>) -> Option<String> {
    done.err().map(|error| error.to_string())
}
