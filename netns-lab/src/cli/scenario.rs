// SPDX-License-Identifier: Apache-2.0
//! `scenario`: runs the scenarios of a directory and says which of them hold.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result};
use clap::Args;
use netns_lab::lab::Lab;
use netns_lab::scenario::{self, RunResult, Verdict, load, select};
use netns_lab::subject::catalogue;
use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Stopped by Ctrl-C, as shells say it.
const INTERRUPTED: u8 = 130;

/// Arguments of `scenario`.
#[derive(Args)]
pub struct Scenario {
    /// Directory of the scenarios, <area>/<behaviour>.yaml
    #[arg(long, value_name = "DIR")]
    dir: PathBuf,
    /// List what would run, and run nothing
    #[arg(long)]
    list: bool,
    /// Print the results as one JSON list
    #[arg(long)]
    json: bool,
    /// Subjects that must run: what the kernel lacks is then a failure; `name*` for several
    #[arg(long, value_name = "SUBJECTS", value_delimiter = ',')]
    require: Vec<String>,
    /// Run only where the scenario or the subject has one of these in its name
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// Counts of verdicts.
#[derive(Default)]
struct Tally {
    passed: u32,
    failed: u32,
    not_run: u32,
    interrupted: bool,
}

/// Runs the command.
pub fn run(arguments: &Scenario) -> Result<ExitCode> {
    let subjects = catalogue();
    let scenarios = load(&arguments.dir, |name| subjects.iter().any(|subject| subject.name == name))?;
    let selected = select(&scenarios, &arguments.filters)?;
    if arguments.list {
        for (id, scenario, subject) in &selected {
            println!("{id} over {subject}: {}", scenario.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("install a signal handler")?;
    }
    let lab = Lab::create()?;
    let mut tally = Tally::default();
    let mut records = Vec::new();
    for (id, scenario, subject) in selected {
        let mut result = scenario::run(&lab, scenario, subject, &stop);
        require(&mut result, subject, &arguments.require);
        tally.add(&result.verdict);
        if arguments.json {
            records.push(record(id, &scenario.name, subject, &result));
        } else {
            print(id, subject, &result);
        }
        if tally.interrupted {
            break;
        }
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&records)?);
    } else {
        println!("{}", tally.line());
    }
    Ok(tally.code())
}

/// Where a subject must run, a reason is no excuse.
fn require(result: &mut RunResult, subject: &str, required: &[String]) {
    let must = required.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => subject.starts_with(start),
        None => subject == name,
    });
    if let (Verdict::NotRun(reason), true) = (&result.verdict, must) {
        result.verdict = Verdict::Failed(vec![format!("not run, but it must: {reason}")]);
    }
}

fn print(id: &str, subject: &str, result: &RunResult) {
    let time = result.time.as_secs_f64();
    match &result.verdict {
        Verdict::Passed => println!("scenario {id} over {subject} ... ok ({time:.2} s)"),
        Verdict::NotRun(reason) => println!("scenario {id} over {subject} ... not run: {reason}"),
        Verdict::Interrupted => println!("scenario {id} over {subject} ... interrupted"),
        Verdict::Failed(reasons) => {
            println!("scenario {id} over {subject} ... FAILED ({time:.2} s)");
            for reason in reasons {
                println!("    {reason}");
            }
        }
    }
}

fn record(id: &str, name: &str, subject: &str, result: &RunResult) -> serde_json::Value {
    let (verdict, reasons) = match &result.verdict {
        Verdict::Passed => ("passed", Vec::new()),
        Verdict::Failed(reasons) => ("failed", reasons.clone()),
        Verdict::NotRun(reason) => ("not_run", vec![reason.clone()]),
        Verdict::Interrupted => ("interrupted", Vec::new()),
    };
    json!({
        "scenario": id, "name": name, "subject": subject, "verdict": verdict, "reasons": reasons,
        "seconds": result.time.as_secs_f64(),
    })
}

impl Tally {
    fn add(&mut self, verdict: &Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(_) => self.failed += 1,
            Verdict::NotRun(_) => self.not_run += 1,
            Verdict::Interrupted => self.interrupted = true,
        }
    }

    fn line(&self) -> String {
        let mut line = format!("{} passed, {} failed", self.passed, self.failed);
        if self.not_run > 0 {
            line += &format!(", {} not run", self.not_run);
        }
        line
    }

    fn code(&self) -> ExitCode {
        if self.interrupted {
            ExitCode::from(INTERRUPTED)
        } else if self.failed > 0 {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(subject: &str, names: &[&str]) -> Verdict {
        let verdict = Verdict::NotRun("kernel lacks CONFIG_IPVLAN".into());
        let mut result = RunResult { verdict, time: std::time::Duration::ZERO };
        require(&mut result, subject, &names.iter().map(|n| (*n).into()).collect::<Vec<_>>());
        result.verdict
    }

    #[test]
    fn a_required_subject_that_did_not_run_has_failed_and_another_has_not() {
        assert!(matches!(required("calico-like-100", &["veth", "calico-like-*"]), Verdict::Failed(_)));
        assert!(matches!(required("veth", &["veth"]), Verdict::Failed(_)));
        assert!(matches!(required("ipvlan-l2", &["veth", "ipvlan"]), Verdict::NotRun(_)));
    }

    #[test]
    fn the_last_line_counts_every_verdict() {
        let mut tally = Tally::default();
        tally.add(&Verdict::Passed);
        assert_eq!(tally.line(), "1 passed, 0 failed");
        tally.add(&Verdict::NotRun(String::new()));
        tally.add(&Verdict::Failed(vec![]));
        assert_eq!(tally.line(), "1 passed, 1 failed, 1 not run");
    }
}
