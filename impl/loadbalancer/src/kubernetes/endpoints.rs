// SPDX-License-Identifier: Apache-2.0
//! `EndpointSlice` of `discovery.k8s.io`, and its predecessor `Endpoints` of `v1`.

use std::net::IpAddr;

use serde::Deserialize;

use super::ObjectError;
use super::field::{Metadata, Path, address, addresses, port, protocol};
use crate::object::{EndpointConditions, EndpointSlice, ObjectKey, ServiceEndpoint, SlicePort};

/// By which a slice says whose it is.
const SERVICE_LABEL: &str = "kubernetes.io/service-name";
/// Between the name of an Endpoints object and the number of its subset, in the key of a slice. No object's name has it.
const SUBSET: char = '#';

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSlice {
    metadata: Metadata,
    address_type: Option<String>,
    endpoints: Option<Vec<RawEndpoint>>,
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
struct RawEndpoint {
    #[serde(default)]
    addresses: Vec<String>,
    #[serde(default)]
    conditions: Option<RawConditions>,
}

#[derive(Default, Deserialize)]
struct RawConditions {
    ready: Option<bool>,
    serving: Option<bool>,
    terminating: Option<bool>,
}

#[derive(Deserialize)]
struct RawPort {
    name: Option<String>,
    protocol: Option<String>,
    port: Option<i64>,
}

#[derive(Deserialize)]
pub(super) struct RawEndpoints {
    metadata: Metadata,
    subsets: Option<Vec<RawSubset>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSubset {
    addresses: Option<Vec<RawAddress>>,
    not_ready_addresses: Option<Vec<RawAddress>>,
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
struct RawAddress {
    ip: String,
}

pub(super) fn of_slice(raw: RawSlice) -> Result<EndpointSlice, ObjectError> {
    let key = raw.metadata.key()?;
    let label = raw.metadata.labels.and_then(|mut labels| labels.remove(SERVICE_LABEL));
    let service = label.filter(|name| !name.is_empty()).ok_or_else(|| {
        Path::Field("metadata.labels")
            .fault(format!("{SERVICE_LABEL} must be there, and name the slice's service"))
    })?;
    let of_family: fn(&IpAddr) -> bool = match raw.address_type.as_deref() {
        Some("IPv4") => IpAddr::is_ipv4,
        Some("IPv6") => IpAddr::is_ipv6,
        // Names: such a slice has no address, and its service no backend from it.
        Some("FQDN") => return Ok(slice(key, service, Vec::new(), Vec::new())),
        other => {
            let found = other.unwrap_or_default();
            return Err(Path::Field("addressType").fault(format!("{found:?} is none of IPv4, IPv6, FQDN")));
        }
    };
    let at = Path::Field("endpoints");
    let mut endpoints = Vec::new();
    for (index, raw) in raw.endpoints.unwrap_or_default().into_iter().enumerate() {
        let at = at.index(index);
        let at = at.field("addresses");
        let addresses = addresses(&raw.addresses, &at)?;
        if let Some(other) = addresses.iter().find(|address| !of_family(address)) {
            return Err(at.fault(format!("{other} is of another family than addressType says")));
        }
        endpoints
            .push(ServiceEndpoint { addresses, conditions: conditions(raw.conditions.unwrap_or_default()) });
    }
    Ok(slice(key, service, endpoints, ports(raw.ports, &Path::Field("ports"))?))
}

fn slice(
    key: ObjectKey,
    service: String,
    endpoints: Vec<ServiceEndpoint>,
    ports: Vec<SlicePort>,
) -> EndpointSlice {
    EndpointSlice { key, service, endpoints, ports, mirrored: false }
}

/// What is not said is meant well: ready, serving as it is ready, not ending.
fn conditions(raw: RawConditions) -> EndpointConditions {
    let ready = raw.ready.unwrap_or(true);
    EndpointConditions {
        ready,
        serving: raw.serving.unwrap_or(ready),
        terminating: raw.terminating.unwrap_or(false),
    }
}

fn ports(raw: Option<Vec<RawPort>>, at: &Path<'_>) -> Result<Vec<SlicePort>, ObjectError> {
    let mut ports = Vec::new();
    for (index, raw) in raw.unwrap_or_default().into_iter().enumerate() {
        let at = at.index(index);
        let number =
            raw.port.ok_or_else(|| at.field("port").fault("must be there: every port is not supported"))?;
        ports.push(SlicePort {
            name: raw.name.unwrap_or_default(),
            protocol: protocol(raw.protocol.as_deref(), &at.field("protocol"))?,
            port: port(number, &at.field("port"))?,
        });
    }
    Ok(ports)
}

impl ObjectKey {
    /// The object that a slice of this key is of: a slice's own, or one for all subsets of an Endpoints object.
    pub fn object_of_slice(&self) -> Self {
        let end = self.name.find(SUBSET).map_or(self.name.len(), |at| at + SUBSET.len_utf8());
        Self { namespace: self.namespace.clone(), name: self.name[..end].to_owned() }
    }
}

pub(super) fn of_endpoints(raw: RawEndpoints) -> Result<Vec<EndpointSlice>, ObjectError> {
    let ObjectKey { namespace, name } = raw.metadata.key()?;
    let at = Path::Field("subsets");
    let mut slices = Vec::new();
    for (index, subset) in raw.subsets.unwrap_or_default().into_iter().enumerate() {
        let at = at.index(index);
        let mut endpoints = Vec::new();
        for (field, listed, ready) in
            [("addresses", subset.addresses, true), ("notReadyAddresses", subset.not_ready_addresses, false)]
        {
            let at = at.field(field);
            for (index, raw) in listed.unwrap_or_default().into_iter().enumerate() {
                endpoints.push(ServiceEndpoint {
                    addresses: vec![address(&raw.ip, &at.index(index).field("ip"))?],
                    conditions: EndpointConditions { ready, serving: ready, terminating: false },
                });
            }
        }
        slices.push(EndpointSlice {
            key: ObjectKey { namespace: namespace.clone(), name: format!("{name}{SUBSET}{}", index + 1) },
            service: name.clone(),
            endpoints,
            ports: ports(subset.ports, &at.field("ports"))?,
            mirrored: true,
        });
    }
    Ok(slices)
}
