// SPDX-License-Identifier: Apache-2.0
//! The loop: one event at a time, its effects carried out before the next.

use std::collections::{HashMap, HashSet, VecDeque};
use std::io;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use controlplane::{ControlPlane, Deltas, Effects, Event, Notice, Reply, Ticket, Timestamp};
use loadbalancer::{Frontend, ServiceRow};
use monitor::Hub;
use tokio::sync::oneshot;

use super::handle::{Control, Message};
use super::notices::Notices;
use crate::metrics::Counters;
use crate::node::PortWatch;
use crate::realize::{Realizer, Target};

/// How often the control plane is told that time passes.
const TICK: Duration = Duration::from_secs(5);
/// Revisions under way whose time is measured; of more the oldest is not.
const MEASURED: usize = 256;

/// What the thread is given.
pub struct Parts<T> {
    /// What it owns from now on.
    pub plane: ControlPlane,
    /// Who makes the outside as desired.
    pub realizer: Realizer<T>,
    /// Who is told what happens to endpoints.
    pub hub: Hub,
    /// Where durations are counted.
    pub counters: Counters,
}

/// Starts the thread, on the messages of a handle that was made before.
///
/// # Errors
/// When the kernel gives no thread.
pub fn start<T: Target>(control: &Control, receiver: Inbox, parts: Parts<T>) -> io::Result<JoinHandle<()>> {
    let Parts { plane, realizer, hub, counters } = parts;
    let owner = Owner {
        plane,
        realizer,
        notices: Notices::new(hub),
        counters,
        control: control.clone(),
        waiting: HashMap::new(),
        next_ticket: 0,
        under_way: VecDeque::new(),
        frontends: HashSet::new(),
        ports: PortWatch::default(),
    };
    thread::Builder::new().name("control".into()).spawn(move || owner.run(&receiver.0))
}

/// What the thread will read. Made before the thread, since the realizing thread must be able to wake it.
pub struct Inbox(Receiver<Message>);

impl Control {
    /// A handle, and what [`start`] needs.
    pub fn pair() -> (Self, Inbox) {
        let (control, receiver) = Self::new();
        (control, Inbox(receiver))
    }
}

struct Owner<T> {
    plane: ControlPlane,
    realizer: Realizer<T>,
    notices: Notices,
    counters: Counters,
    control: Control,
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    next_ticket: u64,
    /// Revisions that the realizing thread has, since when, and with how many endpoints.
    under_way: VecDeque<(u64, Instant, usize)>,
    /// Frontends of services that were handed over.
    frontends: HashSet<Frontend>,
    /// Their ports that the kernel may give to others.
    ports: PortWatch,
}

impl<T: Target> Owner<T> {
    fn run(mut self, receiver: &Receiver<Message>) {
        let mut tick_at = Instant::now() + TICK;
        loop {
            match receiver.recv_timeout(tick_at.saturating_duration_since(Instant::now())) {
                Ok(Message::Tell(event)) => self.handle(*event),
                Ok(Message::Request(make, reply)) => {
                    let ticket = Ticket(self.next_ticket);
                    self.next_ticket += 1;
                    self.waiting.insert(ticket, reply);
                    self.handle(make(ticket));
                }
                Ok(Message::Ask(question)) => question(&self.plane),
                Ok(Message::Look) => {}
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if tick_at <= Instant::now() {
                self.handle(Event::Tick);
                tick_at = Instant::now() + TICK;
            }
            if let Some(latest) = self.realizer.latest() {
                self.measure(latest.revision, latest.failures.is_empty());
                self.handle(Event::Realized { revision: latest.revision, failures: latest.failures });
            }
        }
    }

    fn handle(&mut self, event: Event) {
        let start = Instant::now();
        let Effects { deltas, replies, notices } = self.plane.handle(event, now());
        self.control.statistics().handled.fetch_add(1, Ordering::Relaxed);
        if let Some(deltas) = deltas {
            self.hand_over(deltas, start);
        }
        for (ticket, reply) in replies {
            if let Some(sender) = self.waiting.remove(&ticket) {
                // Whoever asked may have gone away meanwhile.
                let _ = sender.send(reply);
            }
        }
        let synced = notices.contains(&Notice::Synced);
        for notice in notices {
            self.notices.tell(&self.plane, notice);
        }
        if synced {
            let desired = self.plane.desired();
            let new = |(frontend, _): &(&Frontend, &ServiceRow)| !self.frontends.contains(frontend);
            let new: Vec<_> = desired.services.iter().filter(new).collect();
            self.count_services(new.into_iter(), &[]);
            self.realizer.resync(desired);
        }
    }

    fn hand_over(&mut self, deltas: Deltas, start: Instant) {
        if self.under_way.len() == MEASURED {
            self.under_way.pop_front();
        }
        let endpoints = deltas.endpoints.upserts.len().max(deltas.policy.len());
        self.under_way.push_back((deltas.revision, start, endpoints));
        self.counters.regeneration("policyCalculation", true, start.elapsed(), endpoints);
        let services = &deltas.services;
        self.count_services(
            services.upserts.iter().map(|(frontend, row)| (frontend, row)),
            &services.removals,
        );
        self.realizer.apply(deltas);
    }

    fn count_services<'a>(
        &mut self,
        changed: impl Iterator<Item = (&'a Frontend, &'a ServiceRow)>,
        gone: &[Frontend],
    ) {
        let (mut added, mut updated) = (0, 0);
        for (frontend, row) in changed {
            match self.frontends.insert(*frontend) {
                true => {
                    self.ports.see(frontend, row, self.plane.is_of_node(frontend.address));
                    added += 1;
                }
                false => updated += 1,
            }
        }
        let removed = gone.iter().filter(|frontend| self.frontends.remove(frontend)).count();
        for (action, count) in [("add", added), ("update", updated), ("delete", removed)] {
            if count > 0 {
                self.counters.services(action, count);
            }
        }
    }

    /// Counts how long the revisions that are realized now took.
    fn measure(&mut self, revision: u64, success: bool) {
        while let Some((of, start, endpoints)) = self.under_way.front().copied() {
            if of > revision {
                return;
            }
            self.under_way.pop_front();
            self.counters.regeneration("buildDuration", success, start.elapsed(), endpoints);
        }
    }
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
