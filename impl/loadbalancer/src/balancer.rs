// SPDX-License-Identifier: Apache-2.0
//! Objects in, changed rows out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use addr::Port;

use crate::backends::Backends;
use crate::config::Config;
use crate::health::{HealthCheck, HealthChecks};
use crate::ids::Ids;
use crate::object::{ApiService, EndpointSlice, HostPort, ObjectKey, Service, slices_that_count};
use crate::owner::{Claim, Owner, Translated};
use crate::refused::{Reasons, Subject};
use crate::row::{BackendRow, FRONTEND_ID_MAX, Frontend, Restored, ServiceRow};
use crate::tracked::Tracked;
use crate::translate::Node;

/// What changed since it was last asked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Rows of frontends; none: it is gone.
    pub frontends: BTreeMap<Frontend, Option<ServiceRow>>,
    /// Rows of backends by id; none: it is gone.
    pub backends: BTreeMap<u32, Option<BackendRow>>,
    /// What is answered at which port to a load balancer that asks; none: nothing any more.
    pub health_checks: BTreeMap<Port, Option<HealthCheck>>,
    /// Frontends that do not have these ids any more. Others get them after [`LoadBalancer::release`].
    pub freed: Vec<(Frontend, u16)>,
    /// What is refused now and was not, or not for this reason: what, and why.
    pub refused: Vec<(String, String)>,
}

impl Changes {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty()
            && self.backends.is_empty()
            && self.health_checks.is_empty()
            && self.freed.is_empty()
            && self.refused.is_empty()
    }
}

/// The one owner of what load balancing is to be. Objects come in any order; [`LoadBalancer::changes`] says what follows.
#[derive(Debug, Clone)]
pub struct LoadBalancer {
    pub(crate) node: Node,
    services: BTreeMap<Arc<ObjectKey>, Service>,
    slices: BTreeMap<ObjectKey, EndpointSlice>,
    /// The slices that name a service, whether it is there or not.
    slices_of: BTreeMap<Arc<ObjectKey>, BTreeSet<ObjectKey>>,
    pods: BTreeMap<Arc<ObjectKey>, Vec<(HostPort, Vec<IpAddr>)>>,
    pub(crate) api: BTreeMap<u16, ApiService>,
    /// Frontends whose ids are not theirs any more, since it was last told.
    pub(crate) freed: Vec<(Frontend, u16)>,
    /// Whose wishes may have changed.
    pub(crate) dirty: BTreeSet<Owner>,
    /// What each wants.
    pub(crate) wishes: BTreeMap<Owner, Translated>,
    /// Who wants each frontend, sorted: the first has it.
    pub(crate) claims: BTreeMap<Frontend, Vec<Claim>>,
    pub(crate) rows: Tracked<Frontend, ServiceRow>,
    pub(crate) backends: Backends,
    pub(crate) health: HealthChecks,
    pub(crate) ids: Ids,
    /// Ids of an earlier run, taken and not claimed yet.
    pub(crate) restored: BTreeMap<Frontend, u16>,
    /// Frontends that had no slots in an earlier run; until the first decision.
    pub(crate) without_slots: BTreeSet<Frontend>,
    /// Whether anything was decided: ids of an earlier run are known before, or not at all.
    pub(crate) decided: bool,
    /// Frontends that have no row, or not both, for want of room.
    pub(crate) waiting: BTreeSet<Frontend>,
    /// Frontends that want backends for which there is no room.
    pub(crate) short: BTreeSet<Frontend>,
    /// Frontends that lack slots.
    pub(crate) crowded: BTreeSet<Frontend>,
    /// How many slots all rows have.
    pub(crate) slots_count: usize,
    pub(crate) reasons: Reasons,
}

impl LoadBalancer {
    /// Nothing yet, for both families.
    pub fn new(config: Config) -> Self {
        Self {
            backends: Backends::new(config.backends_max),
            node: Node { config, families: (true, true), addresses: BTreeSet::new() },
            services: BTreeMap::new(),
            slices: BTreeMap::new(),
            slices_of: BTreeMap::new(),
            pods: BTreeMap::new(),
            api: BTreeMap::new(),
            freed: Vec::new(),
            dirty: BTreeSet::new(),
            wishes: BTreeMap::new(),
            claims: BTreeMap::new(),
            rows: Tracked::default(),
            health: HealthChecks::default(),
            ids: Ids::up_to(FRONTEND_ID_MAX.into()),
            restored: BTreeMap::new(),
            without_slots: BTreeSet::new(),
            decided: false,
            waiting: BTreeSet::new(),
            short: BTreeSet::new(),
            crowded: BTreeSet::new(),
            slots_count: 0,
            reasons: Reasons::default(),
        }
    }

    /// Only for these families: frontends of another are refused.
    pub fn with_families(mut self, ipv4: bool, ipv6: bool) -> Self {
        self.node.families = (ipv4, ipv6);
        self
    }

    /// Frontends and backends of an earlier run get the ids that they had, before others where there is not room for all. After the first [`LoadBalancer::changes`] it is
    /// too late, and ids that nobody claimed by then are free. Whether it was in time.
    pub fn restore(&mut self, restored: Restored) -> bool {
        if self.decided {
            return false;
        }
        for (frontend, id) in restored.frontends {
            if !self.restored.contains_key(&frontend) && self.ids.take_restored(id.into()) {
                self.restored.insert(frontend, id);
            }
        }
        self.without_slots.extend(restored.without_slots);
        self.backends.restore(restored.backends);
        true
    }

