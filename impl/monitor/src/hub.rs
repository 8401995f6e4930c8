// SPDX-License-Identifier: Apache-2.0
//! From those that tell to those that listen.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::queue::Queue;
use crate::{DecodeError, Decoder, Event, Filter, Kind};

/// How many may listen at once; the next one is refused.
pub const MAX_SUBSCRIBERS: usize = 64;

/// What subscribers together want: without a reader of traces, programs need not make them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Listening {
    /// How many listen.
    pub subscribers: usize,
    /// Whether one wants traces.
    pub trace: bool,
    /// Whether one wants verdicts.
    pub policy_verdict: bool,
    /// Whether one wants debug messages.
    pub debug: bool,
}

/// What has passed the hub so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HubStatistics {
    /// Events told.
    pub published: u64,
    /// Events that a subscriber's queue had no room for, counted for each subscriber.
    pub lost: u64,
    /// Events of the kernel that could not be decoded.
    pub unknown: u64,
    /// Connections to the monitor's socket for which the system gave no descriptor or no thread.
    pub refused: u64,
}

/// Nobody may listen any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{MAX_SUBSCRIBERS} monitors listen already, which is the limit: end one of them")]
pub struct SubscribeError;

/// Gives each event to all that want it. Clones are the same hub.
#[derive(Clone)]
pub struct Hub {
    shared: Arc<Shared>,
}

struct Shared {
    queue_size: usize,
    changed: Box<dyn Fn(Listening) + Send + Sync>,
    subscribers: Mutex<Vec<Subscriber>>,
    published: AtomicU64,
    lost: AtomicU64,
    unknown: AtomicU64,
    refused: AtomicU64,
}

struct Subscriber {
    filter: Filter,
    queue: Arc<Queue>,
}

impl Hub {
    /// With queues for so many events each. `changed` is called when what subscribers together want has changed; it
    /// must be quick and must not use the hub.
    pub fn new(queue_size: usize, changed: impl Fn(Listening) + Send + Sync + 'static) -> Self {
        Self {
            shared: Arc::new(Shared {
                queue_size,
                changed: Box::new(changed),
                subscribers: Mutex::default(),
                published: AtomicU64::new(0),
                lost: AtomicU64::new(0),
                unknown: AtomicU64::new(0),
                refused: AtomicU64::new(0),
            }),
        }
    }

    /// Tells an event. Never waits.
    pub fn publish(&self, event: Event) {
        let subscribers = self.shared.lock();
        self.shared.published.fetch_add(1, Ordering::Relaxed);
        let event = Arc::new(event);
        for subscriber in subscribers.iter().filter(|subscriber| event.matches(&subscriber.filter)) {
            if !subscriber.queue.push(Arc::clone(&event)) {
                self.shared.lost.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    /// Tells an event of the ring buffer; it is not even decoded if nobody listens.
    ///
    /// # Errors
    /// [`DecodeError`], which is counted, when the bytes are no event.
    pub fn publish_kernel(&self, decoder: &mut Decoder, bytes: &[u8]) -> Result<(), DecodeError> {
        if self.shared.lock().is_empty() {
            return Ok(());
        }
        match decoder.decode(bytes) {
            Ok(event) => {
                self.publish(event);
                Ok(())
            }
            Err(error) => {
                self.shared.unknown.fetch_add(1, Ordering::Relaxed);
                Err(error)
            }
        }
    }

    /// Listens from now on.
    ///
    /// # Errors
    /// [`SubscribeError`] when too many do.
    pub fn subscribe(&self, filter: Filter) -> Result<Subscription, SubscribeError> {
        let mut subscribers = self.shared.lock();
        if subscribers.len() >= MAX_SUBSCRIBERS {
            return Err(SubscribeError);
        }
        let queue = Arc::new(Queue::new(self.shared.queue_size));
        subscribers.push(Subscriber { filter, queue: Arc::clone(&queue) });
        (self.shared.changed)(listening(&subscribers));
        Ok(Subscription { shared: Arc::clone(&self.shared), queue })
    }

    /// A connection could not be served.
    pub(crate) fn count_refused(&self) {
        self.shared.refused.fetch_add(1, Ordering::Relaxed);
    }

    /// What subscribers want now.
    pub fn listening(&self) -> Listening {
        listening(&self.shared.lock())
    }

    /// What has passed so far.
    pub fn statistics(&self) -> HubStatistics {
        HubStatistics {
            published: self.shared.published.load(Ordering::Relaxed),
            lost: self.shared.lost.load(Ordering::Relaxed),
            unknown: self.shared.unknown.load(Ordering::Relaxed),
            refused: self.shared.refused.load(Ordering::Relaxed),
        }
    }
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hub")
            .field("listening", &self.listening())
            .field("statistics", &self.statistics())
            .finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Vec<Subscriber>> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn listening(subscribers: &[Subscriber]) -> Listening {
    let wants = |kind| subscribers.iter().any(|subscriber| subscriber.filter.wants(kind));
    Listening {
        subscribers: subscribers.len(),
        trace: wants(Kind::Trace),
        policy_verdict: wants(Kind::PolicyVerdict),
        debug: wants(Kind::Debug),
    }
}

/// One that listens, until it is dropped.
pub struct Subscription {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
}

impl Subscription {
    /// Waits for the next event; `None` when it has been closed.
    pub fn next(&self) -> Option<Arc<Event>> {
        self.queue.pop(None)
    }

    /// As [`Self::next`], and `None` also after the deadline.
    pub fn next_before(&self, deadline: Instant) -> Option<Arc<Event>> {
        self.queue.pop(Some(deadline))
    }

    /// Something with which another thread can end the wait.
    pub(crate) fn closer(&self) -> impl Fn() + Send + Sync + 'static {
        let queue = Arc::clone(&self.queue);
        move || queue.close()
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.queue.close();
        let mut subscribers = self.shared.lock();
        subscribers.retain(|subscriber| !Arc::ptr_eq(&subscriber.queue, &self.queue));
        (self.shared.changed)(listening(&subscribers));
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription").field("queue", &self.queue).finish_non_exhaustive()
    }
}
