// SPDX-License-Identifier: Apache-2.0
//! What a CNI plugin sends.

use serde::{Deserialize, Serialize};

use super::EndpointState;
use crate::AddressPair;

/// The body of `PUT` and `PATCH /endpoint/{id}`. A field that is not there is not changed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct EndpointChangeRequest {
    /// Its number on this node; 0 lets the agent choose.
    #[serde(default)]
    pub id: u16,
    /// The state that the caller knows it to be in; required.
    pub state: EndpointState,
    /// The runtime's id of its container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_id: Option<String>,
    /// The runtime's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container_name: Option<String>,
    /// Docker's id of the endpoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_endpoint_id: Option<String>,
    /// Docker's id of its network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub docker_network_id: Option<String>,
    /// Labels as `source:key=value`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub labels: Option<Vec<String>>,
    /// The node's end of its link.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_name: Option<String>,
    /// The interface index of the node's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface_index: Option<u32>,
    /// The MAC address of the pod's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<String>,
    /// The MAC address of the node's end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host_mac: Option<String>,
    /// Its addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub addressing: Option<AddressPair>,
    /// The name of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k8s_pod_name: Option<String>,
    /// The namespace of its pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub k8s_namespace: Option<String>,
    /// The id of its tail call map (ipvlan).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub datapath_map_id: Option<u32>,
    /// Whether policy is enforced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy_enabled: Option<bool>,
    /// A process in its network namespace.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// Whether the reply waits until its datapath works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_build_endpoint: Option<bool>,
}
