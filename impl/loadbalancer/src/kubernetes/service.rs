// SPDX-License-Identifier: Apache-2.0
//! `Service` of `v1`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;
use serde_json::Value;

use super::ObjectError;
use super::field::{Metadata, Path, address, addresses, each_once, optional_port, port, protocol, ranges};
use crate::object::{Service, ServicePort, ServiceType, TrafficPolicy};

/// What Kubernetes takes where no timeout is said: three hours.
const DEFAULT_AFFINITY_TIMEOUT_S: i64 = 10_800;
/// The longest that it lets one say: a day.
const MAX_AFFINITY_TIMEOUT_S: i64 = 86_400;
/// Where source ranges stood before they had a field, separated by commas. The field outweighs it.
const SOURCE_RANGES: &str = "service.beta.kubernetes.io/load-balancer-source-ranges";
/// The same as a path.
const ANNOTATION: &str = "metadata.annotations[service.beta.kubernetes.io/load-balancer-source-ranges]";

#[derive(Deserialize)]
pub(super) struct RawService {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    status: Option<Status>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    r#type: Option<String>,
    selector: Option<BTreeMap<String, String>>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<String>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<String>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<Vec<String>>,
    ports: Option<Vec<RawPort>>,
    session_affinity: Option<String>,
    session_affinity_config: Option<AffinityConfig>,
    internal_traffic_policy: Option<String>,
    external_traffic_policy: Option<String>,
    publish_not_ready_addresses: Option<bool>,
    health_check_node_port: Option<i64>,
    load_balancer_source_ranges: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    port: i64,
    node_port: Option<i64>,
}

#[derive(Deserialize)]
struct AffinityConfig {
    #[serde(rename = "clientIP")]
    client_ip: Option<ClientIp>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ClientIp {
    timeout_seconds: Option<i64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    load_balancer: Option<LoadBalancerStatus>,
}

#[derive(Deserialize)]
struct LoadBalancerStatus {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Ingress {
    ip: Option<String>,
    ip_mode: Option<String>,
}

pub(super) fn translated(raw: RawService) -> Result<Service, ObjectError> {
    let at = Path::Field("spec");
    let spec = raw.spec;
    let kind = match spec.r#type.as_deref() {
        None | Some("" | "ClusterIP") => ServiceType::ClusterIp,
        Some("NodePort") => ServiceType::NodePort,
        Some("LoadBalancer") => ServiceType::LoadBalancer,
        Some("ExternalName") => ServiceType::ExternalName,
        Some(other) => {
            let reason = format!("{other:?} is none of ClusterIP, NodePort, LoadBalancer, ExternalName");
            return Err(at.field("type").fault(reason));
        }
    };
    let source_ranges = source_ranges(&raw.metadata, &spec, &at)?;
    Ok(Service {
        source_ranges,
        key: raw.metadata.key()?,
        labels: raw.metadata.labels.unwrap_or_default(),
        selects_pods: spec.selector.as_ref().is_some_and(|selector| !selector.is_empty()),
        kind,
        cluster_ips: cluster_ips(&spec, &at)?,
        external_ips: addresses(spec.external_ips.as_deref().unwrap_or_default(), &at.field("externalIPs"))?,
        load_balancer_ips: load_balancer_ips(raw.status)?,
        affinity_timeout_s: affinity(&spec, &at)?,
        internal_policy: policy(spec.internal_traffic_policy.as_deref(), &at.field("internalTrafficPolicy"))?,
        external_policy: policy(spec.external_traffic_policy.as_deref(), &at.field("externalTrafficPolicy"))?,
        publish_not_ready: spec.publish_not_ready_addresses.unwrap_or(false),
        health_check_node_port: optional_port(spec.health_check_node_port, &at.field("healthCheckNodePort"))?,
        ports: ports(spec.ports.unwrap_or_default(), &at.field("ports"))?,
    })
}

/// Who may use the addresses of the load balancer. As an API server has it, they are for that type alone: of another, whoever wrote
/// them believes clients to be kept out that are not.
fn source_ranges(metadata: &Metadata, spec: &Spec, at: &Path<'_>) -> Result<Option<Vec<IpNet>>, ObjectError> {
    let in_spec = spec.load_balancer_source_ranges.as_deref().unwrap_or_default();
    let annotation = match metadata.annotations.as_ref().and_then(|all| all.get(SOURCE_RANGES)) {
        None => "",
        Some(Value::String(text)) => text.trim(),
        Some(_) => return Err(Path::Field(ANNOTATION).fault("is not a text")),
    };
    let (found, at) = match (in_spec, annotation) {
        ([], "") => return Ok(None),
        ([], text) => {
            let at = Path::Field(ANNOTATION);
            (ranges(text.split(','), &at)?, at)
        }
        (texts, _) => {
            let at = at.field("loadBalancerSourceRanges");
            (ranges(texts.iter().map(String::as_str), &at)?, at)
        }
    };
    if spec.r#type.as_deref() != Some("LoadBalancer") {
        return Err(at.fault("is for services of type LoadBalancer: take it away, or make it one"));
    }
    Ok(Some(found))
}

