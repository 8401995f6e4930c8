// SPDX-License-Identifier: Apache-2.0
//! The end-to-end suite: which subjects and workloads are compared, on which executor, and the report of it.
//! Started by `cargo xtask bench`, which sets up what it needs.

mod args;
mod comparison;
mod gating;
mod measure;
mod needs;
mod output;
mod progress;
mod suite;

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;
use netns_lab::plan::SCHEMA;
use netns_lab::record::{RunRecord, Samples};
use signal_hook::consts::{SIGINT, SIGTERM};

use args::Args;
use comparison::Comparison;
use measure::{Places, stopped};
use output::Output;

/// Exit codes beside 0 (done, gate passed) and 1 (failed).
mod exit {
    /// The arguments ask for something impossible.
    pub const USAGE: u8 = 2;
    /// The gate found a regression.
    pub const REGRESSION: u8 = 3;
    /// Stopped by Ctrl-C; a partial report is written.
    pub const INTERRUPTED: u8 = 130;
}

fn main() -> ExitCode {
    let args = Args::parse().with_suite();
    let comparison = match Comparison::of(&args) {
        Ok(comparison) => comparison,
        Err(error) => return fail(&error, exit::USAGE),
    };
    if args.print_needs {
        comparison.needs().iter().for_each(|need| println!("{need}"));
        return ExitCode::SUCCESS;
    }
    run(&args, &comparison).map_or_else(|error| fail(&error, 1), ExitCode::from)
}

fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    eprintln!("error: {}", netns_lab::error_line(error.as_ref()));
    ExitCode::from(code)
}

fn run(args: &Args, comparison: &Comparison) -> Result<u8> {
    if let Some(path) = &args.from {
        let output = Output::prepare(&args.out)?;
        let samples = reports::read_samples(path)?;
        return finish(&samples, &output).map(|()| 0);
    }
    if !nix::unistd::geteuid().is_root() {
        bail!("network namespaces need root: run this with sudo");
    }
    let places = Places::from_environment()?;
    let output = Output::prepare(&args.out)?;
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("watch for signals")?;
    }
    let started = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock is before 1970")?;
    let measured = comparison.measure(args, &places, &output, &stop);
    let samples = Samples {
        schema: SCHEMA,
        command: typed_command(),
        started_unix_s: started.as_secs(),
        runs: measured.runs,
    };
    if samples.runs.is_empty() {
        return Err(measured
            .error
            .unwrap_or_else(|| anyhow::anyhow!("stopped before anything was measured")));
    }
    // What was measured before a failure is still a report.
    output.write_samples(&samples)?;
    finish(&samples, &output)?;
    if let Some(error) = measured.error {
        return Err(error);
    }
    if stopped(&stop) || samples.runs.iter().any(|run| run.interrupted) {
        eprintln!("interrupted: the report is partial");
        return Ok(exit::INTERRUPTED);
    }
    judge(args, comparison, &samples.runs)
}

/// Renders the report beside its samples and shows the table.
fn finish(samples: &Samples, output: &Output) -> Result<()> {
    let written = reports::write_report(samples, output.dir())?;
    println!("{}", written.table);
    println!("report: {}", written.html.display());
    Ok(())
}

/// Gates the run, or makes it the baseline, as asked.
fn judge(args: &Args, comparison: &Comparison, runs: &[RunRecord]) -> Result<u8> {
    if let Some(path) = &args.update_baseline {
        gating::update(runs, path)?;
    }
    match comparison.baseline() {
        Some(baseline) if !gating::passes(runs, baseline)? => Ok(exit::REGRESSION),
        _ => Ok(0),
    }
}

/// The command as it can be typed again.
fn typed_command() -> String {
    let quoted = std::env::args().skip(1).map(|arg| {
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:".contains(c);
        if !arg.is_empty() && arg.chars().all(plain) {
            arg
        } else {
            format!("'{}'", arg.replace('\'', r"'\''"))
        }
    });
    ["cargo xtask bench".to_owned()].into_iter().chain(quoted).collect::<Vec<_>>().join(" ")
}
