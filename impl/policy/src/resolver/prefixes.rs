// SPDX-License-Identifier: Apache-2.0
//! Which prefixes the rules name: each needs an identity, so that a packet's address leads to it.

use std::collections::BTreeMap;

use ipnet::IpNet;

/// How the prefixes that need an identity change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixDelta {
    /// Named now; sorted.
    pub added: Vec<IpNet>,
    /// Named no more; sorted.
    pub removed: Vec<IpNet>,
}

#[derive(Debug, Default)]
pub(super) struct Prefixes {
    named: BTreeMap<IpNet, usize>,
    /// Whether each that changed was named when changes were last taken.
    before: BTreeMap<IpNet, bool>,
}

impl Prefixes {
    /// `/0` is the world, which has an identity.
    pub(super) fn add(&mut self, prefixes: impl Iterator<Item = IpNet>) {
        for prefix in prefixes.filter(|prefix| prefix.prefix_len() > 0) {
            let count = self.named.entry(prefix).or_default();
            if *count == 0 {
                self.before.entry(prefix).or_insert(false);
            }
            *count += 1;
        }
    }

    pub(super) fn remove(&mut self, prefixes: impl Iterator<Item = IpNet>) {
        for prefix in prefixes {
            let Some(count) = self.named.get_mut(&prefix) else { continue };
            *count -= 1;
            if *count == 0 {
                self.named.remove(&prefix);
                self.before.entry(prefix).or_insert(true);
            }
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = IpNet> {
        self.named.keys().copied()
    }

    pub(super) fn take(&mut self) -> PrefixDelta {
        let mut delta = PrefixDelta::default();
        for (prefix, was) in std::mem::take(&mut self.before) {
            match (was, self.named.contains_key(&prefix)) {
                (false, true) => delta.added.push(prefix),
                (true, false) => delta.removed.push(prefix),
                _ => {}
            }
        }
        delta
    }
}
