// SPDX-License-Identifier: Apache-2.0
//! Endpoints that share their policy, because all that policy looks at is the same.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use identity::{Labels, Source, reserved};

use super::side::{Side, World};
use super::{Endpoint, Options};
use crate::enforcement::{Enforcement, EnforcementMode};
use crate::map_state::{Direction, MapState, PolicyDelta, PolicyEntry, PolicyKey};
use crate::named_port::Destinations;
use crate::repository::StoredRule;
use crate::selector_cache::SelectorCache;
use crate::services::{Change, Services};

/// What a group needs of the resolver that it is part of.
pub(super) struct Surroundings<'a> {
    pub(super) cache: &'a mut SelectorCache,
    pub(super) destinations: &'a Destinations,
    pub(super) services: &'a Services,
    pub(super) options: &'a Options,
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) endpoint: Endpoint,
    /// The members. One that came since changes were last taken has here what its map holds.
    pub(super) members: BTreeMap<u16, Option<MapState>>,
    sides: [Side; 2],
}

impl Group {
    pub(super) fn new(id: u64, endpoint: Endpoint) -> Self {
        let sides = Direction::BOTH.map(|direction| Side::new(id, direction));
        Self { endpoint, members: BTreeMap::new(), sides }
    }

    pub(super) fn side(&self, direction: Direction) -> &Side {
        &self.sides[direction as usize]
    }

    /// Follows a change of the rules that select it, or of the mode.
    pub(super) fn change(
        &mut self,
        removed: &[u32],
        added: &[Arc<StoredRule>],
        around: &mut Surroundings<'_>,
    ) {
        for side in Direction::BOTH {
            let touched = self.sides[side as usize].change(removed, added, around.cache, around.services);
            let enforcing = self.should_enforce(side, around.options.enforcement);
            let world = world(&self.endpoint, around);
            self.sides[side as usize].settle(enforcing, touched, &world);
        }
    }

    /// Computes these cells of one direction again.
    pub(super) fn refresh(
        &mut self,
        direction: Direction,
        cells: &BTreeSet<u32>,
        around: &mut Surroundings<'_>,
    ) {
        let world = world(&self.endpoint, around);
        self.sides[direction as usize].refresh(cells, &world);
    }

    /// Follows a change of the addresses that an entry of `toServices` of a rule means.
    pub(super) fn readdress(&mut self, rule: u32, change: &Change, around: &mut Surroundings<'_>) {
        let side = &mut self.sides[Direction::Egress as usize];
        let touched = side.readdress(rule, change, around.cache);
        side.refresh(&touched, &world(&self.endpoint, around));
    }

    fn should_enforce(&self, direction: Direction, all: Enforcement) -> bool {
        let mode = self.endpoint.enforcement.unwrap_or(all);
        let mode = match direction {
            Direction::Ingress => mode.ingress,
            Direction::Egress => mode.egress,
        };
        enforces(mode, &self.endpoint.labels, self.side(direction).has_rules())
    }

    pub(super) fn release(&mut self, cache: &mut SelectorCache) {
        self.sides.iter_mut().for_each(|side| side.release(cache));
    }

    pub(super) fn state(&self) -> MapState {
        self.sides.iter().flat_map(|side| side.state()).map(|(key, entry)| (*key, *entry)).collect()
    }

    pub(super) fn enforcing(&self) -> [bool; 2] {
        [self.sides[0].enforcing(), self.sides[1].enforcing()]
    }

    /// What the map of a member holds that has taken all changes so far.
    pub(super) fn taken(&self) -> MapState {
        self.sides.iter().flat_map(Side::taken).collect()
    }

    /// Takes the changes, for each member.
    pub(super) fn take(&mut self, deltas: &mut Vec<PolicyDelta>) {
        let [ingress, egress] = &mut self.sides;
        let (mut upserts, mut removals) = ingress.take();
        let (more_upserts, more_removals) = egress.take();
        upserts.extend(more_upserts);
        removals.extend(more_removals);
        upserts.sort();
        removals.sort();
        // A side that begins or ceases to enforce changes an entry: the one that allows everything is then another.
        let enforcing = self.enforcing();
        // Most changes come to members that are known: then nobody needs all of it.
        let state = if self.members.values().any(Option::is_some) { self.state() } else { MapState::new() };
        for (endpoint, held) in &mut self.members {
            let (upserts, removals) = match held.take() {
                None if upserts.is_empty() && removals.is_empty() => continue,
                None => (upserts.clone(), removals.clone()),
                Some(held) => difference(&held, &state),
            };
            let [enforcing_ingress, enforcing_egress] = enforcing;
            let endpoint = *endpoint;
            deltas.push(PolicyDelta { endpoint, upserts, removals, enforcing_ingress, enforcing_egress });
        }
    }
}

fn world<'a>(endpoint: &'a Endpoint, around: &'a mut Surroundings<'_>) -> World<'a> {
    World {
        cache: around.cache,
        destinations: around.destinations,
        host_always_allowed: around.options.host_always_allowed,
        named_ports: &endpoint.named_ports,
    }
}

/// Whether policy is enforced on an endpoint in a direction in which rules have a section for it or have not. One
/// without labels yet is closed: who it is decides who may talk to it.
pub(crate) fn enforces(mode: EnforcementMode, labels: &Labels, has_rules: bool) -> bool {
    match mode {
        EnforcementMode::Always => true,
        EnforcementMode::Never => false,
        EnforcementMode::Default => has_rules || labels.find(&Source::Reserved, reserved::INIT).is_some(),
    }
}

fn difference(old: &MapState, new: &MapState) -> (Vec<(PolicyKey, PolicyEntry)>, Vec<PolicyKey>) {
    let upserts = new.iter().filter(|(key, entry)| old.get(key) != Some(entry));
    let removals = old.keys().filter(|key| !new.contains_key(key));
    (upserts.map(|(key, entry)| (*key, *entry)).collect(), removals.copied().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_without_labels_is_closed_by_default_and_open_if_policy_is_off() {
        let init = Labels::parse(["reserved:init"]).unwrap();
        assert!(enforces(EnforcementMode::Default, &init, false));
        assert!(!enforces(EnforcementMode::Never, &init, true));
        assert!(!enforces(EnforcementMode::Default, &Labels::empty(), false));
        assert!(enforces(EnforcementMode::Always, &Labels::empty(), false));
    }
}