fn cluster_ips(spec: &Spec, at: &Path<'_>) -> Result<Vec<IpAddr>, ObjectError> {
    let given = |text: &&str| !text.is_empty() && *text != "None";
    match spec.cluster_ips.as_deref() {
        Some(several @ [_, ..]) => {
            let texts: Vec<&str> = several.iter().map(String::as_str).collect();
            // A headless service has "None" as its only one.
            if texts.iter().all(|text| !given(text)) {
                return Ok(Vec::new());
            }
            addresses(&texts, &at.field("clusterIPs"))
        }
        _ => {
            let one = spec.cluster_ip.as_deref().filter(given);
            let at = at.field("clusterIP");
            one.map(|text| address(text, &at)).transpose().map(|one| one.into_iter().collect())
        }
    }
}

/// Of a load balancer that hands packets on as they come. One that connects by itself (`ipMode: Proxy`) must see them
/// first.
fn load_balancer_ips(status: Option<Status>) -> Result<Vec<IpAddr>, ObjectError> {
    let ingress =
        status.and_then(|status| status.load_balancer).and_then(|one| one.ingress).unwrap_or_default();
    let at = Path::Field("status.loadBalancer.ingress");
    let mut found = Vec::new();
    for (index, entry) in ingress.iter().enumerate() {
        let proxied = entry.ip_mode.as_deref() == Some("Proxy");
        let Some(text) = entry.ip.as_deref().filter(|text| !text.is_empty() && !proxied) else { continue };
        found.push(address(text, &at.index(index).field("ip"))?);
    }
    Ok(each_once(found))
}

fn affinity(spec: &Spec, at: &Path<'_>) -> Result<Option<u32>, ObjectError> {
    match spec.session_affinity.as_deref() {
        None | Some("" | "None") => return Ok(None),
        Some("ClientIP") => {}
        Some(other) => {
            let reason = format!("{other:?} is neither ClientIP nor None");
            return Err(at.field("sessionAffinity").fault(reason));
        }
    }
    let config = spec.session_affinity_config.as_ref().and_then(|config| config.client_ip.as_ref());
    let timeout = config.and_then(|config| config.timeout_seconds).unwrap_or(DEFAULT_AFFINITY_TIMEOUT_S);
    if !(1..=MAX_AFFINITY_TIMEOUT_S).contains(&timeout) {
        let reason = format!("{timeout} must be from 1 to {MAX_AFFINITY_TIMEOUT_S}");
        return Err(at.field("sessionAffinityConfig.clientIP.timeoutSeconds").fault(reason));
    }
    Ok(u32::try_from(timeout).ok())
}

fn policy(text: Option<&str>, at: &Path<'_>) -> Result<TrafficPolicy, ObjectError> {
    match text {
        None | Some("" | "Cluster") => Ok(TrafficPolicy::Cluster),
        Some("Local") => Ok(TrafficPolicy::Local),
        Some(other) => Err(at.fault(format!("{other:?} is neither Cluster nor Local"))),
    }
}

fn ports(raw: Vec<RawPort>, at: &Path<'_>) -> Result<Vec<ServicePort>, ObjectError> {
    let (mut names, mut numbers) = (BTreeSet::new(), BTreeSet::new());
    let mut ports = Vec::with_capacity(raw.len());
    for (index, raw) in raw.into_iter().enumerate() {
        let at = at.index(index);
        let found = ServicePort {
            name: raw.name.unwrap_or_default(),
            protocol: protocol(raw.protocol.as_deref(), &at.field("protocol"))?,
            port: port(raw.port, &at.field("port"))?,
            node_port: optional_port(raw.node_port, &at.field("nodePort"))?,
        };
        if !names.insert(found.name.clone()) {
            return Err(at.field("name").fault(format!("{:?} is the name of another port", found.name)));
        }
        if !numbers.insert((found.port, found.protocol)) {
            let reason = format!("{}/{} is another port already", found.port, found.protocol);
            return Err(at.field("port").fault(reason));
        }
        ports.push(found);
    }
    Ok(ports)
}
