// SPDX-License-Identifier: Apache-2.0
//! The one entry to everything in this repository: `cargo xtask` sets up what a machine lacks, then builds and runs
//! the programs that do the work. It holds no knowledge of the lab or of statistics itself.

mod args;
mod bench;
mod cargo;
mod child;
mod gate_proof;
mod lab;
mod setup;
mod test;
mod tidy;
mod workspace;

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;

use args::{Args, Command};
use workspace::Workspace;

fn main() -> ExitCode {
    let args = Args::parse();
    match run(args.command) {
        Ok(code) => ExitCode::from(code),
        Err(e) => {
            eprintln!("error: {e:#}");
            ExitCode::FAILURE
        }
    }
}

/// Runs one command; the exit code is that of the program which did the work.
fn run(command: Command) -> Result<u8> {
    let workspace = Workspace::find()?;
    match command {
        Command::Bench(bench) => bench::run(&workspace, &bench.args),
        Command::Lab(command) => lab::run(&workspace, &command),
        Command::Demo(demo) => lab::demo(&workspace, &demo),
        Command::Scenarios(scenarios) => lab::scenarios(&workspace, &scenarios),
        Command::Coverage(coverage) => lab::coverage(&workspace, coverage.check),
        Command::GateProof(proof) => gate_proof::run(&workspace, &proof.kernels, proof.times),
        Command::Test(test) => test::run(&workspace, test.fast),
        Command::Tidy => tidy::run(&workspace),
    }
}
