// SPDX-License-Identifier: Apache-2.0
//! A set of labels: what an identity is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use ipnet::IpNet;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha512_256};

use crate::cidr;
use crate::label::{Label, LabelError};
use crate::source::Source;

/// Labels sorted by key, one per key whatever its source. Cheap to clone: clones share their memory.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Arc<[Label]>);

impl Labels {
    /// No label at all.
    pub fn empty() -> Self {
        Self(Arc::new([]))
    }

    /// Parses `[SOURCE:]KEY[=VALUE]` strings. Empty strings are passed over; of two labels with one key the later wins.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        texts
            .into_iter()
            .filter(|text| !text.as_ref().is_empty())
            .map(|text| text.as_ref().parse())
            .collect::<Result<Vec<Label>, _>>()
            .map(Self::from_iter)
    }

    /// From an orchestrator's map of keys and values: see [`Label::from_pair`].
    pub fn from_map<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
        source: Option<Source>,
    ) -> Result<Self, LabelError> {
        pairs
            .into_iter()
            .map(|(key, value)| Label::from_pair(key, value, source.clone()))
            .collect::<Result<Vec<_>, _>>()
            .map(Self::from_iter)
    }

    /// Parses what [`Labels::sorted_list`] wrote. A value that holds `;` is not read back: the form cannot say where it
    /// ends.
    pub fn from_sorted_list(list: &str) -> Result<Self, LabelError> {
        Self::parse(list.split(';'))
    }

    /// The label with this key, if a selecting key of `source` sees it.
    pub fn find(&self, source: &Source, key: &str) -> Option<&Label> {
        let at = self.0.binary_search_by(|label| label.key().cmp(key)).ok()?;
        Some(&self.0[at]).filter(|label| source.selects(label.source()))
    }

    /// Whether each of `needed`, as a selecting label, matches one of these.
    pub fn contains(&self, needed: &[Label]) -> bool {
        needed.iter().all(|needed| self.0.iter().any(|label| needed.matches(label)))
    }

    /// These labels and those of `other`, which wins where both have a key.
    pub fn merged(&self, other: &Self) -> Self {
        self.iter().chain(other.iter()).cloned().collect()
    }

    /// The labels of one source.
    pub fn from_source(&self, source: &Source) -> Self {
        self.iter().filter(|label| label.source() == source).cloned().collect()
    }

    /// Whether any label is reserved.
    pub fn has_reserved(&self) -> bool {
        self.iter().any(|label| *label.source() == Source::Reserved)
    }

    /// `source:key=value;` for each label in order: the key in the key-value store. Other clusters read it.
    pub fn sorted_list(&self) -> String {
        self.iter().map(Label::kvstore_form).collect()
    }

    /// SHA-512/256 of the sorted list, in hexadecimal: how the API names a set of labels.
    pub fn sha256(&self) -> String {
        Sha512_256::digest(self.sorted_list()).iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The labels as strings for people: of CIDR labels only the longest, with its colons back.
    pub fn printable(&self) -> Vec<String> {
        let longest = self
            .iter()
            .filter(|label| *label.source() == Source::Cidr)
            .filter_map(cidr::prefix_of)
            .max_by_key(IpNet::prefix_len);
        let mut texts: Vec<String> =
            self.iter().filter(|label| *label.source() != Source::Cidr).map(Label::to_string).collect();
        texts.extend(longest.map(|prefix| format!("{}:{prefix}", Source::Cidr)));
        texts.sort();
        texts
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self::empty()
    }
}

impl Deref for Labels {
    type Target = [Label];

    fn deref(&self) -> &[Label] {
        &self.0
    }
}

/// Of two labels with one key the later wins.
impl FromIterator<Label> for Labels {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        let mut by_key: BTreeMap<Box<str>, Label> = BTreeMap::new();
        for label in labels {
            by_key.insert(label.key().into(), label);
        }
        Self(by_key.into_values().collect())
    }
}

/// What [`Labels::printable`] gives, joined with commas.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.printable().join(","))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Labels({})", self.sorted_list())
    }
}

/// A list of strings, every label of it.
impl Serialize for Labels {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Label::to_string))
    }
}

/// From a list of strings or of objects.
impl<'de> Deserialize<'de> for Labels {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Label>::deserialize(deserializer)?.into_iter().collect())
    }
}
