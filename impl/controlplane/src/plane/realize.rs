// SPDX-License-Identifier: Apache-2.0
//! What the targets have, who waits for it, and what that makes of endpoints.

use std::collections::BTreeSet;
use std::net::IpAddr;

use loadbalancer::Frontend;

use super::ControlPlane;
use crate::endpoint::{EndpointRef, State};
use crate::event::{Failure, Row, Ticket, Timestamp};
use crate::reply::{Answer, Notice, Refusal, Reply};

/// Somebody who is answered when something is realized.
#[derive(Debug, Clone)]
pub(super) struct Waiter {
    ticket: Ticket,
    about: About,
    /// The revision that must be realized; none: the next.
    revision: Option<u64>,
}

/// What a waiter waits for.
#[derive(Debug, Clone)]
pub(super) enum About {
    /// A new endpoint. If it cannot be realized, it goes.
    Created(u16),
    /// A change of an endpoint.
    Changed(u16),
    /// The end of an endpoint.
    Deleted(u16),
    /// A change of the rules, and how it is answered.
    Policy(Answer),
    /// A change of the node's options.
    Config,
    /// A service of the API, and how it is answered.
    Service(Frontend, Answer),
}

impl ControlPlane {
    /// Answers when what is desired after this event is realized.
    pub(super) fn wait(&mut self, ticket: Ticket, about: About) {
        self.waiters.push(Waiter { ticket, about, revision: None });
    }

    pub(super) fn answer_endpoint(&mut self, ticket: Ticket, done: Result<u16, Refusal>) {
        match done {
            Ok(id) => self.wait(ticket, About::Changed(id)),
            Err(refusal) => self.replies.push((ticket, Err(refusal))),
        }
    }

    /// The targets have this revision, except for these rows.
    pub(super) fn realized(&mut self, revision: u64, failures: Vec<Failure>, now: Timestamp) {
        self.realized = self.realized.max(revision.min(self.revision));
        while let Some((_, policy)) = self.policy_of.front().copied().filter(|(of, _)| *of <= self.realized) {
            self.realized_policy = policy;
            self.policy_of.pop_front();
        }
        let before = std::mem::take(&mut self.failures);
        self.failures = failures.into_iter().map(|failure| (failure.row, failure.reason)).collect();
        self.release_freed();
        let named: BTreeSet<u16> =
            before.keys().chain(self.failures.keys()).filter_map(|row| self.endpoint_of(row)).collect();
        let concerned: Vec<u16> = named.union(&self.unsettled).copied().collect();
        for id in concerned {
            self.review(id, now);
        }
    }

    /// The endpoint that a row is of.
    fn endpoint_of(&self, row: &Row) -> Option<u16> {
        let Row::Ipcache(prefix) = row else { return row.endpoint() };
        if prefix.prefix_len() != prefix.max_prefix_len() {
            return None;
        }
        let reference = match prefix.addr() {
            IpAddr::V4(address) => EndpointRef::Ipv4(address),
            IpAddr::V6(address) => EndpointRef::Ipv6(address),
        };
        self.endpoints.find(&reference).map(|endpoint| endpoint.id)
    }

