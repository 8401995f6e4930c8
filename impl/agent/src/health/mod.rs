// SPDX-License-Identifier: Apache-2.0
//! `healthCheckNodePort`: load balancers ask the node at a port of its own whether it has endpoints of a service.

mod ports;
mod serve;
#[cfg(test)]
mod tests;

pub use ports::{HEALTH_PORTS, HealthPorts};
