// SPDX-License-Identifier: Apache-2.0
//! Rules, identities, endpoints and services in; changes of policy maps out.

mod follow;
mod group;
mod prefixes;
mod side;
mod unresolved;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use identity::{Labels, NumericIdentity};
use ipnet::IpNet;

use self::group::{Group, Surroundings};
use self::prefixes::Prefixes;
use crate::enforcement::Enforcement;
use crate::map_state::{Direction, MapState, PolicyDelta};
use crate::named_port::{Destinations, NamedPorts};
use crate::repository::StoredRule;
use crate::selector_cache::SelectorCache;
use crate::selector_index::{LabelIndex, SelectorIndex};
use crate::services::Services;

pub(crate) use self::group::enforces;
pub use self::prefixes::PrefixDelta;
pub use self::side::MAX_ENTRIES;
pub use self::unresolved::{UnresolvedPort, UnresolvedService};

/// What holds for all endpoints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Options {
    /// When policy is enforced, where an endpoint has no mode of its own.
    pub enforcement: Enforcement,
    /// Whether the node may always talk to its endpoints (`--allow-localhost=always`).
    pub host_always_allowed: bool,
}

/// All that policy looks at in an endpoint.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The labels of its identity.
    pub labels: Labels,
    /// Its named ports.
    pub named_ports: NamedPorts,
    /// Its own mode, if it has one.
    pub enforcement: Option<Enforcement>,
}

#[derive(Debug)]
struct KnownRule {
    stored: Arc<StoredRule>,
    /// The groups that it selects.
    groups: BTreeSet<u64>,
}

/// Keeps the policy map of each endpoint, and recomputes what a change touches and nothing else.
///
/// Changes gather until they are taken: several events, or an event undone, are one delta.
#[derive(Debug)]
pub struct Resolver {
    options: Options,
    cache: SelectorCache,
    destinations: Destinations,
    rules: BTreeMap<u32, KnownRule>,
    /// The rules' endpoint selectors.
    subjects: SelectorIndex<u32>,
    groups: BTreeMap<u64, Group>,
    /// The groups' labels.
    group_labels: LabelIndex<u64>,
    group_of: HashMap<Endpoint, u64>,
    endpoints: BTreeMap<u16, u64>,
    /// Groups with changes that were not taken.
    changed: BTreeSet<u64>,
    prefixes: Prefixes,
    services: Services,
    next_group: u64,
}

impl Resolver {
    /// Without identities, endpoints and rules.
    pub fn new(options: Options) -> Self {
        Self {
            options,
            cache: SelectorCache::default(),
            destinations: Destinations::default(),
            rules: BTreeMap::new(),
            subjects: SelectorIndex::default(),
            groups: BTreeMap::new(),
            group_labels: LabelIndex::default(),
            group_of: HashMap::new(),
            endpoints: BTreeMap::new(),
            changed: BTreeSet::new(),
            prefixes: Prefixes::default(),
            services: Services::default(),
            next_group: 0,
        }
    }

    /// An identity that packets may carry: also the reserved ones, and those of prefixes. The same number with other
    /// labels replaces.
    pub fn identity_added(&mut self, identity: NumericIdentity, labels: &Labels) {
        let identity = identity.as_u32();
        if self.cache.labels(identity) == Some(labels) {
            return;
        }
        let mut users = self.cache.users(identity);
        self.cache.remove_identity(identity);
        self.cache.add_identity(identity, labels);
        users.extend(self.cache.users(identity));
        self.refresh_identity(identity, users);
    }

    /// An identity that no packet carries any more.
    pub fn identity_removed(&mut self, identity: NumericIdentity) {
        let identity = identity.as_u32();
        let users = self.cache.users(identity);
        self.cache.remove_identity(identity);
        self.refresh_identity(identity, users);
    }

    /// An endpoint that is new, or that has changed.
    pub fn endpoint_changed(&mut self, id: u16, endpoint: Endpoint) {
        let old = self.endpoints.get(&id).copied();
        let known = self.group_of.get(&endpoint).copied();
        if old.is_some() && old == known {
            return;
        }
        let held = old.map_or(Some(MapState::new()), |group| self.leave(id, group));
        let labels = endpoint.labels.clone();
        let named = !endpoint.named_ports.is_empty();
        self.destinations.add(&labels, &endpoint.named_ports);
        let group = self.group_of.get(&endpoint).copied().unwrap_or_else(|| self.new_group(endpoint));
        if let Some(group) = self.groups.get_mut(&group) {
            group.members.insert(id, held);
        }
        self.endpoints.insert(id, group);
        self.changed.insert(group);
        self.refresh_named(&labels, named);
    }

    /// An endpoint that is gone; there is no delta for it.
    pub fn endpoint_removed(&mut self, id: u16) {
        if let Some(group) = self.endpoints.remove(&id) {
            self.leave(id, group);
        }
    }

    /// Another mode for the endpoints that have none of their own.
    pub fn set_enforcement(&mut self, enforcement: Enforcement) {
        self.options.enforcement = enforcement;
        self.change_all();
    }

    /// Whether the node may always talk to its endpoints.
    pub fn set_host_always_allowed(&mut self, allowed: bool) {
        self.options.host_always_allowed = allowed;
        let host = BTreeSet::from([NumericIdentity::HOST.as_u32()]);
        for (id, group) in &mut self.groups {
            let mut around = around(&mut self.cache, &self.destinations, &self.services, &self.options);
            group.refresh(Direction::Ingress, &host, &mut around);
            self.changed.insert(*id);
        }
    }

