// SPDX-License-Identifier: Apache-2.0
//! Any sequence of events: what must hold after each of them.

use std::collections::{BTreeMap, BTreeSet};

use addr::{Port, Protocol};
use controlplane::{
    ConfigPatch, Desired, EndpointRef, Event, Family, IpamRequest, LabelChange, Namespace, Objects, Pod, Row,
    SourceName, State,
};
use identity::{LabelArray, Labels};
use loadbalancer::{
    ApiService, EndpointConditions, EndpointSlice, FrontendKind, HostPort, ObjectKey, Restored, Service,
    ServiceEndpoint, ServicePort, ServiceType, SlicePort, TrafficPolicy,
};
use policy::{EnforcementMode, Rule};
use proptest::prelude::*;
use proptest::sample::{Index, select};
use proptest::test_runner::RngSeed;

use crate::world::{World, config, dump, lets_in, request, rules};

const LABELS: [&str; 4] = ["a", "b", "c", "d"];
const FILES: [&str; 3] = ["p.yaml", "q.yaml", "r.yaml"];
const PREFIXES: [&str; 4] = ["192.0.2.0/24", "192.0.2.128/25", "10.0.0.5/32", "198.51.100.7/32"];

const SERVICES: [&str; 4] = [
    r#"{"k8sService": {"serviceName": "s1", "namespace": "shop"}}"#,
    r#"{"k8sService": {"serviceName": "s2"}}"#,
    r#"{"k8sServiceSelector": {"selector": {"matchLabels": {"at": "1"}}, "namespace": "shop"}}"#,
    r#"{"k8sServiceSelector": {"selector": {}}}"#,
];

/// A step of a random run.
#[derive(Debug, Clone)]
pub enum Step {
    /// Makes the endpoint with this number and these labels.
    Create(u8, Vec<&'static str>),
    /// Deletes it.
    Delete(u8),
    /// Changes its labels.
    Labels(u8, Vec<&'static str>),
    /// Tells its rows again.
    Regenerate(u8),
    /// A file holds these.
    File(&'static str, Objects),
    /// Adds a rule through the API.
    Add(RuleOf, bool),
    /// Deletes rules of the API by label.
    Remove(&'static str),
    /// Changes the mode.
    Mode(EnforcementMode),
    /// Makes a service of the API with this id, at this of three addresses, with this backend.
    Put(u16, u8, u8),
    /// Deletes it.
    Unput(u16),
    /// Gives an address.
    Allocate,
    /// Gives one back.
    Release(u8),
    /// Everything is realized, but for rows of endpoints.
    Realize(Option<Index>),
}

/// A rule by its parts.
#[derive(Debug, Clone, PartialEq)]
pub enum RuleOf {
    /// To, from.
    LetsIn(&'static str, &'static str),
    /// To, prefix.
    Prefix(&'static str, &'static str),
    /// To, an entry of `toServices`.
    Service(&'static str, &'static str),
}

impl RuleOf {
    fn rule(&self) -> Rule {
        match self {
            Self::LetsIn(to, from) => lets_in(to, to, from),
            Self::Prefix(of, prefix) => rules(&format!(
                r#"{{"endpointSelector": {{"matchLabels": {{"{of}": ""}}}}, "labels": ["{of}"],
                     "egress": [{{"toCIDR": ["{prefix}"]}}]}}"#
            ))
            .remove(0),
            Self::Service(of, entry) => rules(&format!(
                r#"{{"endpointSelector": {{"matchLabels": {{"{of}": ""}}}}, "labels": ["{of}"],
                     "egress": [{{"toServices": [{entry}]}}]}}"#
            ))
            .remove(0),
        }
    }
}

fn number() -> impl Strategy<Value = u8> {
    5_u8..10
}

fn some_labels() -> impl Strategy<Value = Vec<&'static str>> {
    proptest::collection::vec(select(&LABELS[..]), 0..3)
}

fn rule() -> impl Strategy<Value = RuleOf> {
    prop_oneof![
        (select(&LABELS[..]), select(&LABELS[..])).prop_map(|(to, from)| RuleOf::LetsIn(to, from)),
        (select(&LABELS[..]), select(&PREFIXES[..])).prop_map(|(of, prefix)| RuleOf::Prefix(of, prefix)),
        (select(&LABELS[..]), select(&SERVICES[..])).prop_map(|(of, entry)| RuleOf::Service(of, entry)),
    ]
}

