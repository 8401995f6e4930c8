// SPDX-License-Identifier: Apache-2.0
//! The suite: which subjects, workloads and sizes make a run, and how many slices each gets.

use anyhow::{Result, bail};
use netns_lab::plan::{
    AgentPlan, BASELINE, BASELINE_AGAIN, Phase, Placement, Plan, SCHEMA, SelfCheckPlan, ServicesPlan,
    WorkloadKind, WorkloadSpec,
};

use crate::args::Args;

/// The subjects that a VM run measures beside those that the host could not: its own baselines, and the
/// references of the announcement's charts, so that no ratio mixes two executors.
pub const VM_COMPANIONS: [&str; 4] = [BASELINE, BASELINE_AGAIN, "veth", "bridge"];

/// Where this is measured, our agent is measured besides packets, too.
const AGENT_SUBJECT: &str = "ciliate-veth";

/// What our agent's services are measured with, and the goals are about.
const SERVICES: ServicesPlan = ServicesPlan { services: 10_000, backends: 10, changes: 100, repetitions: 3 };

/// Whose clock a plan is made for: it decides how many slices are worth their time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Timing {
    /// Real time: noise is beaten by many short slices.
    Wall,
    /// Instruction count: no noise, but timer ticks fall differently into each slice, so a few are needed.
    Virtual,
}

/// The names asked for, series expanded, in the catalogue's order, with the baseline and its A/A twin.
///
/// # Errors
/// An unknown name, with the names that are near it.
pub fn subjects(asked: &[String], catalogue: &[String]) -> Result<Vec<String>> {
    // `ciliate-veth-policy` is one subject, whatever others begin with its name.
    let in_series = |name: &str, series: &str| {
        let a_subject = catalogue.iter().any(|known| known == series);
        !a_subject
            && name
                .strip_prefix(series)
                .and_then(|rest| rest.strip_prefix('-'))
                .is_some_and(|n| n.parse::<u32>().is_ok())
    };
    for name in asked {
        if !catalogue.iter().any(|known| known == name || in_series(known, name)) {
            bail!("--subjects: there is no subject {name:?}; the subjects are {}", catalogue.join(", "));
        }
    }
    Ok(catalogue
        .iter()
        .filter(|name| {
            asked.is_empty()
                || [BASELINE, BASELINE_AGAIN].contains(&name.as_str())
                || asked.iter().any(|wanted| *name == wanted || in_series(name, wanted))
        })
        .cloned()
        .collect())
}

/// The subjects asked for, with those that a VM run of some of them is compared with.
pub fn with_companions(subjects: &[String], catalogue: &[String]) -> Vec<String> {
    catalogue
        .iter()
        .filter(|name| subjects.contains(name) || VM_COMPANIONS.contains(&name.as_str()))
        .cloned()
        .collect()
}

/// The plan of a VM that stands in for what the host lacks: the cores asked for are the host's, virtual time has one.
///
/// # Errors
/// As [`plan`].
pub fn stand_in_plan(args: &Args, subjects: Vec<String>, timing: Timing) -> Result<Plan> {
    let cores = if timing == Timing::Virtual { Vec::new() } else { args.cores.clone() };
    // A handicap of a subject that only the host runs is not for the VM.
    let handicap = args.handicap.clone().filter(|handicap| subjects.contains(&handicap.subject));
    plan(&Args { cores, handicap, ..args.clone() }, subjects, timing, None)
}

/// The plan of one run.
///
/// # Errors
/// Sizes that a workload cannot have; the option is named.
pub fn plan(
    args: &Args,
    subjects: Vec<String>,
    timing: Timing,
    self_check: Option<SelfCheckPlan>,
) -> Result<Plan> {
    if let Some(handicap) = &args.handicap
        && !subjects.contains(&handicap.subject)
    {
        bail!("--handicap: {:?} is not among the subjects of this run", handicap.subject);
    }
    let seeds = args.seeds.unwrap_or(1);
    if timing == Timing::Wall && seeds > 1 {
        bail!("--seeds {seeds}: only virtual time has seeds; use --executor vm with --vm-time virtual");
    }
    let kinds = if args.workloads.is_empty() { WorkloadKind::ALL.to_vec() } else { args.workloads.clone() };
    let mut phases = Vec::new();
    for placement in placements(args, timing)? {
        for &kind in &kinds {
            let (rounds, warmup_rounds) = rounds(args, kind, placement, timing);
            phases.push(Phase { workload: workload(args, kind)?, placement, rounds, warmup_rounds });
        }
    }
    let agent = (timing == Timing::Wall).then(|| agent(args, &subjects)).flatten();
    Ok(Plan { schema: SCHEMA, subjects, phases, self_check, handicap: args.handicap.clone(), agent, seeds })
}