    /// Takes what changed in the endpoints' maps since it was last taken, by endpoint. The first delta of an endpoint is
    /// all of its map, even if that is empty.
    pub fn take_deltas(&mut self) -> Vec<PolicyDelta> {
        let mut deltas = Vec::new();
        for id in std::mem::take(&mut self.changed) {
            if let Some(group) = self.groups.get_mut(&id) {
                group.take(&mut deltas);
            }
        }
        deltas.sort_by_key(|delta| delta.endpoint);
        deltas
    }

    /// All that the endpoint's map is to hold.
    pub fn map_state(&self, endpoint: u16) -> Option<MapState> {
        self.group(endpoint).map(Group::state)
    }

    /// Whether policy is enforced on the endpoint in this direction.
    pub fn enforcing(&self, endpoint: u16, direction: Direction) -> Option<bool> {
        self.group(endpoint).map(|group| group.enforcing()[direction as usize])
    }

    /// The prefixes that the rules name, exceptions too, but not `/0`, and the addresses of services that they name: each
    /// needs an identity.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        self.prefixes.iter()
    }

    /// Takes what changed in the prefixes since it was last taken.
    pub fn take_prefixes(&mut self) -> PrefixDelta {
        self.prefixes.take()
    }

    /// What the entries of `toServices` mean.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// The endpoints whose rules ask for more than [`MAX_ENTRIES`] entries in a direction. What did not fit is not allowed.
    pub fn overflowing(&self) -> BTreeSet<u16> {
        let full = |group: &&Group| Direction::BOTH.iter().any(|side| group.side(*side).overflowing());
        self.groups.values().filter(full).flat_map(|group| group.members.keys().copied()).collect()
    }

    /// How many identities are known, how many different selectors of peers are in use, and how many different entries of
    /// `toServices`.
    pub fn sizes(&self) -> (usize, usize, usize) {
        (self.cache.identities(), self.cache.selectors(), self.services.entries())
    }

    fn group(&self, endpoint: u16) -> Option<&Group> {
        self.groups.get(self.endpoints.get(&endpoint)?)
    }

    fn new_group(&mut self, endpoint: Endpoint) -> u64 {
        let id = self.next_group;
        self.next_group += 1;
        let mut selecting: Vec<Arc<StoredRule>> = Vec::new();
        for rule in self.subjects.candidates(&endpoint.labels) {
            let Some(known) = self.rules.get_mut(&rule) else { continue };
            if known.stored.rule().endpoint_selector().matches(&endpoint.labels) {
                known.groups.insert(id);
                selecting.push(Arc::clone(&known.stored));
            }
        }
        let mut group = Group::new(id, endpoint.clone());
        group.change(
            &[],
            &selecting,
            &mut around(&mut self.cache, &self.destinations, &self.services, &self.options),
        );
        self.group_labels.insert(id, &endpoint.labels);
        self.groups.insert(id, group);
        self.group_of.insert(endpoint, id);
        id
    }

    /// Takes an endpoint out of its group. What its map holds: all changes that were taken.
    fn leave(&mut self, endpoint: u16, id: u64) -> Option<MapState> {
        let group = self.groups.get_mut(&id)?;
        let held = group.members.remove(&endpoint)?.unwrap_or_else(|| group.taken());
        let labels = group.endpoint.labels.clone();
        let named = !group.endpoint.named_ports.is_empty();
        self.destinations.remove(&labels, &group.endpoint.named_ports);
        if group.members.is_empty() {
            group.release(&mut self.cache);
            self.group_of.remove(&group.endpoint);
            self.group_labels.remove(id);
            self.groups.remove(&id);
            self.changed.remove(&id);
            for rule in self.subjects.candidates(&labels) {
                if let Some(known) = self.rules.get_mut(&rule) {
                    known.groups.remove(&id);
                }
            }
        }
        self.refresh_named(&labels, named);
        Some(held)
    }

    fn change_all(&mut self) {
        for (id, group) in &mut self.groups {
            group.change(
                &[],
                &[],
                &mut around(&mut self.cache, &self.destinations, &self.services, &self.options),
            );
            self.changed.insert(*id);
        }
    }

    fn refresh_identity(&mut self, identity: u32, users: BTreeSet<(u64, Direction)>) {
        let cells = BTreeSet::from([identity]);
        let naming = self.groups.iter().filter(|(_, group)| group.side(Direction::Egress).has_names());
        let naming: Vec<_> = naming.map(|(id, _)| (*id, Direction::Egress)).collect();
        for (id, direction) in users.into_iter().chain(naming) {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let mut around = around(&mut self.cache, &self.destinations, &self.services, &self.options);
            group.refresh(direction, &cells, &mut around);
            self.changed.insert(id);
        }
    }

    /// The named ports of endpoints with these labels may have changed: that matters where they are the destination.
    fn refresh_named(&mut self, labels: &Labels, named: bool) {
        if !named {
            return;
        }
        let cells: BTreeSet<u32> = self.cache.numbered(labels).collect();
        for (id, group) in &mut self.groups {
            if group.side(Direction::Egress).has_names() {
                let mut around = around(&mut self.cache, &self.destinations, &self.services, &self.options);
                group.refresh(Direction::Egress, &cells, &mut around);
                self.changed.insert(*id);
            }
        }
    }
}

fn around<'a>(
    cache: &'a mut SelectorCache,
    destinations: &'a Destinations,
    services: &'a Services,
    options: &'a Options,
) -> Surroundings<'a> {
    Surroundings { cache, destinations, services, options }
}
