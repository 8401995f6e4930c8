// SPDX-License-Identifier: Apache-2.0
//! A node with rules, identities and endpoints, asked what its policy maps say of packets.

#![allow(dead_code, reason = "each test file uses its part of it")]

use addr::{Port, Protocol};
use identity::{LabelArray, Labels, NumericIdentity, cidr};
use policy::{
    Direction, Endpoint, ExternalService, MapState, NamedPorts, Options, PolicyDelta, PolicyKey, PortName,
    Repository, Resolver, Rule, ServiceName, kubernetes, parse_rules_json,
};

pub const HOST: u32 = 1;
pub const WORLD: u32 = 2;

/// The identities that every node knows.
pub const RESERVED: [(u32, &str); 5] = [
    (1, "reserved:host"),
    (2, "reserved:world"),
    (3, "reserved:unmanaged"),
    (4, "reserved:health"),
    (5, "reserved:init"),
];

pub struct Node {
    pub repository: Repository,
    pub resolver: Resolver,
}

pub fn labels(text: &str) -> Labels {
    Labels::parse(text.split_whitespace()).unwrap()
}

pub fn rules(json: &str) -> Vec<Rule> {
    parse_rules_json(json).unwrap_or_else(|error| panic!("{error}\n{json}"))
}

pub fn ports(named: &[(&str, Protocol, u16)]) -> NamedPorts {
    let port = |(name, protocol, port): &(&str, Protocol, u16)| {
        (PortName { name: (*name).to_owned(), protocol: *protocol }, Port::new(*port).unwrap())
    };
    named.iter().map(port).collect()
}

impl Node {
    pub fn new(options: Options) -> Self {
        let mut node = Self { repository: Repository::new("default"), resolver: Resolver::new(options) };
        for (number, label) in RESERVED {
            node.identity(number, label);
        }
        node
    }

    pub fn identity(&mut self, number: u32, text: &str) -> &mut Self {
        self.resolver.identity_added(NumericIdentity::new(number), &labels(text));
        self
    }

    pub fn cidr(&mut self, number: u32, prefix: &str) -> &mut Self {
        let labels = cidr::labels(prefix.parse().unwrap());
        self.resolver.identity_added(NumericIdentity::new(number), &labels);
        self
    }

    pub fn endpoint(&mut self, id: u16, text: &str) -> &mut Self {
        let endpoint = Endpoint { labels: labels(text), ..Endpoint::default() };
        self.resolver.endpoint_changed(id, endpoint);
        self
    }

    pub fn endpoint_with(&mut self, id: u16, text: &str, named_ports: NamedPorts) -> &mut Self {
        self.resolver.endpoint_changed(id, Endpoint { labels: labels(text), named_ports, enforcement: None });
        self
    }

    /// A service without a selector: `NAMESPACE/NAME`, its labels, the addresses of its endpoints.
    pub fn service(&mut self, name: &str, text: &str, addresses: &[&str]) -> &mut Self {
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let service = ExternalService { labels: labels(text), addresses };
        self.resolver.service_changed(&service_name(name), Some(service));
        self
    }

    pub fn no_service(&mut self, name: &str) -> &mut Self {
        self.resolver.service_changed(&service_name(name), None);
        self
    }

    pub fn import(&mut self, json: &str) -> &mut Self {
        self.repository.add(rules(json));
        self.follow()
    }

    pub fn apply(&mut self, yaml: &str) -> &mut Self {
        for document in kubernetes::documents(yaml).unwrap() {
            let policy = kubernetes::policy_of(&document).unwrap().expect("a policy");
            self.repository.replace_by_labels(&policy.labels, policy.rules);
        }
        self.follow()
    }

    pub fn delete(&mut self, label: &str) -> usize {
        let (_, deleted) = self.repository.delete_by_labels(&LabelArray::parse_selecting([label]).unwrap());
        self.follow();
        deleted
    }

    pub fn follow(&mut self) -> &mut Self {
        self.resolver.rules_changed(&self.repository);
        self
    }

    pub fn map(&self, endpoint: u16) -> MapState {
        self.resolver.map_state(endpoint).expect("the endpoint exists")
    }

    pub fn keys(&self, endpoint: u16) -> Vec<PolicyKey> {
        self.map(endpoint).into_keys().collect()
    }

    /// Whether the endpoint may receive from the peer.
    pub fn receives(&self, endpoint: u16, peer: u32, port: &str) -> bool {
        allows(&self.map(endpoint), Direction::Ingress, peer, port)
    }

    /// Whether the endpoint may send to the peer.
    pub fn sends(&self, endpoint: u16, peer: u32, port: &str) -> bool {
        allows(&self.map(endpoint), Direction::Egress, peer, port)
    }

    pub fn enforces(&self, endpoint: u16, direction: Direction) -> bool {
        self.resolver.enforcing(endpoint, direction).expect("the endpoint exists")
    }

    pub fn deltas(&mut self) -> Vec<PolicyDelta> {
        self.resolver.take_deltas()
    }
}

fn service_name(text: &str) -> ServiceName {
    let (namespace, name) = text.split_once('/').unwrap();
    ServiceName { namespace: namespace.to_owned(), name: name.to_owned() }
}

/// `80/TCP` or `icmp`.
pub fn allows(map: &MapState, direction: Direction, peer: u32, port: &str) -> bool {
    let (port, protocol) = match port.split_once('/') {
        Some((port, protocol)) => (port.parse().unwrap(), protocol.parse::<Protocol>().unwrap()),
        None => (0, port.parse().unwrap()),
    };
    map.keys().any(|key| key.direction == direction && key.covers(peer, protocol.number(), port))
}
