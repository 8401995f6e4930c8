// SPDX-License-Identifier: Apache-2.0
//! Which labels an endpoint has.

use identity::reserved::{INIT, NAMESPACE_LABEL, NAMESPACE_NAME_LABEL, SERVICE_ACCOUNT_LABEL};
use identity::{CLUSTER_LABEL, Filtered, Label, LabelFilter, Labels, Source};

use super::record::{Endpoint, PodFacts};
use crate::event::{LabelChange, Namespace, Pod};
use crate::reply::Refusal;

/// What the keys of a namespace's labels begin with on its pods.
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

/// A label of Kubernetes. One without a key cannot be.
fn k8s(key: &str, value: &str) -> Option<Label> {
    Label::new(Source::K8s, key, value).ok()
}

/// Whether the product gives labels of this key: a pod that could give them itself would pass for one of another
/// namespace.
fn is_given(key: &str) -> bool {
    [NAMESPACE_LABEL, SERVICE_ACCOUNT_LABEL, CLUSTER_LABEL].contains(&key)
        || key.starts_with(NAMESPACE_LABELS)
}

/// What a pod's object says of its endpoint.
pub(crate) fn facts(pod: &Pod) -> PodFacts {
    let own = pod.labels.iter().filter(|(key, _)| !is_given(key)).filter_map(|(key, value)| k8s(key, value));
    let account = pod.service_account.as_deref().filter(|account| !account.is_empty());
    let account = account.and_then(|account| k8s(SERVICE_ACCOUNT_LABEL, account));
    let mut named_ports = pod.named_ports.clone();
    named_ports.sort();
    PodFacts { labels: own.chain(account).collect(), named_ports }
}

/// What a pod has from where it is: its namespace, that namespace's labels, its cluster. Each namespace has a label with
/// its name, as in every cluster since Kubernetes 1.21.
fn place(namespace: &str, object: Option<&Namespace>, cluster: &str) -> Labels {
    let of_namespace = object.iter().flat_map(|object| &object.labels);
    let of_namespace =
        of_namespace.filter_map(|(key, value)| k8s(&format!("{NAMESPACE_LABELS}{key}"), value));
    let named = [(NAMESPACE_NAME_LABEL, namespace), (NAMESPACE_LABEL, namespace), (CLUSTER_LABEL, cluster)];
    of_namespace.chain(named.into_iter().filter_map(|(key, value)| k8s(key, value))).collect()
}

/// The labels of an endpoint: what its maker, its pod's object and its user say. Until any of them speaks, and where
/// nothing of what they say makes an identity, it is `reserved:init`.
pub(crate) fn filtered(
    endpoint: &Endpoint,
    namespace: Option<&Namespace>,
    cluster: &str,
    filter: &LabelFilter,
) -> Filtered {
    let enabled = workload(endpoint, namespace, cluster)
        .iter()
        .filter(|label| endpoint.disabled_labels.find(label.source(), label.key()).is_none())
        .cloned()
        .collect::<Labels>()
        .merged(&endpoint.user_labels);
    let mut filtered = filter.filter(&enabled);
    if filtered.identity.is_empty() {
        filtered.identity = init();
    }
    filtered
}

/// The labels of an endpoint before its user changed anything.
fn workload(endpoint: &Endpoint, namespace: Option<&Namespace>, cluster: &str) -> Labels {
    let own = endpoint.workload_labels();
    let known = endpoint.pod.is_some() || !own.is_empty() || !endpoint.user_labels.is_empty();
    let name = &endpoint.request.k8s_namespace;
    if known && !name.is_empty() { own.merged(&place(name, namespace, cluster)) } else { own }
}

/// `reserved:init`.
pub(crate) fn init() -> Labels {
    Label::new(Source::Reserved, INIT, "").into_iter().collect()
}

/// Labels that a request must not bring.
pub(crate) fn check_no_reserved(labels: &Labels) -> Result<(), Refusal> {
    let reserved = labels.iter().find(|label| *label.source() == Source::Reserved);
    match reserved {
        Some(label) => Err(Refusal::Field {
            field: "labels",
            reason: format!("{label} cannot be given: reserved labels are the product's"),
        }),
        None => Ok(()),
    }
}

/// Whether a label that a user names is this one: without a source, any source.
fn names(given: &Label, label: &Label) -> bool {
    let any = matches!(given.source(), Source::Unspec | Source::Any);
    given.key() == label.key() && (any || given.source() == label.source())
}

/// A user's labels and those that the user took away, after a change.
pub(crate) fn changed(
    endpoint: &Endpoint,
    namespace: Option<&Namespace>,
    cluster: &str,
    change: &LabelChange,
) -> Result<(Labels, Labels), Refusal> {
    let (mut user, mut disabled): (Vec<Label>, Vec<Label>) =
        (endpoint.user_labels.to_vec(), endpoint.disabled_labels.to_vec());
    let (add, delete) = match change {
        LabelChange::Patch { add, delete } => (add, delete),
        LabelChange::User(labels) => {
            check_no_reserved(labels)?;
            return Ok((labels.clone(), endpoint.disabled_labels.clone()));
        }
    };
    check_no_reserved(add)?;
    let workload = workload(endpoint, namespace, cluster);
    for label in delete.iter() {
        let before = user.len();
        user.retain(|one| !names(label, one));
        if user.len() < before {
            continue;
        }
        let own = workload.iter().find(|one| names(label, one));
        match own.filter(|own| !disabled.iter().any(|one| names(own, one))) {
            Some(own) => disabled.push(own.clone()),
            None => {
                let reason = format!("{label} cannot be deleted: the endpoint does not have it");
                return Err(Refusal::Field { field: "labels", reason });
            }
        }
    }
    for label in add.iter() {
        let was = disabled.len();
        disabled.retain(|one| !(names(label, one) && label.value() == one.value()));
        // A label of the workload that comes back is the workload's again.
        if disabled.len() == was {
            user.push(label.clone());
        }
    }
    Ok((user.into_iter().collect(), disabled.into_iter().collect()))
}
