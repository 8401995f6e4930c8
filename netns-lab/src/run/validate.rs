// SPDX-License-Identifier: Apache-2.0
//! A plan comes from a file: each value is checked before anything is built, and what is wrong is named by its field.

use std::collections::BTreeSet;

use crate::plan::{BASELINE, Phase, Plan, SCHEMA, WorkloadKind, WorkloadSpec};

/// The largest message over TCP, bytes.
const TCP_LARGEST: u32 = 16 << 20;
/// The largest datagram over IPv4, bytes.
const UDP_LARGEST: u32 = 65_507;
/// Connections of one subject.
const CONNECTIONS: u16 = 1000;
/// Transactions of one slice over all connections: each takes eight bytes at either end of the accounting.
const TRANSACTIONS: u64 = 10_000_000;
/// Most services, and backends of each, for which the lab has addresses.
const MAX_SERVICES: u64 = 60_000;
const MAX_BACKENDS: u64 = 50;
/// Most pods of the node on which our agent is measured: of its 256 addresses some are the node's own.
const MAX_ENDPOINTS: u64 = 240;
/// Boots of one plan.
const SEEDS: u64 = 64;
/// Rounds of one phase, and of the self-check.
const ROUNDS: u32 = 1_000_000;

/// What is wrong with a plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("plan: {field}: {problem}")]
pub struct PlanError {
    /// The field, as a path.
    pub field: String,
    /// What is wrong with it, and what is possible.
    pub problem: String,
}

fn wrong(field: impl Into<String>, problem: impl Into<String>) -> PlanError {
    PlanError { field: field.into(), problem: problem.into() }
}

/// Checks a plan against what can be run; `known` are the subjects that there are.
///
/// # Errors
/// The first [`PlanError`].
pub fn validate(plan: &Plan, known: &[String]) -> Result<(), PlanError> {
    if plan.schema != SCHEMA {
        return Err(wrong("schema", format!("{} is not {SCHEMA}, the one this program reads", plan.schema)));
    }
    let mut seen = BTreeSet::new();
    for (i, subject) in plan.subjects.iter().enumerate() {
        let field = format!("subjects[{i}]");
        if !known.contains(subject) {
            return Err(wrong(
                field,
                format!("there is no subject {subject:?}; there are {}", known.join(", ")),
            ));
        }
        if !seen.insert(subject) {
            return Err(wrong(field, format!("{subject:?} is there twice")));
        }
    }
    if !plan.subjects.iter().any(|subject| subject == BASELINE) {
        return Err(wrong("subjects", format!("{BASELINE:?}, to which all ratios are taken, is missing")));
    }
    if plan.phases.is_empty() {
        return Err(wrong("phases", "there is none"));
    }
    let mut cells = BTreeSet::new();
    for (i, phase) in plan.phases.iter().enumerate() {
        check_phase(&format!("phases[{i}]"), phase)?;
        if !cells.insert((phase.workload.kind, phase.placement)) {
            let problem = format!("{} on {} is there twice", phase.workload.kind, phase.placement);
            return Err(wrong(format!("phases[{i}]"), problem));
        }
    }
    if let Some(check) = &plan.self_check {
        in_range("self_check.rounds", check.rounds.into(), 1, ROUNDS.into())?;
    }
    if let Some(agent) = &plan.agent {
        in_range("agent.endpoints", agent.endpoints.into(), 2, MAX_ENDPOINTS)?;
        in_range("agent.repetitions", agent.repetitions.into(), 1, ROUNDS.into())?;
        if let Some(services) = &agent.services {
            in_range("agent.services.services", services.services.into(), 1, MAX_SERVICES)?;
            in_range("agent.services.backends", services.backends.into(), 1, MAX_BACKENDS)?;
            in_range("agent.services.changes", services.changes.into(), 1, ROUNDS.into())?;
            in_range("agent.services.repetitions", services.repetitions.into(), 1, ROUNDS.into())?;
        }
    }
    in_range("seeds", plan.seeds.into(), 1, SEEDS)?;
    if let Some(handicap) = &plan.handicap {
        if !plan.subjects.contains(&handicap.subject) {
            let problem = format!("{:?} is not among the subjects", handicap.subject);
            return Err(wrong("handicap.subject", problem));
        }
        in_range("handicap.amount", handicap.amount.into(), 1, 100_000)?;
    }
    Ok(())
}

fn check_phase(field: &str, phase: &Phase) -> Result<(), PlanError> {
    in_range(&format!("{field}.rounds"), phase.rounds.into(), 1, ROUNDS.into())?;
    in_range(&format!("{field}.warmup_rounds"), phase.warmup_rounds.into(), 0, ROUNDS.into())?;
    check_workload(&format!("{field}.workload"), &phase.workload)
}

fn check_workload(field: &str, workload: &WorkloadSpec) -> Result<(), PlanError> {
    let largest = if workload.kind == WorkloadKind::UdpRr { UDP_LARGEST } else { TCP_LARGEST };
    in_range(&format!("{field}.request_bytes"), workload.request_bytes.into(), 1, largest.into())?;
    in_range(&format!("{field}.response_bytes"), workload.response_bytes.into(), 1, largest.into())?;
    in_range(&format!("{field}.connections"), workload.connections.into(), 1, CONNECTIONS.into())?;
    let most = TRANSACTIONS / u64::from(workload.connections);
    in_range(&format!("{field}.transactions_per_slice"), workload.transactions_per_slice.into(), 1, most)
}

