// SPDX-License-Identifier: Apache-2.0
//! Services and endpoints in; frontends, backends and slots out.

mod config;
pub mod kubernetes;
mod object;
mod row;

pub use config::{Algorithm, Config};
pub use object::{
    ApiService, EndpointConditions, EndpointSlice, HostPort, ObjectKey, Service, ServiceEndpoint,
    ServicePort, ServiceType, SlicePort, TrafficPolicy,
};
pub use row::{
    BackendAddress, BackendRow, BackendState, Frontend, FrontendKind, Restored, Scope, ServiceRow,
};
