// SPDX-License-Identifier: Apache-2.0
//! Services of a cluster, for the benchmarks of load balancing: each has a ClusterIP, one port, and backends of its own.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use addr::{Port, Protocol};
use loadbalancer::{
    Config, EndpointConditions, EndpointSlice, LoadBalancer, ObjectKey, Service, ServiceEndpoint,
    ServicePort, ServiceType, SlicePort, TrafficPolicy,
};

/// The first ClusterIP, and the first address of a backend.
const CLUSTER_IPS: u32 = u32::from_be_bytes([10, 96, 0, 1]);
const BACKENDS: u32 = u32::from_be_bytes([10, 128, 0, 1]);

/// A service with its slice.
pub type Told = (Service, EndpointSlice);

/// So many services with so many backends each.
pub fn services(services: u32, backends: u32) -> Vec<Told> {
    (0..services).map(|number| (service(number), slice(number, backends))).collect()
}

/// A load balancer that was told of them, and has decided.
pub fn balanced(told: Vec<Told>) -> LoadBalancer {
    let mut balancer = LoadBalancer::new(Config::default());
    for (service, slice) in told {
        let (key, slice_key) = (service.key.clone(), slice.key.clone());
        balancer.set_service(&key, Some(service));
        balancer.set_slice(&slice_key, Some(slice));
    }
    balancer.changes();
    balancer
}

/// The slice of a service, with so many backends.
pub fn slice(number: u32, backends: u32) -> EndpointSlice {
    let endpoint = |n| ServiceEndpoint {
        addresses: vec![address(BACKENDS + number * 100 + n)],
        conditions: EndpointConditions { ready: true, serving: true, terminating: false },
    };
    EndpointSlice {
        key: key(format!("service-{number}-1")),
        service: key(format!("service-{number}")).name,
        mirrored: false,
        endpoints: (0..backends).map(endpoint).collect(),
        ports: vec![SlicePort { name: "http".into(), protocol: Protocol::Tcp, port: port(8080) }],
    }
}

fn service(number: u32) -> Service {
    Service {
        key: key(format!("service-{number}")),
        labels: BTreeMap::new(),
        selects_pods: true,
        kind: ServiceType::ClusterIp,
        cluster_ips: vec![address(CLUSTER_IPS + number)],
        external_ips: Vec::new(),
        load_balancer_ips: Vec::new(),
        ports: vec![ServicePort {
            name: "http".into(),
            protocol: Protocol::Tcp,
            port: port(80),
            node_port: None,
        }],
        affinity_timeout_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Cluster,
        publish_not_ready: false,
        health_check_node_port: None,
        source_ranges: None,
    }
}

fn key(name: String) -> ObjectKey {
    ObjectKey { namespace: "default".into(), name }
}

fn address(number: u32) -> IpAddr {
    Ipv4Addr::from(number).into()
}

fn port(number: u16) -> Port {
    Port::new(number).expect("a port")
}
