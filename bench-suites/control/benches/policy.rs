// SPDX-License-Identifier: Apache-2.0
//! Policy maps of a node with 100 endpoints in clusters of 100, 1000 and 10000 applications: see [`bench_control`].

use std::hint::black_box;
use std::time::Duration;

use bench_control::{Cluster, added_label, labels, rule_for_all, rule_for_one};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use identity::NumericIdentity;
use policy::{Rule, parse_rules_json};

const SIZES: [usize; 3] = [100, 1_000, 10_000];
/// No other identity has this number.
const NEW: NumericIdentity = NumericIdentity::new(60_000);

/// All maps from nothing: identities, endpoints, rules.
fn compute(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/compute");
    for size in SIZES {
        let cluster = Cluster::new(size);
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_with_large_drop(|| cluster.computed());
        });
    }
    group.finish();
}

/// One identity comes and goes; a rule of one endpoint selects it.
fn identity(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/identity_comes_and_goes");
    for size in SIZES {
        let (_repository, mut resolver) = Cluster::new(size).computed();
        // Application 8 is a peer of application 7, which has an endpoint; another identity of the same labels but one.
        let labels = labels(8).merged(&identity::Labels::parse(["k8s:version=2"]).expect("a label"));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                resolver.identity_added(NEW, &labels);
                let added = resolver.take_deltas();
                assert!(!added.is_empty(), "the identity must matter");
                resolver.identity_removed(NEW);
                black_box((added, resolver.take_deltas()))
            });
        });
    }
    group.finish();
}

/// One rule comes and goes.
fn rule(criterion: &mut Criterion) {
    for (name, rule) in [
        ("policy/rule_for_one_endpoint_comes_and_goes", rule_for_one()),
        ("policy/rule_for_all_endpoints_comes_and_goes", rule_for_all()),
    ] {
        let mut group = criterion.benchmark_group(name);
        for size in SIZES {
            let (mut repository, mut resolver) = Cluster::new(size).computed();
            let label = added_label();
            group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
                bencher.iter_batched(
                    || vec![rule.clone()],
                    |rules| {
                        repository.add(rules);
                        resolver.rules_changed(&repository);
                        let added = resolver.take_deltas();
                        assert!(!added.is_empty(), "the rule must matter");
                        repository.delete_by_labels(&label);
                        resolver.rules_changed(&repository);
                        (added, resolver.take_deltas())
                    },
                    BatchSize::SmallInput,
                );
            });
        }
        group.finish();
    }
}

/// Rules from JSON.
fn parse(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("policy/parse");
    for size in SIZES {
        let rules: Vec<Rule> = Cluster::new(size).rules();
        let text = serde_json::to_string(&rules).expect("rules are written");
        group.throughput(Throughput::Elements(size as u64));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_with_large_drop(|| parse_rules_json(&text).expect("rules are read"));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(2));
    targets = parse, compute, identity, rule
}
criterion_main!(benches);
