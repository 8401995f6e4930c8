// SPDX-License-Identifier: Apache-2.0
//! `NetworkPolicy` of Kubernetes, by what its API says it means.

use addr::{Port, PortRange, Protocol, parse_prefix};
use identity::{EndpointSelector, Entity, Expression, Operator, RawSelector, SelectorKey, Source, reserved};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::{Metadata, Origin, PolicyKind, PolicyObject};
use crate::error::ParseError;
use crate::object::read_from_objects;
use crate::path::Path;
use crate::rule::{
    CidrRule, L4Ports, MAX_EXCEPT, MAX_PEERS, PeerRule, PortProtocol, PortRule, Rule, named_port_fault,
    within,
};

read_from_objects!(RawObject, RawSpec, RawIngress, RawEgress, RawPeer, RawIpBlock, RawPort);

/// What precedes a namespace's own labels among those of its pods.
const NAMESPACE_LABELS: &str = "io.cilium.k8s.namespace.labels.";

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawObject {
    #[serde(rename = "apiVersion")]
    _api_version: IgnoredAny,
    #[serde(rename = "kind")]
    _kind: IgnoredAny,
    metadata: Metadata,
    spec: RawSpec,
    #[serde(rename = "status")]
    _status: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
struct RawSpec {
    pod_selector: Option<RawSelector>,
    ingress: Option<Vec<RawIngress>>,
    egress: Option<Vec<RawEgress>>,
    policy_types: Option<Vec<PolicyType>>,
}

#[derive(Deserialize, PartialEq)]
enum PolicyType {
    Ingress,
    Egress,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawIngress {
    from: Option<Vec<RawPeer>>,
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawEgress {
    to: Option<Vec<RawPeer>>,
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
struct RawPeer {
    pod_selector: Option<RawSelector>,
    namespace_selector: Option<RawSelector>,
    ip_block: Option<RawIpBlock>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawIpBlock {
    cidr: String,
    except: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
struct RawPort {
    port: Option<IntOrString>,
    end_port: Option<i64>,
    protocol: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a number from 1 to 65535 or the name of a port")]
enum IntOrString {
    Int(i64),
    String(String),
}

/// One rule: a NetworkPolicy selects one set of pods.
pub(super) fn translated(raw: RawObject) -> Result<PolicyObject, ParseError> {
    let origin = Origin::new(PolicyKind::NetworkPolicy, raw.metadata)?;
    let at = Path::Root.field("spec");
    let spec = raw.spec;
    let mut subject = pods(spec.pod_selector.unwrap_or_default(), &at.field("podSelector"))?;
    subject.add_match(namespace_key(), &origin.namespace);

    let types = spec.policy_types.filter(|types| !types.is_empty());
    let ingress_applies = types.as_ref().is_none_or(|types| types.contains(&PolicyType::Ingress));
    let rules_of_egress = spec.egress.as_ref().is_some_and(|egress| !egress.is_empty());
    let egress_applies = types.map_or(rules_of_egress, |types| types.contains(&PolicyType::Egress));

    let ingress = spec.ingress.unwrap_or_default().into_iter().map(|entry| (entry.from, entry.ports));
    let egress = spec.egress.unwrap_or_default().into_iter().map(|entry| (entry.to, entry.ports));
    let ingress = section(ingress, &at.field("ingress"), "from", &origin.namespace)?;
    let egress = section(egress, &at.field("egress"), "to", &origin.namespace)?;
    let rule = Rule::new(
        subject,
        ingress_applies.then_some(ingress),
        egress_applies.then_some(egress),
        origin.rule_labels().collect(),
    );
    Ok(origin.object(vec![rule], Vec::new()))
}

/// A section with no entry gets an empty one, which closes the direction and allows nothing.
fn section(
    entries: impl Iterator<Item = (Option<Vec<RawPeer>>, Option<Vec<RawPort>>)>,
    at: &Path<'_>,
    peers_field: &'static str,
    namespace: &str,
) -> Result<Vec<PeerRule>, ParseError> {
    let mut section = Vec::new();
    for (index, (raw_peers, raw_ports)) in entries.enumerate() {
        let at = at.index(index);
        let mut entry = PeerRule::default();
        let raw_peers = raw_peers.unwrap_or_default();
        if raw_peers.is_empty() {
            entry.entities.push(Entity::All);
        }
        within(&at.field(peers_field), "entries", raw_peers.len(), MAX_PEERS)?;
        for (index, raw) in raw_peers.into_iter().enumerate() {
            peer(raw, &at.field(peers_field).index(index), namespace, &mut entry)?;
        }
        let raw_ports = raw_ports.unwrap_or_default();
        within(&at.field("ports"), "entries", raw_ports.len(), MAX_PEERS)?;
        for (index, raw) in raw_ports.into_iter().enumerate() {
            let ports = vec![port(raw, &at.field("ports").index(index))?];
            entry.ports.push(PortRule { ports });
        }
        section.push(entry);
    }
    if section.is_empty() {
        section.push(PeerRule::default());
    }
    Ok(section)
}

fn fault(at: &Path<'_>, reason: impl ToString) -> ParseError {
    ParseError::Value { path: at.to_string(), reason: reason.to_string() }
}

fn namespace_key() -> SelectorKey {
    SelectorKey::of(Source::K8s, reserved::NAMESPACE_LABEL)
}

fn pods(raw: RawSelector, at: &Path<'_>) -> Result<EndpointSelector, ParseError> {
    EndpointSelector::from_kubernetes(&Source::K8s, "", raw)
        .map_err(|error| ParseError::Selector { path: at.to_string(), error })
}

/// Pods of the namespaces that it selects.
fn namespaces(raw: RawSelector, at: &Path<'_>) -> Result<EndpointSelector, ParseError> {
    let of_namespaces = pods(raw, at)?;
    let mut selector = EndpointSelector::wildcard();
    if of_namespaces.is_wildcard() {
        selector.add_expression(Expression { key: namespace_key(), operator: Operator::Exists });
    }
    // After the check: a key that is valid for a namespace is not too long for having a prefix here.
    let prefixed = |key: &SelectorKey| {
        SelectorKey::of(key.source().clone(), &format!("{NAMESPACE_LABELS}{}", key.key()))
    };
    for (key, value) in of_namespaces.match_labels() {
        selector.add_match(prefixed(key), value);
    }
    for Expression { key, operator } in of_namespaces.match_expressions() {
        selector.add_expression(Expression { key: prefixed(key), operator: operator.clone() });
    }
    // What has no namespace has none of its labels either: `notin` and `doesnotexist` would select the whole world.
    if !selector.has_key(&namespace_key()) && selector.match_labels().is_empty() {
        selector.add_expression(Expression { key: namespace_key(), operator: Operator::Exists });
    }
    Ok(selector)
}

fn peer(raw: RawPeer, at: &Path<'_>, namespace: &str, entry: &mut PeerRule) -> Result<(), ParseError> {
    let (pods_at, namespaces_at) = (at.field("podSelector"), at.field("namespaceSelector"));
    match (raw.pod_selector, raw.namespace_selector, raw.ip_block) {
        (None, None, Some(block)) => entry.cidr_sets.push(ip_block(block, &at.field("ipBlock"))?),
        (Some(selector), None, None) => {
            let mut selector = pods(selector, &pods_at)?;
            selector.add_match(namespace_key(), namespace);
            entry.endpoints.push(selector);
        }
        (selector, Some(of_namespaces), None) => {
            let mut peers = namespaces(of_namespaces, &namespaces_at)?;
            peers.require(&pods(selector.unwrap_or_default(), &pods_at)?);
            entry.endpoints.push(peers);
        }
        (None, None, None) => {
            return Err(fault(at, "a peer has a podSelector, a namespaceSelector or an ipBlock"));
        }
        (_, _, Some(_)) => {
            return Err(fault(
                &at.field("ipBlock"),
                "a peer with an ipBlock has no selector: write two peers",
            ));
        }
    }
    Ok(())
}

fn ip_block(raw: RawIpBlock, at: &Path<'_>) -> Result<CidrRule, ParseError> {
    let prefix = |text: &str, at: &Path<'_>| -> Result<IpNet, ParseError> {
        parse_prefix(text).map_err(|e| fault(at, e))
    };
    let cidr = prefix(&raw.cidr, &at.field("cidr"))?;
    let except_at = at.field("except");
    let mut except = Vec::new();
    let raw_except = raw.except.unwrap_or_default();
    within(&except_at, "exceptions", raw_except.len(), MAX_EXCEPT)?;
    for (index, text) in raw_except.iter().enumerate() {
        let hole = prefix(text, &except_at.index(index))?;
        if !cidr.contains(&hole) {
            return Err(fault(&except_at.index(index), format!("{hole} is not inside {cidr}")));
        }
        except.push(hole);
    }
    Ok(CidrRule { cidr, except })
}

fn port(raw: RawPort, at: &Path<'_>) -> Result<PortProtocol, ParseError> {
    let protocol = match raw.protocol.as_deref() {
        None => Protocol::Tcp,
        Some("TCP") => Protocol::Tcp,
        Some("UDP") => Protocol::Udp,
        Some("SCTP") => Protocol::Sctp,
        Some(word) => {
            return Err(fault(&at.field("protocol"), format!("{word:?} is not one of TCP, UDP, SCTP")));
        }
    };
    let (port_at, end_at) = (at.field("port"), at.field("endPort"));
    let number = |number: i64, at: &Path<'_>| {
        u16::try_from(number)
            .ok()
            .and_then(Port::new)
            .ok_or_else(|| fault(at, format!("{number} is not a port: a number from 1 to 65535")))
    };
    let range = |first: Port| -> Result<L4Ports, ParseError> {
        let last = raw.end_port.map_or(Ok(first), |end| number(end, &end_at))?;
        PortRange::new(first, last).map(L4Ports::Range).map_err(|error| fault(&end_at, error))
    };
    let ports = match raw.port {
        Some(IntOrString::Int(first)) => range(number(first, &port_at)?)?,
        Some(IntOrString::String(text)) if text.parse::<Port>().is_ok() => {
            range(text.parse().map_err(|error| fault(&port_at, error))?)?
        }
        _ if raw.end_port.is_some() => {
            return Err(fault(&end_at, "only a port that is a number has an end"));
        }
        Some(IntOrString::String(name)) => match named_port_fault(&name) {
            Some(reason) => return Err(fault(&port_at, reason)),
            None => L4Ports::Named(name),
        },
        None => L4Ports::All,
    };
    Ok(PortProtocol { ports, protocol })
}
