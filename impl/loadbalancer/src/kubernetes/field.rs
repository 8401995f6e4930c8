// SPDX-License-Identifier: Apache-2.0
//! Fields that several kinds of objects have, and how a field's fault is told.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::net::IpAddr;

use addr::{Port, Protocol};
use ipnet::IpNet;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::ObjectError;
use crate::object::{ObjectKey, unusable};

/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Where in an object a value stands, written out only when something is wrong with it.
#[derive(Clone, Copy)]
pub(super) enum Path<'a> {
    Field(&'static str),
    Below(&'a Path<'a>, &'static str),
    Index(&'a Path<'a>, usize),
}

impl Path<'_> {
    pub(super) const fn field<'a>(&'a self, name: &'static str) -> Path<'a> {
        Path::Below(self, name)
    }

    pub(super) const fn index(&self, index: usize) -> Path<'_> {
        Path::Index(self, index)
    }

    pub(super) fn fault(&self, reason: impl Into<String>) -> ObjectError {
        ObjectError { path: self.to_string(), reason: reason.into() }
    }
}

impl fmt::Display for Path<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Path::Field(name) => f.write_str(name),
            Path::Below(parent, name) => write!(f, "{parent}.{name}"),
            Path::Index(parent, index) => write!(f, "{parent}[{index}]"),
        }
    }
}

/// The fields of an object, each of its type.
pub(super) fn read<T: DeserializeOwned>(document: &Value) -> Result<T, ObjectError> {
    serde_path_to_error::deserialize(document)
        .map_err(|error| ObjectError { path: error.path().to_string(), reason: error.inner().to_string() })
}

#[derive(Deserialize)]
pub(super) struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    #[serde(default)]
    pub(super) labels: Option<BTreeMap<String, String>>,
    #[serde(default)]
    pub(super) annotations: Option<BTreeMap<String, Value>>,
}

impl Metadata {
    pub(super) fn key(&self) -> Result<ObjectKey, ObjectError> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        let name =
            given(&self.name).ok_or_else(|| Path::Field("metadata.name").fault("must not be empty"))?;
        let namespace = given(&self.namespace).unwrap_or_else(|| DEFAULT_NAMESPACE.to_owned());
        Ok(ObjectKey { namespace, name })
    }
}

/// An address that packets can be sent to from elsewhere.
pub(super) fn address(text: &str, at: &Path<'_>) -> Result<IpAddr, ObjectError> {
    let address = text.parse().map_err(|_| at.fault(format!("{text:?} is not an IP address")))?;
    match unusable(address) {
        Some(reason) => Err(at.fault(format!("{text} {reason}"))),
        None => Ok(address),
    }
}

/// A range of addresses, as its network: bits behind its length may be set.
pub(super) fn range(text: &str, at: &Path<'_>) -> Result<IpNet, ObjectError> {
    let range: IpNet = text.trim().parse().map_err(|_| {
        at.fault(format!("{text:?} is not a range: write it as 192.0.2.0/24 or 2001:db8::/32"))
    })?;
    if matches!(range, IpNet::V6(v6) if v6.prefix_len() >= 96 && v6.addr().to_ipv4_mapped().is_some()) {
        return Err(at.fault(format!("{text} is an IPv4 range written as IPv6: write it as IPv4")));
    }
    Ok(range.trunc())
}

/// Each once, sorted.
pub(super) fn ranges<'a>(
    texts: impl Iterator<Item = &'a str>,
    at: &Path<'_>,
) -> Result<Vec<IpNet>, ObjectError> {
    let found: Result<BTreeSet<IpNet>, _> =
        texts.enumerate().map(|(index, text)| range(text, &at.index(index))).collect();
    Ok(found?.into_iter().collect())
}

/// Each once, in their order.
pub(super) fn addresses<T: AsRef<str>>(texts: &[T], at: &Path<'_>) -> Result<Vec<IpAddr>, ObjectError> {
    let mut found = Vec::with_capacity(texts.len());
    for (index, text) in texts.iter().enumerate() {
        found.push(address(text.as_ref(), &at.index(index))?);
    }
    Ok(each_once(found))
}

pub(super) fn each_once(mut addresses: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut seen = HashSet::new();
    addresses.retain(|address| seen.insert(*address));
    addresses
}

pub(super) fn port(number: i64, at: &Path<'_>) -> Result<Port, ObjectError> {
    let port = u16::try_from(number).ok().and_then(Port::new);
    port.ok_or_else(|| at.fault(format!("{number} is not a port: must be from 1 to 65535")))
}

/// A port that may be left out, which 0 says too.
pub(super) fn optional_port(number: Option<i64>, at: &Path<'_>) -> Result<Option<Port>, ObjectError> {
    number.filter(|number| *number != 0).map(|number| port(number, at)).transpose()
}

/// TCP where none is said.
pub(super) fn protocol(text: Option<&str>, at: &Path<'_>) -> Result<Protocol, ObjectError> {
    match text {
        None | Some("" | "TCP") => Ok(Protocol::Tcp),
        Some("UDP") => Ok(Protocol::Udp),
        Some("SCTP") => Ok(Protocol::Sctp),
        Some(other) => Err(at.fault(format!("{other:?} is none of TCP, UDP, SCTP"))),
    }
}
