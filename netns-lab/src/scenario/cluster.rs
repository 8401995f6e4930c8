// SPDX-License-Identifier: Apache-2.0
//! Pods of a scenario's own on nodes with our agent, and what is done to them between probes.

use std::collections::BTreeMap;

use super::churn::Changing;
use super::ends::{Ends, Standing};
use super::file::{Cluster as Spec, NamedPort, PodSpec, SetLabels, Step, Whose};
use crate::agent::{
    Agent, AgentError, AgentOptions, Ending, Fabric, Ground, LabelMap, Manifest, PodName, PodPort, documents,
    namespace_manifest, pod_manifest,
};
use crate::lab::{Lab, Namespace, Pod};

/// Name of the file of pods and namespaces in each agent's directory.
const PODS: &str = "pods";

/// What stands.
#[derive(Debug)]
pub(super) struct Cluster {
    // In the order in which they are dropped.
    pods: BTreeMap<String, Pod>,
    fabric: Fabric,
}

/// What the steps change: the agents, and what they are told. All are told the same, as those of a cluster are.
pub(super) struct Controls<'a> {
    agents: Vec<(String, &'a mut Agent)>,
    spec: Spec,
    churns: BTreeMap<String, Changing>,
}

/// Why a step could not be done.
#[derive(Debug, thiserror::Error)]
pub(super) enum StepError {
    /// The agent.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// An address in a manifest, or changes of one.
    #[error("{0}")]
    Manifest(String),
}

impl Cluster {
    /// Builds it: the nodes, the agents, their policies, the pods.
    pub(super) fn build(
        lab: &Lab,
        place: &str,
        spec: &Spec,
        policies: &BTreeMap<String, String>,
    ) -> Result<Self, AgentError> {
        let mut fabric = fabric(lab, place, spec)?;
        for address in &spec.world {
            fabric.add_world_address(*address)?;
        }
        for (address, mtu) in &spec.narrow {
            fabric.narrow_way(*address, *mtu)?;
        }
        for (member, node) in fabric.members.iter().zip(&spec.nodes) {
            node.routed_to_node.iter().try_for_each(|address| fabric.route_to(member, *address))?;
        }
        for member in &mut fabric.members {
            member.agent.put(&Manifest { name: PODS, text: &manifests(spec) })?;
            for (name, text) in policies {
                member.agent.apply_policy(&Manifest { name, text })?;
            }
        }
        let mut pods = BTreeMap::new();
        for (name, pod) in &spec.pods {
            let namespace = Namespace::create(lab, &format!("{place}-{name}"))?;
            if spec.ipv6 {
                namespace.enable_ipv6()?;
            }
            let identity = PodName { namespace: pod.namespace.clone(), name: name.clone() };
            let agent = &fabric.members[spec.node_of(pod)].agent;
            pods.insert(name.clone(), agent.attach(namespace, &identity)?);
        }
        Ok(Self { pods, fabric })
    }

    /// Those who send and answer, and the controls, which can be used at the same time.
    pub(super) fn split(&mut self, spec: &Spec) -> (Ends<'_>, Controls<'_>) {
        let (mut nodes, mut agents) = (Vec::new(), Vec::new());
        for (member, of_node) in self.fabric.members.iter_mut().zip(&spec.nodes) {
            agents.push((of_node.name.clone(), &mut member.agent));
            nodes.push(Standing { node: &member.node, seat: &member.seat, addresses: member.addresses });
        }
        let ends = Ends::of_cluster(spec, &self.pods, &nodes, &self.fabric.world);
        (ends, Controls { agents, spec: spec.clone(), churns: BTreeMap::new() })
    }
}

/// One node that has no name is the ground of a subject, and stands as that does.
fn fabric(lab: &Lab, place: &str, spec: &Spec) -> Result<Fabric, AgentError> {
    let mut nodes: Vec<(String, AgentOptions)> = spec
        .nodes
        .iter()
        .map(|node| {
            let options =
                AgentOptions { ipv6: spec.ipv6, flags: node.agent_flags.clone(), ..AgentOptions::default() };
            (node.name.clone(), options)
        })
        .collect();
    match nodes.pop() {
        Some((_, options)) if !spec.has_fabric() => Ok(Ground::build(lab, place, options)?.into()),
        last => {
            nodes.extend(last);
            Fabric::build(lab, place, nodes)
        }
    }
}

