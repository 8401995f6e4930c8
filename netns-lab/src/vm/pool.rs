// SPDX-License-Identifier: Apache-2.0
//! Several boots of one plan made one record. They differ only in the random numbers of the guest's kernel, with which it
//! seeds its hash tables: what falls into one bucket in one boot does not in another.

use std::collections::BTreeMap;

use crate::plan::{Placement, Plan, WorkloadKind};
use crate::record::{Cell, NotRun, RunRecord};

/// The records of one plan's boots as one: the slices of the later ones are further rounds. A subject that has no figures
/// for a workload in one boot has none for it at all, and the reason is kept. `None` without any record.
pub fn pool(records: Vec<RunRecord>) -> Option<RunRecord> {
    let mut records = records.into_iter();
    let mut all = records.next()?;
    for (boot, record) in (1_u32..).zip(records) {
        join(&mut all, record, boot);
    }
    Some(all)
}

fn join(all: &mut RunRecord, more: RunRecord, boot: u32) {
    let mut cells: BTreeMap<_, Cell> = more.cells.into_iter().map(|cell| (key(&cell), cell)).collect();
    all.cells.retain_mut(|cell| match cells.remove(&key(cell)) {
        Some(more) => {
            let first = boot.saturating_mul(rounds(&all.plan, cell.workload, cell.placement));
            append(cell, more, first);
            true
        }
        None => false,
    });
    for not_run in more.not_run {
        if !all.not_run.contains(&not_run) {
            all.not_run.push(not_run);
        }
    }
    all.interrupted |= more.interrupted;
    let measured = |name: &str| all.cells.iter().any(|cell| cell.subject == name);
    all.subjects.retain(|info| measured(&info.name));
    // Nothing vanishes: what one boot has not reached and gives no reason for.
    let told = |name: &str| measured(name) || all.not_run.iter().any(|not_run| not_run.subject == name);
    let untold: Vec<&String> = all.plan.subjects.iter().filter(|name| !told(name)).collect();
    let reason = format!("not every boot of {} has figures of it", all.plan.seeds);
    let untold = untold.into_iter().map(|name| NotRun { subject: name.clone(), reason: reason.clone() });
    all.not_run.extend(untold.collect::<Vec<_>>());
}

fn key(cell: &Cell) -> (String, WorkloadKind, Placement) {
    (cell.subject.clone(), cell.workload, cell.placement)
}

/// Rounds that a phase of the plan records.
fn rounds(plan: &Plan, workload: WorkloadKind, placement: Placement) -> u32 {
    let phase = plan.phases.iter().find(|p| p.workload.kind == workload && p.placement == placement);
    phase.map_or(0, |phase| phase.rounds)
}

fn append(cell: &mut Cell, more: Cell, first_round: u32) {
    let later = |mut slice: crate::record::Slice| {
        slice.round = slice.round.saturating_add(first_round);
        slice
    };
    cell.slices.extend(more.slices.into_iter().map(later));
    let mut histogram: BTreeMap<u64, u64> = cell.histogram.drain(..).collect();
    for (bound, count) in more.histogram {
        *histogram.entry(bound).or_default() += count;
    }
    cell.histogram = histogram.into_iter().collect();
    cell.context_switches += more.context_switches;
    cell.retransmits += more.retransmits;
    cell.lost += more.lost;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{Phase, SCHEMA, WorkloadSpec};
    use crate::record::{Clock, Environment, Executor, SelfCheck, Slice, SubjectInfo};

    const KIND: WorkloadKind = WorkloadKind::TcpRr;
    const PLACE: Placement = Placement::OneCore;

    fn plan() -> Plan {
        let workload = WorkloadSpec {
            kind: KIND,
            request_bytes: 1,
            response_bytes: 1,
            connections: 1,
            transactions_per_slice: 100,
        };
        Plan {
            schema: SCHEMA,
            subjects: vec!["routed".into(), "veth".into()],
            phases: vec![Phase { workload, placement: PLACE, rounds: 2, warmup_rounds: 1 }],
            self_check: None,
            handicap: None,
            agent: None,
            seeds: 2,
        }
    }

    fn cell(subject: &str, ns: u64) -> Cell {
        let slice = |round| Slice {
            round,
            transactions: 100,
            elapsed_ns: 100 * ns,
            min_ns: ns,
            p10_ns: ns,
            p50_ns: ns,
            cpu_ns: ns,
        };
        Cell {
            subject: subject.into(),
            workload: KIND,
            placement: PLACE,
            slices: vec![slice(0), slice(1)],
            histogram: vec![(ns, 150), (1000, 50)],
            context_switches: 7,
            retransmits: 1,
            lost: 0,
        }
    }

    fn record(subjects: &[&str], ns: u64) -> RunRecord {
        let info = |name: &&str| SubjectInfo {
            name: (*name).into(),
            description: String::new(),
            emulation: false,
            workloads: vec![KIND],
            scale: None,
            mtu: 1500,
        };
        RunRecord {
            executor: Executor::Vm,
            clock: Clock::Virtual,
            plan: plan(),
            environment: Environment::default(),
            subjects: subjects.iter().map(info).collect(),
            not_run: Vec::new(),
            cells: subjects.iter().map(|subject| cell(subject, ns)).collect(),
            self_check: SelfCheck::default(),
            agent: None,
            interrupted: false,
        }
    }

    #[test]
    fn the_slices_of_later_boots_are_further_rounds_and_counts_are_sums() {
        let pooled = pool(vec![record(&["routed", "veth"], 10), record(&["routed", "veth"], 20)]).unwrap();
        let veth = &pooled.cells[1];
        let rounds: Vec<(u32, u64)> = veth.slices.iter().map(|slice| (slice.round, slice.p50_ns)).collect();
        assert_eq!(rounds, [(0, 10), (1, 10), (2, 20), (3, 20)]);
        assert_eq!(veth.histogram, [(10, 150), (20, 150), (1000, 100)]);
        assert_eq!((veth.context_switches, veth.retransmits, veth.lost), (14, 2, 0));
        assert!(pooled.not_run.is_empty() && !pooled.interrupted);
    }

    #[test]
    fn what_one_boot_does_not_have_the_pool_does_not_have_and_says_why() {
        let mut failed = record(&["routed"], 20);
        failed.not_run.push(NotRun { subject: "veth".into(), reason: "it fell over".into() });
        let pooled = pool(vec![record(&["routed", "veth"], 10), failed]).unwrap();
        assert_eq!(pooled.cells.len(), 1);
        assert_eq!(pooled.subjects.len(), 1);
        assert_eq!(pooled.not_run[0].reason, "it fell over");
        let silent = pool(vec![record(&["routed", "veth"], 10), record(&["routed"], 20)]).unwrap();
        assert_eq!(silent.not_run[0].subject, "veth");
        assert!(silent.not_run[0].reason.contains("boot"), "{}", silent.not_run[0].reason);
    }

    #[test]
    fn an_interrupted_boot_interrupts_the_pool_and_nothing_is_no_record() {
        let mut second = record(&["routed"], 20);
        second.interrupted = true;
        assert!(pool(vec![record(&["routed"], 10), second]).unwrap().interrupted);
        assert!(pool(Vec::new()).is_none());
    }
}
