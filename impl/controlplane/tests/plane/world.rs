// SPDX-License-Identifier: Apache-2.0
//! An agent around a control plane: its targets are maps, and what must hold after every event is checked after every
//! event.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::LazyLock;

use controlplane::{
    Config, ControlPlane, Delta, Deltas, Desired, Effects, EndpointOptions, EndpointRequest, Event, Failure,
    Notice, Objects, PodRange, Reply, Row, SourceName, Ticket, Timestamp,
};
use identity::{FixedIdentities, LabelFilter, Labels};
use loadbalancer::BackendState;
use policy::{Direction, EnforcementMode, MapState, PolicyDelta, Rule};

/// What an agent has around its control plane.
pub struct World {
    pub plane: ControlPlane,
    /// What the targets have.
    pub target: Desired,
    pub replies: BTreeMap<Ticket, Reply>,
    pub notices: Vec<Notice>,
    /// All deltas.
    pub told: Vec<Deltas>,
    asked: BTreeSet<Ticket>,
    next_ticket: u64,
    pub now: u64,
}

/// A node with `10.0.0.0/24` and `fd00::/112`, that waits for these sources.
pub fn config(sources: &[SourceName]) -> Config {
    // The expressions of its filter take longer to compile than a test to run.
    static CONFIG: LazyLock<Config> = LazyLock::new(make_config);
    Config { sources: sources.iter().copied().collect(), ..CONFIG.clone() }
}

fn make_config() -> Config {
    let fixed = [(128, "kvstore".to_owned())];
    Config {
        services: loadbalancer::Config::default(),
        cluster_name: "default".to_owned(),
        cluster_id: 0,
        fixed_identities: FixedIdentities::new("default", "kube-system", fixed).unwrap(),
        label_filter: LabelFilter::new::<&str>(None, []).unwrap(),
        ipv4: Some(PodRange { range: "10.0.0.0/24".parse().unwrap(), router: "10.0.0.1".parse().unwrap() }),
        ipv6: Some(PodRange { range: "fd00::/112".parse().unwrap(), router: "fd00::1".parse().unwrap() }),
        reserved: Vec::new(),
        enforcement: EnforcementMode::Default,
        allow_localhost: false,
        options: EndpointOptions::defaults(false),
        sources: BTreeSet::new(),
    }
}

pub fn labels(texts: &[&str]) -> Labels {
    Labels::parse(texts).unwrap()
}

pub fn rules(json: &str) -> Vec<Rule> {
    policy::parse_rules_json(json).unwrap()
}

/// A rule by which `to` lets in what has the label `from`.
pub fn lets_in(label: &str, to: &str, from: &str) -> Rule {
    let json = format!(
        r#"{{"endpointSelector": {{"matchLabels": {{"{to}": ""}}}}, "labels": ["{label}"],
             "ingress": [{{"fromEndpoints": [{{"matchLabels": {{"{from}": ""}}}}]}}]}}"#
    );
    rules(&json).remove(0)
}

/// An endpoint with an address `10.0.0.<n>`, a container `c<n>`, an interface `lxc<n>`, and these labels.
pub fn request(n: u8, texts: &[&str]) -> EndpointRequest {
    EndpointRequest {
        container_id: format!("c{n}"),
        interface: format!("lxc{n}"),
        ifindex: 100 + u32::from(n),
        ipv4: Some(Ipv4Addr::new(10, 0, 0, n)),
        labels: labels(texts),
        mac: [2, 0, 0, 0, 0, n],
        node_mac: [2, 0, 0, 0, 1, n],
        sync_build: true,
        ..EndpointRequest::default()
    }
}

impl World {
    /// A node whose sources are all known.
    pub fn started() -> Self {
        let mut world = Self::new(config(&[]));
        world.send(Event::Tick);
        world.realize();
        world
    }

    pub fn new(config: Config) -> Self {
        Self {
            plane: ControlPlane::new(config).unwrap(),
            target: Desired::default(),
            replies: BTreeMap::new(),
            notices: Vec::new(),
            told: Vec::new(),
            asked: BTreeSet::new(),
            next_ticket: 1,
            now: 1000,
        }
    }

