// SPDX-License-Identifier: Apache-2.0
//! Whole command lines against a server that stands in for an agent.

mod changing;
mod refusing;
mod server;
mod showing;
