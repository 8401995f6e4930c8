// SPDX-License-Identifier: Apache-2.0
//! The format of a scenario's file. What is not understood is refused with its line; nothing is guessed.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use serde::Deserialize;

/// Longest time that a probe may be given, milliseconds.
const MAX_WITHIN_MS: u64 = 60_000;
/// A neighbour that does not answer is given up after 3 s, and that looks like a refusal: one must come before.
const MAX_WITHIN_REFUSED_MS: u64 = 2500;
/// Most bytes of a probe's payload: what a UDP datagram over IPv4 can carry.
const MAX_SIZE: u32 = 65_507;
/// Most repetitions of a probe.
const MAX_COUNT: u32 = 1000;

/// A behaviour and how it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Scenario {
    /// The behaviour, in a sentence.
    pub name: String,
    /// What it covers, for example `reachability/tcp`; `reports/coverage.md` is made of these.
    pub covers: Vec<String>,
    /// The subjects over which it is run, one after the other.
    pub subjects: Vec<String>,
    /// Addresses that the client is given besides its own, as of another pod behind the same interface.
    pub client_addresses: Vec<Ipv4Addr>,
    /// Where client and server answer.
    pub listen: Listen,
    /// What is sent, in this order, and what must become of it.
    pub probes: Vec<Probe>,
}

/// The ports at which both pods send back what they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawListen")]
pub struct Listen {
    /// TCP ports.
    pub tcp: BTreeSet<u16>,
    /// UDP ports.
    pub udp: BTreeSet<u16>,
}

/// One packet exchange, or several of the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawProbe")]
pub struct Probe {
    /// What is sent.
    pub kind: Kind,
    /// Who sends it.
    pub from: End,
    /// From which of the sender's addresses. `None`: the one that the kernel takes.
    pub source: Option<Ipv4Addr>,
    /// Where to.
    pub to: Target,
    /// The destination port. `None`: that of the service; ICMP has none.
    pub port: Option<u16>,
    /// Payload, bytes.
    pub size: u32,
    /// How many times; each must have the same outcome.
    pub count: u32,
    /// What must become of it.
    pub expect: Expectation,
    /// Until when. After that it counts as dropped.
    pub within: Duration,
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A TCP connection, then bytes there and back.
    Tcp,
    /// A UDP datagram there and back.
    Udp,
    /// An ICMP or ICMPv6 echo request.
    Icmp,
}

/// One of the two pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum End {
    /// The client.
    Client,
    /// The server.
    Server,
}

/// Where a probe goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Target {
    /// A pod's own address.
    Pod(End),
    /// The address of the subject's service.
    Service,
    /// Any other address.
    Address(IpAddr),
}

/// What must become of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Expectation {
    /// It arrives and its answer comes back whole.
    Allowed,
    /// Somebody says no: a TCP reset or an ICMP error.
    Refused,
    /// Nothing comes back.
    Dropped,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not YAML, or not a scenario.
    #[error("{file}:{line}:{column}: {reason}")]
    At {
        /// The file, as it was given.
        file: String,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// In one line.
        reason: String,
    },
    /// As [`ScenarioError::At`], where the parser knows no place: an empty file, for example.
    #[error("{file}: {reason}")]
    Whole {
        /// The file, as it was given.
        file: String,
        /// In one line.
        reason: String,
    },
}

impl Scenario {
    /// Reads the text of a file; `file` is what an error calls it.
    ///
    /// # Errors
    /// [`ScenarioError`] with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let file = file.to_owned();
            let plain = error.without_snippet();
            let full = plain.to_string();
            // The place is told in front, as compilers do.
            let reason = full.lines().next().unwrap_or_default();
            match plain.location() {
                Some(at) if at.line() > 0 => {
                    let tail = format!(" at line {}, column {}", at.line(), at.column());
                    let reason = reason.replace(&tail, "");
                    ScenarioError::At { file, line: at.line(), column: at.column(), reason }
                }
                _ => ScenarioError::Whole { file, reason: reason.into() },
            }
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    covers: Vec<String>,
    topology: Topology,
    #[serde(default)]
    listen: Listen,
    probes: Vec<Probe>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTopology {
    subject: Option<String>,
    subjects: Option<Vec<String>>,
    #[serde(default)]
    client_addresses: Vec<Ipv4Addr>,
}

#[derive(Deserialize)]
#[serde(try_from = "RawTopology")]
struct Topology {
    subjects: Vec<String>,
    client_addresses: Vec<Ipv4Addr>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    #[serde(default)]
    tcp: Vec<u16>,
    #[serde(default)]
    udp: Vec<u16>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProbe {
    kind: Kind,
    from: End,
    source: Option<Ipv4Addr>,
    to: Target,
    port: Option<u16>,
    size: Option<u32>,
    count: Option<u32>,
    expect: Expectation,
    within_ms: Option<u64>,
}

impl TryFrom<Raw> for Scenario {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let Raw { name, covers, topology: Topology { subjects, client_addresses }, listen, probes } = raw;
        if name.trim().is_empty() || name.contains('\n') {
            return Err("`name` must be a sentence in one line".into());
        }
        let item = |c: &String| {
            !c.is_empty()
                && c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/-.".contains(&b))
        };
        if covers.is_empty() || !covers.iter().all(item) {
            return Err(
                "`covers` must list words of a-z, 0-9, '/', '-' and '.', for example reachability/tcp".into(),
            );
        }
        if probes.is_empty() {
            return Err("`probes` is empty: such a scenario cannot fail".into());
        }
        let own = |p: &Probe| p.from == End::Client && p.source.is_none_or(|s| client_addresses.contains(&s));
        if let Some(source) = probes.iter().filter(|p| !own(p)).find_map(|p| p.source) {
            return Err(format!("`source` {source} is not one of the client's `client_addresses`"));
        }
        Ok(Self { name, covers, subjects, client_addresses, listen, probes })
    }
}

impl TryFrom<RawTopology> for Topology {
    type Error = &'static str;

