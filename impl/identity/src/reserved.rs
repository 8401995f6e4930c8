// SPDX-License-Identifier: Apache-2.0
//! Identities with a fixed meaning: the names, the well-known components of a cluster, and those that users fix.

use std::collections::BTreeMap;

use crate::entity::CLUSTER_LABEL;
use crate::label::Label;
use crate::labels::Labels;
use crate::numeric::NumericIdentity;
use crate::source::Source;

/// Every label.
pub const ALL: &str = "all";
/// The node that the agent runs on.
pub const HOST: &str = "host";
/// What is outside the cluster.
pub const WORLD: &str = "world";
/// A pod in the cluster that this product does not manage.
pub const UNMANAGED: &str = "unmanaged";
/// The endpoint by which nodes probe each other.
pub const HEALTH: &str = "health";
/// An endpoint that has no labels yet.
pub const INIT: &str = "init";
/// Never given to anything.
pub const NONE: &str = "none";

/// The label by which a pod asks for an identity that a user fixed; its value is the name.
pub const FIXED_IDENTITY_LABEL: &str = "io.cilium.fixed-identity";
/// The label that holds a pod's namespace.
pub const NAMESPACE_LABEL: &str = "io.kubernetes.pod.namespace";
/// The label that holds the name of a pod's namespace as Kubernetes since 1.21 labels it.
pub const NAMESPACE_NAME_LABEL: &str = "io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name";
/// The label that holds a pod's service account.
pub const SERVICE_ACCOUNT_LABEL: &str = "io.cilium.k8s.policy.serviceaccount";

const NAMED: [(&str, NumericIdentity); 6] = [
    ("unknown", NumericIdentity::UNKNOWN),
    (HOST, NumericIdentity::HOST),
    (WORLD, NumericIdentity::WORLD),
    (UNMANAGED, NumericIdentity::UNMANAGED),
    (HEALTH, NumericIdentity::HEALTH),
    (INIT, NumericIdentity::INIT),
];

/// The name of an identity below 6.
pub fn name_of(identity: NumericIdentity) -> Option<&'static str> {
    NAMED.iter().find(|(_, one)| *one == identity).map(|(name, _)| *name)
}

/// The identity of this name.
pub fn identity_named(name: &str) -> Option<NumericIdentity> {
    NAMED.iter().find(|(one, _)| *one == name).map(|(_, identity)| *identity)
}

/// An entry of `--fixed-identity-mapping` that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FixedIdentityError {
    /// The number is outside of 128 to 255.
    #[error("fixed identity {0}: the number must be from 128 to 255")]
    OutOfRange(u32),
    /// The name is empty, or one that is reserved already.
    #[error("fixed identity {0}: {1:?} cannot be its name")]
    Name(u32, String),
    /// Two numbers for one name.
    #[error("fixed identity {0}: {1:?} is the name of another")]
    Twice(u32, String),
}

/// Who numbers a set of labels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Numbering {
    /// Nobody needs to: this is its number.
    Fixed(NumericIdentity),
    /// This node, for itself: all labels are of CIDRs or reserved.
    Local,
    /// The cluster.
    Cluster,
}

/// All identities that need no allocation.
#[derive(Debug, Clone)]
pub struct FixedIdentities {
    by_labels: BTreeMap<Labels, NumericIdentity>,
    by_name: BTreeMap<String, NumericIdentity>,
}

impl FixedIdentities {
    /// Those of a cluster of this name whose components run in `namespace` (`kube-system`), and the user's.
    pub fn new(
        cluster: &str,
        namespace: &str,
        users: impl IntoIterator<Item = (u32, String)>,
    ) -> Result<Self, FixedIdentityError> {
        let mut fixed = Self { by_labels: BTreeMap::new(), by_name: BTreeMap::new() };
        for (name, identity) in &NAMED[1..] {
            fixed.by_labels.insert(Labels::from_iter([Label::reserved(name)]), *identity);
        }
        fixed.by_labels.extend(well_known(cluster, namespace).map(|(identity, labels)| (labels, identity)));
        for (number, name) in users {
            fixed.add(number, name)?;
        }
        Ok(fixed)
    }

