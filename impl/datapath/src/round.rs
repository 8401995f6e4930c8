// SPDX-License-Identifier: Apache-2.0
//! What came of one round of writes: what failed, why, and what is to be tried again.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use controlplane::{Deltas, EndpointRow, Failure, IpcacheRow, Row};
use ipnet::IpNet;
use loadbalancer::{BackendRow, Frontend, ServiceRow};
use policy::{PolicyDelta, PolicyEntry, PolicyKey};

/// One round of writes.
#[derive(Debug, Default)]
pub struct Round<'a> {
    /// Endpoints that are to be made or changed.
    rows: BTreeMap<u16, EndpointRow>,
    /// Policy that is to be written, by endpoint.
    policy: BTreeMap<u16, PolicyDelta>,
    /// Endpoints of which a write failed on which later ones build.
    broken: BTreeSet<u16>,
    /// Services that are to be made or changed.
    services: HashMap<Frontend, &'a ServiceRow>,
    frontends: HashMap<u16, Frontend>,
    backends: HashMap<u32, &'a BackendRow>,
    failed_services: BTreeMap<Frontend, &'a ServiceRow>,
    failed_backends: BTreeMap<u32, &'a BackendRow>,
    kept_services: BTreeSet<Frontend>,
    kept_backends: BTreeSet<u32>,
    strays: bool,
    failed: Deltas,
    reasons: BTreeMap<Row, (usize, String)>,
}

impl<'a> Round<'a> {
    /// The round that brings these changes about.
    pub fn new(deltas: &'a Deltas) -> Self {
        Self {
            services: deltas.services.upserts.iter().map(|(frontend, row)| (*frontend, row)).collect(),
            frontends: deltas.services.upserts.iter().map(|(frontend, row)| (row.id, *frontend)).collect(),
            backends: deltas.backends.upserts.iter().map(|(id, row)| (*id, row)).collect(),
            rows: deltas.endpoints.upserts.iter().cloned().collect(),
            policy: deltas.policy.iter().map(|delta| (delta.endpoint, delta.clone())).collect(),
            ..Self::default()
        }
    }

    /// The row of an endpoint that is to be made or changed, if nothing stands against it so far.
    pub fn row(&self, id: u16) -> Option<&EndpointRow> {
        self.rows.get(&id).filter(|_| !self.broken.contains(&id))
    }

    /// All such rows, to find out the indices of their devices.
    pub fn rows_mut(&mut self) -> impl Iterator<Item = &mut EndpointRow> {
        self.rows.values_mut()
    }

    /// Whether nothing more is to be written of an endpoint.
    pub fn is_broken(&self, id: u16) -> bool {
        self.broken.contains(&id)
    }

    fn say(&mut self, row: Row, reason: &dyn std::fmt::Display) {
        let entry = self.reasons.entry(row);
        entry.and_modify(|(count, _)| *count += 1).or_insert_with(|| (1, reason.to_string()));
    }

    /// An endpoint could not be made or changed: it is to be tried again as a whole.
    pub fn fail_endpoint(&mut self, id: u16, reason: &dyn std::fmt::Display) {
        if self.broken.insert(id) {
            if let Some(row) = self.rows.get(&id) {
                self.failed.endpoints.upserts.push((id, row.clone()));
            } else {
                self.again(id);
            }
        }
        self.say(Row::Endpoint(id), reason);
    }

    /// An endpoint could not be removed.
    pub fn fail_removal(&mut self, id: u16, reason: &dyn std::fmt::Display) {
        if !self.failed.endpoints.removals.contains(&id) {
            self.failed.endpoints.removals.push(id);
        }
        self.say(Row::Endpoint(id), reason);
    }

    /// Whether the endpoint could not be removed.
    pub fn removal_failed(&self, id: u16) -> bool {
        self.failed.endpoints.removals.contains(&id)
    }

    /// The policy map of an endpoint could not be made: all of its policy is to be tried again.
    pub fn fail_policy_map(&mut self, id: u16, reason: &dyn std::fmt::Display) {
        if let Some(delta) = self.policy.get(&id) {
            let delta = delta.clone();
            *self.again(id) = delta;
        }
        self.say(Row::Policy(id), reason);
        self.fail_endpoint(id, reason);
    }

    /// A row of an endpoint's policy map could not be written.
    pub fn fail_policy_row(
        &mut self,
        id: u16,
        key: PolicyKey,
        entry: PolicyEntry,
        reason: &dyn std::fmt::Display,
    ) {
        self.again(id).upserts.push((key, entry));
        self.say(Row::Policy(id), reason);
    }

    /// A row of an endpoint's policy map could not be removed.
    pub fn fail_policy_removal(&mut self, id: u16, key: PolicyKey, reason: &dyn std::fmt::Display) {
        self.again(id).removals.push(key);
        self.say(Row::Policy(id), reason);
    }

