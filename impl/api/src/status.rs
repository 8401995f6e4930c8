// SPDX-License-Identifier: Apache-2.0
//! `/healthz`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::NodeElement;

/// How the daemon and what it needs are. A part that the daemon does not have is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct StatusResponse {
    /// The daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cilium: Option<Status>,
    /// The key-value store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kvstore: Option<Status>,
    /// The container runtime.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container_runtime: Option<Status>,
    /// Kubernetes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubernetes: Option<K8sStatus>,
    /// The addresses of pods.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipam: Option<IpamStatus>,
    /// The monitor.
    #[serde(rename = "nodeMonitor", skip_serializing_if = "Option::is_none")]
    pub node_monitor: Option<MonitorStatus>,
    /// Other nodes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterStatus>,
    /// What runs again and again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<ControllerStatus>,
    /// The proxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy: Option<ProxyStatus>,
    /// Services; 1.4 tells nothing of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesStatus>,
    /// Since when (RFC 3339) a part has not answered, by part.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub stale: BTreeMap<String, String>,
}

/// How one part is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Status {
    /// In one word.
    pub state: StatusState,
    /// In a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub msg: String,
}

/// How a part is, in one word.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum StatusState {
    /// Works.
    Ok,
    /// Works in part.
    Warning,
    /// Does not work.
    Failure,
    /// Is not wanted.
    #[default]
    Disabled,
}

/// How Kubernetes is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct K8sStatus {
    /// In one word.
    pub state: StatusState,
    /// In a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub msg: String,
    /// The API versions in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub k8s_api_versions: Vec<String>,
}

/// Which addresses are taken.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IpamStatus {
    /// Of IPv4.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipv4: Vec<String>,
    /// Of IPv6.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub ipv6: Vec<String>,
    /// In a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub status: String,
}

/// How the monitor is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MonitorStatus {
    /// The processors of this node.
    pub cpus: u64,
    /// How many pages the buffer of events has.
    pub npages: u64,
    /// How large a page is, in bytes.
    pub pagesize: u64,
    /// Events that did not fit into the buffer.
    pub lost: u64,
    /// Events that could not be read.
    pub unknown: u64,
}

/// How other nodes are.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ClusterStatus {
    /// The daemon that probes them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cilium_health: Option<Status>,
    /// The name of this one.
    #[serde(rename = "self", skip_serializing_if = "String::is_empty")]
    pub this: String,
    /// All of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub nodes: Vec<NodeElement>,
}

/// How the proxy is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ProxyStatus {
    /// Where it listens.
    pub ip: String,
    /// At which ports.
    pub port_range: String,
}

/// How services are brought about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ServicesStatus {
    /// Whether those of Kubernetes are taken.
    pub kubernetes: bool,
    /// How many frontends there are.
    pub frontends: u64,
    /// Backends that take new connections.
    pub active_backends: u64,
    /// Backends that end, and only keep the connections that they have.
    pub terminating_backends: u64,
    /// Backends that do not end, are not ready, and only keep the connections that they have.
    pub not_ready_backends: u64,
    /// At how many ports of the node load balancers may ask for a service.
    pub health_checks: u64,
    /// Whether sockets are translated, so that no packet need be.
    pub sockets: bool,
    /// The control group whose sockets are; or why none are.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub sockets_msg: String,
    /// How backends on other nodes are reached from outside: `snat` or `dsr`.
    pub mode: String,
    /// How backends are chosen: `random` or `maglev`.
    pub algorithm: String,
    /// Where NodePorts are: `30000-32767`.
    pub node_port_range: String,
    /// How many parts of services cannot be.
    pub refused_count: u64,
    /// Some of them, with the reason: a frontend that another has, a NodePort out of range, a table that is full.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub refused: BTreeMap<String, String>,
}

/// Something that runs again and again.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ControllerStatus {
    /// Its name.
    pub name: String,
    /// Its own id.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uuid: String,
    /// How often it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub configuration: Option<ControllerConfiguration>,
    /// How that went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ControllerRuns>,
}

/// How often a controller runs. Durations are Go's: `1m0s`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ControllerConfiguration {
    /// Between two runs.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interval: String,
    /// After the first failure; more later.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub error_retry_base: String,
    /// Whether it is tried again.
    #[serde(skip_serializing_if = "crate::node::is_false")]
    pub error_retry: bool,
}

/// How the runs of a controller went.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ControllerRuns {
    /// Successes.
    pub success_count: u64,
    /// The last one, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_success_timestamp: String,
    /// Failures.
    pub failure_count: u64,
    /// The last one, RFC 3339.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_failure_timestamp: String,
    /// Failures since the last success.
    pub consecutive_failure_count: u64,
    /// What the last one said.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_failure_msg: String,
}
