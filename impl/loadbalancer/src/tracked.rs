// SPDX-License-Identifier: Apache-2.0
//! Rows, and what changed in them since they were last told.

use std::collections::BTreeMap;

/// Rows by key. Setting a row to what it was is no change, and of several changes to a row only the last is told.
#[derive(Debug, Clone)]
pub(crate) struct Tracked<K, V> {
    rows: BTreeMap<K, V>,
    /// Keys that were set since the last telling, with what was told of them then.
    told: BTreeMap<K, Option<V>>,
}

impl<K, V> Default for Tracked<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), told: BTreeMap::new() }
    }
}

impl<K: Ord + Copy, V: Clone + PartialEq> Tracked<K, V> {
    pub(crate) fn rows(&self) -> &BTreeMap<K, V> {
        &self.rows
    }

    pub(crate) fn set(&mut self, key: K, row: V) {
        let before = self.rows.insert(key, row);
        self.told.entry(key).or_insert(before);
    }

    pub(crate) fn remove(&mut self, key: &K) -> Option<V> {
        let before = self.rows.remove(key)?;
        self.told.entry(*key).or_insert_with(|| Some(before.clone()));
        Some(before)
    }

    /// What changed since it was last asked.
    pub(crate) fn drain(&mut self) -> BTreeMap<K, Option<V>> {
        let told = std::mem::take(&mut self.told);
        let changed = told.into_iter().filter(|(key, told)| self.rows.get(key) != told.as_ref());
        changed.map(|(key, _)| (key, self.rows.get(&key).cloned())).collect()
    }
}
