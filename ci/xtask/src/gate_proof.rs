// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask gate-proof`: shows that the regression gate can be trusted. In virtual time a run is the same to the last
//! digit however busy the machine is; an unchanged subject passes, one that is slowed by a few iptables rules does not.

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

/// The subject that is slowed, and by how many rules: 1 to 3 % of its path.
const HANDICAP: &str = "ptp=5";
const SUBJECT: &str = "ptp";
const WORKLOADS: &str = "tcp_rr,tcp_crr";

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
                SUBJECT,
                "--workloads",
                WORKLOADS,
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
            let slowed = self.bench(&[&["--gate", path(&baseline)?, "--handicap", HANDICAP]])?;
            self.expect(slowed.code, REGRESSION, &format!("{what}: {SUBJECT} slowed"))?;
            println!("gate-proof: {what}: identical samples pass, {HANDICAP} rules are found\n");
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

fn path(path: &Path) -> Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}
