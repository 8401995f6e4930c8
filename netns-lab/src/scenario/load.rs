// SPDX-License-Identifier: Apache-2.0
//! Requests without end while something happens: each must be answered in time.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use netlink::NetNsError;
use nix::sys::socket::{setsockopt, sockopt};

use super::file::{LoadExpectation, LoadKind};
use crate::lab::Origin;

/// A request that is not answered within this time has failed.
const ANSWER: Duration = Duration::from_secs(1);
/// Pause between two requests: enough of them to see a gap, few enough to leave the machine to others.
const PAUSE: Duration = Duration::from_millis(1);
/// Requests that must be answered before a load counts as begun, and after its last step.
const SEEN: u64 = 20;
/// How long a load may take to show that it is unharmed, or cut.
const SHOWN: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(2);
/// Bytes of a request.
const SIZE: usize = 64;

/// A load that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Running {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// What became of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Requests that were answered.
    pub answered: u64,
    /// Requests that were not.
    pub failed: u64,
    /// Longest time between two answers, nanoseconds; a millisecond of pause between two requests is part of it.
    pub longest_gap_ns: u64,
}

#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    answered: AtomicU64,
    failed: AtomicU64,
    /// Longest time between two answers, nanoseconds.
    longest_gap: AtomicU64,
    /// What became of the first that failed.
    first: Mutex<Option<String>>,
}

impl Shared {
    fn first(&self) -> MutexGuard<'_, Option<String>> {
        self.first.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn fail(&self, error: &io::Error) {
        let answered = self.answered.load(Ordering::Relaxed);
        self.first().get_or_insert_with(|| format!("request {} failed: {error}", answered + 1));
        self.failed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Running {
    /// Begins to send, and waits until that works.
    ///
    /// # Errors
    /// In words, when the first requests are not answered.
    pub(crate) fn start(origin: Origin<'_>, to: SocketAddr, kind: LoadKind) -> Result<Self, String> {
        let netns = origin.netns.try_clone().map_err(|e: NetNsError| e.to_string())?;
        let seat = origin.seat.cloned();
        let shared = Arc::new(Shared::default());
        let for_thread = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let origin = Origin { netns: &netns, seat: seat.as_ref() };
            let sent = origin.enter().map_err(io::Error::other).and_then(|()| send(kind, to, &for_thread));
            if let Err(e) = sent {
                for_thread.fail(&e);
            }
        });
        let running = Self { shared, thread: Some(thread) };
        running.wait_for_answers(SEEN)?;
        Ok(running)
    }

    /// Ends it and says whether it became what was expected of it.
    ///
    /// # Errors
    /// In words, when not.
    pub(super) fn stop(self, expect: LoadExpectation) -> Result<(), String> {
        match expect {
            LoadExpectation::Unharmed => {
                // It still works now, after all that has happened.
                let now = self.shared.answered.load(Ordering::Relaxed);
                self.wait_for_answers(now + SEEN)?;
                let (answered, failed) = self.counts();
                match &*self.shared.first() {
                    Some(first) => Err(format!("{failed} of {} requests failed; {first}", answered + failed)),
                    None => Ok(()),
                }
            }
            LoadExpectation::Cut => {
                let cut = || self.shared.failed.load(Ordering::Relaxed) > 0;
                if wait(cut) {
                    return Ok(());
                }
                let (answered, _) = self.counts();
                Err(format!("expected to be cut, but all of {answered} requests were answered"))
            }
        }
    }

    /// Ends it after some more answers; what was seen from its first answer to its last.
    ///
    /// # Errors
    /// In words, when no more answers come.
    pub(crate) fn finish(self) -> Result<Seen, String> {
        let now = self.shared.answered.load(Ordering::Relaxed);
        let more = || self.shared.answered.load(Ordering::Relaxed) >= now + SEEN;
        let comes = wait(more);
        let (answered, failed) = self.counts();
        let longest_gap_ns = self.shared.longest_gap.load(Ordering::Relaxed);
        if comes { Ok(Seen { answered, failed, longest_gap_ns }) } else { Err("no more answers come".into()) }
    }

    fn counts(&self) -> (u64, u64) {
        (self.shared.answered.load(Ordering::Relaxed), self.shared.failed.load(Ordering::Relaxed))
    }

