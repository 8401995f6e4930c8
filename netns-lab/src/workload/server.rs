// SPDX-License-Identifier: Apache-2.0
//! A handle on the server process. Dropping it ends the process.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::time::{ClockId, clock_getcpuclockid};
use nix::unistd::Pid;

use super::counters::thread_switches;
use super::cpu::read_ns;
use super::serve::{Order, Reply};

/// By then the server must have said that it is ready.
const READY_LIMIT: Duration = Duration::from_secs(30);
/// How long a process may take from its first closed socket to its end.
const ENDING_LIMIT: Duration = Duration::from_millis(500);

/// Why there is no server.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The process could not be started.
    #[error("start the server process {program}: {source}")]
    Start {
        /// The program.
        program: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The process does not take or give what it should.
    #[error("speak with the server process: {0}")]
    Pipe(io::Error),
    /// It said something that is no reply.
    #[error("the server process said {0:?}")]
    Reply(String),
    /// It is not ready in time.
    #[error("the server process is not ready after {} s", READY_LIMIT.as_secs())]
    NotReady,
    /// It has ended.
    #[error("the server process has ended{0}")]
    Ended(String),
    /// Its CPU clock cannot be read.
    #[error("read the CPU time of the server process: {0}")]
    Clock(nix::Error),
}

/// The server process of one phase.
#[derive(Debug)]
pub struct Server {
    child: Child,
    input: Option<ChildStdin>,
    replies: Receiver<io::Result<String>>,
    threads: Vec<Result<Vec<i32>, String>>,
    failures: Vec<(usize, String)>,
    clock: ClockId,
}

impl Server {
    /// Starts `program serve` and waits until it is ready. It dies with the calling thread.
    ///
    /// # Errors
    /// Any [`ServerError`]. An endpoint that failed is no error: see [`Server::endpoint`].
    pub fn start(program: &Path, order: &Order) -> Result<Self, ServerError> {
        let start_error = |source| ServerError::Start { program: program.display().to_string(), source };
        let mut command = Command::new(program);
        // A group of its own: Ctrl-C in a terminal is for the client, which ends the server when it is done.
        command.arg("serve").process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped());
        // SAFETY: between fork and exec only prctl is called, which is async-signal-safe.
        unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
        let mut child = command.spawn().map_err(start_error)?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (Some(input), Some(output)) = (input, output) else {
            return Err(start_error(io::Error::other("no pipes")));
        };
        let (say, replies) = channel();
        thread::spawn(move || {
            for line in BufReader::new(output).lines() {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        let clock = clock_getcpuclockid(Pid::from_raw(child.id().cast_signed())).map_err(ServerError::Clock);
        // From here on dropping `server` ends the process.
        let mut server = Self {
            child,
            input: Some(input),
            replies,
            threads: Vec::new(),
            failures: Vec::new(),
            clock: ClockId::CLOCK_MONOTONIC,
        };
        server.clock = clock?;
        server.order(order)?;
        Ok(server)
    }

    fn order(&mut self, order: &Order) -> Result<(), ServerError> {
        let mut line = serde_json::to_vec(order).map_err(|e| ServerError::Pipe(e.into()))?;
        line.push(b'\n');
        if let Some(input) = &mut self.input {
            input.write_all(&line).map_err(ServerError::Pipe)?;
        }
        match self.replies.recv_timeout(READY_LIMIT) {
            Ok(line) => {
                let line = line.map_err(ServerError::Pipe)?;
                match serde_json::from_str(&line) {
                    Ok(Reply::Ready(threads)) if threads.len() == order.endpoints.len() => {
                        self.threads = threads;
                        Ok(())
                    }
                    _ => Err(ServerError::Reply(line)),
                }
            }
            Err(RecvTimeoutError::Timeout) => Err(ServerError::NotReady),
            Err(RecvTimeoutError::Disconnected) => Err(self.ended()),
        }
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Whether an endpoint listens, or why not.
    ///
    /// # Errors
    /// What the server process said of it.
    pub fn endpoint(&self, endpoint: usize) -> Result<(), String> {
        match self.threads.get(endpoint) {
            Some(Ok(_)) => Ok(()),
            Some(Err(reason)) => Err(reason.clone()),
            None => Err("no such endpoint".into()),
        }
    }

    /// What the server said of an endpoint after it was ready, if it has failed.
    pub fn failure(&mut self, endpoint: usize) -> Option<&str> {
        while let Ok(Ok(line)) = self.replies.try_recv() {
            self.note(&line);
        }
        self.failures.iter().find(|(of, _)| *of == endpoint).map(|(_, reason)| reason.as_str())
    }

    fn note(&mut self, line: &str) {
        if let Ok(Reply::Failed { endpoint, reason }) = serde_json::from_str(line) {
            self.failures.push((endpoint, reason));
        }
    }

    /// As [`Server::check`], after a connection to it was lost: a process that is killed closes its sockets before it can be
    /// waited for, but its output with them.
    ///
    /// # Errors
    /// [`ServerError::Ended`].
    pub fn check_connection_lost(&mut self) -> Result<(), ServerError> {
        let deadline = Instant::now() + ENDING_LIMIT;
        loop {
            match self.replies.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Ok(line)) => self.note(&line),
                Ok(Err(error)) => return Err(ServerError::Pipe(error)),
                Err(RecvTimeoutError::Timeout) => return self.check(),
                Err(RecvTimeoutError::Disconnected) => return Err(self.ended()),
            }
        }
    }

    /// An error if the process has ended.
    ///
    /// # Errors
    /// [`ServerError::Ended`].
    pub fn check(&mut self) -> Result<(), ServerError> {
        match self.child.try_wait() {
            Ok(None) => Ok(()),
            Ok(Some(status)) => Err(ServerError::Ended(format!(": {status}"))),
            Err(e) => Err(ServerError::Pipe(e)),
        }
    }

    fn ended(&mut self) -> ServerError {
        let status = self.child.wait().map_or_else(|e| format!(": {e}"), |status| format!(": {status}"));
        ServerError::Ended(status)
    }

    /// CPU time that all threads of the process have used, ns.
    ///
    /// # Errors
    /// [`ServerError::Clock`] when the process is gone.
    pub fn cpu_ns(&self) -> Result<u64, ServerError> {
        read_ns(self.clock).map_err(ServerError::Clock)
    }

    /// Context switches of an endpoint's threads since they began; `None` when they are gone.
    pub fn switches(&self, endpoint: usize) -> Option<u64> {
        let threads = self.threads.get(endpoint)?.as_ref().ok()?;
        threads.iter().map(|&thread| thread_switches(self.child.id(), thread)).sum()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.input.take());
        // Its threads wait in the kernel with nothing to save: no need to wait for it to notice.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
