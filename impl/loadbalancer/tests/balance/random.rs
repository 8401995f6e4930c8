// SPDX-License-Identifier: Apache-2.0
//! Any sequence of changes: tables are sound after each, and in the end as if everything had been told at once.

use std::collections::BTreeMap;
use std::net::IpAddr;

use addr::{Port, Protocol};
use loadbalancer::{
    ApiService, Config, EndpointConditions, EndpointSlice, HostPort, ObjectKey, Restored, Service,
    ServiceEndpoint, ServicePort, ServiceType, SlicePort, TrafficPolicy,
};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::RngSeed;

use crate::world::{World, config, maglev};

#[derive(Debug, Clone)]
enum Step {
    Service(u8, Option<Service>),
    Slice(u8, Option<EndpointSlice>),
    Pod(u8, Vec<(HostPort, Vec<IpAddr>)>),
    Put(ApiService),
    Delete(u16),
    Node(Vec<IpAddr>),
    Decide,
}

fn key(kind: &str, n: u8) -> ObjectKey {
    ObjectKey { namespace: "shop".to_owned(), name: format!("{kind}{n}") }
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn some(of: &'static [&'static str], most: usize) -> impl Strategy<Value = Vec<IpAddr>> {
    proptest::collection::btree_set(select(of), 0..=most)
        .prop_map(|texts| texts.into_iter().map(ip).collect())
}

const CLUSTER_IPS: [&str; 3] = ["10.96.0.1", "10.96.0.2", "fd01::1"];
const EXTERNAL_IPS: [&str; 3] = ["198.51.100.1", "10.96.0.1", "2001:db8::9"];
const ENDPOINTS: [&str; 6] = ["10.0.0.1", "10.0.0.2", "10.9.0.1", "10.9.0.2", "fd00::1", "fd09::1"];
const NODE: [&str; 3] = ["192.0.2.1", "192.0.2.2", "2001:db8::1"];

fn policy() -> impl Strategy<Value = TrafficPolicy> {
    select(vec![TrafficPolicy::Cluster, TrafficPolicy::Local])
}

fn ranges() -> impl Strategy<Value = Option<Vec<ipnet::IpNet>>> {
    let one = select(vec!["10.0.0.0/8", "192.0.2.0/24", "2001:db8::/32"]);
    let some = proptest::collection::btree_set(one.prop_map(|text| text.parse().unwrap()), 0..3);
    proptest::option::of(some.prop_map(|ranges| ranges.into_iter().collect()))
}

fn ports() -> impl Strategy<Value = Vec<ServicePort>> {
    let node_port = proptest::option::of(select(vec![30_080, 30_081, 80]));
    let one =
        (select(vec!["a", "b"]), select(vec![80, 81]), node_port).prop_map(|(name, number, node_port)| {
            let protocol = if name == "a" { Protocol::Tcp } else { Protocol::Udp };
            ServicePort {
                name: name.to_owned(),
                protocol,
                port: port(number),
                node_port: node_port.map(port),
            }
        });
    proptest::collection::vec(one, 0..3)
}

fn service() -> impl Strategy<Value = Service> {
    let kinds =
        [ServiceType::ClusterIp, ServiceType::NodePort, ServiceType::LoadBalancer, ServiceType::ExternalName];
    let addresses = (some(&CLUSTER_IPS, 2), some(&EXTERNAL_IPS, 2), some(&EXTERNAL_IPS, 1));
    let health = proptest::option::of(select(vec![30_080, 31_123, 31_124]));
    let rest = (proptest::option::of(1_u32..3), policy(), policy(), any::<bool>(), health, ranges());
    (select(kinds.to_vec()), addresses, ports(), rest).prop_map(
        |(kind, (cluster_ips, external_ips, load_balancer_ips), ports, rest)| {
            let (affinity_timeout_s, internal_policy, external_policy, publish_not_ready, health, ranges) =
                rest;
            Service {
                source_ranges: ranges,
                health_check_node_port: health.map(port),
                key: key("", 0),
                labels: BTreeMap::new(),
                selects_pods: true,
                kind,
                cluster_ips,
                external_ips,
                load_balancer_ips,
                ports,
                affinity_timeout_s,
                internal_policy,
                external_policy,
                publish_not_ready,
            }
        },
    )
}

fn slice() -> impl Strategy<Value = EndpointSlice> {
    let conditions = (any::<bool>(), any::<bool>(), any::<bool>());
    let endpoint =
        (some(&ENDPOINTS, 2), conditions).prop_map(|(addresses, (ready, serving, terminating))| {
            ServiceEndpoint { addresses, conditions: EndpointConditions { ready, serving, terminating } }
        });
    let ports = proptest::collection::vec((any::<bool>(), select(vec![8080, 8081])), 1..3);
    (0_u8..4, proptest::collection::vec(endpoint, 0..4), ports, any::<bool>()).prop_map(
        |(of, endpoints, ports, mirrored)| {
            let ports = ports.into_iter().map(|(tcp, number)| SlicePort {
                name: if tcp { "a" } else { "b" }.to_owned(),
                protocol: if tcp { Protocol::Tcp } else { Protocol::Udp },
                port: port(number),
            });
            EndpointSlice {
                key: key("", 0),
                service: format!("s{of}"),
                endpoints,
                ports: ports.collect(),
                mirrored,
            }
        },
    )
}

fn pod() -> impl Strategy<Value = Vec<(HostPort, Vec<IpAddr>)>> {
    let address = proptest::option::of(select(&NODE[..]).prop_map(ip));
    let one = (address, select(vec![30_080, 8000]), some(&ENDPOINTS, 2)).prop_map(
        |(address, number, addresses)| {
            let host_port =
                HostPort { address, port: port(number), protocol: Protocol::Tcp, container_port: port(8080) };
            (host_port, addresses)
        },
    );
    proptest::collection::vec(one, 0..2)
}

