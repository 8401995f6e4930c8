// SPDX-License-Identifier: Apache-2.0
//! The key of a label in a selector, with its source.

use std::cmp::Ordering;
use std::fmt;

use crate::source::{self, Source};

/// Source and key: `k8s:app` as users write it, `k8s.app` as it is carried inside.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct SelectorKey {
    source: Source,
    key: Box<str>,
}

impl SelectorKey {
    /// A key of these parts.
    pub fn of(source: Source, key: &str) -> Self {
        Self { source, key: key.into() }
    }

    /// What a user wrote: `k8s:app`, `$host`, or `app` for any source. A value after `=` is taken off.
    pub fn parse(text: &str) -> Self {
        let (source, rest) = source::split(text);
        Self::of(source.unwrap_or(Source::Any), rest.split_once('=').map_or(rest, |(key, _)| key))
    }

    /// From the form `k8s.app`; without a dot any source is meant.
    pub fn parse_extended(text: &str) -> Self {
        match text.split_once('.') {
            Some((source, key)) if !source.is_empty() => Self::of(Source::from(source), key),
            _ => Self::of(Source::Any, text),
        }
    }

    /// Which sources it sees.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The label's key.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The form `k8s.app`.
    pub fn extended(&self) -> String {
        format!("{}.{}", self.source, self.key)
    }
}

/// The form that users write: `k8s:app`.
impl fmt::Display for SelectorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.key)
    }
}

impl Ord for SelectorKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.source.as_str(), &self.key).cmp(&(other.source.as_str(), &other.key))
    }
}

impl PartialOrd for SelectorKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
