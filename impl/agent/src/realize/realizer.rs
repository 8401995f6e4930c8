// SPDX-License-Identifier: Apache-2.0
//! The thread and the handle by which others reach it.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use controlplane::{Deltas, Desired, Failure};
use tokio::sync::oneshot;

use super::{StateFiles, Target};
use crate::health::HealthPorts;

/// Messages that wait for the thread. When it is full, the control thread waits, and in turn the sources.
pub const REALIZE_QUEUE: usize = 64;
/// First pause before what failed is tried again; it doubles up to the longest.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// Longest pause.
const RETRY_LONGEST: Duration = Duration::from_secs(30);

/// The thread has too much to do, or has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the datapath is busy: try again")]
pub struct Busy;

type Question<T> = Box<dyn FnOnce(&mut T) + Send>;

enum Message<T> {
    Apply(Box<Deltas>),
    Resync(Box<Desired>),
    Ask(Question<T>),
    /// What listeners want has changed.
    Listen,
    Stop,
}

/// The revision up to which the outside is as desired, except for these rows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Latest {
    /// Of the tables.
    pub revision: u64,
    /// All rows that are not as desired.
    pub failures: Vec<Failure>,
}

/// What happened so far.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Changes that were brought about.
    pub applied: AtomicU64,
    /// Times that what failed was tried again.
    pub retries: AtomicU64,
    /// Times that a sender found the queue full.
    pub full: AtomicU64,
    /// Microseconds spent on changes.
    pub busy_us: AtomicU64,
}

/// The latest word of the thread, which outweighs those before it: nobody waits to say it, and none is lost.
type Slot = Arc<Mutex<Option<Latest>>>;

/// The handle. Clones reach the same thread.
#[derive(Debug)]
pub struct Realizer<T> {
    sender: SyncSender<Message<T>>,
    slot: Slot,
    listening: Arc<Mutex<Option<u32>>>,
    statistics: Arc<Statistics>,
}

impl<T> Clone for Realizer<T> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            slot: self.slot.clone(),
            listening: self.listening.clone(),
            statistics: self.statistics.clone(),
        }
    }
}

impl<T: Target> Realizer<T> {
    /// Starts the thread. It makes the target itself, for a target need not be able to change threads. `told` is called
    /// after each word for [`Realizer::latest`]; it must not wait.
    ///
    /// # Errors
    /// That of `make`, or when the kernel gives no thread.
    pub fn start<E: From<io::Error> + Send + 'static>(
        files: StateFiles,
        ports: HealthPorts,
        make: impl FnOnce() -> Result<T, E> + Send + 'static,
        told: impl Fn() + Send + 'static,
    ) -> Result<(Self, JoinHandle<()>), E> {
        let (sender, receiver) = sync_channel(REALIZE_QUEUE);
        let (slot, statistics) = (Slot::default(), Arc::<Statistics>::default());
        let listening = Arc::<Mutex<Option<u32>>>::default();
        let handle = Self { sender, slot, listening, statistics };
        let shared = handle.clone();
        let (made, making) = sync_channel(1);
        let thread = thread::Builder::new().name("realize".into()).spawn(move || {
            let target = match make() {
                Ok(target) => target,
                // Whoever starts it waits for this.
                Err(error) => return made.send(Err(error)).unwrap_or_default(),
            };
            if made.send(Ok(())).is_ok() {
                let Self { sender, slot, listening, statistics } = shared;
                // The thread must not keep its own queue open.
                drop(sender);
                Worker::new((files, ports, target), told, slot, listening, statistics).run(&receiver);
            }
        })?;
        match making.recv() {
            Ok(Ok(())) => Ok((handle, thread)),
            Ok(Err(error)) => Err(error),
            Err(_) => Err(io::Error::other("the realizing thread panicked when it started").into()),
        }
    }

    /// Hands changes over, waiting while the queue is full. Without the thread, nothing happens: the agent is ending.
    pub fn apply(&self, deltas: Deltas) {
        self.send(Message::Apply(Box::new(deltas)));
    }

    /// Hands everything over.
    pub fn resync(&self, desired: Desired) {
        self.send(Message::Resync(Box::new(desired)));
    }

    fn send(&self, message: Message<T>) {
        if let Err(TrySendError::Full(message)) = self.sender.try_send(message) {
            self.statistics.full.fetch_add(1, Ordering::Relaxed);
            if self.sender.send(message).is_err() {
                tracing::debug!("the realizing thread has ended");
            }
        }
    }

    /// Asks the target something, without waiting here.
    ///
    /// # Errors
    /// [`Busy`] when the queue is full; counted.
    pub fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<oneshot::Receiver<R>, Busy> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have gone away meanwhile.
        let ask = move |target: &mut T| drop(sender.send(question(target)));
        self.sender.try_send(Message::Ask(Box::new(ask))).map_err(|_| {
            self.statistics.full.fetch_add(1, Ordering::Relaxed);
            Busy
        })?;
        Ok(receiver)
    }

    /// Says which events are wanted; never waits. The thread looks after each message, so a full queue loses nothing.
    pub fn listen(&self, level: Option<u32>) {
        *self.listening.lock().unwrap_or_else(PoisonError::into_inner) = level;
        let _ = self.sender.try_send(Message::Listen);
    }

    /// The latest word of the thread, once.
    pub fn latest(&self) -> Option<Latest> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// What happened so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    /// Ends the thread after what it has been handed.
    pub fn stop(&self) {
        self.send(Message::Stop);
    }
}

