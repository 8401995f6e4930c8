// SPDX-License-Identifier: Apache-2.0
//! `demo`: shows our agent at work.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use netns_lab::demo;

/// Arguments of `demo`.
#[derive(clap::Args)]
pub struct Arguments {
    /// A file of CiliumNetworkPolicies or NetworkPolicies in place of the built-in one; the pods have the labels
    /// app=client and app=server and the namespace default
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<ExitCode> {
    let read =
        |path: &PathBuf| fs::read_to_string(path).with_context(|| format!("--policy {}", path.display()));
    let policy = arguments.policy.as_ref().map(read).transpose()?;
    demo::run(policy.as_deref(), &mut io::stdout())?;
    println!("\nAll of it is gone again.");
    Ok(ExitCode::SUCCESS)
}
