// SPDX-License-Identifier: Apache-2.0
//! From objects to the frontends that their owner wants.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use addr::{Port, Protocol};
use ipnet::IpNet;

use crate::config::Config;
use crate::health;
use crate::object::{
    ApiService, EndpointConditions, EndpointSlice, HostPort, ObjectKey, Service, ServicePort, ServiceType,
    TrafficPolicy,
};
use crate::owner::{Translated, Wanted};
use crate::row::{BackendAddress, BackendState, Frontend, FrontendKind, Scope};

/// What translation depends on beside the objects.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) config: Config,
    /// Whether IPv4 is on, and whether IPv6 is.
    pub(crate) families: (bool, bool),
    /// Addresses of the node that clients may connect to.
    pub(crate) addresses: BTreeSet<IpAddr>,
}

type Backends = Arc<[BackendAddress]>;

impl Node {
    fn has_family(&self, address: IpAddr) -> bool {
        if address.is_ipv4() { self.families.0 } else { self.families.1 }
    }

    /// Whether a backend there is on this node.
    fn is_local(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || self.config.local.iter().any(|range| range.contains(&address))
    }

    /// Where a port of the node is reached: at its addresses, and by its own processes at the loopback address.
    fn reached_at(&self, ipv4: bool) -> impl Iterator<Item = IpAddr> + '_ {
        let loopback =
            if ipv4 { IpAddr::from(Ipv4Addr::LOCALHOST) } else { IpAddr::from(Ipv6Addr::LOCALHOST) };
        let own = self.addresses.iter().copied().filter(move |address| address.is_ipv4() == ipv4);
        own.chain([loopback]).filter(|address| self.has_family(*address))
    }

    /// A service of the API, which was checked.
    pub(crate) fn of_api(&self, service: &ApiService) -> Translated {
        let protocol = service.protocol;
        let mut backends: Vec<BackendAddress> = service
            .backends
            .iter()
            .map(|(address, port)| BackendAddress { address: *address, port: *port, protocol })
            .collect();
        backends.sort_unstable();
        backends.dedup();
        let wanted = Wanted {
            kind: FrontendKind::Api,
            affinity_timeout_s: None,
            name: "api".into(),
            external: backends.as_slice().into(),
            internal: None,
            source_ranges: None,
        };
        Translated {
            frontends: vec![(frontend(service.address, service.port, protocol), wanted)],
            backends: backends.into_iter().map(|address| (address, BackendState::Active)).collect(),
            ..Translated::default()
        }
    }

    /// The `hostPort`s of a pod with these addresses.
    pub(crate) fn of_pod(&self, key: &ObjectKey, ports: &[(HostPort, Vec<IpAddr>)]) -> Translated {
        let mut made = Translated::default();
        let name: Arc<str> = format!("pod {key}").into();
        for (port, addresses) in ports {
            if let Some(reason) = port.address.and_then(|at| self.out_of_reach(at, addresses)) {
                made.refused.push((format!("hostPort {}/{}", port.port, port.protocol), reason));
                continue;
            }
            let of_host_ip = |pod: &IpAddr| port.address.is_none_or(|only| only.is_ipv4() == pod.is_ipv4());
            let pods = addresses.iter().copied().filter(|address| self.has_family(*address));
            for pod in pods.filter(of_host_ip) {
                let backend =
                    BackendAddress { address: pod, port: port.container_port, protocol: port.protocol };
                let wanted = Wanted {
                    kind: FrontendKind::HostPort,
                    affinity_timeout_s: None,
                    name: name.clone(),
                    external: [backend].into(),
                    internal: None,
                    source_ranges: None,
                };
                let at = self.reached_at(pod.is_ipv4());
                let at = at.filter(|address| port.address.is_none_or(|only| only == *address));
                let frontends =
                    at.map(|address| (frontend(address, port.port, port.protocol), wanted.clone()));
                made.frontends.extend(frontends);
                made.backends.push((backend, BackendState::Active));
            }
        }
        made.sorted()
    }

    /// Why a pod is not reached at a `hostIP`.
    fn out_of_reach(&self, host_ip: IpAddr, pod: &[IpAddr]) -> Option<String> {
        let ipv4 = host_ip.is_ipv4();
        if !self.reached_at(ipv4).any(|address| address == host_ip) {
            return Some(format!("hostIP {host_ip} is no address at which the node is reached"));
        }
        let reached = pod.iter().any(|address| address.is_ipv4() == ipv4);
        (!reached).then(|| format!("hostIP {host_ip} is of a family in which the pod has no address"))
    }

    /// A service with its slices.
    pub(crate) fn of_service(&self, service: &Service, slices: &[&EndpointSlice]) -> Translated {
        let mut made = Translated::default();
        let mut local_endpoints = 0;
        let headless = service.kind == ServiceType::ClusterIp && service.cluster_ips.is_empty();
        if headless || service.kind == ServiceType::ExternalName {
            return made;
        }
        // Without a cluster IP, which only one that no API server has seen can be: of both.
        let of_family = |ipv4: bool| {
            service.cluster_ips.is_empty() || service.cluster_ips.iter().any(|one| one.is_ipv4() == ipv4)
        };
        for ipv4 in [true, false].into_iter().filter(|ipv4| of_family(*ipv4)) {
            if !(if ipv4 { self.families.0 } else { self.families.1 }) {
                if !service.cluster_ips.is_empty() {
                    let family = if ipv4 { "IPv4" } else { "IPv6" };
                    let reason = format!("{family} is off: see --enable-{}", family.to_lowercase());
                    made.refused.push((format!("spec.clusterIPs of {family}"), reason));
                }
                continue;
            }
            let mut ready = BTreeSet::new();
            for (index, port) in service.ports.iter().enumerate() {
                let candidates = candidates(port, slices, ipv4);
                ready.extend(self.local_and_ready(&candidates, service.publish_not_ready));
                self.frontends(service, (index, port), ipv4, &candidates, &mut made);
                let named = candidates.into_iter().filter_map(|(address, is)| {
                    Some((address, state(address.protocol, is, service.publish_not_ready)?))
                });
                made.backends.extend(named);
            }
            // The families have the same endpoints, each with its own address.
            local_endpoints = local_endpoints.max(ready.len());
        }
        if service.kind == ServiceType::LoadBalancer && service.external_policy == TrafficPolicy::Local {
            let local_endpoints = u32::try_from(local_endpoints).unwrap_or(u32::MAX);
            made.health = service.health_check_node_port.map(|port| health::Wanted { port, local_endpoints });
        }
        self.refuse_families(service, slices, &of_family, &mut made);
        made.sorted()
    }

    /// Addresses of endpoints on this node that take new connections. One that ends does not count, though it may be given
    /// some for want of others: the load balancer is to turn elsewhere in time (Kubernetes' KEP 1669).
    fn local_and_ready<'a>(
        &'a self,
        candidates: &'a [(BackendAddress, EndpointConditions)],
        publish_not_ready: bool,
    ) -> impl Iterator<Item = IpAddr> + 'a {
        let ready = candidates.iter().filter(move |(_, is)| is.ready || publish_not_ready);
        ready.map(|(backend, _)| backend.address).filter(|address| self.is_local(*address))
    }

    /// The frontends of one port in one family.
    fn frontends(
        &self,
        service: &Service,
        (index, port): (usize, &ServicePort),
        ipv4: bool,
        candidates: &[(BackendAddress, EndpointConditions)],
        made: &mut Translated,
    ) {
        let all = chosen(candidates.iter(), service.publish_not_ready);
        let is_local = |candidate: &&(BackendAddress, _)| self.is_local(candidate.0.address);
        let some_local = [service.internal_policy, service.external_policy].contains(&TrafficPolicy::Local);
        let local = match some_local {
            true => chosen(candidates.iter().filter(is_local), service.publish_not_ready),
            false => Backends::from([]),
        };
        let name: Arc<str> = match port.name.as_str() {
            "" => format!("{}:{}", service.key, port.port).into(),
            name => format!("{}:{name}", service.key).into(),
        };
        // An external address that is the load balancer's as well is not left open.
        let is_ranged = |kind, address| {
            kind == FrontendKind::LoadBalancer
                || (kind == FrontendKind::ExternalIps && service.load_balancer_ips.contains(&address))
        };
        let ranges = source_ranges(service, ipv4);
        let mut add = |kind, address: IpAddr, number, external: &Backends, internal: Option<&Backends>| {
            let wanted = Wanted {
                kind,
                affinity_timeout_s: service.affinity_timeout_s,
                name: name.clone(),
                external: external.clone(),
                internal: internal.cloned(),
                source_ranges: ranges.clone().filter(|_| is_ranged(kind, address)),
            };
            made.frontends.push((frontend(address, number, port.protocol), wanted));
        };
        let own = |addresses: &[IpAddr]| -> Vec<IpAddr> {
            addresses.iter().copied().filter(|address| address.is_ipv4() == ipv4).collect()
        };
        let inside = if service.internal_policy == TrafficPolicy::Local { &local } else { &all };
        for address in own(&service.cluster_ips) {
            add(FrontendKind::ClusterIp, address, port.port, inside, None);
        }
        let (outside, from_inside) = match service.external_policy {
            TrafficPolicy::Cluster => (&all, None),
            TrafficPolicy::Local => (&local, Some(&all)),
        };
        for address in own(&service.external_ips) {
            add(FrontendKind::ExternalIps, address, port.port, outside, from_inside);
        }
        if service.kind == ServiceType::LoadBalancer {
            for address in own(&service.load_balancer_ips) {
                add(FrontendKind::LoadBalancer, address, port.port, outside, from_inside);
            }
        }
        let exposed = matches!(service.kind, ServiceType::NodePort | ServiceType::LoadBalancer);
        let Some(number) = port.node_port.filter(|_| exposed) else { return };
        let range = self.config.node_ports;
        if !range.contains(number) {
            let reason = format!("{number} is not in {range}: see --node-port-range");
            made.refused.push((format!("spec.ports[{index}].nodePort"), reason));
            return;
        }
        for address in self.reached_at(ipv4) {
            // Only the node itself connects to its loopback address.
            let (to, from_inside) = if address.is_loopback() { (&all, None) } else { (outside, from_inside) };
            add(FrontendKind::NodePort, address, number, to, from_inside);
        }
    }

    /// Addresses of a family in which the service is not reached.
    fn refuse_families(
        &self,
        service: &Service,
        slices: &[&EndpointSlice],
        of_family: &dyn Fn(bool) -> bool,
        made: &mut Translated,
    ) {
        let mut refuse = |field: &str, address: &IpAddr| {
            let reason = "is of a family in which the service has no clusterIP";
            made.refused.push((field.to_owned(), format!("{address} {reason}")));
        };
        let foreign = |address: &&IpAddr| !of_family(address.is_ipv4());
        service.external_ips.iter().filter(foreign).for_each(|one| refuse("spec.externalIPs", one));
        if service.kind == ServiceType::LoadBalancer {
            let ips = service.load_balancer_ips.iter();
            ips.filter(foreign).for_each(|one| refuse("status.loadBalancer.ingress", one));
        }
        for slice in slices {
            let endpoints = slice.endpoints.iter().flat_map(|endpoint| &endpoint.addresses);
            if let Some(one) = endpoints.into_iter().find(foreign) {
                refuse(&format!("endpoints of {}", slice.key), one);
            }
        }
    }
}

