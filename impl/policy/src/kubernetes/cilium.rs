// SPDX-License-Identifier: Apache-2.0
//! `CiliumNetworkPolicy`: rules that speak of one namespace.

use identity::{EndpointSelector, Operator, SelectorKey, Source, reserved};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Metadata, Origin, PolicyKind, PolicyObject};
use crate::error::ParseError;
use crate::grant::selects_all;
use crate::object::read_from_objects;
use crate::path::Path;
use crate::rule::{RawRule, Rule, checked};

read_from_objects!(RawObject);

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawObject {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Metadata,
    spec: Option<RawRule>,
    specs: Option<Vec<RawRule>>,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
    // 1.4's own examples write it here, where it says nothing to anybody.
    #[serde(rename = "description")]
    _description: Option<IgnoredAny>,
}

/// The rules of `spec` and of `specs`, in that order.
pub(super) fn translated(raw: RawObject) -> Result<PolicyObject, ParseError> {
    let origin = Origin::new(PolicyKind::CiliumNetworkPolicy, raw.metadata)?;
    let mut rules = Vec::new();
    let mut warnings = Vec::new();
    if let Some(spec) = raw.spec {
        rules.push(rule(checked(spec, &Path::Root.field("spec"))?, &origin, &mut warnings));
    }
    let at = Path::Root.field("specs");
    for (index, spec) in raw.specs.unwrap_or_default().into_iter().enumerate() {
        rules.push(rule(checked(spec, &at.index(index))?, &origin, &mut warnings));
    }
    if rules.is_empty() {
        let reason = "a CiliumNetworkPolicy has a rule in spec, or rules in specs".into();
        return Err(ParseError::Schema { path: "spec".into(), reason });
    }
    Ok(origin.object(rules, warnings))
}

fn rule(rule: Rule, origin: &Origin, warnings: &mut Vec<String>) -> Rule {
    let anywhere = rule.services().filter(|entry| entry.namespace.is_none());
    warnings.extend(anywhere.map(|entry| {
        format!("egress.toServices: {entry} names no namespace: services of every namespace count")
    }));
    let subject = rule.endpoint_selector();
    // Such endpoints have no labels, and so none of a namespace; what they may talk to is anywhere.
    let init = demands(subject, &SelectorKey::of(Source::Reserved, reserved::INIT));
    let subject = if init { subject.clone() } else { bound(subject, &origin.namespace, warnings) };
    rule.translated(
        subject,
        |peer| {
            if !init {
                limit(peer, &origin.namespace);
            }
        },
        origin.rule_labels(),
    )
}

/// Whether what it selects must have this label. Only to speak of it, or to ask that it is absent, frees no policy from
/// its namespace.
fn demands(selector: &EndpointSelector, key: &SelectorKey) -> bool {
    let asks = |operator: &Operator| matches!(operator, Operator::In(_) | Operator::Exists);
    selector.match_labels().contains_key(key)
        || selector.match_expressions().iter().any(|one| one.key == *key && asks(&one.operator))
}

fn namespace_keys() -> [SelectorKey; 2] {
    [Source::K8s, Source::Any].map(|source| SelectorKey::of(source, reserved::NAMESPACE_LABEL))
}

/// The selector for this namespace only, whatever namespace it names: a policy speaks for its own.
fn bound(selector: &EndpointSelector, namespace: &str, warnings: &mut Vec<String>) -> EndpointSelector {
    let keys = namespace_keys();
    let mut bound = EndpointSelector::wildcard();
    bound.add_match(SelectorKey::of(Source::K8s, reserved::NAMESPACE_LABEL), namespace);
    if selects_all(selector) {
        // It would select all, the namespace's label or not: all of the namespace is what it may have.
        return bound;
    }
    for (key, value) in selector.match_labels() {
        if !keys.contains(key) {
            bound.add_match(key.clone(), value);
        } else if **value != *namespace {
            warnings.push(format!(
                "the endpointSelector names namespace {value:?}; the policy is in {namespace:?} and speaks for that one"
            ));
        }
    }
    selector.match_expressions().iter().cloned().for_each(|expression| bound.add_expression(expression));
    bound
}

/// A peer is in the policy's namespace unless it says where, or is no pod.
fn limit(peer: &mut EndpointSelector, namespace: &str) {
    let anywhere = peer.has_key_prefix(&Source::Reserved, "");
    if !anywhere && !namespace_keys().iter().any(|key| peer.has_key(key)) {
        peer.add_match(SelectorKey::of(Source::K8s, reserved::NAMESPACE_LABEL), namespace);
    }
}
