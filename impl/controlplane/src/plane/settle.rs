// SPDX-License-Identifier: Apache-2.0
//! After an event: what changed becomes the next revision.

use std::collections::BTreeSet;

use policy::{Direction, PolicyDelta};

use super::services::Balanced;
use super::{ControlPlane, MOST_REVISIONS};
use crate::deltas::{Deltas, NodeState};
use crate::event::Timestamp;

impl ControlPlane {
    /// Tells what changed, and answers who waits for no more than what is realized.
    pub(super) fn settle(&mut self, now: Timestamp) -> Option<Deltas> {
        let mut deltas = self.tell(now);
        self.finish_deletions();
        self.answer_waiters(now);
        // A new endpoint that could not be realized goes now: that is one more change.
        if self.going.values().any(Option::is_none) {
            match (&mut deltas, self.tell(now)) {
                (Some(deltas), Some(later)) => deltas.merge(later),
                (deltas @ None, later) => *deltas = later,
                (Some(_), None) => {}
            }
        }
        deltas
    }

    fn tell(&mut self, now: Timestamp) -> Option<Deltas> {
        self.settle_prefixes();
        self.retry_numbers(now);
        self.fill_rows();
        let Balanced { services, backends, health_checks } = self.balance();
        let deltas = Deltas {
            revision: self.revision + 1,
            endpoints: self.endpoint_rows.drain(),
            policy: self.drain_policy(),
            ipcache: self.ipcache.drain(),
            services,
            backends,
            health_checks,
            state: self.state_rows.drain(),
            node: self.node_row.drain().upserts.pop().map(|((), row)| row),
        };
        let told = !deltas.is_empty();
        if told {
            self.revision += 1;
        }
        self.number_waiters();
        self.note_told(&deltas, now);
        self.note_policy_revision();
        told.then_some(deltas)
    }

    /// Rows of the endpoints of which something may have changed.
    fn fill_rows(&mut self) {
        for id in std::mem::take(&mut self.dirty) {
            let Some(endpoint) = self.endpoints.get(id) else { continue };
            self.endpoint_rows.upsert(id, endpoint.to_row(&self.config.options));
            self.state_rows.upsert(id, endpoint.to_state());
            if self.again.contains(&id) {
                self.endpoint_rows.touch(id);
                self.state_rows.touch(id);
                endpoint.addresses().for_each(|address| self.ipcache.touch(address.into()));
            }
        }
        if std::mem::take(&mut self.node_changed) {
            let row = self.node_state();
            self.node_row.upsert((), row);
        }
    }

    pub(super) fn node_state(&self) -> NodeState {
        let local = self.cidrs.iter().filter(|(_, identity)| identity.is_local());
        NodeState {
            rules: self.rules.of_api(),
            services: self.balancer.api(),
            cidr_identities: local.map(|(prefix, identity)| (*prefix, identity.as_u32())).collect(),
        }
    }

    /// Changes of the policy maps; those told again are whole.
    fn drain_policy(&mut self) -> Vec<PolicyDelta> {
        let again = std::mem::take(&mut self.again);
        let mut deltas = self.rules.take_deltas();
        deltas.retain(|delta| self.endpoint_rows.rows().contains_key(&delta.endpoint));
        for id in again {
            let Some(whole) = self.whole_policy(id) else { continue };
            match deltas.iter_mut().find(|delta| delta.endpoint == id) {
                Some(delta) => delta.upserts = whole.upserts,
                None => deltas.push(whole),
            }
        }
        deltas
    }

    fn whole_policy(&self, id: u16) -> Option<PolicyDelta> {
        let entries = self.rules.map_state(id)?;
        Some(PolicyDelta {
            endpoint: id,
            upserts: entries.into_iter().collect(),
            removals: Vec::new(),
            enforcing_ingress: self.rules.enforcing(id, Direction::Ingress),
            enforcing_egress: self.rules.enforcing(id, Direction::Egress),
        })
    }

    fn note_told(&mut self, deltas: &Deltas, now: Timestamp) {
        let rows = deltas.endpoints.upserts.iter().map(|(id, _)| *id);
        let state = deltas.state.upserts.iter().map(|(id, _)| *id);
        let told: BTreeSet<u16> =
            rows.chain(state).chain(deltas.policy.iter().map(|delta| delta.endpoint)).collect();
        for id in told {
            let (revision, policy) = (self.revision, self.realized_policy);
            if let Some(endpoint) = self.endpoints.find_mut(id) {
                endpoint.told = revision;
                if !self.unsettled.contains(&id) {
                    endpoint.realized_policy = policy;
                }
            }
            self.review(id, now);
        }
    }

    /// The rules of now are realized with the last revision that was told.
    fn note_policy_revision(&mut self) {
        let (policy, waiting) = (self.rules.revision(), self.policy_of.len());
        match self.policy_of.back_mut() {
            Some((of, last)) if *of == self.revision => *last = policy,
            Some(back) if waiting == MOST_REVISIONS => *back = (self.revision, policy),
            _ if self.realized < self.revision => self.policy_of.push_back((self.revision, policy)),
            _ => self.realized_policy = policy,
        }
    }
}
