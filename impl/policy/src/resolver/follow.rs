// SPDX-License-Identifier: Apache-2.0
//! How a resolver follows the rules of a repository.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::{KnownRule, Resolver, around};
use crate::repository::{Repository, StoredRule};
use crate::services::{ExternalService, ServiceName, whole};

impl Resolver {
    /// Takes over the rules of the repository: call it after a change of it.
    pub fn rules_changed(&mut self, repository: &Repository) {
        let (gone, new) = self.rules_unlike(repository);
        let mut removed: BTreeMap<u64, Vec<u32>> = BTreeMap::new();
        let mut added: BTreeMap<u64, Vec<Arc<StoredRule>>> = BTreeMap::new();
        for id in gone {
            for group in self.forget_rule(id) {
                removed.entry(group).or_default().push(id);
            }
        }
        for stored in new {
            for group in self.learn_rule(&stored) {
                added.entry(group).or_default().push(Arc::clone(&stored));
            }
        }
        let touched: BTreeSet<u64> = removed.keys().chain(added.keys()).copied().collect();
        for id in touched {
            let Some(group) = self.groups.get_mut(&id) else { continue };
            let mut around = around(&mut self.cache, &self.destinations, &self.services, &self.options);
            let none = Vec::new();
            let (removed, added) = (removed.get(&id), added.get(&id));
            group.change(removed.unwrap_or(&Vec::new()), added.unwrap_or(&none), &mut around);
            self.changed.insert(id);
        }
    }

    /// A service without a selector that is new, or that has changed; none: it is gone, or has a selector now. What is
    /// computed again goes by the addresses that come and go.
    pub fn service_changed(&mut self, name: &ServiceName, service: Option<ExternalService>) {
        for change in self.services.set(name, service) {
            self.prefixes.remove(whole(change.gone.iter().copied()));
            self.prefixes.add(whole(change.new.iter().copied()));
            for rule in &change.rules {
                for id in self.rules.get(rule).into_iter().flat_map(|known| &known.groups) {
                    let Some(group) = self.groups.get_mut(id) else { continue };
                    let mut around =
                        around(&mut self.cache, &self.destinations, &self.services, &self.options);
                    group.readdress(*rule, &change, &mut around);
                    self.changed.insert(*id);
                }
            }
        }
    }

    /// Which rules are not in the repository any more, and which are new in it. Both lists are in the order of the
    /// numbers, and as long as they go together no rule is looked at: ten thousand of them cost little.
    fn rules_unlike(&self, repository: &Repository) -> (Vec<u32>, Vec<Arc<StoredRule>>) {
        let (mut gone, mut new) = (Vec::new(), Vec::new());
        let mut known = self.rules.iter().peekable();
        for stored in repository.rules() {
            let same = |rule: &KnownRule| Arc::ptr_eq(&rule.stored, stored);
            while let Some((id, _)) = known.next_if(|(id, rule)| !same(rule) && **id <= stored.id()) {
                gone.push(*id);
            }
            if known.next_if(|(_, rule)| same(rule)).is_none() {
                new.push(Arc::clone(stored));
            }
        }
        gone.extend(known.map(|(id, _)| *id));
        (gone, new)
    }

    /// The groups that the rule had selected.
    fn forget_rule(&mut self, id: u32) -> BTreeSet<u64> {
        let Some(known) = self.rules.remove(&id) else { return BTreeSet::new() };
        self.subjects.remove(id);
        let rule = known.stored.rule();
        self.prefixes.remove(rule.prefixes());
        for entry in rule.services() {
            self.prefixes.remove(whole(self.services.forget(id, entry)));
        }
        known.groups
    }

    /// The groups that the rule selects.
    fn learn_rule(&mut self, stored: &Arc<StoredRule>) -> BTreeSet<u64> {
        let selector = stored.rule().endpoint_selector();
        let groups = self.group_labels.selected(selector);
        self.subjects.insert(stored.id(), selector);
        self.prefixes.add(stored.rule().prefixes());
        for entry in stored.rule().services() {
            self.prefixes.add(whole(self.services.learn(stored.id(), entry)));
        }
        self.rules.insert(stored.id(), KnownRule { stored: Arc::clone(stored), groups: groups.clone() });
        groups
    }
}
