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
            aggregation: settings.word(
                "monitor-aggregation",
                &[
                    ("none", Aggregation::None),
                    ("disabled", Aggregation::None),
                    ("0", Aggregation::None),
                    ("lowest", Aggregation::Lowest),
                    ("1", Aggregation::Lowest),
                    ("low", Aggregation::Low),
                    ("2", Aggregation::Low),
                    ("medium", Aggregation::Medium),
                    ("3", Aggregation::Medium),
                    ("max", Aggregation::Maximum),
                    ("maximum", Aggregation::Maximum),
                ],
            )?,
            monitor_queue: settings.number("monitor-queue-size", 1..=1 << 20)? as usize,
            prometheus: prometheus(settings)?,
        })
    }
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
