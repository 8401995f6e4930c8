// SPDX-License-Identifier: Apache-2.0
//! Running another program to its end: input on stdin, a deadline, and nothing of it left behind.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

/// No program that the lab runs says more than this, bytes.
const OUTPUT_LIMIT: u64 = 16 << 20;

/// Pause between two looks whether a program has ended.
const POLL: Duration = Duration::from_millis(1);

/// What a program has said.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

impl Finished {
    /// Standard error as one line of at most 300 characters.
    pub fn complaint(&self) -> String {
        one_line(&self.stderr)
    }
}

/// Text of a program as one line of at most 300 characters.
pub fn one_line(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(text);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

/// Why a program did not run to its end.
#[derive(Debug, thiserror::Error)]
pub enum ToolError {
    /// There is no such program.
    #[error("{program} is not installed")]
    NotInstalled {
        /// Its name or path.
        program: String,
    },
    /// It did not end in time and was killed.
    #[error("{program} did not end within {} s and was killed", deadline.as_secs_f32())]
    Deadline {
        /// Its name or path.
        program: String,
        /// How long it had.
        deadline: Duration,
    },
    /// The system refused.
    #[error("run {program}: {source}")]
    System {
        /// Its name or path.
        program: String,
        /// Why.
        source: io::Error,
    },
}

/// The program of this name: in `PATH`, or where administrators' programs are, which is not in everybody's `PATH`.
pub fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let system = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
    std::env::split_paths(&path)
        .chain(system)
        .map(|dir| dir.join(name))
        .find(|file| file.is_absolute() && file.is_file())
}

/// Runs a program in the calling thread's network namespace, feeds it `stdin` and collects what it says. It gets a process
/// group of its own, which is killed when the deadline passes or when the program leaves children behind.
///
/// # Errors
/// [`ToolError`]; an unsuccessful exit status is not one.
pub fn run(command: &mut Command, stdin: &[u8], deadline: Duration) -> Result<Finished, ToolError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let system = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => ToolError::NotInstalled { program: program.clone() },
        _ => ToolError::System { program: program.clone(), source },
    };
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(system)?;
    let (input, output, errors) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
    let (ended, stdout, stderr) = thread::scope(|s| {
        // A program that ends without reading all its input is no error here: its exit status tells.
        s.spawn(move || input.map(|mut pipe| pipe.write_all(stdin)));
        let stdout = s.spawn(|| read(output));
        let stderr = s.spawn(|| read(errors));
        let ended = wait(&child, deadline);
        // Still unreaped, so the group's number is still ours.
        let _ = killpg(group(&child), Signal::SIGKILL);
        (ended, stdout.join().unwrap_or_default(), stderr.join().unwrap_or_default())
    });
    let status = child.wait().map_err(system)?;
    match ended {
        Ok(true) => Ok(Finished { status, stdout, stderr }),
        Ok(false) => Err(ToolError::Deadline { program, deadline }),
        Err(e) => Err(system(e.into())),
    }
}

fn group(child: &Child) -> Pid {
    // Process ids fit: the kernel's own type is i32.
    Pid::from_raw(child.id().cast_signed())
}

/// Waits until the program has ended, without reaping it; `false` when the deadline comes first.
fn wait(child: &Child, deadline: Duration) -> Result<bool, Errno> {
    let end = Instant::now() + deadline;
    let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT | WaitPidFlag::WNOHANG;
    loop {
        match waitid(Id::Pid(group(child)), flags) {
            Ok(WaitStatus::StillAlive) | Err(Errno::EINTR) => {}
            Ok(_) => return Ok(true),
            Err(e) => return Err(e),
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        thread::sleep(POLL);
    }
}

fn read(pipe: Option<impl Read>) -> Vec<u8> {
    let mut bytes = Vec::new();
    if let Some(pipe) = pipe {
        // What was read before an error is still worth showing.
        let _ = pipe.take(OUTPUT_LIMIT).read_to_end(&mut bytes);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Command {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn a_program_gets_its_input_and_its_output_comes_back() {
        let ran =
            run(&mut shell("tr a-z A-Z; echo oh >&2; exit 3"), b"text", Duration::from_secs(10)).unwrap();
        assert_eq!(ran.stdout, b"TEXT");
        assert_eq!(ran.complaint(), "oh");
        assert_eq!(ran.status.code(), Some(3));
    }

    #[test]
    fn a_program_that_hangs_is_killed_with_its_children() {
        let started = Instant::now();
        let deadline = Duration::from_millis(100);
        let error = run(&mut shell("sleep 60 & sleep 60"), b"", deadline).unwrap_err();
        assert!(matches!(error, ToolError::Deadline { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_child_left_behind_does_not_hold_the_caller_up() {
        let started = Instant::now();
        let ran = run(&mut shell("sleep 60 & echo done"), b"", Duration::from_secs(50)).unwrap();
        assert_eq!(ran.stdout, b"done\n");
        assert!(started.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_program_that_does_not_read_its_input_is_no_error() {
        let ran = run(&mut shell("exit 0"), &vec![b'x'; 1 << 20], Duration::from_secs(10)).unwrap();
        assert!(ran.status.success());
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let error = run(&mut Command::new("/nonexistent/tool"), b"", Duration::from_secs(1)).unwrap_err();
        assert_eq!(error.to_string(), "/nonexistent/tool is not installed");
    }

    #[test]
    fn long_complaints_are_cut_to_one_line() {
        assert_eq!(one_line(b"a\nb\t c\n"), "a b c");
        assert_eq!(one_line("é".repeat(400).as_bytes()).chars().count(), 301);
    }
}
