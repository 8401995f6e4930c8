// SPDX-License-Identifier: Apache-2.0
//! Requests about endpoints.

use std::net::IpAddr;

use identity::{Labels, NumericIdentity};

use super::ControlPlane;
use super::realize::About;
use crate::endpoint::{Endpoint, EndpointRef, LogCode, State, labels};
use crate::event::{EndpointPatch, EndpointRequest, LabelChange, Ticket, Timestamp};
use crate::ipcache::Layer;
use crate::options::EndpointOptions;
use crate::reply::{Answer, Notice, Refusal};

impl ControlPlane {
    pub(super) fn create(
        &mut self,
        request: EndpointRequest,
        ticket: Ticket,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.check_request(&request)?;
        let id = match request.id {
            0 => self.endpoints.free_id().ok_or(Refusal::NoEndpointId)?,
            id => match self.endpoints.get(id) {
                Some(_) => return Err(Refusal::Duplicate { field: "id", value: id.to_string(), id }),
                None => id,
            },
        };
        let sync_build = request.sync_build;
        let mut endpoint = Endpoint::new(id, request, now);
        endpoint.note(now, LogCode::Ok, "created");
        self.endpoints.insert(endpoint);
        self.update_pod(id);
        if let Err(refusal) = self.identify_new(id, now) {
            self.endpoints.remove(id);
            return Err(refusal);
        }
        self.take_addresses(id)?;
        let created = Notice::EndpointState { id, state: Some(State::Creating), reason: String::new() };
        self.notices.push(created);
        if sync_build {
            self.wait(ticket, About::Created(id));
        } else {
            self.replies.push((ticket, Ok(Answer::EndpointCreated { id })));
        }
        Ok(())
    }

    /// Refuses what cannot be before anything is done about it.
    fn check_request(&self, request: &EndpointRequest) -> Result<(), Refusal> {
        let refuse = |field, reason: &str| Err(Refusal::Field { field, reason: reason.to_owned() });
        if request.interface.is_empty() {
            return refuse("interface-name", "must not be empty");
        }
        if request.ipv4.is_none() && request.ipv6.is_none() {
            return refuse("addressing", "an endpoint needs an IPv4 or an IPv6 address");
        }
        check_pod(&request.k8s_namespace, &request.k8s_pod_name)?;
        labels::check_no_reserved(&request.labels)?;
        let addresses = request.ipv4.map(IpAddr::from).into_iter().chain(request.ipv6.map(IpAddr::from));
        for address in addresses {
            if address.is_unspecified() || address.is_loopback() || address.is_multicast() {
                return refuse("addressing", &format!("{address} cannot be an endpoint's address"));
            }
            if self.node.contains(&address) {
                return refuse("addressing", &format!("{address} is an address of the node"));
            }
            self.ipam.claimable(address)?;
        }
        self.endpoints.check_unique(request, None)
    }

    /// The first labels of an endpoint, and their number.
    fn identify_new(&mut self, id: u16, now: Timestamp) -> Result<(), Refusal> {
        let Some(endpoint) = self.endpoints.find_mut(id) else { return Ok(()) };
        endpoint.enter(State::WaitingForIdentity, now, "labels are known");
        let endpoint = endpoint.clone();
        let filtered = self.labels_for(&endpoint);
        let identity = self.acquire(&filtered.identity).map_err(|error| Refusal::NoIdentity {
            labels: filtered.identity.to_string(),
            reason: error.to_string(),
        })?;
        if let Some(endpoint) = self.endpoints.find_mut(id) {
            endpoint.information = filtered.information;
        }
        self.take_identity(id, identity, filtered.identity, now);
        self.tell_policy(id);
        self.dirty.insert(id);
        Ok(())
    }

    /// The addresses were found to be claimable.
    fn take_addresses(&mut self, id: u16) -> Result<(), Refusal> {
        let addresses: Vec<IpAddr> =
            self.endpoints.get(id).into_iter().flat_map(Endpoint::addresses).collect();
        for address in addresses {
            self.ipam.claim(address, id)?;
        }
        Ok(())
    }

    pub(super) fn patch(
        &mut self,
        reference: &EndpointRef,
        patch: EndpointPatch,
        now: Timestamp,
    ) -> Result<u16, Refusal> {
        let endpoint = self.living(reference)?;
        let (id, mut request) = (endpoint.id, endpoint.request.clone());
        let pod_before = (request.k8s_namespace.clone(), request.k8s_pod_name.clone());
        apply(&patch, &mut request);
        if request.interface.is_empty() {
            return Err(Refusal::Field { field: "interface-name", reason: "must not be empty".to_owned() });
        }
        check_pod(&request.k8s_namespace, &request.k8s_pod_name)?;
        labels::check_no_reserved(&request.labels)?;
        self.endpoints.check_unique(&request, Some(id))?;
        self.endpoints.change(id, |own| *own = request);
        self.note(id, now, "patched");
        self.changed_pods.insert(pod_before);
        self.update_pod(id);
        self.relabel(id, now);
        Ok(id)
    }

