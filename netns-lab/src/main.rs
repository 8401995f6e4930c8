// SPDX-License-Identifier: Apache-2.0
//! The lab's own program.

#[path = "cli/run.rs"]
mod run;
#[path = "cli/serve.rs"]
mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Builds container networks in namespaces and measures them
#[derive(Debug, Parser)]
#[command(name = "netns-lab")]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Args),
    /// The server process of a phase
    #[command(hide = true)]
    Serve,
}

fn main() -> ExitCode {
    let result = match Args::parse().command {
        Command::Run(args) => run::run(&args),
        Command::Serve => serve::run(),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("netns-lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}