/// Our agent besides packets, where it is one of the subjects. Not in virtual time: what it waits for there is not what
/// it would wait for here.
fn agent(args: &Args, subjects: &[String]) -> Option<AgentPlan> {
    let (endpoints, repetitions, services) = match (args.smoke, args.quick) {
        (true, _) => (3, 1, ServicesPlan { services: 10, backends: 10, changes: 3, repetitions: 1 }),
        (_, true) => (200, 3, ServicesPlan { repetitions: 1, ..SERVICES }),
        _ => (200, 11, SERVICES),
    };
    let ours = subjects.iter().any(|subject| subject == AGENT_SUBJECT);
    ours.then_some(AgentPlan { endpoints, repetitions, services: Some(services) })
}

fn placements(args: &Args, timing: Timing) -> Result<Vec<Placement>> {
    match timing {
        Timing::Wall if args.cores.is_empty() => Ok(vec![Placement::OneCore, Placement::TwoCores]),
        Timing::Wall => Ok(args.cores.clone()),
        // One emulated CPU: with two, the order of their instructions would be up to chance.
        Timing::Virtual if args.cores.is_empty() || args.cores.contains(&Placement::OneCore) => {
            Ok(vec![Placement::OneCore])
        }
        Timing::Virtual => {
            bail!("--cores 2 is not possible in virtual time, whose machine has one CPU; use --cores 1")
        }
    }
}

/// Rounds to record and rounds to throw away.
fn rounds(args: &Args, kind: WorkloadKind, placement: Placement, timing: Timing) -> (u32, u32) {
    if let Some(rounds) = args.rounds {
        return (rounds, rounds.div_ceil(10).min(20));
    }
    match timing {
        _ if args.smoke => (4, 1),
        // Bulk slices are long and vary least.
        Timing::Virtual if kind == WorkloadKind::TcpStream => (6, 2),
        Timing::Virtual => (12, 2),
        Timing::Wall => {
            let quick = match (kind, placement) {
                (WorkloadKind::TcpStream, _) => 40,
                (_, Placement::OneCore) => 80,
                // Wake-ups across cores spread more, so they get more slices.
                (_, Placement::TwoCores) => 120,
            };
            let more = match (kind, placement) {
                // New connections touch the most memory, and so see the most of what other users of the machine do.
                // A round trip across two cores waits for two wake-ups: with half as many rounds, an interval can
                // come out wider than 2 %.
                (WorkloadKind::TcpCrr, _) | (WorkloadKind::TcpRr, Placement::TwoCores) => 8,
                _ => 4,
            };
            if args.quick { (quick, 8) } else { (quick * more, 20) }
        }
    }
}