    /// A number that nobody waits with yet.
    pub fn ticket(&mut self) -> Ticket {
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        ticket
    }

    /// Handles an event, and has its deltas written.
    pub fn send(&mut self, event: Event) -> Option<Deltas> {
        self.now += 1;
        if let Some(ticket) = event.ticket() {
            assert!(self.asked.insert(ticket), "the test asks twice with one ticket");
        }
        let Effects { deltas, replies, notices } = self.plane.handle(event, Timestamp(self.now));
        for (ticket, reply) in replies {
            assert!(self.asked.contains(&ticket), "nobody asked with {ticket:?}");
            assert!(self.replies.insert(ticket, reply).is_none(), "{ticket:?} is answered twice");
        }
        self.notices.extend(notices);
        if let Some(deltas) = &deltas {
            self.write(deltas);
            self.told.push(deltas.clone());
        }
        if self.plane.is_started() {
            assert_eq!(self.target, self.plane.desired(), "deltas do not add up to what is desired");
        } else {
            assert!(deltas.is_none(), "something was told before all sources were known");
        }
        deltas
    }

    /// Asks with a new ticket.
    pub fn ask(&mut self, make: impl FnOnce(Ticket) -> Event) -> Ticket {
        let ticket = self.ticket();
        self.send(make(ticket));
        ticket
    }

    /// Asks, has everything realized, and tells the reply.
    pub fn done(&mut self, make: impl FnOnce(Ticket) -> Event) -> Reply {
        let ticket = self.ask(make);
        self.realize();
        self.replies.get(&ticket).cloned().expect("not answered though everything is realized")
    }

    /// Makes an endpoint, and tells its number.
    pub fn create(&mut self, request: EndpointRequest) -> u16 {
        match self.done(|ticket| Event::EndpointCreate { ticket, request }) {
            Ok(controlplane::Answer::EndpointCreated { id }) => id,
            other => panic!("{other:?}"),
        }
    }

    /// The targets have everything. More than once: a failed creation makes one more change.
    pub fn realize(&mut self) {
        self.realize_with(&[]);
    }

    /// The targets have everything but these rows.
    pub fn realize_with(&mut self, failures: &[(Row, &str)]) {
        while self.plane.status().realized_revision < self.target.revision || !failures.is_empty() {
            let revision = self.target.revision;
            let failing = |(row, reason): &(Row, &str)| Failure { row: *row, reason: (*reason).to_owned() };
            self.send(Event::Realized { revision, failures: failures.iter().map(failing).collect() });
            if !failures.is_empty() {
                break;
            }
        }
    }

    /// A file holds these rules.
    pub fn file(&mut self, file: &str, rules: Vec<Rule>) {
        self.send(Event::Source { file: file.to_owned(), objects: Objects { rules, ..Objects::default() } });
    }

    pub fn unanswered(&self) -> Vec<Ticket> {
        self.asked.iter().filter(|ticket| !self.replies.contains_key(ticket)).copied().collect()
    }

    fn write(&mut self, deltas: &Deltas) {
        assert_eq!(deltas.revision, self.target.revision + 1, "revisions follow each other");
        assert!(!deltas.is_empty(), "a revision changes something");
        self.target.revision = deltas.revision;
        apply(&mut self.target, deltas);
    }
}

/// Writes changes as targets do.
pub fn apply(target: &mut Desired, deltas: &Deltas) {
    write(&mut target.endpoints, &deltas.endpoints);
    for id in &deltas.endpoints.removals {
        target.policy.remove(id);
    }
    for (id, _) in &deltas.endpoints.upserts {
        target.policy.entry(*id).or_default();
    }
    for delta in &deltas.policy {
        let map = target.policy.get_mut(&delta.endpoint).expect("a policy map of no endpoint");
        write_policy(map, delta);
    }
    write(&mut target.ipcache, &deltas.ipcache);
    write(&mut target.services, &deltas.services);
    write(&mut target.backends, &deltas.backends);
    write(&mut target.health_checks, &deltas.health_checks);
    write(&mut target.state, &deltas.state);
    if let Some(node) = &deltas.node {
        target.node = node.clone();
    }
}

