// SPDX-License-Identifier: Apache-2.0
//! `hostPort`s of a `Pod`.

use std::net::IpAddr;

use serde::Deserialize;

use super::ObjectError;
use super::field::{Path, optional_port, port, protocol};
use crate::object::HostPort;

#[derive(Deserialize)]
pub(super) struct RawPod {
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    host_network: Option<bool>,
    containers: Option<Vec<Container>>,
}

#[derive(Deserialize)]
struct Container {
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawPort {
    container_port: i64,
    host_port: Option<i64>,
    #[serde(rename = "hostIP")]
    host_ip: Option<String>,
    protocol: Option<String>,
}

pub(super) fn host_ports(raw: RawPod) -> Result<Vec<HostPort>, ObjectError> {
    if raw.spec.host_network.unwrap_or(false) {
        return Ok(Vec::new());
    }
    let at = Path::Field("spec.containers");
    let mut found = Vec::new();
    for (index, container) in raw.spec.containers.unwrap_or_default().into_iter().enumerate() {
        let at = at.index(index);
        let at = at.field("ports");
        for (index, raw) in container.ports.unwrap_or_default().into_iter().enumerate() {
            let at = at.index(index);
            let Some(host_port) = optional_port(raw.host_port, &at.field("hostPort"))? else { continue };
            found.push(HostPort {
                address: host_ip(raw.host_ip.as_deref(), &at.field("hostIP"))?,
                port: host_port,
                protocol: protocol(raw.protocol.as_deref(), &at.field("protocol"))?,
                container_port: port(raw.container_port, &at.field("containerPort"))?,
            });
        }
    }
    Ok(found)
}

/// The unspecified address is every address. A loopback address is for processes of the node.
fn host_ip(text: Option<&str>, at: &Path<'_>) -> Result<Option<IpAddr>, ObjectError> {
    let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(None) };
    let address: IpAddr = text.parse().map_err(|_| at.fault(format!("{text:?} is not an IP address")))?;
    if address.is_multicast() {
        return Err(at.fault(format!("{text} is a multicast address")));
    }
    Ok(Some(address.to_canonical()).filter(|address| !address.is_unspecified()))
}
