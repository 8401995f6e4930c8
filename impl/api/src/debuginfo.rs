// SPDX-License-Identifier: Apache-2.0
//! `/debuginfo`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Endpoint, Policy, Service, StatusResponse};

/// What a bug report needs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct DebugInfo {
    /// The agent's version.
    pub cilium_version: String,
    /// The kernel's.
    pub kernel_version: String,
    /// As `/healthz` says it.
    pub cilium_status: StatusResponse,
    /// As `/endpoint` says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub endpoint_list: Vec<Endpoint>,
    /// As `/service` says it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub service_list: Vec<Service>,
    /// As `/policy` says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<Policy>,
    /// The agent's `/proc/<pid>/maps`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cilium_memory_map: String,
    /// `NAME=value` of the agent's environment that it reads.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environment_variables: Vec<String>,
    /// The state of parts of the agent, as text, by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub subsystem: BTreeMap<String, String>,
}
