// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask gate-proof`: shows that the regression gate can be trusted. In virtual time a run is the same to the last
//! digit however busy the machine is; an unchanged subject passes, one that is slowed by a few iptables rules does not, nor
//! one of our agent's whose packets pass some instructions before its programs.

use std::ffi::OsString;
use std::fs;
use std::hint;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::bench;
use crate::workspace::Workspace;

/// A subject that is slowed, and by how many rules: 1 to 3 % of its path.
const HANDICAP: &str = "ptp=5";
/// The other one, of our agent's, and by how much of a round trip.
const OURS: &str = "ciliate-veth";
const SHARE: f64 = 0.04;
/// Packets of a round trip of [`MEASURED`]: each carries the acknowledgement of the one before.
const PACKETS: f64 = 2.0;
const MEASURED: &str = "TCP_RR";
const SUBJECTS: &str = "ptp,ciliate-veth";
const WORKLOADS: &str = "tcp_rr,tcp_crr";
/// Half of a gate's: what is the same to the last digit needs no more.
const ROUNDS: &str = "6";

/// The bench's exit code for a regression.
const REGRESSION: u8 = 3;

/// Runs the proof on each of these kernels, so many times each way.
pub fn run(workspace: &Workspace, kernels: &[String], times: u32) -> Result<u8> {
    let directory = workspace.lab_directory().join("gate-proof");
    let load = AtomicBool::new(true);
    thread::scope(|scope| {
        // The guest's one CPU is a thread on one core; this is the load on another.
        scope.spawn(|| {
            while load.load(Ordering::Relaxed) {
                hint::spin_loop();
            }
        });
        let result = kernels
            .iter()
            .try_for_each(|kernel| Proof { workspace, kernel, directory: directory.join(kernel) }.run(times));
        load.store(false, Ordering::Relaxed);
        result
    })?;
    Ok(0)
}

struct Proof<'a> {
    workspace: &'a Workspace,
    kernel: &'a str,
    directory: PathBuf,
}

impl Proof<'_> {
    fn run(&self, times: u32) -> Result<()> {
        fs::create_dir_all(&self.directory).with_context(|| format!("make {}", self.directory.display()))?;
        let baseline = self.directory.join("baseline.json");
        let first = self.bench(&[
            &[
                "--executor",
                "vm",
                "--vm-kernel",
                self.kernel,
                "--subjects",
                SUBJECTS,
                "--workloads",
                WORKLOADS,
                "--rounds",
                ROUNDS,
            ],
            &["--update-baseline", path(&baseline)?],
        ])?;
        self.expect(first.code, 0, "the run that makes the baseline")?;
        for time in 1..=times {
            let what = format!("kernel {}, {time} of {times}", self.kernel);
            let again = self.bench(&[&["--gate", path(&baseline)?]])?;
            self.expect(again.code, 0, &format!("{what}: the same once more"))?;
            if again.runs != first.runs {
                bail!("{what}: the samples of two runs in virtual time differ");
            }
            let instructions = SHARE * median(&first.runs, OURS)? / PACKETS;
            let ours = format!("{OURS}={instructions:.0}");
            for handicap in [&ours, HANDICAP] {
                let slowed = self.bench(&[&["--gate", path(&baseline)?, "--handicap", handicap]])?;
                self.expect(slowed.code, REGRESSION, &format!("{what}: slowed by {handicap}"))?;
                if handicap == ours {
                    share_is_seen(&first.runs, &slowed.runs, &what)?;
                }
            }
            println!(
                "gate-proof: {what}: identical samples pass, {HANDICAP} rules and {ours} instructions are found\n"
            );
        }
        Ok(())
    }

    fn bench(&self, arguments: &[&[&str]]) -> Result<Run> {
        let mut all: Vec<OsString> = arguments.concat().iter().map(OsString::from).collect();
        all.extend(["--out".into(), self.directory.clone().into_os_string()]);
        let code = bench::run(self.workspace, &all)?;
        let samples = self.directory.join("samples.json");
        let text = fs::read(&samples).with_context(|| format!("read {}", samples.display()))?;
        let mut json: Value = serde_json::from_slice(&text).context("samples.json")?;
        Ok(Run { code, runs: json["runs"].take() })
    }

    fn expect(&self, code: u8, expected: u8, what: &str) -> Result<()> {
        if code != expected {
            bail!("{what}: the bench ended with code {code}, {expected} was expected");
        }
        Ok(())
    }
}

/// What a bench came to.
struct Run {
    code: u8,
    /// Everything that was measured, and where.
    runs: Value,
}

/// That our agent's subject has become slower by what was put in its way, and what it costs to call that.
fn share_is_seen(first: &Value, slowed: &Value, what: &str) -> Result<()> {
    let seen = median(slowed, OURS)? / median(first, OURS)? - 1.0;
    println!("gate-proof: {what}: {OURS} was slowed by {:.2} % of a round trip", seen * 100.0);
    // On 6.1 a round trip has one of several costs, up to 1.6 % apart (ADR 2).
    if !(SHARE * 0.5..SHARE * 1.75).contains(&seen) {
        bail!("{what}: {OURS} was to be slowed by {:.2} % of a round trip", SHARE * 100.0);
    }
    Ok(())
}

/// The median round trip of a subject's slices, nanoseconds.
fn median(runs: &Value, subject: &str) -> Result<f64> {
    let cells = runs[0]["cells"].as_array().context("samples.json has no cells")?;
    let mut slices: Vec<f64> = cells
        .iter()
        .filter(|cell| cell["subject"] == subject && cell["workload"] == MEASURED)
        .flat_map(|cell| cell["slices"].as_array().into_iter().flatten())
        .filter_map(|slice| slice["p50_ns"].as_f64())
        .collect();
    slices.sort_by(f64::total_cmp);
    slices.get(slices.len() / 2).copied().with_context(|| format!("{subject} has no slices of {MEASURED}"))
}

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn runs(p50: [u64; 3]) -> Value {
        let slices = p50.map(|p50| json!({"p50_ns": p50}));
        json!([{"cells": [
            {"subject": OURS, "workload": "TCP_CRR", "slices": [{"p50_ns": 1}]},
            {"subject": OURS, "workload": MEASURED, "slices": slices},
        ]}])
    }

    #[test]
    fn the_median_is_of_the_subject_and_workload_that_is_slowed() {
        assert_eq!(median(&runs([70, 50, 60]), OURS).unwrap(), 60.0);
        assert!(median(&runs([70, 50, 60]), "ptp").is_err());
        assert!(median(&json!([]), OURS).is_err());
    }

    #[test]
    fn a_share_that_is_not_what_was_put_in_the_way_is_an_error() {
        let slowed = |p50| share_is_seen(&runs([1000; 3]), &runs([p50; 3]), "here");
        assert!(slowed(1042).is_ok());
        assert!(slowed(1001).is_err());
        assert!(slowed(1100).is_err());
    }
}
