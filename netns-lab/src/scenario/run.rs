// SPDX-License-Identifier: Apache-2.0
//! Runs a scenario over a subject: builds it, lets the ends answer, takes the steps, compares.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink::Route;

use super::answer::Answer;
use super::cluster::{Cluster, Controls};
use super::ends::Ends;
use super::file::{self, Answered, Family, Http, Load, Probe, Scenario, Step, Target};
use super::http;
use super::load::Running;
use super::probe::{Outcome, Seen, Shot, send};
use crate::lab::Lab;
use crate::probe::Capability;
use crate::subject::{BuildError, Built, build, find};

/// How a scenario ended over one subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected.
    Passed,
    /// Not as expected: one line per probe.
    Failed(Vec<String>),
    /// The kernel, or what is installed, cannot do the subject.
    NotRun(String),
    /// It was to stop.
    Interrupted,
}

/// How a scenario ended over one subject, and how long it took.
#[derive(Clone, Debug)]
pub struct RunResult {
    /// How it ended.
    pub verdict: Verdict,
    /// Building the subject included.
    pub time: Duration,
}

/// Runs a scenario over a subject. It looks at `stop` between packets.
pub fn run(lab: &Lab, scenario: &Scenario, subject: &str, stop: &AtomicBool) -> RunResult {
    let begin = Instant::now();
    let verdict = match &scenario.cluster {
        Some(cluster) => over_cluster(lab, scenario, cluster, subject, stop),
        None => match build(lab, subject) {
            Ok(built) => over(scenario, &built, stop),
            Err(BuildError::NotRun(reason)) => Verdict::NotRun(reason),
            Err(error) => Verdict::Failed(vec![format!("build {subject}: {error}")]),
        },
    };
    RunResult { verdict, time: begin.elapsed() }
}

fn over(scenario: &Scenario, built: &Built, stop: &AtomicBool) -> Verdict {
    for address in &scenario.client_addresses {
        if let Err(reason) = add_address(built, (*address).into()) {
            return Verdict::Failed(vec![format!("give the client the address {address}: {reason}")]);
        }
    }
    take_steps(scenario, &Ends::of(built), None, stop)
}

/// The scenario's own pods, on what the subject needs.
fn over_cluster(
    lab: &Lab,
    scenario: &Scenario,
    spec: &file::Cluster,
    subject: &str,
    stop: &AtomicBool,
) -> Verdict {
    let mut needs = match find(subject) {
        Ok(spec) => spec.needs,
        Err(error) => return Verdict::Failed(vec![error.to_string()]),
    };
    needs.extend(spec.has_fabric().then_some(Capability::Bridge));
    if let Err(reason) = lab.probe().check(&needs) {
        return Verdict::NotRun(reason);
    }
    let mut cluster = match Cluster::build(lab, &lab.place(subject), spec, &scenario.policies) {
        Ok(cluster) => cluster,
        Err(error) => return Verdict::Failed(vec![format!("build the pods: {error}")]),
    };
    let (ends, mut controls) = cluster.split(spec);
    if let Err(error) = controls.apply(&scenario.manifests, &ends) {
        return Verdict::Failed(vec![format!("apply the manifests: {error}")]);
    }
    take_steps(scenario, &ends, Some(controls), stop)
}

/// Another address of the client, routed as its own is: what a second pod behind the same interface would have.
fn add_address(built: &Built, address: IpAddr) -> Result<(), String> {
    let client = built.pods().next().ok_or("the subject has no pods")?;
    let node = built.nodes().next().ok_or("the subject has no node that routes")?;
    let host = IpNet::from(address);
    client.netlink().add_address(client.interface(), host).map_err(|e| e.to_string())?;
    let routes = node.netlink().routes().map_err(|e| e.to_string())?;
    let own = routes
        .into_iter()
        .find(|route| {
            route.destination == IpNet::from(client.address()) && route.table.is_none_or(|t| t == 254)
        })
        .ok_or("its node has no route to the client alone")?;
    node.netlink().add_route(&Route { destination: host, ..own }).map_err(|e| e.to_string())
}

