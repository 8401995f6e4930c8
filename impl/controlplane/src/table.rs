// SPDX-License-Identifier: Apache-2.0
//! Desired rows of one outside thing, and what changed in them since they were last asked.

use std::collections::{BTreeMap, BTreeSet};

/// Changes of one table, each key at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta<K, V> {
    /// Rows that are new or different.
    pub upserts: Vec<(K, V)>,
    /// Rows that nobody desires any more.
    pub removals: Vec<K>,
}

impl<K, V> Default for Delta<K, V> {
    fn default() -> Self {
        Self { upserts: Vec::new(), removals: Vec::new() }
    }
}

impl<K: Ord + Clone, V> Delta<K, V> {
    /// Whether nothing changed.
    pub fn is_empty(&self) -> bool {
        self.upserts.is_empty() && self.removals.is_empty()
    }

    /// This change and a later one as one: of each key the later word counts.
    pub fn merge(&mut self, later: Self) {
        let mut rows: BTreeMap<K, Option<V>> = BTreeMap::new();
        for delta in [std::mem::take(self), later] {
            rows.extend(delta.removals.into_iter().map(|key| (key, None)));
            rows.extend(delta.upserts.into_iter().map(|(key, row)| (key, Some(row))));
        }
        for (key, row) in rows {
            match row {
                Some(row) => self.upserts.push((key, row)),
                None => self.removals.push(key),
            }
        }
    }
}

/// Rows by key, with the changes since [`Table::drain`]: setting a row to what it was is no change, and of several
/// changes to a row only the last is told.
#[derive(Debug, Clone)]
pub struct Table<K, V> {
    rows: BTreeMap<K, V>,
    /// Keys changed since the last drain, with what was last told of them.
    changed: BTreeMap<K, Option<V>>,
    /// Keys to tell again though nothing changed.
    touched: BTreeSet<K>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), changed: BTreeMap::new(), touched: BTreeSet::new() }
    }
}

impl<K: Ord + Clone, V: Clone + PartialEq> Table<K, V> {
    /// Sets a row.
    pub fn upsert(&mut self, key: K, row: V) {
        let before = self.rows.insert(key.clone(), row);
        self.changed.entry(key).or_insert(before);
    }

    /// Removes a row. What it was.
    pub fn remove(&mut self, key: &K) -> Option<V> {
        let before = self.rows.remove(key)?;
        self.changed.entry(key.clone()).or_insert_with(|| Some(before.clone()));
        Some(before)
    }

    /// Sets or removes a row.
    pub fn set(&mut self, key: K, row: Option<V>) {
        match row {
            Some(row) => self.upsert(key, row),
            None => {
                self.remove(&key);
            }
        }
    }

    /// Tells a row again with the next drain, changed or not.
    pub fn touch(&mut self, key: K) {
        self.touched.insert(key);
    }

    /// What changed since the last drain.
    pub fn drain(&mut self) -> Delta<K, V> {
        let mut delta = Delta::default();
        let changed = std::mem::take(&mut self.changed);
        let mut touched = std::mem::take(&mut self.touched);
        for (key, told) in changed {
            let again = touched.remove(&key);
            match self.rows.get(&key) {
                Some(row) if again || told.as_ref() != Some(row) => delta.upserts.push((key, row.clone())),
                None if told.is_some() => delta.removals.push(key),
                _ => {}
            }
        }
        let again = touched.into_iter().filter_map(|key| self.rows.get(&key).map(|row| (key, row.clone())));
        delta.upserts.extend(again);
        delta
    }

    /// Every row.
    pub fn rows(&self) -> &BTreeMap<K, V> {
        &self.rows
    }
}
