// SPDX-License-Identifier: Apache-2.0
//! `/config`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{MonitorStatus, NodeAddressing};

/// Names of options and their values, such as `DropNotification: Enabled`.
pub type ConfigurationMap = BTreeMap<String, String>;

/// What the daemon should do and does.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DaemonConfiguration {
    /// What was asked for.
    pub spec: DaemonConfigurationSpec,
    /// What is in effect.
    pub status: DaemonConfigurationStatus,
}

/// What can be changed while the daemon runs; the body of `PATCH /config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct DaemonConfigurationSpec {
    /// The mutable options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: ConfigurationMap,
    /// `default`, `always` or `never`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy_enforcement: Option<String>,
}

/// What is in effect.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct DaemonConfigurationStatus {
    /// The mutable part.
    pub realized: DaemonConfigurationSpec,
    /// What needs a restart to change.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub immutable: ConfigurationMap,
    /// The node's addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub addressing: Option<NodeAddressing>,
    /// The Kubernetes API server.
    #[serde(rename = "k8s-endpoint", skip_serializing_if = "String::is_empty")]
    pub k8s_endpoint: String,
    /// The path of the kubeconfig.
    #[serde(rename = "k8s-configuration", skip_serializing_if = "String::is_empty")]
    pub k8s_configuration: String,
    /// The monitor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub node_monitor: Option<MonitorStatus>,
    /// The key-value store.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kvstore_configuration: Option<KvstoreConfiguration>,
    /// The MTU of pods' devices, in bytes.
    #[serde(rename = "deviceMTU", skip_serializing_if = "Option::is_none")]
    pub device_mtu: Option<u32>,
    /// The MTU of pods' routes, in bytes.
    #[serde(rename = "routeMTU", skip_serializing_if = "Option::is_none")]
    pub route_mtu: Option<u32>,
    /// How pods are attached.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub datapath_mode: Option<DatapathMode>,
    /// What only that mode has.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipvlan_configuration: Option<IpvlanConfiguration>,
}

/// Which key-value store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct KvstoreConfiguration {
    /// Its kind.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its options.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub options: ConfigurationMap,
}

/// How pods are attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatapathMode {
    /// By veth pairs.
    Veth,
    /// By ipvlan.
    Ipvlan,
}

/// What only mode ipvlan has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct IpvlanConfiguration {
    /// The interface index of the device under the pods.
    pub master_device_index: u32,
    /// `L3` or `L3S`.
    pub operation_mode: String,
}
