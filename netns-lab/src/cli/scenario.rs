// SPDX-License-Identifier: Apache-2.0
//! `scenario`: runs the scenarios of a directory and says which of them hold.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use netns_lab::lab::Lab;
use netns_lab::scenario::{self, Order, Report, VerdictName, load, select, text};
use netns_lab::subject::catalogue;
use netns_lab::vm::{KernelSeries, KernelSource, VmEvent, VmOptions, VmTime, execute_scenarios};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Stopped by Ctrl-C, as shells say it.
const INTERRUPTED: u8 = 130;

/// Limit for one boot of a virtual machine with all scenarios.
const VM_DEADLINE: Duration = Duration::from_secs(30 * 60);

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
    /// Run them in a virtual machine with this kernel: 6.1 or 6.12
    #[arg(long, value_name = "SERIES", value_parser = series, requires = "cache")]
    vm: Option<KernelSeries>,
    /// Where kernels are kept
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Run only where the scenario or the subject has one of these in its name
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

fn series(name: &str) -> Result<KernelSeries, String> {
    let found = KernelSeries::ALL.into_iter().find(|series| series.name() == name);
    found.ok_or_else(|| format!("there is no series {name:?}; it is 6.1 or 6.12"))
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
    let mut told = Told { tally: Tally::default(), reports: Vec::new(), arguments };
    match arguments.vm {
        Some(series) => in_vm(&selected, series, &mut told, &stop)?,
        None => here(&selected, &mut told, &stop)?,
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&told.reports)?);
    } else {
        println!("{}", told.tally.line());
    }
    Ok(told.tally.code())
}

type Selected<'a> = (&'a str, &'a scenario::Scenario, &'a str);

fn here(selected: &[Selected<'_>], told: &mut Told<'_>, stop: &AtomicBool) -> Result<()> {
    let lab = Lab::create()?;
    for (id, scenario, subject) in selected {
        let result = scenario::run(&lab, scenario, subject, stop);
        told.tell(Report::new(id, &scenario.name, subject, result));
        if told.tally.interrupted {
            break;
        }
    }
    Ok(())
}

/// In a guest that runs this same program; it needs no root.
fn in_vm(
    selected: &[Selected<'_>],
    series: KernelSeries,
    told: &mut Told<'_>,
    stop: &AtomicBool,
) -> Result<()> {
    let arguments = told.arguments;
    let cache_dir = arguments.cache.clone().context("--vm needs --cache, where kernels are kept")?;
    let order = |(id, _, subject): &Selected<'_>| {
        let text = text(&arguments.dir, id)?;
        Ok(Order { scenario: (*id).into(), subject: (*subject).into(), text })
    };
    let orders = selected.iter().map(order).collect::<Result<Vec<_>>>()?;
    let options = VmOptions {
        kernel: KernelSource::Apt(series),
        time: VmTime::Virtual,
        lab_binary: std::env::current_exe().context("find the lab's own program")?,
        cache_dir,
        deadline: VM_DEADLINE,
    };
    let mut on_event = |event| match event {
        VmEvent::Step(text) | VmEvent::Note(text) => eprintln!("vm {series}: {text}"),
        VmEvent::Run(_) => {}
    };
    let ran = execute_scenarios(&options, &orders, &mut on_event, &mut |report| told.tell(report), stop);
    if stop.load(Ordering::Relaxed) {
        told.tally.interrupted = true;
        return Ok(());
    }
    ran?;
    // A guest that ends well has told of each.
    let count = told.tally.passed + told.tally.failed + told.tally.not_run;
    ensure!(count as usize == orders.len(), "the guest told of {count} of {} scenarios", orders.len());
    Ok(())
}

/// What has been told so far.
struct Told<'a> {
    tally: Tally,
    reports: Vec<Report>,
    arguments: &'a Scenario,
}

impl Told<'_> {
    fn tell(&mut self, mut report: Report) {
        require(&mut report, &self.arguments.require);
        self.tally.add(report.verdict);
        if self.arguments.json {
            self.reports.push(report);
        } else {
            print(&report, self.arguments.vm);
        }
    }
}

/// Where a subject must run, a reason is no excuse.
fn require(report: &mut Report, required: &[String]) {
    let must = required.iter().any(|name| match name.strip_suffix('*') {
        Some(start) => report.subject.starts_with(start),
        None => report.subject == *name,
    });
    if report.verdict == VerdictName::NotRun && must {
        report.verdict = VerdictName::Failed;
        report.reasons = report.reasons.drain(..).map(|r| format!("not run, but it must: {r}")).collect();
    }
}

fn print(report: &Report, vm: Option<KernelSeries>) {
    let Report { scenario, subject, reasons, seconds, .. } = report;
    let place = vm.map_or(String::new(), |series| format!(" on {series}"));
    let line = format!("scenario {scenario} over {subject}{place}");
    match report.verdict {
        VerdictName::Passed => println!("{line} ... ok ({seconds:.2} s)"),
        VerdictName::NotRun => println!("{line} ... not run: {}", reasons.join("; ")),
        VerdictName::Interrupted => println!("{line} ... interrupted"),
        VerdictName::Failed => {
            println!("{line} ... FAILED ({seconds:.2} s)");
            for reason in reasons {
                println!("    {reason}");
            }
        }
    }
}

impl Tally {
    fn add(&mut self, verdict: VerdictName) {
        match verdict {
            VerdictName::Passed => self.passed += 1,
            VerdictName::Failed => self.failed += 1,
            VerdictName::NotRun => self.not_run += 1,
            VerdictName::Interrupted => self.interrupted = true,
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
    use netns_lab::scenario::{RunResult, Verdict};

    use super::*;

    fn required(subject: &str, names: &[&str]) -> Report {
        let verdict = Verdict::NotRun("kernel lacks CONFIG_IPVLAN".into());
        let result = RunResult { verdict, time: Duration::ZERO };
        let mut report = Report::new("a/b", "a sentence", subject, result);
        require(&mut report, &names.iter().map(|n| (*n).into()).collect::<Vec<_>>());
        report
    }

    #[test]
    fn a_required_subject_that_did_not_run_has_failed_and_another_has_not() {
        let failed = required("calico-like-100", &["veth", "calico-like-*"]);
        assert_eq!(failed.verdict, VerdictName::Failed);
        assert_eq!(failed.reasons, ["not run, but it must: kernel lacks CONFIG_IPVLAN"]);
        assert_eq!(required("veth", &["veth"]).verdict, VerdictName::Failed);
        assert_eq!(required("ipvlan-l2", &["veth", "ipvlan"]).verdict, VerdictName::NotRun);
    }

    #[test]
    fn the_last_line_counts_every_verdict() {
        let mut tally = Tally::default();
        tally.add(VerdictName::Passed);
        assert_eq!(tally.line(), "1 passed, 0 failed");
        tally.add(VerdictName::NotRun);
        tally.add(VerdictName::Failed);
        assert_eq!(tally.line(), "1 passed, 1 failed, 1 not run");
    }
}
