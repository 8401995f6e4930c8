// SPDX-License-Identifier: Apache-2.0
//! What our own subjects are meant to reach, and by how much they do or do not.

use netns_lab::plan::{Placement, WorkloadKind};
use netns_lab::record::{AgentRecord, Clock, ServicesRecord};

use crate::analysis::RunAnalysis;
use crate::figures::number;
use crate::statistics::{Estimate, Interval, ascending, quantile};

/// What the table is about.
pub const TITLE: &str = "Our goals";

/// How the rows are to be read.
pub const READING: &str = "Ratios are to `routed`, both ends on one core. Met: the whole interval is within the goal; met or missed within the \
     interval: its middle is. A bare `veth` pair, which runs no program, is the floor.";

/// The series that the goals are for.
const OURS: &str = "ciliate-veth";
const WITH_POLICY: &str = "ciliate-veth-policy";
const WITH_ENTRIES: &str = "ciliate-veth-policy-10000";

/// Largest ratio to `routed`.
const RATIOS: [(WorkloadKind, f64); 4] = [
    (WorkloadKind::TcpRr, 0.88),
    (WorkloadKind::TcpCrr, 0.90),
    (WorkloadKind::TcpStream, 0.90),
    (WorkloadKind::UdpRr, 0.90),
];
/// Largest ratio of 10 000 policy entries to none.
const ENTRIES: f64 = 1.01;
const SERVICE: &str = "ciliate-service";
const SERVICE_PACKET: &str = "ciliate-service-packet";
/// Largest ratio of a new connection among 10 000 services to one among a single one.
const SERVICES: f64 = 1.01;
/// Largest ratio of a new connection to a service to one to its backend, sockets being translated.
const TO_DIRECT_SOCKET: f64 = 1.02;
/// The same packet by packet.
const TO_DIRECT_PACKET: f64 = 1.06;
/// Longest time until 10 000 services with 10 backends each are in the maps.
const PROGRAM_S: f64 = 3.0;
/// Longest time until a backend's change is seen by a new connection.
const CHANGE_P99_MS: f64 = 20.0;
const ADD_P50_MS: f64 = 30.0;
const ADD_ALL_S: f64 = 6.0;
const POLICY_P50_MS: f64 = 200.0;
const RESIDENT_ONE_MIB: f64 = 40.0;
const RESIDENT_ALL_MIB: f64 = 80.0;

/// A goal, what was measured, and what became of it.
pub type Row = [String; 3];

/// The goals that a run can say something of; a run in virtual time counts instructions, and says nothing of time.
pub fn rows(run: &RunAnalysis<'_>) -> Vec<Row> {
    if run.record.clock != Clock::Wall {
        return Vec::new();
    }
    let mut rows = Vec::new();
    for (workload, goal) in RATIOS {
        for subject in [OURS, WITH_POLICY, WITH_ENTRIES] {
            if let Some(ratio) = ratio(run, workload, subject) {
                rows.push(row(&format!("{subject}, {workload}"), goal, ratio));
            }
        }
        if let (Some(none), Some(many)) = (ratio(run, workload, OURS), ratio(run, workload, WITH_ENTRIES)) {
            rows.push(row(&format!("{WITH_ENTRIES} to {OURS}, {workload}"), ENTRIES, quotient(many, none)));
        }
    }
    rows.extend(service_rows(run));
    if let Some(agent) = run.record.agent.as_ref().filter(|agent| agent.not_run.is_none()) {
        rows.extend(agent_rows(agent));
    }
    rows
}

/// Of new connections to services, which only TCP_CRR makes.
fn service_rows(run: &RunAnalysis<'_>) -> Vec<Row> {
    let workload = WorkloadKind::TcpCrr;
    let of = |subject: &str| ratio(run, workload, subject);
    let point = |series: &str, count: u32| (format!("{series}-{count}"), of(&format!("{series}-{count}")));
    let direct = of(OURS);
    let mut rows = Vec::new();
    for (series, to_direct) in [(SERVICE, TO_DIRECT_SOCKET), (SERVICE_PACKET, TO_DIRECT_PACKET)] {
        let ((one_name, one), (many_name, many)) = (point(series, 1), point(series, 10_000));
        for (name, ratio) in [(&one_name, one), (&many_name, many)] {
            if let (Some(ratio), Some(direct)) = (ratio, direct) {
                rows.push(row(&format!("{name} to {OURS}, {workload}"), to_direct, quotient(ratio, direct)));
            }
        }
        if let (Some(one), Some(many)) = (one, many) {
            rows.push(row(&format!("{many_name} to {one_name}, {workload}"), SERVICES, quotient(many, one)));
        }
    }
    rows
}

fn ratio(run: &RunAnalysis<'_>, workload: WorkloadKind, subject: &str) -> Option<Estimate> {
    let group = run.groups.iter().find(|g| g.workload == workload && g.placement == Placement::OneCore)?;
    group.row(subject)?.figures()?.ratio
}

/// Both ends of the interval as far as those of the two can be apart: wider than the truth, never narrower.
fn quotient(of: Estimate, to: Estimate) -> Estimate {
    let interval =
        Interval { low: of.interval.low / to.interval.high, high: of.interval.high / to.interval.low };
    Estimate { median: of.median / to.median, interval, pairs: of.pairs.min(to.pairs) }
}

