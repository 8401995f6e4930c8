// SPDX-License-Identifier: Apache-2.0
//! What 1.4 calls a valid rule, without those of its limits that nothing needs.

use addr::{Port, PortRange, Protocol, parse_prefix, parse_prefix_or_address};
use identity::{EndpointSelector, Entity, LabelArray, RawSelector, Source};

use super::service::service;
use super::wire::{RawCidr, RawEgress, RawIngress, RawPort, RawPortRule, RawRule};
use super::{CidrRule, L4Ports, MAX_EXCEPT, MAX_PEERS, MAX_PORTS, PeerRule, PortProtocol, PortRule, Rule};
use crate::error::{Feature, ParseError};
use crate::path::Path;

/// Only what the product itself makes has labels of this source.
const GENERATED_LABELS: Source = Source::CiliumGenerated;

/// A valid rule of what was read at `at`.
pub(crate) fn checked(raw: RawRule, at: &Path<'_>) -> Result<Rule, ParseError> {
    let Some(endpoint_selector) = raw.endpoint_selector else {
        return Err(fault(&at.field("endpointSelector"), "a rule must say which endpoints it selects"));
    };
    let labels = raw.labels.unwrap_or_default();
    check_labels(&labels, &at.field("labels"))?;
    let (ingress_at, egress_at) = (at.field("ingress"), at.field("egress"));
    Ok(Rule {
        endpoint_selector: selector(endpoint_selector, &at.field("endpointSelector"))?,
        ingress: raw.ingress.map(|entries| each(entries, &ingress_at, ingress)).transpose()?,
        egress: raw.egress.map(|entries| each(entries, &egress_at, egress)).transpose()?,
        labels,
        description: raw.description.unwrap_or_default(),
    })
}

pub(super) fn fault(at: &Path<'_>, reason: impl ToString) -> ParseError {
    ParseError::Value { path: at.to_string(), reason: reason.to_string() }
}

fn check_labels(labels: &LabelArray, at: &Path<'_>) -> Result<(), ParseError> {
    match labels.iter().position(|label| *label.source() == GENERATED_LABELS) {
        Some(index) => {
            Err(fault(&at.index(index), format!("labels of source {GENERATED_LABELS} are the product's own")))
        }
        None => Ok(()),
    }
}

/// A valid selector of what was read at `at`.
fn selector(raw: RawSelector, at: &Path<'_>) -> Result<EndpointSelector, ParseError> {
    EndpointSelector::try_from(raw).map_err(|error| ParseError::Selector { path: at.to_string(), error })
}