fn file() -> impl Strategy<Value = Step> {
    let pods = proptest::collection::vec((number(), select(&LABELS[..])), 0..3);
    let namespace = proptest::option::of(select(&LABELS[..]));
    let services = proptest::collection::vec((1_u8..3, 1_u8..3, any::<bool>()), 0..2);
    let slices = proptest::collection::vec((1_u8..3, 1_u8..3, any::<bool>(), number()), 0..3);
    let rules = proptest::collection::vec(rule(), 0..3);
    (select(&FILES[..]), rules, pods, namespace, services, slices).prop_map(
        |(file, rules, pods, namespace, services, slices)| {
            let namespace = namespace.map(|label| Namespace {
                name: "shop".to_owned(),
                labels: BTreeMap::from([(label.to_owned(), "yes".to_owned())]),
            });
            let objects = Objects {
                rules: rules.iter().map(RuleOf::rule).collect(),
                pods: pods.iter().map(|(n, label)| pod(*n, label)).collect(),
                namespaces: namespace.into_iter().collect(),
                services: services
                    .iter()
                    .map(|(name, address, pods)| service(*name, *address, *pods))
                    .collect(),
                slices: slices.iter().map(|(name, of, ready, n)| slice(*name, *of, *ready, *n)).collect(),
            };
            Step::File(file, objects)
        },
    )
}

pub fn step() -> impl Strategy<Value = Step> {
    let mode = select(vec![EnforcementMode::Default, EnforcementMode::Always, EnforcementMode::Never]);
    prop_oneof![
        4 => (number(), some_labels()).prop_map(|(n, labels)| Step::Create(n, labels)),
        2 => number().prop_map(Step::Delete),
        2 => (number(), some_labels()).prop_map(|(n, labels)| Step::Labels(n, labels)),
        1 => number().prop_map(Step::Regenerate),
        3 => file(),
        2 => (rule(), any::<bool>()).prop_map(|(rule, replace)| Step::Add(rule, replace)),
        1 => select(&LABELS[..]).prop_map(Step::Remove),
        1 => mode.prop_map(Step::Mode),
        1 => (1_u16..5, 1_u8..4, number()).prop_map(|(id, address, n)| Step::Put(id, address, n)),
        1 => (1_u16..5).prop_map(Step::Unput),
        1 => Just(Step::Allocate),
        1 => number().prop_map(Step::Release),
        4 => proptest::option::weighted(0.3, any::<Index>()).prop_map(Step::Realize),
    ]
}

/// Facts of which none contradicts another: each endpoint and each file once.
pub fn facts() -> impl Strategy<Value = Vec<Step>> {
    let endpoints = proptest::collection::btree_map(number(), some_labels(), 0..4);
    let files = proptest::collection::vec(file(), 0..4);
    let of_api = proptest::collection::vec(rule(), 0..3);
    (endpoints, files, of_api).prop_map(|(endpoints, files, of_api)| {
        let endpoints = endpoints.into_iter().map(|(n, labels)| Step::Create(n, labels));
        let mut seen = BTreeSet::new();
        let files = files.into_iter().filter(move |step| match step {
            Step::File(file, ..) => seen.insert(*file),
            _ => true,
        });
        endpoints.chain(files).chain(of_api.into_iter().map(|rule| Step::Add(rule, false))).collect()
    })
}

/// The pod of the endpoint with this number.
pub fn pod(n: u8, label: &str) -> Pod {
    Pod {
        namespace: "shop".to_owned(),
        name: format!("pod{n}"),
        labels: BTreeMap::from([(label.to_owned(), String::new())]),
        service_account: None,
        named_ports: Vec::new(),
        host_ports: vec![HostPort {
            address: None,
            port: port(8000 + u16::from(n) % 2),
            protocol: Protocol::Tcp,
            container_port: port(80),
        }],
    }
}

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn key(name: String) -> ObjectKey {
    ObjectKey { namespace: "shop".to_owned(), name }
}

