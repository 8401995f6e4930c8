// SPDX-License-Identifier: Apache-2.0
//! Health checks: at which port of the node a load balancer asks for a service, and what it is told.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::{Port, Protocol};

use crate::balancer::LoadBalancer;
use crate::object::ObjectKey;
use crate::owner::Owner;
use crate::refused::Subject;
use crate::row::{Frontend, Scope};
use crate::tracked::Tracked;

/// What is answered at a `spec.healthCheckNodePort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    /// The service that is asked for.
    pub service: ObjectKey,
    /// How many of its endpoints on this node are ready; of a service with two families, in the one that has more. 0: the load
    /// balancer is to send nothing here.
    pub local_endpoints: u32,
}

/// What a service wants to be answered, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) port: Port,
    pub(crate) local_endpoints: u32,
}

/// All health checks.
#[derive(Clone, Debug, Default)]
pub(crate) struct HealthChecks {
    /// Who wants each port, sorted: the first has it.
    claims: BTreeMap<Port, BTreeSet<Owner>>,
    rows: Tracked<Port, HealthCheck>,
    /// Ports with which something may be different.
    touched: BTreeSet<Port>,
}

impl HealthChecks {
    pub(crate) fn rows(&self) -> &BTreeMap<Port, HealthCheck> {
        self.rows.rows()
    }

    pub(crate) fn drain(&mut self) -> BTreeMap<Port, Option<HealthCheck>> {
        self.rows.drain()
    }

    /// What an owner wants has changed.
    pub(crate) fn change(&mut self, owner: &Owner, before: Option<Wanted>, now: Option<Wanted>) {
        if before == now {
            return;
        }
        if let Some(Wanted { port, .. }) = before {
            self.touched.insert(port);
            if let Some(claims) = self.claims.get_mut(&port) {
                claims.remove(owner);
                if claims.is_empty() {
                    self.claims.remove(&port);
                }
            }
        }
        if let Some(Wanted { port, .. }) = now {
            self.touched.insert(port);
            self.claims.entry(port).or_default().insert(owner.clone());
        }
    }

    /// Who has this frontend may have changed.
    pub(crate) fn frontend_changed(&mut self, frontend: &Frontend) {
        if frontend.protocol == Protocol::Tcp && self.claims.contains_key(&frontend.port) {
            self.touched.insert(frontend.port);
        }
    }

    /// Which addresses are the node's has changed.
    pub(crate) fn node_changed(&mut self) {
        self.touched.extend(self.claims.keys());
    }
}

impl LoadBalancer {
    /// What is answered at which port, as it was decided last.
    pub fn health_checks(&self) -> &BTreeMap<Port, HealthCheck> {
        self.health.rows()
    }

    /// Makes rows of health checks of what changed. After the frontends are decided: where one of these is, nobody else can
    /// be reached.
    pub(crate) fn decide_health(&mut self) {
        for port in std::mem::take(&mut self.health.touched) {
            let claims = self.health.claims.get(&port).cloned().unwrap_or_default();
            let mut refused = BTreeMap::new();
            let mut row = None;
            let frontend =
                self.frontend_of_node(port).map(|(frontend, name)| format!("{frontend} of {name}"));
            for owner in claims {
                let has = match (&frontend, &row) {
                    (Some(other), _) => other.clone(),
                    (None, Some(HealthCheck { service, .. })) => format!("the health check of {service}"),
                    (None, None) => {
                        row = self.health_check(&owner);
                        continue;
                    }
                };
                refused.insert(Subject::HealthCheck(port, owner), format!("{has} has this port already"));
            }
            match row {
                Some(row) => self.health.rows.set(port, row),
                None => {
                    self.health.rows.remove(&port);
                }
            }
            let concerns = |subject: &Subject| matches!(subject, Subject::HealthCheck(of, _) if *of == port);
            self.reasons.replace(Subject::HealthCheck(port, Owner::Api(0)), concerns, refused);
        }
    }

    fn health_check(&self, owner: &Owner) -> Option<HealthCheck> {
        let Owner::Service(key) = owner else { return None };
        let wanted = self.wishes.get(owner)?.health?;
        Some(HealthCheck { service: ObjectKey::clone(key), local_endpoints: wanted.local_endpoints })
    }

    /// The frontend at this TCP port of an address of the node, and whose it is: its connections are translated, and the
    /// kernel lets nobody listen there.
    fn frontend_of_node(&self, port: Port) -> Option<(Frontend, String)> {
        let loopback = [IpAddr::from(Ipv4Addr::LOCALHOST), IpAddr::from(Ipv6Addr::LOCALHOST)];
        self.node.addresses.iter().copied().chain(loopback).find_map(|address| {
            let frontend = Frontend { address, port, protocol: Protocol::Tcp, scope: Scope::External };
            self.rows.rows().get(&frontend).map(|row| (frontend, row.owner.clone()))
        })
    }
}
