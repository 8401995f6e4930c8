// SPDX-License-Identifier: Apache-2.0
//! What the control plane says when asked: plain values, made for the API.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use identity::{Labels, NumericIdentity};
use ipnet::IpNet;

use crate::endpoint::State;
use crate::event::{Failure, NamedPort, SourceName, Timestamp};
use crate::options::EndpointOptions;

/// The labels of an endpoint by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointLabels {
    /// Those that make its identity.
    pub security_relevant: Labels,
    /// Those of the workload that do not.
    pub information: Labels,
    /// Those that a user added.
    pub user: Labels,
    /// Those of the workload that a user took away.
    pub disabled: Labels,
}

/// The policy of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointPolicy {
    /// Whether what no rule allows to come in is dropped.
    pub enforcing_ingress: bool,
    /// Whether what no rule allows to go out is dropped.
    pub enforcing_egress: bool,
    /// Identities that some entry of its map lets in; 0: any.
    pub allowed_ingress: Vec<u32>,
    /// Identities that some entry of its map lets it reach; 0: any.
    pub allowed_egress: Vec<u32>,
    /// Entries of its map.
    pub entries: usize,
    /// Revision of the rules that it should have.
    pub revision: u64,
    /// Revision of the rules that it has.
    pub realized_revision: u64,
}

/// An endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointView {
    /// Its number.
    pub id: u16,
    /// Where it is in its life.
    pub state: State,
    /// The container.
    pub container_id: String,
    /// The container's name.
    pub container_name: String,
    /// The namespace of its pod.
    pub k8s_namespace: String,
    /// The name of its pod.
    pub k8s_pod_name: String,
    /// Name of its interface on the host.
    pub interface: String,
    /// Index of that interface.
    pub ifindex: u32,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// MAC of the interface inside the pod.
    pub mac: [u8; 6],
    /// MAC of the interface on the host.
    pub node_mac: [u8; 6],
    /// Its identity; none while it waits for one.
    pub identity: Option<NumericIdentity>,
    /// The labels of its identity.
    pub identity_labels: Labels,
    /// Its labels by what they are for.
    pub labels: EndpointLabels,
    /// Named ports of its pod.
    pub named_ports: Vec<NamedPort>,
    /// Options said for it alone.
    pub options: EndpointOptions,
    /// Options as they are for it.
    pub effective_options: EndpointOptions,
    /// Its policy.
    pub policy: EndpointPolicy,
    /// What is not as desired.
    pub failures: Vec<Failure>,
    /// When the agent got to know it.
    pub since: Timestamp,
}

/// An identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityView {
    /// The number.
    pub identity: NumericIdentity,
    /// The labels.
    pub labels: Labels,
    /// How many endpoints or prefixes hold it; reserved ones are there without.
    pub references: u64,
}

/// Addresses that are given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct IpamView {
    /// The range and all given addresses with who has them, where IPv4 is on.
    pub ipv4: Option<PoolView>,
    /// The same of IPv6.
    pub ipv6: Option<PoolView>,
}

/// Given addresses of one family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolView {
    /// From where addresses are given.
    pub range: IpNet,
    /// The address of the router.
    pub router: IpAddr,
    /// Given addresses, with who has them.
    pub given: BTreeMap<IpAddr, String>,
    /// How many more could be given.
    pub free: u64,
}

/// How the control plane is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Status {
    /// Of the tables, desired.
    pub revision: u64,
    /// Of the tables, realized.
    pub realized_revision: u64,
    /// Of the rules, desired.
    pub policy_revision: u64,
    /// Of the rules, realized everywhere.
    pub realized_policy_revision: u64,
    /// Rules by who owns them: the API is the empty name.
    pub rules: BTreeMap<String, usize>,
    /// How many endpoints are in each state; states without any are left out.
    pub endpoints: BTreeMap<State, usize>,
    /// How many identities are in use.
    pub identities: usize,
    /// How many ipcache rows are desired.
    pub ipcache: usize,
    /// Sources that did not tell all yet.
    pub unsynced: BTreeSet<SourceName>,
    /// Requests that wait for the sources.
    pub queued: usize,
    /// Requests that wait for the targets.
    pub waiting: usize,
    /// Rows that are not as desired.
    pub failures: Vec<Failure>,
    /// Endpoints of an earlier run that are not had again, and why; 0: the node's file.
    pub restore_failures: BTreeMap<u16, String>,
    /// Files that cannot be read, and why.
    pub source_failures: BTreeMap<String, String>,
    /// Prefixes and labels that have no number, and why.
    pub without_identity: BTreeMap<String, String>,
    /// Named ports of rules in force that no destination has: there such a rule allows nothing.
    pub unresolved_ports: Vec<String>,
    /// Entries of `toServices` of rules in force whose services have no address, so that they allow nothing, or more than
    /// [`policy::MAX_SERVICE_ADDRESSES`].
    pub unresolved_services: Vec<String>,
    /// Endpoints whose rules ask for more entries in a direction than a policy map may have: what did not fit is not
    /// allowed.
    pub overflowing: BTreeSet<u16>,
    /// How many frontends of services are desired.
    pub services: usize,
    /// How many backends of services are desired.
    pub backends: usize,
    /// At how many ports of the node load balancers may ask for a service.
    pub health_checks: usize,
    /// What is not done for services, and why: a frontend that another has, a NodePort out of range, a table that is full.
    pub services_refused: BTreeMap<String, String>,
}

/// A frontend with its backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceView {
    /// Its id.
    pub id: u16,
    /// What clients connect to.
    pub frontend: loadbalancer::Frontend,
    /// Why it is there.
    pub kind: loadbalancer::FrontendKind,
    /// Whose it is, readable.
    pub owner: String,
    /// How long a client keeps its backend, seconds.
    pub affinity_timeout_s: Option<u32>,
    /// Whose connections are let in; an empty list: nobody's. None: everybody's.
    pub source_ranges: Option<Vec<IpNet>>,
    /// Its backends with their ids, each once.
    pub backends: Vec<(u32, loadbalancer::BackendRow)>,
    /// Why the datapath does not have it as desired.
    pub failure: Option<String>,
}
