// SPDX-License-Identifier: Apache-2.0
//! Subcommands, one file per group.

pub mod demo;
pub mod lab;
pub mod run;
pub mod scenario;
pub mod serve;
