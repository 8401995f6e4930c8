// SPDX-License-Identifier: Apache-2.0
//! One boot: QEMU as a child process, its console, the messages of the guest, the deadline.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use super::message::{DONE_PREFIX, Message, STOP_WORD};

/// How often the guest's messages, the deadline and the stop flag are looked at.
const POLL: Duration = Duration::from_millis(50);

/// How long a guest may take to send what it has once it is told to stop.
const STOP_GRACE: Duration = Duration::from_secs(20);

/// How many of the last console lines are quoted in an error.
const QUOTED_LINES: usize = 12;

/// Why a boot gave no result.
#[derive(Debug, thiserror::Error)]
pub enum BootError {
    /// QEMU does not start.
    #[error("run {program}: {source}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The file of messages cannot be read.
    #[error("read the guest's messages in {path}: {source}")]
    Port {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line that is no message.
    #[error("the guest sent something that is no message ({reason}): {line}")]
    Message {
        /// What is wrong with it.
        reason: String,
        /// Its beginning.
        line: String,
    },
    /// The guest has not finished in time.
    #[error("the guest did not finish within {} s; its console ends with:\n{console}", .deadline.as_secs())]
    Deadline {
        /// The limit.
        deadline: Duration,
        /// The last lines.
        console: String,
    },
    /// The guest ended without its last word: a kernel panic, a QEMU that gave up.
    #[error("the guest died ({status}); its console ends with:\n{console}")]
    Died {
        /// How QEMU ended.
        status: ExitStatus,
        /// The last lines.
        console: String,
    },
    /// The guest's process 1 reports a failure that no message explains.
    #[error("the guest failed with status {rc}; its console ends with:\n{console}")]
    Failed {
        /// The status.
        rc: i32,
        /// The last lines.
        console: String,
    },
    /// Stopped by the user, and the guest had nothing to send yet.
    #[error("interrupted")]
    Interrupted,
}

impl BootError {
    /// One line: of the console only the first of the quoted lines.
    pub fn brief(&self) -> String {
        let text = self.to_string();
        let mut lines = text.lines();
        let head = lines.next().unwrap_or_default();
        let head = head.split_once("; its console").map_or(head, |(head, _)| head);
        lines.next().map_or_else(|| head.to_owned(), |line| format!("{head}: {}", line.trim()))
    }
}

/// What to run and how long at most.
#[derive(Debug)]
pub struct Boot<'a> {
    /// QEMU with its arguments.
    pub command: Command,
    /// The file into which the guest's messages go.
    pub port: &'a Path,
    /// Limit, wall-clock time.
    pub deadline: Duration,
    /// Set by the user's Ctrl-C.
    pub stop: &'a AtomicBool,
}

impl Boot<'_> {
    /// Boots, hands every message of the guest to `on_message`, and returns when the guest has ended well. QEMU never
    /// outlives this call, nor this process.
    ///
    /// # Errors
    /// [`BootError`].
    pub fn run(mut self, mut on_message: impl FnMut(Message)) -> Result<(), BootError> {
        let (lines_in, lines) = mpsc::channel();
        let mut machine = Machine::spawn(&mut self.command, lines_in)?;
        let mut port = PortReader { path: self.port, file: None, pending: Vec::new() };
        let mut console = Console::default();
        let started = Instant::now();
        let mut stopped = None;
        while console.read(&lines) {
            port.read(&mut on_message)?;
            if stopped.is_none() && self.stop.load(Ordering::Relaxed) {
                stopped = Some(Instant::now());
                machine.tell_to_stop();
            }
            if stopped.is_some_and(|at| at.elapsed() > STOP_GRACE) {
                return Err(BootError::Interrupted);
            }
            if started.elapsed() > self.deadline {
                return Err(BootError::Deadline { deadline: self.deadline, console: console.tail() });
            }
        }
        let status =
            machine.child.wait().map_err(|source| BootError::Spawn { program: "QEMU".into(), source })?;
        port.read(&mut on_message)?;
        match console.done {
            Some(0) => Ok(()),
            _ if stopped.is_some() => Err(BootError::Interrupted),
            Some(rc) => Err(BootError::Failed { rc, console: console.tail() }),
            None => Err(BootError::Died { status, console: console.tail() }),
        }
    }
}

/// The running QEMU. It is killed, if it still runs, when this goes away.
struct Machine {
    child: Child,
    input: Option<ChildStdin>,
}

