// SPDX-License-Identifier: Apache-2.0
//! Which labels of a workload make its identity, and which only inform.

use std::fmt;

use regex_lite::Regex;
use serde::Deserialize;

use crate::label::Label;
use crate::labels::Labels;
use crate::source::Source;

/// The only version of the prefix file that there is.
const FILE_VERSION: u64 = 1;

/// What is filtered when nothing is said. The dots are those of a regular expression, as in Cilium 1.4. The third entry is
/// not in 1.4, whose `.*kubernetes.io` outweighs the second: it is the label by which Kubernetes since 1.21 names each
/// namespace, and which policies select.
const DEFAULTS: [&str; 13] = [
    "io.kubernetes.pod.namespace",
    "io.cilium.k8s.namespace.labels",
    "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name",
    "!io.kubernetes",
    "!.*kubernetes.io",
    "!pod-template-generation",
    "!pod-template-hash",
    "!controller-revision-hash",
    "!annotation.cilium.io/",
    "!annotation.cilium-identity",
    "!annotation.sidecar.istio.io",
    "!annotation.etcd.version",
    "!etcd_node",
];

/// Why a prefix is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// Nothing stands where the prefix should be.
    #[error("label prefix {0:?} is empty: write [SOURCE:][!]PREFIX")]
    Empty(String),
    /// It is no regular expression.
    #[error("label prefix {prefix:?} is not a regular expression: {reason}")]
    Regex {
        /// As written.
        prefix: String,
        /// What the parser of expressions says.
        reason: String,
    },
    /// The file is of another version.
    #[error("version: {0} is not supported, only 1 is")]
    Version(u64),
    /// A field of an entry of the file is empty.
    #[error("valid-prefixes[{at}].{field}: must not be empty")]
    EmptyField {
        /// Which entry.
        at: usize,
        /// `prefix` or `source`.
        field: &'static str,
    },
}

/// The file of `--label-prefix-file`, as written.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixFile {
    /// 1.
    pub version: u64,
    /// The entries.
    #[serde(rename = "valid-prefixes", default)]
    pub valid_prefixes: Vec<PrefixFileEntry>,
}

/// One entry of the file. Its prefix is taken literally, unlike those of `--labels`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrefixFileEntry {
    /// What the key begins with.
    #[serde(default)]
    pub prefix: String,
    /// Of which source the label is.
    #[serde(default)]
    pub source: String,
    /// Whether such labels are left out.
    #[serde(default)]
    pub invert: bool,
}

#[derive(Debug, Clone)]
enum Pattern {
    Literal(Box<str>),
    Regex(Regex),
}

#[derive(Debug, Clone)]
struct Prefix {
    source: Option<Source>,
    exclude: bool,
    pattern: Pattern,
}

impl Prefix {
    /// `[SOURCE:][!]REGEX`. `!SOURCE:REGEX` means the same; Cilium 1.4 took it for an inclusion of the source `!SOURCE`,
    /// which no label has and which left every label out.
    fn parse(text: &str) -> Result<Self, FilterError> {
        let (before, rest) = match text.strip_prefix('!') {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let (source, rest) = match rest.split_once(':') {
            Some(("", rest)) => (None, rest),
            Some((source, rest)) => (Some(Source::from(source)), rest),
            None => (None, rest),
        };
        let (exclude, expression) = match rest.strip_prefix('!') {
            Some(expression) => (true, expression),
            None => (before, rest),
        };
        if expression.is_empty() {
            return Err(FilterError::Empty(text.to_owned()));
        }
        let regex = Regex::new(expression)
            .map_err(|error| FilterError::Regex { prefix: text.to_owned(), reason: error.to_string() })?;
        Ok(Self { source, exclude, pattern: Pattern::Regex(regex) })
    }

    /// How many bytes of the key it matches, from the key's beginning.
    fn matched(&self, label: &Label) -> Option<usize> {
        if self.source.as_ref().is_some_and(|source| source != label.source()) {
            return None;
        }
        match &self.pattern {
            Pattern::Literal(prefix) => label.key().starts_with(&**prefix).then_some(prefix.len()),
            Pattern::Regex(regex) => {
                regex.find(label.key()).filter(|found| found.start() == 0).map(|found| found.end())
            }
        }
    }
}

/// Tells labels that make an identity from those that do not.
#[derive(Debug, Clone)]
pub struct LabelFilter {
    prefixes: Vec<Prefix>,
    /// Whether only what is included makes identity. The default list includes, but only against its own exclusions.
    only_included: bool,
}

/// The two halves of a workload's labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filtered {
    /// These make the identity.
    pub identity: Labels,
    /// These do not.
    pub information: Labels,
}

