// SPDX-License-Identifier: Apache-2.0
//! All that is known of one endpoint.

use std::borrow::Cow;
use std::net::IpAddr;

use identity::{Labels, NumericIdentity};

use super::state::{Log, LogCode, LogEntry, State};
use crate::deltas::{EndpointRow, EndpointState};
use crate::event::{EndpointRequest, Failure, NamedPort, Timestamp};
use crate::options::EndpointOptions;

/// What the file source says of an endpoint's pod. It stays as it was last said when the object goes: a pod that is being
/// deleted keeps its labels to the end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct PodFacts {
    pub(crate) labels: Labels,
    pub(crate) named_ports: Vec<NamedPort>,
}

/// All that is known of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Endpoint {
    pub(crate) id: u16,
    /// As its maker described it; patches change it.
    pub(crate) request: EndpointRequest,
    /// What its pod's object says, if there ever was one.
    pub(crate) pod: Option<PodFacts>,
    pub(crate) user_labels: Labels,
    pub(crate) disabled_labels: Labels,
    pub(crate) options: EndpointOptions,
    /// The number that its rows carry.
    pub(crate) identity: NumericIdentity,
    /// The labels that it should have; others than those of `identity` where no number was free.
    pub(crate) identity_labels: Labels,
    /// Labels that make no identity.
    pub(crate) information: Labels,
    pub(crate) state: State,
    /// The revision with which its rows were last told.
    pub(crate) told: u64,
    /// Revision of the rules that the targets have for it.
    pub(crate) realized_policy: u64,
    pub(crate) failures: Vec<Failure>,
    /// Whether it is told when it is ready: it is new, was not ready, or somebody asked for it to be done again.
    pub(crate) announce: bool,
    pub(crate) since: Timestamp,
    pub(crate) log: Log,
}

impl Endpoint {
    pub(crate) fn new(id: u16, request: EndpointRequest, since: Timestamp) -> Self {
        Self {
            id,
            request,
            pod: None,
            user_labels: Labels::empty(),
            disabled_labels: Labels::empty(),
            options: EndpointOptions::default(),
            identity: NumericIdentity::UNKNOWN,
            identity_labels: Labels::empty(),
            information: Labels::empty(),
            state: State::Creating,
            told: 0,
            realized_policy: 0,
            failures: Vec::new(),
            announce: true,
            since,
            log: Log::default(),
        }
    }

    /// As an earlier run left it.
    pub(crate) fn restored(state: EndpointState, since: Timestamp) -> Self {
        let request = EndpointRequest {
            id: state.id,
            container_id: state.container_id,
            container_name: state.container_name,
            k8s_namespace: state.k8s_namespace,
            k8s_pod_name: state.k8s_pod_name,
            labels: state.labels,
            interface: state.interface,
            ifindex: state.ifindex,
            ipv4: state.ipv4,
            ipv6: state.ipv6,
            mac: state.mac,
            node_mac: state.node_mac,
            sync_build: false,
        };
        Self {
            pod: state.pod_labels.map(|labels| PodFacts { labels, named_ports: state.named_ports }),
            user_labels: state.user_labels,
            disabled_labels: state.disabled_labels,
            options: state.options,
            identity: NumericIdentity::new(state.identity),
            identity_labels: state.identity_labels,
            state: State::Restoring,
            ..Self::new(state.id, request, since)
        }
    }

    pub(crate) fn to_state(&self) -> EndpointState {
        let request = self.request.clone();
        EndpointState {
            version: EndpointState::VERSION,
            id: self.id,
            container_id: request.container_id,
            container_name: request.container_name,
            k8s_namespace: request.k8s_namespace,
            k8s_pod_name: request.k8s_pod_name,
            interface: request.interface,
            ifindex: request.ifindex,
            ipv4: request.ipv4,
            ipv6: request.ipv6,
            mac: request.mac,
            node_mac: request.node_mac,
            labels: request.labels,
            pod_labels: self.pod.as_ref().map(|pod| pod.labels.clone()),
            named_ports: self.pod.as_ref().map(|pod| pod.named_ports.clone()).unwrap_or_default(),
            user_labels: self.user_labels.clone(),
            disabled_labels: self.disabled_labels.clone(),
            identity: self.identity.as_u32(),
            identity_labels: self.identity_labels.clone(),
            options: self.options.clone(),
        }
    }

    /// Its row, with the node's options where it has none of its own.
    pub(crate) fn to_row(&self, defaults: &EndpointOptions) -> EndpointRow {
        let request = &self.request;
        EndpointRow {
            id: self.id,
            ifindex: request.ifindex,
            interface: request.interface.clone(),
            ipv4: request.ipv4,
            ipv6: request.ipv6,
            mac: request.mac,
            node_mac: request.node_mac,
            identity: self.identity.as_u32(),
            options: defaults.overlaid(&self.options).bits(),
        }
    }

    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        let (v4, v6) = (self.request.ipv4, self.request.ipv6);
        v4.map(IpAddr::from).into_iter().chain(v6.map(IpAddr::from))
    }

    /// The workload's labels before a user changed anything.
    pub(crate) fn workload_labels(&self) -> Labels {
        match &self.pod {
            Some(pod) => self.request.labels.merged(&pod.labels),
            None => self.request.labels.clone(),
        }
    }

    pub(crate) fn named_ports(&self) -> &[NamedPort] {
        self.pod.as_ref().map_or(&[], |pod| &pod.named_ports)
    }

    /// Goes to a state, and notes why. Whether it was in another.
    pub(crate) fn enter(
        &mut self,
        state: State,
        at: Timestamp,
        message: impl Into<Cow<'static, str>>,
    ) -> bool {
        if self.state == state {
            return false;
        }
        self.state = state;
        let code = if state == State::NotReady { LogCode::Failed } else { LogCode::Ok };
        self.note(at, code, message);
        true
    }

    /// Notes something that happened.
    pub(crate) fn note(&mut self, at: Timestamp, code: LogCode, message: impl Into<Cow<'static, str>>) {
        self.log.push(LogEntry { at, code, state: self.state, message: message.into() });
    }
}
