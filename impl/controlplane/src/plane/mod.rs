// SPDX-License-Identifier: Apache-2.0
//! The one owner of what is desired.

mod addresses;
mod endpoints;
#[cfg(test)]
mod exhaustion;
mod identify;
mod policies;
mod query;
mod realize;
mod services;
mod settle;
mod start;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::IpAddr;

use identity::{IdentityRange, NumericIdentity};
use ipnet::IpNet;
use loadbalancer::{Frontend, LoadBalancer};

use crate::config::{Config, ConfigError};
use crate::deltas::{EndpointRow, EndpointState, NodeState};
use crate::endpoint::Registry;
use crate::event::{Event, Failure, Row, SourceName, Ticket, Timestamp};
use crate::external::Slices;
use crate::files::{Files, PodKey};
use crate::identities::Identities;
use crate::ipam::Ipam;
use crate::ipcache::{Ipcache, Layer};
use crate::reply::{Effects, Notice, Refusal, Reply};
use crate::rules::Rules;
use crate::table::Table;
use realize::Waiter;

/// How many requests may wait for the sources when the agent starts, and later for the targets; more are refused as busy.
const MOST_WAITING: usize = 4096;
/// Of how many revisions that are not realized it is known which rules they have. Of more, the rules count as realized
/// with a later one.
const MOST_REVISIONS: usize = 1024;

/// The one owner of what is desired: endpoints, addresses, identities, ipcache, policy, services.
#[derive(Debug)]
pub struct ControlPlane {
    config: Config,
    /// Sources that did not tell all yet. While there are any, nothing is told to the targets.
    unsynced: BTreeSet<SourceName>,
    started: bool,
    /// The node's file of an earlier run, until it is used.
    restored_node: NodeState,
    /// The rules of files, until all sources are known.
    collected_rules: BTreeMap<String, Vec<policy::Rule>>,
    queued: VecDeque<(Event, Timestamp)>,
    endpoints: Registry,
    ipam: Ipam,
    identities: Identities,
    ipcache: Ipcache,
    files: Files,
    rules: Rules,
    /// The identities of prefixes that rules name.
    cidrs: BTreeMap<IpNet, NumericIdentity>,
    /// Addresses of the node and of the router.
    node: BTreeSet<IpAddr>,
    /// Which slices each service of files has.
    slices: Slices,
    /// Services, with their rows.
    balancer: LoadBalancer,
    /// Ids of frontends that were given back, and with which revision; none: the next. Others may have them when the targets
    /// know them no more.
    freed_ids: Vec<(Frontend, u16, Option<u64>)>,
    /// Pods whose `hostPort`s, or whose endpoint's addresses, may have changed.
    changed_pods: BTreeSet<PodKey>,
    /// Prefixes and endpoints that have no number for their labels, and why.
    prefixes_without: BTreeMap<IpNet, String>,
    endpoints_without: BTreeMap<u16, String>,
    /// Whether a number came free since they were last tried.
    freed: bool,
    endpoint_rows: Table<u16, EndpointRow>,
    state_rows: Table<u16, EndpointState>,
    /// The node's file, with the key that it does not need.
    node_row: Table<(), NodeState>,
    /// Whether the node's file may have changed.
    node_changed: bool,
    /// Endpoints of which something may have changed since the last revision.
    dirty: BTreeSet<u16>,
    /// Endpoints of which all is told again with the next revision.
    again: BTreeSet<u16>,
    revision: u64,
    realized: u64,
    realized_policy: u64,
    /// Revisions that are not realized, with that of the rules that each has.
    policy_of: VecDeque<(u64, u64)>,
    failures: BTreeMap<Row, String>,
    waiters: Vec<Waiter>,
    /// Endpoints that go, and with which revision; none: the next.
    going: BTreeMap<u16, Option<u64>>,
    /// Endpoints that are not at rest: told and not realized.
    unsettled: BTreeSet<u16>,
    restore_failures: BTreeMap<u16, String>,
    source_failures: BTreeMap<String, String>,
    replies: Vec<(Ticket, Reply)>,
    notices: Vec<Notice>,
}

impl ControlPlane {
    /// A control plane that knows nothing yet.
    ///
    /// # Errors
    /// Where the ranges of pods cannot be.
    pub fn new(config: Config) -> Result<Self, ConfigError> {
        let mut plane = Self {
            unsynced: config.sources.clone(),
            started: false,
            restored_node: NodeState::default(),
            collected_rules: BTreeMap::new(),
            queued: VecDeque::new(),
            endpoints: Registry::default(),
            ipam: Ipam::new(&config)?,
            identities: Identities::new(
                config.fixed_identities.clone(),
                IdentityRange::cluster(config.cluster_id),
                IdentityRange::LOCAL,
            ),
            ipcache: Ipcache::default(),
            files: Files::default(),
            rules: Rules::new(&config),
            cidrs: BTreeMap::new(),
            node: BTreeSet::new(),
            slices: Slices::default(),
            balancer: services::balancer(&config),
            freed_ids: Vec::new(),
            changed_pods: BTreeSet::new(),
            prefixes_without: BTreeMap::new(),
            endpoints_without: BTreeMap::new(),
            freed: false,
            endpoint_rows: Table::default(),
            state_rows: Table::default(),
            node_row: Table::default(),
            node_changed: false,
            dirty: BTreeSet::new(),
            again: BTreeSet::new(),
            revision: 0,
            realized: 0,
            realized_policy: 0,
            policy_of: VecDeque::new(),
            failures: BTreeMap::new(),
            waiters: Vec::new(),
            going: BTreeMap::new(),
            unsettled: BTreeSet::new(),
            restore_failures: BTreeMap::new(),
            source_failures: BTreeMap::new(),
            replies: Vec::new(),
            notices: Vec::new(),
            config,
        };
        for (identity, labels) in plane.identities.permanent() {
            plane.rules.identity_added(identity, labels);
        }
        plane.set_world();
        plane.set_node_addresses(&[]);
        Ok(plane)
    }

