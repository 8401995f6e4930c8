// SPDX-License-Identifier: Apache-2.0
//! `netns-lab run`: a plan from a file, its record into another.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use netns_lab::run::{Event, Options, execute, read_plan, write_record};
use signal_hook::consts::{SIGINT, SIGTERM};

/// Between two lines of progress.
const INTERVAL: Duration = Duration::from_millis(200);

/// Arguments of `run`.
#[derive(clap::Args)]
pub struct Arguments {
    /// The plan, JSON
    #[arg(long, value_name = "FILE")]
    plan: PathBuf,
    /// Where the record goes, JSON; it appears whole or not at all
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

/// Runs until the plan is done, or until SIGINT or SIGTERM: then what there is is written.
pub fn run(args: &Arguments) -> Result<ExitCode> {
    let plan = read_plan(&args.plan)?;
    // Known before the measurement, not after it.
    let directory = args.out.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(".".as_ref());
    ensure!(
        directory.is_dir(),
        "--out {}: there is no directory {}",
        args.out.display(),
        directory.display()
    );
    ensure!(!args.out.is_dir(), "--out {}: that is a directory, name a file in it", args.out.display());
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, stop.clone()).context("listen for Ctrl-C")?;
    }
    let mut last: Option<Instant> = None;
    let mut progress = |event: &Event| {
        let often = matches!(event, Event::Progress(_)) && last.is_some_and(|at| at.elapsed() < INTERVAL);
        if !often {
            last = Some(Instant::now());
            say(event);
        }
    };
    let record = execute(&plan, Options::host(&stop, &mut progress))?;
    write_record(&record, &args.out)?;
    Ok(ExitCode::SUCCESS)
}

/// One line on standard output. Whoever has stopped listening does not end the measurement.
fn say(event: &Event) {
    if let Ok(line) = serde_json::to_string(event) {
        let _ = writeln!(std::io::stdout(), "{line}");
    }
}