    /// A row of `cilium_ipcache`, to be written or removed.
    pub fn fail_ipcache(&mut self, prefix: IpNet, row: Option<IpcacheRow>, reason: &dyn std::fmt::Display) {
        match row {
            Some(row) => self.failed.ipcache.upserts.push((prefix, row)),
            None => self.failed.ipcache.removals.push(prefix),
        }
        self.say(Row::Ipcache(prefix), reason);
    }

    /// The service that is to have this id, if it is made or changed.
    pub fn service(&self, id: u16) -> Option<(Frontend, &'a ServiceRow)> {
        let frontend = self.frontends.get(&id)?;
        Some((*frontend, *self.services.get(frontend)?))
    }

    /// Something of the service of this id could not be written or removed: it is to be tried again as a whole.
    pub fn fail_service_id(&mut self, id: u16, reason: &dyn std::fmt::Display) {
        match self.frontends.get(&id).copied() {
            Some(frontend) => self.fail_service(&frontend, reason),
            None => self.fail_strays(reason),
        }
    }

    /// A frontend could not be made or changed: it is to be tried again as a whole.
    pub fn fail_service(&mut self, frontend: &Frontend, reason: &dyn std::fmt::Display) {
        if let Some(row) = self.services.get(frontend) {
            self.failed_services.insert(*frontend, row);
        }
        self.say(Row::Service(*frontend), reason);
    }

    /// Whether the service that is to have this id failed.
    pub fn service_failed(&self, id: u16) -> bool {
        self.frontends.get(&id).is_some_and(|frontend| self.failed_services.contains_key(frontend))
    }

    /// A frontend could not be removed.
    pub fn fail_service_removal(&mut self, frontend: &Frontend, reason: &dyn std::fmt::Display) {
        self.kept_services.insert(*frontend);
        self.say(Row::Service(*frontend), reason);
    }

    /// Whether the frontend could not be removed.
    pub fn service_removal_failed(&self, frontend: &Frontend) -> bool {
        self.kept_services.contains(frontend)
    }

    /// A backend could not be written.
    pub fn fail_backend(&mut self, id: u32, reason: &dyn std::fmt::Display) {
        if let Some(row) = self.backends.get(&id) {
            self.failed_backends.insert(id, row);
        }
        self.say(Row::Backend(id), reason);
    }

    /// Whether the backend could not be written.
    pub fn backend_failed(&self, id: u32) -> bool {
        self.failed_backends.contains_key(&id)
    }

    /// A backend could not be removed.
    pub fn fail_backend_removal(&mut self, id: u32, reason: &dyn std::fmt::Display) {
        self.kept_backends.insert(id);
        self.say(Row::Backend(id), reason);
    }

    /// Whether the backend could not be removed.
    pub fn backend_removal_failed(&self, id: u32) -> bool {
        self.kept_backends.contains(&id)
    }

    /// What all rows have in common failed.
    pub fn fail_all(&mut self, reason: &dyn std::fmt::Display) {
        self.say(Row::Datapath, reason);
    }

    /// Slots or rows of answers of a service that is gone could not be removed.
    pub fn fail_strays(&mut self, reason: &dyn std::fmt::Display) {
        self.strays = true;
        self.say(Row::Datapath, reason);
    }

    /// Whether anything is there that is no frontend's.
    pub const fn has_strays(&self) -> bool {
        self.strays
    }

    /// What is to be tried again of the endpoint's policy; at least that its map is found.
    fn again(&mut self, id: u16) -> &mut PolicyDelta {
        let at = self.failed.policy.iter().position(|delta| delta.endpoint == id);
        let at = at.unwrap_or_else(|| {
            let known = self.policy.get(&id);
            self.failed.policy.push(PolicyDelta {
                endpoint: id,
                upserts: Vec::new(),
                removals: Vec::new(),
                enforcing_ingress: known.is_some_and(|delta| delta.enforcing_ingress),
                enforcing_egress: known.is_some_and(|delta| delta.enforcing_egress),
            });
            self.failed.policy.len() - 1
        });
        &mut self.failed.policy[at]
    }

    /// What is to be tried again, and what to say of it.
    pub fn finish(mut self) -> (Deltas, Vec<Failure>) {
        let services = self.failed_services.into_iter().map(|(frontend, row)| (frontend, row.clone()));
        self.failed.services.upserts = services.collect();
        self.failed.backends.upserts = self.failed_backends.into_iter().map(|(id, row)| (id, *row)).collect();
        self.failed.services.removals = self.kept_services.into_iter().collect();
        self.failed.backends.removals = self.kept_backends.into_iter().collect();
        let failures = self.reasons.into_iter().map(|(row, (count, reason))| Failure {
            row,
            reason: if count > 1 { format!("{reason} (and {} more)", count - 1) } else { reason },
        });
        (self.failed, failures.collect())
    }
}
