// SPDX-License-Identifier: Apache-2.0
//! Clusters of a size, for the benchmarks of the control plane. `cargo bench -p bench-control` runs them.
//!
//! A cluster of size N has N applications, each with an identity and a rule: it accepts TCP on one port from the next
//! application, from a CIDR, and it sends to the one before. A hundred of the applications have an endpoint on the node,
//! as many as Kubernetes puts on one by default (110 pods).

pub mod services;

use identity::{LabelArray, Labels, NumericIdentity, cidr};
use policy::{Endpoint, Options, Repository, Resolver, Rule, parse_rules_json};

/// How many endpoints the node has.
pub const ENDPOINTS: usize = 100;
/// The number of the first identity that is not reserved.
const FIRST: usize = 256;
/// The first number of an identity of a CIDR.
const FIRST_LOCAL: usize = 1 << 24;

/// A cluster of one size.
#[derive(Debug)]
pub struct Cluster {
    identities: Vec<(NumericIdentity, Labels)>,
    rules: Vec<Rule>,
}

impl Cluster {
    /// Of `size` applications.
    pub fn new(size: usize) -> Self {
        let applications = (0..size).map(|at| (number(FIRST + at), labels(at)));
        let prefixes = (0..size).map(|at| {
            let prefix = prefix(at).parse().expect("an IPv4 prefix");
            (number(FIRST_LOCAL + 1 + at), cidr::labels(prefix))
        });
        let reserved = ["host", "world", "unmanaged", "health", "init"];
        let reserved = reserved.iter().enumerate().map(|(at, name)| {
            (number(at + 1), Labels::parse([format!("reserved:{name}")]).expect("a label"))
        });
        Self {
            identities: reserved.chain(applications).chain(prefixes).collect(),
            rules: (0..size).map(|at| rule(at, size)).collect(),
        }
    }

    /// The rules.
    pub fn rules(&self) -> Vec<Rule> {
        self.rules.clone()
    }

    /// A repository with the rules, and a resolver that has computed every map.
    pub fn computed(&self) -> (Repository, Resolver) {
        let mut repository = Repository::new("default");
        repository.add(self.rules());
        let mut resolver = self.node();
        resolver.rules_changed(&repository);
        resolver.take_deltas();
        (repository, resolver)
    }

    /// A resolver that knows identities and endpoints, and no rule.
    pub fn node(&self) -> Resolver {
        let mut resolver = Resolver::new(Options::default());
        for (identity, labels) in &self.identities {
            resolver.identity_added(*identity, labels);
        }
        for at in 0..ENDPOINTS {
            let endpoint = Endpoint { labels: labels(at), ..Endpoint::default() };
            resolver.endpoint_changed(at as u16 + 1, endpoint);
        }
        resolver
    }
}

fn number(number: usize) -> NumericIdentity {
    NumericIdentity::new(number as u32)
}

/// Of application `at`: six labels, as pods of a deployment with a few of their own have.
pub fn labels(at: usize) -> Labels {
    Labels::parse([
        format!("k8s:app=app-{at}"),
        format!("k8s:tier=tier-{}", at % 10),
        format!("k8s:io.kubernetes.pod.namespace=ns-{}", at % 50),
        format!("k8s:io.cilium.k8s.namespace.labels.team=team-{}", at % 20),
        "k8s:io.cilium.k8s.policy.serviceaccount=default".to_owned(),
        "k8s:io.cilium.k8s.policy.cluster=default".to_owned(),
    ])
    .expect("labels")
}

fn prefix(at: usize) -> String {
    format!("10.{}.{}.0/24", at / 256 % 256, at % 256)
}

/// The label by which the rule that the benchmarks add is deleted.
pub fn added_label() -> LabelArray {
    LabelArray::parse(["k8s:added=yes"]).expect("a label")
}

fn rule(at: usize, size: usize) -> Rule {
    let (next, before, port) = ((at + 1) % size, (at + size - 1) % size, 1024 + at % 10_000);
    let peer = |at: usize| {
        format!(
            r#"{{"matchLabels": {{"app": "app-{at}", "k8s:io.kubernetes.pod.namespace": "ns-{}"}}}}"#,
            at % 50
        )
    };
    parsed(&format!(
        r#"{{"endpointSelector": {subject},
            "ingress": [{{"fromEndpoints": [{next}], "fromCIDR": ["{prefix}"],
                          "toPorts": [{{"ports": [{{"port": "{port}", "protocol": "TCP"}}]}}]}}],
            "egress": [{{"toEndpoints": [{before}]}}]}}"#,
        subject = peer(at),
        next = peer(next),
        before = peer(before),
        prefix = prefix(at),
    ))
}

/// A rule for one endpoint of the node, from one application.
pub fn rule_for_one() -> Rule {
    parsed(
        r#"{"endpointSelector": {"matchLabels": {"app": "app-7"}}, "labels": ["k8s:added=yes"],
            "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "app-50"}}]}]}"#,
    )
}

/// A rule for every endpoint of the node, from a tenth of the cluster.
pub fn rule_for_all() -> Rule {
    parsed(
        r#"{"endpointSelector": {}, "labels": ["k8s:added=yes"],
            "ingress": [{"fromEndpoints": [{"matchLabels": {"tier": "tier-3"}}]}]}"#,
    )
}

fn parsed(text: &str) -> Rule {
    parse_rules_json(text).expect("a rule").remove(0)
}