fn service(name: u8, address: u8, selects_pods: bool) -> Service {
    Service {
        key: key(format!("s{name}")),
        labels: BTreeMap::from([("at".to_owned(), address.to_string())]),
        selects_pods,
        kind: ServiceType::ClusterIp,
        cluster_ips: vec![[10, 96, 0, address].into()],
        external_ips: vec![[198, 51, 100, name].into()],
        load_balancer_ips: Vec::new(),
        ports: vec![ServicePort {
            name: String::new(),
            protocol: Protocol::Tcp,
            port: port(80),
            node_port: None,
        }],
        affinity_timeout_s: None,
        internal_policy: TrafficPolicy::Cluster,
        external_policy: TrafficPolicy::Local,
        publish_not_ready: false,
        health_check_node_port: None,
        source_ranges: None,
    }
}

fn slice(name: u8, of: u8, ready: bool, n: u8) -> EndpointSlice {
    let conditions = EndpointConditions { ready, serving: true, terminating: !ready };
    EndpointSlice {
        key: key(format!("e{name}")),
        service: format!("s{of}"),
        endpoints: vec![ServiceEndpoint { addresses: vec![[10, n % 2, 0, n].into()], conditions }],
        ports: vec![SlicePort { name: String::new(), protocol: Protocol::Tcp, port: port(8080) }],
        mirrored: false,
    }
}