fn row(what: &str, goal: f64, ratio: Estimate) -> Row {
    let Interval { low, high } = ratio.interval;
    let verdict = match (ratio.median <= goal, low <= goal && goal <= high) {
        (true, false) => "met".to_owned(),
        (true, true) => "met within the interval".to_owned(),
        (false, true) => "missed within the interval".to_owned(),
        (false, false) => format!("missed by {:.1} %", (ratio.median / goal - 1.0) * 100.0),
    };
    let measured = format!("{:.3} [{low:.3}, {high:.3}]", ratio.median);
    [format!("{what}: at most {goal:.2}"), measured, verdict]
}

fn agent_rows(agent: &AgentRecord) -> Vec<Row> {
    let endpoints = agent.endpoints;
    let p50_ms =
        |ns: &[u64]| quantile(&ascending(&ns.iter().map(|n| *n as f64 / 1e6).collect::<Vec<_>>()), 0.5);
    let mib = |bytes: u64| Some(bytes as f64 / f64::from(1 << 20));
    let total_s = agent.pod_add_ns.iter().sum::<u64>() as f64 / 1e9;
    let lost: u64 = agent.restarts.iter().map(|restart| restart.lost).sum();
    let mut figures = vec![
        ("p50 of ADD, ms".to_owned(), ADD_P50_MS, p50_ms(&agent.pod_add_ns)),
        (format!("ADD of {endpoints} pods, s"), ADD_ALL_S, Some(total_s)),
        (
            format!("p50 of a policy enforced on {endpoints} endpoints, ms"),
            POLICY_P50_MS,
            p50_ms(&agent.policy_ns),
        ),
        ("resident memory with 1 endpoint, MiB".to_owned(), RESIDENT_ONE_MIB, mib(agent.resident_bytes_one)),
        (
            format!("resident memory with {endpoints} endpoints, MiB"),
            RESIDENT_ALL_MIB,
            mib(agent.resident_bytes_all),
        ),
        ("datagrams lost while the agent is killed and started again".to_owned(), 0.0, Some(lost as f64)),
    ];
    figures.extend(agent.services.iter().flat_map(services_figures));
    let rows = figures.into_iter().filter_map(|(what, goal, value)| {
        let value = value?;
        let verdict = if value <= goal { "met" } else { "missed" };
        Some([format!("{what}: at most {goal}"), number(value), verdict.to_owned()])
    });
    rows.collect()
}

/// What is measured of services besides packets: what it is, its goal, its value.
fn services_figures(record: &ServicesRecord) -> Vec<(String, f64, Option<f64>)> {
    let of = |ns: &[u64], at: f64, unit: f64| {
        quantile(&ascending(&ns.iter().map(|n| *n as f64 / unit).collect::<Vec<_>>()), at)
    };
    let ServicesRecord { services, backends, .. } = record;
    let mut figures = vec![(
        format!("p50 of {services} services with {backends} backends each, from manifests to maps, s"),
        PROGRAM_S,
        of(&record.program_ns, 0.5, 1e9),
    )];
    for (count, ns) in [(1, &record.change_one_ns), (*services, &record.change_all_ns)] {
        figures.push((
            format!("p99 of a backend's change seen by a new connection, services: {count}, ms"),
            CHANGE_P99_MS,
            of(ns, 0.99, 1e6),
        ));
    }
    figures
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn estimate(low: f64, median: f64, high: f64) -> Estimate {
        Estimate { median, interval: Interval { low, high }, pairs: 100 }
    }

    #[test]
    fn a_goal_is_met_missed_or_open() {
        let verdict = |low, median, high| row("x", 0.9, estimate(low, median, high))[2].clone();
        assert_eq!(verdict(0.88, 0.89, 0.895), "met");
        assert_eq!(verdict(0.88, 0.89, 0.91), "met within the interval");
        assert_eq!(verdict(0.89, 0.91, 0.92), "missed within the interval");
        assert_eq!(verdict(0.94, 0.945, 0.95), "missed by 5.0 %");
    }

    #[test]
    fn the_interval_of_a_quotient_holds_all_that_both_allow() {
        let q = quotient(estimate(0.9, 1.0, 1.1), estimate(0.8, 1.0, 1.25));
        assert_eq!((q.interval.low, q.median), (0.72, 1.0));
        assert!((q.interval.high - 1.375).abs() < 1e-12);
    }

    #[test]
    fn figures_of_the_agent_have_their_goals() {
        let record = AgentRecord {
            endpoints: 2,
            pod_add_ns: vec![10_000_000, 40_000_000],
            resident_bytes_one: 41 << 20,
            resident_bytes_all: 41 << 20,
            policy_ns: Vec::new(),
            restarts: Vec::new(),
            services: Some(ServicesRecord {
                services: 10_000,
                backends: 10,
                program_ns: vec![2_000_000_000, 9_000_000_000, 2_500_000_000],
                change_one_ns: vec![5_000_000],
                change_all_ns: vec![21_000_000],
                resident_bytes: 0,
            }),
            not_run: None,
        };
        let rows = agent_rows(&record);
        let verdict = |part: &str| &rows.iter().find(|row| row[0].contains(part)).expect(part)[2];
        assert_eq!(verdict("ADD of 2 pods"), "met");
        assert_eq!(verdict("with 1 endpoint"), "missed");
        assert_eq!(verdict("with 2 endpoints"), "met");
        assert_eq!(verdict("10000 services with 10 backends"), "met");
        assert_eq!(verdict("services: 1,"), "met");
        assert_eq!(verdict("services: 10000,"), "missed");
        assert!(rows.iter().all(|row| !row[0].contains("policy")), "what was not measured says nothing");
    }
}
