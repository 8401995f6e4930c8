// SPDX-License-Identifier: Apache-2.0
//! Kubernetes services as rules see them, and which addresses each entry of `toServices` means.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use identity::{Labels, cidr};
use ipnet::IpNet;

use crate::rule::{ServiceRule, ServiceSelector};

/// How many addresses one entry of `toServices` may mean: as many as a direction of a policy map holds. Of more the first
/// in order count, whichever came first; [`Resolver::unresolved_services`](crate::Resolver::unresolved_services) tells.
pub const MAX_SERVICE_ADDRESSES: usize = 16_384;

static NONE: BTreeSet<IpAddr> = BTreeSet::new();

/// Namespace and name of a Kubernetes service.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// A service without a selector.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExternalService {
    /// Its labels, of source `k8s`.
    pub labels: Labels,
    /// The addresses of its endpoints.
    pub addresses: BTreeSet<IpAddr>,
}

/// Services without a selector, and what the entries of rules make of them.
#[derive(Debug, Default)]
pub struct Services {
    known: BTreeMap<ServiceName, ExternalService>,
    meant: HashMap<ServiceRule, Meaning>,
    /// The entries that name a service, by that name.
    by_name: HashMap<String, BTreeSet<ServiceRule>>,
    /// Those that select by labels.
    by_labels: BTreeSet<ServiceRule>,
}

/// What an entry means now.
#[derive(Debug, Default)]
struct Meaning {
    /// The rules that have it.
    rules: BTreeSet<u32>,
    /// How many of its services have each address.
    had: BTreeMap<IpAddr, usize>,
    /// Those that count.
    addresses: BTreeSet<IpAddr>,
}

/// How the addresses of an entry change.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) entry: ServiceRule,
    /// The rules that have it.
    pub(crate) rules: BTreeSet<u32>,
    pub(crate) gone: Vec<IpAddr>,
    pub(crate) new: Vec<IpAddr>,
}

impl Meaning {
    /// A service has other addresses. Which count no more, and which do now.
    fn change(&mut self, before: &BTreeSet<IpAddr>, now: &BTreeSet<IpAddr>) -> (Vec<IpAddr>, Vec<IpAddr>) {
        let fitted = self.had.len() <= MAX_SERVICE_ADDRESSES;
        for address in before.difference(now) {
            if let Some(count) = self.had.get_mut(address) {
                *count -= 1;
                if *count == 0 {
                    self.had.remove(address);
                }
            }
        }
        for address in now.difference(before) {
            *self.had.entry(*address).or_default() += 1;
        }
        let (gone, new): (Vec<IpAddr>, Vec<IpAddr>) = if fitted && self.had.len() <= MAX_SERVICE_ADDRESSES {
            let gone = before.iter().filter(|address| !self.had.contains_key(address)).copied();
            let new = now.iter().filter(|address| !self.addresses.contains(address)).copied();
            (gone.collect(), new.collect())
        } else {
            let counting: BTreeSet<IpAddr> = self.had.keys().take(MAX_SERVICE_ADDRESSES).copied().collect();
            let gone = self.addresses.difference(&counting).copied();
            (gone.collect(), counting.difference(&self.addresses).copied().collect())
        };
        for address in &gone {
            self.addresses.remove(address);
        }
        self.addresses.extend(&new);
        (gone, new)
    }
}

impl Services {
    /// The addresses that an entry of a rule means.
    pub fn addresses(&self, entry: &ServiceRule) -> impl ExactSizeIterator<Item = IpAddr> {
        self.meant.get(entry).map_or(&NONE, |meaning| &meaning.addresses).iter().copied()
    }

    /// Whether these are the labels of one of the addresses that an entry of a rule means.
    pub(crate) fn selects(&self, entry: &ServiceRule, labels: &Labels) -> bool {
        let Some(meaning) = self.meant.get(entry) else { return false };
        let prefixes = labels.iter().filter_map(cidr::prefix_of);
        let whole = prefixes.filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len());
        whole.into_iter().any(|prefix| meaning.addresses.contains(&prefix.addr()))
    }

    /// How many addresses the services of an entry have, whether they count or not.
    pub(crate) fn count(&self, entry: &ServiceRule) -> usize {
        self.meant.get(entry).map_or(0, |meaning| meaning.had.len())
    }

    /// How many different entries rules have.
    pub(crate) fn entries(&self) -> usize {
        self.meant.len()
    }

    /// A rule has this entry now. The addresses that are meant for the first time.
    pub(crate) fn learn(&mut self, rule: u32, entry: &ServiceRule) -> Vec<IpAddr> {
        if let Some(meaning) = self.meant.get_mut(entry) {
            meaning.rules.insert(rule);
            return Vec::new();
        }
        let mut meaning = Meaning { rules: BTreeSet::from([rule]), ..Meaning::default() };
        let selected =
            |(name, service): &(&ServiceName, &ExternalService)| entry.selects(name, &service.labels);
        for (_, service) in self.known.iter().filter(selected) {
            meaning.change(&NONE, &service.addresses);
        }
        let new = meaning.addresses.iter().copied().collect();
        self.meant.insert(entry.clone(), meaning);
        match &entry.services {
            ServiceSelector::Named(name) => {
                self.by_name.entry(name.clone()).or_default().insert(entry.clone())
            }
            ServiceSelector::Labelled(_) => self.by_labels.insert(entry.clone()),
        };
        new
    }

    /// A rule has this entry no more. The addresses that nobody means by it now.
    pub(crate) fn forget(&mut self, rule: u32, entry: &ServiceRule) -> BTreeSet<IpAddr> {
        let Some(meaning) = self.meant.get_mut(entry) else { return BTreeSet::new() };
        meaning.rules.remove(&rule);
        if !meaning.rules.is_empty() {
            return BTreeSet::new();
        }
        let gone = self.meant.remove(entry).map(|meaning| meaning.addresses).unwrap_or_default();
        self.by_labels.remove(entry);
        if let ServiceSelector::Named(name) = &entry.services
            && let Some(entries) = self.by_name.get_mut(name)
        {
            entries.remove(entry);
            if entries.is_empty() {
                self.by_name.remove(name);
            }
        }
        gone
    }

    /// A service is so now, or is gone, or has a selector. How that changes entries of rules.
    pub(crate) fn set(&mut self, name: &ServiceName, service: Option<ExternalService>) -> Vec<Change> {
        if self.known.get(name) == service.as_ref() {
            return Vec::new();
        }
        let before = match service {
            Some(service) => self.known.insert(name.clone(), service),
            None => self.known.remove(name),
        };
        let now = self.known.get(name);
        let named = self.by_name.get(&name.name).into_iter().flatten();
        let mut changes = Vec::new();
        for entry in named.chain(&self.by_labels) {
            let selected = |service: &&ExternalService| entry.selects(name, &service.labels);
            let was = before.as_ref().filter(selected).map_or(&NONE, |service| &service.addresses);
            let is = now.filter(selected).map_or(&NONE, |service| &service.addresses);
            let Some(meaning) = self.meant.get_mut(entry) else { continue };
            let (gone, new) = meaning.change(was, is);
            if !(gone.is_empty() && new.is_empty()) {
                changes.push(Change { entry: entry.clone(), rules: meaning.rules.clone(), gone, new });
            }
        }
        changes
    }
}

/// The prefix that holds this address alone.
pub(crate) fn whole(addresses: impl IntoIterator<Item = IpAddr>) -> impl Iterator<Item = IpNet> {
    addresses.into_iter().map(IpNet::from)
}
