// SPDX-License-Identifier: Apache-2.0
//! Finds, among many selectors, the few that may select a set of labels; and among many sets of labels, the few that a
//! selector may select.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::hash::Hash;

use identity::{EndpointSelector, Labels, Operator};

use crate::grant::selects_all;

/// Things under a label's key and value, whatever its source: a selector of `any:` sees all sources.
type ByLabel<T> = HashMap<Box<str>, HashMap<Box<str>, BTreeSet<T>>>;

fn at<'a, T>(by_label: &'a ByLabel<T>, key: &str, value: &str) -> Option<&'a BTreeSet<T>> {
    by_label.get(key)?.get(value)
}

/// Allocates a key or value only where it is new: most labels are known.
fn insert<T: Ord>(by_label: &mut ByLabel<T>, key: &str, value: &str, one: T) {
    let values = match by_label.get_mut(key) {
        Some(values) => values,
        None => by_label.entry(key.into()).or_default(),
    };
    match values.get_mut(value) {
        Some(there) => there.insert(one),
        None => values.entry(value.into()).or_default().insert(one),
    };
}

fn remove<T: Ord>(by_label: &mut ByLabel<T>, key: &str, value: &str, one: &T) {
    let Some(values) = by_label.get_mut(key) else { return };
    if let Some(there) = values.get_mut(value) {
        there.remove(one);
        if there.is_empty() {
            values.remove(value);
        }
    }
    if values.is_empty() {
        by_label.remove(key);
    }
}

/// Selectors by one label that each demands.
#[derive(Debug)]
pub(crate) struct SelectorIndex<T> {
    by_label: ByLabel<T>,
    /// Those that demand no label.
    rest: BTreeSet<T>,
    anchors: HashMap<T, (Box<str>, Box<str>)>,
}

impl<T> Default for SelectorIndex<T> {
    fn default() -> Self {
        Self { by_label: HashMap::new(), rest: BTreeSet::new(), anchors: HashMap::new() }
    }
}

impl<T: Copy + Ord + Hash> SelectorIndex<T> {
    pub(crate) fn insert(&mut self, one: T, selector: &EndpointSelector) {
        let everything = selects_all(selector);
        // The label that fewest others are under: every rule of a namespace demands the namespace's label.
        let anchor = selector
            .match_labels()
            .iter()
            .filter(|_| !everything)
            .min_by_key(|(key, value)| at(&self.by_label, key.key(), value).map_or(0, BTreeSet::len));
        match anchor {
            Some((key, value)) => {
                insert(&mut self.by_label, key.key(), value, one);
                self.anchors.insert(one, (key.key().into(), value.clone()));
            }
            None => {
                self.rest.insert(one);
            }
        }
    }

    pub(crate) fn remove(&mut self, one: T) {
        match self.anchors.remove(&one) {
            Some((key, value)) => remove(&mut self.by_label, &key, &value, &one),
            None => {
                self.rest.remove(&one);
            }
        }
    }

    /// Every selector that selects these labels, and others.
    pub(crate) fn candidates<'a>(&'a self, labels: &'a Labels) -> impl Iterator<Item = T> + 'a {
        let under = labels.iter().filter_map(|label| at(&self.by_label, label.key(), label.value()));
        self.rest.iter().chain(under.flatten()).copied()
    }
}

/// Sets of labels, numbered, by each of their labels.
#[derive(Debug)]
pub(crate) struct LabelIndex<T> {
    by_label: ByLabel<T>,
    all: BTreeMap<T, Labels>,
}

impl<T> Default for LabelIndex<T> {
    fn default() -> Self {
        Self { by_label: HashMap::new(), all: BTreeMap::new() }
    }
}

impl<T: Copy + Ord> LabelIndex<T> {
    pub(crate) fn insert(&mut self, number: T, labels: &Labels) {
        for label in labels.iter() {
            insert(&mut self.by_label, label.key(), label.value(), number);
        }
        self.all.insert(number, labels.clone());
    }

    pub(crate) fn remove(&mut self, number: T) -> Option<Labels> {
        let labels = self.all.remove(&number)?;
        for label in labels.iter() {
            remove(&mut self.by_label, label.key(), label.value(), &number);
        }
        Some(labels)
    }

    pub(crate) fn labels(&self, number: T) -> Option<&Labels> {
        self.all.get(&number)
    }

    pub(crate) fn len(&self) -> usize {
        self.all.len()
    }

    /// Exactly those whose labels are selected.
    pub(crate) fn selected(&self, selector: &EndpointSelector) -> BTreeSet<T> {
        let matches = |number: &T| self.all.get(number).is_some_and(|labels| selector.matches(labels));
        match self.narrowed(selector) {
            Some(candidates) => candidates.into_iter().flatten().copied().filter(matches).collect(),
            None => self.all.keys().copied().filter(matches).collect(),
        }
    }

    /// Some sets of candidates, or none if the selector demands no label.
    fn narrowed(&self, selector: &EndpointSelector) -> Option<Vec<&BTreeSet<T>>> {
        if selects_all(selector) {
            return None;
        }
        let labels = selector
            .match_labels()
            .iter()
            .map(|(key, value)| Vec::from_iter(at(&self.by_label, key.key(), value)));
        let listed =
            selector.match_expressions().iter().filter_map(|expression| match &expression.operator {
                Operator::In(values) => {
                    let key = expression.key.key();
                    Some(values.iter().filter_map(|value| at(&self.by_label, key, value)).collect())
                }
                _ => None,
            });
        labels.chain(listed).min_by_key(|sets| sets.iter().map(|set| set.len()).sum::<usize>())
    }
}
