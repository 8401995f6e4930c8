// SPDX-License-Identifier: Apache-2.0
//! Our own agent on one node, two pods attached by its CNI plugin: without policy, with one, with many entries, and with
//! services.

use std::fmt::Write as _;

use super::{BuildError, Parts, Site};
use crate::agent::{
    AgentOptions, Ground, LabelMap, Manifest, PodName, ServiceManifest, documents, pod_manifest,
    services_elsewhere,
};
use crate::lab::{Namespace, Pod};
use crate::plan::WorkloadKind;
use crate::rules::kube_proxy::{cluster_ip, measured};

/// Entries of the policy maps of `ciliate-veth-policy-10000`: half for each direction.
const ENTRIES: u32 = 10_000;
/// Ports of a rule, the most that 1.4 takes.
const PORTS_OF_A_RULE: usize = 40;

pub(super) fn veth(site: &Site<'_>) -> Result<Parts, BuildError> {
    two_pods(site, &[])
}

pub(super) fn veth_policy(site: &Site<'_>) -> Result<Parts, BuildError> {
    with_policies(site, &workload_policies(), 1)
}

pub(super) fn veth_policy_10000(site: &Site<'_>) -> Result<Parts, BuildError> {
    with_policies(site, &format!("{}{}", workload_policies(), filler(ENTRIES / 2)), ENTRIES)
}

/// `entries`: how many each policy map must have in the end.
fn with_policies(site: &Site<'_>, text: &str, entries: u32) -> Result<Parts, BuildError> {
    let mut parts = two_pods(site, &[])?;
    if let Some(agent) = &mut parts.agent {
        agent.apply_policy(&Manifest { name: "policies", text })?;
        agent.check_policy_entries(entries)?;
    }
    Ok(parts)
}

/// A ClusterIP in front of the server, and the others that this point of the series has; sockets are translated.
pub(super) fn service(site: &Site<'_>) -> Result<Parts, BuildError> {
    with_services(site, &[])
}

/// As [`service`], packet by packet.
pub(super) fn service_packet(site: &Site<'_>) -> Result<Parts, BuildError> {
    with_services(site, &["--bpf-lb-sock=false"])
}

fn with_services(site: &Site<'_>, flags: &[&str]) -> Result<Parts, BuildError> {
    let mut parts = two_pods(site, flags)?;
    let (services, server) = (site.count(), parts.server().address());
    let number = measured(services);
    // At the servers' own ports, so that each workload has one.
    let ports = WorkloadKind::ALL.map(|kind| (kind.port(), protocol(kind), kind.port()));
    let service = ServiceManifest { name: "server", cluster_ip: cluster_ip(number), ports: &ports };
    let others: Vec<u32> = (0..services).filter(|other| *other != number).collect();
    let mut files = services_elsewhere(&others, 1);
    files.push(("server".into(), documents(&[service.service(), service.slice([server])])));
    if let Some(agent) = &mut parts.agent {
        agent.apply_files(&files)?;
        agent.check_services(services)?;
    }
    Ok(Parts { service: Some((service.cluster_ip.into(), None)), ..parts })
}

fn protocol(kind: WorkloadKind) -> &'static str {
    if kind == WorkloadKind::UdpRr { "UDP" } else { "TCP" }
}

fn two_pods(site: &Site<'_>, flags: &[&str]) -> Result<Parts, BuildError> {
    let flags = flags.iter().map(|flag| (*flag).into()).collect();
    let options = AgentOptions { flags, ..AgentOptions::default() };
    let Ground { agent, node, world, .. } = Ground::build(site.lab, &site.place, options)?;
    let pods = ["client", "server"].map(|role| PodName { namespace: "default".into(), name: role.into() });
    let manifests = pods.each_ref().map(|pod| {
        let labels = LabelMap::from([("app".into(), pod.name.clone())]);
        pod_manifest(pod, &labels, &[])
    });
    agent.put(&Manifest { name: "pods", text: &documents(&manifests) })?;
    let attach = |pod: &PodName| -> Result<Pod, BuildError> {
        Ok(agent.attach(Namespace::create(site.lab, &site.name(&pod.name))?, pod)?)
    };
    let [client, server] = [attach(&pods[0])?, attach(&pods[1])?];
    Ok(Parts {
        client,
        server: Some(server),
        agent: Some(agent),
        nodes: vec![node],
        world: Some(world),
        service: None,
        forwards: false,
    })
}

