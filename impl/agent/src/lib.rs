// SPDX-License-Identifier: Apache-2.0
//! The daemon: joins sources, control plane, datapath and REST API.

pub mod config;
pub mod control;
pub mod files;
pub mod health;
pub mod kernel;
pub mod lifetime;
pub mod logging;
#[cfg(test)]
mod memory;
pub mod metrics;
pub mod monitoring;
pub mod node;
pub mod realize;
pub mod rest;
pub mod state;

pub use lifetime::run;