    fn wait_for_answers(&self, count: u64) -> Result<(), String> {
        let reached = || {
            self.shared.answered.load(Ordering::Relaxed) >= count
                || self.shared.failed.load(Ordering::Relaxed) > 0
        };
        if wait(reached) || self.shared.first().is_some() {
            return match &*self.shared.first() {
                Some(first) => Err(first.clone()),
                None => Ok(()),
            };
        }
        let (answered, _) = self.counts();
        Err(format!("only {answered} of {count} requests were answered within {} s", SHOWN.as_secs()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            eprintln!("netns-lab: a thread that sends requests panicked");
        }
    }
}

fn wait(condition: impl Fn() -> bool) -> bool {
    let end = Instant::now() + SHOWN;
    while !condition() {
        if Instant::now() >= end {
            return false;
        }
        thread::sleep(POLL);
    }
    true
}

/// Sends until it is told to stop. An error ends an established connection, and is one failure among others elsewhere.
fn send(kind: LoadKind, to: SocketAddr, shared: &Shared) -> io::Result<()> {
    match kind {
        LoadKind::Established => {
            let mut stream = connect(to)?;
            each(shared, |number| exchange(&mut stream, number), true)
        }
        LoadKind::Connections => each(shared, |number| exchange(&mut connect(to)?, number), false),
        LoadKind::Datagrams => {
            let any: IpAddr = if to.is_ipv4() { [0; 4].into() } else { [0; 16].into() };
            let socket = UdpSocket::bind((any, 0))?;
            socket.set_read_timeout(Some(ANSWER))?;
            socket.connect(to)?;
            each(shared, |number| datagram(&socket, number), false)
        }
    }
}

fn each(shared: &Shared, mut request: impl FnMut(u64) -> io::Result<()>, end: bool) -> io::Result<()> {
    let (mut number, mut last) = (0, None::<Instant>);
    while !shared.stop.load(Ordering::Relaxed) {
        number += 1;
        match request(number).map_err(late) {
            Ok(()) => {
                let gap = last.replace(Instant::now()).map_or(Duration::ZERO, |last| last.elapsed());
                let gap = u64::try_from(gap.as_nanos()).unwrap_or(u64::MAX);
                shared.longest_gap.fetch_max(gap, Ordering::Relaxed);
                shared.answered.fetch_add(1, Ordering::Relaxed);
            }
            Err(e) if end => return Err(e),
            Err(e) => shared.fail(&e),
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// A deadline that passes is EAGAIN, which reads as "try again".
fn late(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
            io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {} s", ANSWER.as_secs()))
        }
        _ => error,
    }
}

fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&to, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    stream.set_nodelay(true)?;
    // Closed by a reset: thousands of connections leave no thousand ports in TIME_WAIT.
    setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    Ok(stream)
}

fn payload(number: u64) -> [u8; SIZE] {
    let mut payload = [0x5a; SIZE];
    payload[..8].copy_from_slice(&number.to_be_bytes());
    payload
}

fn exchange(stream: &mut TcpStream, number: u64) -> io::Result<()> {
    let (sent, mut back) = (payload(number), [0; SIZE]);
    stream.write_all(&sent)?;
    stream.read_exact(&mut back)?;
    if back == sent { Ok(()) } else { Err(io::Error::other("other bytes came back than were sent")) }
}

/// An answer that comes too late is that of an earlier request and no answer to this one.
fn datagram(socket: &UdpSocket, number: u64) -> io::Result<()> {
    let (sent, mut back) = (payload(number), [0; SIZE + 1]);
    socket.send(&sent)?;
    let end = Instant::now() + ANSWER;
    while Instant::now() < end {
        let length = socket.recv(&mut back)?;
        if back[..length] == sent {
            return Ok(());
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use netlink::NetNs;

    use super::*;

    /// Answers every connection until the flag is set, then no more, on loopback: no root is needed.
    fn server(mute: Arc<AtomicBool>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mute = Arc::clone(&mute);
                thread::spawn(move || {
                    let mut stream = stream;
                    let mut buffer = [0; SIZE];
                    while stream.read_exact(&mut buffer).is_ok() {
                        if !mute.load(Ordering::Relaxed) && stream.write_all(&buffer).is_err() {
                            return;
                        }
                    }
                });
            }
        });
        address
    }

    fn running(kind: LoadKind, mute: &Arc<AtomicBool>) -> Running {
        let here = NetNs::current().unwrap();
        let shared = Arc::new(Shared::default());
        let (for_thread, to) = (Arc::clone(&shared), server(Arc::clone(mute)));
        drop(here);
        let thread = thread::spawn(move || {
            if let Err(e) = send(kind, to, &for_thread) {
                for_thread.fail(&e);
            }
        });
        Running { shared, thread: Some(thread) }
    }

    #[test]
    fn a_load_that_is_answered_is_unharmed_and_not_cut() {
        for kind in [LoadKind::Established, LoadKind::Connections] {
            running(kind, &Arc::default()).stop(LoadExpectation::Unharmed).unwrap();
        }
    }

    #[test]
    fn a_load_that_is_no_longer_answered_is_cut_and_not_unharmed() {
        for kind in [LoadKind::Established, LoadKind::Connections] {
            let mute = Arc::new(AtomicBool::new(false));
            let (cut, unharmed) = (running(kind, &mute), running(kind, &mute));
            cut.wait_for_answers(3).unwrap();
            mute.store(true, Ordering::Relaxed);
            cut.stop(LoadExpectation::Cut).unwrap();
            let reason = unharmed.stop(LoadExpectation::Unharmed).unwrap_err();
            assert!(reason.contains("no answer within 1 s"), "{reason}");
        }
    }

    #[test]
    fn a_port_at_which_nobody_listens_fails_a_load_at_once() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let shared = Shared::default();
        assert!(send(LoadKind::Established, closed, &shared).is_err());
    }
}
