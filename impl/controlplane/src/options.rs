// SPDX-License-Identifier: Apache-2.0
//! Options that can be changed while the agent runs, for the node and for each endpoint.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// An option that is not, or cannot be set so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OptionError {
    /// No such option.
    #[error("option {0:?} does not exist: one of {list}", list = EndpointOption::list())]
    Unknown(String),
    /// Cilium 1.4 has it, this does not.
    #[error("option {0} is not supported: {1}")]
    Unsupported(String, &'static str),
    /// Neither on nor off.
    #[error("option {name}: {value:?} is neither Enabled nor Disabled")]
    Value {
        /// The option.
        name: String,
        /// As written.
        value: String,
    },
}

/// An option of endpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum EndpointOption {
    /// Count packets and bytes of each connection.
    ConntrackAccounting,
    /// Tell every step of a packet.
    Debug,
    /// Tell every drop.
    DropNotification,
    /// Tell every verdict on a new connection.
    PolicyVerdictNotification,
    /// Tell every packet that passes.
    TraceNotification,
}

/// What Cilium 1.4 has and this has not, and why.
const UNSUPPORTED: [(&str, &str); 7] = [
    ("Conntrack", "connections are always tracked"),
    ("ConntrackLocal", "connections are tracked in one table for the node"),
    ("DebugLB", "services are not there yet"),
    ("MonitorAggregationLevel", "it is an option of the node, not of an endpoint"),
    ("MonitorNumPages", "the ring of events has a fixed size"),
    ("NAT46", "there is no translation between families"),
    ("PolicyTracing", "ask `policy trace` instead"),
];

impl EndpointOption {
    /// All of them.
    pub const EVERY: [Self; 5] = [
        Self::ConntrackAccounting,
        Self::Debug,
        Self::DropNotification,
        Self::PolicyVerdictNotification,
        Self::TraceNotification,
    ];

    /// The name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ConntrackAccounting => "ConntrackAccounting",
            Self::Debug => "Debug",
            Self::DropNotification => "DropNotification",
            Self::PolicyVerdictNotification => "PolicyVerdictNotification",
            Self::TraceNotification => "TraceNotification",
        }
    }

    /// Its bit in [`crate::EndpointRow::options`].
    pub fn bit(self) -> u32 {
        match self {
            Self::DropNotification => 1,
            Self::TraceNotification => 2,
            Self::ConntrackAccounting => 4,
            Self::PolicyVerdictNotification => 8,
            Self::Debug => 16,
        }
    }

    /// By its name, in any case of letters.
    pub fn parse(name: &str) -> Result<Self, OptionError> {
        if let Some(option) = Self::EVERY.into_iter().find(|one| one.as_str().eq_ignore_ascii_case(name)) {
            return Ok(option);
        }
        match UNSUPPORTED.iter().find(|(one, _)| one.eq_ignore_ascii_case(name)) {
            Some((name, reason)) => Err(OptionError::Unsupported((*name).to_owned(), reason)),
            None => Err(OptionError::Unknown(name.to_owned())),
        }
    }

    fn list() -> String {
        Self::EVERY.map(Self::as_str).join(", ")
    }
}

impl fmt::Display for EndpointOption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Options that are said to be on or off; of the others nothing is said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EndpointOptions(BTreeMap<EndpointOption, bool>);

impl EndpointOptions {
    /// As the agent starts in Cilium 1.4; `debug` is `--debug`.
    pub fn defaults(debug: bool) -> Self {
        let on = |option| match option {
            EndpointOption::Debug => debug,
            EndpointOption::PolicyVerdictNotification => false,
            _ => true,
        };
        Self(EndpointOption::EVERY.into_iter().map(|option| (option, on(option))).collect())
    }

    /// From names and values as the API has them: `Enabled` or `Disabled`, also `true`, `false`, `on`, `off`, `1`, `0`
    /// and the like in any case of letters.
    pub fn parse<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Self, OptionError> {
        let read = |(name, value): (&str, &str)| {
            let option = EndpointOption::parse(name)?;
            let on = match value.to_ascii_lowercase().as_str() {
                "true" | "on" | "enable" | "enabled" | "1" => true,
                "false" | "off" | "disable" | "disabled" | "0" => false,
                _ => return Err(OptionError::Value { name: name.to_owned(), value: value.to_owned() }),
            };
            Ok((option, on))
        };
        pairs.into_iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether it is on, off, or not said.
    pub fn is_on(&self, option: EndpointOption) -> Option<bool> {
        self.0.get(&option).copied()
    }

    /// Those that are said.
    pub fn iter(&self) -> impl Iterator<Item = (EndpointOption, bool)> {
        self.0.iter().map(|(option, on)| (*option, *on))
    }

    /// Whether nothing is said.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// These, where `other` says nothing.
    pub fn overlaid(&self, other: &Self) -> Self {
        let mut all = self.0.clone();
        all.extend(other.iter());
        Self(all)
    }

    /// The bits of those that are on.
    pub fn bits(&self) -> u32 {
        self.iter().filter(|(_, on)| *on).map(|(option, _)| option.bit()).sum()
    }
}
