// SPDX-License-Identifier: Apache-2.0
//! The host executor: the lab program as a process of its own on this machine's kernel.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{SigHandler, Signal, kill, signal};
use nix::unistd::Pid;

use crate::plan::Plan;
use crate::record::RunRecord;
use crate::run::Event;

/// How often the stop flag is looked at.
const STOP_POLL: Duration = Duration::from_millis(50);

/// Why there is no record of this host.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file of the run.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The lab program cannot be run.
    #[error("run {path}: {source}")]
    Start {
        /// The program.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The lab program says why it has no record.
    #[error("{0}")]
    Failed(String),
    /// What it wrote is no record.
    #[error("the record {path} is not one: {source}")]
    Record {
        /// The file.
        path: PathBuf,
        /// Where it is wrong.
        source: serde_json::Error,
    },
}

/// Runs the plan with `lab_binary run` and returns its record. Files of the run are in `work_dir`, which the caller
/// removes. When `stop` is set, the program is told to end with what it has.
///
/// # Errors
/// [`HostError`].
pub fn execute(
    lab_binary: &Path,
    plan: &Plan,
    work_dir: &Path,
    on_event: &mut dyn FnMut(Event),
    stop: &AtomicBool,
) -> Result<RunRecord, HostError> {
    let plan_path = work_dir.join("plan.json");
    let record_path = work_dir.join("record.json");
    let file = |action, path: &Path| {
        let path = path.to_owned();
        move |source| HostError::File { action, path, source }
    };
    let json = serde_json::to_vec(plan).map_err(|e| file("write", &plan_path)(e.into()))?;
    std::fs::write(&plan_path, json).map_err(file("write", &plan_path))?;
    let errors_path = work_dir.join("errors");
    let mut errors = File::options()
        .create_new(true)
        .read(true)
        .write(true)
        .open(&errors_path)
        .map_err(file("create", &errors_path))?;
    let stderr = errors.try_clone().map_err(file("open", &errors_path))?;

    let mut command = Command::new(lab_binary);
    command.arg("run").arg("--plan").arg(&plan_path).arg("--out").arg(&record_path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(stderr);
    // SAFETY: prctl and sigaction are async-signal-safe and touch no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            // A shell's background job is started with SIGINT ignored, which is inherited: the stop would be lost.
            signal(Signal::SIGINT, SigHandler::SigDfl)?;
            Ok(prctl::set_pdeathsig(Signal::SIGKILL)?)
        });
    }
    let start = |source| HostError::Start { path: lab_binary.into(), source };
    let mut child = command.spawn().map_err(start)?;
    let ended = AtomicBool::new(false);
    let status = thread::scope(|scope| {
        let pid = Pid::from_raw(child.id() as i32);
        let ended = &ended;
        scope.spawn(move || forward_stop(pid, stop, ended));
        read_events(&mut child, on_event);
        let status = child.wait();
        ended.store(true, Ordering::Release);
        status
    })
    .map_err(start)?;

    if !status.success() {
        let mut said = String::new();
        // What the program said is worth more than how it ended; without a word the status has to do.
        let _ = errors.seek(SeekFrom::Start(0)).and_then(|_| errors.read_to_string(&mut said));
        let said = said.trim().strip_prefix("netns-lab: ").unwrap_or(said.trim()).to_owned();
        return Err(HostError::Failed(if said.is_empty() {
            format!("the lab ended with {status}")
        } else {
            said
        }));
    }
    let record = std::fs::read(&record_path).map_err(file("read", &record_path))?;
    serde_json::from_slice(&record).map_err(|source| HostError::Record { path: record_path, source })
}

/// Hands every event on until the program closes its output. A line that is no event is of a program that is not ours.
fn read_events(child: &mut Child, on_event: &mut dyn FnMut(Event)) {
    let Some(stdout) = child.stdout.take() else { return };
    for line in BufReader::new(stdout).lines().map_while(Result::ok) {
        match serde_json::from_str(&line) {
            Ok(event) => on_event(event),
            Err(_) => eprintln!("{line}"),
        }
    }
}

/// Interrupts the program once when `stop` is set. A Ctrl-C has reached it already, a SIGTERM to us has not.
fn forward_stop(pid: Pid, stop: &AtomicBool, ended: &AtomicBool) {
    while !ended.load(Ordering::Acquire) {
        if stop.load(Ordering::Relaxed) {
            // The child is not reaped before `ended` is set, or it ends by itself: the pid is still ours.
            let _ = kill(pid, Signal::SIGINT);
            return;
        }
        thread::sleep(STOP_POLL);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executable::write_executable;
    use crate::plan::SCHEMA;

    fn plan() -> Plan {
        Plan {
            schema: SCHEMA,
            subjects: Vec::new(),
            phases: Vec::new(),
            self_check: None,
            handicap: None,
            agent: None,
            seeds: 1,
        }
    }

    fn program(dir: &Path, script: &str) -> PathBuf {
        let path = dir.join("lab");
        write_executable(&path, format!("#!/bin/sh\n{script}\n").as_bytes());
        path
    }

    #[test]
    fn what_the_program_says_is_the_error() {
        let dir = tempfile::tempdir().unwrap();
        let lab = program(dir.path(), "echo 'netns-lab: no root here' >&2; exit 1");
        let error = execute(&lab, &plan(), dir.path(), &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
        assert_eq!(error.to_string(), "no root here");
    }

    #[test]
    fn a_record_that_is_none_is_refused_with_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let lab = program(dir.path(), "echo '{}' > \"$5\"");
        let error = execute(&lab, &plan(), dir.path(), &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
        assert!(matches!(error, HostError::Record { .. }), "{error}");
        assert!(error.to_string().contains("missing field"), "{error}");
    }

    #[test]
    fn a_stop_reaches_a_program_that_got_no_signal_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let lab = program(dir.path(), "trap 'echo interrupted >&2; exit 3' INT; while :; do :; done");
        let stop = AtomicBool::new(true);
        // As a shell starts its background jobs. Nothing in this process relies on the signal.
        // SAFETY: no handler is installed.
        unsafe { signal(Signal::SIGINT, SigHandler::SigIgn) }.unwrap();
        let error = execute(&lab, &plan(), dir.path(), &mut |_| {}, &stop).unwrap_err();
        // The signal may come before the trap is set; either way the program ends and the run is no success.
        assert!(
            ["interrupted", "the lab ended with signal: 2 (SIGINT)"].contains(&&*error.to_string()),
            "{error}"
        );
    }
}