fn in_range(field: &str, value: u64, least: u64, most: u64) -> Result<(), PlanError> {
    if (least..=most).contains(&value) {
        return Ok(());
    }
    Err(wrong(field, format!("{value} is not between {least} and {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{AgentPlan, Handicap, Placement, SelfCheckPlan, ServicesPlan};

    fn plan() -> Plan {
        let workload = WorkloadSpec {
            kind: WorkloadKind::TcpRr,
            request_bytes: 1,
            response_bytes: 1,
            connections: 1,
            transactions_per_slice: 100,
        };
        Plan {
            schema: SCHEMA,
            subjects: vec!["routed".into(), "veth".into()],
            phases: vec![Phase { workload, placement: Placement::OneCore, rounds: 1, warmup_rounds: 0 }],
            self_check: None,
            handicap: None,
            agent: None,
            seeds: 1,
        }
    }

    fn field_of(change: impl FnOnce(&mut Plan)) -> String {
        let mut plan = plan();
        change(&mut plan);
        validate(&plan, &["routed".into(), "veth".into()]).unwrap_err().field
    }

    #[test]
    fn a_good_plan_is_accepted() {
        assert_eq!(validate(&plan(), &["routed".into(), "veth".into()]), Ok(()));
    }

    #[test]
    fn each_bad_value_is_named_by_its_field() {
        assert_eq!(field_of(|p| p.schema = 2), "schema");
        assert_eq!(field_of(|p| p.subjects.push("vteh".into())), "subjects[2]");
        assert_eq!(field_of(|p| p.subjects.push("veth".into())), "subjects[2]");
        assert_eq!(field_of(|p| drop(p.subjects.remove(0))), "subjects");
        assert_eq!(field_of(|p| p.phases.clear()), "phases");
        assert_eq!(field_of(|p| p.phases.push(p.phases[0].clone())), "phases[1]");
        assert_eq!(field_of(|p| p.phases[0].rounds = 0), "phases[0].rounds");
        assert_eq!(field_of(|p| p.phases[0].warmup_rounds = u32::MAX), "phases[0].warmup_rounds");
        let workload = |change: fn(&mut WorkloadSpec)| field_of(|p| change(&mut p.phases[0].workload));
        assert_eq!(workload(|w| w.request_bytes = 0), "phases[0].workload.request_bytes");
        assert_eq!(workload(|w| w.request_bytes = (16 << 20) + 1), "phases[0].workload.request_bytes");
        assert_eq!(workload(|w| w.response_bytes = 0), "phases[0].workload.response_bytes");
        assert_eq!(workload(|w| w.connections = 0), "phases[0].workload.connections");
        assert_eq!(workload(|w| w.connections = 1001), "phases[0].workload.connections");
        assert_eq!(workload(|w| w.transactions_per_slice = 0), "phases[0].workload.transactions_per_slice");
        let datagram = |w: &mut WorkloadSpec| (w.kind, w.response_bytes) = (WorkloadKind::UdpRr, 65_508);
        assert_eq!(workload(datagram), "phases[0].workload.response_bytes");
        let check = SelfCheckPlan { netperf: "netperf".into(), netserver: "netserver".into(), rounds: 0 };
        assert_eq!(field_of(|p| p.self_check = Some(check)), "self_check.rounds");
        assert_eq!(field_of(|p| p.seeds = 0), "seeds");
        assert_eq!(field_of(|p| p.seeds = 65), "seeds");
        let handicap = |subject: &str, amount| Some(Handicap { subject: subject.into(), amount });
        assert_eq!(field_of(|p| p.handicap = handicap("bridge", 1)), "handicap.subject");
        assert_eq!(field_of(|p| p.handicap = handicap("veth", 0)), "handicap.amount");
        let agent = |endpoints, repetitions| Some(AgentPlan { endpoints, repetitions, services: None });
        assert_eq!(field_of(|p| p.agent = agent(1, 1)), "agent.endpoints");
        assert_eq!(field_of(|p| p.agent = agent(241, 1)), "agent.endpoints");
        assert_eq!(field_of(|p| p.agent = agent(2, 0)), "agent.repetitions");
        let services = |services, backends, changes, repetitions| {
            let services = Some(ServicesPlan { services, backends, changes, repetitions });
            Some(AgentPlan { endpoints: 2, repetitions: 1, services })
        };
        assert_eq!(field_of(|p| p.agent = services(0, 1, 1, 1)), "agent.services.services");
        assert_eq!(field_of(|p| p.agent = services(60_001, 1, 1, 1)), "agent.services.services");
        assert_eq!(field_of(|p| p.agent = services(1, 51, 1, 1)), "agent.services.backends");
        assert_eq!(field_of(|p| p.agent = services(1, 1, 0, 1)), "agent.services.changes");
        assert_eq!(field_of(|p| p.agent = services(1, 1, 1, 0)), "agent.services.repetitions");
    }
}
