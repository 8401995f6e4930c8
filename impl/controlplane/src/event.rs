// SPDX-License-Identifier: Apache-2.0
//! What sources tell.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::{Port, Protocol};
use identity::{LabelArray, Labels};
use ipnet::IpNet;
use loadbalancer::{ApiService, EndpointSlice, Frontend, HostPort, Service};
use serde::{Deserialize, Serialize};

use crate::deltas::{EndpointState, NodeState};
use crate::endpoint::EndpointRef;
use crate::options::EndpointOptions;

/// Who waits for a reply: the source's own number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Ticket(pub u64);

/// When, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub u64);

/// Where facts come from that must all be known before anything is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceName {
    /// What an earlier run of the agent left in the state directory.
    State,
    /// The directory of Kubernetes objects.
    Files,
    /// The addresses of the node. [`Event::NodeAddresses`] says it all: no [`Event::SourceSynced`] is needed.
    Node,
}

impl fmt::Display for SourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::State => "state",
            Self::Files => "files",
            Self::Node => "node",
        })
    }
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// IPv4.
    Ipv4,
    /// IPv6.
    Ipv6,
}

impl Family {
    /// The family of an address.
    pub fn of(address: IpAddr) -> Self {
        if address.is_ipv4() { Self::Ipv4 } else { Self::Ipv6 }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}

/// An endpoint as its maker describes it: the supported fields of 1.4's `EndpointChangeRequest`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointRequest {
    /// Its number; 0: any.
    pub id: u16,
    /// The container.
    pub container_id: String,
    /// The container's name.
    pub container_name: String,
    /// The namespace of its pod.
    pub k8s_namespace: String,
    /// The name of its pod.
    pub k8s_pod_name: String,
    /// Labels of the workload. Empty: the pod's object gives them, and until it is there the endpoint is `reserved:init`.
    pub labels: Labels,
    /// Name of its interface on the host.
    pub interface: String,
    /// Index of that interface; 0: to be found by the name.
    pub ifindex: u32,
    /// Its IPv4 address.
    pub ipv4: Option<Ipv4Addr>,
    /// Its IPv6 address.
    pub ipv6: Option<Ipv6Addr>,
    /// MAC of the interface inside the pod.
    pub mac: [u8; 6],
    /// MAC of the interface on the host.
    pub node_mac: [u8; 6],
    /// Whether the reply waits until the endpoint is realized. Otherwise it is sent at once.
    pub sync_build: bool,
}

/// What is to change in an endpoint; none: stays as it is. Addresses and number cannot change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndpointPatch {
    /// The container.
    pub container_id: Option<String>,
    /// The container's name.
    pub container_name: Option<String>,
    /// The namespace of its pod.
    pub k8s_namespace: Option<String>,
    /// The name of its pod.
    pub k8s_pod_name: Option<String>,
    /// Labels of the workload.
    pub labels: Option<Labels>,
    /// Name of its interface on the host.
    pub interface: Option<String>,
    /// Index of that interface.
    pub ifindex: Option<u32>,
    /// MAC of the interface inside the pod.
    pub mac: Option<[u8; 6]>,
    /// MAC of the interface on the host.
    pub node_mac: Option<[u8; 6]>,
}

/// A change of labels by a user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LabelChange {
    /// Adds some, takes others away: what a user added is gone, what the workload brought is disabled.
    Patch {
        /// To add.
        add: Labels,
        /// To take away.
        delete: Labels,
    },
    /// All labels that a user added are now these.
    User(Labels),
}

/// A request for addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IpamRequest {
    /// Any free address.
    Allocate {
        /// Of this family; none: one of each that is on.
        family: Option<Family>,
        /// For whom, readable.
        owner: String,
        /// Whether the addresses are given back if no endpoint has them within [`IpamRequest::EXPIRY_MS`]: for a plugin
        /// that may die before it makes the endpoint.
        expires: bool,
    },
    /// This address.
    AllocateIp {
        /// The address.
        ip: IpAddr,
        /// For whom, readable.
        owner: String,
    },
    /// Gives an address back.
    Release {
        /// The address.
        ip: IpAddr,
    },
}

