// SPDX-License-Identifier: Apache-2.0
//! Rules from Kubernetes objects: `NetworkPolicy` and `CiliumNetworkPolicy`.

mod cilium;
mod documents;
mod network_policy;

use std::collections::BTreeMap;
use std::fmt;

use identity::{Label, LabelArray, Source};
use serde::Deserialize;
use serde_json::Value;

use crate::error::{Feature, ParseError};
use crate::object::read_from_objects;
use crate::rule::{Rule, from_value};

pub use documents::{MAX_DOCUMENTS, MAX_DOCUMENTS_BYTES, documents, each_document};

read_from_objects!(Metadata);

/// The annotation that names a policy's rules differently from the policy.
const NAME_ANNOTATION: &str = "io.cilium.name";
/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";
/// What begins the keys of the labels by which a policy's rules are found.
const LABEL_PREFIX: &str = "io.cilium.k8s.policy.";

/// Which kind of object rules were translated from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PolicyKind {
    /// `cilium.io/v2`.
    CiliumNetworkPolicy,
    /// `networking.k8s.io/v1`, or `extensions/v1beta1`.
    NetworkPolicy,
}

impl PolicyKind {
    /// The word after `kind:`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CiliumNetworkPolicy => "CiliumNetworkPolicy",
            Self::NetworkPolicy => "NetworkPolicy",
        }
    }
}

impl fmt::Display for PolicyKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A policy object and the rules that it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyObject {
    /// What it is.
    pub kind: PolicyKind,
    /// Where it is.
    pub namespace: String,
    /// What it is called: the annotation `io.cilium.name` or the object's name.
    pub name: String,
    /// The rules, each with `labels` and, if the object has one, the label of its uid.
    pub rules: Vec<Rule>,
    /// What no other object's rules have all of: kind, namespace and name.
    pub labels: LabelArray,
    /// What its author should know.
    pub warnings: Vec<String>,
}

/// The rules of a document; none if it is an object of another kind.
///
/// # Errors
/// [`ParseError`] with the path of the field in the document.
pub fn policy_of(document: &Value) -> Result<Option<PolicyObject>, ParseError> {
    let text = |field: &'static str| {
        document.get(field).and_then(Value::as_str).ok_or_else(|| ParseError::Schema {
            path: field.into(),
            reason: "a Kubernetes object says its apiVersion and kind".into(),
        })
    };
    let (version, kind) = (text("apiVersion")?, text("kind")?);
    match (kind, version) {
        ("CiliumNetworkPolicy", "cilium.io/v2") => cilium::translated(from_value(document)?).map(Some),
        ("NetworkPolicy", "networking.k8s.io/v1" | "extensions/v1beta1") => {
            network_policy::translated(from_value(document)?).map(Some)
        }
        ("CiliumClusterwideNetworkPolicy", _) => {
            Err(ParseError::Unsupported { feature: Feature::ClusterwidePolicy, path: "kind".into() })
        }
        ("CiliumNetworkPolicy" | "NetworkPolicy", other) => Err(ParseError::Value {
            path: "apiVersion".into(),
            reason: format!("no {kind} of {other:?} is known: cilium.io/v2 or networking.k8s.io/v1"),
        }),
        _ => Ok(None),
    }
}

/// The parts of `metadata` that mean something here; Kubernetes has more, and adds to them.
#[derive(Debug, Default, Deserialize)]
#[serde(remote = "Self")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    uid: Option<String>,
    annotations: Option<BTreeMap<String, String>>,
}

/// Who a policy object is.
struct Origin {
    kind: PolicyKind,
    namespace: String,
    name: String,
    uid: Option<Label>,
    labels: LabelArray,
}

impl Origin {
    fn new(kind: PolicyKind, mut metadata: Metadata) -> Result<Self, ParseError> {
        let named = metadata.annotations.as_mut().and_then(|annotations| annotations.remove(NAME_ANNOTATION));
        let name = named.or(metadata.name).filter(|name| !name.is_empty()).ok_or_else(|| {
            ParseError::Schema { path: "metadata.name".into(), reason: "a policy must have a name".into() }
        })?;
        let namespace = metadata.namespace.filter(|namespace| !namespace.is_empty());
        let namespace = namespace.unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        let labels =
            [("derived-from", kind.as_str()), ("name", name.as_str()), ("namespace", namespace.as_str())]
                .map(|(key, value)| label(key, value));
        let labels = labels.into_iter().collect::<Result<LabelArray, _>>()?;
        let uid = metadata.uid.filter(|uid| !uid.is_empty()).map(|uid| label("uid", &uid)).transpose()?;
        Ok(Self { kind, namespace, name, uid, labels })
    }

    /// What each rule of the object is labelled with.
    fn rule_labels(&self) -> impl Iterator<Item = Label> {
        self.labels.iter().chain(&self.uid).cloned()
    }

    fn object(self, rules: Vec<Rule>, warnings: Vec<String>) -> PolicyObject {
        let Self { kind, namespace, name, labels, .. } = self;
        PolicyObject { kind, namespace, name, rules, labels, warnings }
    }
}

fn label(key: &str, value: &str) -> Result<Label, ParseError> {
    Label::new(Source::K8s, &format!("{LABEL_PREFIX}{key}"), value)
        .map_err(|error| ParseError::Value { path: "metadata".into(), reason: error.to_string() })
}
