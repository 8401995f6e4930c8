// SPDX-License-Identifier: Apache-2.0
//! A process that stays: born into a node's namespace, its words in a log, and gone with this process, however that ends.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use netlink::NetNs;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, getppid, setsid};

use crate::lab::ProcessState;

/// Pause between two looks whether a process has ended.
const POLL: Duration = Duration::from_millis(2);

/// Most of a log that an error quotes, bytes.
const QUOTED: usize = 600;

/// What is to end when this process does, and what is to stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lifetime {
    /// It is killed with this process, also when that is killed.
    Ours,
    /// It stays, for a lab that is kept.
    Kept,
}

/// A process of a node.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts a program in a node's namespace; what it says is added to the file `log`.
    pub(crate) fn start(
        mut command: Command,
        node: &NetNs,
        log: &Path,
        lifetime: Lifetime,
    ) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let netns: OwnedFd = node.as_fd().try_clone_to_owned()?;
        command.current_dir("/").stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out);
        let parent = nix::unistd::getpid();
        // SAFETY: between fork and exec only system calls are made: setns, setsid, prctl and getppid.
        unsafe {
            command.pre_exec(move || {
                setns(&netns, CloneFlags::CLONE_NEWNET)?;
                // Ctrl-C in a terminal reaches the whole foreground group. Who uses the agent ends it in his own time.
                setsid()?;
                if lifetime == Lifetime::Ours {
                    set_pdeathsig(Signal::SIGKILL)?;
                    // It may have died before the line above took effect.
                    if getppid() != parent {
                        return Err(io::Error::from_raw_os_error(libc::ESRCH));
                    }
                }
                Ok(())
            });
        }
        Ok(Self { child: spawn(command)?, log: log.into() })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// What a sweep needs to find it.
    pub(crate) fn state(&self) -> Option<ProcessState> {
        ProcessState::of(self.child.id())
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> io::Result<Option<ExitStatus>> {
        self.child.try_wait()
    }

    /// Kills it and waits until it is gone.
    pub(crate) fn kill(&mut self) -> io::Result<()> {
        self.child.kill()?;
        self.child.wait().map(drop)
    }

    /// Asks it to end and waits; after the deadline it is killed, and the answer is `false`.
    pub(crate) fn terminate(&mut self, deadline: Duration) -> io::Result<bool> {
        if self.child.try_wait()?.is_none() {
            kill(Pid::from_raw(self.child.id().cast_signed()), Signal::SIGTERM)?;
        }
        let end = Instant::now() + deadline;
        while self.child.try_wait()?.is_none() {
            if Instant::now() >= end {
                self.kill()?;
                return Ok(false);
            }
            thread::sleep(POLL);
        }
        Ok(true)
    }

    /// How it ended and what it said last, for an error.
    pub(crate) fn last_words(&self, status: ExitStatus) -> String {
        let how = match (status.code(), status.signal()) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => status.to_string(),
        };
        format!("it ended with {how}; {}", self.said())
    }

    /// What it said last.
    pub(crate) fn said(&self) -> String {
        match fs::read(&self.log) {
            Ok(text) if !text.trim_ascii().is_empty() => format!("it said: {}", tail(&text)),
            _ => "it said nothing".into(),
        }
    }
}

/// The end of a text, in one line, from the beginning of a line where that is not too far back.
fn tail(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text.trim_ascii());
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    let joined = lines.into_iter().rev().map(str::trim).collect::<Vec<_>>().join(" | ");
    match joined.char_indices().rev().nth(QUOTED) {
        Some((start, _)) => format!("…{}", &joined[start..]),
        None => joined,
    }
}

type Order = (Command, Sender<io::Result<Child>>);

/// Starts processes from a thread that never ends: the kernel takes the thread that forks for the parent, and a child
/// that dies with its parent would die with whichever thread happened to ask.
fn spawn(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<Mutex<Sender<Order>>> = OnceLock::new();
    let gone = || io::Error::other("the thread that starts processes has ended");
    let keeper = KEEPER.get_or_init(|| {
        let (sender, orders) = channel::<Order>();
        thread::spawn(move || {
            for (mut command, answer) in orders {
                // Who does not wait for the answer drops the child's handle with it.
                let _ = answer.send(command.spawn());
            }
        });
        Mutex::new(sender)
    });
    let (answer, child) = channel();
    let sent = keeper.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).send((command, answer));
    sent.map_err(|_| gone())?;
    child.recv().map_err(|_| gone())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_of_a_log_are_quoted_in_one_line() {
        assert_eq!(tail(b"a\nb\n  c\nd\n\n"), "b | c | d");
        let long = tail("é".repeat(2000).as_bytes());
        assert!(long.starts_with('…') && long.chars().count() == QUOTED + 2, "{}", long.chars().count());
    }

    #[test]
    fn a_child_outlives_the_thread_that_asked_for_it() {
        let mut child = thread::spawn(|| {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", "read x; exit 7"]).stdin(Stdio::piped());
            // SAFETY: prctl is a system call and nothing else.
            unsafe { command.pre_exec(|| Ok(set_pdeathsig(Signal::SIGKILL)?)) };
            spawn(command).unwrap()
        })
        .join()
        .unwrap();
        // The end of its input, now that the thread is gone.
        drop(child.stdin.take());
        assert_eq!(child.wait().unwrap().code(), Some(7));
    }
}
