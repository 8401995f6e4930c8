// SPDX-License-Identifier: Apache-2.0
//! The CNI plugin by its protocol: the real binary, its environment, standard input and output. The agent behind it is a
//! small one of this test, in the words of the `api` crate; `tests/with_agent.rs` has the real one.

mod agent;
mod attach;
mod collect;
mod failures;
mod plugin;
mod protocol;
mod tamper;
