// SPDX-License-Identifier: Apache-2.0
//! One label: where it comes from, its key and its value.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::de::{self, Deserializer};
use serde::{Deserialize, Serialize, Serializer};

use crate::source::{self, Source};

/// Why a string is not a label.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// Nothing stands where the key should be.
    #[error("label {0:?} has no key: write [SOURCE:]KEY[=VALUE]")]
    NoKey(String),
    /// The key holds `=`: the label could not be told from one with a shorter key.
    #[error("label key {0:?} contains '=', which ends a key")]
    EqualsInKey(String),
    /// The source would not be read back as this source.
    #[error("label source {0:?}: a source is a word without ':' that does not begin with '$'")]
    Source(String),
}

/// A label: `source:key=value`. Its key is never empty.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Label {
    source: Source,
    key: Box<str>,
    value: Box<str>,
}

impl Label {
    /// A label of exactly these parts; nothing is parsed out of the key.
    pub fn new(source: Source, key: &str, value: &str) -> Result<Self, LabelError> {
        if key.is_empty() {
            return Err(LabelError::NoKey(format!("{source}:={value}")));
        }
        if key.contains('=') {
            return Err(LabelError::EqualsInKey(key.to_owned()));
        }
        let word = source.as_str();
        if word.is_empty() || word.contains(':') || word.starts_with('$') {
            return Err(LabelError::Source(word.to_owned()));
        }
        Ok(Self::of(source, key, value))
    }

    /// For keys that are known not to be empty.
    pub(crate) fn of(source: Source, key: &str, value: &str) -> Self {
        Self { source, key: key.into(), value: value.into() }
    }

    /// The label `reserved:<name>`.
    pub(crate) fn reserved(name: &str) -> Self {
        Self::of(Source::Reserved, name, "")
    }

    /// From a key and value as an orchestrator gives them. A source in the key (`k8s:app`, `$host`) is taken off; it
    /// counts only where `source` is none.
    pub fn from_pair(key: &str, value: &str, source: Option<Source>) -> Result<Self, LabelError> {
        let (written, rest) = source::split(key);
        if written == Some(Source::Reserved) && rest.is_empty() {
            return Self::new(source.unwrap_or(Source::Reserved), value, "");
        }
        Self::new(source.or(written).unwrap_or(Source::Unspec), rest, value)
    }

    /// Parses a label that selects: without a source it means any source.
    pub fn parse_selecting(text: &str) -> Result<Self, LabelError> {
        let mut label: Self = text.parse()?;
        if label.source == Source::Unspec {
            label.source = Source::Any;
        }
        Ok(label)
    }

    /// Where the label comes from.
    pub fn source(&self) -> &Source {
        &self.source
    }

    /// The key; never empty.
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The value; often empty.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether this label, as one that selects, matches `target`: `any:` matches every source, `reserved:all` matches
    /// every label. Not symmetric.
    pub fn matches(&self, target: &Self) -> bool {
        if self.source == Source::Reserved && self.key() == "all" {
            return true;
        }
        self.source.selects(&target.source) && self.key == target.key && self.value == target.value
    }

    /// The form in which selectors carry keys: `k8s.app`.
    pub fn extended_key(&self) -> String {
        format!("{}.{}", self.source, self.key)
    }

    /// The form in the key-value store, with its final semicolon: `k8s:app=a;`.
    pub fn kvstore_form(&self) -> String {
        format!("{}:{}={};", self.source, self.key, self.value)
    }
}

/// `source:key=value`, or `source:key` where the value is empty.
impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source, self.key)?;
        if self.value.is_empty() { Ok(()) } else { write!(f, "={}", self.value) }
    }
}

/// `[SOURCE:]KEY[=VALUE]`; `$host` is short for `reserved:host`. Everything after the first `=` is the value. Without a
/// source the label is `unspec:`.
impl FromStr for Label {
    type Err = LabelError;

    fn from_str(text: &str) -> Result<Self, LabelError> {
        let (source, rest) = source::split(text);
        let (key, value) = rest.split_once('=').unwrap_or((rest, ""));
        // `reserved:=host` is an old way to write `reserved:host`.
        let (key, value) =
            if key.is_empty() && source == Some(Source::Reserved) { (value, "") } else { (key, value) };
        if key.is_empty() {
            return Err(LabelError::NoKey(text.to_owned()));
        }
        Ok(Self::of(source.unwrap_or(Source::Unspec), key, value))
    }
}

/// By key, then source, then value: the order of every sorted list of labels.
impl Ord for Label {
    fn cmp(&self, other: &Self) -> Ordering {
        (&self.key, self.source.as_str(), &self.value).cmp(&(&other.key, other.source.as_str(), &other.value))
    }
}

impl PartialOrd for Label {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// As the object `{"key", "value", "source"}`, which is how rules carry their labels. Lists of strings are made by
/// [`crate::Labels`].
impl Serialize for Label {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Object<'a> {
            key: &'a str,
            #[serde(skip_serializing_if = "str::is_empty")]
            value: &'a str,
            source: &'a str,
        }
        Object { key: &self.key, value: &self.value, source: self.source.as_str() }.serialize(serializer)
    }
}

/// From the object, or from the short form `[SOURCE:]KEY[=VALUE]`.
impl<'de> Deserialize<'de> for Label {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(LabelVisitor)
    }
}

struct LabelVisitor;

impl<'de> de::Visitor<'de> for LabelVisitor {
    type Value = Label;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a label: \"[SOURCE:]KEY[=VALUE]\" or an object with source, key and value")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Label, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<Label, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Object<'a> {
            #[serde(borrow)]
            key: Cow<'a, str>,
            #[serde(borrow, default)]
            value: Cow<'a, str>,
            #[serde(borrow, default)]
            source: Cow<'a, str>,
        }
        let object = Object::deserialize(de::value::MapAccessDeserializer::new(map))?;
        let source = if object.source.is_empty() { Source::Unspec } else { Source::from(&*object.source) };
        Label::new(source, &object.key, &object.value).map_err(de::Error::custom)
    }
}
