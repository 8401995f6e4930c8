// SPDX-License-Identifier: Apache-2.0
//! What our agent costs besides packets, as rows of a table.

use netns_lab::record::{AgentRecord, ServicesRecord};

use crate::figures::{NONE, number};
use crate::statistics::{ascending, quantile};

/// What the table is about.
pub const TITLE: &str = "The agent besides packets";

/// How the rows are to be read.
pub const READING: &str = "On a node of its own, after the packets were measured, one thing at a time. ADD is the CNI plugin's whole run: when \
     it ends, the pod has its address and its programs, and policy is enforced. A policy's time runs from its file to the moment \
     that every endpoint enforces it. The agent was killed by SIGKILL while one pod sent datagrams to another, each after the \
     answer to the one before and a pause of 1 ms. Services are those of another node with three pods: their time runs from the \
     first file of their manifests to the moment that all are realized; a backend's change runs from the file of its slice to the \
     answer of the new backend to the first new connection that reaches it.";

/// Samples of which a 99th percentile says more than the largest of them.
const ENOUGH_FOR_P99: usize = 50;

/// Name and value of each figure; one row with the reason where there are none.
pub fn rows(record: &AgentRecord) -> Vec<(String, String)> {
    if let Some(reason) = &record.not_run {
        return vec![("not run".into(), reason.clone())];
    }
    let endpoints = record.endpoints;
    let total: u64 = record.pod_add_ns.iter().sum();
    let restarts = &record.restarts;
    let of_restarts = |figure: &dyn Fn(&netns_lab::record::RestartRecord) -> u64| -> Vec<u64> {
        restarts.iter().map(figure).collect()
    };
    let (answered, lost): (u64, u64) =
        restarts.iter().fold((0, 0), |(a, l), restart| (a + restart.answered, l + restart.lost));
    let mut rows = vec![
        ("ADD of a pod, ms".into(), spread_ms(&record.pod_add_ns)),
        (format!("ADD of {endpoints} pods one after the other, s"), number(total as f64 / 1e9)),
        (format!("policy enforced on {endpoints} endpoints, ms"), spread_ms(&record.policy_ns)),
        (
            format!("agent ready after SIGKILL with {endpoints} endpoints, ms"),
            spread_ms(&of_restarts(&|restart| restart.ready_ns)),
        ),
        (
            "longest time between two answers during these restarts, ms".into(),
            spread_ms(&of_restarts(&|restart| restart.longest_gap_ns)),
        ),
        ("datagrams lost during these restarts".into(), format!("{lost} of {}", answered + lost)),
        ("resident memory with 1 endpoint, MiB".into(), mib(record.resident_bytes_one)),
        (format!("resident memory with {endpoints} endpoints, MiB"), mib(record.resident_bytes_all)),
    ];
    rows.extend(record.services.iter().flat_map(service_rows));
    rows
}

fn service_rows(record: &ServicesRecord) -> Vec<(String, String)> {
    let ServicesRecord { services, backends, .. } = record;
    vec![
        (
            format!("{services} services with {backends} backends each, from manifests to maps, ms"),
            spread_ms(&record.program_ns),
        ),
        (
            "a backend's change seen by a new connection, one service, ms".into(),
            spread_ms(&record.change_one_ns),
        ),
        (
            format!("a backend's change seen by a new connection, {services} services more, ms"),
            spread_ms(&record.change_all_ns),
        ),
        (format!("resident memory with {services} services, MiB"), mib(record.resident_bytes)),
    ]
}

/// Median, 90th percentile, largest, and how many there are.
fn spread_ms(nanoseconds: &[u64]) -> String {
    let sorted = ascending(&nanoseconds.iter().map(|ns| *ns as f64 / 1e6).collect::<Vec<_>>());
    match (quantile(&sorted, 0.5), quantile(&sorted, 0.9), sorted.last()) {
        (Some(p50), Some(p90), Some(largest)) => {
            let p99 = quantile(&sorted, 0.99).filter(|_| sorted.len() >= ENOUGH_FOR_P99);
            let p99 = p99.map(|p99| format!(", p99 {}", number(p99))).unwrap_or_default();
            let [p50, p90, largest] = [p50, p90, *largest].map(number);
            format!("p50 {p50}, p90 {p90}{p99}, largest {largest} ({} samples)", sorted.len())
        }
        _ => NONE.into(),
    }
}

fn mib(bytes: u64) -> String {
    number(bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use netns_lab::record::RestartRecord;

    use super::*;

    #[test]
    fn every_figure_has_its_row_with_its_unit() {
        let restart =
            |lost| RestartRecord { ready_ns: 40_000_000, answered: 99, lost, longest_gap_ns: 2_000_000 };
        let record = AgentRecord {
            endpoints: 3,
            pod_add_ns: vec![10_000_000, 30_000_000, 20_000_000],
            resident_bytes_one: 10 << 20,
            resident_bytes_all: 12 << 20,
            policy_ns: vec![5_000_000],
            restarts: vec![restart(0), restart(1)],
            services: Some(ServicesRecord {
                services: 10_000,
                backends: 10,
                program_ns: vec![2_000_000_000],
                change_one_ns: (1..=100).map(|n| n * 1_000_000).collect(),
                change_all_ns: vec![7_000_000],
                resident_bytes: 99 << 20,
            }),
            not_run: None,
        };
        let rows = rows(&record);
        let value = |part: &str| &rows.iter().find(|(name, _)| name.contains(part)).expect(part).1;
        assert!(value("ADD of a pod").starts_with("p50 20.0, p90 "), "{rows:?}");
        assert_eq!(value("ADD of 3 pods"), "0.060");
        assert_eq!(value("policy enforced on 3"), "p50 5.00, p90 5.00, largest 5.00 (1 samples)");
        assert_eq!(value("datagrams lost"), "1 of 199");
        assert_eq!(value("with 1 endpoint"), "10.0");
        assert_eq!(value("memory with 3 endpoints"), "12.0");
        assert!(value("10000 services with 10 backends each").starts_with("p50 2,000,"), "{rows:?}");
        assert!(value("one service").contains("p99 99.0"), "{rows:?}");
        assert!(value("10000 services more").starts_with("p50 7.00, p90 7.00, largest"), "{rows:?}");
        assert_eq!(value("memory with 10000 services"), "99.0");
    }

    #[test]
    fn without_figures_there_is_the_reason() {
        let record = AgentRecord { not_run: Some("kernel lacks TCX".into()), ..AgentRecord::default() };
        assert_eq!(rows(&record), [("not run".to_owned(), "kernel lacks TCX".to_owned())]);
        assert_eq!(spread_ms(&[]), NONE);
    }
}
