// SPDX-License-Identifier: Apache-2.0
//! `demo`: shows our agent at work.

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use netns_lab::demo::{self, DemoError};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Stopped by Ctrl-C, as shells say it.
const INTERRUPTED: u8 = 130;

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
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("install a signal handler")?;
    }
    match demo::run(policy.as_deref(), &stop, &mut io::stdout()) {
        Err(DemoError::Interrupted) => {
            eprintln!("netns-lab: interrupted; everything was taken down again");
            return Ok(ExitCode::from(INTERRUPTED));
        }
        shown => shown?,
    }
    println!("\nAll of it is gone again.");
    Ok(ExitCode::SUCCESS)
}