    fn add(&mut self, number: u32, name: String) -> Result<(), FixedIdentityError> {
        let identity = NumericIdentity::new(number);
        if !identity.is_fixed() {
            return Err(FixedIdentityError::OutOfRange(number));
        }
        if name.is_empty() || [ALL, NONE].contains(&name.as_str()) || identity_named(&name).is_some() {
            return Err(FixedIdentityError::Name(number, name));
        }
        if self.by_name.get(&name).is_some_and(|other| *other != identity) {
            return Err(FixedIdentityError::Twice(number, name));
        }
        self.by_labels.insert(Labels::from_iter([Label::reserved(&name)]), identity);
        self.by_name.insert(name, identity);
        Ok(())
    }

    /// Who numbers these labels. A pod that asks for a fixed identity nobody defined is numbered like any other.
    pub fn numbering(&self, labels: &Labels) -> Numbering {
        if let Some(identity) = self.by_labels.get(labels) {
            return Numbering::Fixed(*identity);
        }
        let asked =
            labels.find(&Source::Any, FIXED_IDENTITY_LABEL).and_then(|label| self.by_name.get(label.value()));
        if let Some(identity) = asked {
            return Numbering::Fixed(*identity);
        }
        let here = labels.iter().all(|label| matches!(label.source(), Source::Cidr | Source::Reserved));
        if here { Numbering::Local } else { Numbering::Cluster }
    }

    /// Every one with its labels, in the order of the labels.
    pub fn iter(&self) -> impl Iterator<Item = (NumericIdentity, &Labels)> {
        self.by_labels.iter().map(|(labels, identity)| (*identity, labels))
    }
}

/// A well-known component: its number, its namespace, its service account, its own labels.
type Component<'a> = (u32, &'a str, &'a str, &'a [(&'a str, &'a str)]);

/// How far above a component's number is the one for clusters that label each namespace with its name, as later versions
/// of Cilium number them.
const NAMED_NAMESPACE: u32 = 8;

/// Components that must have an identity before there is a key-value store to get one from. 107 came with Cilium 1.4.1.
fn well_known(cluster: &str, namespace: &str) -> impl Iterator<Item = (NumericIdentity, Labels)> {
    const DNS: (&str, &str) = ("k8s-app", "kube-dns");
    const EKS: &str = "eks.amazonaws.com/component";
    const SYSTEM: &str = "kube-system";
    let rows: [Component<'_>; 8] = [
        (100, namespace, "cilium-etcd-sa", &[("io.cilium/app", "etcd-operator")]),
        (
            101,
            namespace,
            "default",
            &[("app", "etcd"), ("etcd_cluster", "cilium-etcd"), ("io.cilium/app", "etcd-operator")],
        ),
        (102, SYSTEM, "kube-dns", &[DNS]),
        (103, SYSTEM, "kube-dns", &[DNS, (EKS, "kube-dns")]),
        (104, SYSTEM, "coredns", &[DNS]),
        (105, namespace, "cilium-operator", &[("io.cilium/app", "operator"), ("name", "cilium-operator")]),
        (106, SYSTEM, "coredns", &[DNS, (EKS, "coredns")]),
        (
            107,
            namespace,
            "cilium-etcd-operator",
            &[("io.cilium/app", "etcd-operator"), ("name", "cilium-etcd-operator")],
        ),
    ];
    let labelled = move |(number, namespace, account, own): Component<'_>| {
        let common =
            [(NAMESPACE_LABEL, namespace), (SERVICE_ACCOUNT_LABEL, account), (CLUSTER_LABEL, cluster)];
        let before: Labels = own
            .iter()
            .copied()
            .chain(common)
            .map(|(key, value)| Label::of(Source::K8s, key, value))
            .collect();
        let since =
            before.merged(&Labels::from_iter([Label::of(Source::K8s, NAMESPACE_NAME_LABEL, namespace)]));
        [(NumericIdentity::new(number), before), (NumericIdentity::new(number + NAMED_NAMESPACE), since)]
    };
    rows.into_iter().flat_map(labelled)
}