impl Machine {
    fn spawn(command: &mut Command, lines: Sender<String>) -> Result<Self, BootError> {
        let spawn_error =
            |command: &Command, source| BootError::Spawn { program: command.get_program().into(), source };
        // A group of its own: Ctrl-C at the terminal is for us, and we tell the guest.
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        // SAFETY: prctl is async-signal-safe and touches nothing but the child's own attributes.
        unsafe {
            command.pre_exec(|| Ok(nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGKILL)?));
        }
        let mut child = command.spawn().map_err(|e| spawn_error(command, e))?;
        let input = child.stdin.take();
        for (prefix, pipe) in [
            ("", child.stdout.take().map(|p| Box::new(p) as Box<dyn Read + Send>)),
            ("qemu: ", child.stderr.take().map(|p| Box::new(p) as Box<dyn Read + Send>)),
        ] {
            if let Some(pipe) = pipe {
                let lines = lines.clone();
                thread::spawn(move || forward_lines(pipe, prefix, &lines));
            }
        }
        Ok(Self { child, input })
    }

    fn tell_to_stop(&mut self) {
        // A guest that is not up yet does not hear it; the grace period ends that.
        if let Some(input) = &mut self.input {
            let _ = writeln!(input, "{STOP_WORD}").and_then(|()| input.flush());
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn forward_lines(pipe: impl Read, prefix: &str, lines: &Sender<String>) {
    let mut reader = BufReader::new(pipe);
    let mut line = Vec::new();
    // A limit for each line: a guest gone wild does not fill our memory.
    while let Ok(1..) = reader.by_ref().take(4096).read_until(b'\n', &mut line) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if !text.is_empty() && lines.send(format!("{prefix}{text}")).is_err() {
            return;
        }
        line.clear();
    }
}

/// The last lines of the guest's console and of QEMU's own complaints.
#[derive(Default)]
struct Console {
    last: VecDeque<String>,
    done: Option<i32>,
}

impl Console {
    /// Takes what has come, waiting a moment for more. `false`: nothing will come any more, QEMU has ended.
    fn read(&mut self, lines: &Receiver<String>) -> bool {
        let started = Instant::now();
        loop {
            match lines.recv_timeout(POLL.saturating_sub(started.elapsed())) {
                Ok(line) => self.take(line),
                Err(RecvTimeoutError::Timeout) => return true,
                Err(RecvTimeoutError::Disconnected) => return false,
            }
        }
    }

    fn take(&mut self, line: String) {
        if let Some(rc) = line.strip_prefix(DONE_PREFIX).and_then(|rc| rc.parse().ok()) {
            self.done = Some(rc);
        }
        if self.last.len() == QUOTED_LINES {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    fn tail(&self) -> String {
        if self.last.is_empty() {
            return "  (nothing)".into();
        }
        self.last.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
    }
}

/// Reads whole lines from a file that grows.
struct PortReader<'a> {
    path: &'a Path,
    file: Option<File>,
    pending: Vec<u8>,
}

impl PortReader<'_> {
    fn read(&mut self, on_message: &mut impl FnMut(Message)) -> Result<(), BootError> {
        let err = |source| BootError::Port { path: self.path.to_owned(), source };
        let file = match &mut self.file {
            Some(file) => file,
            None => match File::open(self.path) {
                Ok(file) => self.file.insert(file),
                // QEMU has not made it yet.
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(e) => return Err(err(e)),
            },
        };
        file.read_to_end(&mut self.pending).map_err(err)?;
        while let Some(end) = self.pending.iter().position(|&b| b == b'\n') {
            let line: Vec<u8> = self.pending.drain(..=end).collect();
            let message = serde_json::from_slice(&line).map_err(|e| BootError::Message {
                reason: e.to_string(),
                line: String::from_utf8_lossy(&line).trim_end().chars().take(200).collect(),
            })?;
            on_message(message);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A shell in the place of QEMU; `$1` is the file of messages.
    fn boot(script: &str, deadline: Duration, stop: bool) -> (Result<(), BootError>, Vec<Message>) {
        let dir = tempfile::tempdir().unwrap();
        let port = dir.path().join("port");
        let mut command = Command::new("sh");
        command.arg("-c").arg(script).arg("sh").arg(&port);
        let (stop, mut messages) = (AtomicBool::new(stop), Vec::new());
        let boot = Boot { command, port: &port, deadline, stop: &stop };
        (boot.run(|m| messages.push(m)), messages)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn messages_arrive_in_order_and_success_is_the_guests_last_word() {
        let script = r#"echo '{"Up":"6.12"}' > $1; echo '{"Note":"a"}' >> $1; echo booting; echo DONE rc=0"#;
        let (result, messages) = boot(script, LONG, false);
        result.unwrap();
        assert_eq!(messages, [Message::Up("6.12".into()), Message::Note("a".into())]);
    }

    #[test]
    fn a_panic_is_a_failure_although_qemu_ends_with_success() {
        let (result, _) = boot("echo 'Kernel panic - not syncing: oh'; echo bad drive >&2", LONG, false);
        let text = result.unwrap_err().to_string();
        assert!(
            text.contains("  Kernel panic - not syncing: oh") && text.contains("  qemu: bad drive"),
            "{text}"
        );
    }

    #[test]
    fn a_failed_guest_is_told_with_its_status() {
        let (result, _) = boot("echo DONE rc=3", LONG, false);
        assert!(matches!(result, Err(BootError::Failed { rc: 3, .. })), "{result:?}");
    }

    #[test]
    fn a_guest_that_hangs_is_ended_at_the_deadline() {
        let started = Instant::now();
        let (result, _) = boot("echo hello; exec sleep 600", Duration::from_millis(300), false);
        assert!(
            matches!(&result, Err(BootError::Deadline { console, .. }) if console == "  hello"),
            "{result:?}"
        );
        assert!(started.elapsed() < LONG);
    }

    #[test]
    fn a_guest_that_is_told_to_stop_still_delivers() {
        let script = r#"read word; echo "{\"Note\":\"$word\"}" > $1; echo DONE rc=0"#;
        let (result, messages) = boot(script, LONG, true);
        result.unwrap();
        assert_eq!(messages, [Message::Note(STOP_WORD.into())]);
    }

    #[test]
    fn a_line_that_is_no_message_is_an_error_that_shows_it() {
        let (result, _) = boot("echo garbage > $1; exec sleep 600", LONG, false);
        assert!(result.unwrap_err().to_string().ends_with("garbage"));
    }
}
