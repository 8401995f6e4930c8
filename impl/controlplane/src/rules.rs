// SPDX-License-Identifier: Apache-2.0
//! Rules by who owns them, and what they make of policy maps.

use std::collections::{BTreeMap, BTreeSet};

use identity::{LabelArray, Labels, NumericIdentity};
use policy::{
    Direction, Enforcement, EnforcementMode, ExternalService, MAX_SERVICE_ADDRESSES, MapState, NamedPorts,
    PolicyDelta, PortName, PrefixDelta, Repository, Resolver, Rule, ServiceName, UnresolvedService,
};

use crate::config::Config;
use crate::event::NamedPort;
use crate::reply::Refusal;

/// The owner of rules that came through the API; others are files.
pub(crate) const API: &str = "";

/// The rules of all owners, and the policy maps that follow from them.
#[derive(Debug)]
pub(crate) struct Rules {
    repository: Repository,
    resolver: Resolver,
}

impl Rules {
    pub(crate) fn new(config: &Config) -> Self {
        let options = policy::Options {
            enforcement: Enforcement::both(config.enforcement),
            host_always_allowed: config.allow_localhost,
        };
        Self { repository: Repository::new(&*config.cluster_name), resolver: Resolver::new(options) }
    }

    pub(crate) fn identity_added(&mut self, identity: NumericIdentity, labels: &Labels) {
        self.resolver.identity_added(identity, labels);
    }

    pub(crate) fn identity_removed(&mut self, identity: NumericIdentity) {
        self.resolver.identity_removed(identity);
    }

    /// An endpoint that is new, or that has changed.
    pub(crate) fn endpoint_set(&mut self, id: u16, labels: &Labels, ports: &[NamedPort]) {
        let endpoint =
            policy::Endpoint { labels: labels.clone(), named_ports: named_ports(ports), enforcement: None };
        self.resolver.endpoint_changed(id, endpoint);
    }

    pub(crate) fn endpoint_removed(&mut self, id: u16) {
        self.resolver.endpoint_removed(id);
    }

    /// A service without a selector is so now; none: it is gone, or has one.
    pub(crate) fn service_changed(&mut self, name: &ServiceName, service: Option<ExternalService>) {
        self.resolver.service_changed(name, service);
    }

    /// What the rules say of a packet, and why.
    pub(crate) fn trace(&self, context: &policy::trace::Context) -> policy::trace::Trace {
        self.repository.trace(self.resolver.services(), context)
    }

    pub(crate) fn set_enforcement(&mut self, mode: EnforcementMode) {
        self.resolver.set_enforcement(Enforcement::both(mode));
    }

    /// The file holds these rules now.
    pub(crate) fn replace_of_file(&mut self, file: &str, rules: Vec<Rule>) {
        self.repository.replace_owned(file, |_| true, rules);
        self.resolver.rules_changed(&self.repository);
    }

    /// Adds rules of the API; with `replace`, those of the API that have all labels of a new rule go.
    pub(crate) fn add_of_api(&mut self, rules: Vec<Rule>, replace: bool) -> u64 {
        let labels: Vec<LabelArray> =
            rules.iter().filter(|rule| !rule.labels().is_empty()).map(|rule| rule.labels().clone()).collect();
        let goes = |old: &Rule| replace && labels.iter().any(|labels| old.labels().contains(labels));
        let (revision, _) = self.repository.replace_owned(API, goes, rules);
        self.resolver.rules_changed(&self.repository);
        revision
    }

    /// Deletes rules of the API that have all these labels; without labels, all of the API.
    pub(crate) fn delete_of_api(&mut self, labels: &LabelArray) -> Result<(u64, usize), Refusal> {
        let (revision, deleted) =
            self.repository.replace_owned(API, |rule| rule.labels().contains(labels), Vec::new());
        if deleted == 0 && !labels.is_empty() {
            let of_file = self.repository.matching(labels).next().map(|stored| stored.owner().to_owned());
            let labels = labels.to_string();
            return Err(match of_file {
                Some(file) => Refusal::RuleOfFile { labels, file },
                None => Refusal::NoRule(labels),
            });
        }
        self.resolver.rules_changed(&self.repository);
        Ok((revision, deleted))
    }

    /// Changes of policy maps since they were last taken.
    pub(crate) fn take_deltas(&mut self) -> Vec<PolicyDelta> {
        self.resolver.take_deltas()
    }

    /// Changes in the prefixes that need an identity since they were last taken.
    pub(crate) fn take_prefixes(&mut self) -> PrefixDelta {
        self.resolver.take_prefixes()
    }

    pub(crate) fn map_state(&self, id: u16) -> Option<MapState> {
        self.resolver.map_state(id)
    }

    /// Whether policy is enforced on the endpoint.
    pub(crate) fn enforcing(&self, id: u16, direction: Direction) -> bool {
        self.resolver.enforcing(id, direction).unwrap_or(false)
    }

    pub(crate) fn revision(&self) -> u64 {
        self.repository.revision()
    }

    /// Rules that came through the API.
    pub(crate) fn of_api(&self) -> Vec<Rule> {
        let stored = self.repository.rules().filter(|stored| stored.owner() == API);
        stored.map(|stored| stored.rule().clone()).collect()
    }

    pub(crate) fn repository(&self) -> &Repository {
        &self.repository
    }

    /// Named ports of rules in force that no destination has, readable.
    pub(crate) fn unresolved_ports(&self) -> Vec<String> {
        let ports = self.resolver.unresolved_ports().into_iter();
        let text = |port: policy::UnresolvedPort| {
            format!(
                "rule {}: {} port {:?} of {}",
                port.rule, port.direction, port.name.name, port.name.protocol
            )
        };
        ports.map(text).collect()
    }

    /// Entries of `toServices` of rules in force that mean no address, or more than they may, readable.
    pub(crate) fn unresolved_services(&self) -> Vec<String> {
        let services = self.resolver.unresolved_services().into_iter();
        let text = |UnresolvedService { rule, entry, addresses }| match addresses {
            0 => format!("rule {rule}: {entry} has no address; only services without a selector count"),
            found => {
                format!("rule {rule}: {entry} has {found} addresses; the first {MAX_SERVICE_ADDRESSES} count")
            }
        };
        services.map(text).collect()
    }

    /// Endpoints whose policy maps cannot hold all that their rules ask for.
    pub(crate) fn overflowing(&self) -> BTreeSet<u16> {
        self.resolver.overflowing()
    }

    /// How many rules each owner has.
    pub(crate) fn counts(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for stored in self.repository.rules() {
            *counts.entry(stored.owner().to_owned()).or_default() += 1;
        }
        counts
    }
}

fn named_ports(ports: &[NamedPort]) -> NamedPorts {
    let named = |port: &NamedPort| (PortName { name: port.name.clone(), protocol: port.protocol }, port.port);
    ports.iter().map(named).collect()
}