struct Worker<T, F> {
    files: StateFiles,
    ports: HealthPorts,
    target: T,
    told: F,
    slot: Slot,
    listening: Arc<Mutex<Option<u32>>>,
    /// What the datapath was told of it.
    told_listening: Option<u32>,
    /// Why it could not be told last time; said once.
    listen_failure: String,
    statistics: Arc<Statistics>,
    revision: u64,
    failures: Vec<Failure>,
    pause: Duration,
    retry_at: Option<Instant>,
}

/// Changes that wait already become one with these: the kernel is waited for once. Returns the message after them.
fn gather<T>(deltas: &mut Deltas, receiver: &Receiver<Message<T>>) -> Option<Message<T>> {
    for _ in 0..REALIZE_QUEUE {
        match receiver.try_recv() {
            Ok(Message::Apply(later)) => deltas.merge(*later),
            Ok(other) => return Some(other),
            Err(_) => return None,
        }
    }
    None
}

impl<T: Target, F: Fn()> Worker<T, F> {
    fn new(
        (files, ports, target): (StateFiles, HealthPorts, T),
        told: F,
        slot: Slot,
        listening: Arc<Mutex<Option<u32>>>,
        statistics: Arc<Statistics>,
    ) -> Self {
        Self {
            files,
            ports,
            target,
            told,
            slot,
            listening,
            told_listening: None,
            listen_failure: String::new(),
            statistics,
            revision: 0,
            failures: Vec::new(),
            pause: RETRY_FIRST,
            retry_at: None,
        }
    }

    fn run(mut self, receiver: &Receiver<Message<T>>) {
        let mut clean_at = Instant::now();
        let mut next = None;
        loop {
            let due = self.retry_at.map_or(clean_at, |retry_at| retry_at.min(clean_at));
            let wait = due.saturating_duration_since(Instant::now());
            match next.take().map_or_else(|| receiver.recv_timeout(wait), Ok) {
                Ok(Message::Apply(mut deltas)) => {
                    next = gather(&mut deltas, receiver);
                    self.timed(deltas.revision, |worker| worker.apply(&deltas));
                }
                Ok(Message::Resync(desired)) => {
                    self.timed(desired.revision, |worker| worker.resync(&desired))
                }
                Ok(Message::Ask(question)) => question(&mut self.target),
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Message::Listen) | Err(RecvTimeoutError::Timeout) => {}
            }
            self.listen();
            let now = Instant::now();
            if self.retry_at.is_some_and(|retry_at| retry_at <= now) {
                self.retry();
            }
            if clean_at <= now {
                clean_at = now + self.target.clean(now);
            }
        }
    }

    fn listen(&mut self) {
        let wanted = *self.listening.lock().unwrap_or_else(PoisonError::into_inner);
        if wanted != self.told_listening {
            match self.target.listen(wanted) {
                Ok(()) => self.told_listening = wanted,
                Err(reason) if reason == self.listen_failure => {}
                Err(reason) => {
                    tracing::error!(reason, "listeners get no traces; it is tried again");
                    self.listen_failure = reason;
                }
            }
        }
    }

    fn timed(&mut self, revision: u64, work: impl FnOnce(&mut Self) -> Vec<Failure>) {
        let start = Instant::now();
        let failures = work(self);
        let spent = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.statistics.busy_us.fetch_add(spent, Ordering::Relaxed);
        self.statistics.applied.fetch_add(1, Ordering::Relaxed);
        self.revision = revision;
        self.pause = RETRY_FIRST;
        self.tell(failures);
    }

    fn apply(&mut self, deltas: &Deltas) -> Vec<Failure> {
        self.files.write(&deltas.state.upserts, deltas.node.as_ref());
        let failures = self.target.apply(deltas);
        // A frontend that had such a port has gone by now.
        self.ports.apply(&deltas.health_checks);
        self.files.remove(&deltas.state.removals);
        failures
    }

    fn resync(&mut self, desired: &Desired) -> Vec<Failure> {
        self.files.resync(desired);
        let failures = self.target.resync(desired);
        self.ports.resync(&desired.health_checks);
        failures
    }

    fn retry(&mut self) {
        self.statistics.retries.fetch_add(1, Ordering::Relaxed);
        self.files.retry();
        let failures = self.target.retry();
        self.ports.retry();
        self.pause = (self.pause * 2).min(RETRY_LONGEST);
        self.tell(failures);
    }

    /// Says what is the case now, and when to try again.
    fn tell(&mut self, mut failures: Vec<Failure>) {
        failures.extend(self.files.failures());
        failures.extend(self.ports.failures());
        let told: HashSet<&Failure> = self.failures.iter().collect();
        for failure in failures.iter().filter(|failure| !told.contains(failure)) {
            tracing::warn!(row = %failure.row, reason = failure.reason, "not as desired, will be tried again");
        }
        self.retry_at = (!failures.is_empty()).then(|| Instant::now() + self.pause);
        self.failures.clone_from(&failures);
        let latest = Latest { revision: self.revision, failures };
        *self.slot.lock().unwrap_or_else(PoisonError::into_inner) = Some(latest);
        (self.told)();
    }
}
