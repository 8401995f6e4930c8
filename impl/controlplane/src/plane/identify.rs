// SPDX-License-Identifier: Apache-2.0
//! Labels to numbers: of endpoints and of prefixes.

use identity::{Acquired, AllocatorError, Filtered, Labels, NumericIdentity, cidr};
use ipnet::IpNet;

use super::ControlPlane;
use crate::endpoint::{Endpoint, LogCode, State, labels};
use crate::event::Timestamp;
use crate::ipcache::Layer;
use crate::reply::Notice;

impl ControlPlane {
    /// Takes a reference to the number of these labels; policy knows it from now on.
    pub(super) fn acquire(&mut self, wanted: &Labels) -> Result<NumericIdentity, AllocatorError> {
        let acquired = self.identities.acquire(wanted)?;
        self.known(acquired);
        Ok(acquired.identity)
    }

    /// Takes a reference to this number for these labels.
    pub(super) fn acquire_restored(
        &mut self,
        identity: NumericIdentity,
        wanted: &Labels,
    ) -> Result<NumericIdentity, AllocatorError> {
        let acquired = self.identities.restore(identity, wanted)?;
        self.known(acquired);
        Ok(acquired.identity)
    }

    fn known(&mut self, acquired: Acquired) {
        if acquired.new
            && let Some(labels) = self.identities.labels_of(acquired.identity)
        {
            self.rules.identity_added(acquired.identity, labels);
        }
    }

    /// Gives a reference back; policy forgets the number with the last one.
    pub(super) fn release(&mut self, identity: NumericIdentity) {
        if self.identities.release(identity) {
            self.rules.identity_removed(identity);
            self.freed = true;
        }
    }

    /// Takes what its pod's object says, if there is one.
    pub(super) fn update_pod(&mut self, id: u16) {
        let Some(endpoint) = self.endpoints.find_mut(id) else { return };
        let key = (endpoint.request.k8s_namespace.clone(), endpoint.request.k8s_pod_name.clone());
        if let Some(pod) = self.files.pod(&key) {
            endpoint.pod = Some(labels::facts(pod));
        }
        self.changed_pods.insert(key);
    }

    /// Computes the labels of an endpoint, and gives it their number.
    pub(super) fn relabel(&mut self, id: u16, now: Timestamp) {
        self.dirty.insert(id);
        let Some(endpoint) = self.endpoints.get(id) else { return };
        let filtered = self.labels_for(endpoint);
        let current = endpoint.identity;
        let same = filtered.identity == endpoint.identity_labels;
        if let Some(endpoint) = self.endpoints.find_mut(id) {
            endpoint.information = filtered.information;
        }
        if same && self.endpoints_without.remove(&id).is_none() {
            self.tell_policy(id);
            return;
        }
        match self.acquire(&filtered.identity) {
            Ok(identity) => {
                self.endpoints_without.remove(&id);
                self.take_identity(id, identity, filtered.identity, now);
                self.release(current);
                self.tell_policy(id);
            }
            Err(error) => self.without_identity(id, &filtered.identity, &error, now),
        }
    }

    pub(super) fn take_identity(
        &mut self,
        id: u16,
        identity: NumericIdentity,
        labels: Labels,
        now: Timestamp,
    ) {
        let Some(endpoint) = self.endpoints.find_mut(id) else { return };
        if endpoint.identity != identity {
            let message = format!("identity {identity} for {labels}");
            endpoint.note(now, LogCode::Ok, message);
        }
        endpoint.identity = identity;
        endpoint.identity_labels = labels;
        for address in endpoint.addresses() {
            self.ipcache.set(Layer::Endpoint, address.into(), Some(identity));
        }
    }

    /// It keeps the number that it has, since that is the last thing known to be right.
    fn without_identity(&mut self, id: u16, wanted: &Labels, error: &AllocatorError, now: Timestamp) {
        let (labels, reason) = (wanted.to_string(), error.to_string());
        if self.endpoints_without.insert(id, reason.clone()).is_none() {
            self.notices.push(Notice::NoIdentity { labels, reason: reason.clone() });
        }
        if let Some(endpoint) = self.endpoints.find_mut(id) {
            endpoint.enter(State::WaitingForIdentity, now, reason);
        }
    }

    /// Tells policy what the endpoint is.
    pub(super) fn tell_policy(&mut self, id: u16) {
        let Some(endpoint) = self.endpoints.get(id) else { return };
        if let Some(labels) = self.identities.labels_of(endpoint.identity) {
            self.rules.endpoint_set(id, labels, endpoint.named_ports());
        }
    }

    pub(super) fn labels_for(&self, endpoint: &Endpoint) -> Filtered {
        let namespace = self.files.namespace(&endpoint.request.k8s_namespace);
        labels::filtered(endpoint, namespace, &self.config.cluster_name, &self.config.label_filter)
    }

    /// Gives numbers to the prefixes that rules name since last time, and takes those of others back.
    pub(super) fn settle_prefixes(&mut self) {
        let changed = self.rules.take_prefixes();
        for prefix in changed.removed {
            self.prefixes_without.remove(&prefix);
            if let Some(identity) = self.cidrs.remove(&prefix) {
                self.ipcache.set(Layer::Cidr, prefix, None);
                self.release(identity);
                self.node_changed = true;
            }
        }
        for prefix in changed.added {
            self.number_prefix(prefix);
        }
    }

    /// What had no number tries again.
    pub(super) fn retry_numbers(&mut self, now: Timestamp) {
        if !std::mem::take(&mut self.freed) {
            return;
        }
        for prefix in self.prefixes_without.keys().copied().collect::<Vec<_>>() {
            self.number_prefix(prefix);
        }
        for id in self.endpoints_without.keys().copied().collect::<Vec<_>>() {
            self.relabel(id, now);
        }
    }

    fn number_prefix(&mut self, prefix: IpNet) {
        let labels = cidr::labels(prefix);
        match self.acquire(&labels) {
            Ok(identity) => {
                self.prefixes_without.remove(&prefix);
                self.cidrs.insert(prefix, identity);
                self.ipcache.set(Layer::Cidr, prefix, Some(identity));
                self.node_changed = true;
            }
            Err(error) => {
                let reason = error.to_string();
                if self.prefixes_without.insert(prefix, reason.clone()).is_none() {
                    self.notices.push(Notice::NoIdentity { labels: labels.to_string(), reason });
                }
            }
        }
    }
}
