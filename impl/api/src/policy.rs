// SPDX-License-Identifier: Apache-2.0
//! `/policy` and `/policy/resolve`.
//!
//! As in 1.4, the rules travel as one JSON string that holds JSON: the body of `PUT /policy` is `"[{...}]"`.

use serde::{Deserialize, Serialize};

/// The rules and their revision.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Policy {
    /// Counts the changes of the repository.
    pub revision: u64,
    /// The rules, as JSON.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub policy: String,
}

/// A rule of an endpoint and where it comes from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct PolicyRule {
    /// As JSON.
    pub rule: String,
    /// The labels of the rules that it derives from.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub derived_from_rules: Vec<Vec<String>>,
}

/// Rules about ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct L4Policy {
    /// Into the endpoint.
    pub ingress: Vec<PolicyRule>,
    /// Out of it.
    pub egress: Vec<PolicyRule>,
}

/// Rules about prefixes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CidrPolicy {
    /// Into the endpoint.
    pub ingress: Vec<PolicyRule>,
    /// Out of it.
    pub egress: Vec<PolicyRule>,
}

/// The question of `GET /policy/resolve`: may this one talk to that one?
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceSelector {
    /// Who talks.
    pub from: TraceFrom,
    /// To whom.
    pub to: TraceTo,
    /// Whether the log is long.
    #[serde(skip_serializing_if = "crate::node::is_false")]
    pub verbose: bool,
}

/// Who talks.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceFrom {
    /// Its labels.
    pub labels: Vec<String>,
}

/// Who is talked to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TraceTo {
    /// Its labels.
    pub labels: Vec<String>,
    /// At which ports; without one, any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub dports: Vec<Port>,
}

/// A port with its protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Port {
    /// 0 for any.
    pub port: u16,
    /// Without one, any.
    pub protocol: PortProtocol,
}

/// The protocol of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum PortProtocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
    /// ICMPv6.
    IcmpV6,
    /// Whichever.
    #[default]
    Any,
}

/// The answer of `GET /policy/resolve`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyTraceResult {
    /// Whether it may.
    pub verdict: Verdict,
    /// How that was found, for people.
    #[serde(default)]
    pub log: String,
}

/// Whether traffic passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// It passes.
    Allowed,
    /// It does not.
    Denied,
    /// No rule says; the default of the endpoint decides.
    Undecided,
}