/// A slice is two to three milliseconds of one connection with one-byte requests on a current machine.
fn workload(args: &Args, kind: WorkloadKind) -> Result<WorkloadSpec> {
    const SMALL_BYTES: u64 = 16 << 10;
    let (request_bytes, response_bytes, small_transactions) = match kind {
        WorkloadKind::TcpRr | WorkloadKind::UdpRr => (args.request_bytes, args.response_bytes, 100),
        WorkloadKind::TcpCrr => (args.request_bytes, args.response_bytes, 24),
        WorkloadKind::TcpStream => (1 << 20, 1, 8),
    };
    let limit = if kind == WorkloadKind::UdpRr { 65_507 } else { 16 << 20 };
    for (option, bytes) in [("--request-bytes", request_bytes), ("--response-bytes", response_bytes)] {
        if bytes == 0 || bytes > limit {
            bail!("{option} {bytes}: {kind} takes from 1 to {limit} bytes");
        }
    }
    if !(1..=1_000).contains(&args.connections) {
        bail!("--connections {}: it is a number from 1 to 1000", args.connections);
    }
    let larger = (u64::from(request_bytes) + u64::from(response_bytes)).div_ceil(SMALL_BYTES).max(1);
    let shared = if kind == WorkloadKind::TcpStream { 1 } else { larger } * u64::from(args.connections);
    let transactions_per_slice = u32::try_from((small_transactions / shared).max(1)).unwrap_or(1);
    Ok(WorkloadSpec {
        kind,
        request_bytes,
        response_bytes,
        connections: args.connections,
        transactions_per_slice,
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn args(words: &[&str]) -> Args {
        Args::try_parse_from([&["bench"], words].concat()).unwrap()
    }

    fn catalogue() -> Vec<String> {
        ["loopback", "veth", BASELINE, BASELINE_AGAIN, "calico-like-0", "calico-like-100"]
            .map(String::from)
            .into()
    }

    #[test]
    fn a_series_stands_for_its_sizes_and_the_baselines_are_always_there() {
        let chosen = subjects(&["calico-like".into()], &catalogue()).unwrap();
        assert_eq!(chosen, [BASELINE, BASELINE_AGAIN, "calico-like-0", "calico-like-100"]);
        assert_eq!(subjects(&[], &catalogue()).unwrap(), catalogue());
    }

    #[test]
    fn a_subject_that_has_the_name_of_a_series_stands_for_itself_alone() {
        let catalogue = [BASELINE, BASELINE_AGAIN, "policy", "policy-10000"].map(String::from);
        assert_eq!(subjects(&["policy".into()], &catalogue).unwrap(), [BASELINE, BASELINE_AGAIN, "policy"]);
    }

    #[test]
    fn seeds_are_of_virtual_time_alone() {
        let plan_of = |timing| plan(&args(&["--seeds", "3"]), catalogue(), timing, None);
        assert_eq!(plan_of(Timing::Virtual).unwrap().seeds, 3);
        assert!(plan_of(Timing::Wall).unwrap_err().to_string().starts_with("--seeds 3"));
        assert_eq!(plan(&args(&[]), catalogue(), Timing::Virtual, None).unwrap().seeds, 1);
    }

    #[test]
    fn an_unknown_subject_is_refused_with_the_known_ones() {
        let error = subjects(&["calico".into()], &catalogue()).unwrap_err().to_string();
        assert!(error.contains("\"calico\"") && error.contains("calico-like-0"), "{error}");
    }

    #[test]
    fn virtual_time_has_one_core_and_refuses_two() {
        let names = catalogue();
        let plan_of = |words: &[&str]| plan(&args(words), names.clone(), Timing::Virtual, None);
        assert!(plan_of(&[]).unwrap().phases.iter().all(|phase| phase.placement == Placement::OneCore));
        assert!(plan_of(&["--cores", "2"]).unwrap_err().to_string().contains("--cores 1"));
    }

    #[test]
    fn sizes_that_a_workload_cannot_have_are_refused_with_the_option() {
        let error =
            |words: &[&str]| plan(&args(words), catalogue(), Timing::Wall, None).unwrap_err().to_string();
        assert!(error(&["--request-bytes", "70000"]).starts_with("--request-bytes 70000: UDP_RR"));
        assert!(error(&["--response-bytes", "0"]).starts_with("--response-bytes 0"));
        assert!(error(&["--connections", "0"]).starts_with("--connections 0"));
    }

    #[test]
    fn large_requests_and_many_connections_make_no_longer_slices() {
        let per_slice = |words: &[&str]| {
            plan(&args(words), catalogue(), Timing::Wall, None).unwrap().phases[0]
                .workload
                .transactions_per_slice
        };
        assert_eq!(per_slice(&[]), 100);
        assert_eq!(per_slice(&["--connections", "10"]), 10);
        assert_eq!(per_slice(&["--workloads", "tcp_rr", "--request-bytes", "16777216"]), 1);
    }

    #[test]
    fn our_agent_is_measured_besides_packets_where_it_is_a_subject_and_time_is_real() {
        let ours = vec![BASELINE.to_owned(), AGENT_SUBJECT.to_owned()];
        let endpoints = |subjects: Vec<String>, timing, words: &[&str]| {
            plan(&args(words), subjects, timing, None).unwrap().agent.map(|agent| agent.endpoints)
        };
        assert_eq!(endpoints(ours.clone(), Timing::Wall, &["--quick"]), Some(200));
        assert_eq!(endpoints(ours.clone(), Timing::Wall, &["--smoke"]), Some(3));
        assert_eq!(endpoints(ours, Timing::Virtual, &[]), None);
        assert_eq!(endpoints(catalogue(), Timing::Wall, &[]), None);
    }

    #[test]
    fn a_handicap_needs_its_subject_in_the_run() {
        let error = plan(&args(&["--handicap", "bridge=5"]), catalogue(), Timing::Wall, None).unwrap_err();
        assert!(error.to_string().contains("\"bridge\""), "{error}");
    }
}
