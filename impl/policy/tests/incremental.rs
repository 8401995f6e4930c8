// SPDX-License-Identifier: Apache-2.0
//! Events in any order: what the resolver kept up to date is what the rules say, by a reading of them that shares no code
//! with it; is what a new resolver computes at once; and is what its deltas add up to.

mod node;

use std::collections::BTreeMap;

use addr::{Port, Protocol};
use identity::{EndpointSelector, Entity, Label, LabelArray, Labels, NumericIdentity, Source, cidr};
use ipnet::IpNet;
use node::{HOST, labels, ports, rules};
use policy::trace::{Context, DPort, Trace, Verdict};
use policy::{
    Direction, Endpoint, Enforcement, EnforcementMode, ExternalService, L4Ports, MapState, Options, PeerRule,
    PolicyDelta, PortName, Repository, Resolver, Rule, ServiceName, ServiceRule, ServiceSelector,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

/// Identities that come and go, with the number of each.
const IDENTITIES: [(u32, &str); 17] = [
    (1, "reserved:host"),
    (2, "reserved:world"),
    (5, "reserved:init"),
    (300, "k8s:app=a k8s:env=x"),
    (301, "k8s:app=a k8s:env=y"),
    (302, "k8s:app=b k8s:env=x"),
    (303, "k8s:app=b"),
    (304, "container:app=a k8s:io.cilium.k8s.policy.cluster=default"),
    (16_777_217, "10.0.0.0/8"),
    (16_777_218, "10.1.0.0/16"),
    (16_777_219, "10.1.2.0/24"),
    (16_777_220, "192.0.2.0/24"),
    (16_777_221, "2001:db8::/32"),
    (16_777_222, "2001:db8:1::/48"),
    (16_777_223, "10.1.2.9/32"),
    (16_777_224, "192.0.2.1/32"),
    (16_777_225, "2001:db8:1::9/128"),
];
/// Services that come and go: namespace, name.
const SERVICES: [(&str, &str); 3] = [("shop", "a"), ("shop", "b"), ("other", "a")];
/// What they are like by turns: labels, addresses. One has an address that no identity has.
const LIKE: [(&str, &[&str]); 6] = [
    ("", &["10.1.2.9"]),
    ("k8s:app=a", &["10.1.2.9", "192.0.2.1"]),
    ("k8s:app=a k8s:env=x", &["192.0.2.1", "2001:db8:1::9"]),
    ("k8s:app=b", &["2001:db8:1::9", "198.51.100.1"]),
    ("k8s:app=b", &[]),
    ("k8s:app=a", &["192.0.2.1"]),
];
/// No identity has this number.
const UNKNOWN: u32 = 77_777;

fn identity_labels(text: &str) -> Labels {
    match text.parse::<IpNet>() {
        Ok(prefix) => cidr::labels(prefix),
        Err(_) => labels(text),
    }
}

#[derive(Debug, Clone)]
enum Event {
    AddRule(String),
    ReplaceRules(usize, String),
    DeleteRules(usize),
    AddIdentity(usize),
    RemoveIdentity(usize),
    Relabel(usize, usize),
    Endpoint(u16, usize, usize, Option<Enforcement>),
    RemoveEndpoint(u16),
    Service(usize, usize),
    RemoveService(usize),
    Enforcement(Enforcement),
    Host(bool),
    Take,
}

fn one_of(texts: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::sample::select(texts).prop_map(str::to_owned)
}

fn selector() -> impl Strategy<Value = String> {
    one_of(&[
        "{}",
        r#"{"matchLabels": {"app": "a"}}"#,
        r#"{"matchLabels": {"k8s:app": "a", "env": "x"}}"#,
        r#"{"matchLabels": {"container:app": "a"}}"#,
        r#"{"matchLabels": {"reserved:world": ""}}"#,
        r#"{"matchLabels": {"reserved:init": ""}}"#,
        r#"{"matchLabels": {"reserved:all": "", "app": "b"}}"#,
        r#"{"matchExpressions": [{"key": "app", "operator": "In", "values": ["a", "b"]}]}"#,
        r#"{"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}"#,
        r#"{"matchExpressions": [{"key": "env", "operator": "NotIn", "values": ["y"]}]}"#,
        r#"{"matchLabels": {"app": "b"}, "matchExpressions": [{"key": "env", "operator": "Exists"}]}"#,
    ])
}

/// A list under a name that `from` and `to` begin; none of the lists that are empty half of the time.
fn field(
    name: &'static str,
    element: impl Strategy<Value = String>,
    often: bool,
) -> impl Strategy<Value = Option<String>> {
    let list = prop::collection::vec(element, 0..3)
        .prop_map(move |elements| format!(r#""{name}": [{}]"#, elements.join(", ")));
    prop::option::weighted(if often { 0.5 } else { 0.15 }, list)
}

fn port() -> impl Strategy<Value = String> {
    let protocol =
        one_of(&["", r#", "protocol": "TCP""#, r#", "protocol": "UDP""#, r#", "protocol": "SCTP""#]);
    let number = one_of(&[
        r#""port": "80""#,
        r#""port": "80", "endPort": 90"#,
        r#""port": "1", "endPort": 1023"#,
        r#""port": "0""#,
        r#""port": "http""#,
        r#""port": "dns""#,
    ]);
    (number, protocol).prop_map(|(number, protocol)| format!("{{{number}{protocol}}}"))
}

fn entry(direction: &'static str) -> impl Strategy<Value = String> {
    let name = |of: &str| -> &'static str {
        match (direction, of) {
            ("from", "Endpoints") => "fromEndpoints",
            ("from", "Requires") => "fromRequires",
            ("from", "CIDR") => "fromCIDR",
            ("from", "CIDRSet") => "fromCIDRSet",
            ("from", _) => "fromEntities",
            (_, "Endpoints") => "toEndpoints",
            (_, "Requires") => "toRequires",
            (_, "CIDR") => "toCIDR",
            (_, "CIDRSet") => "toCIDRSet",
            _ => "toEntities",
        }
    };
    let prefix = one_of(&[
        r#""10.0.0.0/8""#,
        r#""10.1.0.0/16""#,
        r#""2001:db8::/32""#,
        r#""0.0.0.0/0""#,
        r#""10.1.2.0/24""#,
    ]);
    let set = one_of(&[
        r#"{"cidr": "10.0.0.0/8", "except": ["10.1.0.0/16"]}"#,
        r#"{"cidr": "10.0.0.0/8", "except": ["10.1.2.0/24", "10.0.0.0/8"]}"#,
        r#"{"cidr": "10.1.0.0/16", "except": ["10.1.2.0/24"]}"#,
        r#"{"cidr": "2001:db8::/32", "except": ["2001:db8:1::/48"]}"#,
        r#"{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8", "192.0.2.0/24"]}"#,
    ]);
    let entity = one_of(&[r#""world""#, r#""host""#, r#""cluster""#, r#""init""#, r#""none""#, r#""all""#]);
    let service = one_of(&[
        r#"{"k8sService": {"serviceName": "a", "namespace": "shop"}}"#,
        r#"{"k8sService": {"serviceName": "b", "namespace": "shop"}}"#,
        r#"{"k8sService": {"serviceName": "a"}}"#,
        r#"{"k8sServiceSelector": {"selector": {"matchLabels": {"app": "a"}}, "namespace": "shop"}}"#,
        r#"{"k8sServiceSelector": {"selector": {"matchExpressions": [{"key": "env", "operator": "DoesNotExist"}]}}}"#,
        r#"{"k8sServiceSelector": {"selector": {}}}"#,
    ]);
    let services =
        field("toServices", service, true).prop_map(move |list| list.filter(|_| direction == "to"));
    let ports = prop::collection::vec(port(), 0..3)
        .prop_map(|ports| format!(r#"{{"ports": [{}]}}"#, ports.join(", ")));
    (
        field(name("Endpoints"), selector(), true),
        field(name("Requires"), selector(), false),
        field(name("CIDR"), prefix, false),
        field(name("CIDRSet"), set, false),
        field(name("Entities"), entity, false),
        field("toPorts", ports, true),
        services,
    )
        .prop_map(|(a, b, c, d, e, f, g)| {
            let fields: Vec<String> = [a, b, c, d, e, f, g].into_iter().flatten().collect();
            format!("{{{}}}", fields.join(", "))
        })
}

fn rule() -> impl Strategy<Value = String> {
    let section = |name, direction| {
        prop::option::weighted(0.6, prop::collection::vec(entry(direction), 0..3)).prop_map(move |entries| {
            entries.map(|entries| format!(r#", "{name}": [{}]"#, entries.join(", ")))
        })
    };
    (selector(), 0..4usize, section("ingress", "from"), section("egress", "to")).prop_map(
        |(selector, label, ingress, egress)| {
            let (ingress, egress) = (ingress.unwrap_or_default(), egress.unwrap_or_default());
            format!(r#"{{"endpointSelector": {selector}, "labels": ["k8s:l{label}"]{ingress}{egress}}}"#)
        },
    )
}

fn enforcement() -> impl Strategy<Value = Enforcement> {
    let mode = || {
        prop::sample::select(vec![EnforcementMode::Default, EnforcementMode::Always, EnforcementMode::Never])
    };
    (mode(), mode()).prop_map(|(ingress, egress)| Enforcement { ingress, egress })
}

fn event() -> impl Strategy<Value = Event> {
    let known = || 0..IDENTITIES.len();
    prop_oneof![
        5 => rule().prop_map(Event::AddRule),
        2 => (0..4usize, rule()).prop_map(|(label, rule)| Event::ReplaceRules(label, rule)),
        2 => (0..4usize).prop_map(Event::DeleteRules),
        5 => known().prop_map(Event::AddIdentity),
        3 => known().prop_map(Event::RemoveIdentity),
        1 => (known(), known()).prop_map(|(number, labels)| Event::Relabel(number, labels)),
        5 => (1..5u16, known(), 0..3usize, prop::option::weighted(0.2, enforcement()))
            .prop_map(|(id, labels, ports, mode)| Event::Endpoint(id, labels, ports, mode)),
        2 => (1..5u16).prop_map(Event::RemoveEndpoint),
        4 => (0..SERVICES.len(), 0..LIKE.len()).prop_map(|(of, like)| Event::Service(of, like)),
        2 => (0..SERVICES.len()).prop_map(Event::RemoveService),
        1 => enforcement().prop_map(Event::Enforcement),
        1 => any::<bool>().prop_map(Event::Host),
        3 => Just(Event::Take),
    ]
}

/// The world as plain lists, and the resolver that follows it.
struct Model {
    repository: Repository,
    identities: BTreeMap<u32, Labels>,
    endpoints: BTreeMap<u16, Endpoint>,
    services: BTreeMap<ServiceName, ExternalService>,
    options: Options,
    resolver: Resolver,
    /// What the deltas add up to, and what they said of enforcement.
    realized: BTreeMap<u16, (MapState, [bool; 2])>,
    named: Vec<IpNet>,
}

impl Model {
    fn new() -> Self {
        Self {
            repository: Repository::new("default"),
            identities: BTreeMap::new(),
            endpoints: BTreeMap::new(),
            services: BTreeMap::new(),
            options: Options::default(),
            resolver: Resolver::new(Options::default()),
            realized: BTreeMap::new(),
            named: Vec::new(),
        }
    }

    fn handle(&mut self, event: Event) {
        let label = |number: usize| LabelArray::parse([format!("k8s:l{number}")]).unwrap();
        match event {
            Event::AddRule(json) => {
                self.repository.add(rules(&json));
            }
            Event::ReplaceRules(number, json) => {
                self.repository.replace_by_labels(&label(number), rules(&json));
            }
            Event::DeleteRules(number) => {
                self.repository.delete_by_labels(&label(number));
            }
            Event::AddIdentity(at) => self.identity(IDENTITIES[at].0, IDENTITIES[at].1),
            Event::Relabel(number, at) => self.identity(IDENTITIES[number].0, IDENTITIES[at].1),
            Event::RemoveIdentity(at) => {
                self.identities.remove(&IDENTITIES[at].0);
                self.resolver.identity_removed(NumericIdentity::new(IDENTITIES[at].0));
            }
            Event::Endpoint(id, at, named, enforcement) => {
                let named_ports = [
                    ports(&[]),
                    ports(&[("http", Protocol::Tcp, 80)]),
                    ports(&[("http", Protocol::Tcp, 8080), ("dns", Protocol::Udp, 53)]),
                ];
                let named_ports = named_ports[named].clone();
                let endpoint =
                    Endpoint { labels: identity_labels(IDENTITIES[at].1), named_ports, enforcement };
                self.endpoints.insert(id, endpoint.clone());
                self.resolver.endpoint_changed(id, endpoint);
            }
            Event::RemoveEndpoint(id) => {
                self.endpoints.remove(&id);
                self.resolver.endpoint_removed(id);
                self.realized.remove(&id);
            }
            Event::Service(of, like) => self.service(of, Some(LIKE[like])),
            Event::RemoveService(of) => self.service(of, None),
            Event::Enforcement(enforcement) => {
                self.options.enforcement = enforcement;
                self.resolver.set_enforcement(enforcement);
            }
            Event::Host(allowed) => {
                self.options.host_always_allowed = allowed;
                self.resolver.set_host_always_allowed(allowed);
            }
            Event::Take => self.take(),
        }
        self.resolver.rules_changed(&self.repository);
    }

    fn identity(&mut self, number: u32, text: &str) {
        let labels = identity_labels(text);
        self.resolver.identity_added(NumericIdentity::new(number), &labels);
        self.identities.insert(number, labels);
    }

    fn service(&mut self, of: usize, like: Option<(&str, &[&str])>) {
        let (namespace, name) = SERVICES[of];
        let name = ServiceName { namespace: namespace.to_owned(), name: name.to_owned() };
        let service = like.map(|(text, addresses)| ExternalService {
            labels: labels(text),
            addresses: addresses.iter().map(|address| address.parse().unwrap()).collect(),
        });
        self.resolver.service_changed(&name, service.clone());
        match service {
            Some(service) => self.services.insert(name, service),
            None => self.services.remove(&name),
        };
    }

    /// Whether a packet of this peer goes to an endpoint of a service that the entry selects.
    fn serves(&self, entry: &ServiceRule, peer: &Labels) -> bool {
        let selects = |name: &ServiceName, labels: &Labels| {
            let namespace = entry.namespace.as_ref().is_none_or(|only| *only == name.namespace);
            namespace
                && match &entry.services {
                    ServiceSelector::Named(only) => *only == name.name,
                    ServiceSelector::Labelled(selector) => selector.matches(labels),
                }
        };
        let selected = self.services.iter().filter(|(name, service)| selects(name, &service.labels));
        selected.flat_map(|(_, service)| &service.addresses).any(|address| inside(peer, (*address).into()))
    }

    fn take(&mut self) {
        for delta in self.resolver.take_deltas() {
            let PolicyDelta { endpoint, upserts, removals, enforcing_ingress, enforcing_egress } = delta;
            let (map, enforcing) = self.realized.entry(endpoint).or_default();
            *enforcing = [enforcing_ingress, enforcing_egress];
            for key in removals {
                assert!(map.remove(&key).is_some(), "removed what was not there: {key:?}");
            }
            for (key, entry) in upserts {
                assert_ne!(map.insert(key, entry), Some(entry), "told what was known: {key:?}");
            }
        }
        let delta = self.resolver.take_prefixes();
        self.named.retain(|prefix| !delta.removed.contains(prefix));
        self.named.extend(delta.added);
        self.named.sort();
    }

    /// A resolver that learns everything at once, identities last.
    fn afresh(&self) -> Resolver {
        let mut resolver = Resolver::new(self.options);
        for (id, endpoint) in &self.endpoints {
            resolver.endpoint_changed(*id, endpoint.clone());
        }
        for (name, service) in &self.services {
            resolver.service_changed(name, Some(service.clone()));
        }
        resolver.rules_changed(&self.repository);
        for (number, labels) in &self.identities {
            resolver.identity_added(NumericIdentity::new(*number), labels);
        }
        resolver
    }

    fn rules(&self) -> impl Iterator<Item = &Rule> {
        self.repository.rules().map(|stored| stored.rule())
    }

    fn enforces(&self, endpoint: &Endpoint, direction: Direction) -> bool {
        let mode = endpoint.enforcement.unwrap_or(self.options.enforcement);
        let mode = if direction == Direction::Ingress { mode.ingress } else { mode.egress };
        let section = |rule: &Rule| {
            rule.endpoint_selector().matches(&endpoint.labels) && rule.section(direction).is_some()
        };
        let init = endpoint.labels.iter().any(|label| label.to_string() == "reserved:init");
        match mode {
            EnforcementMode::Always => true,
            EnforcementMode::Never => false,
            EnforcementMode::Default => init || self.rules().any(section),
        }
    }

    /// What the rules say, read off one by one for one packet.
    fn allows(&self, endpoint: &Endpoint, direction: Direction, packet: &Packet) -> bool {
        let host = packet.peer == HOST && direction == Direction::Ingress && self.options.host_always_allowed;
        if !self.enforces(endpoint, direction) || host {
            return true;
        }
        let selecting = self.rules().filter(|rule| rule.endpoint_selector().matches(&endpoint.labels));
        let entries: Vec<&PeerRule> =
            selecting.flat_map(|rule| rule.section(direction).unwrap_or_default()).collect();
        let required: Vec<&EndpointSelector> = entries.iter().flat_map(|entry| &entry.requires).collect();
        let peer = self.identities.get(&packet.peer);
        entries.iter().any(|entry| {
            let serves = || peer.is_some_and(|peer| entry.services.iter().any(|one| self.serves(one, peer)));
            (names_peer(entry, &required, peer) || serves())
                && self.names_port(entry, endpoint, direction, peer, packet)
        })
    }

    fn names_port(
        &self,
        entry: &PeerRule,
        endpoint: &Endpoint,
        direction: Direction,
        peer: Option<&Labels>,
        packet: &Packet,
    ) -> bool {
        let named = |name: &str| -> Vec<Port> {
            let name = PortName { name: name.to_owned(), protocol: packet.protocol };
            let destinations: Vec<&Endpoint> = match direction {
                Direction::Ingress => vec![endpoint],
                Direction::Egress => {
                    self.endpoints.values().filter(|other| Some(&other.labels) == peer).collect()
                }
            };
            destinations
                .iter()
                .filter_map(|destination| destination.named_ports.get(&name).copied())
                .collect()
        };
        entry.ports.is_empty()
            || entry.ports.iter().flat_map(|rule| &rule.ports).any(|one| {
                let protocol = one.protocol == packet.protocol
                    || one.protocol == Protocol::Any && packet.protocol != Protocol::Icmp;
                protocol
                    && match &one.ports {
                        L4Ports::All => true,
                        L4Ports::Range(range) => {
                            Port::new(packet.port).is_some_and(|port| range.contains(port))
                        }
                        L4Ports::Named(name) => named(name).iter().any(|port| port.get() == packet.port),
                    }
            })
    }
}

#[derive(Debug)]
struct Packet {
    peer: u32,
    protocol: Protocol,
    port: u16,
}

fn names_peer(entry: &PeerRule, required: &[&EndpointSelector], peer: Option<&Labels>) -> bool {
    if !entry.has_peers() {
        return !entry.ports.is_empty() && entry.requires.is_empty();
    }
    let all = |selector: &EndpointSelector| {
        selector.match_labels().keys().any(|key| *key.source() == Source::Reserved && key.key() == "all")
    };
    let endpoint = |selector: &EndpointSelector| {
        let met = || {
            required.iter().all(|required| all(required) || peer.is_some_and(|peer| required.matches(peer)))
        };
        all(selector)
            || selector.is_wildcard()
                && required.iter().all(|required| all(required) || required.is_wildcard())
            || peer.is_some_and(|peer| selector.matches(peer)) && met()
    };
    let entity = |entity: &Entity| {
        *entity == Entity::All
            || peer
                .is_some_and(|peer| entity.selectors("default").iter().any(|selector| selector.matches(peer)))
    };
    let within = |prefix: &IpNet| peer.is_some_and(|peer| inside(peer, *prefix));
    let within_set = |set: &policy::CidrRule| within(&set.cidr) && !set.except.iter().any(within);
    entry.endpoints.iter().any(endpoint)
        || entry.entities.iter().any(entity)
        || entry.cidrs.iter().any(within)
        || entry.cidr_sets.iter().any(within_set)
}

/// Whether these are the labels of addresses that the prefix holds; `/0` holds the world.
fn inside(labels: &Labels, prefix: IpNet) -> bool {
    if prefix.prefix_len() == 0 {
        return labels.iter().any(|label| label.to_string() == "reserved:world");
    }
    let own = labels.iter().filter_map(|label: &Label| cidr::prefix_of(label)).max_by_key(IpNet::prefix_len);
    own.is_some_and(|own| prefix.contains(&own))
}

fn packets() -> impl Iterator<Item = Packet> {
    let peers = IDENTITIES.iter().map(|(number, _)| *number).chain([UNKNOWN]);
    peers.flat_map(|peer| {
        [
            (Protocol::Tcp, 80),
            (Protocol::Tcp, 8080),
            (Protocol::Udp, 53),
            (Protocol::Udp, 85),
            (Protocol::Sctp, 1024),
        ]
        .into_iter()
        .chain([(Protocol::Sctp, 1023), (Protocol::Icmp, 0)])
        .map(move |(protocol, port)| Packet { peer, protocol, port })
    })
}

/// The answer of `policy trace`, which must be that of the map: for some packets, since each is read by all rules.
fn traced(model: &Model, endpoint: &Endpoint, direction: Direction, packet: &Packet) -> Option<Trace> {
    let port = Port::new(packet.port).filter(|port| [80, 53].contains(&port.get()))?;
    let peer = model.identities.get(&packet.peer)?.clone();
    // The map knows the host by its number, a trace by its label; other labels for the number are this test's own.
    if (packet.peer == HOST) != peer.iter().any(|label| label.to_string() == "reserved:host") {
        return None;
    }
    let (from, to, named_ports) = match direction {
        Direction::Ingress => (peer, endpoint.labels.clone(), endpoint.named_ports.clone()),
        Direction::Egress => {
            let destinations: Vec<&Endpoint> =
                model.endpoints.values().filter(|other| other.labels == peer).collect();
            // Its question is about one receiver.
            let named_ports = match destinations[..] {
                [] => ports(&[]),
                [one] => one.named_ports.clone(),
                _ => return None,
            };
            (endpoint.labels.clone(), peer, named_ports)
        }
    };
    let mode = endpoint.enforcement.unwrap_or(model.options.enforcement);
    Some(model.repository.trace(
        model.resolver.services(),
        &Context {
            from,
            to,
            dports: vec![DPort { port, protocol: packet.protocol }],
            direction,
            enforcement: if direction == Direction::Ingress { mode.ingress } else { mode.egress },
            host_always_allowed: model.options.host_always_allowed,
            named_ports,
            verbose: false,
        },
    ))
}

fn check(model: &mut Model) {
    model.take();
    let afresh = model.afresh();
    assert_eq!(model.realized.keys().collect::<Vec<_>>(), model.endpoints.keys().collect::<Vec<_>>());
    for (id, endpoint) in &model.endpoints {
        let map = model.resolver.map_state(*id).unwrap();
        assert_eq!(
            Some(&map),
            afresh.map_state(*id).as_ref(),
            "endpoint {id}: kept up to date and computed at once"
        );
        let (realized, enforcing) = &model.realized[id];
        assert_eq!(&map, realized, "endpoint {id}: what the deltas add up to");
        for direction in Direction::BOTH {
            assert_eq!(enforcing[direction as usize], model.enforces(endpoint, direction));
            for packet in packets() {
                let keys = map.keys().filter(|key| key.direction == direction);
                let hit =
                    keys.clone().any(|key| key.covers(packet.peer, packet.protocol.number(), packet.port));
                let said = model.allows(endpoint, direction, &packet);
                assert_eq!(hit, said, "endpoint {id} {direction} {packet:?}\n{map:?}");
                if let Some(trace) = traced(model, endpoint, direction, &packet) {
                    assert_eq!(trace.verdict == Verdict::Allowed, said, "{packet:?}\n{}", trace.text);
                    assert_eq!(trace.enforcing, enforcing[direction as usize]);
                }
            }
        }
    }
    let named: Vec<IpNet> = afresh.prefixes().collect();
    assert_eq!(model.named, named, "prefixes");
    assert_eq!(model.resolver.unresolved_ports(), afresh.unresolved_ports());
    assert_eq!(model.resolver.unresolved_services(), afresh.unresolved_services());
    assert_eq!(model.resolver.sizes(), afresh.sizes(), "nothing is kept that nobody uses");
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn events_in_any_order_lead_to_what_the_rules_say(events in prop::collection::vec(event(), 1..40)) {
        let mut model = Model::new();
        let every = events.len() / 2;
        for (at, event) in events.into_iter().enumerate() {
            model.handle(event);
            if at == every {
                check(&mut model);
            }
        }
        check(&mut model);
    }
}
