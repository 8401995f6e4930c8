// SPDX-License-Identifier: Apache-2.0
//! What goes to the targets: rows of the tables, and changes of them.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, Ipv6Addr};

use addr::Port;
use identity::Labels;
use ipnet::IpNet;
use loadbalancer::{ApiService, BackendRow, Frontend, HealthCheck, ServiceRow};
use policy::{MapState, PolicyDelta};
use serde::{Deserialize, Serialize};

use crate::event::NamedPort;
use crate::options::EndpointOptions;
use crate::table::Delta;

/// What the datapath must know of an endpoint: `cilium_lxc`, `cilium_lxc_by_id`, and the programs on its interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRow {
    /// The endpoint.
    pub id: u16,
    /// Index of its interface on the host. 0: to be found by the name.
    pub ifindex: u32,
    /// Name of its interface on the host.
    pub interface: String,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// MAC of the interface inside the pod.
    pub mac: [u8; 6],
    /// MAC of the interface on the host.
    pub node_mac: [u8; 6],
    /// Its numeric identity.
    pub identity: u32,
    /// The bits of [`crate::EndpointOption::bit`].
    pub options: u32,
}

/// A row of `cilium_ipcache`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IpcacheRow {
    /// Who has these addresses.
    pub identity: u32,
    /// The node to tunnel to; none on this node and outside the cluster.
    pub tunnel_endpoint: Option<Ipv4Addr>,
}

/// All that it takes to have an endpoint again after a restart of the agent. One file each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct EndpointState {
    /// Version of this form: [`EndpointState::VERSION`].
    pub version: u32,
    /// The endpoint.
    pub id: u16,
    /// The container.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// The container's name.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// The namespace of its pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub k8s_namespace: String,
    /// The name of its pod.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub k8s_pod_name: String,
    /// Name of its interface on the host.
    pub interface: String,
    /// Index of that interface.
    pub ifindex: u32,
    /// Its IPv4 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<Ipv6Addr>,
    /// MAC of the interface inside the pod.
    pub mac: [u8; 6],
    /// MAC of the interface on the host.
    pub node_mac: [u8; 6],
    /// Labels that came with the request that made it.
    #[serde(default)]
    pub labels: Labels,
    /// Labels that its pod's object gave it, if there was one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod_labels: Option<Labels>,
    /// Named ports of its pod's object.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub named_ports: Vec<NamedPort>,
    /// Labels that a user added.
    #[serde(default)]
    pub user_labels: Labels,
    /// Labels that a user took away.
    #[serde(default)]
    pub disabled_labels: Labels,
    /// Its numeric identity.
    pub identity: u32,
    /// The labels of that identity.
    pub identity_labels: Labels,
    /// Options set for it alone.
    #[serde(default)]
    pub options: EndpointOptions,
}

impl EndpointState {
    /// The version written; another is not read.
    pub const VERSION: u32 = 1;
}

/// What else must outlive the agent. One file for the node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NodeState {
    /// Rules that came through the API; no file has them.
    #[serde(default)]
    pub rules: Vec<policy::Rule>,
    /// The numbers of the identities of prefixes: rows in the kernel carry them.
    #[serde(default)]
    pub cidr_identities: BTreeMap<IpNet, u32>,
    /// Services that came through the API.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub services: Vec<ApiService>,
}

/// Changes of all tables.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Deltas {
    /// Of the tables, after these changes. [`crate::Event::Realized`] answers with it.
    pub revision: u64,
    /// Endpoints.
    pub endpoints: Delta<u16, EndpointRow>,
    /// Their policy maps. The map of a removed endpoint goes without being named here.
    pub policy: Vec<PolicyDelta>,
    /// Who has which address.
    pub ipcache: Delta<IpNet, IpcacheRow>,
    /// Frontends of services.
    pub services: Delta<Frontend, ServiceRow>,
    /// Backends of services, by id.
    pub backends: Delta<u32, BackendRow>,
    /// What is answered at ports of the node to load balancers that ask.
    pub health_checks: Delta<Port, HealthCheck>,
    /// Files of endpoints.
    pub state: Delta<u16, EndpointState>,
    /// The file of the node, if it changed.
    pub node: Option<NodeState>,
}

