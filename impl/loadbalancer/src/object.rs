// SPDX-License-Identifier: Apache-2.0
//! Services, their endpoints and whatever else makes frontends, as values that were checked.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use addr::{Port, Protocol};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Namespace and name of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// `metadata.namespace`.
    pub namespace: String,
    /// `metadata.name`.
    pub name: String,
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// `spec.type` of a service.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ServiceType {
    /// Reached inside the cluster.
    #[default]
    ClusterIp,
    /// And at a port of each node.
    NodePort,
    /// And at the address of a load balancer.
    LoadBalancer,
    /// A name for a name: no business of ours.
    ExternalName,
}

/// Which backends take connections of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TrafficPolicy {
    /// All of them.
    #[default]
    Cluster,
    /// Those on this node.
    Local,
}

/// A port of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    /// `name`; empty if it has none.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// `port`.
    pub port: Port,
    /// `nodePort`.
    pub node_port: Option<Port>,
}

/// A Kubernetes service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Whose.
    pub key: ObjectKey,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// Whether `spec.selector` names pods, from which Kubernetes makes the endpoints; otherwise whoever made the service
    /// makes them too.
    pub selects_pods: bool,
    /// `spec.type`.
    pub kind: ServiceType,
    /// `spec.clusterIPs`, or `spec.clusterIP`; without `None` and the empty one, which make it headless.
    pub cluster_ips: Vec<IpAddr>,
    /// `spec.externalIPs`.
    pub external_ips: Vec<IpAddr>,
    /// `status.loadBalancer.ingress[].ip`.
    pub load_balancer_ips: Vec<IpAddr>,
    /// `spec.loadBalancerSourceRanges`, or the annotation that was before it: who may use the addresses of the load balancer.
    /// None: everybody.
    pub source_ranges: Option<Vec<IpNet>>,
    /// `spec.ports`.
    pub ports: Vec<ServicePort>,
    /// `spec.sessionAffinityConfig.clientIP.timeoutSeconds` with `spec.sessionAffinity: ClientIP`.
    pub affinity_timeout_s: Option<u32>,
    /// `spec.internalTrafficPolicy`.
    pub internal_policy: TrafficPolicy,
    /// `spec.externalTrafficPolicy`.
    pub external_policy: TrafficPolicy,
    /// `spec.publishNotReadyAddresses`.
    pub publish_not_ready: bool,
    /// `spec.healthCheckNodePort`. It means something with `type: LoadBalancer` and `externalTrafficPolicy: Local`.
    pub health_check_node_port: Option<Port>,
}

impl Service {
    /// The addresses behind a service that selects no pods: those of its endpoints to which connections may be led, ready
    /// ones and others that still serve. None of a service that has a selector, or that is a name for a name.
    pub fn external_addresses<'a>(
        &self,
        slices: impl IntoIterator<Item = &'a EndpointSlice>,
    ) -> Option<BTreeSet<IpAddr>> {
        if self.selects_pods || self.kind == ServiceType::ExternalName {
            return None;
        }
        let endpoints = slices_that_count(slices).into_iter().flat_map(|slice| &slice.endpoints);
        let reached = endpoints.filter(|endpoint| {
            let EndpointConditions { ready, serving, .. } = endpoint.conditions;
            ready || serving || self.publish_not_ready
        });
        Some(reached.flat_map(|endpoint| &endpoint.addresses).copied().collect())
    }
}

/// Those of a service's slices that count. Kubernetes makes slices of Endpoints: where there are both, the slices know
/// more.
pub(crate) fn slices_that_count<'a>(
    slices: impl IntoIterator<Item = &'a EndpointSlice>,
) -> Vec<&'a EndpointSlice> {
    let mut slices: Vec<&EndpointSlice> = slices.into_iter().collect();
    if slices.iter().any(|slice| !slice.mirrored) {
        slices.retain(|slice| !slice.mirrored);
    }
    slices
}

/// `conditions` of an endpoint in a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EndpointConditions {
    /// It takes connections, and does not end.
    pub ready: bool,
    /// It takes connections.
    pub serving: bool,
    /// It ends.
    pub terminating: bool,
}

/// One of a slice's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceEndpoint {
    /// `addresses`.
    pub addresses: Vec<IpAddr>,
    /// `conditions`.
    pub conditions: EndpointConditions,
}

/// A port of a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SlicePort {
    /// `name`, by which the service's port has this one; empty if it has none.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// `port`.
    pub port: Port,
}

/// A Kubernetes EndpointSlice; or an Endpoints object, each of whose subsets is such a slice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSlice {
    /// The slice's own name; that of an Endpoints object's subset has its number behind it.
    pub key: ObjectKey,
    /// Of which service, in the same namespace.
    pub service: String,
    /// `endpoints`.
    pub endpoints: Vec<ServiceEndpoint>,
    /// `ports`.
    pub ports: Vec<SlicePort>,
    /// Whether it stands for a subset of an Endpoints object, which Kubernetes mirrors into EndpointSlices: of a service
    /// that has EndpointSlices, those of Endpoints do not count.
    pub mirrored: bool,
}

/// Why nobody can be reached at this address through a service.
pub(crate) fn unusable(address: IpAddr) -> Option<&'static str> {
    if address.is_unspecified() {
        Some("is no address of anybody")
    } else if address.is_loopback() {
        Some("is a loopback address")
    } else if address.is_multicast() {
        Some("is a multicast address")
    } else if matches!(address, IpAddr::V6(v6) if v6.to_ipv4_mapped().is_some()) {
        Some("is an IPv4 address written as IPv6: write it as IPv4")
    } else if matches!(address, IpAddr::V4(v4) if v4.is_broadcast()) {
        Some("is the broadcast address")
    } else {
        None
    }
}

/// A service that was made through the REST API.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ApiService {
    /// Its number, which is also its frontend's id.
    pub id: u16,
    /// The frontend's address.
    pub address: IpAddr,
    /// The frontend's port.
    pub port: Port,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Its backends, of the frontend's family and protocol.
    pub backends: Vec<(IpAddr, Port)>,
}

/// `hostPort` of a pod on this node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostPort {
    /// `hostIP`; none: every address of the node.
    pub address: Option<IpAddr>,
    /// `hostPort`.
    pub port: Port,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// `containerPort`.
    pub container_port: Port,
}