    pub(super) fn change_labels(
        &mut self,
        reference: &EndpointRef,
        change: &LabelChange,
        now: Timestamp,
    ) -> Result<u16, Refusal> {
        let endpoint = self.living(reference)?;
        let id = endpoint.id;
        let namespace = self.files.namespace(&endpoint.request.k8s_namespace);
        let (user, disabled) = labels::changed(endpoint, namespace, &self.config.cluster_name, change)?;
        if let Some(endpoint) = self.endpoints.find_mut(id) {
            endpoint.user_labels = user;
            endpoint.disabled_labels = disabled;
        }
        self.note(id, now, "labels changed by a user");
        self.relabel(id, now);
        Ok(id)
    }

    pub(super) fn change_options(
        &mut self,
        reference: &EndpointRef,
        options: &EndpointOptions,
        now: Timestamp,
    ) -> Result<u16, Refusal> {
        let id = self.living(reference)?.id;
        if let Some(endpoint) = self.endpoints.find_mut(id) {
            endpoint.options = endpoint.options.overlaid(options);
        }
        self.note(id, now, "options changed");
        self.dirty.insert(id);
        Ok(id)
    }

    pub(super) fn regenerate(&mut self, reference: &EndpointRef, now: Timestamp) -> Result<u16, Refusal> {
        let id = self.living(reference)?.id;
        self.note(id, now, "regeneration asked for");
        if let Some(endpoint) = self.endpoints.find_mut(id) {
            endpoint.announce = true;
        }
        self.dirty.insert(id);
        self.again.insert(id);
        Ok(id)
    }

    pub(super) fn delete(
        &mut self,
        reference: &EndpointRef,
        ticket: Ticket,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let endpoint =
            self.endpoints.find(reference).ok_or_else(|| Refusal::NoEndpoint(reference.to_string()))?;
        let id = endpoint.id;
        self.begin_deletion(id, "deleted", now);
        self.wait(ticket, About::Deleted(id));
        Ok(())
    }

    /// From now on nothing is desired of the endpoint. Its number and its addresses are free once that is realized.
    pub(super) fn begin_deletion(&mut self, id: u16, reason: &'static str, now: Timestamp) {
        if self.going.contains_key(&id) {
            return;
        }
        let Some(endpoint) = self.endpoints.find_mut(id) else { return };
        endpoint.enter(State::Disconnecting, now, reason);
        let identity = std::mem::replace(&mut endpoint.identity, NumericIdentity::UNKNOWN);
        endpoint.identity_labels = Labels::empty();
        let addresses: Vec<IpAddr> = endpoint.addresses().collect();
        let pod = (endpoint.request.k8s_namespace.clone(), endpoint.request.k8s_pod_name.clone());
        self.changed_pods.insert(pod);
        for address in addresses {
            self.ipcache.set(Layer::Endpoint, address.into(), None);
        }
        self.rules.endpoint_removed(id);
        self.release(identity);
        self.endpoint_rows.remove(&id);
        self.state_rows.remove(&id);
        self.endpoints.forget(id);
        self.endpoints_without.remove(&id);
        self.dirty.remove(&id);
        self.again.remove(&id);
        self.unsettled.remove(&id);
        self.going.insert(id, None);
    }

    /// An endpoint that does not go.
    fn living(&self, reference: &EndpointRef) -> Result<&Endpoint, Refusal> {
        let endpoint =
            self.endpoints.find(reference).ok_or_else(|| Refusal::NoEndpoint(reference.to_string()))?;
        if endpoint.state == State::Disconnecting {
            return Err(Refusal::Disconnecting(endpoint.id));
        }
        Ok(endpoint)
    }

    fn note(&mut self, id: u16, now: Timestamp, message: &'static str) {
        if let Some(endpoint) = self.endpoints.find_mut(id) {
            endpoint.note(now, LogCode::Ok, message);
        }
    }
}

fn check_pod(namespace: &str, name: &str) -> Result<(), Refusal> {
    if namespace.is_empty() && !name.is_empty() {
        let reason = "must be given with k8s-pod-name".to_owned();
        return Err(Refusal::Field { field: "k8s-namespace", reason });
    }
    Ok(())
}

fn apply(patch: &EndpointPatch, request: &mut EndpointRequest) {
    fn set<T: Clone>(field: &mut T, value: &Option<T>) {
        if let Some(value) = value {
            *field = value.clone();
        }
    }
    set(&mut request.container_id, &patch.container_id);
    set(&mut request.container_name, &patch.container_name);
    set(&mut request.k8s_namespace, &patch.k8s_namespace);
    set(&mut request.k8s_pod_name, &patch.k8s_pod_name);
    set(&mut request.labels, &patch.labels);
    set(&mut request.interface, &patch.interface);
    set(&mut request.ifindex, &patch.ifindex);
    set(&mut request.mac, &patch.mac);
    set(&mut request.node_mac, &patch.node_mac);
}
