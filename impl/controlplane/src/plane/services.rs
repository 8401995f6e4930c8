// SPDX-License-Identifier: Apache-2.0
//! Services: what is told to load balancing, and the rows that follow.

use std::collections::{BTreeMap, BTreeSet};

use addr::Port;
use ipnet::IpNet;
use loadbalancer::{
    ApiService, BackendRow, EndpointSlice, Frontend, HealthCheck, LoadBalancer, ObjectKey, Scope, Service,
    ServiceRow,
};

use super::ControlPlane;
use super::realize::About;
use crate::config::Config;
use crate::endpoint::Endpoint;
use crate::event::{Failure, Row, Ticket};
use crate::external;
use crate::reply::{Answer, Notice, Refusal};
use crate::table::Delta;
use crate::view::ServiceView;

/// How many refused parts of services one event has logged; of more their number.
const MOST_REFUSALS_TOLD: usize = 100;

/// Changes of the tables of services.
pub(super) struct Balanced {
    pub(super) services: Delta<Frontend, ServiceRow>,
    pub(super) backends: Delta<u32, BackendRow>,
    pub(super) health_checks: Delta<Port, HealthCheck>,
}

impl ControlPlane {
    /// The frontends of services with their backends, by id.
    pub fn services(&self) -> Vec<ServiceView> {
        let rows = self.balancer.frontends().iter();
        let mut views: Vec<ServiceView> =
            rows.map(|(frontend, row)| self.service_view(frontend, row)).collect();
        views.sort_by_key(|view| view.id);
        views
    }

    /// The frontend of this id.
    pub fn service(&self, id: u16) -> Option<ServiceView> {
        let (frontend, row) = self.balancer.frontends().iter().find(|(_, row)| row.id == id)?;
        Some(self.service_view(frontend, row))
    }

    fn service_view(&self, frontend: &Frontend, row: &ServiceRow) -> ServiceView {
        let backends = self.balancer.backends();
        let ids: BTreeSet<u32> = row.slots.iter().copied().collect();
        ServiceView {
            id: row.id,
            frontend: *frontend,
            kind: row.kind,
            owner: row.owner.clone(),
            affinity_timeout_s: row.affinity_timeout_s,
            source_ranges: row.source_ranges.as_deref().map(<[IpNet]>::to_vec),
            backends: ids.into_iter().filter_map(|id| Some((id, *backends.get(&id)?))).collect(),
            failure: self.failures.get(&Row::Service(*frontend)).cloned(),
        }
    }

    /// The backends of services, by id.
    pub fn backends(&self) -> &BTreeMap<u32, BackendRow> {
        self.balancer.backends()
    }

    /// A file holds these services and slices now.
    pub(super) fn replace_services(
        &mut self,
        file: &str,
        services: Vec<Service>,
        slices: Vec<EndpointSlice>,
    ) {
        let (services, slices) = self.files.replace_services(file, services, slices, &mut self.notices);
        for key in &services {
            self.balancer.set_service(key, self.files.service(key).cloned());
        }
        let mut concerned = services;
        for key in slices {
            let slice = self.files.slice(&key);
            self.balancer.set_slice(&key, slice.cloned());
            concerned.extend(self.slices.set(&key, slice));
        }
        for key in concerned {
            self.rules.service_changed(&external::name(&key), self.slices.external(&self.files, &key));
        }
    }

    /// At the start: services of the API that an earlier run had, before any id is given to others.
    pub(super) fn restore_services(&mut self) {
        for service in std::mem::take(&mut self.restored_node.services) {
            let id = service.id;
            if let Err(error) = self.balancer.put_api(service) {
                self.restore_failed(0, format!("service {id}: {error}"));
            }
        }
        self.join_pods();
        // Who waited for the start and wants an id is told if that is another's.
        self.balancer.decide();
    }

    pub(super) fn put_service(&mut self, ticket: Ticket, service: ApiService) {
        let frontend = frontend_of(&service);
        match self.balancer.put_api(service) {
            Ok(created) => {
                self.node_changed = true;
                self.wait(ticket, About::Service(frontend, Answer::ServicePut { created }));
            }
            Err(error) => self.replies.push((ticket, Err(Refusal::Service(error)))),
        }
    }

