// SPDX-License-Identifier: Apache-2.0
//! Answers to questions; nothing changes.

use std::collections::{BTreeMap, BTreeSet};

use identity::{LabelArray, NumericIdentity};
use policy::{Direction, EnforcementMode, MapState, PolicyKey, Rule};

use super::ControlPlane;
use crate::deltas::Desired;
use crate::endpoint::{Endpoint, EndpointRef, LogEntry};
use crate::event::Failure;
use crate::options::EndpointOptions;
use crate::view::{EndpointLabels, EndpointPolicy, EndpointView, IdentityView, IpamView, Status};

impl ControlPlane {
    /// All endpoints, by number.
    pub fn endpoints(&self) -> Vec<EndpointView> {
        self.endpoints.iter().map(|endpoint| self.view(endpoint)).collect()
    }

    /// An endpoint.
    pub fn endpoint(&self, reference: &EndpointRef) -> Option<EndpointView> {
        self.endpoints.find(reference).map(|endpoint| self.view(endpoint))
    }

    /// What happened to an endpoint, from the oldest that is kept.
    pub fn endpoint_log(&self, reference: &EndpointRef) -> Option<Vec<LogEntry>> {
        self.endpoints.find(reference).map(|endpoint| endpoint.log.iter().cloned().collect())
    }

    /// What the policy map of an endpoint is to hold.
    pub fn endpoint_policy(&self, id: u16) -> Option<MapState> {
        self.rules.map_state(id)
    }

    /// The identities in use and the reserved ones, by number.
    pub fn identities(&self) -> Vec<IdentityView> {
        self.identities.view()
    }

    /// An identity in use.
    pub fn identity(&self, identity: NumericIdentity) -> Option<IdentityView> {
        self.identities.find(identity)
    }

    /// The pools of addresses.
    pub fn ipam(&self) -> IpamView {
        self.ipam.view()
    }

    /// The revision of the rules, and those that have all of these labels, each with who owns it: the API is the empty
    /// name, others are files.
    pub fn policy(&self, labels: &LabelArray) -> (u64, Vec<(String, Rule)>) {
        let repository = self.rules.repository();
        let rules =
            repository.matching(labels).map(|stored| (stored.owner().to_owned(), stored.rule().clone()));
        (repository.revision(), rules.collect())
    }

    /// What the rules say of a packet, and why.
    pub fn trace(&self, context: &policy::trace::Context) -> policy::trace::Trace {
        self.rules.trace(context)
    }

    /// Options of endpoints that have none of their own.
    pub fn options(&self) -> &EndpointOptions {
        &self.config.options
    }

    /// When policy is enforced.
    pub fn enforcement(&self) -> EnforcementMode {
        self.config.enforcement
    }

    /// Every row that is desired, by table. While not every source is known this is not all: nothing may be pruned by it
    /// before [`ControlPlane::is_started`].
    pub fn desired(&self) -> Desired {
        let policy = |id: &u16| self.rules.map_state(*id).map(|state| (*id, state));
        Desired {
            revision: self.revision,
            endpoints: self.endpoint_rows.rows().clone(),
            policy: self.endpoint_rows.rows().keys().filter_map(policy).collect(),
            ipcache: self.ipcache.rows().clone(),
            services: self.balancer.frontends().clone(),
            backends: self.balancer.backends().clone(),
            health_checks: self.balancer.health_checks().clone(),
            state: self.state_rows.rows().clone(),
            node: self.node_state(),
        }
    }

    /// How everything is.
    pub fn status(&self) -> Status {
        let mut states = BTreeMap::new();
        for endpoint in self.endpoints.iter() {
            *states.entry(endpoint.state).or_default() += 1;
        }
        let prefixes = self.prefixes_without.iter().map(|(prefix, why)| (prefix.to_string(), why.clone()));
        let endpoints =
            self.endpoints_without.iter().map(|(id, why)| (format!("endpoint {id}"), why.clone()));
        let failures = self.failures.iter();
        Status {
            revision: self.revision,
            realized_revision: self.realized,
            policy_revision: self.rules.revision(),
            realized_policy_revision: self.realized_policy,
            rules: self.rules.counts(),
            endpoints: states,
            identities: self.identities.view().len(),
            ipcache: self.ipcache.rows().len(),
            unsynced: self.unsynced.clone(),
            queued: self.queued.len(),
            waiting: self.waiters.len(),
            failures: failures.map(|(row, why)| Failure { row: *row, reason: why.clone() }).collect(),
            restore_failures: self.restore_failures.clone(),
            source_failures: self.source_failures.clone(),
            without_identity: prefixes.chain(endpoints).collect(),
            unresolved_ports: self.rules.unresolved_ports(),
            unresolved_services: self.rules.unresolved_services(),
            overflowing: self.rules.overflowing(),
            services: self.balancer.frontends().len(),
            backends: self.balancer.backends().len(),
            health_checks: self.balancer.health_checks().len(),
            services_refused: self.balancer.refused(),
        }
    }

    fn view(&self, endpoint: &Endpoint) -> EndpointView {
        let request = &endpoint.request;
        let identity = Some(endpoint.identity).filter(|identity| *identity != NumericIdentity::UNKNOWN);
        let labels = identity.and_then(|identity| self.identities.labels_of(identity));
        EndpointView {
            id: endpoint.id,
            state: endpoint.state,
            container_id: request.container_id.clone(),
            container_name: request.container_name.clone(),
            k8s_namespace: request.k8s_namespace.clone(),
            k8s_pod_name: request.k8s_pod_name.clone(),
            interface: request.interface.clone(),
            ifindex: request.ifindex,
            ipv4: request.ipv4,
            ipv6: request.ipv6,
            mac: request.mac,
            node_mac: request.node_mac,
            identity,
            // An endpoint that is not started again yet has the labels of its file.
            identity_labels: labels.unwrap_or(&endpoint.identity_labels).clone(),
            labels: EndpointLabels {
                security_relevant: endpoint.identity_labels.clone(),
                information: endpoint.information.clone(),
                user: endpoint.user_labels.clone(),
                disabled: endpoint.disabled_labels.clone(),
            },
            named_ports: endpoint.named_ports().to_vec(),
            options: endpoint.options.clone(),
            effective_options: self.config.options.overlaid(&endpoint.options),
            policy: self.policy_view(endpoint),
            failures: endpoint.failures.clone(),
            since: endpoint.since,
        }
    }

    fn policy_view(&self, endpoint: &Endpoint) -> EndpointPolicy {
        let entries = self.rules.map_state(endpoint.id).unwrap_or_default();
        let allowed = |direction: Direction| {
            let keys = entries.keys().filter(move |key: &&PolicyKey| key.direction == direction);
            keys.map(|key| key.identity).collect::<BTreeSet<u32>>().into_iter().collect()
        };
        let settled = !self.unsettled.contains(&endpoint.id) && self.started;
        EndpointPolicy {
            enforcing_ingress: self.rules.enforcing(endpoint.id, Direction::Ingress),
            enforcing_egress: self.rules.enforcing(endpoint.id, Direction::Egress),
            allowed_ingress: allowed(Direction::Ingress),
            allowed_egress: allowed(Direction::Egress),
            entries: entries.len(),
            revision: self.rules.revision(),
            realized_revision: if settled { self.realized_policy } else { endpoint.realized_policy },
        }
    }
}
