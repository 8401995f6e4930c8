// SPDX-License-Identifier: Apache-2.0
//! Pods of a node that runs our agent, attached by its CNI plugin as a container runtime would do it.

use serde_json::json;

use super::{Agent, AgentError, PodName};
use crate::cni::{Container, NetworkConfig, PluginPath, Runtime};
use crate::lab::{Namespace, Pod};

/// The name by which the agent's program is the plugin.
pub(super) const PLUGIN: &str = "cilium-cni";

/// Name of a pod's interface.
const INTERFACE: &str = "eth0";

impl Agent {
    /// Attaches a namespace as this pod. Its labels are those of the pod's manifest, which the agent has to have
    /// ([`Agent::put`]) or will get.
    ///
    /// # Errors
    /// [`AgentError::Cni`], [`AgentError::NoAddress`].
    pub fn attach(&self, namespace: Namespace, pod: &PodName) -> Result<Pod, AgentError> {
        let config = NetworkConfig::new("cilium", PLUGIN, json!({"socket-path": self.socket()}));
        let id = namespace.netns().name().to_owned();
        let args = [
            ("IgnoreUnknown", "1"),
            ("K8S_POD_NAMESPACE", &pod.namespace),
            ("K8S_POD_NAME", &pod.name),
            ("K8S_POD_INFRA_CONTAINER_ID", &id),
        ];
        let container = Container {
            id: id.clone(),
            netns: namespace.netns().path().into(),
            interface: INTERFACE.into(),
            args: args.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        };
        let runtime = Runtime::new(PluginPath::new(vec![self.plugin_dir()]), self.node.try_clone()?);
        let attachment = runtime.add(config, container)?;
        match attachment.result.address_of(INTERFACE) {
            Some(address) => Ok(Pod::attached(namespace, attachment, INTERFACE, address)),
            None => {
                attachment.delete()?;
                Err(AgentError::NoAddress(pod.to_string()))
            }
        }
    }
}
