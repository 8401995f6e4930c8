// SPDX-License-Identifier: Apache-2.0
//! Rows of services: all of them at once, and one change among 1, 1000 and 10000.

use std::hint::black_box;
use std::time::Duration;

use bench_control::services::{balanced, services, slice};
use criterion::{BatchSize, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

/// Backends of each service.
const EACH: u32 = 10;
const SIZES: [u32; 3] = [1, 1_000, 10_000];

/// All rows from nothing.
fn compute(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("services/compute");
    for size in SIZES {
        let told = services(size, EACH);
        group.throughput(Throughput::Elements(size.into()));
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter_batched(
                || told.clone(),
                |told| {
                    let balancer = balanced(told);
                    assert_eq!(balancer.frontends().len(), size as usize);
                    assert_eq!(balancer.backends().len(), (size * EACH) as usize);
                    balancer
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

/// A backend of one service goes and comes back: the time must not go by how many services there are.
fn change(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("services/backend_goes_and_comes_back");
    for size in SIZES {
        let mut balancer = balanced(services(size, EACH));
        let (fewer, all) = (slice(size / 2, EACH - 1), slice(size / 2, EACH));
        let key = all.key.clone();
        group.bench_function(BenchmarkId::from_parameter(size), |bencher| {
            bencher.iter(|| {
                balancer.set_slice(&key, Some(fewer.clone()));
                let gone = balancer.changes();
                assert!(!gone.is_empty(), "the backend must matter");
                balancer.set_slice(&key, Some(all.clone()));
                black_box((gone, balancer.changes()))
            });
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
    targets = compute, change
}
criterion_main!(benches);