impl LabelFilter {
    /// From a file, or where there is none the default list, and the entries of `--labels` after it.
    pub fn new<S: AsRef<str>>(
        file: Option<PrefixFile>,
        flags: impl IntoIterator<Item = S>,
    ) -> Result<Self, FilterError> {
        let mut filter = match file {
            Some(file) => Self::from_file(file)?,
            None => Self {
                prefixes: DEFAULTS.into_iter().map(Prefix::parse).collect::<Result<_, _>>()?,
                only_included: false,
            },
        };
        for flag in flags {
            let prefix = Prefix::parse(flag.as_ref())?;
            filter.only_included |= !prefix.exclude;
            filter.prefixes.push(prefix);
        }
        Ok(filter)
    }

    fn from_file(file: PrefixFile) -> Result<Self, FilterError> {
        if file.version != FILE_VERSION {
            return Err(FilterError::Version(file.version));
        }
        let read = |(at, entry): (usize, PrefixFileEntry)| {
            for (field, text) in [("prefix", &entry.prefix), ("source", &entry.source)] {
                if text.is_empty() {
                    return Err(FilterError::EmptyField { at, field });
                }
            }
            let pattern = Pattern::Literal(entry.prefix.into());
            Ok(Prefix { source: Some(Source::from(&*entry.source)), exclude: entry.invert, pattern })
        };
        let prefixes: Vec<Prefix> =
            file.valid_prefixes.into_iter().enumerate().map(read).collect::<Result<_, _>>()?;
        let only_included = prefixes.iter().any(|prefix| !prefix.exclude);
        Ok(Self { prefixes, only_included })
    }

    /// Whether a label makes identity: the longest inclusion beats the shortest exclusion, and where neither matches it
    /// does unless inclusions were asked for.
    pub fn is_identity(&self, label: &Label) -> bool {
        let lengths = |exclude: bool| {
            self.prefixes
                .iter()
                .filter(move |prefix| prefix.exclude == exclude)
                .filter_map(|prefix| prefix.matched(label))
        };
        let included = lengths(false).max().unwrap_or(0);
        // A match of no length counts as none, as in Cilium 1.4.
        let excluded = lengths(true).filter(|length| *length > 0).min().unwrap_or(0);
        (!self.only_included && excluded == 0) || included > excluded
    }

    /// Divides the labels of a workload.
    pub fn filter(&self, labels: &Labels) -> Filtered {
        let (identity, information): (Vec<Label>, Vec<Label>) =
            labels.iter().cloned().partition(|label| self.is_identity(label));
        Filtered { identity: identity.into_iter().collect(), information: information.into_iter().collect() }
    }
}

/// One entry a line, as the agent logs them: `!k8s:prefix`.
impl fmt::Display for LabelFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for prefix in &self.prefixes {
            let sign = if prefix.exclude { "!" } else { "" };
            let source = prefix.source.as_ref().map_or("", Source::as_str);
            let pattern = match &prefix.pattern {
                Pattern::Literal(text) => text,
                Pattern::Regex(regex) => regex.as_str(),
            };
            writeln!(f, "{sign}{source}:{pattern}")?;
        }
        Ok(())
    }
}
