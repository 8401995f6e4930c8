// SPDX-License-Identifier: Apache-2.0
//! All rules, in the order in which they came.

use std::collections::HashMap;
use std::sync::Arc;

use identity::LabelArray;

use crate::grant::Section;
use crate::map_state::Direction;
use crate::rule::Rule;
use crate::services::Services;
use crate::trace::{self, Context, Trace};

/// Counts the changes of a repository; the first is 1.
pub type Revision = u64;

/// A rule in a repository.
#[derive(Debug)]
pub struct StoredRule {
    id: u32,
    owner: Arc<str>,
    rule: Rule,
    sections: [Option<Section>; 2],
}

impl StoredRule {
    /// Its number, which no other rule of the repository has; never 0. Rules are ordered by it.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Who brought it: empty, or as [`Repository::replace_owned`] was told.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// The rule.
    pub fn rule(&self) -> &Rule {
        &self.rule
    }

    pub(crate) fn section(&self, direction: Direction) -> Option<&Section> {
        self.sections[direction as usize].as_ref()
    }

    fn new(id: u32, owner: Arc<str>, rule: Rule, cluster: &str) -> Self {
        let sections = Direction::BOTH
            .map(|direction| rule.section(direction).map(|entries| Section::new(entries, cluster)));
        Self { id, owner, rule, sections }
    }
}

/// The rules of a cluster.
#[derive(Debug)]
pub struct Repository {
    cluster: String,
    rules: Vec<Arc<StoredRule>>,
    revision: Revision,
    next_id: u32,
}

impl Repository {
    /// Without rules. `cluster` is the name of the cluster that the entity of this name means.
    pub fn new(cluster: impl Into<String>) -> Self {
        Self { cluster: cluster.into(), rules: Vec::new(), revision: 1, next_id: 1 }
    }

    /// Adds rules after all others.
    pub fn add(&mut self, rules: Vec<Rule>) -> Revision {
        if !rules.is_empty() {
            self.append("", rules);
            self.revision += 1;
        }
        self.revision
    }

    /// Deletes the rules that have all of these labels, which select: `any:` matches every source. Without labels that
    /// is every rule. Says how many there were.
    pub fn delete_by_labels(&mut self, labels: &LabelArray) -> (Revision, usize) {
        let deleted = self.remove(labels);
        self.revision += u64::from(deleted > 0);
        (self.revision, deleted)
    }

    /// Deletes the rules that have all of these labels and adds others, as one change.
    pub fn replace_by_labels(&mut self, labels: &LabelArray, rules: Vec<Rule>) -> (Revision, usize) {
        let deleted = self.remove(labels);
        self.revision += u64::from(deleted > 0 || !rules.is_empty());
        self.append("", rules);
        (self.revision, deleted)
    }

    /// Removes those rules of this owner that `goes` names, and adds others of this owner, as one change. A rule that goes
    /// and comes again stays as it is, with its number; if all do, nothing changes. Says how many went for good.
    pub fn replace_owned(
        &mut self,
        owner: &str,
        goes: impl Fn(&Rule) -> bool,
        mut rules: Vec<Rule>,
    ) -> (Revision, usize) {
        let before = self.rules.len();
        let mut coming: HashMap<&Rule, Vec<usize>> = HashMap::new();
        for (at, rule) in rules.iter().enumerate().rev() {
            coming.entry(rule).or_default().push(at);
        }
        let mut stay = vec![false; rules.len()];
        self.rules.retain(|stored| {
            if stored.owner() != owner || !goes(&stored.rule) {
                return true;
            }
            let again = coming.get_mut(&stored.rule).and_then(Vec::pop);
            again.inspect(|at| stay[*at] = true).is_some()
        });
        let mut stays = stay.into_iter();
        rules.retain(|_| !stays.next().unwrap_or_default());
        let deleted = before - self.rules.len();
        self.revision += u64::from(deleted > 0 || !rules.is_empty());
        self.append(owner, rules);
        (self.revision, deleted)
    }

    /// All rules, in order.
    pub fn rules(&self) -> impl ExactSizeIterator<Item = &Arc<StoredRule>> {
        self.rules.iter()
    }

