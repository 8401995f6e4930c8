// SPDX-License-Identifier: Apache-2.0
//! What is compared: each subject builds a pair of pods with its own path between them.

mod calico;
mod catalogue;
mod ciliate;
mod direct;
mod handicap;
mod ipvs;
mod kube_proxy;
mod neighbours;
mod plugins;
mod reach;
mod routed;
mod suggest;
mod vxlan;

use std::net::IpAddr;

use netlink::NetNs;

use crate::agent::{Agent, AgentError};
use crate::lab::{Lab, LabError, Namespace, Node, Pod, PodState, SubjectState};
use crate::pair::Pair;
use crate::plan::WorkloadKind;
use crate::probe::Capability;
use crate::record::{Scale, SubjectInfo};
use crate::rules::RulesError;

pub use catalogue::catalogue;
pub use handicap::{HandicapError, Handicapped, handicap};
pub use reach::Unreachable;

/// MTU of links between pods and nodes, bytes: Ethernet's.
pub(crate) const MTU: u32 = 1500;

/// A subject that can be built where the kernel allows it.
#[derive(Clone, Debug)]
pub struct SubjectSpec {
    /// The name, as in a plan.
    pub name: String,
    /// One sentence: what the packet passes.
    pub description: String,
    /// The rule sets imitate another product; that product itself does not run.
    pub emulation: bool,
    /// The series that this subject is a point of.
    pub scale: Option<Scale>,
    /// The traffic that it is for.
    pub workloads: &'static [WorkloadKind],
    /// What the kernel and the machine must have.
    pub needs: Vec<Capability>,
    builder: Builder,
}

/// Builds a subject.
type Builder = fn(&Site<'_>) -> Result<Parts, BuildError>;

/// Where a subject is built.
pub(crate) struct Site<'a> {
    pub lab: &'a Lab,
    pub spec: &'a SubjectSpec,
    /// What the names of its namespaces begin with.
    pub place: String,
}

impl Site<'_> {
    fn name(&self, role: &str) -> String {
        format!("{}-{role}", self.place)
    }

    pub(crate) fn node(&self, role: &str) -> Result<Node, LabError> {
        Node::create(self.lab, &self.name(role))
    }

    pub(crate) fn pod(&self, role: &str, interface: &str, address: IpAddr) -> Result<Pod, LabError> {
        Pod::create(self.lab, &self.name(role), interface, address)
    }

    /// Adds iptables rules on a node.
    pub(crate) fn restore(&self, node: &Node, rules: &str) -> Result<(), RulesError> {
        restore(self.lab, node.netns(), rules)
    }

    /// How many policies, services, … this point of its series has.
    pub(crate) fn count(&self) -> u32 {
        self.spec.scale.as_ref().map_or(0, |scale| scale.count)
    }
}

/// Adds iptables rules in a namespace; the lab's own lock keeps them out of the way of the machine's rules.
fn restore(lab: &Lab, netns: &NetNs, rules: &str) -> Result<(), RulesError> {
    lab.probe().iptables()?.restore(netns, Some(&lab.dir().join("xtables.lock")), rules)
}

/// Namespaces of a subject, in the order in which they are dropped: pods before nodes.
#[derive(Debug)]
pub(crate) struct Parts {
    pub client: Pod,
    /// `None`: the client's pod serves as well.
    pub server: Option<Pod>,
    /// Ours, on the first node.
    pub agent: Option<Agent>,
    pub nodes: Vec<Node>,
    /// What is beyond the node, where that matters.
    pub world: Option<Namespace>,
    /// The client dials this instead of the server's own address and port; without a port, the server's.
    pub service: Option<(IpAddr, Option<u16>)>,
    /// Packets pass the FORWARD chain of the first node.
    pub forwards: bool,
}

/// A subject that stands. Dropping it takes it down, unless its lab is kept.
#[derive(Debug)]
pub struct Built {
    info: SubjectInfo,
    workloads: &'static [WorkloadKind],
    pair: Pair,
    place: String,
    parts: Parts,
    lab: Lab,
}

