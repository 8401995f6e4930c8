// SPDX-License-Identifier: Apache-2.0
//! The agent from start to end, on a node of its own. Needs root, but for what is refused before anything is done.

#[allow(dead_code, reason = "the tests with pods ask more of a node")]
#[path = "../with_agent/node.rs"]
mod node;
mod refused;
mod running;