fn api() -> impl Strategy<Value = ApiService> {
    let backends = some(&ENDPOINTS[..4], 3);
    (1_u16..6, select(vec!["10.96.0.1", "203.0.113.1", "203.0.113.2"]), backends).prop_map(
        |(id, address, backends)| ApiService {
            id,
            address: ip(address),
            port: port(80),
            protocol: Protocol::Tcp,
            backends: backends.into_iter().map(|address| (address, port(8080))).collect(),
        },
    )
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0_u8..4, proptest::option::weighted(0.8, service())).prop_map(|(n, one)| Step::Service(n, one)),
        5 => (0_u8..6, proptest::option::weighted(0.8, slice())).prop_map(|(n, one)| Step::Slice(n, one)),
        2 => (0_u8..2, pod()).prop_map(|(n, one)| Step::Pod(n, one)),
        2 => api().prop_map(Step::Put),
        1 => (1_u16..6).prop_map(Step::Delete),
        1 => some(&NODE, 3).prop_map(Step::Node),
        6 => Just(Step::Decide),
    ]
}

/// What is there in the end, by what it is of.
#[derive(Default)]
struct Facts {
    objects: BTreeMap<(u8, u8), Step>,
    node: Option<Step>,
}

fn take(world: &mut World, step: &Step) {
    world.asked |= matches!(step, Step::Put(_) | Step::Delete(_));
    match step.clone() {
        Step::Service(n, service) => {
            let key = key("s", n);
            let service = service.map(|service| Service { key: key.clone(), ..service });
            world.balancer.set_service(&key, service);
        }
        Step::Slice(n, slice) => {
            let key = key("e", n);
            let slice = slice.map(|slice| EndpointSlice { key: key.clone(), ..slice });
            world.balancer.set_slice(&key, slice);
        }
        Step::Pod(n, ports) => world.balancer.set_host_ports(&key("p", n), ports),
        // Refused or not: that is another test.
        Step::Put(service) => drop(world.balancer.put_api(service)),
        Step::Delete(id) => drop(world.balancer.delete_api(id)),
        Step::Node(addresses) => world.balancer.set_node_addresses(&addresses),
        Step::Decide => {
            world.decide();
        }
    }
}

impl Facts {
    fn note(&mut self, step: &Step) {
        let at = match step {
            Step::Service(n, _) => (0, *n),
            Step::Slice(n, _) => (1, *n),
            Step::Pod(n, _) => (2, *n),
            Step::Node(_) => {
                self.node = Some(step.clone());
                return;
            }
            Step::Put(_) | Step::Delete(_) | Step::Decide => return,
        };
        self.objects.insert(at, step.clone());
    }

    /// Everything at once, in another order.
    fn at_once(&self, config: Config, world: &World, restored: Restored) -> World {
        let mut again = World::new(config);
        again.balancer.restore(restored);
        self.objects.values().rev().chain(&self.node).for_each(|step| take(&mut again, step));
        for service in world.balancer.api() {
            again.balancer.put_api(service).unwrap();
        }
        again.decide();
        again
    }
}

fn run(steps: &[Step], config: &Config) -> (World, Facts) {
    let mut world = World::new(config.clone());
    let mut facts = Facts::default();
    for step in steps {
        take(&mut world, step);
        facts.note(step);
    }
    world.decide();
    (world, facts)
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, rng_seed: RngSeed::Fixed(11), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn in_the_end_tables_are_as_if_all_had_been_told_at_once(
        steps in proptest::collection::vec(step(), 0..40), with_maglev in any::<bool>()
    ) {
        let config = if with_maglev { maglev() } else { config() };
        let (world, facts) = run(&steps, &config);
        let again = facts.at_once(config.clone(), &world, Restored::default());
        prop_assert_eq!(again.dump(), world.dump());
        prop_assert_eq!(again.balancer.refused(), world.balancer.refused());
        let ids = Restored {
            frontends: world.frontends.iter().map(|(frontend, row)| (*frontend, row.id)).collect(),
            backends: world.backends.iter().map(|(id, row)| (row.address, *id)).collect(),
            ..Restored::default()
        };
        let restarted = facts.at_once(config, &world, ids);
        prop_assert_eq!(&restarted.backends, &world.backends);
        prop_assert_eq!(restarted.dump(), world.dump());
        for (frontend, row) in &world.frontends {
            prop_assert_eq!(restarted.frontends[frontend].id, row.id);
        }
    }

    #[test]
    fn with_little_room_tables_are_sound_and_empty_when_all_is_gone(
        steps in proptest::collection::vec(step(), 0..40), frontends_max in 0_usize..6, backends_max in 0_usize..4,
        slots_max in 0_usize..6
    ) {
        let config = Config { frontends_max, backends_max, slots_max, ..config() };
        let (mut world, facts) = run(&steps, &config);
        prop_assert!(world.frontends.values().map(|row| row.slots.len()).sum::<usize>() <= slots_max);
        prop_assert!(world.frontends.len() <= frontends_max && world.backends.len() <= backends_max);
        for service in world.balancer.api() {
            world.balancer.delete_api(service.id);
        }
        world.decide();
        for (kind, n) in facts.objects.into_keys() {
            let gone = match kind {
                0 => Step::Service(n, None),
                1 => Step::Slice(n, None),
                _ => Step::Pod(n, Vec::new()),
            };
            take(&mut world, &gone);
            world.decide();
        }
        prop_assert_eq!(world.dump(), "");
        prop_assert!(world.balancer.refused().is_empty(), "{:?}", world.balancer.refused());
    }
}