impl Deltas {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.endpoints.is_empty()
            && self.policy.is_empty()
            && self.ipcache.is_empty()
            && self.services.is_empty()
            && self.backends.is_empty()
            && self.health_checks.is_empty()
            && self.state.is_empty()
            && self.node.is_none()
    }

    /// These changes and later ones as one: what waits for slow targets does not grow beyond the tables. Endpoints that
    /// are removed have no policy any more.
    pub fn merge(&mut self, later: Self) {
        self.revision = later.revision;
        let mut policy: BTreeMap<u16, PolicyDelta> = BTreeMap::new();
        for delta in std::mem::take(&mut self.policy) {
            policy.insert(delta.endpoint, delta);
        }
        for id in &later.endpoints.removals {
            policy.remove(id);
        }
        for delta in later.policy {
            match policy.remove(&delta.endpoint) {
                Some(earlier) => policy.insert(delta.endpoint, merged(earlier, delta)),
                None => policy.insert(delta.endpoint, delta),
            };
        }
        self.policy = policy.into_values().collect();
        self.endpoints.merge(later.endpoints);
        self.ipcache.merge(later.ipcache);
        self.services.merge(later.services);
        self.backends.merge(later.backends);
        self.health_checks.merge(later.health_checks);
        self.state.merge(later.state);
        if later.node.is_some() {
            self.node = later.node;
        }
    }
}

/// Two changes of one policy map as one.
fn merged(earlier: PolicyDelta, later: PolicyDelta) -> PolicyDelta {
    let mut entries = Delta { upserts: earlier.upserts, removals: earlier.removals };
    entries.merge(Delta { upserts: later.upserts, removals: later.removals });
    PolicyDelta { upserts: entries.upserts, removals: entries.removals, ..later }
}

impl Desired {
    /// These changes came since.
    pub fn apply(&mut self, later: &Deltas) {
        self.revision = later.revision;
        change(&mut self.endpoints, &later.endpoints);
        for id in &later.endpoints.removals {
            self.policy.remove(id);
        }
        for delta in &later.policy {
            let rows = self.policy.entry(delta.endpoint).or_default();
            for key in &delta.removals {
                rows.remove(key);
            }
            rows.extend(delta.upserts.iter().copied());
        }
        change(&mut self.ipcache, &later.ipcache);
        change(&mut self.services, &later.services);
        change(&mut self.backends, &later.backends);
        change(&mut self.state, &later.state);
        if let Some(node) = &later.node {
            self.node.clone_from(node);
        }
    }
}

fn change<K: Ord + Clone, V: Clone>(rows: &mut BTreeMap<K, V>, delta: &Delta<K, V>) {
    for key in &delta.removals {
        rows.remove(key);
    }
    rows.extend(delta.upserts.iter().cloned());
}

/// All rows that are desired, for pruning what is not.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// Of the tables.
    pub revision: u64,
    /// Endpoints.
    pub endpoints: BTreeMap<u16, EndpointRow>,
    /// Their policy maps.
    pub policy: BTreeMap<u16, MapState>,
    /// Who has which address.
    pub ipcache: BTreeMap<IpNet, IpcacheRow>,
    /// Frontends of services.
    pub services: BTreeMap<Frontend, ServiceRow>,
    /// Backends of services, by id.
    pub backends: BTreeMap<u32, BackendRow>,
    /// What is answered at ports of the node to load balancers that ask.
    pub health_checks: BTreeMap<Port, HealthCheck>,
    /// Files of endpoints.
    pub state: BTreeMap<u16, EndpointState>,
    /// The file of the node.
    pub node: NodeState,
}