impl Controls<'_> {
    /// Puts files of manifests before the agent, with the addresses of ends, and waits until they are realized.
    pub(super) fn apply(
        &mut self,
        manifests: &BTreeMap<String, String>,
        ends: &Ends<'_>,
    ) -> Result<(), StepError> {
        for (name, text) in manifests {
            let text = ends.resolve(text).map_err(StepError::Manifest)?;
            self.each(&Whose::default(), |agent| agent.apply(&Manifest { name, text: &text }))?;
        }
        Ok(())
    }

    /// Does something to those agents that are meant, one after the other.
    fn each(
        &mut self,
        whose: &Whose,
        mut what: impl FnMut(&mut Agent) -> Result<(), AgentError>,
    ) -> Result<(), AgentError> {
        let meant = |name: &str| whose.node.as_ref().is_none_or(|node| node == name);
        self.agents.iter_mut().filter(|(name, _)| meant(name)).try_for_each(|(_, agent)| what(agent))
    }

    /// Does what a step says. Probes and loads are not its business.
    pub(super) fn perform(&mut self, step: &Step, ends: &Ends<'_>) -> Result<(), StepError> {
        let resolve = |text: &str| ends.resolve(text).map_err(StepError::Manifest);
        let all = &Whose::default();
        match step {
            Step::ApplyPolicy(policy) => {
                let manifest = Manifest { name: &policy.name, text: &policy.manifest };
                self.each(all, |agent| agent.apply_policy(&manifest))?;
            }
            Step::Apply(policy) => {
                let manifest = Manifest { name: &policy.name, text: &resolve(&policy.manifest)? };
                self.each(all, |agent| agent.apply(&manifest))?;
            }
            Step::Put(policy) => {
                let manifest = Manifest { name: &policy.name, text: &resolve(&policy.manifest)? };
                self.each(all, |agent| agent.put(&manifest))?;
            }
            Step::DeletePolicy(name) | Step::Delete(name) => self.each(all, |agent| agent.delete(name))?,
            Step::SetLabels(set) => self.set_labels(set)?,
            Step::KillAgent(whose) => self.each(whose, |agent| agent.end(Ending::Kill))?,
            Step::StopAgent(whose) => self.each(whose, |agent| agent.end(Ending::Terminate))?,
            Step::StartAgent(whose) => self.each(whose, Agent::start_again)?,
            Step::RestartAgent(whose) => self.each(whose, |agent| {
                agent.end(Ending::Terminate)?;
                agent.start_again()
            })?,
            Step::StartChurn(churn) => {
                let texts = churn.manifests.iter().map(|text| resolve(text)).collect::<Result<_, _>>()?;
                let writers = self.agents.iter().map(|(_, agent)| agent.writer()).collect();
                let changing = Changing::start(writers, &churn.file, churn.per_second, texts);
                self.churns.insert(churn.name.clone(), changing);
            }
            Step::StopChurn(stop) => {
                if let Some(changing) = self.churns.remove(&stop.name) {
                    changing.stop(stop.changes).map_err(StepError::Manifest)?;
                }
            }
            Step::Probe(_) | Step::Http(_) | Step::StartLoad(_) | Step::StopLoad(_) => {}
        }
        Ok(())
    }

    /// All are told; the one that the pod is on comes to have it.
    fn set_labels(&mut self, set: &SetLabels) -> Result<(), AgentError> {
        let Some(pod) = self.spec.pods.get_mut(&set.pod) else { return Ok(()) };
        pod.labels.clone_from(&set.labels);
        let pod = &self.spec.pods[&set.pod];
        let identity = PodName { namespace: pod.namespace.clone(), name: set.pod.clone() };
        let (node, text) = (self.spec.node_of(pod), manifests(&self.spec));
        self.each(&Whose::default(), |agent| agent.put(&Manifest { name: PODS, text: &text }))?;
        let labels: Vec<String> =
            set.labels.iter().map(|(key, value)| format!("k8s:{key}={value}")).collect();
        self.agents[node].1.wait_for_labels(&identity, &labels)
    }
}

/// All namespaces and pods as Kubernetes would tell of them.
fn manifests(spec: &Spec) -> String {
    let none = LabelMap::new();
    let mut namespaces: BTreeMap<&str, &LabelMap> =
        spec.pods.values().map(|pod| (pod.namespace.as_str(), &none)).collect();
    namespaces.extend(spec.namespaces.iter().map(|(name, labels)| (name.as_str(), labels)));
    let namespaces = namespaces.into_iter().map(|(name, labels)| namespace_manifest(name, labels));
    let pods = spec.pods.iter().map(|(name, pod)| {
        let ports: Vec<PodPort<'_>> = pod
            .ports
            .iter()
            .map(|(name, NamedPort { port, protocol, host_port })| PodPort {
                name,
                port: *port,
                protocol,
                host_port: *host_port,
            })
            .collect();
        let identity = PodName { namespace: pod.namespace.clone(), name: name.clone() };
        let mut manifest = pod_manifest(&identity, &pod.labels, &ports);
        if let PodSpec { node: Some(node), .. } = pod {
            manifest["spec"]["nodeName"] = node.as_str().into();
        }
        manifest
    });
    documents(&namespaces.chain(pods).collect::<Vec<_>>())
}
