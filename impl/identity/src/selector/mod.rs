// SPDX-License-Identifier: Apache-2.0
//! Which endpoints a rule speaks of: labels and expressions that must all hold.

mod key;
mod validate;
mod wire;

use std::collections::BTreeMap;
use std::fmt;

use crate::label::Label;
use crate::labels::Labels;
use crate::source::Source;

pub use key::SelectorKey;
pub use validate::SelectorError;
pub use wire::{RawExpression, RawSelector};

/// What an expression asks of the label with its key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Operator {
    /// It is there, with one of these values.
    In(Vec<Box<str>>),
    /// It is not there, or has none of these values.
    NotIn(Vec<Box<str>>),
    /// It is there.
    Exists,
    /// It is not there.
    DoesNotExist,
}

/// One entry of `matchExpressions`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Expression {
    /// Which label.
    pub key: SelectorKey,
    /// What is asked of it.
    pub operator: Operator,
}

impl Expression {
    /// Whether it holds for these labels.
    pub fn matches(&self, labels: &Labels) -> bool {
        let value = labels.find(self.key.source(), self.key.key()).map(Label::value);
        match &self.operator {
            Operator::In(values) => value.is_some_and(|value| values.iter().any(|v| **v == *value)),
            Operator::NotIn(values) => value.is_none_or(|value| values.iter().all(|v| **v != *value)),
            Operator::Exists => value.is_some(),
            Operator::DoesNotExist => value.is_none(),
        }
    }
}

/// A selector that was found valid. Its default is the wildcard, which selects everything that has an identity.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointSelector {
    match_labels: BTreeMap<SelectorKey, Box<str>>,
    match_expressions: Vec<Expression>,
}

impl EndpointSelector {
    /// Selects everything: `{}`.
    pub fn wildcard() -> Self {
        Self::default()
    }

    /// Selects what has all of these labels. Not validated: the labels exist, so their keys and values are taken as
    /// they are.
    pub fn from_labels<'a>(labels: impl IntoIterator<Item = &'a Label>) -> Self {
        let mut selector = Self::default();
        for label in labels {
            selector
                .match_labels
                .insert(SelectorKey::of(label.source().clone(), label.key()), label.value().into());
        }
        selector
    }

    /// Selects the reserved label of this name.
    pub(crate) fn reserved(name: &str) -> Self {
        Self::from_labels([&Label::reserved(name)])
    }

    /// From a Kubernetes label selector, whose keys carry no source: each key gets `source`, and `prefix` before it
    /// (`io.cilium.k8s.namespace.labels.` for a namespace selector, otherwise empty).
    pub fn from_kubernetes(source: &Source, prefix: &str, raw: RawSelector) -> Result<Self, SelectorError> {
        validate::selector(raw, |key| SelectorKey::of(source.clone(), &format!("{prefix}{key}")))
    }

    /// Adds a label that must be there; replaces a demand on the same key.
    pub fn add_match(&mut self, key: SelectorKey, value: &str) {
        self.match_labels.insert(key, value.into());
    }

    /// Adds an expression that must hold.
    pub fn add_expression(&mut self, expression: Expression) {
        self.match_expressions.push(expression);
    }

    /// Demands all that `other` demands as well. A key of `match_labels` that both name with different values becomes
    /// an expression, so that nothing is lost.
    pub fn require(&mut self, other: &Self) {
        for (key, value) in &other.match_labels {
            match self.match_labels.get(key) {
                Some(own) if own == value => {}
                None => {
                    self.match_labels.insert(key.clone(), value.clone());
                }
                Some(_) => self
                    .match_expressions
                    .push(Expression { key: key.clone(), operator: Operator::In(vec![value.clone()]) }),
            }
        }
        for expression in &other.match_expressions {
            if !self.match_expressions.contains(expression) {
                self.match_expressions.push(expression.clone());
            }
        }
    }

    /// Whether it selects these labels. `reserved:all` among the labels of the selector selects everything, whatever
    /// else it asks.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.selects_all()
            || self.match_labels.iter().all(|(key, value)| {
                labels.find(key.source(), key.key()).is_some_and(|label| *label.value() == **value)
            }) && self.match_expressions.iter().all(|expression| expression.matches(labels))
    }

    fn selects_all(&self) -> bool {
        self.match_labels.keys().any(|key| *key.source() == Source::Reserved && key.key() == "all")
    }

    /// Whether it asks nothing: `{}`.
    pub fn is_wildcard(&self) -> bool {
        self.match_labels.is_empty() && self.match_expressions.is_empty()
    }

    /// Labels that must be there.
    pub fn match_labels(&self) -> &BTreeMap<SelectorKey, Box<str>> {
        &self.match_labels
    }

    /// Expressions that must hold.
    pub fn match_expressions(&self) -> &[Expression] {
        &self.match_expressions
    }

    /// Every key it speaks of.
    pub fn keys(&self) -> impl Iterator<Item = &SelectorKey> {
        self.match_labels.keys().chain(self.match_expressions.iter().map(|expression| &expression.key))
    }

    /// Whether it speaks of exactly this key.
    pub fn has_key(&self, key: &SelectorKey) -> bool {
        self.keys().any(|own| own == key)
    }

    /// Whether it speaks of any key of this source that begins with `prefix`.
    pub fn has_key_prefix(&self, source: &Source, prefix: &str) -> bool {
        self.keys().any(|own| own.source() == source && own.key().starts_with(prefix))
    }

    /// The values that it lets this key have, as far as `match_labels` and `In` say; none if they do not.
    pub fn values_of(&self, key: &SelectorKey) -> Option<Vec<&str>> {
        let label = self.match_labels.get(key).map(|value| &**value);
        let listed =
            self.match_expressions.iter().filter(|e| e.key == *key).filter_map(|e| match &e.operator {
                Operator::In(values) => Some(values),
                _ => None,
            });
        let values: Vec<&str> = label.into_iter().chain(listed.flatten().map(|value| &**value)).collect();
        (!values.is_empty()).then_some(values)
    }
}

/// `&LabelSelector{MatchLabels:…}` is unreadable: this is `k8s.app=a,k8s.tier in (b,c),!k8s.old`; `<none>` is the
/// wildcard.
impl fmt::Display for EndpointSelector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut parts: Vec<String> =
            self.match_labels.iter().map(|(key, value)| format!("{}={value}", key.extended())).collect();
        parts.extend(self.match_expressions.iter().map(|expression| {
            let key = expression.key.extended();
            match &expression.operator {
                Operator::In(values) => format!("{key} in ({})", values.join(",")),
                Operator::NotIn(values) => format!("{key} notin ({})", values.join(",")),
                Operator::Exists => key,
                Operator::DoesNotExist => format!("!{key}"),
            }
        }));
        f.write_str(if parts.is_empty() { "<none>" } else { "" })?;
        f.write_str(&parts.join(","))
    }
}