    fn try_from(raw: RawTopology) -> Result<Self, Self::Error> {
        let subjects = match (raw.subject, raw.subjects) {
            (Some(one), None) => vec![one],
            (None, Some(several)) => several,
            _ => return Err("`topology` must have either `subject` or `subjects`"),
        };
        if subjects.is_empty() {
            return Err("`subjects` is empty");
        }
        let unique: BTreeSet<_> = subjects.iter().collect();
        if unique.len() < subjects.len() {
            return Err("a subject is named twice");
        }
        Ok(Self { subjects, client_addresses: raw.client_addresses })
    }
}

impl TryFrom<RawListen> for Listen {
    type Error = &'static str;

    fn try_from(raw: RawListen) -> Result<Self, Self::Error> {
        if raw.tcp.contains(&0) || raw.udp.contains(&0) {
            return Err("a port is between 1 and 65535");
        }
        let listen = Self { tcp: raw.tcp.iter().copied().collect(), udp: raw.udp.iter().copied().collect() };
        if listen.tcp.len() < raw.tcp.len() || listen.udp.len() < raw.udp.len() {
            return Err("a port is named twice");
        }
        Ok(listen)
    }
}

impl TryFrom<String> for Target {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.as_str() {
            "client" => Ok(Self::Pod(End::Client)),
            "server" => Ok(Self::Pod(End::Server)),
            "service" => Ok(Self::Service),
            address => address
                .parse()
                .map(Self::Address)
                .map_err(|_| format!("`to` must be client, server, service or an IP address, not {text:?}")),
        }
    }
}

impl TryFrom<RawProbe> for Probe {
    type Error = String;

    fn try_from(raw: RawProbe) -> Result<Self, String> {
        let RawProbe { kind, from, source, to, port, expect, .. } = raw;
        match (kind, port) {
            (Kind::Icmp, Some(_)) => return Err("ICMP has no ports".into()),
            (Kind::Tcp | Kind::Udp, None) if to != Target::Service => return Err("`port` is missing".into()),
            (_, Some(0)) => return Err("a port is between 1 and 65535".into()),
            _ => {}
        }
        // A byte at least: what is sent must be seen to come back.
        let size = within("size", raw.size.unwrap_or(64).into(), 1, MAX_SIZE.into())?;
        let count = within("count", raw.count.unwrap_or(1).into(), 1, MAX_COUNT.into())?;
        // A probe that is answered ends early, however long it may take; one that is dropped takes all of its time.
        // An ICMP error that comes back while connect() still holds the socket counts only at the SYN's repetition,
        // after 1 s.
        let (default_ms, max_ms) = match expect {
            Expectation::Allowed => (5000, MAX_WITHIN_MS),
            Expectation::Refused => (2000, MAX_WITHIN_REFUSED_MS),
            Expectation::Dropped => (1000, MAX_WITHIN_MS),
        };
        let within_ms = within("within_ms", raw.within_ms.unwrap_or(default_ms), 1, max_ms)?;
        Ok(Self {
            kind,
            from,
            source,
            to,
            port,
            size: u32::try_from(size).map_err(|e| e.to_string())?,
            count: u32::try_from(count).map_err(|e| e.to_string())?,
            expect,
            within: Duration::from_millis(within_ms),
        })
    }
}

fn within(field: &str, value: u64, least: u64, most: u64) -> Result<u64, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("`{field}` must be between {least} and {most}, not {value}"))
    }
}
