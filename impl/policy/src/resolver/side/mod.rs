// SPDX-License-Identifier: Apache-2.0
//! One direction of the policy of endpoints that share it.
//!
//! Entries fall into cells, one per peer identity and one (0) for anybody. A cell follows from the grants whose selectors
//! select its identity, so that a change of an identity or of a rule computes only the cells that it touches.

mod address;
mod cell;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity::{EndpointSelector, NumericIdentity};

use crate::grant::{Grant, Peers, of_address};
use crate::map_state::{Direction, MapState, PolicyEntry, PolicyKey};
use crate::named_port::{Destinations, NamedPorts, PortName};
use crate::repository::StoredRule;
use crate::selector_cache::{SelectorCache, SelectorId, User};
use crate::services::Services;

/// The identity of a cell for anybody.
const ANYBODY: u32 = 0;

/// How many entries a direction may have: as many as a policy map holds. What is beyond is not allowed, and is told by
/// [`Resolver::overflowing`](super::Resolver::overflowing); it comes in when there is room again.
pub const MAX_ENTRIES: usize = 16_384;

/// A grant of a rule: the rule's number and the grant's place in the section.
pub(super) type GrantId = (u32, usize);

/// What a side needs to know of the rest of the world.
pub(super) struct World<'a> {
    pub(super) cache: &'a mut SelectorCache,
    pub(super) destinations: &'a Destinations,
    pub(super) host_always_allowed: bool,
    /// Named ports of the endpoints whose side it is.
    pub(super) named_ports: &'a NamedPorts,
}

#[derive(Debug)]
pub(super) struct Side {
    user: User,
    enforcing: bool,
    /// The entry that allows everything, if everything is allowed.
    open: Option<PolicyEntry>,
    /// The rules that have this section and select the endpoints.
    rules: BTreeMap<u32, Arc<StoredRule>>,
    /// The selectors of each of them.
    attached: BTreeMap<u32, BTreeSet<SelectorId>>,
    /// Which grants speak of whom a selector selects.
    uses: BTreeMap<SelectorId, BTreeSet<GrantId>>,
    /// Which grants speak of anybody.
    anybody: BTreeSet<GrantId>,
    /// Which grants name ports.
    naming: BTreeSet<GrantId>,
    state: MapState,
    /// Whether something did not fit.
    overflowing: bool,
    /// What the keys that changed were when changes were last taken.
    before: BTreeMap<PolicyKey, Option<PolicyEntry>>,
}

impl Side {
    pub(super) fn new(group: u64, direction: Direction) -> Self {
        Self {
            user: (group, direction),
            enforcing: false,
            open: None,
            rules: BTreeMap::new(),
            attached: BTreeMap::new(),
            uses: BTreeMap::new(),
            anybody: BTreeSet::new(),
            naming: BTreeSet::new(),
            state: MapState::new(),
            overflowing: false,
            before: BTreeMap::new(),
        }
    }

    fn direction(&self) -> Direction {
        self.user.1
    }

    pub(super) fn has_rules(&self) -> bool {
        !self.rules.is_empty()
    }

    pub(super) fn enforcing(&self) -> bool {
        self.enforcing
    }

    pub(super) fn overflowing(&self) -> bool {
        self.overflowing
    }

    pub(super) fn state(&self) -> &MapState {
        &self.state
    }

    /// Takes rules away and adds others. The cells that may have changed are for [`Side::settle`].
    pub(super) fn change(
        &mut self,
        removed: &[u32],
        added: &[Arc<StoredRule>],
        cache: &mut SelectorCache,
        services: &Services,
    ) -> BTreeSet<u32> {
        let direction = self.direction();
        let requires = |rule: &Arc<StoredRule>| {
            rule.section(direction).is_some_and(|section| !section.requires.is_empty())
        };
        let gone = removed.iter().filter_map(|id| self.rules.get(id));
        let narrowed = gone.chain(added).any(requires);
        // What is required of peers is part of their selectors: each of them is another one then.
        let detached = if narrowed { self.rules.keys().copied().collect() } else { removed.to_vec() };
        let mut touched = BTreeSet::new();
        for id in &detached {
            self.detach(*id, cache, &mut touched);
        }
        removed.iter().for_each(|id| {
            self.rules.remove(id);
        });
        for rule in added.iter().filter(|rule| rule.section(direction).is_some()) {
            self.rules.insert(rule.id(), Arc::clone(rule));
        }
        let attached: Vec<u32> = if narrowed {
            self.rules.keys().copied().collect()
        } else {
            added.iter().map(|r| r.id()).collect()
        };
        let required = self.required();
        for id in attached {
            self.attach(id, &required, (cache, services), &mut touched);
        }
        touched
    }

