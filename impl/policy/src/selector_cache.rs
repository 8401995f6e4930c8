// SPDX-License-Identifier: Apache-2.0
//! Which identities each selector in use selects, kept as identities and selectors come and go.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use identity::{EndpointSelector, Labels};

use crate::map_state::Direction;
use crate::selector_index::{LabelIndex, SelectorIndex};

/// Stands for a selector while anybody uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SelectorId(u64);

/// Who uses a selector: endpoints that share their policy, for one direction.
pub(crate) type User = (u64, Direction);

#[derive(Debug)]
struct Cached {
    selector: EndpointSelector,
    identities: BTreeSet<u32>,
    users: BTreeSet<User>,
}

#[derive(Debug, Default)]
pub(crate) struct SelectorCache {
    identities: LabelIndex<u32>,
    by_labels: HashMap<Labels, BTreeSet<u32>>,
    selectors_of: BTreeMap<u32, BTreeSet<SelectorId>>,
    cached: HashMap<SelectorId, Cached>,
    ids: HashMap<EndpointSelector, SelectorId>,
    index: SelectorIndex<SelectorId>,
    next: u64,
}

impl SelectorCache {
    /// A new identity; the caller took an old one of this number away.
    pub(crate) fn add_identity(&mut self, identity: u32, labels: &Labels) {
        let selecting: BTreeSet<SelectorId> = self
            .index
            .candidates(labels)
            .filter(|id| self.cached.get(id).is_some_and(|cached| cached.selector.matches(labels)))
            .collect();
        for id in &selecting {
            if let Some(cached) = self.cached.get_mut(id) {
                cached.identities.insert(identity);
            }
        }
        self.selectors_of.insert(identity, selecting);
        self.identities.insert(identity, labels);
        self.by_labels.entry(labels.clone()).or_default().insert(identity);
    }

    pub(crate) fn remove_identity(&mut self, identity: u32) {
        for id in self.selectors_of.remove(&identity).unwrap_or_default() {
            if let Some(cached) = self.cached.get_mut(&id) {
                cached.identities.remove(&identity);
            }
        }
        let Some(labels) = self.identities.remove(identity) else { return };
        if let Some(same) = self.by_labels.get_mut(&labels) {
            same.remove(&identity);
            if same.is_empty() {
                self.by_labels.remove(&labels);
            }
        }
    }

    /// Notes that `user` uses this selector, if it is not noted yet.
    pub(crate) fn acquire(&mut self, selector: EndpointSelector, user: User) -> SelectorId {
        let id = self.ids.get(&selector).copied().unwrap_or_else(|| self.insert(selector));
        if let Some(cached) = self.cached.get_mut(&id) {
            cached.users.insert(user);
        }
        id
    }

    /// What stands for a selector that is in use.
    pub(crate) fn find(&self, selector: &EndpointSelector) -> Option<SelectorId> {
        self.ids.get(selector).copied()
    }

    fn insert(&mut self, selector: EndpointSelector) -> SelectorId {
        let id = SelectorId(self.next);
        self.next += 1;
        let identities = self.identities.selected(&selector);
        for identity in &identities {
            self.selectors_of.entry(*identity).or_default().insert(id);
        }
        self.index.insert(id, &selector);
        self.ids.insert(selector.clone(), id);
        self.cached.insert(id, Cached { selector, identities, users: BTreeSet::new() });
        id
    }

    /// Notes that `user` does not use it any more.
    pub(crate) fn release(&mut self, id: SelectorId, user: User) {
        let Some(cached) = self.cached.get_mut(&id) else { return };
        cached.users.remove(&user);
        if !cached.users.is_empty() {
            return;
        }
        if let Some(Cached { selector, identities, .. }) = self.cached.remove(&id) {
            for identity in identities {
                if let Some(selecting) = self.selectors_of.get_mut(&identity) {
                    selecting.remove(&id);
                }
            }
            self.ids.remove(&selector);
            self.index.remove(id);
        }
    }

    /// Which identities it selects.
    pub(crate) fn selected(&self, id: SelectorId) -> impl Iterator<Item = u32> {
        self.cached.get(&id).into_iter().flat_map(|cached| cached.identities.iter().copied())
    }

    /// Which selectors select this identity.
    pub(crate) fn selecting(&self, identity: u32) -> impl Iterator<Item = SelectorId> {
        self.selectors_of.get(&identity).into_iter().flatten().copied()
    }

    /// Who uses any selector that selects this identity.
    pub(crate) fn users(&self, identity: u32) -> BTreeSet<User> {
        self.selecting(identity)
            .filter_map(|id| self.cached.get(&id))
            .flat_map(|cached| cached.users.iter().copied())
            .collect()
    }

    pub(crate) fn labels(&self, identity: u32) -> Option<&Labels> {
        self.identities.labels(identity)
    }

    /// The identities that stand for these labels.
    pub(crate) fn numbered(&self, labels: &Labels) -> impl Iterator<Item = u32> {
        self.by_labels.get(labels).into_iter().flatten().copied()
    }

    pub(crate) fn identities(&self) -> usize {
        self.identities.len()
    }

    pub(crate) fn selectors(&self) -> usize {
        self.cached.len()
    }
}