/// Takes a step.
pub fn take(world: &mut World, step: &Step) {
    let endpoint = |n: u8| EndpointRef::ContainerId(format!("c{n}"));
    let own = |texts: &[&'static str]| Labels::parse(texts.iter().map(|text| format!("k8s:{text}"))).unwrap();
    let ticket = world.ticket();
    let event = match step {
        Step::Create(n, texts) => {
            let mut request = request(*n, &[]);
            request.labels = own(texts);
            // Half of them are pods, whose labels come from files.
            if n % 2 == 0 {
                request.k8s_namespace = "shop".to_owned();
                request.k8s_pod_name = format!("pod{n}");
            }
            Event::EndpointCreate { ticket, request }
        }
        Step::Delete(n) => Event::EndpointDelete { ticket, endpoint: endpoint(*n) },
        Step::Labels(n, texts) => {
            Event::EndpointLabels { ticket, endpoint: endpoint(*n), change: LabelChange::User(own(texts)) }
        }
        Step::Regenerate(n) => Event::EndpointRegenerate { ticket, endpoint: endpoint(*n) },
        Step::File(file, objects) => Event::Source { file: (*file).to_owned(), objects: objects.clone() },
        Step::Add(rule, replace) => Event::PolicyAdd { ticket, rules: vec![rule.rule()], replace: *replace },
        Step::Remove(label) => {
            Event::PolicyDelete { ticket, labels: LabelArray::parse_selecting([label]).unwrap() }
        }
        Step::Mode(mode) => Event::Config {
            ticket,
            patch: ConfigPatch { enforcement: Some(*mode), ..ConfigPatch::default() },
        },
        Step::Put(id, address, n) => {
            let service = ApiService {
                id: *id,
                address: [10, 96, 0, *address].into(),
                port: port(80),
                protocol: Protocol::Tcp,
                backends: vec![([10, 0, 0, *n].into(), port(8080))],
            };
            Event::ServicePut { ticket, service }
        }
        Step::Unput(id) => Event::ServiceDelete { ticket, id: *id },
        Step::Allocate => {
            let request =
                IpamRequest::Allocate { family: Some(Family::Ipv4), owner: "x".to_owned(), expires: true };
            Event::Ipam { ticket, request }
        }
        Step::Release(n) => {
            let request = IpamRequest::Release { ip: format!("10.0.0.{n}").parse().unwrap() };
            Event::Ipam { ticket, request }
        }
        Step::Realize(None) => return world.realize(),
        Step::Realize(Some(which)) => {
            let ids: Vec<u16> = world.plane.endpoints().iter().map(|view| view.id).collect();
            if !ids.is_empty() {
                world.realize_with(&[(Row::Endpoint(*which.get(&ids)), "injected")]);
            }
            return;
        }
    };
    world.send(event);
}

/// What must hold whatever happened.
fn check(world: &World) {
    let views = world.plane.endpoints();
    let known: BTreeMap<u32, u64> =
        world.plane.identities().iter().map(|view| (view.identity.as_u32(), view.references)).collect();
    let mut held: BTreeMap<u32, u64> = BTreeMap::new();
    let given = world.plane.ipam().ipv4.unwrap().given;
    let mut addresses = BTreeSet::new();
    for view in &views {
        assert!(addresses.insert(view.ipv4), "{:?} is given twice", view.ipv4);
        assert!(given.contains_key(&view.ipv4.unwrap().into()), "{:?} is not given", view.ipv4);
        if view.state == State::Disconnecting {
            assert!(!world.target.endpoints.contains_key(&view.id));
            continue;
        }
        *held.entry(view.identity.unwrap().as_u32()).or_default() += 1;
        let address = ipnet::IpNet::from(std::net::IpAddr::from(view.ipv4.unwrap()));
        assert_eq!(world.target.ipcache[&address].identity, view.identity.unwrap().as_u32());
        assert_eq!(view.state == State::NotReady, !view.failures.is_empty(), "{view:?}");
    }
    for identity in world.target.node.cidr_identities.values() {
        *held.entry(*identity).or_default() += 1;
    }
    for (identity, references) in &known {
        assert_eq!(held.get(identity).copied().unwrap_or(0), *references, "identity {identity}");
    }
    let slots = world.target.services.values().flat_map(|row| &row.slots);
    for id in slots {
        assert!(world.target.backends.contains_key(id), "no backend {id}");
    }
    for service in &world.target.node.services {
        assert!(
            world.target.services.values().any(|row| row.id == service.id && row.kind == FrontendKind::Api)
        );
    }
    let named = world.target.policy.values().flat_map(|map| map.keys().map(|key| key.identity));
    for identity in named.chain(world.target.ipcache.values().map(|row| row.identity)) {
        assert!(identity == 0 || known.contains_key(&identity), "identity {identity} is not in use");
    }
}

/// As they are read from the kernel.
pub fn ids_of(tables: &Desired) -> Restored {
    Restored {
        frontends: tables.services.iter().map(|(frontend, row)| (*frontend, row.id)).collect(),
        backends: tables.backends.iter().map(|(id, row)| (row.address, *id)).collect(),
        ..Restored::default()
    }
}

/// The same rows from a fresh start with what is left.
fn check_restart(world: &World, files: &BTreeMap<&'static str, Event>) {
    let mut again = World::new(config(&[SourceName::State]));
    if world.plane.enforcement() != EnforcementMode::Default {
        // The mode is a flag of the agent: it does not outlive it.
        return;
    }
    for state in world.target.state.values() {
        again.send(Event::Restored(state.clone()));
    }
    again.send(Event::RestoredNode(world.target.node.clone()));
    again.send(Event::RestoredServices(ids_of(&world.target)));
    for event in files.values() {
        again.send(event.clone());
    }
    again.send(Event::SourceSynced(SourceName::State));
    again.realize();
    assert_eq!(again.target.endpoints, world.target.endpoints);
    assert_eq!(again.target.ipcache, world.target.ipcache);
    assert_eq!(again.target.state, world.target.state);
    assert_eq!(again.target.node, world.target.node);
    assert_eq!(ids_of(&again.target), ids_of(&world.target));
    assert_eq!(dump(&again.plane), dump(&world.plane));
    assert!(again.plane.status().restore_failures.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 150, rng_seed: RngSeed::Fixed(7), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn whatever_happens_tables_agree_and_everybody_is_answered(
        steps in proptest::collection::vec(step(), 0..40)
    ) {
        let mut world = World::started();
        let mut files = BTreeMap::new();
        for step in &steps {
            take(&mut world, step);
            check(&world);
            if let Step::File(file, objects) = step {
                let event = Event::Source { file: (*file).to_owned(), objects: objects.clone() };
                files.insert(*file, event);
            }
        }
        world.send(Event::Realized { revision: world.target.revision, failures: vec![] });
        world.realize();
        check(&world);
        prop_assert!(world.unanswered().is_empty());
        for view in world.plane.endpoints() {
            prop_assert_eq!(view.state, State::Ready);
        }
        check_restart(&world, &files);
    }
}