    /// What every selecting peer must be as well, by all rules together.
    fn required(&self) -> Vec<EndpointSelector> {
        let direction = self.direction();
        let sections = self.rules.values().filter_map(|rule| rule.section(direction));
        sections.flat_map(|section| section.requires.iter().cloned()).collect()
    }

    fn attach(
        &mut self,
        id: u32,
        required: &[EndpointSelector],
        (cache, services): (&mut SelectorCache, &Services),
        touched: &mut BTreeSet<u32>,
    ) {
        let Some(rule) = self.rules.get(&id).cloned() else { return };
        let required: Vec<&EndpointSelector> = required.iter().collect();
        let mut selectors = BTreeSet::new();
        for (at, grant) in
            rule.section(self.direction()).into_iter().flat_map(|s| s.grants.iter().enumerate())
        {
            if !grant.ports.named.is_empty() {
                self.naming.insert((id, at));
            }
            let selected: Option<Vec<EndpointSelector>> = match &grant.peers {
                Peers::Any => None,
                Peers::Selected(peers) => peers.iter().map(|peer| peer.under(&required)).collect(),
                Peers::Service(entry) => Some(services.addresses(entry).map(of_address).collect()),
            };
            let Some(selected) = selected else {
                self.anybody.insert((id, at));
                touched.insert(ANYBODY);
                continue;
            };
            for selector in selected {
                let selector = cache.acquire(selector, self.user);
                touched.extend(cache.selected(selector));
                self.uses.entry(selector).or_default().insert((id, at));
                selectors.insert(selector);
            }
        }
        self.attached.insert(id, selectors);
    }

    fn detach(&mut self, id: u32, cache: &mut SelectorCache, touched: &mut BTreeSet<u32>) {
        for selector in self.attached.remove(&id).unwrap_or_default() {
            touched.extend(cache.selected(selector));
            let Some(grants) = self.uses.get_mut(&selector) else { continue };
            grants.retain(|(rule, _)| *rule != id);
            if grants.is_empty() {
                self.uses.remove(&selector);
                cache.release(selector, self.user);
            }
        }
        self.naming.retain(|(rule, _)| *rule != id);
        let anybody = self.anybody.len();
        self.anybody.retain(|(rule, _)| *rule != id);
        if self.anybody.len() != anybody {
            touched.insert(ANYBODY);
        }
    }

    /// Gives every selector back.
    pub(super) fn release(&mut self, cache: &mut SelectorCache) {
        for selector in self.uses.keys() {
            cache.release(*selector, self.user);
        }
    }

    /// Computes the entries again after a change of rules, or of the mode.
    pub(super) fn settle(&mut self, enforcing: bool, touched: BTreeSet<u32>, world: &World<'_>) {
        let was_open = self.open.is_some() || self.state.is_empty() && !self.enforcing;
        self.enforcing = enforcing;
        self.open = if enforcing { self.allows_all() } else { Some(PolicyEntry::default()) };
        if let Some(entry) = self.open {
            let all = PolicyKey::any(self.direction());
            let closed: Vec<PolicyKey> = self.state.keys().copied().filter(|key| *key != all).collect();
            closed.into_iter().for_each(|key| self.set(key, None));
            self.set(all, Some(entry));
            self.overflowing = false;
            return;
        }
        let touched = if was_open { self.all_cells(world) } else { self.with_names(touched, world) };
        self.refresh(&touched, world);
    }

