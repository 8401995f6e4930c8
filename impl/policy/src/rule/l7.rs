// SPDX-License-Identifier: Apache-2.0
//! Parts of the schema that are read, so that an error in them is told, and then refused as not supported.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::object::read_from_objects;

read_from_objects!(RawL7Rules, RawHttp, RawKafka, RawFqdn, RawGroups, RawAws);

/// `rules` of an entry of `toPorts`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(crate) struct RawL7Rules {
    http: Option<Vec<RawHttp>>,
    kafka: Option<Vec<RawKafka>>,
    dns: Option<Vec<RawFqdn>>,
    l7proto: Option<String>,
    l7: Option<Vec<BTreeMap<String, String>>>,
}

impl RawL7Rules {
    /// `rules: {}` restricts nothing.
    pub(crate) fn is_empty(&self) -> bool {
        let none = |count: Option<usize>| count.unwrap_or_default() == 0;
        none(self.http.as_ref().map(Vec::len))
            && none(self.kafka.as_ref().map(Vec::len))
            && none(self.dns.as_ref().map(Vec::len))
            && none(self.l7.as_ref().map(Vec::len))
            && self.l7proto.as_deref().unwrap_or_default().is_empty()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
struct RawHttp {
    path: Option<String>,
    method: Option<String>,
    host: Option<String>,
    headers: Option<Vec<String>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
struct RawKafka {
    role: Option<String>,
    api_key: Option<String>,
    api_version: Option<String>,
    #[serde(rename = "clientID")]
    client_id: Option<String>,
    topic: Option<String>,
}

/// An entry of `toFQDNs` or of `rules.dns`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct RawFqdn {
    match_name: Option<String>,
    match_pattern: Option<String>,
}

/// An entry of `toGroups`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(crate) struct RawGroups {
    aws: Option<RawAws>,
}

#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(remote = "Self", deny_unknown_fields, rename_all = "camelCase")]
struct RawAws {
    labels: Option<BTreeMap<String, String>>,
    security_groups_ids: Option<Vec<String>>,
    security_groups_names: Option<Vec<String>>,
    region: Option<String>,
}
