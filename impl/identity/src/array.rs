// SPDX-License-Identifier: Apache-2.0
//! A list of labels in the order written: the labels of a policy rule, or of a question about policy.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use crate::label::{Label, LabelError};
use crate::labels::Labels;

/// Labels in the order written; keys may repeat.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelArray(Vec<Label>);

impl LabelArray {
    /// Parses strings, each `[SOURCE:]KEY[=VALUE]`.
    pub fn parse<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        texts.into_iter().map(|text| text.as_ref().parse()).collect()
    }

    /// Parses strings of labels that select: without a source they mean any source. Sorted by key.
    pub fn parse_selecting<S: AsRef<str>>(texts: impl IntoIterator<Item = S>) -> Result<Self, LabelError> {
        let mut labels: Vec<Label> =
            texts.into_iter().map(|text| Label::parse_selecting(text.as_ref())).collect::<Result<_, _>>()?;
        labels.sort();
        Ok(Self(labels))
    }

    /// Whether each of `needed`, as a selecting label, matches one of these. Nothing needed is always there.
    pub fn contains(&self, needed: &[Label]) -> bool {
        self.lacks(needed).next().is_none()
    }

    /// Those of `needed` that match none of these.
    pub fn lacks<'a>(&'a self, needed: &'a [Label]) -> impl Iterator<Item = &'a Label> {
        needed.iter().filter(|needed| !self.0.iter().any(|label| needed.matches(label)))
    }

    /// The labels as a set: the later of two with one key wins.
    pub fn to_labels(&self) -> Labels {
        self.0.iter().cloned().collect()
    }
}

impl Deref for LabelArray {
    type Target = [Label];

    fn deref(&self) -> &[Label] {
        &self.0
    }
}

impl FromIterator<Label> for LabelArray {
    fn from_iter<I: IntoIterator<Item = Label>>(labels: I) -> Self {
        Self(labels.into_iter().collect())
    }
}

impl From<&Labels> for LabelArray {
    fn from(labels: &Labels) -> Self {
        Self(labels.to_vec())
    }
}

/// `[k8s:app=a k8s:zone=b]`, as traces print it.
impl fmt::Display for LabelArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<String> = self.0.iter().map(Label::to_string).collect();
        write!(f, "[{}]", texts.join(" "))
    }
}