    pub(super) fn delete_service(&mut self, ticket: Ticket, id: u16) {
        match self.balancer.delete_api(id) {
            Some(service) => {
                self.node_changed = true;
                self.wait(ticket, About::Service(frontend_of(&service), Answer::Done));
            }
            None => self.replies.push((ticket, Err(Refusal::NoService(id)))),
        }
    }

    /// What is wrong with a service of the API: with its frontend, its backends, or the file that keeps it.
    pub(super) fn failures_of_service(&self, frontend: &Frontend) -> Vec<Failure> {
        let slots = self.balancer.frontends().get(frontend).map_or(&[][..], |row| row.slots.as_slice());
        self.failures_where(|row| match row {
            Row::Service(other) => other == frontend,
            Row::Backend(id) => slots.contains(id),
            row => matches!(row, Row::Node | Row::Datapath),
        })
    }

    /// Changes of the tables of services since they were last asked.
    pub(super) fn balance(&mut self) -> Balanced {
        self.join_pods();
        let changes = self.balancer.changes();
        let more = changes.refused.len().saturating_sub(MOST_REFUSALS_TOLD);
        let told = changes.refused.into_iter().take(MOST_REFUSALS_TOLD);
        self.notices.extend(told.map(|(what, reason)| Notice::ServiceRefused { what, reason }));
        if more > 0 {
            let (what, reason) = (format!("{more} more"), "status lists them all".to_owned());
            self.notices.push(Notice::ServiceRefused { what, reason });
        }
        self.freed_ids.extend(changes.freed.into_iter().map(|(frontend, id)| (frontend, id, None)));
        Balanced {
            services: delta(changes.frontends),
            backends: delta(changes.backends),
            health_checks: delta(changes.health_checks),
        }
    }

    /// What was given back is given back with this revision.
    pub(super) fn number_freed(&mut self, revision: u64) {
        self.freed_ids.iter_mut().for_each(|(.., at)| {
            at.get_or_insert(revision);
        });
    }

    /// Ids of frontends that the targets know no more are free.
    pub(super) fn release_freed(&mut self) {
        let failures = &self.failures;
        let known = |(frontend, _, at): &(Frontend, u16, Option<u64>)| {
            at.is_none_or(|at| at > self.realized) || failures.contains_key(&Row::Service(*frontend))
        };
        let (known, free): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.freed_ids).into_iter().partition(known);
        self.freed_ids = known;
        self.balancer.release(free.into_iter().map(|(_, id, _)| id));
    }

    /// The `hostPort`s of pods that have an endpoint here.
    fn join_pods(&mut self) {
        for pod in std::mem::take(&mut self.changed_pods) {
            let endpoint = self.endpoints.of_pod(&pod).last().and_then(|id| self.endpoints.get(*id));
            let addresses: Vec<_> = endpoint.into_iter().flat_map(Endpoint::addresses).collect();
            let object = self.files.pod(&pod).filter(|_| !addresses.is_empty());
            let ports = object.into_iter().flat_map(|object| &object.host_ports);
            let ports = ports.map(|port| (port.clone(), addresses.clone())).collect();
            let (namespace, name) = pod;
            self.balancer.set_host_ports(&ObjectKey { namespace, name }, ports);
        }
    }
}

/// Load balancing for the families that are on; pods of this node are local in any case.
pub(super) fn balancer(config: &Config) -> LoadBalancer {
    let mut services = config.services.clone();
    let ipv4 = config.ipv4.map(|pods| IpNet::V4(pods.range));
    let ipv6 = config.ipv6.map(|pods| IpNet::V6(pods.range));
    for range in ipv4.into_iter().chain(ipv6) {
        if !services.local.contains(&range) {
            services.local.push(range);
        }
    }
    LoadBalancer::new(services).with_families(config.ipv4.is_some(), config.ipv6.is_some())
}

fn frontend_of(service: &ApiService) -> Frontend {
    Frontend {
        address: service.address,
        port: service.port,
        protocol: service.protocol,
        scope: Scope::External,
    }
}

fn delta<K: Ord, V>(changes: BTreeMap<K, Option<V>>) -> Delta<K, V> {
    let (mut upserts, mut removals) = (Vec::new(), Vec::new());
    for (key, row) in changes {
        match row {
            Some(row) => upserts.push((key, row)),
            None => removals.push(key),
        }
    }
    Delta { upserts, removals }
}
