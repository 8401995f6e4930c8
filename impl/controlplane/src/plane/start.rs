// SPDX-License-Identifier: Apache-2.0
//! Until every source told all that it knows: facts gather, requests wait, nothing is told to the targets.
//!
//! What an earlier run left in the kernel goes on working meanwhile. Deciding on half of the facts would open what a rule
//! that was not read yet closes, and would give numbers away that an endpoint not yet restored has.

use std::collections::BTreeSet;

use identity::{NumericIdentity, cidr};

use super::{ControlPlane, MOST_WAITING};
use crate::deltas::EndpointState;
use crate::endpoint::Endpoint;
use crate::event::{Event, SourceName, Ticket, Timestamp};
use crate::reply::{Notice, Refusal};

impl ControlPlane {
    /// Takes an event before all sources are known.
    pub(super) fn collect(&mut self, event: Event, now: Timestamp) {
        if let Some(ticket) = event.ticket() {
            self.queue(ticket, event, now);
        } else {
            self.collect_fact(event, now);
        }
        if self.unsynced.is_empty() {
            self.start(now);
        }
    }

    fn queue(&mut self, ticket: Ticket, event: Event, now: Timestamp) {
        if self.queued.len() >= MOST_WAITING {
            self.replies.push((ticket, Err(Refusal::Busy(MOST_WAITING))));
        } else {
            self.queued.push_back((event, now));
        }
    }

    fn collect_fact(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::Source { file, objects } => self.source(&file, objects, now),
            Event::SourceFailed { file, reason } => {
                self.source_failures.insert(file, reason);
            }
            Event::SourceSynced(source) => self.synced(source),
            Event::NodeAddresses(addresses) => {
                self.set_node_addresses(&addresses);
                self.synced(SourceName::Node);
            }
            Event::Restored(state) => self.collect_restored(state, now),
            Event::RestoredNode(state) => self.restored_node = state,
            Event::RestoreFailed { id, reason } => self.restore_failed(id, reason),
            Event::RestoredServices(ids) => {
                self.balancer.restore(ids);
            }
            // No address was given, nothing was told.
            Event::Tick | Event::Realized { .. } => {}
            // Requests have tickets.
            _ => {}
        }
    }

    fn synced(&mut self, source: SourceName) {
        if self.unsynced.remove(&source) && !self.unsynced.is_empty() {
            self.notices.push(Notice::Waiting(self.unsynced.iter().copied().collect()));
        }
    }

    fn collect_restored(&mut self, state: EndpointState, now: Timestamp) {
        let id = state.id;
        if let Err(reason) = check_state(&state) {
            self.restore_failed(id, reason);
        } else if self.endpoints.get(id).is_some() {
            self.restore_failed(id, "it was restored twice".to_owned());
        } else {
            self.endpoints.insert(Endpoint::restored(state, now));
        }
    }

    pub(super) fn restore_failed(&mut self, id: u16, reason: String) {
        self.notices.push(Notice::RestoreFailed { id, reason: reason.clone() });
        match self.restore_failures.get_mut(&id) {
            // Several things can be wrong with the node's file.
            Some(known) if id == 0 => known.extend(["; ", &*reason]),
            _ => {
                self.restore_failures.insert(id, reason);
            }
        }
    }

    /// Everything is known.
    fn start(&mut self, now: Timestamp) {
        self.started = true;
        self.notices.push(Notice::Synced);
        self.node_changed = true;
        let held = self.restore_prefixes();
        let rules = std::mem::take(&mut self.restored_node.rules);
        if !rules.is_empty() {
            self.rules.add_of_api(rules, false);
        }
        for (file, rules) in std::mem::take(&mut self.collected_rules) {
            self.rules.replace_of_file(&file, rules);
        }
        // In the order of numbers, whatever the order of arrival: of two that want the same, the first has it.
        let restored = std::mem::take(&mut self.endpoints).into_endpoints();
        let ids: Vec<u16> = restored.iter().map(|endpoint| endpoint.id).collect();
        for endpoint in restored {
            self.restore(endpoint, now);
        }
        for id in ids {
            self.update_pod(id);
            self.relabel(id, now);
        }
        self.settle_prefixes();
        for identity in held {
            self.release(identity);
        }
        self.restore_services();
        for (event, at) in std::mem::take(&mut self.queued) {
            self.dispatch(event, at);
        }
    }

    /// Numbers of prefixes that an earlier run gave, held until rules named them again.
    fn restore_prefixes(&mut self) -> Vec<NumericIdentity> {
        let mut held = Vec::new();
        for (prefix, number) in std::mem::take(&mut self.restored_node.cidr_identities) {
            match self.acquire_restored(NumericIdentity::new(number), &cidr::labels(prefix)) {
                Ok(identity) => held.push(identity),
                Err(error) => self.restore_failed(0, format!("identity of {prefix}: {error}")),
            }
        }
        held
    }

    /// Has an endpoint of an earlier run again, with its number, addresses and identity.
    fn restore(&mut self, endpoint: Endpoint, now: Timestamp) {
        let id = endpoint.id;
        let labels = endpoint.identity_labels.clone();
        if let Err(refusal) = self.claim_restored(&endpoint) {
            self.restore_failed(id, refusal.to_string());
            return;
        }
        let (wanted, had) = (endpoint.identity, endpoint.identity_labels.clone());
        self.endpoints.insert(endpoint);
        let identity = match self.acquire_restored(wanted, &had) {
            Ok(identity) => Ok(identity),
            // Another number, since the cluster's id changed or the file is wrong.
            Err(_) => self.acquire(&had),
        };
        match identity {
            Ok(identity) => self.take_identity(id, identity, labels, now),
            Err(error) => {
                self.endpoints.remove(id);
                self.restore_failed(id, error.to_string());
            }
        }
    }

    /// All of what it had, or nothing.
    fn claim_restored(&mut self, endpoint: &Endpoint) -> Result<(), Refusal> {
        self.endpoints.check_unique(&endpoint.request, None)?;
        let addresses: BTreeSet<_> = endpoint.addresses().collect();
        for address in &addresses {
            if self.node.contains(address) {
                let reason = format!("{address} is an address of the node");
                return Err(Refusal::Field { field: "addressing", reason });
            }
            self.ipam.claimable(*address)?;
        }
        for address in addresses {
            self.ipam.claim(address, endpoint.id)?;
        }
        Ok(())
    }

    /// An endpoint of an earlier run that comes after the start: nothing has its place, or it cannot be had.
    pub(super) fn restore_late(&mut self, state: EndpointState, now: Timestamp) {
        let id = state.id;
        if let Err(reason) = check_state(&state) {
            self.restore_failed(id, reason);
        } else if self.endpoints.get(id).is_some() {
            self.restore_failed(id, "another endpoint has its number".to_owned());
        } else {
            self.restore(Endpoint::restored(state, now), now);
            self.update_pod(id);
            self.relabel(id, now);
        }
    }
}

/// What cannot be in a file that this agent wrote.
fn check_state(state: &EndpointState) -> Result<(), String> {
    if state.version != EndpointState::VERSION {
        return Err(format!(
            "version: {} is not supported, only {} is",
            state.version,
            EndpointState::VERSION
        ));
    }
    if state.id == 0 {
        return Err("id: must be from 1 to 65535".to_owned());
    }
    if state.interface.is_empty() {
        return Err("interface: must not be empty".to_owned());
    }
    if state.identity_labels.is_empty() {
        return Err("identity-labels: must not be empty".to_owned());
    }
    Ok(())
}
