// SPDX-License-Identifier: Apache-2.0
//! The binary as agent and as plugin together, on a node of its own. Needs root.

mod events;
#[allow(dead_code, reason = "the tests of the agent alone ask more of a node")]
mod node;
#[allow(dead_code, reason = "the conformance tests call the plugin in more ways")]
#[path = "../cni/plugin.rs"]
mod plugin;
mod pods;
mod services;