    /// The rules that have all of these labels, in order.
    pub fn matching<'a>(&'a self, labels: &'a LabelArray) -> impl Iterator<Item = &'a Arc<StoredRule>> {
        self.rules.iter().filter(|stored| stored.rule.labels().contains(labels))
    }

    /// The rule with this number.
    pub fn rule(&self, id: u32) -> Option<&Arc<StoredRule>> {
        self.rules.binary_search_by_key(&id, |stored| stored.id).ok().map(|at| &self.rules[at])
    }

    /// How often it has changed, plus 1.
    pub fn revision(&self) -> Revision {
        self.revision
    }

    /// What the rules say of a packet, and why. `services` are those of the resolver that follows this repository.
    pub fn trace(&self, services: &Services, context: &Context) -> Trace {
        trace::traced(&self.rules, services, context)
    }

    fn remove(&mut self, labels: &LabelArray) -> usize {
        let before = self.rules.len();
        self.rules.retain(|stored| !stored.rule.labels().contains(labels));
        before - self.rules.len()
    }

    fn append(&mut self, owner: &str, rules: Vec<Rule>) {
        if rules.len() as u64 > u64::from(u32::MAX - self.next_id) {
            self.renumber();
        }
        let owner: Arc<str> = owner.into();
        for rule in rules {
            let stored = StoredRule::new(self.next_id, Arc::clone(&owner), rule, &self.cluster);
            self.rules.push(Arc::new(stored));
            self.next_id += 1;
        }
    }

    /// Numbers are used up after four billion rules. The rules in use, far fewer, then get new ones in the same order.
    fn renumber(&mut self) {
        self.next_id = 1;
        for stored in &mut self.rules {
            let (owner, rule) = (Arc::clone(&stored.owner), stored.rule.clone());
            *stored = Arc::new(StoredRule::new(self.next_id, owner, rule, &self.cluster));
            self.next_id += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::parse_rules_json;

    #[test]
    fn rules_are_numbered_anew_when_the_numbers_are_used_up() {
        let mut repository = Repository::new("default");
        repository.next_id = u32::MAX - 1;
        let rules = |label: &str| {
            parse_rules_json(&format!(r#"{{"endpointSelector": {{}}, "labels": ["{label}"]}}"#)).unwrap()
        };
        repository.add(rules("first"));
        repository.add(rules("second"));
        let numbered: Vec<(u32, String)> =
            repository.rules().map(|stored| (stored.id(), stored.rule().labels().to_string())).collect();
        assert_eq!(numbered, [(1, "[unspec:first]".to_owned()), (2, "[unspec:second]".to_owned())]);
    }

    #[test]
    fn an_owner_replaces_no_rules_but_its_own_and_equal_ones_stay() {
        let rule = |label: &str| {
            let text = format!(r#"{{"endpointSelector": {{}}, "labels": ["{label}"]}}"#);
            parse_rules_json(&text).unwrap().remove(0)
        };
        let numbered = |repository: &Repository| -> Vec<(u32, String, String)> {
            let row =
                |one: &Arc<StoredRule>| (one.id(), one.owner().to_owned(), one.rule().labels().to_string());
            repository.rules().map(row).collect()
        };
        let mut repository = Repository::new("default");
        repository.add(vec![rule("a")]);
        repository.replace_owned("file", |_| true, vec![rule("a"), rule("b")]);
        assert_eq!(repository.replace_owned("file", |_| true, vec![rule("b"), rule("a")]), (3, 0));
        assert_eq!(repository.replace_owned("file", |_| true, vec![rule("b"), rule("c")]), (4, 1));
        let row = |id, owner: &str, label: &str| (id, owner.to_owned(), format!("[unspec:{label}]"));
        assert_eq!(numbered(&repository), [row(1, "", "a"), row(3, "file", "b"), row(4, "file", "c")]);
        assert_eq!(repository.replace_owned("", |_| true, Vec::new()), (5, 1));
        assert_eq!(numbered(&repository).len(), 2);
    }
}
