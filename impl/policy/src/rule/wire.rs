// SPDX-License-Identifier: Apache-2.0
//! A rule as JSON and YAML carry it.

use addr::Protocol;
use identity::{LabelArray, RawSelector};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::l7::{RawFqdn, RawGroups, RawL7Rules};
use super::service::RawService;
use super::{L4Ports, PeerRule, PortProtocol, PortRule, Rule};
use crate::error::ParseError;
use crate::object::{read_from_objects, write_as_derived};

read_from_objects!(RawRule, RawIngress, RawEgress, RawCidr, RawPortRule, RawPort);
write_as_derived!(RawRule, RawIngress, RawEgress, RawCidr, RawPortRule, RawPort);

/// A list that may be absent or null.
type List<T> = Option<Vec<T>>;

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawRule {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) endpoint_selector: Option<RawSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) ingress: List<RawIngress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) egress: List<RawEgress>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) labels: Option<LabelArray>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawIngress {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from_endpoints: List<RawSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from_requires: List<RawSelector>,
    #[serde(rename = "fromCIDR", skip_serializing_if = "Option::is_none")]
    pub(super) from_cidr: List<String>,
    #[serde(rename = "fromCIDRSet", skip_serializing_if = "Option::is_none")]
    pub(super) from_cidr_set: List<RawCidr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from_entities: List<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_ports: List<RawPortRule>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawEgress {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_endpoints: List<RawSelector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_requires: List<RawSelector>,
    #[serde(rename = "toCIDR", skip_serializing_if = "Option::is_none")]
    pub(super) to_cidr: List<String>,
    #[serde(rename = "toCIDRSet", skip_serializing_if = "Option::is_none")]
    pub(super) to_cidr_set: List<RawCidr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_entities: List<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_services: List<RawService>,
    #[serde(rename = "toFQDNs", skip_serializing)]
    pub(super) to_fqdns: List<RawFqdn>,
    #[serde(skip_serializing)]
    pub(super) to_groups: List<RawGroups>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) to_ports: List<RawPortRule>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawCidr {
    pub(super) cidr: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) except: List<String>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct RawPortRule {
    pub(super) ports: List<RawPort>,
    #[serde(skip_serializing)]
    pub(super) rules: Option<RawL7Rules>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct RawPort {
    pub(super) port: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) end_port: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) protocol: Option<String>,
}

/// Reads JSON; an error of the schema comes with the field's path.
pub(crate) fn from_json_text<T: DeserializeOwned>(text: &str) -> Result<T, ParseError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let value = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        match inner.classify() {
            serde_json::error::Category::Data => ParseError::Schema { path, reason: inner.to_string() },
            _ => ParseError::Syntax { format: "JSON", reason: inner.to_string() },
        }
    })?;
    deserializer.end().map_err(|error| ParseError::Syntax { format: "JSON", reason: error.to_string() })?;
    Ok(value)
}

/// Reads a document that was parsed before.
pub(crate) fn from_value<T: DeserializeOwned>(value: &serde_json::Value) -> Result<T, ParseError> {
    serde_path_to_error::deserialize(value).map_err(|error| ParseError::Schema {
        path: error.path().to_string(),
        reason: error.inner().to_string(),
    })
}

fn list<'a, T, R>(of: &'a [T], write: impl Fn(&'a T) -> R) -> List<R> {
    (!of.is_empty()).then(|| of.iter().map(write).collect())
}

impl From<&Rule> for RawRule {
    fn from(rule: &Rule) -> Self {
        Self {
            endpoint_selector: Some(RawSelector::from(&rule.endpoint_selector)),
            ingress: rule.ingress.as_ref().map(|entries| entries.iter().map(RawIngress::from).collect()),
            egress: rule.egress.as_ref().map(|entries| entries.iter().map(RawEgress::from).collect()),
            labels: (!rule.labels.is_empty()).then(|| rule.labels.clone()),
            description: (!rule.description.is_empty()).then(|| rule.description.clone()),
        }
    }
}

/// Egress has the same fields under other names, and services.
impl From<&PeerRule> for RawIngress {
    fn from(entry: &PeerRule) -> Self {
        Self {
            from_endpoints: list(&entry.endpoints, RawSelector::from),
            from_requires: list(&entry.requires, RawSelector::from),
            from_cidr: list(&entry.cidrs, ToString::to_string),
            from_cidr_set: list(&entry.cidr_sets, |set| RawCidr {
                cidr: set.cidr.to_string(),
                except: list(&set.except, ToString::to_string),
            }),
            from_entities: list(&entry.entities, ToString::to_string),
            to_ports: list(&entry.ports, RawPortRule::from),
        }
    }
}

impl From<&PeerRule> for RawEgress {
    fn from(entry: &PeerRule) -> Self {
        let ingress = RawIngress::from(entry);
        Self {
            to_endpoints: ingress.from_endpoints,
            to_requires: ingress.from_requires,
            to_cidr: ingress.from_cidr,
            to_cidr_set: ingress.from_cidr_set,
            to_entities: ingress.from_entities,
            to_services: list(&entry.services, RawService::from),
            to_ports: ingress.to_ports,
            ..Self::default()
        }
    }
}

impl From<&PortRule> for RawPortRule {
    fn from(rule: &PortRule) -> Self {
        Self { ports: Some(rule.ports.iter().map(RawPort::from).collect()), rules: None }
    }
}

impl From<&PortProtocol> for RawPort {
    fn from(one: &PortProtocol) -> Self {
        let (port, end_port) = match &one.ports {
            L4Ports::All => ("0".to_owned(), None),
            L4Ports::Named(name) => (name.clone(), None),
            L4Ports::Range(range) => {
                let end = (range.first() != range.last()).then(|| range.last().get().into());
                (range.first().to_string(), end)
            }
        };
        let protocol = (one.protocol != Protocol::Any).then(|| one.protocol.to_string());
        Self { port, end_port, protocol: protocol.or_else(|| Some("ANY".into())) }
    }
}
