// SPDX-License-Identifier: Apache-2.0
//! `/service`.
//!
//! 1.4 knows services by one address, port and number, with weights that it does not use. What is there beside that is
//! told in further fields, whose names are those of later versions where they have them.

use serde::{Deserialize, Serialize};

/// A frontend with its backends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Service {
    /// As it should be.
    pub spec: ServiceSpec,
    /// As it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<ServiceStatus>,
}

/// As a service is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct ServiceStatus {
    /// In the terms of what it should be.
    pub realized: ServiceSpec,
    /// Whose it is: `namespace/name:port` of a Kubernetes service, `pod namespace/name` of a host port, `api`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub owner: String,
    /// How long a client keeps its backend, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub affinity_timeout_s: Option<u32>,
    /// Ranges of clients that are let in; an empty list: nobody is. None: everybody is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_ranges: Option<Vec<String>>,
    /// Why the datapath does not have it as it should be.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub failure: String,
}

/// What makes a service; the body of `PUT /service/{id}`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceSpec {
    /// Its number, 1 to 65535.
    pub id: u64,
    /// What clients connect to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frontend_address: Option<FrontendAddress>,
    /// Who answers them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub backend_addresses: Vec<BackendAddress>,
    /// What else is to be said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub flags: Option<ServiceFlags>,
}

/// What clients connect to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct FrontendAddress {
    /// The address.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub ip: String,
    /// The port.
    pub port: u16,
    /// `TCP`, `UDP` or `SCTP`; empty and `NONE` are `TCP`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// `external`, or `internal` where connections from pods and from the node have backends of their own.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub scope: String,
}

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct BackendAddress {
    /// The address.
    pub ip: String,
    /// The port.
    pub port: u16,
    /// How much it gets. All of a service get the same.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight: u16,
    /// Its number in the datapath; told only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// `active`; `terminating` or `not-ready` for one that keeps its connections and gets no new ones; told only.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub state: String,
}

/// What else is to be said of a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct ServiceFlags {
    /// Whether the frontend is translated; 1.4's clients say so, and it always is.
    #[serde(skip_serializing_if = "crate::node::is_false")]
    pub active_frontend: bool,
    /// In 1.4, whose clients say it for `--rev`: answers carry the frontend's address. They always do.
    #[serde(skip_serializing_if = "crate::node::is_false")]
    pub direct_server_return: bool,
    /// `ClusterIP`, `NodePort`, `ExternalIPs`, `LoadBalancer`, `HostPort` or `API`; told only.
    #[serde(rename = "type", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

const fn is_zero(value: &u16) -> bool {
    *value == 0
}
