// SPDX-License-Identifier: Apache-2.0
//! The lab's own program.

mod cli;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Pods in network namespaces, joined in the ways that container networks join them.
#[derive(Parser)]
#[command(name = "netns-lab", version, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    #[command(flatten)]
    Lab(cli::lab::Command),
    /// Run a plan on this kernel and write what it measured
    Run(cli::run::Arguments),
    /// The server process of a phase
    #[command(hide = true)]
    Serve,
    /// Run scenarios: real packets over subjects, expected to be allowed, refused or dropped
    Scenario(cli::scenario::Scenario),
    /// Show our agent at work: two pods, a policy, what is allowed and what is dropped
    Demo(cli::demo::Arguments),
}

fn main() -> ExitCode {
    netns_lab::vm::dispatch_guest();
    let result = match Arguments::parse().command {
        Command::Lab(command) => cli::lab::run(command),
        Command::Run(arguments) => cli::run::run(&arguments),
        Command::Serve => cli::serve::run(),
        Command::Demo(arguments) => cli::demo::run(&arguments),
        Command::Scenario(arguments) => cli::scenario::run(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("netns-lab: {}", netns_lab::error_line(error.as_ref()));
        ExitCode::FAILURE
    })
}