impl IpamRequest {
    /// How long an address that expires waits for its endpoint.
    pub const EXPIRY_MS: u64 = 10 * 60 * 1000;
}

/// What a Kubernetes pod's object says that matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `spec.serviceAccountName`.
    pub service_account: Option<String>,
    /// `spec.containers[].ports[]` that have a name.
    pub named_ports: Vec<NamedPort>,
    /// `spec.containers[].ports[]` that have a `hostPort`.
    pub host_ports: Vec<HostPort>,
}

/// A port with a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct NamedPort {
    /// The name.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// The port.
    pub port: Port,
}

/// A Kubernetes namespace's object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    /// `metadata.name`.
    pub name: String,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
}

/// All that one file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Objects {
    /// Rules of its policies, translated.
    pub rules: Vec<policy::Rule>,
    /// Its pods.
    pub pods: Vec<Pod>,
    /// Its namespaces.
    pub namespaces: Vec<Namespace>,
    /// Its services.
    pub services: Vec<Service>,
    /// Its endpoint slices, also those that stand for Endpoints objects.
    pub slices: Vec<EndpointSlice>,
}

/// What a change of the agent's configuration asks.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ConfigPatch {
    /// Options of all endpoints that have none of their own.
    pub options: EndpointOptions,
    /// When policy is enforced.
    pub enforcement: Option<policy::EnforcementMode>,
}

/// A row of a table that is outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Row {
    /// The endpoint's programs and its rows in `cilium_lxc`.
    Endpoint(u16),
    /// The endpoint's policy map.
    Policy(u16),
    /// A row of `cilium_ipcache`.
    Ipcache(IpNet),
    /// A frontend with its slots and its row in the reverse table.
    Service(Frontend),
    /// A backend.
    Backend(u32),
    /// A port at which load balancers ask for a service.
    HealthCheck(Port),
    /// The endpoint's file.
    State(u16),
    /// The node's file.
    Node,
    /// What rows have in common in the kernel: epochs, and that nothing is there which nobody desires.
    Datapath,
}

impl Row {
    /// The endpoint that it is of, as far as its name says that.
    pub(crate) fn endpoint(&self) -> Option<u16> {
        match self {
            Self::Endpoint(id) | Self::Policy(id) | Self::State(id) => Some(*id),
            Self::Ipcache(_)
            | Self::Service(_)
            | Self::Backend(_)
            | Self::HealthCheck(_)
            | Self::Node
            | Self::Datapath => None,
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Endpoint(id) => write!(f, "endpoint {id}"),
            Self::Policy(id) => write!(f, "policy map of endpoint {id}"),
            Self::Ipcache(prefix) => write!(f, "ipcache {prefix}"),
            Self::Service(frontend) => write!(f, "service {frontend}"),
            Self::Backend(id) => write!(f, "backend {id}"),
            Self::HealthCheck(port) => write!(f, "healthCheckNodePort {port}"),
            Self::State(id) => write!(f, "state file of endpoint {id}"),
            Self::Node => f.write_str("state file of the node"),
            Self::Datapath => f.write_str("datapath"),
        }
    }
}

/// A row that is not as desired.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Failure {
    /// Which.
    pub row: Row,
    /// Why, readable.
    pub reason: String,
}

