// SPDX-License-Identifier: Apache-2.0
//! Services and endpoints in; frontends, backends and slots out.

mod api;
mod backends;
mod balancer;
mod config;
mod ids;
pub mod kubernetes;
mod maglev;
mod object;
mod owner;
mod refused;
mod row;
mod settle;
mod slots;
mod tracked;
mod translate;

pub use balancer::{Changes, LoadBalancer};
pub use config::{Algorithm, Config};
pub use object::{
    ApiService, EndpointConditions, EndpointSlice, HostPort, ObjectKey, Service, ServiceEndpoint,
    ServicePort, ServiceType, SlicePort, TrafficPolicy,
};
pub use refused::ApiError;
pub use row::{
    BackendAddress, BackendRow, BackendState, Frontend, FrontendKind, Restored, Scope, ServiceRow,
};
