// SPDX-License-Identifier: Apache-2.0
//! Kubernetes' objects into checked values: `Service`, `EndpointSlice`, `Endpoints`, and the `hostPort`s of a `Pod`.
//!
//! Each function takes one document whose `kind` its caller looked at. Fields that mean nothing here are passed over, since
//! such objects have many. A field that means something and cannot be followed is an error with its path.

mod endpoints;
mod field;
mod pod;
mod service;

use serde_json::Value;

use crate::object::{EndpointSlice, HostPort, Service};

/// Why an object is not taken: `spec.ports[0].nodePort: must be from 1 to 65535`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct ObjectError {
    /// The field, from the root of the object.
    pub path: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A `Service` of `v1`.
///
/// # Errors
/// [`ObjectError`] about the first field that is wrong.
pub fn service(document: &Value) -> Result<Service, ObjectError> {
    service::translated(field::read(document)?)
}

/// An `EndpointSlice` of `discovery.k8s.io/v1` or `v1beta1`.
///
/// # Errors
/// [`ObjectError`] about the first field that is wrong.
pub fn endpoint_slice(document: &Value) -> Result<EndpointSlice, ObjectError> {
    endpoints::of_slice(field::read(document)?)
}

/// An `Endpoints` object of `v1`: a slice for each of its subsets.
///
/// # Errors
/// [`ObjectError`] about the first field that is wrong.
pub fn endpoints(document: &Value) -> Result<Vec<EndpointSlice>, ObjectError> {
    endpoints::of_endpoints(field::read(document)?)
}

/// The ports of a `Pod` of `v1` that are also ports of its node. None of a pod with `hostNetwork`, whose processes have
/// them themselves.
///
/// # Errors
/// [`ObjectError`] about the first field that is wrong.
pub fn pod_host_ports(document: &Value) -> Result<Vec<HostPort>, ObjectError> {
    pod::host_ports(field::read(document)?)
}
