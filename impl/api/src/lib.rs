// SPDX-License-Identifier: Apache-2.0
//! The REST contract of Cilium 1.4: models with its JSON field names, paths, and a blocking client.
//!
//! Field names are those of 1.4's `api/v1/openapi.yaml` (swagger 2.0, base path `/v1`, HTTP over a unix socket). As
//! there, a field that is empty is left out. Requests refuse fields that they do not know.

pub mod client;
mod config;
mod debuginfo;
mod endpoint;
mod error;
mod identity;
mod ipam;
mod map;
mod metric;
mod node;
pub mod paths;
mod policy;
mod service;
mod status;

pub use client::{Client, ClientError, Exchange};
pub use config::{
    ConfigurationMap, DaemonConfiguration, DaemonConfigurationSpec, DaemonConfigurationStatus, DatapathMode,
    IpvlanConfiguration, KvstoreConfiguration,
};
pub use debuginfo::DebugInfo;
pub use endpoint::{
    Endpoint, EndpointChangeRequest, EndpointConfigurationSpec, EndpointConfigurationStatus, EndpointHealth,
    EndpointHealthStatus, EndpointIdentifiers, EndpointNetworking, EndpointPolicy, EndpointPolicyEnabled,
    EndpointPolicyStatus, EndpointState, EndpointStatus, EndpointStatusChange, LabelConfiguration,
    LabelConfigurationSpec, LabelConfigurationStatus, StatusChangeCode,
};
pub use error::ErrorBody;
pub use identity::Identity;
pub use ipam::{AddressPair, IpamResponse};
pub use map::{BpfMap, BpfMapEntry, BpfMapList, DesiredAction};
pub use metric::Metric;
pub use node::{NodeAddressing, NodeAddressingElement, NodeElement};
pub use policy::{
    CidrPolicy, L4Policy, Policy, PolicyRule, PolicyTraceResult, Port, PortProtocol, TraceFrom,
    TraceSelector, TraceTo, Verdict,
};
pub use service::{BackendAddress, FrontendAddress, Service, ServiceFlags, ServiceSpec, ServiceStatus};
pub use status::{
    ClusterStatus, ControllerConfiguration, ControllerRuns, ControllerStatus, IpamStatus, K8sStatus,
    MonitorStatus, ProxyStatus, ServicesStatus, Status, StatusResponse, StatusState,
};