/// Lets every end answer and takes all steps of a scenario. A probe that is not as expected does not keep the next from
/// being sent; anything else that fails ends the scenario, as nothing after it would mean what it says.
pub(super) fn take_steps(
    scenario: &Scenario,
    ends: &Ends<'_>,
    mut controls: Option<Controls<'_>>,
    stop: &AtomicBool,
) -> Verdict {
    let _answering = match ends.answer(&scenario.listen) {
        Ok(answering) => answering,
        Err(error) => return Verdict::Failed(vec![error.to_string()]),
    };
    let mut loads = BTreeMap::new();
    let mut failures = Vec::new();
    for (number, step) in (1..).zip(&scenario.steps) {
        if stop.load(Ordering::Relaxed) {
            return Verdict::Interrupted;
        }
        let done = match step {
            Step::Probe(probe) => {
                if let Err(reason) = check(probe, ends, stop) {
                    failures.push(format!("probe {number}, {}: {reason}", describe(probe)));
                }
                Ok(())
            }
            Step::Http(http) => {
                if let Err(reason) = ask(http, ends) {
                    failures.push(format!(
                        "step {number}, http from {} to {} port {}: {reason}",
                        http.from, http.to, http.port
                    ));
                }
                Ok(())
            }
            Step::StartLoad(load) => start(load, ends).map(|running| {
                loads.insert(load.name.as_str(), running);
            }),
            Step::StopLoad(end) => {
                if let Some(Err(reason)) = loads.remove(end.name.as_str()).map(|load| load.stop(end.expect)) {
                    failures.push(format!("step {number}, load {}: {reason}", end.name));
                }
                Ok(())
            }
            other => match &mut controls {
                Some(controls) => controls.perform(other, ends).map_err(|error| error.to_string()),
                None => Err("the subject has no agent".into()),
            },
        };
        if let Err(reason) = done {
            failures.push(format!("step {number}: {reason}"));
            break;
        }
    }
    if stop.load(Ordering::Relaxed) {
        return Verdict::Interrupted;
    }
    if failures.is_empty() { Verdict::Passed } else { Verdict::Failed(failures) }
}

fn ask(http: &Http, ends: &Ends<'_>) -> Result<(), String> {
    let to = ends.address(&http.to, http.family, Some(http.port))?;
    ends.origin(&http.from)?.run(|| http::ask(http, to)).map_err(|e| e.to_string())?
}

fn start(load: &Load, ends: &Ends<'_>) -> Result<Running, String> {
    let to = ends.address(&load.to, load.family, Some(load.port))?;
    let running = Running::start(ends.origin(&load.from)?, to, load.kind);
    running.map_err(|reason| format!("load {} from {} to {}: {reason}", load.name, load.from, load.to))
}

/// Sends a probe as often as it says; each time the outcome must be what is expected.
fn check(probe: &Probe, ends: &Ends<'_>, stop: &AtomicBool) -> Result<(), String> {
    let shot = Shot {
        kind: probe.kind,
        source: probe.source,
        to: ends.address(&probe.to, probe.family, probe.port)?,
        size: probe.size,
        within: probe.within,
        manner: probe.manner,
    };
    // One thread for all of them: it enters a control group only once.
    let all = || -> Result<BTreeSet<String>, String> {
        let mut answered = BTreeSet::new();
        for time in 1..=probe.count {
            let checked = check_once(probe, &shot, ends, &mut answered);
            checked.map_err(|reason| format!("{reason}{}", which(time, probe.count)))?;
            if stop.load(Ordering::Relaxed) {
                break;
            }
        }
        Ok(answered)
    };
    let answered = ends.origin(&probe.from)?.run(all).map_err(|e| e.to_string())??;
    match &probe.answered {
        Answered::ByEachOf(wanted) if !stop.load(Ordering::Relaxed) => {
            match wanted.iter().find(|end| !answered.contains(&end.0)) {
                Some(end) => Err(format!("{end} has not answered once in {} times", probe.count)),
                None => Ok(()),
            }
        }
        _ => Ok(()),
    }
}

/// Sends a probe once from the calling thread. `answered` has those who answered before.
fn check_once(
    probe: &Probe,
    shot: &Shot,
    ends: &Ends<'_>,
    answered: &mut BTreeSet<String>,
) -> Result<(), String> {
    let expected = Outcome::from(probe.expect);
    let begin = Instant::now();
    let Seen { outcome, answer } = send(shot).map_err(|e| e.to_string())?;
    if outcome != expected {
        let ms = begin.elapsed().as_secs_f64() * 1000.0;
        return Err(format!("expected {}, was {} after {ms:.1} ms", expected.name(), outcome.name()));
    }
    let Some(Answer { by, seen }) = answer else { return Ok(()) };
    let wanted = match &probe.answered {
        Answered::Anyhow => true,
        Answered::By(end) => end.0 == by,
        Answered::ByOneOf(wanted) | Answered::ByEachOf(wanted) => wanted.iter().any(|end| end.0 == by),
        Answered::Same => answered.is_empty() || answered.contains(&by),
    };
    if !wanted {
        return Err(format!("{by} answered"));
    }
    answered.insert(by);
    match &probe.seen_from {
        Some(from) if !ends.is_of(from, seen.ip())? => {
            Err(format!("whoever answered saw {}, and should have seen {from}", seen.ip()))
        }
        _ => Ok(()),
    }
}

fn which(time: u32, count: u32) -> String {
    if count == 1 { String::new() } else { format!(" (number {time} of {count})") }
}

fn describe(probe: &Probe) -> String {
    let source = probe.source.map(|source| format!(" ({source})")).unwrap_or_default();
    let port = probe.port.map(|port| format!(" port {port}")).unwrap_or_default();
    let family = match (&probe.to, probe.family) {
        (Target::End(_), Family::Ipv6) => " over IPv6",
        _ => "",
    };
    format!("{} from {}{source} to {}{port}{family}", probe.kind.name(), probe.from, probe.to)
}
