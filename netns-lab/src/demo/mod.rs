// SPDX-License-Identifier: Apache-2.0
//! A first look at our agent: it is started on a node, attaches two pods by its CNI plugin, enforces a policy, and its own
//! monitor tells what became of each packet. Everything is taken down at the end.

mod monitor;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::agent::{AgentError, AgentOptions, Ground, LabelMap, Manifest, PodName, documents, pod_manifest};
use crate::lab::{Lab, LabError, Namespace, Origin, Pod};
use crate::probe::Hook;
use crate::scenario::{AnswerError, Answering, Kind, Listen, Manner, Outcome, ProbeError, Shot, send};
use crate::tool;
use monitor::Monitor;

/// The policy that is shown when none is given.
pub const POLICY: &str = include_str!("../../demo/policy.yaml");

/// The port that it opens, and one that it does not.
const OPEN: u16 = 8080;
const CLOSED: u16 = 8081;
/// How long a connection may take.
const WITHIN: Duration = Duration::from_millis(1000);
/// How long a command of the agent's may take.
const COMMAND: Duration = Duration::from_secs(20);

/// What went wrong.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// The kernel cannot do it.
    #[error("this kernel cannot run the agent: {0}")]
    Kernel(String),
    /// The agent, its pods and policies.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// The lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Who answers the connections.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// A connection.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A command of the agent's.
    #[error("{command}: {reason}")]
    Command {
        /// As it would be typed.
        command: &'static str,
        /// Why it failed.
        reason: String,
    },
    /// What was shown is not what the policy says.
    #[error("port {port} was {was} with the policy, and should have been {should}")]
    Unexpected {
        /// The port.
        port: u16,
        /// What became of a connection to it.
        was: &'static str,
        /// What should have.
        should: &'static str,
    },
    /// It was to stop.
    #[error("interrupted")]
    Interrupted,
    /// Whoever reads has gone.
    #[error("write: {0}")]
    Write(#[from] io::Error),
}

/// Shows it. With a policy of the caller's own nothing is expected of it. It looks at `stop` between its parts.
///
/// # Errors
/// [`DemoError`]; nothing is left behind.
pub fn run(policy: Option<&str>, stop: &AtomicBool, out: &mut dyn Write) -> Result<(), DemoError> {
    let go_on = || if stop.load(Ordering::Relaxed) { Err(DemoError::Interrupted) } else { Ok(()) };
    let began = Instant::now();
    let lab = Lab::create()?;
    let hook = lab.probe().hook().map_err(DemoError::Kernel)?;
    let mut ground = Ground::build(&lab, "demo", AgentOptions::default())?;
    let how = match hook {
        Hook::Tcx => "TCX",
        Hook::Clsact => "clsact",
    };
    writeln!(out, "The agent is ready after {}; this kernel attaches its programs by {how}.", since(began))?;
    go_on()?;
    let [client, server] = pods(&lab, &ground, out)?;
    let listen = Listen { tcp: [OPEN, CLOSED].into(), ..Listen::default() };
    let _answering = Answering::start(ground.origin(&server), "server", server.address(), &listen)?;

    writeln!(out, "\nWithout a policy:")?;
    connect_all(ground.origin(&client), server.address(), out)?;

    go_on()?;
    let text = policy.unwrap_or(POLICY);
    writeln!(out, "\nThis policy comes into the agent's directory:\n")?;
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        writeln!(out, "    {line}")?;
    }
    let began = Instant::now();
    ground.agent.apply_policy(&Manifest { name: "policy", text })?;
    writeln!(out, "\nBoth endpoints enforce it after {}. With it:", since(began))?;
    go_on()?;
    let monitor =
        Monitor::start(&mut ground.agent.command_line(&["monitor", "--type", "drop,policy-verdict"]))?;
    let outcomes = connect_all(ground.origin(&client), server.address(), out)?;

    writeln!(out, "\n$ cilium monitor --type drop,policy-verdict")?;
    for line in monitor.finish()? {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "\n$ cilium endpoint list")?;
    out.write_all(&command(ground.agent.command_line(&["endpoint", "list"]), "cilium endpoint list")?)?;
    if policy.is_some() {
        return Ok(());
    }
    let should = [(OPEN, Outcome::Allowed), (CLOSED, Outcome::Dropped)];
    match should.iter().zip(outcomes).find(|((_, should), was)| should != was) {
        Some(((port, should), was)) => {
            Err(DemoError::Unexpected { port: *port, was: was.name(), should: should.name() })
        }
        None => Ok(()),
    }
}

/// Client and server, attached by the CNI plugin.
fn pods(lab: &Lab, ground: &Ground, out: &mut dyn Write) -> Result<[Pod; 2], DemoError> {
    let names = ["client", "server"].map(|name| PodName { namespace: "default".into(), name: name.into() });
    let manifests = names.each_ref().map(|pod| {
        let labels = LabelMap::from([("app".into(), pod.name.clone())]);
        pod_manifest(pod, &labels, &[])
    });
    ground.agent.put(&Manifest { name: "pods", text: &documents(&manifests) })?;
    let mut attach = |name: &PodName| -> Result<Pod, DemoError> {
        let began = Instant::now();
        let pod = ground.agent.attach(Namespace::create(lab, &format!("demo-{}", name.name))?, name)?;
        writeln!(out, "The CNI plugin has attached {name} as {} after {}.", pod.address(), since(began))?;
        Ok(pod)
    };
    Ok([attach(&names[0])?, attach(&names[1])?])
}

/// Connects to both ports; what became of each.
fn connect_all(client: Origin<'_>, server: IpAddr, out: &mut dyn Write) -> Result<[Outcome; 2], DemoError> {
    let connect = |port: u16| -> Result<Outcome, DemoError> {
        let to = SocketAddr::new(server, port);
        let manner = Manner::default();
        let shot = Shot { kind: Kind::Tcp, source: None, to, size: 64, within: WITHIN, manner };
        Ok(client.run(|| send(&shot))??.outcome)
    };
    let outcomes = [connect(OPEN)?, connect(CLOSED)?];
    for (port, outcome) in [OPEN, CLOSED].iter().zip(outcomes) {
        writeln!(out, "    client -> server, TCP port {port}: {}", outcome.name())?;
    }
    Ok(outcomes)
}

fn since(began: Instant) -> String {
    format!("{} ms", began.elapsed().as_millis())
}

fn command(mut command: Command, name: &'static str) -> Result<Vec<u8>, DemoError> {
    let failed = |reason| DemoError::Command { command: name, reason };
    let ran = tool::run(&mut command, b"", COMMAND).map_err(|e| failed(e.to_string()))?;
    if ran.status.success() { Ok(ran.stdout) } else { Err(failed(ran.complaint())) }
}
