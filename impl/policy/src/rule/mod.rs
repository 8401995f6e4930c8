// SPDX-License-Identifier: Apache-2.0
//! A rule of `cilium.io/v2`, found valid when it was read.

mod check;
mod l7;
mod service;
mod wire;

use addr::{PortRange, Protocol};
use identity::{EndpointSelector, Entity, LabelArray};
use ipnet::IpNet;
use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer, de};

use crate::error::ParseError;
use crate::map_state::Direction;
use crate::path::Path;

pub(crate) use check::{checked, named_port_fault, within};
pub use service::{ServiceRule, ServiceSelector};
pub(crate) use wire::{RawRule, from_json_text, from_value};

/// The longest text that [`parse_rules_json`] reads, in bytes.
pub const MAX_IMPORT_BYTES: usize = 16 << 20;
/// How many rules one import may hold.
pub const MAX_IMPORT_RULES: usize = 65_536;
/// How many ports one entry of `toPorts` may name; 1.4 has the same limit.
pub const MAX_PORTS: usize = 40;
/// How many entries a list of peers, of requirements or of `toPorts` may have, and how many ports all of `toPorts`: as many
/// as a policy map holds.
pub const MAX_PEERS: usize = 16_384;
/// How many exceptions one CIDR may have.
pub const MAX_EXCEPT: usize = 1_024;

/// Who may talk to the endpoints that a selector selects, and to whom they may talk.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Rule {
    endpoint_selector: EndpointSelector,
    ingress: Option<Vec<PeerRule>>,
    egress: Option<Vec<PeerRule>>,
    labels: LabelArray,
    description: String,
}

/// An entry of a rule's `ingress` or `egress`. What it allows is what some peer of it does on some port of it. Without
/// peers (every list of them empty) it speaks of anybody, without ports of any port; with neither it allows nothing,
/// but what the rule selects is closed in this direction. An empty list is as if the field were not there.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PeerRule {
    /// `fromEndpoints` or `toEndpoints`.
    pub endpoints: Vec<EndpointSelector>,
    /// `fromRequires` or `toRequires`: allows nothing, and every entry of `endpoints` in every rule that selects the
    /// same endpoint must meet it as well.
    pub requires: Vec<EndpointSelector>,
    /// `fromCIDR` or `toCIDR`. As in 1.4, `/0` is the entity `world`, addresses of the other family too.
    pub cidrs: Vec<IpNet>,
    /// `fromCIDRSet` or `toCIDRSet`.
    pub cidr_sets: Vec<CidrRule>,
    /// `fromEntities` or `toEntities`.
    pub entities: Vec<Entity>,
    /// `toServices`; none at ingress. An entry whose services have no address allows nothing.
    pub services: Vec<ServiceRule>,
    /// `toPorts`.
    pub ports: Vec<PortRule>,
}

impl PeerRule {
    /// Whether it names any peer.
    pub fn has_peers(&self) -> bool {
        !(self.endpoints.is_empty()
            && self.cidrs.is_empty()
            && self.cidr_sets.is_empty()
            && self.entities.is_empty()
            && self.services.is_empty())
    }

    /// Every prefix that it names, exceptions too, but no address of services.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        let sets = self.cidr_sets.iter().flat_map(|set| set.except.iter().chain([&set.cidr]));
        self.cidrs.iter().chain(sets).copied()
    }
}

/// An entry of `fromCIDRSet` or `toCIDRSet`: a prefix without parts of it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CidrRule {
    /// The prefix.
    pub cidr: IpNet,
    /// Prefixes inside of it that it does not speak of.
    pub except: Vec<IpNet>,
}

/// An entry of `toPorts`: any one of these ports. With no port it allows nothing, as in 1.4.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct PortRule {
    /// The ports.
    pub ports: Vec<PortProtocol>,
}

/// Destination ports of one protocol. [`Protocol::Any`] means TCP, UDP and SCTP.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PortProtocol {
    /// Which ports.
    pub ports: L4Ports,
    /// Which protocol.
    pub protocol: Protocol,
}

/// Ports as a rule names them.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum L4Ports {
    /// Every port of the protocol; written `"0"`.
    All,
    /// `port`, up to `endPort`.
    Range(PortRange),
    /// The port that the destination's container spec calls so.
    Named(String),
}

impl Rule {
    /// The endpoints it speaks of.
    pub fn endpoint_selector(&self) -> &EndpointSelector {
        &self.endpoint_selector
    }

    /// What it allows in this direction. `Some` even if empty closes the direction for what is not allowed; none leaves
    /// it alone.
    pub fn section(&self, direction: Direction) -> Option<&[PeerRule]> {
        match direction {
            Direction::Ingress => self.ingress.as_deref(),
            Direction::Egress => self.egress.as_deref(),
        }
    }

    /// Labels by which it is found and deleted.
    pub fn labels(&self) -> &LabelArray {
        &self.labels
    }

    /// What its author says about it.
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Every entry of `toServices`; some more than once.
    pub fn services(&self) -> impl Iterator<Item = &ServiceRule> {
        self.egress.iter().flatten().flat_map(|entry| &entry.services)
    }

    /// Every prefix that it names, exceptions too, but no address of services; some more than once.
    pub fn prefixes(&self) -> impl Iterator<Item = IpNet> {
        let sections = [&self.ingress, &self.egress];
        sections.into_iter().flatten().flatten().flat_map(PeerRule::prefixes)
    }

    /// For translations: the caller made every part valid.
    pub(crate) fn new(
        endpoint_selector: EndpointSelector,
        ingress: Option<Vec<PeerRule>>,
        egress: Option<Vec<PeerRule>>,
        labels: LabelArray,
    ) -> Self {
        Self { endpoint_selector, ingress, egress, labels, description: String::new() }
    }

    /// For translations: other selectors, more labels.
    pub(crate) fn translated(
        mut self,
        endpoint_selector: EndpointSelector,
        peer: impl Fn(&mut EndpointSelector),
        labels: impl IntoIterator<Item = identity::Label>,
    ) -> Self {
        self.endpoint_selector = endpoint_selector;
        for entry in [&mut self.ingress, &mut self.egress].into_iter().flatten().flatten() {
            entry.endpoints.iter_mut().chain(&mut entry.requires).for_each(&peer);
        }
        self.labels = self.labels.iter().cloned().chain(labels).collect();
        self
    }
}

/// Reads what `policy import` is given: one rule, or an array of rules.
///
/// # Errors
/// [`ParseError`] with the path of the field, beginning with the index of the rule if there is an array.
pub fn parse_rules_json(text: &str) -> Result<Vec<Rule>, ParseError> {
    let too_many = |what, found, limit| ParseError::TooMany { path: ".".into(), what, found, limit };
    if text.len() > MAX_IMPORT_BYTES {
        return Err(too_many("bytes", text.len(), MAX_IMPORT_BYTES));
    }
    if !text.trim_start().starts_with('[') {
        return checked(from_json_text::<RawRule>(text)?, &Path::Root).map(|rule| vec![rule]);
    }
    let raw: Vec<RawRule> = from_json_text(text)?;
    if raw.len() > MAX_IMPORT_RULES {
        return Err(too_many("rules", raw.len(), MAX_IMPORT_RULES));
    }
    raw.into_iter().enumerate().map(|(at, raw)| checked(raw, &Path::Root.index(at))).collect()
}

impl Serialize for Rule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawRule::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        checked(RawRule::deserialize(deserializer)?, &Path::Root).map_err(de::Error::custom)
    }
}