/// Checks each entry of a list, whose length has a limit.
fn each<T, R>(
    entries: Vec<T>,
    at: &Path<'_>,
    check: impl Fn(T, &Path<'_>) -> Result<R, ParseError>,
) -> Result<Vec<R>, ParseError> {
    within(at, "entries", entries.len(), MAX_PEERS)?;
    entries.into_iter().enumerate().map(|(index, entry)| check(entry, &at.index(index))).collect()
}

/// Refuses more than the limit.
pub(crate) fn within(
    at: &Path<'_>,
    what: &'static str,
    found: usize,
    limit: usize,
) -> Result<(), ParseError> {
    if found <= limit {
        return Ok(());
    }
    Err(ParseError::TooMany { path: at.to_string(), what, found, limit })
}

fn ingress(raw: RawIngress, at: &Path<'_>) -> Result<PeerRule, ParseError> {
    Ok(PeerRule {
        endpoints: each(raw.from_endpoints.unwrap_or_default(), &at.field("fromEndpoints"), selector)?,
        requires: each(raw.from_requires.unwrap_or_default(), &at.field("fromRequires"), selector)?,
        cidrs: each(raw.from_cidr.unwrap_or_default(), &at.field("fromCIDR"), cidr)?,
        cidr_sets: each(raw.from_cidr_set.unwrap_or_default(), &at.field("fromCIDRSet"), cidr_set)?,
        entities: each(raw.from_entities.unwrap_or_default(), &at.field("fromEntities"), entity)?,
        services: Vec::new(),
        ports: port_rules(raw.to_ports.unwrap_or_default(), &at.field("toPorts"))?,
    })
}

fn egress(raw: RawEgress, at: &Path<'_>) -> Result<PeerRule, ParseError> {
    let entry = PeerRule {
        endpoints: each(raw.to_endpoints.unwrap_or_default(), &at.field("toEndpoints"), selector)?,
        requires: each(raw.to_requires.unwrap_or_default(), &at.field("toRequires"), selector)?,
        cidrs: each(raw.to_cidr.unwrap_or_default(), &at.field("toCIDR"), cidr)?,
        cidr_sets: each(raw.to_cidr_set.unwrap_or_default(), &at.field("toCIDRSet"), cidr_set)?,
        entities: each(raw.to_entities.unwrap_or_default(), &at.field("toEntities"), entity)?,
        services: each(raw.to_services.unwrap_or_default(), &at.field("toServices"), service)?,
        ports: port_rules(raw.to_ports.unwrap_or_default(), &at.field("toPorts"))?,
    };
    for (count, feature, field) in [
        (raw.to_fqdns.map_or(0, |list| list.len()), Feature::ToFqdns, "toFQDNs"),
        (raw.to_groups.map_or(0, |list| list.len()), Feature::ToGroups, "toGroups"),
    ] {
        if count > 0 {
            return Err(ParseError::Unsupported { feature, path: at.field(field).to_string() });
        }
    }
    Ok(entry)
}

fn cidr(text: String, at: &Path<'_>) -> Result<ipnet::IpNet, ParseError> {
    parse_prefix_or_address(&text).map_err(|error| fault(at, error))
}

fn cidr_set(raw: RawCidr, at: &Path<'_>) -> Result<CidrRule, ParseError> {
    let cidr = parse_prefix(&raw.cidr).map_err(|error| fault(&at.field("cidr"), error))?;
    let except_at = at.field("except");
    let except = raw.except.unwrap_or_default();
    within(&except_at, "exceptions", except.len(), MAX_EXCEPT)?;
    let except = each(except, &except_at, |text, at| {
        let hole = parse_prefix(&text).map_err(|error| fault(at, error))?;
        if cidr.contains(&hole) { Ok(hole) } else { Err(fault(at, format!("{hole} is not inside {cidr}"))) }
    })?;
    Ok(CidrRule { cidr, except })
}

fn entity(text: String, at: &Path<'_>) -> Result<Entity, ParseError> {
    text.parse().map_err(|error| fault(at, error))
}

fn port_rules(raw: Vec<RawPortRule>, at: &Path<'_>) -> Result<Vec<PortRule>, ParseError> {
    let rules = each(raw, at, port_rule)?;
    within(at, "ports", rules.iter().map(|rule| rule.ports.len()).sum(), MAX_PEERS)?;
    Ok(rules)
}

fn port_rule(raw: RawPortRule, at: &Path<'_>) -> Result<PortRule, ParseError> {
    let ports_at = at.field("ports");
    let ports = raw.ports.unwrap_or_default();
    within(&ports_at, "ports", ports.len(), MAX_PORTS)?;
    let ports = each(ports, &ports_at, port)?;
    match raw.rules {
        Some(rules) if !rules.is_empty() => {
            Err(ParseError::Unsupported { feature: Feature::L7Rules, path: at.field("rules").to_string() })
        }
        _ => Ok(PortRule { ports }),
    }
}

fn port(raw: RawPort, at: &Path<'_>) -> Result<PortProtocol, ParseError> {
    let protocol = match raw.protocol.as_deref() {
        None | Some("") => Protocol::Any,
        Some(word) => protocol(word, &at.field("protocol"))?,
    };
    let (port_at, end_at) = (at.field("port"), at.field("endPort"));
    let end = raw.end_port.filter(|end| *end != 0);
    let digits = raw.port.bytes().all(|byte| byte.is_ascii_digit());
    let ports = match (raw.port.as_str(), end) {
        ("", _) => return Err(fault(&port_at, "a port must be given: a number from 1 to 65535 or a name")),
        ("0", None) => L4Ports::All,
        (_, None) if !digits => {
            named_port_fault(&raw.port).map_or(Ok(()), |reason| Err(fault(&port_at, reason)))?;
            L4Ports::Named(raw.port)
        }
        (_, Some(_)) if !digits => return Err(fault(&end_at, "a port that is a name has no end")),
        (text, end) => {
            let first = text.parse::<Port>().map_err(|error| fault(&port_at, error))?;
            let last = end.map_or(Ok(first), |end| end_port(end, &end_at))?;
            L4Ports::Range(PortRange::new(first, last).map_err(|error| fault(&end_at, error))?)
        }
    };
    Ok(PortProtocol { ports, protocol })
}

fn end_port(number: i64, at: &Path<'_>) -> Result<Port, ParseError> {
    u16::try_from(number)
        .ok()
        .and_then(Port::new)
        .ok_or_else(|| fault(at, format!("{number} is not a port: write a number from 1 to 65535")))
}

fn protocol(word: &str, at: &Path<'_>) -> Result<Protocol, ParseError> {
    match word.parse::<Protocol>() {
        Ok(protocol) if protocol.has_ports() || protocol == Protocol::Any => Ok(protocol),
        _ => Err(fault(at, format!("{word:?} has no ports: one of TCP, UDP, SCTP, ANY"))),
    }
}

/// Why this is no name of a port. As IANA and Kubernetes have it: up to 15 of `a-z`, `0-9` and `-`, one of them a letter.
pub(crate) fn named_port_fault(name: &str) -> Option<&'static str> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let valid = (1..=15).contains(&name.len())
        && name.bytes().all(fits)
        && name.bytes().any(|byte| byte.is_ascii_lowercase())
        && !name.starts_with('-')
        && !name.ends_with('-')
        && !name.contains("--");
    (!valid).then_some(
        "neither a number from 1 to 65535 nor the name of a port: up to 15 of a-z, 0-9 and '-', with a letter",
    )
}
