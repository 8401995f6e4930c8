// SPDX-License-Identifier: Apache-2.0
//! What our agent costs besides packets: attaching pods, bringing policies about, coming back after a crash, memory.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use super::{
    AgentError, AgentOptions, Ending, Ground, LabelMap, Manifest, PodName, documents, pod_manifest, services,
};
use crate::lab::{Lab, Namespace, Pod};
use crate::plan::AgentPlan;
use crate::record::{AgentRecord, RestartRecord};
use crate::scenario::{
    AnswerError, Answering, Kind, Listen, LoadKind, Manner, Outcome, ProbeError, Running, Shot, send,
};

/// The port of what is sent.
const PORT: u16 = 7001;
/// How long a datagram that is dropped is waited for.
const DROPPED: Duration = Duration::from_millis(200);
/// Name of the policy that is changed.
const POLICY: &str = "measured";

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
pub enum MeasureError {
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// Namespaces.
    #[error(transparent)]
    Lab(#[from] crate::lab::LabError),
    /// What answers.
    #[error(transparent)]
    Answer(#[from] AnswerError),
    /// What is sent.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// The load during a restart.
    #[error("the datagrams during a restart: {0}")]
    Load(String),
    /// A service's new backend does not show.
    #[error("connections to a service do not reach its new backend: the last one was {was}")]
    NotSeen {
        /// What became of it.
        was: &'static str,
    },
    /// It was to stop.
    #[error("the run was stopped")]
    Stopped,
    /// The agent said that a policy is in force, and it was not.
    #[error(
        "the agent said that every endpoint had the policy, but a datagram was {was} and should have been {should}"
    )]
    NotInForce {
        /// What became of it.
        was: &'static str,
        /// What should have.
        should: &'static str,
    },
}

/// Measures on a node of its own. `progress` is told what is being done, and says whether to go on.
///
/// # Errors
/// [`MeasureError`]; nothing is left behind.
pub fn measure(
    lab: &Lab,
    plan: &AgentPlan,
    progress: &mut dyn FnMut(String) -> bool,
) -> Result<AgentRecord, MeasureError> {
    let mut step = |what: String| if progress(what) { Ok(()) } else { Err(MeasureError::Stopped) };
    let mut ground = Ground::build(lab, "agent", AgentOptions::default())?;
    let names: Vec<PodName> = (0..plan.endpoints)
        .map(|number| PodName { namespace: "default".into(), name: format!("pod-{number}") })
        .collect();
    let labels = |pod: &PodName| {
        LabelMap::from([("app".into(), "measured".into()), ("name".into(), pod.name.clone())])
    };
    let manifests: Vec<_> = names.iter().map(|pod| pod_manifest(pod, &labels(pod), &[])).collect();
    ground.agent.put(&Manifest { name: "pods", text: &documents(&manifests) })?;

    let mut record = AgentRecord { endpoints: plan.endpoints, ..AgentRecord::default() };
    let mut pods = Vec::new();
    for (number, name) in (1..).zip(&names) {
        step(format!("attaching pod {number} of {}", plan.endpoints))?;
        // A runtime has made it by the time that it calls the plugin.
        let namespace = Namespace::create(lab, &format!("agent-{}", name.name))?;
        let began = Instant::now();
        pods.push(ground.agent.attach(namespace, name)?);
        record.pod_add_ns.push(nanoseconds(began));
        if number == 1 {
            record.resident_bytes_one = ground.agent.resident_bytes()?;
        }
    }
    record.resident_bytes_all = ground.agent.resident_bytes()?;
    let [client, .., server] = pods.as_slice() else { return Ok(record) };
    let listen = Listen { udp: [PORT].into(), ..Listen::default() };
    let _answering = Answering::start(ground.origin(server), "server", server.address(), &listen)?;
    for repetition in 1..=plan.repetitions {
        step(format!(
            "changing a policy of {} endpoints, {repetition} of {}",
            plan.endpoints, plan.repetitions
        ))?;
        policies(&mut ground, client, server, &mut record)?;
    }
    for repetition in 1..=plan.repetitions {
        step(format!("killing the agent, {repetition} of {}", plan.repetitions))?;
        record.restarts.push(restart(&mut ground, client, server.address())?);
    }
    if let Some(plan) = &plan.services {
        record.services = Some(services::measure(lab, plan, &mut step)?);
    }
    Ok(record)
}

/// Closes every endpoint and opens it again, by one policy that selects all of them. What the agent says is checked.
fn policies(
    ground: &mut Ground,
    client: &Pod,
    server: &Pod,
    record: &mut AgentRecord,
) -> Result<(), MeasureError> {
    let policy = |ingress: &str| {
        format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: measured, namespace: default}}\n\
             spec:\n  endpointSelector: {{matchLabels: {{app: measured}}}}\n  ingress: [{ingress}]\n"
        )
    };
    let open = policy("{fromEndpoints: [{matchLabels: {app: measured}}]}");
    for (text, should) in [(policy("{}"), Outcome::Dropped), (open, Outcome::Allowed)] {
        let began = Instant::now();
        ground.agent.apply_policy(&Manifest { name: POLICY, text: &text })?;
        record.policy_ns.push(nanoseconds(began));
        let to = SocketAddr::new(server.address(), PORT);
        let manner = Manner::default();
        let shot = Shot { kind: Kind::Udp, source: None, to, size: 64, within: DROPPED, manner };
        let was = ground.origin(client).run(|| send(&shot))??.outcome;
        if was != should {
            return Err(MeasureError::NotInForce { was: was.name(), should: should.name() });
        }
    }
    Ok(())
}

/// Kills the agent while datagrams go there and back, and starts it again.
fn restart(ground: &mut Ground, client: &Pod, server: IpAddr) -> Result<RestartRecord, MeasureError> {
    let to = SocketAddr::new(server, PORT);
    let load = Running::start(ground.origin(client), to, LoadKind::Datagrams).map_err(MeasureError::Load)?;
    ground.agent.end(Ending::Kill)?;
    let began = Instant::now();
    ground.agent.start_again()?;
    let ready_ns = nanoseconds(began);
    let seen = load.finish().map_err(MeasureError::Load)?;
    Ok(RestartRecord {
        ready_ns,
        answered: seen.answered,
        lost: seen.failed,
        longest_gap_ns: seen.longest_gap_ns,
    })
}

pub(super) fn nanoseconds(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_nanos()).unwrap_or(u64::MAX)
}
