// SPDX-License-Identifier: Apache-2.0
//! Processes of a lab, recorded so that they can be ended after a crash.

use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use super::LabError;
use super::state::start_ticks;

/// How long the kernel may take to end a process that was killed.
const DEADLINE: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);

/// A process that a lab has started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessState {
    /// Its id.
    pub pid: u32,
    /// When it started, clock ticks since boot: the id alone may be another one's by now.
    pub start_ticks: u64,
}

impl ProcessState {
    /// That of a process; `None` when it is gone.
    pub fn of(pid: u32) -> Option<Self> {
        start_ticks(pid).map(|start_ticks| Self { pid, start_ticks })
    }

    /// Whether it runs.
    pub fn runs(self) -> bool {
        start_ticks(self.pid) == Some(self.start_ticks)
    }

    /// Kills it, and no other that has its id now, and waits until it is gone.
    pub(super) fn end(self) -> Result<(), LabError> {
        let end = Instant::now() + DEADLINE;
        while self.runs() {
            match kill(Pid::from_raw(self.pid.cast_signed()), Signal::SIGKILL) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(source) => return Err(LabError::Process { pid: self.pid, reason: source.to_string() }),
            }
            if Instant::now() >= end {
                let reason = format!("it is still there {} s after SIGKILL", DEADLINE.as_secs());
                return Err(LabError::Process { pid: self.pid, reason });
            }
            thread::sleep(POLL);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn only_the_process_that_was_recorded_is_ended() {
        let mut child = Command::new("/bin/sh")
            .args(["-c", "read x"])
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let state = ProcessState::of(child.id()).unwrap();
        // Another process with the same id, as it would be after the ids went round.
        ProcessState { start_ticks: state.start_ticks + 1, ..state }.end().unwrap();
        assert!(state.runs());
        state.end().unwrap();
        assert!(!state.runs());
        child.wait().unwrap();
        state.end().unwrap();
    }
}
