// SPDX-License-Identifier: Apache-2.0
//! Runs a program in the foreground so that it, not this one, decides what a signal means: it may have a report to
//! finish and namespaces to remove, and whoever waits for `cargo xtask` must wait for that too.

use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicI32, Ordering};

use anyhow::{Context, Result};
use nix::libc;
use nix::sys::prctl;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{getpid, getppid};

/// The program that runs, 0 before it does.
static CHILD: AtomicI32 = AtomicI32::new(0);
/// A signal that came before the program ran, 0 for none.
static EARLY: AtomicI32 = AtomicI32::new(0);

/// Runs the program to its end and returns its exit code, 128 + n when it died of signal n.
///
/// - Ctrl-C reaches the whole foreground group, so the program has it already; this process only stays.
/// - SIGTERM, SIGHUP, and a SIGINT that a process sent, are passed on.
/// - When this process is killed with SIGKILL, the program is too.
///
/// # Errors
/// When the program cannot be started.
pub fn run(command: &mut Command) -> Result<u8> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = wait(command).with_context(|| format!("run {name}"))?;
    Ok(exit_code(status))
}

fn wait(command: &mut Command) -> io::Result<ExitStatus> {
    let action = SigAction::new(SigHandler::SigAction(pass_on), SaFlags::SA_RESTART, SigSet::empty());
    for signal in [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP] {
        // SAFETY: `pass_on` calls only `kill` and touches only atomics: both are async-signal-safe.
        unsafe { sigaction(signal, &action) }?;
    }
    let parent = getpid();
    // SAFETY: between fork and exec only prctl and getppid are called, both async-signal-safe.
    unsafe {
        command.pre_exec(move || {
            prctl::set_pdeathsig(Signal::SIGKILL)?;
            // It may have died before the line above took effect.
            if getppid() != parent { Err(io::Error::from_raw_os_error(libc::ESRCH)) } else { Ok(()) }
        });
    }
    let mut child = command.spawn()?;
    CHILD.store(child.id().cast_signed(), Ordering::SeqCst);
    let early = EARLY.swap(0, Ordering::SeqCst);
    if early != 0 {
        send(child.id().cast_signed(), early);
    }
    let status = child.wait();
    CHILD.store(0, Ordering::SeqCst);
    status
}

extern "C" fn pass_on(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: with SA_SIGINFO, which nix sets for this kind of handler, the kernel gives a valid pointer or null.
    let by_terminal = unsafe { info.as_ref() }.is_some_and(|info| info.si_code > 0);
    match CHILD.load(Ordering::SeqCst) {
        0 => EARLY.store(signal, Ordering::SeqCst),
        _ if signal == libc::SIGINT && by_terminal => {}
        child => send(child, signal),
    }
}

fn send(child: i32, signal: i32) {
    // SAFETY: kill has no memory effects; the pid is that of our child, which is not yet waited for.
    unsafe { libc::kill(child, signal) };
}

fn exit_code(status: ExitStatus) -> u8 {
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(1),
        (None, Some(signal)) => u8::try_from(128 + signal).unwrap_or(1),
        (None, None) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_is_that_of_the_program() {
        assert_eq!(run(Command::new("sh").args(["-c", "exit 7"])).expect("sh runs"), 7);
    }

    #[test]
    fn death_by_a_signal_is_told_as_shells_do() {
        assert_eq!(run(Command::new("sh").args(["-c", "kill -TERM $$"])).expect("sh runs"), 128 + 15);
    }

    #[test]
    fn a_program_that_is_not_there_is_an_error_that_names_it() {
        let error = run(&mut Command::new("/no/such/program")).expect_err("it ran");
        assert!(format!("{error:#}").contains("/no/such/program"), "{error:#}");
    }
}