    /// Finds the state that an endpoint is in now.
    pub(super) fn review(&mut self, id: u16, now: Timestamp) {
        let failures = self.failures_of(id);
        let (realized, realized_policy) = (self.realized, self.realized_policy);
        let without = self.endpoints_without.get(&id).cloned();
        let Some(endpoint) = self.endpoints.find_mut(id) else {
            self.unsettled.remove(&id);
            return;
        };
        endpoint.failures = failures;
        if endpoint.state == State::Disconnecting {
            return;
        }
        let first = endpoint.failures.first().map(|failure| format!("{}: {}", failure.row, failure.reason));
        let (state, reason) = match first {
            Some(reason) => (State::NotReady, reason),
            None if endpoint.told > realized + 1 => {
                (State::WaitingToRegenerate, "an earlier change is being realized".to_owned())
            }
            None if endpoint.told > realized => (State::Regenerating, format!("revision {}", endpoint.told)),
            None => match without {
                Some(reason) => (State::WaitingForIdentity, reason),
                None => (State::Ready, String::new()),
            },
        };
        let entered = endpoint.enter(state, now, reason.clone());
        let told = match state {
            State::Ready => std::mem::take(&mut endpoint.announce),
            State::NotReady => {
                endpoint.announce = true;
                entered
            }
            _ => false,
        };
        if state == State::Ready {
            endpoint.realized_policy = realized_policy;
            self.unsettled.remove(&id);
        } else {
            self.unsettled.insert(id);
        }
        if told {
            self.notices.push(Notice::EndpointState { id, state: Some(state), reason });
        }
    }

    /// Endpoints whose end is realized are gone.
    pub(super) fn finish_deletions(&mut self) {
        let done: Vec<u16> = self
            .going
            .iter()
            .filter(|(id, revision)| {
                revision.is_some_and(|revision| revision <= self.realized)
                    && self.failures_of(**id).is_empty()
            })
            .map(|(id, _)| *id)
            .collect();
        for id in done {
            self.going.remove(&id);
            if let Some(endpoint) = self.endpoints.remove(id) {
                for address in endpoint.addresses() {
                    self.ipam.unclaim(address, id);
                }
                self.notices.push(Notice::EndpointState { id, state: None, reason: String::new() });
            }
        }
    }

    /// Those who wait for the next revision wait for this one.
    pub(super) fn number_waiters(&mut self) {
        let revision = self.revision;
        for waiter in &mut self.waiters {
            waiter.revision.get_or_insert(revision);
        }
        for going in self.going.values_mut() {
            going.get_or_insert(revision);
        }
        self.number_freed(revision);
    }

    /// Answers those whose revision is realized. New endpoints that could not be realized begin to go.
    pub(super) fn answer_waiters(&mut self, now: Timestamp) {
        let due = |waiter: &Waiter| waiter.revision.is_some_and(|revision| revision <= self.realized);
        let (due, waiting) = std::mem::take(&mut self.waiters).into_iter().partition(due);
        self.waiters = waiting;
        for waiter in due {
            let reply = self.reply(&waiter.about, now);
            self.replies.push((waiter.ticket, reply));
        }
    }

    fn reply(&mut self, about: &About, now: Timestamp) -> Reply {
        let failures = match about {
            About::Created(id) | About::Changed(id) | About::Deleted(id) => self.failures_of(*id),
            About::Policy(_) => self
                .failures_where(|row| !matches!(row, Row::Endpoint(_) | Row::State(_) | Row::HealthCheck(_))),
            About::Config => self.failures_where(|row| matches!(row, Row::Endpoint(_) | Row::Policy(_))),
            About::Service(frontend, _) => self.failures_of_service(frontend),
        };
        if let About::Created(id) | About::Changed(id) = about
            && self.endpoints.get(*id).is_none_or(|endpoint| endpoint.state == State::Disconnecting)
        {
            return Err(Refusal::Deleted(*id));
        }
        if !failures.is_empty() {
            if let About::Created(id) = about {
                self.begin_deletion(*id, "it could not be realized", now);
            }
            return Err(Refusal::NotRealized(failures));
        }
        Ok(match about {
            About::Created(id) => Answer::EndpointCreated { id: *id },
            About::Policy(answer) | About::Service(_, answer) => answer.clone(),
            About::Changed(_) | About::Deleted(_) | About::Config => Answer::Done,
        })
    }

    pub(super) fn failures_where(&self, concerns: impl Fn(&Row) -> bool) -> Vec<Failure> {
        let rows = self.failures.iter().filter(|(row, _)| concerns(row));
        rows.map(|(row, reason)| Failure { row: *row, reason: reason.clone() }).collect()
    }
}
