// SPDX-License-Identifier: Apache-2.0
//! All endpoints, and how they are found.

use std::collections::{BTreeMap, BTreeSet};

use super::record::Endpoint;
use super::reference::EndpointRef;
use super::state::State;
use crate::event::EndpointRequest;
use crate::files::PodKey;
use crate::reply::Refusal;

/// All endpoints by number, and what else each is known by. One that goes is found by its number only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Registry {
    endpoints: BTreeMap<u16, Endpoint>,
    by_reference: BTreeMap<EndpointRef, u16>,
    by_interface: BTreeMap<String, u16>,
    /// A pod may have more than one while an old one is not deleted yet: the last to come is the pod's.
    by_pod: BTreeMap<PodKey, Vec<u16>>,
    by_namespace: BTreeMap<String, BTreeSet<u16>>,
    /// The number given last: the search for a free one begins after it.
    last_id: u16,
}

impl Registry {
    pub(crate) fn find(&self, reference: &EndpointRef) -> Option<&Endpoint> {
        let id = match reference {
            EndpointRef::Local(id) => id,
            EndpointRef::PodName { namespace, name } => {
                self.of_pod(&(namespace.clone(), name.clone())).last()?
            }
            other => self.by_reference.get(other)?,
        };
        self.endpoints.get(id)
    }

    pub(crate) fn find_mut(&mut self, id: u16) -> Option<&mut Endpoint> {
        self.endpoints.get_mut(&id)
    }

    pub(crate) fn get(&self, id: u16) -> Option<&Endpoint> {
        self.endpoints.get(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Endpoint> {
        self.endpoints.values()
    }

    pub(crate) fn ids(&self) -> Vec<u16> {
        self.endpoints.keys().copied().collect()
    }

    /// All endpoints, in the order of their numbers.
    pub(crate) fn into_endpoints(self) -> Vec<Endpoint> {
        self.endpoints.into_values().collect()
    }

    /// The endpoints of a pod, the last to come last.
    pub(crate) fn of_pod(&self, pod: &PodKey) -> &[u16] {
        self.by_pod.get(pod).map_or(&[], Vec::as_slice)
    }

    /// The endpoints of a namespace's pods.
    pub(crate) fn of_namespace(&self, namespace: &str) -> impl Iterator<Item = u16> + '_ {
        self.by_namespace.get(namespace).into_iter().flatten().copied()
    }

    /// A number that none has; given again as late as possible.
    pub(crate) fn free_id(&self) -> Option<u16> {
        let after = (self.last_id.saturating_add(1).max(1)..=u16::MAX).chain(1..=self.last_id);
        after.into_iter().find(|id| !self.endpoints.contains_key(id))
    }

    /// Whether another endpoint than `own` is known by something of this request.
    pub(crate) fn check_unique(&self, request: &EndpointRequest, own: Option<u16>) -> Result<(), Refusal> {
        for reference in references(request) {
            if let Some(id) = self.by_reference.get(&reference).copied().filter(|id| Some(*id) != own) {
                let (field, value) = field_of(&reference);
                return Err(Refusal::Duplicate { field, value, id });
            }
        }
        match self.by_interface.get(&request.interface).copied().filter(|id| Some(*id) != own) {
            Some(id) => {
                Err(Refusal::Duplicate { field: "interface-name", value: request.interface.clone(), id })
            }
            None => Ok(()),
        }
    }

    /// Adds an endpoint whose number and references were checked.
    pub(crate) fn insert(&mut self, endpoint: Endpoint) {
        self.last_id = match endpoint.state {
            // What an earlier run gave counts as given before anything of this run.
            State::Restoring => self.last_id.max(endpoint.id),
            _ => endpoint.id,
        };
        self.index(&endpoint);
        self.endpoints.insert(endpoint.id, endpoint);
    }

    /// Changes what an endpoint is known by.
    pub(crate) fn change(&mut self, id: u16, change: impl FnOnce(&mut EndpointRequest)) {
        let Some(mut endpoint) = self.endpoints.remove(&id) else { return };
        self.unindex(&endpoint);
        change(&mut endpoint.request);
        self.index(&endpoint);
        self.endpoints.insert(id, endpoint);
    }

    /// From now on the endpoint is found by its number only, and another can have the rest.
    pub(crate) fn forget(&mut self, id: u16) {
        if let Some(endpoint) = self.endpoints.remove(&id) {
            self.unindex(&endpoint);
            self.endpoints.insert(id, endpoint);
        }
    }

    /// Removes an endpoint.
    pub(crate) fn remove(&mut self, id: u16) -> Option<Endpoint> {
        let endpoint = self.endpoints.remove(&id)?;
        self.unindex(&endpoint);
        Some(endpoint)
    }

    /// Of two endpoints that are known by the same, the first to come keeps it.
    fn index(&mut self, endpoint: &Endpoint) {
        let request = &endpoint.request;
        for reference in references(request) {
            self.by_reference.entry(reference).or_insert(endpoint.id);
        }
        self.by_interface.entry(request.interface.clone()).or_insert(endpoint.id);
        if !request.k8s_pod_name.is_empty() {
            self.by_pod.entry(pod_of(request)).or_default().push(endpoint.id);
        }
        if !request.k8s_namespace.is_empty() {
            self.by_namespace.entry(request.k8s_namespace.clone()).or_default().insert(endpoint.id);
        }
    }

    fn unindex(&mut self, endpoint: &Endpoint) {
        let request = &endpoint.request;
        let own = |known: Option<&u16>| known == Some(&endpoint.id);
        for reference in references(request) {
            if own(self.by_reference.get(&reference)) {
                self.by_reference.remove(&reference);
            }
        }
        if own(self.by_interface.get(&request.interface)) {
            self.by_interface.remove(&request.interface);
        }
        if let Some(ids) = self.by_pod.get_mut(&pod_of(request)) {
            ids.retain(|id| *id != endpoint.id);
            if ids.is_empty() {
                self.by_pod.remove(&pod_of(request));
            }
        }
        if let Some(ids) = self.by_namespace.get_mut(&request.k8s_namespace) {
            ids.remove(&endpoint.id);
            if ids.is_empty() {
                self.by_namespace.remove(&request.k8s_namespace);
            }
        }
    }
}

fn pod_of(request: &EndpointRequest) -> PodKey {
    (request.k8s_namespace.clone(), request.k8s_pod_name.clone())
}

/// What no two endpoints may have, besides the number.
fn references(request: &EndpointRequest) -> impl Iterator<Item = EndpointRef> {
    let named =
        |text: &str, make: fn(String) -> EndpointRef| (!text.is_empty()).then(|| make(text.to_owned()));
    [
        named(&request.container_id, EndpointRef::ContainerId),
        named(&request.container_name, EndpointRef::ContainerName),
        request.ipv4.map(EndpointRef::Ipv4),
        request.ipv6.map(EndpointRef::Ipv6),
    ]
    .into_iter()
    .flatten()
}

/// The field of a request that a reference is of, and its value.
fn field_of(reference: &EndpointRef) -> (&'static str, String) {
    match reference {
        EndpointRef::Local(id) => ("id", id.to_string()),
        EndpointRef::ContainerId(id) => ("container-id", id.clone()),
        EndpointRef::ContainerName(name) => ("container-name", name.clone()),
        EndpointRef::PodName { namespace, name } => ("k8s-pod-name", format!("{namespace}:{name}")),
        EndpointRef::Ipv4(address) => ("addressing.ipv4", address.to_string()),
        EndpointRef::Ipv6(address) => ("addressing.ipv6", address.to_string()),
    }
}