fn write<K: Ord + Clone + std::fmt::Debug, V: Clone>(rows: &mut BTreeMap<K, V>, delta: &Delta<K, V>) {
    let keys: BTreeSet<&K> = delta.upserts.iter().map(|(key, _)| key).chain(delta.removals.iter()).collect();
    assert_eq!(keys.len(), delta.upserts.len() + delta.removals.len(), "each key is told once");
    for key in &delta.removals {
        assert!(rows.remove(key).is_some(), "{key:?} is removed, and is not there");
    }
    rows.extend(delta.upserts.iter().cloned());
}

fn write_policy(map: &mut MapState, delta: &PolicyDelta) {
    for key in &delta.removals {
        assert!(map.remove(key).is_some(), "{key:?} is removed, and is not there");
    }
    map.extend(delta.upserts.iter().copied());
}

/// Labels without those that every pod of a namespace has.
fn short(labels: &Labels) -> String {
    let same = |text: &String| {
        text.starts_with("k8s:io.cilium.k8s.policy.cluster=")
            || text.starts_with("k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=")
    };
    let texts: Vec<String> = labels.printable().into_iter().filter(|text| !same(text)).collect();
    texts.join(",").replace("k8s:io.kubernetes.pod.namespace=", "namespace=")
}

/// The tables of a control plane as text that does not depend on who came first: endpoints are named by their containers,
/// identities by their labels.
pub fn dump(plane: &ControlPlane) -> String {
    let desired = plane.desired();
    let names: BTreeMap<u32, String> = plane
        .identities()
        .into_iter()
        .map(|view| (view.identity.as_u32(), short(&view.labels)))
        .chain([(0, "any".to_owned())])
        .collect();
    let name = |identity: u32| names.get(&identity).cloned().unwrap_or_else(|| format!("UNKNOWN {identity}"));
    let mut lines = BTreeSet::new();
    for view in plane.endpoints() {
        let who = &view.container_id;
        let mut line = format!("endpoint {who} {}", view.state);
        if let Some(row) = desired.endpoints.get(&view.id) {
            let addresses: Vec<String> = [row.ipv4.map(|ip: Ipv4Addr| ip.to_string())]
                .into_iter()
                .chain([row.ipv6.map(|ip: Ipv6Addr| ip.to_string())])
                .flatten()
                .collect();
            let _ = write!(line, " {} {} = {}", row.interface, addresses.join(" "), name(row.identity));
        }
        lines.insert(line);
        for key in desired.policy.get(&view.id).into_iter().flat_map(BTreeMap::keys) {
            let direction = match key.direction {
                Direction::Ingress => "from",
                Direction::Egress => "to",
            };
            let what = match (key.protocol, key.port_prefix) {
                (0, _) => String::new(),
                (protocol, 0) => format!(" protocol {protocol}"),
                (protocol, 16) => format!(" protocol {protocol} port {}", key.port),
                (protocol, bits) => format!(" protocol {protocol} port {}/{bits}", key.port),
            };
            lines.insert(format!("policy {who} {direction} {}{what}", name(key.identity)));
        }
    }
    for (prefix, row) in &desired.ipcache {
        lines.insert(format!("ipcache {prefix} = {}", name(row.identity)));
    }
    for (frontend, row) in &desired.services {
        let backends: BTreeSet<String> =
            row.slots.iter().map(|id| desired.backends[id].address.socket().to_string()).collect();
        let backends: Vec<String> = backends.into_iter().collect();
        let line = format!("service {frontend} {} {} = {}", row.kind.as_str(), row.owner, backends.join(" "));
        lines.insert(line.trim_end().to_owned());
    }
    for row in desired.backends.values() {
        let ends = match row.state {
            BackendState::Active => "",
            BackendState::Terminating => " ends",
            BackendState::NotReady => " is not ready",
        };
        lines.insert(format!("backend {}{ends}", row.address));
    }
    for (port, row) in &desired.health_checks {
        lines.insert(format!("health check {port} of {} = {}", row.service, row.local_endpoints));
    }
    for (what, why) in plane.status().services_refused {
        lines.insert(format!("refused {what}: {why}"));
    }
    for file in desired.state.values() {
        lines.insert(format!("state {}", file.container_id));
    }
    lines.into_iter().map(|line| line + "\n").collect()
}
