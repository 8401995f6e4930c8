// SPDX-License-Identifier: Apache-2.0
//! `toServices`: Kubernetes services as peers.

use std::fmt;

use identity::{EndpointSelector, Labels, RawExpression, RawSelector, SelectorKey, Source};
use serde::{Deserialize, Serialize};

use super::check::fault;
use crate::error::ParseError;
use crate::object::{read_from_objects, write_as_derived};
use crate::path::Path;
use crate::services::ServiceName;

read_from_objects!(RawService, RawServiceName, RawServiceSelector);
write_as_derived!(RawService, RawServiceName, RawServiceSelector);

/// The longest name of a Kubernetes object, in bytes.
const NAME_MAX: usize = 253;

/// An entry of `toServices`: the addresses of the endpoints of some Kubernetes services, on any port unless `toPorts`
/// says which. As in 1.4:
///
/// - only services without a selector count, headless ones too: the others have pods, whom rules know by their labels;
/// - it is their endpoints that may be reached, whatever clients call them by: a service's own address leads there;
/// - an address stands for nobody but who is outside: if a pod or the node has it, rules see that one by its labels,
///   and this entry does not speak of it;
/// - without a namespace the services of every namespace count, also in a CiliumNetworkPolicy.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceRule {
    /// Which services.
    pub services: ServiceSelector,
    /// Of this namespace; none: of any.
    pub namespace: Option<String>,
}

/// Which services of a namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ServiceSelector {
    /// `k8sService`: the one of this name.
    Named(String),
    /// `k8sServiceSelector`: those with these labels, whose source is always `k8s`.
    Labelled(EndpointSelector),
}

impl ServiceRule {
    /// Whether it speaks of the service of this name with these labels.
    pub fn selects(&self, service: &ServiceName, labels: &Labels) -> bool {
        let here = self.namespace.as_ref().is_none_or(|namespace| *namespace == service.namespace);
        here && match &self.services {
            ServiceSelector::Named(name) => *name == service.name,
            ServiceSelector::Labelled(selector) => selector.matches(labels),
        }
    }
}

/// `service shop/database`, `services shop/[k8s.tier=data]`; `*` is any namespace.
impl fmt::Display for ServiceRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let namespace = self.namespace.as_deref().unwrap_or("*");
        match &self.services {
            ServiceSelector::Named(name) => write!(f, "service {namespace}/{name}"),
            ServiceSelector::Labelled(selector) => write!(f, "services {namespace}/[{selector}]"),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawService {
    #[serde(skip_serializing_if = "Option::is_none")]
    k8s_service: Option<RawServiceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k8s_service_selector: Option<RawServiceSelector>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
struct RawServiceName {
    service_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawServiceSelector {
    selector: RawSelector,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<String>,
}

/// A valid entry of what was read at `at`.
pub(super) fn service(raw: RawService, at: &Path<'_>) -> Result<ServiceRule, ParseError> {
    match (raw.k8s_service, raw.k8s_service_selector) {
        (Some(named), None) => {
            let at = at.field("k8sService");
            let name = named.service_name.unwrap_or_default();
            check_name(&name, &at.field("serviceName"))?;
            let namespace = namespace(named.namespace, &at)?;
            Ok(ServiceRule { services: ServiceSelector::Named(name), namespace })
        }
        (None, Some(RawServiceSelector { selector, namespace: of })) => {
            let at = at.field("k8sServiceSelector");
            // Services have labels of Kubernetes and no others, so their keys carry no source.
            let selector = EndpointSelector::from_kubernetes(&Source::K8s, "", selector)
                .map_err(|error| ParseError::Selector { path: at.field("selector").to_string(), error })?;
            Ok(ServiceRule { services: ServiceSelector::Labelled(selector), namespace: namespace(of, &at)? })
        }
        (Some(_), Some(_)) => Err(fault(at, "k8sService or k8sServiceSelector must be given, not both")),
        (None, None) => Err(fault(at, "k8sService or k8sServiceSelector must be given")),
    }
}

fn namespace(text: Option<String>, at: &Path<'_>) -> Result<Option<String>, ParseError> {
    let given = text.filter(|text| !text.is_empty());
    given.map(|text| check_name(&text, &at.field("namespace")).map(|()| text)).transpose()
}

/// No object can have another name: a rule that names one says nothing, and its author meant something.
fn check_name(text: &str, at: &Path<'_>) -> Result<(), ParseError> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.';
    let edge = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_alphanumeric);
    let bytes = text.as_bytes();
    if text.is_empty() {
        Err(fault(at, "must not be empty"))
    } else if text.len() > NAME_MAX
        || !bytes.iter().copied().all(fits)
        || !edge(bytes.first())
        || !edge(bytes.last())
    {
        let reason = format!(
            "{text:?} is no name of an object: up to {NAME_MAX} of a-z, 0-9, '-' and '.', a letter or digit at both ends"
        );
        Err(fault(at, reason))
    } else {
        Ok(())
    }
}

impl From<&ServiceRule> for RawService {
    fn from(rule: &ServiceRule) -> Self {
        let namespace = rule.namespace.clone();
        match &rule.services {
            ServiceSelector::Named(name) => Self {
                k8s_service: Some(RawServiceName { service_name: Some(name.clone()), namespace }),
                k8s_service_selector: None,
            },
            ServiceSelector::Labelled(selector) => Self {
                k8s_service: None,
                k8s_service_selector: Some(RawServiceSelector { selector: as_given(selector), namespace }),
            },
        }
    }
}

/// The selector as its author wrote it: without the source of its keys.
fn as_given(selector: &EndpointSelector) -> RawSelector {
    let key = |key: &SelectorKey| key.key().to_owned();
    let labels = selector.match_labels().iter().map(|(own, value)| (key(own), value.to_string()));
    let expressions = selector
        .match_expressions()
        .iter()
        .map(|one| RawExpression { key: key(&one.key), ..RawExpression::from(one) });
    let (labels, expressions): (std::collections::BTreeMap<_, _>, Vec<_>) =
        (labels.collect(), expressions.collect());
    RawSelector {
        match_labels: (!labels.is_empty()).then_some(labels),
        match_expressions: (!expressions.is_empty()).then_some(expressions),
    }
}
