// SPDX-License-Identifier: Apache-2.0
//! The binary as agent and as plugin together, on a node of its own. Needs root.

mod node;
#[path = "../cni/plugin.rs"]
mod plugin;
mod pods;