/// A fact or a request.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `PUT /endpoint/{id}`.
    EndpointCreate {
        /// Who waits.
        ticket: Ticket,
        /// The endpoint.
        request: EndpointRequest,
    },
    /// `PATCH /endpoint/{id}`.
    EndpointPatch {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        endpoint: EndpointRef,
        /// What changes.
        patch: EndpointPatch,
    },
    /// `DELETE /endpoint/{id}`.
    EndpointDelete {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        endpoint: EndpointRef,
    },
    /// `PATCH /endpoint/{id}/labels`.
    EndpointLabels {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        endpoint: EndpointRef,
        /// What changes.
        change: LabelChange,
    },
    /// `PATCH /endpoint/{id}/config`.
    EndpointConfig {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        endpoint: EndpointRef,
        /// What is said for it alone from now on; of the others nothing changes.
        options: EndpointOptions,
    },
    /// `cilium endpoint regenerate`: all rows of the endpoint are written again.
    EndpointRegenerate {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        endpoint: EndpointRef,
    },
    /// `POST /ipam`, `POST` and `DELETE /ipam/{ip}`.
    Ipam {
        /// Who waits.
        ticket: Ticket,
        /// What is asked.
        request: IpamRequest,
    },
    /// `PUT /policy`: adds rules to those of the API.
    PolicyAdd {
        /// Who waits.
        ticket: Ticket,
        /// The rules.
        rules: Vec<policy::Rule>,
        /// Whether rules with the same labels go: for each new rule those of the API that have all its labels.
        replace: bool,
    },
    /// `DELETE /policy`: removes rules of the API that have all these labels; without labels, all of the API.
    PolicyDelete {
        /// Who waits.
        ticket: Ticket,
        /// The labels.
        labels: LabelArray,
    },
    /// `PUT /service/{id}`: makes a service, or changes it.
    ServicePut {
        /// Who waits.
        ticket: Ticket,
        /// The service.
        service: ApiService,
    },
    /// `DELETE /service/{id}`.
    ServiceDelete {
        /// Who waits.
        ticket: Ticket,
        /// Which.
        id: u16,
    },
    /// The ids of services and backends that an earlier run gave, from the kernel's tables.
    RestoredServices(loadbalancer::Restored),
    /// `PATCH /config`.
    Config {
        /// Who waits.
        ticket: Ticket,
        /// What changes.
        patch: ConfigPatch,
    },
    /// All that a file holds now; nothing where it is gone.
    Source {
        /// Its path.
        file: String,
        /// What it holds.
        objects: Objects,
    },
    /// A file could not be read: what it held before stays, and status says why until it is read again.
    SourceFailed {
        /// Its path.
        file: String,
        /// Why.
        reason: String,
    },
    /// The source told all that it knows.
    SourceSynced(SourceName),
    /// All addresses of the node.
    NodeAddresses(Vec<IpAddr>),
    /// An endpoint of an earlier run.
    Restored(EndpointState),
    /// The node's file of an earlier run.
    RestoredNode(NodeState),
    /// An endpoint of an earlier run that cannot be had again: its file is corrupt, its interface gone.
    RestoreFailed {
        /// The endpoint; 0: the node's file.
        id: u16,
        /// Why.
        reason: String,
    },
    /// Time passes: addresses expire. Once in some seconds is enough.
    Tick,
    /// The targets are as desired up to this revision, except for these rows: all that are not as desired now, also those
    /// that failed earlier. Said again whenever that changes, and after each [`crate::Deltas`].
    Realized {
        /// Of the tables.
        revision: u64,
        /// What is not as desired.
        failures: Vec<Failure>,
    },
}

impl Event {
    /// Who waits for a reply to it.
    pub fn ticket(&self) -> Option<Ticket> {
        match self {
            Self::EndpointCreate { ticket, .. }
            | Self::EndpointPatch { ticket, .. }
            | Self::EndpointDelete { ticket, .. }
            | Self::EndpointLabels { ticket, .. }
            | Self::EndpointConfig { ticket, .. }
            | Self::EndpointRegenerate { ticket, .. }
            | Self::Ipam { ticket, .. }
            | Self::PolicyAdd { ticket, .. }
            | Self::PolicyDelete { ticket, .. }
            | Self::ServicePut { ticket, .. }
            | Self::ServiceDelete { ticket, .. }
            | Self::Config { ticket, .. } => Some(*ticket),
            Self::Source { .. }
            | Self::SourceFailed { .. }
            | Self::SourceSynced(_)
            | Self::NodeAddresses(_)
            | Self::Restored(_)
            | Self::RestoredNode(_)
            | Self::RestoreFailed { .. }
            | Self::RestoredServices(_)
            | Self::Tick
            | Self::Realized { .. } => None,
        }
    }
}
