// SPDX-License-Identifier: Apache-2.0
//! Labels that the runtime gives (`args.cni.labels`), in the words of the agent.

use crate::conf::ContainerLabel;
use crate::invocation::KubernetesArgs;

/// By which Kubernetes' selectors know the namespace of a pod.
const NAMESPACE: &str = "io.kubernetes.pod.namespace";

/// `source:key=value`. A key may bring its own source (`k8s:app`); otherwise Kubernetes is the source if it is
/// Kubernetes that asks, and the container runtime if not. Without labels there are none: then the agent waits for those of
/// the pod's object.
pub fn of(labels: &[ContainerLabel], kubernetes: &KubernetesArgs) -> Vec<String> {
    let source = if kubernetes.pod.is_empty() { "container" } else { "k8s" };
    let mut found: Vec<String> = labels
        .iter()
        .map(|ContainerLabel { key, value }| match key.contains(':') {
            true => format!("{key}={value}"),
            false => format!("{source}:{key}={value}"),
        })
        .collect();
    let namespace = format!("k8s:{NAMESPACE}=");
    let said = found.iter().any(|label| label.starts_with(&namespace));
    if !found.is_empty() && !kubernetes.namespace.is_empty() && !said {
        found.push(format!("{namespace}{}", kubernetes.namespace));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn label(key: &str, value: &str) -> ContainerLabel {
        ContainerLabel { key: key.into(), value: value.into() }
    }

    fn pod() -> KubernetesArgs {
        KubernetesArgs { namespace: "default".into(), pod: "web".into() }
    }

    #[test]
    fn the_source_is_who_asks_unless_the_key_says_it() {
        let labels = [label("app", "web"), label("reserved:x", "")];
        assert_eq!(of(&labels, &KubernetesArgs::default()), ["container:app=web", "reserved:x="]);
        assert_eq!(
            of(&labels, &pod()),
            ["k8s:app=web", "reserved:x=", "k8s:io.kubernetes.pod.namespace=default"]
        );
    }

    #[test]
    fn without_labels_the_agent_is_left_to_find_the_pods_own() {
        assert_eq!(of(&[], &pod()), Vec::<String>::new());
    }

    #[test]
    fn a_namespace_that_is_said_is_not_said_twice() {
        let said = label("k8s:io.kubernetes.pod.namespace", "other");
        assert_eq!(of(&[said], &pod()), ["k8s:io.kubernetes.pod.namespace=other"]);
    }
}
