// SPDX-License-Identifier: Apache-2.0
//! Runs a scenario over a subject: builds it, lets the pods answer, sends the probes, compares.

use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use ipnet::IpNet;
use netlink::{NetNs, Route};

use super::answer::{AnswerError, Answering};
use super::file::{End, Kind, Probe, Scenario, Target};
use super::probe::{Outcome, ProbeError, Shot, send};
use crate::lab::Lab;
use crate::subject::{BuildError, Built, build};

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

/// The two pods with their addresses, and the service in front of the server.
#[derive(Debug)]
pub struct Ends<'a> {
    /// Namespace and address of the client.
    pub client: (&'a NetNs, IpAddr),
    /// Namespace and address of the server; on `loopback` the same.
    pub server: (&'a NetNs, IpAddr),
    /// Address and port of the service.
    pub service: Option<SocketAddr>,
}

impl<'a> Ends<'a> {
    /// Those of a subject.
    pub fn of(built: &'a Built) -> Self {
        let pair = built.pair();
        let client = built.pods().next().map_or(pair.listen, |pod| pod.address());
        Self {
            client: (&pair.client, client),
            server: (&pair.server, pair.listen),
            service: pair.dial_port.map(|port| SocketAddr::new(pair.dial, port)),
        }
    }

    fn netns(&self, end: End) -> &NetNs {
        match end {
            End::Client => self.client.0,
            End::Server => self.server.0,
        }
    }

    /// Where a probe goes. The port of an ICMP probe means nothing.
    fn target(&self, probe: &Probe) -> Result<SocketAddr, String> {
        let port = probe.port.unwrap_or(0);
        match probe.to {
            Target::Pod(End::Client) => Ok(SocketAddr::new(self.client.1, port)),
            Target::Pod(End::Server) => Ok(SocketAddr::new(self.server.1, port)),
            Target::Address(address) => Ok(SocketAddr::new(address, port)),
            Target::Service => {
                let service = self.service.ok_or("the subject has no service")?;
                Ok(SocketAddr::new(service.ip(), probe.port.unwrap_or(service.port())))
            }
        }
    }
}

/// Runs a scenario over a subject. It looks at `stop` between packets.
pub fn run(lab: &Lab, scenario: &Scenario, subject: &str, stop: &AtomicBool) -> RunResult {
    let begin = Instant::now();
    let verdict = match build(lab, subject) {
        Ok(built) => over(scenario, &built, stop),
        Err(BuildError::NotRun(reason)) => Verdict::NotRun(reason),
        Err(error) => Verdict::Failed(vec![format!("build {subject}: {error}")]),
    };
    RunResult { verdict, time: begin.elapsed() }
}

fn over(scenario: &Scenario, built: &Built, stop: &AtomicBool) -> Verdict {
    for address in &scenario.client_addresses {
        if let Err(reason) = add_address(built, (*address).into()) {
            return Verdict::Failed(vec![format!("give the client the address {address}: {reason}")]);
        }
    }
    probe_all(scenario, &Ends::of(built), stop)
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

/// Lets the pods answer and sends all probes of a scenario.
pub fn probe_all(scenario: &Scenario, ends: &Ends<'_>, stop: &AtomicBool) -> Verdict {
    let _answering = match answer(scenario, ends) {
        Ok(answering) => answering,
        Err(error) => return Verdict::Failed(vec![error.to_string()]),
    };
    let mut failures = Vec::new();
    for (number, probe) in scenario.probes.iter().enumerate() {
        if stop.load(Ordering::Relaxed) {
            return Verdict::Interrupted;
        }
        if let Err(reason) = check(probe, ends, stop) {
            failures.push(format!("probe {}, {}: {reason}", number + 1, describe(probe)));
        }
    }
    if stop.load(Ordering::Relaxed) {
        return Verdict::Interrupted;
    }
    if failures.is_empty() { Verdict::Passed } else { Verdict::Failed(failures) }
}

/// Both pods answer; on `loopback` they are one and the same.
fn answer(scenario: &Scenario, ends: &Ends<'_>) -> Result<Vec<Answering>, AnswerError> {
    let mut answering = vec![Answering::start(ends.server.0, ends.server.1, &scenario.listen)?];
    if ends.client.1 != ends.server.1 {
        answering.push(Answering::start(ends.client.0, ends.client.1, &scenario.listen)?);
    }
    Ok(answering)
}

/// Sends a probe as often as it says; each time the outcome must be what is expected.
fn check(probe: &Probe, ends: &Ends<'_>, stop: &AtomicBool) -> Result<(), String> {
    let expected = Outcome::from(probe.expect);
    let shot = Shot {
        kind: probe.kind,
        source: probe.source.map(IpAddr::from),
        to: ends.target(probe)?,
        size: probe.size,
        within: probe.within,
    };
    for time in 1..=probe.count {
        let begin = Instant::now();
        let sent = ends.netns(probe.from).run(|| send(&shot)).unwrap_or_else(|e| Err(ProbeError::NetNs(e)));
        let outcome = sent.map_err(|e| format!("{e}{}", which(time, probe.count)))?;
        if outcome != expected {
            let ms = begin.elapsed().as_secs_f64() * 1000.0;
            return Err(format!(
                "expected {}, was {} after {ms:.1} ms{}",
                expected.name(),
                outcome.name(),
                which(time, probe.count)
            ));
        }
        if stop.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(())
}

fn which(time: u32, count: u32) -> String {
    if count == 1 { String::new() } else { format!(" (number {time} of {count})") }
}

fn describe(probe: &Probe) -> String {
    let kind = match probe.kind {
        Kind::Tcp => "tcp",
        Kind::Udp => "udp",
        Kind::Icmp => "icmp",
    };
    let end = |end: End| match end {
        End::Client => "client",
        End::Server => "server",
    };
    let to = match probe.to {
        Target::Pod(pod) => end(pod).into(),
        Target::Service => "service".into(),
        Target::Address(address) => address.to_string(),
    };
    let source = probe.source.map(|source| format!(" ({source})")).unwrap_or_default();
    let port = probe.port.map(|port| format!(" port {port}")).unwrap_or_default();
    format!("{kind} from {}{source} to {to}{port}", end(probe.from))
}