    /// A service is so now, or is gone.
    pub fn set_service(&mut self, key: &ObjectKey, service: Option<Service>) {
        if !self.node.config.kubernetes || self.services.get(key) == service.as_ref() {
            return;
        }
        let key = Arc::new(key.clone());
        match service {
            Some(service) => self.services.insert(key.clone(), service),
            None => self.services.remove(&key),
        };
        self.dirty.insert(Owner::Service(key));
    }

    /// A slice is so now, or is gone.
    pub fn set_slice(&mut self, key: &ObjectKey, slice: Option<EndpointSlice>) {
        if !self.node.config.kubernetes || self.slices.get(key) == slice.as_ref() {
            return;
        }
        if let Some(before) = self.slices.remove(key) {
            let service = service_of(&before);
            if let Some(keys) = self.slices_of.get_mut(&service) {
                keys.remove(key);
                if keys.is_empty() {
                    self.slices_of.remove(&service);
                }
            }
            self.dirty.insert(Owner::Service(Arc::new(service)));
        }
        if let Some(slice) = slice {
            let service = Arc::new(service_of(&slice));
            self.slices_of.entry(service.clone()).or_default().insert(key.clone());
            self.slices.insert(key.clone(), slice);
            self.dirty.insert(Owner::Service(service));
        }
    }

    /// The `hostPort`s of a pod on this node, each with the addresses of the pod; without any it has none.
    pub fn set_host_ports(&mut self, pod: &ObjectKey, ports: Vec<(HostPort, Vec<IpAddr>)>) {
        let before = self.pods.get(pod).map_or(&[][..], Vec::as_slice);
        if !self.node.config.kubernetes || before == ports {
            return;
        }
        let pod = Arc::new(pod.clone());
        match ports.is_empty() {
            true => self.pods.remove(&pod),
            false => self.pods.insert(pod.clone(), ports),
        };
        self.dirty.insert(Owner::Pod(pod));
    }

    /// All addresses of the node. NodePorts are not at those that only neighbours on a link can use.
    pub fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        let usable = |address: &IpAddr| match address {
            IpAddr::V6(address) if address.is_unicast_link_local() => false,
            address => crate::object::unusable(*address).is_none(),
        };
        let now: BTreeSet<IpAddr> = addresses.iter().copied().filter(usable).collect();
        if now == self.node.addresses {
            return;
        }
        self.node.addresses = now;
        self.health.node_changed();
        // NodePorts and HostPorts are elsewhere, and backends may be local or not any more.
        self.dirty.extend(self.services.keys().cloned().map(Owner::Service));
        self.dirty.extend(self.pods.keys().cloned().map(Owner::Pod));
    }

    /// Decides, and tells what changed since it was last asked. The time that it takes goes by what changed, not by what
    /// is there.
    pub fn changes(&mut self) -> Changes {
        self.decide();
        let refused = self.reasons.drain().into_iter();
        Changes {
            frontends: self.rows.drain(),
            backends: self.backends.drain(),
            health_checks: self.health.drain(),
            freed: std::mem::take(&mut self.freed),
            refused: refused.map(|(subject, reason)| (self.text(&subject), reason)).collect(),
        }
    }

    /// Nobody knows these ids of [`Changes::freed`] any more: others may have them with the next decision. Given earlier, an
    /// id would for a moment lead to the slots of another service.
    pub fn release(&mut self, ids: impl IntoIterator<Item = u16>) {
        ids.into_iter().for_each(|id| self.ids.release(id.into()));
    }

    /// The row of each frontend, as it was decided last.
    pub fn frontends(&self) -> &BTreeMap<Frontend, ServiceRow> {
        self.rows.rows()
    }

    /// The row of each backend by id, as it was decided last.
    pub fn backends(&self) -> &BTreeMap<u32, BackendRow> {
        self.backends.rows()
    }

    /// What is not done, and why.
    pub fn refused(&self) -> BTreeMap<String, String> {
        self.reasons.all().iter().map(|(subject, reason)| (self.text(subject), reason.clone())).collect()
    }

    /// What an owner wants by its objects of now.
    pub(crate) fn translated(&self, owner: &Owner) -> Option<Translated> {
        match owner {
            Owner::Api(id) => self.api.get(id).map(|service| self.node.of_api(service)),
            Owner::Service(key) => {
                let service = self.services.get(key)?;
                Some(self.node.of_service(service, &self.slices_that_count(key)))
            }
            Owner::Pod(key) => self.pods.get(key).map(|ports| self.node.of_pod(key, ports)),
        }
    }

    fn slices_that_count(&self, service: &ObjectKey) -> Vec<&EndpointSlice> {
        let keys = self.slices_of.get(service).into_iter().flatten();
        slices_that_count(keys.filter_map(|key| self.slices.get(key)))
    }

    fn text(&self, subject: &Subject) -> String {
        match subject {
            Subject::Part(owner, part) => format!("{owner}: {part}"),
            Subject::Frontend(frontend, owner) => format!("{frontend} of {}", self.name(frontend, owner)),
            Subject::Backend(address) => format!("backend {address}"),
            Subject::HealthCheck(port, owner) => format!("{owner}: spec.healthCheckNodePort {port}"),
        }
    }

    /// The name under which an owner has a frontend.
    pub(crate) fn name(&self, frontend: &Frontend, owner: &Owner) -> String {
        let wanted = self.wishes.get(owner).and_then(|wishes| wishes.find(frontend));
        match (owner, wanted) {
            (Owner::Api(_), _) | (_, None) => owner.to_string(),
            (_, Some(wanted)) => wanted.name.to_string(),
        }
    }
}

fn service_of(slice: &EndpointSlice) -> ObjectKey {
    ObjectKey { namespace: slice.key.namespace.clone(), name: slice.service.clone() }
}
