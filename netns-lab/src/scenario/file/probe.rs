// SPDX-License-Identifier: Apache-2.0
//! A probe, as a file tells it.

use std::fmt;
use std::net::IpAddr;
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

/// One packet exchange, or several of the same.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawProbe")]
pub struct Probe {
    /// What is sent.
    pub kind: Kind,
    /// Who sends it.
    pub from: End,
    /// From which of the sender's addresses. `None`: the one that the kernel takes.
    pub source: Option<IpAddr>,
    /// Where to.
    pub to: Target,
    /// By which of the target's addresses.
    pub family: Family,
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
    /// How it is sent.
    pub manner: Manner,
    /// Who must answer.
    pub answered: Answered,
    /// Whom whoever answers must see: an end, by one of its addresses, or an address.
    pub seen_from: Option<Target>,
}

/// How a probe is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Manner {
    /// From an IPv6 socket to an IPv4 address, as programs do that listen and connect by one kind of socket.
    pub mapped: bool,
    /// UDP without connecting: the destination is said with the datagram, the answer's sender is looked at.
    pub unconnected: bool,
    /// Whoever answers is asked who he is and whom he sees.
    pub ask: bool,
}

/// Who must answer a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Answered {
    /// Nobody in particular.
    #[default]
    Anyhow,
    /// This end, each time.
    By(End),
    /// Always the same.
    Same,
    /// One of these, each time.
    ByOneOf(Vec<End>),
    /// Each of these in turn or not, and nobody else.
    ByEachOf(Vec<End>),
}

impl Answered {
    /// The ends that it names.
    pub(super) fn ends(&self) -> &[End] {
        match self {
            Self::Anyhow | Self::Same => &[],
            Self::By(end) => std::slice::from_ref(end),
            Self::ByOneOf(ends) | Self::ByEachOf(ends) => ends,
        }
    }
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

/// IPv4 or IPv6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// IPv4.
    #[default]
    Ipv4,
    /// IPv6.
    Ipv6,
}

/// One who sends and answers: `client` or `server`, or, where the topology has pods of its own, one of these, `host` or
/// `world`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(from = "String")]
pub struct End(pub String);

/// The node itself.
pub const HOST: &str = "host";
/// The machines beyond the node.
pub const WORLD: &str = "world";

/// Where a probe goes.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "String")]
pub enum Target {
    /// An end's own address.
    End(End),
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

impl From<String> for End {
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for Target {
    fn from(text: String) -> Self {
        match (text.as_str(), text.parse()) {
            ("service", _) => Self::Service,
            (_, Ok(address)) => Self::Address(address),
            _ => Self::End(End(text)),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::End(end) => write!(f, "{end}"),
            Self::Service => f.write_str("service"),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl Kind {
    /// As a person says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawProbe {
    kind: Kind,
    from: End,
    source: Option<IpAddr>,
    to: Target,
    family: Option<Family>,
    port: Option<u16>,
    size: Option<u32>,
    count: Option<u32>,
    expect: Expectation,
    within_ms: Option<u64>,
    #[serde(default)]
    mapped: bool,
    #[serde(default)]
    unconnected: bool,
    answered_by: Option<End>,
    answered_by_one_of: Option<Vec<End>>,
    answered_by_each_of: Option<Vec<End>>,
    seen_from: Option<Target>,
}

/// The word for whoever answered first.
const SAME: &str = "same";

impl RawProbe {
    fn answered(&self) -> Result<Answered, String> {
        let answered = match (&self.answered_by, &self.answered_by_one_of, &self.answered_by_each_of) {
            (None, None, None) => Answered::Anyhow,
            (Some(end), None, None) if end.0 == SAME => Answered::Same,
            (Some(end), None, None) => Answered::By(end.clone()),
            (None, Some(ends), None) => Answered::ByOneOf(ends.clone()),
            (None, None, Some(ends)) => Answered::ByEachOf(ends.clone()),
            _ => {
                return Err(
                    "`answered_by`, `answered_by_one_of` and `answered_by_each_of` exclude each other".into(),
                );
            }
        };
        let count = self.count.unwrap_or(1) as usize;
        match &answered {
            Answered::ByOneOf(ends) | Answered::ByEachOf(ends) if ends.is_empty() => {
                Err("who answers is said by a list, and it is empty".into())
            }
            Answered::Same if count < 2 => {
                Err("`answered_by: same` needs a `count` of more than one: one is always the same".into())
            }
            Answered::ByEachOf(ends) if count < ends.len() => {
                Err("`count` is less than the ends that must answer".into())
            }
            _ => Ok(answered),
        }
    }

    fn manner(&self, answered: &Answered) -> Result<Manner, String> {
        let ask = *answered != Answered::Anyhow || self.seen_from.is_some();
        if ask && (self.kind == Kind::Icmp || self.expect != Expectation::Allowed) {
            return Err(
                "only TCP and UDP that are `allowed` are answered by somebody who can be asked".into()
            );
        }
        if self.unconnected && self.kind != Kind::Udp {
            return Err("`unconnected` is for UDP".into());
        }
        if self.mapped && (self.kind == Kind::Icmp || self.source.is_some()) {
            return Err("`mapped` is for TCP and UDP without a `source`".into());
        }
        Ok(Manner { mapped: self.mapped, unconnected: self.unconnected, ask })
    }
}

impl TryFrom<RawProbe> for Probe {
    type Error = String;

    fn try_from(raw: RawProbe) -> Result<Self, String> {
        let answered = raw.answered()?;
        let manner = raw.manner(&answered)?;
        let RawProbe { kind, from, source, to, family, port, expect, .. } = raw;
        check_port(kind, port, &to)?;
        let family = family_of(family, &to)?;
        if manner.mapped && family == Family::Ipv6 {
            return Err("`mapped` is for IPv4".into());
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
            family,
            port,
            size: u32::try_from(size).map_err(|e| e.to_string())?,
            count: u32::try_from(count).map_err(|e| e.to_string())?,
            expect,
            within: Duration::from_millis(within_ms),
            manner,
            answered,
            seen_from: raw.seen_from,
        })
    }
}

/// ICMP has no port; what else has one says which, unless a service does.
pub(super) fn check_port(kind: Kind, port: Option<u16>, to: &Target) -> Result<(), String> {
    match (kind, port) {
        (Kind::Icmp, Some(_)) => Err("ICMP has no ports".into()),
        (Kind::Tcp | Kind::Udp, None) if *to != Target::Service => Err("`port` is missing".into()),
        (_, Some(0)) => Err("a port is between 1 and 65535".into()),
        _ => Ok(()),
    }
}

/// An address has its family, an end the one that is asked for.
pub(super) fn family_of(asked: Option<Family>, to: &Target) -> Result<Family, String> {
    let of_address = match to {
        Target::Address(IpAddr::V6(_)) => Some(Family::Ipv6),
        Target::Address(IpAddr::V4(_)) | Target::Service => Some(Family::Ipv4),
        Target::End(_) => None,
    };
    match (asked, of_address) {
        (Some(_), Some(_)) => Err(format!("`family` is that of {to} and not to be said")),
        (asked, of_address) => Ok(of_address.or(asked).unwrap_or_default()),
    }
}

pub(super) fn within(field: &str, value: u64, least: u64, most: u64) -> Result<u64, String> {
    if (least..=most).contains(&value) {
        Ok(value)
    } else {
        Err(format!("`{field}` must be between {least} and {most}, not {value}"))
    }
}
