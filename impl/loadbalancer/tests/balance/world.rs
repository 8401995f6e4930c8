// SPDX-License-Identifier: Apache-2.0
//! An owner of load balancing: what it is told adds up to tables, which are checked after every change.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use loadbalancer::{
    Algorithm, BackendRow, BackendState, Changes, Config, Frontend, FrontendKind, HealthCheck, LoadBalancer,
    ObjectKey, Scope, ServiceRow, kubernetes,
};
use serde_json::Value;

pub struct World {
    pub balancer: LoadBalancer,
    /// What was told, added up.
    pub frontends: BTreeMap<Frontend, ServiceRow>,
    pub backends: BTreeMap<u32, BackendRow>,
    pub health_checks: BTreeMap<addr::Port, HealthCheck>,
    pub refused: Vec<(String, String)>,
    /// Whether the API was asked since it was last told: then a frontend may have gone, lost its id to a service of the API,
    /// and be there again.
    pub asked: bool,
}

/// A node with pods in `10.0.0.0/24` and `fd00::/112`.
pub fn config() -> Config {
    let local = ["10.0.0.0/24", "fd00::/112"].map(|range| range.parse().unwrap()).to_vec();
    Config { local, ..Config::default() }
}

pub fn maglev() -> Config {
    Config { algorithm: Algorithm::Maglev { table_size: 251 }, ..config() }
}

pub fn key(text: &str) -> ObjectKey {
    let (namespace, name) = text.split_once('/').unwrap();
    ObjectKey { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// The objects of a text of YAML documents.
pub fn documents(yaml: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(yaml).unwrap()
}

/// A service of the namespace `shop` with these lines in its spec.
pub fn service(name: &str, spec: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{namespace: shop, name: {name}}}\nspec: {{{spec}}}\nstatus: {{}}\n"
    )
}

/// A slice of IPv4 endpoints for a service of the namespace `shop`, port 8080 with the name `http`.
pub fn slice(name: &str, service: &str, endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{namespace: shop, name: {name}, \
         labels: {{kubernetes.io/service-name: {service}}}}}\naddressType: IPv4\n\
         ports: [{{name: http, port: 8080}}]\nendpoints: [{endpoints}]\n"
    )
}

/// Ready endpoints at these addresses.
pub fn ready(addresses: &[&str]) -> String {
    let texts: Vec<String> = addresses.iter().map(|one| format!("{{addresses: ['{one}']}}")).collect();
    texts.join(", ")
}

pub const HTTP: &str = "ports: [{name: http, port: 80}]";

impl World {
    pub fn new(config: Config) -> Self {
        Self {
            balancer: LoadBalancer::new(config),
            frontends: BTreeMap::new(),
            backends: BTreeMap::new(),
            health_checks: BTreeMap::new(),
            refused: Vec::new(),
            asked: false,
        }
    }

    /// A node at `192.0.2.1` and `2001:db8::1`, too.
    pub fn node() -> Self {
        let mut world = Self::new(config());
        world.set_node(&["192.0.2.1", "2001:db8::1", "fe80::1", "127.0.0.1"]);
        world
    }

    pub fn set_node(&mut self, addresses: &[&str]) {
        let addresses: Vec<IpAddr> = addresses.iter().map(|one| one.parse().unwrap()).collect();
        self.balancer.set_node_addresses(&addresses);
        self.decide();
    }

    /// Takes the objects of a text.
    pub fn apply(&mut self, yaml: &str) {
        self.take(yaml);
        self.decide();
    }

    pub fn take(&mut self, yaml: &str) {
        for document in documents(yaml) {
            match document["kind"].as_str().unwrap() {
                "Service" => {
                    let service = kubernetes::service(&document).unwrap();
                    self.balancer.set_service(&service.key.clone(), Some(service));
                }
                "EndpointSlice" => {
                    let slice = kubernetes::endpoint_slice(&document).unwrap();
                    self.balancer.set_slice(&slice.key.clone(), Some(slice));
                }
                "Endpoints" => {
                    for slice in kubernetes::endpoints(&document).unwrap() {
                        self.balancer.set_slice(&slice.key.clone(), Some(slice));
                    }
                }
                "Pod" => {
                    let ports = kubernetes::pod_host_ports(&document).unwrap();
                    let ips = document["status"]["podIPs"].as_array().into_iter().flatten();
                    let ips: Vec<IpAddr> =
                        ips.map(|one| one["ip"].as_str().unwrap().parse().unwrap()).collect();
                    let name = format!("shop/{}", document["metadata"]["name"].as_str().unwrap());
                    let ports = ports.into_iter().map(|port| (port, ips.clone())).collect();
                    self.balancer.set_host_ports(&key(&name), ports);
                }
                other => panic!("{other}"),
            }
        }
    }

    pub fn delete_service(&mut self, name: &str) {
        self.balancer.set_service(&key(name), None);
        self.decide();
    }

    pub fn delete_slice(&mut self, name: &str) {
        self.balancer.set_slice(&key(name), None);
        self.decide();
    }

