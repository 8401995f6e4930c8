// SPDX-License-Identifier: Apache-2.0
//! `/endpoint`.

mod configuration;
mod policy;
mod request;
mod state;

use serde::{Deserialize, Serialize};

pub use configuration::{
    EndpointConfigurationSpec, EndpointConfigurationStatus, LabelConfiguration, LabelConfigurationSpec,
    LabelConfigurationStatus,
};
pub use policy::{EndpointPolicy, EndpointPolicyEnabled, EndpointPolicyStatus};
pub use request::EndpointChangeRequest;
pub use state::{
    EndpointHealth, EndpointHealthStatus, EndpointState, EndpointStatusChange, StatusChangeCode,
};

use crate::{AddressPair, ControllerStatus, Identity, NodeAddressing};

/// A workload's network interface, to which policy applies.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Endpoint {
    /// Its number on this node.
    pub id: u16,
    /// How it is wanted.
    pub spec: EndpointConfigurationSpec,
    /// How it is.
    pub status: EndpointStatus,
}

/// How an endpoint is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct EndpointStatus {
    /// In one word.
    pub state: EndpointState,
    /// Its names outside.
    pub external_identifiers: EndpointIdentifiers,
    /// Who it is; none before it has labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<Identity>,
    /// Its labels.
    pub labels: LabelConfigurationStatus,
    /// Its configuration in effect.
    pub realized: EndpointConfigurationSpec,
    /// Its addresses and device.
    pub networking: EndpointNetworking,
    /// Its policy.
    pub policy: EndpointPolicyStatus,
    /// The last changes; `/endpoint/{id}/log` has more.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub log: Vec<EndpointStatusChange>,
    /// What runs for it again and again.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub controllers: Vec<ControllerStatus>,
    /// Whether its parts work.
    pub health: EndpointHealth,
}

/// The names that others have for an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct EndpointIdentifiers {
    /// The runtime's id of its container.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_id: String,
    /// The runtime's name for it.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub container_name: String,
    /// Docker's id of the endpoint.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_endpoint_id: String,
    /// Docker's id of its network.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub docker_network_id: String,
    /// `<namespace>/<pod>`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub pod_name: String,
}

/// The addresses and the device of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct EndpointNetworking {
    /// Its addresses.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addressing: Vec<AddressPair>,
    /// The node's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_addressing: Option<NodeAddressing>,
    /// The MAC address of the node's end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host_mac: String,
    /// The MAC address of the pod's end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mac: String,
    /// The node's end.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub interface_name: String,
    /// The interface index of the node's end.
    pub interface_index: u32,
}
