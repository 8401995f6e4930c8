// SPDX-License-Identifier: Apache-2.0
//! Ends the wait of a client thread that gets no answer. A time limit on the socket would do the same, but the kernel then
//! arms a timer for every single wait, which costs a round trip over loopback one to two percent.

use std::cell::OnceCell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Once};
use std::time::{Duration, Instant};

use nix::libc;
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use nix::unistd::{getpid, gettid};

/// Nothing else in this program uses it. Its handler does nothing: that it comes is what ends a system call.
const SIGNAL: Signal = Signal::SIGUSR2;
/// How often a thread is looked at, and how often one that has stalled is told so.
const LOOK: Duration = Duration::from_millis(100);

thread_local! {
    static WATCHED: OnceCell<Arc<State>> = const { OnceCell::new() };
}

#[derive(Debug)]
struct State {
    thread: libc::pid_t,
    /// Grows while the thread gets on.
    steps: AtomicU64,
    /// The thread is to give up waiting.
    stalled: AtomicBool,
}

/// A client thread, as the thread that waits for it sees it.
#[derive(Clone, Debug)]
pub struct Watched(Arc<State>);

/// Puts the calling thread under watch.
pub fn watch_this_thread() -> Watched {
    static HANDLER: Once = Once::new();
    extern "C" fn nothing(_: libc::c_int) {}
    HANDLER.call_once(|| {
        // Without SA_RESTART, so that the system call ends.
        let action = SigAction::new(SigHandler::Handler(nothing), SaFlags::empty(), SigSet::empty());
        // SAFETY: a handler that does nothing is async-signal-safe. The call fails only for signals that cannot be caught.
        let _ = unsafe { sigaction(SIGNAL, &action) };
    });
    let state =
        State { thread: gettid().as_raw(), steps: AtomicU64::new(0), stalled: AtomicBool::new(false) };
    WATCHED.with(|watched| Watched(watched.get_or_init(|| Arc::new(state)).clone()))
}

/// Whether the calling thread is to give up; asked when a system call was interrupted.
pub fn stalled() -> bool {
    WATCHED.with(|watched| watched.get().is_some_and(|state| state.stalled.load(Ordering::Relaxed)))
}

impl Watched {
    /// Told by the thread itself that it got on.
    pub fn step(&self) {
        // One writer: no need for an atomic addition.
        self.0.steps.store(self.0.steps.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
    }

    /// Waits for what the thread reports. If it gets no further for `limit`, its system call is ended; it then reports that.
    /// `None` when the thread is gone.
    pub fn report<T>(&self, reports: &Receiver<T>, limit: Duration) -> Option<T> {
        let (mut steps, mut since) = (self.0.steps.load(Ordering::Relaxed), Instant::now());
        let report = loop {
            match reports.recv_timeout(LOOK) {
                Ok(report) => break Some(report),
                Err(RecvTimeoutError::Disconnected) => break None,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let now = self.0.steps.load(Ordering::Relaxed);
            if now != steps {
                (steps, since) = (now, Instant::now());
            } else if since.elapsed() >= limit {
                self.0.stalled.store(true, Ordering::Relaxed);
                // Again and again: the first may come just before the system call that it should end.
                self.interrupt();
            }
        };
        self.0.stalled.store(false, Ordering::Relaxed);
        report
    }

    fn interrupt(&self) {
        // SAFETY: a plain system call. The thread is one of this process and has yet to report; should it be gone, the
        // call fails.
        unsafe {
            libc::syscall(libc::SYS_tgkill, getpid().as_raw(), self.0.thread, SIGNAL as libc::c_int);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;
    use std::sync::mpsc::channel;
    use std::thread;

    use nix::errno::Errno;
    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

    use super::*;
    use crate::workload::socket::receive;

    #[test]
    fn a_thread_that_waits_for_nothing_is_woken_and_one_that_gets_on_is_not() {
        let (own, _silent) =
            socketpair(AddressFamily::Unix, SockType::Stream, None, SockFlag::SOCK_CLOEXEC).unwrap();
        let (say, reports) = channel();
        let (introduce, introduced) = channel();
        let waiting = thread::spawn(move || {
            let watched = watch_this_thread();
            introduce.send(watched.clone()).unwrap();
            // Longer than the limit in all, but never without a step for so long.
            for _ in 0..8 {
                thread::park_timeout(Duration::from_millis(100));
                watched.step();
            }
            say.send(Ok(0)).unwrap();
            say.send(receive(own.as_raw_fd(), &mut [0; 1])).unwrap();
        });
        let watched = introduced.recv().unwrap();
        let limit = Duration::from_millis(400);
        assert_eq!(watched.report(&reports, limit), Some(Ok(0)));
        assert_eq!(watched.report(&reports, limit), Some(Err(Errno::ETIMEDOUT)));
        waiting.join().unwrap();
        assert_eq!(watched.report(&reports, limit), None);
    }
}