/// Client and server may do nothing but what the workloads do.
fn workload_policies() -> String {
    let ports: String = WorkloadKind::ALL
        .iter()
        .map(|kind| format!("{{port: \"{}\", protocol: {}}}, ", kind.port(), protocol(*kind)))
        .collect();
    let ports = ports.trim_end_matches(", ");
    let policy = |role: &str, peer: &str, (open, peers): (&str, &str), closed: &str| {
        format!(
            "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
             metadata: {{name: {role}, namespace: default}}\n\
             spec:\n  endpointSelector: {{matchLabels: {{app: {role}}}}}\n\
             \x20 {open}:\n  - {peers}: [{{matchLabels: {{app: {peer}}}}}]\n    toPorts: [{{ports: [{ports}]}}]\n\
             \x20 {closed}: [{{}}]\n"
        )
    };
    policy("client", "server", ("egress", "toEndpoints"), "ingress")
        + &policy("server", "client", ("ingress", "fromEndpoints"), "egress")
}

/// A policy of every pod with so many entries in each direction that no workload ever meets. Every second port: ports
/// that follow each other could be one entry.
fn filler(entries: u32) -> String {
    let ports: Vec<u32> = (0..entries).map(|n| 10_001 + 2 * n).collect();
    let mut rules = String::new();
    for chunk in ports.chunks(PORTS_OF_A_RULE) {
        let list: Vec<String> =
            chunk.iter().map(|port| format!("{{port: \"{port}\", protocol: TCP}}")).collect();
        // Writing to a string cannot fail.
        let _ = writeln!(rules, "    - ports: [{}]", list.join(", "));
    }
    format!(
        "---\napiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\n\
         metadata: {{name: filler, namespace: default}}\n\
         spec:\n  endpointSelector: {{}}\n  ingress:\n  - toPorts:\n{rules}  egress:\n  - toPorts:\n{rules}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn parse(text: &str) -> Value {
        serde_saphyr::from_str(text).unwrap()
    }

    #[test]
    fn the_policies_open_exactly_the_ports_of_the_workloads() {
        let text = workload_policies();
        let documents: Vec<Value> = text.split("---\n").skip(1).map(parse).collect();
        assert_eq!(documents.len(), 2);
        let client = &documents[0]["spec"];
        assert_eq!(client["ingress"], serde_json::json!([{}]), "nobody may call the client");
        let egress = &client["egress"][0];
        assert_eq!(egress["toEndpoints"][0]["matchLabels"]["app"], "server");
        let ports = egress["toPorts"][0]["ports"].as_array().unwrap();
        assert_eq!(ports.len(), WorkloadKind::ALL.len());
        assert!(ports.contains(&serde_json::json!({"port": "9004", "protocol": "UDP"})));
        assert_eq!(documents[1]["spec"]["egress"], serde_json::json!([{}]));
    }

    #[test]
    fn the_filler_has_as_many_ports_as_asked_for_and_none_of_a_workload() {
        let policy = parse(filler(95).trim_start_matches("---\n"));
        for direction in ["ingress", "egress"] {
            let rules = policy["spec"][direction][0]["toPorts"].as_array().unwrap();
            let sizes: Vec<usize> =
                rules.iter().map(|rule| rule["ports"].as_array().unwrap().len()).collect();
            assert_eq!(sizes, [40, 40, 15]);
            assert_eq!(rules[0]["ports"][1]["port"], "10003");
        }
        const { assert!(10_001 + 2 * (ENTRIES / 2) <= 65_535) }
    }
}
