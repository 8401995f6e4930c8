// SPDX-License-Identifier: Apache-2.0
//! Who gave a label: Kubernetes, a container runtime, the product itself.

use std::fmt;

/// The source of a label.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Source {
    /// Nobody said.
    Unspec,
    /// In a selector: every source.
    Any,
    /// Kubernetes.
    K8s,
    /// Mesos.
    Mesos,
    /// The container runtime.
    Container,
    /// Fixed meanings: host, world and so on.
    Reserved,
    /// Made from a CIDR in a rule.
    Cidr,
    /// Made by the product, never by a user.
    CiliumGenerated,
    /// Any other word: a user may bring sources of their own.
    Other(Box<str>),
}

impl Source {
    /// The word before the colon.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Unspec => "unspec",
            Self::Any => "any",
            Self::K8s => "k8s",
            Self::Mesos => "mesos",
            Self::Container => "container",
            Self::Reserved => "reserved",
            Self::Cidr => "cidr",
            Self::CiliumGenerated => "cilium-generated",
            Self::Other(word) => word,
        }
    }

    /// Whether a selecting label of this source sees labels of `target`.
    pub fn selects(&self, target: &Self) -> bool {
        *self == Self::Any || self == target
    }
}

impl From<&str> for Source {
    fn from(word: &str) -> Self {
        match word {
            "unspec" => Self::Unspec,
            "any" => Self::Any,
            "k8s" => Self::K8s,
            "mesos" => Self::Mesos,
            "container" => Self::Container,
            "reserved" => Self::Reserved,
            "cidr" => Self::Cidr,
            "cilium-generated" => Self::CiliumGenerated,
            other => Self::Other(other.into()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Splits the source off: `k8s:app` → (k8s, `app`), `$host` and `reserved.host` → (reserved, `host`), `app` and `:app` →
/// (none, `app`).
pub(crate) fn split(text: &str) -> (Option<Source>, &str) {
    if let Some(rest) = text.strip_prefix('$') {
        return (Some(Source::Reserved), rest);
    }
    match text.split_once(':') {
        Some(("", rest)) => (None, rest),
        Some((source, rest)) => (Some(Source::from(source)), rest),
        None => match text.strip_prefix("reserved.") {
            Some(rest) => (Some(Source::Reserved), rest),
            None => (None, text),
        },
    }
}
