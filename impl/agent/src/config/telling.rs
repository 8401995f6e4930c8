// SPDX-License-Identifier: Apache-2.0
//! Logs, events and metrics.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use super::{ConfigError, Settings};

/// How many trace events are left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aggregation {
    /// None.
    None,
    /// Those of packets before they are handled.
    Lowest,
    /// As `Lowest`.
    Low,
    /// Also those of connections that were reported a moment ago.
    Medium,
    /// As `Medium`.
    Maximum,
}

impl Aggregation {
    /// What may be written.
    pub const EXPECTED: &str = "must be one of none, lowest, low, medium, maximum or 0 to 3";

    /// By its word or number, without regard to case.
    pub fn parse(text: &str) -> Option<Self> {
        match text.to_ascii_lowercase().as_str() {
            "none" | "disabled" | "0" => Some(Self::None),
            "lowest" | "1" => Some(Self::Lowest),
            "low" | "2" => Some(Self::Low),
            "medium" | "3" => Some(Self::Medium),
            "max" | "maximum" => Some(Self::Maximum),
            _ => None,
        }
    }

    /// The word of the API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Lowest => "Lowest",
            Self::Low => "Low",
            Self::Medium => "Medium",
            Self::Maximum => "Maximum",
        }
    }

    /// The level as the kernel is told it: 0 to 3.
    pub fn level(self) -> u32 {
        match self {
            Self::None => 0,
            Self::Lowest => 1,
            Self::Low => 2,
            Self::Medium | Self::Maximum => 3,
        }
    }
}

/// Logs, events and metrics.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telling {
    /// Log more, and let endpoints send debug events.
    pub debug: bool,
    /// How many trace events are left out.
    pub aggregation: Aggregation,
    /// Events that wait for one listener.
    pub monitor_queue: usize,
    /// Where metrics are served.
    pub prometheus: Option<SocketAddr>,
}

impl Telling {
    pub(super) fn parse(settings: &Settings) -> Result<Self, ConfigError> {
        Ok(Self {
            debug: settings.switch("debug")?,
            aggregation: aggregation(settings)?,
            monitor_queue: settings.number("monitor-queue-size", 1..=1 << 20)? as usize,
            prometheus: prometheus(settings)?,
        })
    }
}

fn aggregation(settings: &Settings) -> Result<Aggregation, ConfigError> {
    const NAME: &str = "monitor-aggregation";
    Aggregation::parse(settings.text(NAME)).ok_or_else(|| settings.invalid(NAME, Aggregation::EXPECTED))
}

/// `:9090` is all addresses, as in Go.
fn prometheus(settings: &Settings) -> Result<Option<SocketAddr>, ConfigError> {
    const NAME: &str = "prometheus-serve-addr";
    let text = settings.text(NAME);
    if text.is_empty() {
        return Ok(None);
    }
    let port = |text: &str| text.strip_prefix(':').and_then(|port| port.parse().ok());
    let everywhere = |port| SocketAddr::new(IpAddr::V6(Ipv6Addr::UNSPECIFIED), port);
    port(text)
        .map(everywhere)
        .or_else(|| text.parse().ok())
        .filter(|address| address.port() != 0)
        .map(Some)
        .ok_or_else(|| settings.invalid(NAME, "must be ADDRESS:PORT or :PORT, such as 127.0.0.1:9090"))
}
