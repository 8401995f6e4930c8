// SPDX-License-Identifier: Apache-2.0
//! A queue that never makes its writer wait: what does not fit is counted and told at its place.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::event::{Event, Lost, LostWhere};

/// Events on their way to one subscriber.
#[derive(Debug)]
pub struct Queue {
    capacity: usize,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Arc<Event>>,
    /// What did not fit since the newest that is in the queue.
    lost: u64,
    closed: bool,
}

impl Queue {
    /// For so many events, at least one.
    pub fn new(capacity: usize) -> Self {
        Self { capacity: capacity.max(1), state: Mutex::default(), changed: Condvar::new() }
    }

    /// Whether it fitted.
    pub fn push(&self, event: Arc<Event>) -> bool {
        let mut state = self.lock();
        // A gap takes a place of its own.
        let places = if state.lost > 0 { 2 } else { 1 };
        if state.closed || state.events.len() + places > self.capacity.max(places) {
            state.lost += 1;
            return false;
        }
        if let Some(gap) = state.take_gap() {
            state.events.push_back(gap);
        }
        state.events.push_back(event);
        self.changed.notify_one();
        true
    }

    /// The next one. `None` when it is closed, or when the deadline has passed.
    pub fn pop(&self, deadline: Option<Instant>) -> Option<Arc<Event>> {
        let mut state = self.lock();
        loop {
            if state.closed {
                return None;
            }
            if let Some(event) = state.events.pop_front().or_else(|| state.take_gap()) {
                return Some(event);
            }
            state = match deadline.map(|deadline| deadline.saturating_duration_since(Instant::now())) {
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(Duration::ZERO) => return None,
                Some(left) => {
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Wakes whoever waits; nothing comes out any more.
    pub fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nobody panics while it is held; if somebody does, the queue is still a queue.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_gap(&mut self) -> Option<Arc<Event>> {
        let count = std::mem::take(&mut self.lost);
        (count > 0).then(|| Arc::new(Event::Lost(Lost { count, at: LostWhere::Queue })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AgentEvent;

    fn event(revision: u64) -> Arc<Event> {
        let labels = Vec::new();
        Arc::new(Event::Agent(AgentEvent::PolicyDeleted { labels, revision, rule_count: 0 }))
    }

    fn gap(count: u64) -> Arc<Event> {
        Arc::new(Event::Lost(Lost { count, at: LostWhere::Queue }))
    }

    fn drained(queue: &Queue) -> Vec<Arc<Event>> {
        std::iter::from_fn(|| queue.pop(Some(Instant::now()))).collect()
    }

    #[test]
    fn what_did_not_fit_is_told_at_its_place() {
        let queue = Queue::new(3);
        let fitted: Vec<bool> = (0..5).map(|n| queue.push(event(n))).collect();
        assert_eq!(fitted, [true, true, true, false, false]);
        assert_eq!(queue.pop(None), Some(event(0)));
        // One place is free, but the gap needs it.
        assert!(!queue.push(event(5)));
        assert_eq!(queue.pop(None), Some(event(1)));
        assert!(queue.push(event(6)));
        assert_eq!(drained(&queue), [event(2), gap(3), event(6)]);
        assert_eq!(drained(&queue), []);
    }

    #[test]
    fn a_gap_at_the_end_is_told_too() {
        let queue = Queue::new(1);
        assert!(queue.push(event(0)) && !queue.push(event(1)));
        assert_eq!(drained(&queue), [event(0), gap(1)]);
        assert!(queue.push(event(2)));
    }

    #[test]
    fn closing_wakes_the_reader() {
        let queue = Arc::new(Queue::new(1));
        let reader = std::thread::spawn({
            let queue = Arc::clone(&queue);
            move || queue.pop(None)
        });
        queue.close();
        assert_eq!(reader.join().unwrap(), None);
        assert!(!queue.push(event(0)));
    }
}
