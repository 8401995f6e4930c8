// SPDX-License-Identifier: Apache-2.0
//! What CNI plugins and users send about endpoints, into what the control plane takes.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use api::{AddressPair, EndpointChangeRequest, EndpointState};
use controlplane::{EndpointPatch, EndpointRef, EndpointRequest};
use identity::{Label, Labels};
use netlink::MacAddr;

use super::Refused;

/// States in which a caller may say that an endpoint is. The others are the agent's to say.
const TOLD: [EndpointState; 3] =
    [EndpointState::Creating, EndpointState::WaitingForIdentity, EndpointState::WaitingToRegenerate];

/// The endpoint that a path names.
pub fn reference(text: &str) -> Result<EndpointRef, Refused> {
    text.parse().map_err(|e: controlplane::EndpointRefError| Refused::field("id", e.to_string()))
}

/// `PUT`: the endpoint to be, from the path and the body.
pub fn creation(path: &str, change: EndpointChangeRequest) -> Result<EndpointRequest, Refused> {
    check(&change)?;
    let required = |field: &'static str| move || Refused::field(field, "is required");
    let mut request = EndpointRequest {
        id: change.id,
        labels: labels(change.labels.as_deref().unwrap_or_default())?,
        interface: change.interface_name.ok_or_else(required("interface-name"))?,
        ifindex: change.interface_index.unwrap_or_default(),
        mac: mac("mac", change.mac.as_deref().ok_or_else(required("mac"))?)?,
        node_mac: mac("host-mac", change.host_mac.as_deref().ok_or_else(required("host-mac"))?)?,
        container_id: change.container_id.unwrap_or_default(),
        container_name: change.container_name.unwrap_or_default(),
        k8s_namespace: change.k8s_namespace.unwrap_or_default(),
        k8s_pod_name: change.k8s_pod_name.unwrap_or_default(),
        sync_build: change.sync_build_endpoint.unwrap_or_default(),
        ipv4: None,
        ipv6: None,
    };
    (request.ipv4, request.ipv6) = addresses(&change.addressing.unwrap_or_default())?;
    agree(path, &mut request)?;
    Ok(request)
}

/// The path names the endpoint as the body does; what only the path says is taken from there. 1.4's clients write the
/// number 0 where the agent is to choose.
fn agree(path: &str, request: &mut EndpointRequest) -> Result<(), Refused> {
    if path.strip_prefix("cilium-local:").unwrap_or(path) == "0" {
        return Ok(());
    }
    let fill = |field: &mut String, value: &str| {
        if field.is_empty() {
            *field = value.to_owned();
        }
        field == value
    };
    let agrees = match &reference(path)? {
        EndpointRef::Local(id) => {
            if request.id == 0 {
                request.id = *id;
            }
            request.id == *id
        }
        EndpointRef::ContainerId(id) => fill(&mut request.container_id, id),
        EndpointRef::ContainerName(name) => fill(&mut request.container_name, name),
        EndpointRef::PodName { namespace, name } => {
            fill(&mut request.k8s_namespace, namespace) && fill(&mut request.k8s_pod_name, name)
        }
        EndpointRef::Ipv4(address) => request.ipv4 == Some(*address),
        EndpointRef::Ipv6(address) => request.ipv6 == Some(*address),
    };
    if agrees { Ok(()) } else { Err(Refused::field("id", format!("the path says {path}, the body another"))) }
}

/// `PATCH`: what changes.
pub fn patch(change: EndpointChangeRequest) -> Result<EndpointPatch, Refused> {
    check(&change)?;
    if change.id != 0 || change.addressing.is_some() {
        let field = if change.id != 0 { "id" } else { "addressing" };
        return Err(Refused::field(field, "cannot change: delete the endpoint and create it anew"));
    }
    Ok(EndpointPatch {
        container_id: change.container_id,
        container_name: change.container_name,
        k8s_namespace: change.k8s_namespace,
        k8s_pod_name: change.k8s_pod_name,
        labels: change.labels.as_deref().map(labels).transpose()?,
        interface: change.interface_name,
        ifindex: change.interface_index,
        mac: change.mac.as_deref().map(|text| mac("mac", text)).transpose()?,
        node_mac: change.host_mac.as_deref().map(|text| mac("host-mac", text)).transpose()?,
    })
}

/// Refuses what would do nothing.
fn check(change: &EndpointChangeRequest) -> Result<(), Refused> {
    let unsupported = [
        ("docker-endpoint-id", change.docker_endpoint_id.is_some()),
        ("docker-network-id", change.docker_network_id.is_some()),
        ("datapath-map-id", change.datapath_map_id.is_some_and(|id| id != 0)),
        ("policy-enabled", change.policy_enabled.is_some()),
        ("pid", change.pid.is_some_and(|pid| pid != 0)),
    ];
    if let Some((field, _)) = unsupported.into_iter().find(|(_, said)| *said) {
        return Err(Refused::field(field, "is not supported: leave it out"));
    }
    if !TOLD.contains(&change.state) {
        let told: Vec<_> = TOLD.iter().map(|state| state.as_str()).collect();
        return Err(Refused::field("state", format!("{} is not one of {}", change.state, told.join(", "))));
    }
    Ok(())
}

/// Labels, each `[SOURCE:]KEY[=VALUE]`.
pub fn labels(texts: &[String]) -> Result<Labels, Refused> {
    let parse = |(at, text): (usize, &String)| {
        text.parse::<Label>().map_err(|e| Refused::field(format!("labels[{at}]"), e.to_string()))
    };
    texts.iter().enumerate().map(parse).collect()
}

fn mac(field: &'static str, text: &str) -> Result<[u8; 6], Refused> {
    match MacAddr::from_str(text) {
        Ok(mac) => Ok(mac.0),
        Err(e) => Err(Refused::field(field, e.to_string())),
    }
}

fn addresses(pair: &AddressPair) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), Refused> {
    Ok((address("addressing.ipv4", &pair.ipv4)?, address("addressing.ipv6", &pair.ipv6)?))
}

fn address<A: FromStr>(field: &'static str, text: &str) -> Result<Option<A>, Refused> {
    if text.is_empty() {
        return Ok(None);
    }
    text.parse().map(Some).map_err(|_| Refused::field(field, format!("{text:?} is no such address")))
}
