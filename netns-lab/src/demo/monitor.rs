// SPDX-License-Identifier: Apache-2.0
//! The agent's own monitor, run beside what it is to tell of.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use super::DemoError;

const NAME: &str = "cilium monitor";
/// How long it may take until it listens.
const BEGIN: Duration = Duration::from_secs(10);
/// It is complete once nothing has come for so long.
const QUIET: Duration = Duration::from_millis(500);
/// More lines than this nobody reads.
const MOST: usize = 40;

/// A monitor that runs. Dropping it ends it.
pub(super) struct Monitor {
    child: Child,
    lines: Receiver<String>,
}

impl Monitor {
    /// Starts it and waits until it says that it listens: events of before are nobody's.
    pub(super) fn start(command: &mut Command) -> Result<Self, DemoError> {
        let failed = |reason: String| DemoError::Command { command: NAME, reason };
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // SAFETY: prctl is a system call and nothing else. The thread that forks is the one that runs the demo to its end.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command.spawn().map_err(|e| failed(e.to_string()))?;
        let (notes, lines) = (read(child.stderr.take()), read(child.stdout.take()));
        let monitor = Self { child, lines };
        match notes.recv_timeout(BEGIN) {
            Ok(note) if note.starts_with("Listening") => Ok(monitor),
            Ok(note) => Err(failed(note)),
            Err(_) => Err(failed(format!("it did not listen within {} s", BEGIN.as_secs()))),
        }
    }

    /// What it has told, once it tells no more.
    pub(super) fn finish(self) -> Result<Vec<String>, DemoError> {
        let mut told = Vec::new();
        while told.len() < MOST {
            match self.lines.recv_timeout(QUIET) {
                Ok(line) => told.push(line),
                Err(RecvTimeoutError::Timeout) => break,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(DemoError::Command { command: NAME, reason: "it ended by itself".into() });
                }
            }
        }
        Ok(told)
    }
}

impl Drop for Monitor {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream, as they come.
fn read(stream: Option<impl std::io::Read + Send + 'static>) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        let Some(stream) = stream else { return };
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    lines
}
