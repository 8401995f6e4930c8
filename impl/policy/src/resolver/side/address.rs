// SPDX-License-Identifier: Apache-2.0
//! Grants to the endpoints of services, whose addresses come and go while their rule stays.

use std::collections::BTreeSet;

use super::{GrantId, Side};
use crate::grant::{Peers, of_address};
use crate::selector_cache::SelectorCache;
use crate::services::Change;

impl Side {
    /// An entry of a rule means other addresses. The cells that may have changed are for [`Side::refresh`].
    pub(in crate::resolver) fn readdress(
        &mut self,
        rule: u32,
        change: &Change,
        cache: &mut SelectorCache,
    ) -> BTreeSet<u32> {
        let section = self.rules.get(&rule).and_then(|stored| stored.section(self.direction()));
        let grants = section.into_iter().flat_map(|section| section.grants.iter().enumerate());
        let speaks = |peers: &Peers| matches!(peers, Peers::Service(entry) if *entry == change.entry);
        let ids: Vec<GrantId> =
            grants.filter(|(_, grant)| speaks(&grant.peers)).map(|(at, _)| (rule, at)).collect();
        let mut touched = BTreeSet::new();
        if ids.is_empty() {
            return touched;
        }
        for address in &change.gone {
            let Some(selector) = cache.find(&of_address(*address)) else { continue };
            touched.extend(cache.selected(selector));
            let Some(uses) = self.uses.get_mut(&selector) else { continue };
            for id in &ids {
                uses.remove(id);
            }
            // Another entry of the rule may name the same address.
            if uses.range((rule, 0)..=(rule, usize::MAX)).next().is_none()
                && let Some(attached) = self.attached.get_mut(&rule)
            {
                attached.remove(&selector);
            }
            if uses.is_empty() {
                self.uses.remove(&selector);
                cache.release(selector, self.user);
            }
        }
        for address in &change.new {
            let selector = cache.acquire(of_address(*address), self.user);
            touched.extend(cache.selected(selector));
            self.uses.entry(selector).or_default().extend(&ids);
            self.attached.entry(rule).or_default().insert(selector);
        }
        touched
    }
}
