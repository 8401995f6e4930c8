// SPDX-License-Identifier: Apache-2.0
//! Pods of a scenario's own on a node with our agent, and what is done to them between probes.

use std::collections::BTreeMap;

use super::churn::Changing;
use super::ends::Ends;
use super::file::{Cluster as Spec, NamedPort, SetLabels, Step};
use crate::agent::{
    Agent, AgentError, AgentOptions, Ending, Ground, LabelMap, Manifest, PodName, PodPort, documents,
    namespace_manifest, pod_manifest,
};
use crate::lab::{Lab, Namespace, Pod};

/// Name of the file of pods and namespaces in the agent's directory.
const PODS: &str = "pods";

/// What stands.
#[derive(Debug)]
pub(super) struct Cluster {
    // In the order in which they are dropped.
    pods: BTreeMap<String, Pod>,
    ground: Ground,
}

/// What the steps change: the agent, and what it is told.
pub(super) struct Controls<'a> {
    agent: &'a mut Agent,
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
    /// Builds it: the node, the agent, its policies, the pods.
    pub(super) fn build(
        lab: &Lab,
        place: &str,
        spec: &Spec,
        policies: &BTreeMap<String, String>,
    ) -> Result<Self, AgentError> {
        let options = AgentOptions { ipv6: spec.ipv6, flags: spec.agent_flags.clone() };
        let mut ground = Ground::build(lab, place, options)?;
        for address in &spec.world {
            ground.add_world_address(*address)?;
        }
        for address in &spec.routed_to_node {
            ground.route_to_node(*address)?;
        }
        ground.agent.put(&Manifest { name: PODS, text: &manifests(spec) })?;
        for (name, text) in policies {
            ground.agent.apply_policy(&Manifest { name, text })?;
        }
        let mut pods = BTreeMap::new();
        for (name, pod) in &spec.pods {
            let namespace = Namespace::create(lab, &format!("{place}-{name}"))?;
            if spec.ipv6 {
                namespace.enable_ipv6()?;
            }
            let identity = PodName { namespace: pod.namespace.clone(), name: name.clone() };
            pods.insert(name.clone(), ground.agent.attach(namespace, &identity)?);
        }
        Ok(Self { pods, ground })
    }

    /// Those who send and answer, and the controls, which can be used at the same time.
    pub(super) fn split(&mut self, spec: &Spec) -> (Ends<'_>, Controls<'_>) {
        let Ground { agent, seat, node, world } = &mut self.ground;
        let ends = Ends::of_cluster(&self.pods, (node, world, seat), &spec.world, spec.ipv6);
        (ends, Controls { agent, spec: spec.clone(), churns: BTreeMap::new() })
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
            self.agent.apply(&Manifest { name, text: &text })?;
        }
        Ok(())
    }

    /// Does what a step says. Probes and loads are not its business.
    pub(super) fn perform(&mut self, step: &Step, ends: &Ends<'_>) -> Result<(), StepError> {
        let resolve = |text: &str| ends.resolve(text).map_err(StepError::Manifest);
        let agent = &mut *self.agent;
        match step {
            Step::ApplyPolicy(policy) => {
                agent.apply_policy(&Manifest { name: &policy.name, text: &policy.manifest })?;
            }
            Step::Apply(policy) => {
                agent.apply(&Manifest { name: &policy.name, text: &resolve(&policy.manifest)? })?;
            }
            Step::Put(policy) => {
                agent.put(&Manifest { name: &policy.name, text: &resolve(&policy.manifest)? })?;
            }
            Step::DeletePolicy(name) | Step::Delete(name) => agent.delete(name)?,
            Step::SetLabels(set) => self.set_labels(set)?,
            Step::KillAgent => agent.end(Ending::Kill)?,
            Step::StopAgent => agent.end(Ending::Terminate)?,
            Step::StartAgent => agent.start_again()?,
            Step::RestartAgent => {
                agent.end(Ending::Terminate)?;
                agent.start_again()?;
            }
            Step::StartChurn(churn) => {
                let texts = churn.manifests.iter().map(|text| resolve(text)).collect::<Result<_, _>>()?;
                let changing = Changing::start(agent.writer(), &churn.file, churn.per_second, texts);
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

    fn set_labels(&mut self, set: &SetLabels) -> Result<(), AgentError> {
        let Some(pod) = self.spec.pods.get_mut(&set.pod) else { return Ok(()) };
        pod.labels.clone_from(&set.labels);
        let identity = PodName { namespace: pod.namespace.clone(), name: set.pod.clone() };
        self.agent.put(&Manifest { name: PODS, text: &manifests(&self.spec) })?;
        let labels: Vec<String> =
            set.labels.iter().map(|(key, value)| format!("k8s:{key}={value}")).collect();
        self.agent.wait_for_labels(&identity, &labels)
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
        pod_manifest(&PodName { namespace: pod.namespace.clone(), name: name.clone() }, &pod.labels, &ports)
    });
    documents(&namespaces.chain(pods).collect::<Vec<_>>())
}