    /// Takes one event into account. Never fails: what is wrong with a request is its reply, what is wrong with a source a
    /// notice.
    pub fn handle(&mut self, event: Event, now: Timestamp) -> Effects {
        if self.started {
            match event.ticket() {
                Some(ticket) if self.waiters.len() >= MOST_WAITING => {
                    self.replies.push((ticket, Err(Refusal::Busy(MOST_WAITING))));
                }
                _ => self.dispatch(event, now),
            }
        } else {
            self.collect(event, now);
        }
        let deltas = if self.started { self.settle(now) } else { None };
        Effects {
            deltas,
            replies: std::mem::take(&mut self.replies),
            notices: std::mem::take(&mut self.notices),
        }
    }

    /// Whether every source told all that it knows.
    pub fn is_started(&self) -> bool {
        self.started
    }

    fn dispatch(&mut self, event: Event, now: Timestamp) {
        match event {
            Event::EndpointCreate { ticket, request } => {
                let done = self.create(request, ticket, now);
                self.refuse(ticket, done);
            }
            Event::EndpointPatch { ticket, endpoint, patch } => {
                let done = self.patch(&endpoint, patch, now);
                self.answer_endpoint(ticket, done);
            }
            Event::EndpointDelete { ticket, endpoint } => {
                let done = self.delete(&endpoint, ticket, now);
                self.refuse(ticket, done);
            }
            Event::EndpointLabels { ticket, endpoint, change } => {
                let done = self.change_labels(&endpoint, &change, now);
                self.answer_endpoint(ticket, done);
            }
            Event::EndpointConfig { ticket, endpoint, options } => {
                let done = self.change_options(&endpoint, &options, now);
                self.answer_endpoint(ticket, done);
            }
            Event::EndpointRegenerate { ticket, endpoint } => {
                let done = self.regenerate(&endpoint, now);
                self.answer_endpoint(ticket, done);
            }
            Event::Ipam { ticket, request } => {
                let reply = self.ipam_request(request, now);
                self.replies.push((ticket, reply));
            }
            Event::PolicyAdd { ticket, rules, replace } => self.policy_add(ticket, rules, replace),
            Event::PolicyDelete { ticket, labels } => self.policy_delete(ticket, &labels),
            Event::Config { ticket, patch } => self.patch_config(ticket, &patch),
            Event::ServicePut { ticket, service } => self.put_service(ticket, service),
            Event::ServiceDelete { ticket, id } => self.delete_service(ticket, id),
            Event::RestoredServices(_) => self.notices.push(Notice::ServicesRestoredLate),
            Event::Source { file, objects } => self.source(&file, objects, now),
            Event::SourceFailed { file, reason } => {
                self.source_failures.insert(file, reason);
            }
            // All are synced already.
            Event::SourceSynced(_) => {}
            Event::NodeAddresses(addresses) => self.set_node_addresses(&addresses),
            Event::Restored(state) => self.restore_late(state, now),
            Event::RestoredNode(_) => {
                self.restore_failed(0, "it came after all sources were known".to_owned());
            }
            Event::RestoreFailed { id, reason } => self.restore_failed(id, reason),
            Event::Tick => self.ipam.expire(now),
            Event::Realized { revision, failures } => self.realized(revision, failures, now),
        }
    }

    /// Answers a ticket whose request was refused; one that was not is answered when it is realized.
    fn refuse(&mut self, ticket: Ticket, done: Result<(), Refusal>) {
        if let Err(refusal) = done {
            self.replies.push((ticket, Err(refusal)));
        }
    }

    fn set_world(&mut self) {
        let v4 = self.config.ipv4.map(|_| IpNet::V4(ipnet::Ipv4Net::default()));
        let v6 = self.config.ipv6.map(|_| IpNet::V6(ipnet::Ipv6Net::default()));
        for everything in v4.into_iter().chain(v6) {
            self.ipcache.set(Layer::Default, everything, Some(NumericIdentity::WORLD));
        }
    }

    /// What is wrong with any row of this endpoint.
    fn failures_of(&self, id: u16) -> Vec<Failure> {
        let own = [Row::Endpoint(id), Row::Policy(id), Row::State(id)].into_iter();
        let addresses = self.endpoints.get(id).into_iter().flat_map(|endpoint| endpoint.addresses());
        own.chain(addresses.map(|address| Row::Ipcache(address.into())))
            .filter_map(|row| self.failures.get(&row).map(|reason| Failure { row, reason: reason.clone() }))
            .collect()
    }
}
