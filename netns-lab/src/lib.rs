// SPDX-License-Identifier: Apache-2.0
//! Nodes, pods and links in network namespaces, the traffic between them, and the two places where that runs:
//! this machine's kernel, or a stock kernel in a virtual machine.

pub mod agent;
mod classifier;
pub mod cni;
pub mod demo;
pub mod environment;
mod error_line;
#[cfg(test)]
mod executable;
pub mod host;
pub mod lab;
pub mod netperf;
pub mod pair;
pub mod plan;
pub mod probe;
pub mod record;
pub mod rules;
pub mod run;
pub mod scenario;
pub mod scratch;
pub mod subject;
pub mod tool;
pub mod vm;
pub mod workload;

pub use error_line::error_line;