/// Why a subject does not stand.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no such subject.
    #[error("there is no subject {name:?}{}", suggest::sentence(nearest))]
    Unknown {
        /// What was asked for.
        name: String,
        /// The names that are nearest to it.
        nearest: Vec<String>,
    },
    /// This kernel, or what is installed, cannot do it.
    #[error("not run: {0}")]
    NotRun(String),
    /// Building it failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// What failed when a subject was built.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Namespaces and state.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Links, addresses, routes, neighbours.
    #[error(transparent)]
    Netlink(#[from] netlink::NetlinkError),
    /// A namespace's handle.
    #[error(transparent)]
    NetNs(#[from] netlink::NetNsError),
    /// A CNI plugin.
    #[error(transparent)]
    Cni(#[from] crate::cni::CniError),
    /// A CNI plugin gave no address.
    #[error("the CNI plugin gave the {pod}'s interface no address")]
    NoAddress {
        /// Which pod.
        pod: String,
    },
    /// iptables rules or ipsets.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// Our agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// It stands, but client and server do not reach each other.
    #[error(transparent)]
    Unreachable(#[from] Unreachable),
}

/// `?` on any of these in a builder.
macro_rules! failure_from {
    ($($error:ty),*) => {
        $(impl From<$error> for BuildError {
            fn from(error: $error) -> Self {
                Self::Failed(error.into())
            }
        })*
    };
}
failure_from!(
    LabError,
    RulesError,
    AgentError,
    Unreachable,
    crate::cni::CniError,
    netlink::NetlinkError,
    netlink::NetNsError
);

/// The subject of this name.
///
/// # Errors
/// [`BuildError::Unknown`] with the names that are nearest to it.
pub fn find(name: &str) -> Result<SubjectSpec, BuildError> {
    let mut specs = catalogue();
    match specs.iter().position(|spec| spec.name == name) {
        Some(index) => Ok(specs.swap_remove(index)),
        None => {
            let nearest = suggest::nearest(name, specs.iter().map(|spec| spec.name.as_str()));
            Err(BuildError::Unknown { name: name.into(), nearest })
        }
    }
}

/// Builds the subject of this name: pods, links, rules; then shows that the client reaches the server.
///
/// # Errors
/// [`BuildError::Unknown`], [`BuildError::NotRun`] with what is lacking, [`BuildError::Failed`]. Nothing is left behind.
pub fn build(lab: &Lab, name: &str) -> Result<Built, BuildError> {
    let spec = &find(name)?;
    lab.probe().check(&spec.needs).map_err(BuildError::NotRun)?;
    let place = lab.place(name);
    let parts = (spec.builder)(&Site { lab, spec, place: place.clone() })?;
    let pair = parts.pair()?;
    reach::check(&pair, name)?;
    parts.pin_neighbours()?;
    let client = &parts.client;
    let info = SubjectInfo {
        name: name.into(),
        description: spec.description.clone(),
        emulation: spec.emulation,
        workloads: spec.workloads.to_vec(),
        scale: spec.scale.clone(),
        mtu: client.netlink().link(client.interface())?.mtu,
    };
    let pods = parts.pods().map(|pod| PodState { netns: pod.netns().name().into(), address: pod.address() });
    let state = SubjectState { name: place.clone(), pods: pods.collect() };
    lab.change(|lab| lab.subjects.push(state))?;
    Ok(Built { info, workloads: spec.workloads, pair, place, parts, lab: lab.clone() })
}

impl Parts {
    fn server(&self) -> &Pod {
        self.server.as_ref().unwrap_or(&self.client)
    }

    fn pods(&self) -> impl Iterator<Item = &Pod> {
        std::iter::once(&self.client).chain(&self.server)
    }

    fn pair(&self) -> Result<Pair, netlink::NetNsError> {
        let server = self.server();
        Ok(Pair {
            client: self.client.netns().try_clone()?,
            server: server.netns().try_clone()?,
            seat: self.agent.as_ref().map(|agent| agent.seat().clone()),
            client_interface: self.client.interface().into(),
            listen: server.address(),
            dial: self.service.map_or(server.address(), |(address, _)| address),
            dial_port: self.service.and_then(|(_, port)| port),
        })
    }
}

impl Built {
    /// The two ends.
    pub fn pair(&self) -> &Pair {
        &self.pair
    }

    /// What a report says of it.
    pub fn info(&self) -> SubjectInfo {
        self.info.clone()
    }

    /// The traffic that it is for.
    pub fn workloads(&self) -> &[WorkloadKind] {
        self.workloads
    }

    /// The node's namespace (with two nodes: the client's node), if there is a node.
    pub fn node_netns(&self) -> Option<&NetNs> {
        self.parts.nodes.first().map(|node| node.netns())
    }

    /// The nodes, the client's first.
    pub fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.parts.nodes.iter()
    }

    /// The namespace that stands for all machines beyond the node, if there is one.
    pub fn world(&self) -> Option<&Namespace> {
        self.parts.world.as_ref()
    }

    /// Our agent, if it runs there.
    pub fn agent(&mut self) -> Option<&mut Agent> {
        self.parts.agent.as_mut()
    }

    /// Leaves it standing when it is dropped, its agent running; its lab with it.
    ///
    /// # Errors
    /// [`Failure::Agent`], [`Failure::Lab`]; then it does not stay.
    pub fn keep(&mut self) -> Result<(), Failure> {
        if let Some(agent) = &mut self.parts.agent {
            agent.keep()?;
        }
        Ok(self.lab.keep()?)
    }

    /// The pods, the client first. On `loopback` there is one.
    pub fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.parts.pods()
    }
}

impl Drop for Built {
    fn drop(&mut self) {
        if self.lab.is_kept() {
            return;
        }
        if let Err(e) = self.lab.change(|lab| lab.subjects.retain(|subject| subject.name != self.place)) {
            eprintln!("netns-lab: {e}");
        }
    }
}
