// SPDX-License-Identifier: Apache-2.0
//! Addresses of nodes.

use serde::{Deserialize, Serialize};

/// The addresses of a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NodeAddressing {
    /// Of IPv4.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv4: Option<NodeAddressingElement>,
    /// Of IPv6.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ipv6: Option<NodeAddressingElement>,
}

/// The address of a node in one family.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct NodeAddressingElement {
    /// Whether the family is in use.
    #[serde(skip_serializing_if = "is_false")]
    pub enabled: bool,
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The prefix from which pods on the node get addresses.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub alloc_range: String,
    /// `HostName`, `ExternalIP` or `InternalIP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub address_type: String,
}

/// A node of the cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct NodeElement {
    /// `<cluster>/<host>`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Where other nodes reach it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub primary_address: Option<NodeAddressing>,
    /// More addresses of it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub secondary_addresses: Vec<NodeAddressingElement>,
    /// Where its health endpoint answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health_endpoint_address: Option<NodeAddressing>,
}

/// For fields that are left out when they are false.
pub(crate) fn is_false(value: &bool) -> bool {
    !*value
}
