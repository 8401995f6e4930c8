// SPDX-License-Identifier: Apache-2.0
//! `/ipam`.

use serde::{Deserialize, Serialize};

use crate::NodeAddressing;

/// The addresses of an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct AddressPair {
    /// Empty without IPv4.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv4: String,
    /// Empty without IPv6.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ipv6: String,
}

/// What `POST /ipam` gave.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct IpamResponse {
    /// For the endpoint.
    pub address: AddressPair,
    /// The node's own: the endpoint's gateway.
    pub host_addressing: NodeAddressing,
}