    /// The entry that allows everything, if a rule does.
    fn allows_all(&self) -> Option<PolicyEntry> {
        let all = self.anybody.iter().find(|id| self.grant(**id).is_some_and(|grant| grant.ports.is_any()));
        all.map(|(rule, _)| PolicyEntry { proxy_port: 0, rule: *rule })
    }

    fn all_cells(&self, world: &World<'_>) -> BTreeSet<u32> {
        let mut cells = BTreeSet::from([ANYBODY, NumericIdentity::HOST.as_u32()]);
        cells.extend(self.uses.keys().flat_map(|selector| world.cache.selected(*selector)));
        cells.extend(self.state.keys().map(|key| key.identity));
        self.with_names(cells, world)
    }

    /// A grant to anybody on a named port is in the cell of each destination that has the name.
    fn with_names(&self, mut cells: BTreeSet<u32>, world: &World<'_>) -> BTreeSet<u32> {
        if self.direction() == Direction::Egress && cells.contains(&ANYBODY) {
            cells.extend(world.destinations.labels().flat_map(|labels| world.cache.numbered(labels)));
        }
        cells
    }

    /// Computes cells again.
    pub(super) fn refresh(&mut self, cells: &BTreeSet<u32>, world: &World<'_>) {
        if self.open.is_some() {
            return;
        }
        self.fill(cells, world);
        if self.overflowing && self.state.len() < MAX_ENTRIES {
            self.overflowing = false;
            self.fill(&self.all_cells(world), world);
        }
    }

    fn fill(&mut self, cells: &BTreeSet<u32>, world: &World<'_>) {
        for identity in cells {
            let cell = self.cell(*identity, world);
            let first = PolicyKey::identity(*identity, Direction::Ingress);
            let gone: Vec<PolicyKey> = self
                .state
                .range(first..)
                .map(|(key, _)| *key)
                .take_while(|key| key.identity == *identity)
                .filter(|key| !cell.contains_key(key))
                .collect();
            gone.into_iter().for_each(|key| self.set(key, None));
            for (key, entry) in cell {
                if self.state.len() < MAX_ENTRIES || self.state.contains_key(&key) {
                    self.set(key, Some(entry));
                } else {
                    self.overflowing = true;
                }
            }
        }
    }

    fn grant(&self, (rule, at): GrantId) -> Option<&Grant> {
        self.rules.get(&rule)?.section(self.direction())?.grants.get(at)
    }

    /// Whether a rule names ports.
    pub(super) fn has_names(&self) -> bool {
        !self.naming.is_empty()
    }

    /// Every named port that a rule speaks of, with the rule.
    pub(super) fn names(&self) -> impl Iterator<Item = (u32, &PortName)> {
        let grants = self.naming.iter().filter_map(|id| Some((id.0, self.grant(*id)?)));
        grants.flat_map(|(rule, grant)| grant.ports.named.iter().map(move |name| (rule, name)))
    }

    fn set(&mut self, key: PolicyKey, entry: Option<PolicyEntry>) {
        let old = match entry {
            Some(entry) => self.state.insert(key, entry),
            None => self.state.remove(&key),
        };
        if old != entry {
            self.before.entry(key).or_insert(old);
        }
    }

    /// The state when changes were last taken.
    pub(super) fn taken(&self) -> MapState {
        let mut taken = self.state.clone();
        for (key, entry) in &self.before {
            match entry {
                Some(entry) => taken.insert(*key, *entry),
                None => taken.remove(key),
            };
        }
        taken
    }

    /// Takes the changes: what is new or different, and what is gone.
    pub(super) fn take(&mut self) -> (Vec<(PolicyKey, PolicyEntry)>, Vec<PolicyKey>) {
        let (mut upserts, mut removals) = (Vec::new(), Vec::new());
        for (key, old) in std::mem::take(&mut self.before) {
            match self.state.get(&key) {
                Some(new) if Some(*new) != old => upserts.push((key, *new)),
                None if old.is_some() => removals.push(key),
                _ => {}
            }
        }
        (upserts, removals)
    }
}