    /// Takes what is told, and checks it.
    pub fn decide(&mut self) -> Changes {
        let changes = self.balancer.changes();
        for (frontend, row) in &changes.frontends {
            let before = self.frontends.get(frontend);
            assert_ne!(before, row.as_ref(), "{frontend} is told and did not change");
            if let (Some(before), Some(row), false) = (before, row, self.asked) {
                check_change(before, row);
            }
            match row {
                Some(row) => self.frontends.insert(*frontend, row.clone()),
                None => self.frontends.remove(frontend),
            };
        }
        for (id, row) in &changes.backends {
            let before = self.backends.get(id);
            assert_ne!(before, row.as_ref(), "backend {id} is told and did not change");
            if let (Some(before), Some(row)) = (before, row) {
                assert_eq!(before.address, row.address, "backend {id} is another now");
            }
            match row {
                Some(row) => self.backends.insert(*id, *row),
                None => self.backends.remove(id),
            };
        }
        for (port, row) in &changes.health_checks {
            assert_ne!(self.health_checks.get(port), row.as_ref(), "{port} is told and did not change");
            match row {
                Some(row) => self.health_checks.insert(*port, row.clone()),
                None => self.health_checks.remove(port),
            };
        }
        assert_eq!(&self.health_checks, self.balancer.health_checks());
        self.asked = false;
        let in_use: BTreeSet<u16> = self.frontends.values().map(|row| row.id).collect();
        for (frontend, id) in &changes.freed {
            assert!(!in_use.contains(id), "id {id} of {frontend} is freed and in use");
        }
        self.balancer.release(changes.freed.iter().map(|(_, id)| *id));
        self.refused.extend(changes.refused.iter().cloned());
        assert_eq!(&self.frontends, self.balancer.frontends());
        assert_eq!(&self.backends, self.balancer.backends());
        self.check();
        changes
    }

    /// What must hold of any tables.
    fn check(&self) {
        let mut ids = BTreeSet::new();
        for (frontend, row) in &self.frontends {
            assert!(row.id != 0 && ids.insert(row.id), "id {} of {frontend} is another's", row.id);
            for id in &row.slots {
                let backend = self.backends.get(id).expect("a slot names a backend that is not there");
                assert_eq!(backend.address.protocol, frontend.protocol);
                assert_eq!(backend.address.address.is_ipv4(), frontend.address.is_ipv4());
            }
            let other = Frontend { scope: Scope::Internal, ..*frontend };
            let pair = self.frontends.contains_key(&other);
            assert_eq!(row.two_scopes, pair, "{frontend}");
        }
        let addresses: BTreeSet<_> = self.backends.values().map(|row| row.address).collect();
        assert_eq!(addresses.len(), self.backends.len(), "a backend is there twice");
        assert!(!self.backends.contains_key(&0));
    }

    /// The tables as text that names no id, and lists backends in the order of their addresses.
    pub fn dump(&self) -> String {
        let mut lines = Vec::new();
        for (frontend, row) in &self.frontends {
            let backends: BTreeSet<String> =
                row.slots.iter().map(|id| self.backends[id].address.socket().to_string()).collect();
            let backends: Vec<String> = backends.into_iter().collect();
            let affinity = row.affinity_timeout_s.map(|s| format!(" affinity {s}")).unwrap_or_default();
            let scopes = if row.two_scopes { " two-scopes" } else { "" };
            let ranges = row.source_ranges.iter().map(|ranges| {
                let ranges: Vec<String> = ranges.iter().map(ToString::to_string).collect();
                format!(" for [{}]", ranges.join(" "))
            });
            let ranges: String = ranges.collect();
            lines.push(format!(
                "{frontend} {} {}{affinity}{scopes}{ranges} = {}\n",
                row.kind.as_str(),
                row.owner,
                backends.join(" ")
            ));
        }
        let mut backends: Vec<&BackendRow> = self.backends.values().collect();
        backends.sort_by_key(|row| row.address);
        lines.extend(self.health_checks.iter().map(|(port, row)| {
            format!("health check {port} of {} = {}\n", row.service, row.local_endpoints)
        }));
        let ends = |row: &BackendRow| match row.state {
            BackendState::Active => "",
            BackendState::Terminating => " ends",
            BackendState::NotReady => " is not ready",
        };
        lines.extend(backends.iter().map(|row| format!("backend {}{}\n", row.address, ends(row))));
        lines.concat()
    }

    /// Only the lines about frontends that hold this.
    pub fn lines(&self, part: &str) -> String {
        let dump = self.dump();
        let lines = dump.lines().filter(|line| {
            line.contains(part) && !line.starts_with("backend") && !line.starts_with("health")
        });
        lines.map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    pub fn id(&self, address: &str) -> u32 {
        let found = self.backends.iter().find(|(_, row)| row.address.socket().to_string() == address);
        *found.unwrap_or_else(|| panic!("no backend {address}")).0
    }

    pub fn row(&self, frontend: &str) -> &ServiceRow {
        let found = self.frontends.iter().find(|(one, _)| one.to_string() == frontend);
        found.unwrap_or_else(|| panic!("no frontend {frontend} in\n{}", self.dump())).1
    }
}

/// A frontend that stays has its id, and of its slots few are written.
fn check_change(before: &ServiceRow, row: &ServiceRow) {
    if [before.kind, row.kind].contains(&FrontendKind::Api) {
        return;
    }
    assert_eq!(before.id, row.id);
    let each_once = |row: &ServiceRow| row.slots.iter().collect::<BTreeSet<_>>().len() == row.slots.len();
    if each_once(before) && each_once(row) {
        let gone = before.slots.iter().filter(|id| !row.slots.contains(id)).count();
        let new = row.slots.iter().filter(|id| !before.slots.contains(id)).count();
        let written = before.slots.iter().zip(&row.slots).filter(|(before, now)| before != now).count();
        assert!(written <= gone + new, "{:?} became {:?}", before.slots, row.slots);
    }
}
