// SPDX-License-Identifier: Apache-2.0
//! A rule's sections as the resolver and the trace read them: selectors and ports, with nothing left to interpret.

use std::net::IpAddr;
use std::sync::Arc;

use addr::{PortMask, Protocol};
use identity::{EndpointSelector, Expression, Operator, SelectorKey, Source, cidr, reserved};
use ipnet::IpNet;

use crate::named_port::PortName;
use crate::rule::{CidrRule, L4Ports, PeerRule, PortProtocol, PortRule, ServiceRule};

/// `ingress` or `egress` of a rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Section {
    /// What every selecting peer of every rule for the endpoint must be as well.
    pub(crate) requires: Vec<EndpointSelector>,
    /// Each allows something.
    pub(crate) grants: Vec<Grant>,
}

/// Peers on ports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) peers: Peers,
    pub(crate) ports: Arc<Ports>,
}

/// Who.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Peers {
    /// Anybody, whatever is required.
    Any,
    /// Whom one of them selects.
    Selected(Vec<Peer>),
    /// The endpoints of services.
    Service(ServiceRule),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    pub(crate) selector: EndpointSelector,
    /// Whether `fromRequires` and `toRequires` narrow it: they speak of endpoints, not of entities and CIDRs.
    pub(crate) narrowed: bool,
}

impl Peer {
    /// The selector under these requirements; none if it is anybody.
    pub(crate) fn under(&self, requires: &[&EndpointSelector]) -> Option<EndpointSelector> {
        let mut selector = self.selector.clone();
        if selects_all(&selector) {
            return None;
        }
        if self.narrowed {
            // One that selects all requires nothing; taken over, its label would make this one select all as well.
            let real = requires.iter().filter(|required| !selects_all(required));
            real.for_each(|required| selector.require(required));
        }
        (!selector.is_wildcard()).then_some(selector)
    }
}

/// `reserved:all` selects everything, whatever else is asked.
pub(crate) fn selects_all(selector: &EndpointSelector) -> bool {
    selector.match_labels().keys().any(|key| *key.source() == Source::Reserved && key.key() == reserved::ALL)
}

/// Where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ports {
    pub(crate) fixed: Vec<PortKey>,
    pub(crate) named: Vec<PortName>,
}

/// The part of a policy map's key that says where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PortKey {
    pub(crate) protocol: u8,
    pub(crate) port: u16,
    pub(crate) prefix: u8,
}

impl PortKey {
    /// Everything.
    pub(crate) const ANY: Self = Self { protocol: 0, port: 0, prefix: 0 };

    pub(crate) fn of(protocol: Protocol, mask: PortMask) -> Self {
        Self { protocol: protocol.number(), port: mask.port, prefix: mask.prefix_len() }
    }
}

impl Ports {
    /// Whether it is everything.
    pub(crate) fn is_any(&self) -> bool {
        self.fixed.contains(&PortKey::ANY)
    }
}

impl Section {
    pub(crate) fn new(entries: &[PeerRule], cluster: &str) -> Self {
        Self {
            requires: entries.iter().flat_map(|entry| entry.requires.iter().cloned()).collect(),
            grants: entries.iter().flat_map(|entry| grants(entry, cluster)).collect(),
        }
    }
}

/// What an entry allows: one grant for the peers that it names, and one for each entry of `toServices`, whose addresses
/// come and go.
fn grants(entry: &PeerRule, cluster: &str) -> Vec<Grant> {
    let anybody = !entry.has_peers();
    // Requirements allow nothing, and so do neither peers nor ports.
    if anybody && (entry.ports.is_empty() || !entry.requires.is_empty()) {
        return Vec::new();
    }
    let ports = Arc::new(ports(&entry.ports));
    let named = match peers(entry, cluster) {
        _ if anybody => Some(Peers::Any),
        Peers::Selected(nobody) if nobody.is_empty() && !entry.services.is_empty() => None,
        peers => Some(peers),
    };
    let services = entry.services.iter().cloned().map(Peers::Service);
    named.into_iter().chain(services).map(|peers| Grant { peers, ports: Arc::clone(&ports) }).collect()
}

fn peers(entry: &PeerRule, cluster: &str) -> Peers {
    let endpoints =
        entry.endpoints.iter().map(|selector| Peer { selector: selector.clone(), narrowed: true });
    let entities = entry.entities.iter().flat_map(|entity| entity.selectors(cluster));
    let cidrs = entry.cidrs.iter().map(|prefix| of_prefix(*prefix));
    let sets = entry.cidr_sets.iter().filter_map(of_cidr_rule);
    let others = entities.chain(cidrs).chain(sets).map(|selector| Peer { selector, narrowed: false });
    let peers: Vec<Peer> = endpoints.chain(others).collect();
    let anybody = |peer: &Peer| !peer.narrowed && peer.selector.is_wildcard() || selects_all(&peer.selector);
    if peers.iter().any(anybody) { Peers::Any } else { Peers::Selected(peers) }
}

/// Every identity of an address in this prefix carries its label; `/0` is the world, of both families.
fn of_prefix(prefix: IpNet) -> EndpointSelector {
    let world = prefix.prefix_len() == 0;
    if world {
        return EndpointSelector::from_labels(&cidr::labels(prefix)[..]);
    }
    EndpointSelector::from_labels([&cidr::label(prefix)])
}

/// The selector of one address.
pub(crate) fn of_address(address: IpAddr) -> EndpointSelector {
    of_prefix(address.into())
}

/// By labels, as 1.4 does: an exception has an identity of its own, since the rule names it, and an address in it has
/// that one or that of a longer prefix. Cutting the prefix would give as many identities as an exception is longer.
fn of_cidr_rule(rule: &CidrRule) -> Option<EndpointSelector> {
    let mut selector = of_prefix(rule.cidr);
    for hole in &rule.except {
        if hole.prefix_len() == rule.cidr.prefix_len() {
            return None;
        }
        let key = SelectorKey::of(Source::Cidr, cidr::label(*hole).key());
        selector.add_expression(Expression { key, operator: Operator::DoesNotExist });
    }
    Some(selector)
}

fn ports(rules: &[PortRule]) -> Ports {
    if rules.is_empty() {
        return Ports { fixed: vec![PortKey::ANY], named: Vec::new() };
    }
    let mut ports = Ports::default();
    for PortProtocol { ports: which, protocol } in rules.iter().flat_map(|rule| &rule.ports) {
        for protocol in expanded(*protocol) {
            match which {
                L4Ports::All => ports.fixed.push(PortKey::of(*protocol, PortMask::ANY)),
                L4Ports::Range(range) => {
                    ports.fixed.extend(range.masks().into_iter().map(|mask| PortKey::of(*protocol, mask)));
                }
                L4Ports::Named(name) => {
                    ports.named.push(PortName { name: name.clone(), protocol: *protocol });
                }
            }
        }
    }
    ports.fixed.sort();
    ports.fixed.dedup();
    ports
}

/// The protocols that a rule means by one: any is each that has ports.
fn expanded(protocol: Protocol) -> &'static [Protocol] {
    match protocol {
        Protocol::Tcp => &[Protocol::Tcp],
        Protocol::Udp => &[Protocol::Udp],
        Protocol::Sctp => &[Protocol::Sctp],
        Protocol::Any | Protocol::Icmp | Protocol::Icmpv6 => &[Protocol::Tcp, Protocol::Udp, Protocol::Sctp],
    }
}