fn frontend(address: IpAddr, port: Port, protocol: Protocol) -> Frontend {
    Frontend { address, port, protocol, scope: Scope::External }
}

/// Who may use a load balancer's addresses of one family. With ranges of the other alone nobody may: whoever wrote them named all
/// that are to be let in. (kube-proxy lets everybody in there.)
fn source_ranges(service: &Service, ipv4: bool) -> Option<Arc<[IpNet]>> {
    let ranges = service.source_ranges.as_ref().filter(|_| service.kind == ServiceType::LoadBalancer)?;
    Some(ranges.iter().copied().filter(|range| matches!(range, IpNet::V4(_)) == ipv4).collect())
}

/// All endpoints of a service's port, sorted, each once: a service has several slices, and while an endpoint moves from
/// one to another it may be in both.
fn candidates(
    port: &ServicePort,
    slices: &[&EndpointSlice],
    ipv4: bool,
) -> Vec<(BackendAddress, EndpointConditions)> {
    let mut found = Vec::new();
    for slice in slices {
        let ports = slice.ports.iter().filter(|own| own.name == port.name && own.protocol == port.protocol);
        for own in ports {
            for endpoint in &slice.endpoints {
                let addresses = endpoint.addresses.iter().filter(|address| address.is_ipv4() == ipv4);
                found.extend(addresses.map(|address| {
                    let backend =
                        BackendAddress { address: *address, port: own.port, protocol: port.protocol };
                    (backend, endpoint.conditions)
                }));
            }
        }
    }
    found.sort_by_key(|(backend, _)| *backend);
    found.dedup_by(|(other, said), (backend, conditions)| {
        let same = backend == other;
        if same {
            conditions.ready |= said.ready;
            conditions.serving |= said.serving;
            conditions.terminating &= said.terminating;
        }
        same
    });
    found
}

/// The state of an endpoint as a backend. A datagram asks for no handshake that would tell its sender that nobody is there:
/// where a UDP endpoint does not serve it is none, and its clients are given another. The connections of one that only is
/// not ready now go on.
fn state(protocol: Protocol, is: EndpointConditions, publish_not_ready: bool) -> Option<BackendState> {
    match is {
        _ if is.ready || publish_not_ready => Some(BackendState::Active),
        _ if protocol == Protocol::Udp && !is.serving => None,
        _ if is.terminating => Some(BackendState::Terminating),
        _ => Some(BackendState::NotReady),
    }
}

/// Those that take new connections: the ready ones; without any, those that end and still serve.
fn chosen<'a>(
    candidates: impl Iterator<Item = &'a (BackendAddress, EndpointConditions)> + Clone,
    publish_not_ready: bool,
) -> Backends {
    let ready = candidates.clone().filter(|(_, is)| is.ready || publish_not_ready);
    let ready: Vec<BackendAddress> = ready.map(|(backend, _)| *backend).collect();
    if !ready.is_empty() {
        return ready.into();
    }
    candidates.filter(|(_, is)| is.serving && is.terminating).map(|(backend, _)| *backend).collect()
}
