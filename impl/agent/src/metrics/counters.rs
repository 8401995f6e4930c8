// SPDX-License-Identifier: Apache-2.0
//! What is counted as it happens.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use prometheus::core::Collector;
use prometheus::proto::MetricFamily;
use prometheus::{Counter, GaugeVec, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::NAMESPACE;

/// Clones count together.
#[derive(Clone, Debug)]
pub struct Counters {
    registry: Registry,
    regenerations: IntCounterVec,
    regeneration_time: HistogramVec,
    policy_regenerations: IntCounter,
    policy_seconds: Counter,
    /// Rules that were refused.
    pub policy_import_errors: IntCounter,
    event_ts: GaugeVec,
    ipam_events: IntCounterVec,
    services_events: IntCounterVec,
    log: IntCounterVec,
}

impl Counters {
    /// All of them, at zero.
    ///
    /// # Errors
    /// Two of the same name: never, for the names are constants and a test makes them all.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new_custom(Some(NAMESPACE.into()), None)?;
        let add = Add(&registry);
        Ok(Self {
            regenerations: add.counters(
                "endpoint_regenerations",
                "Regenerations of endpoints",
                &["outcome"],
            )?,
            regeneration_time: add.add(HistogramVec::new(
                HistogramOpts::new(
                    "endpoint_regeneration_time_stats_seconds",
                    "How long parts of regenerations took",
                ),
                &["scope", "status"],
            )?)?,
            policy_regenerations: add
                .add(IntCounter::new("policy_regeneration_total", "Times that policy was computed")?)?,
            policy_seconds: add
                .add(Counter::new("policy_regeneration_seconds_total", "Time that it took")?)?,
            policy_import_errors: add
                .add(IntCounter::new("policy_import_errors", "Rules that were refused")?)?,
            event_ts: add.add(GaugeVec::new(
                Opts::new("event_ts", "When the last event of a source was taken, seconds since 1970"),
                &["source"],
            )?)?,
            ipam_events: add.counters(
                "ipam_events_total",
                "Addresses given and taken back",
                &["action", "family"],
            )?,
            services_events: add.counters(
                "services_events_total",
                "Frontends of services that came, changed and went",
                &["action"],
            )?,
            log: add.counters(
                "errors_warnings_total",
                "Errors and warnings in the log",
                &["level", "subsystem"],
            )?,
            registry,
        })
    }

    /// A part of a regeneration of some endpoints. The whole is `buildDuration`.
    pub fn regeneration(&self, scope: &str, success: bool, took: Duration, endpoints: usize) {
        let status = if success { "success" } else { "failure" };
        self.regeneration_time.with_label_values(&[scope, status]).observe(took.as_secs_f64());
        match scope {
            "buildDuration" => {
                let outcome = if success { "success" } else { "fail" };
                self.regenerations.with_label_values(&[outcome]).inc_by(endpoints as u64);
            }
            "policyCalculation" => {
                self.policy_regenerations.inc();
                self.policy_seconds.inc_by(took.as_secs_f64());
            }
            _ => {}
        }
    }

    /// Something came from a source.
    pub fn event(&self, source: &str) {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.event_ts.with_label_values(&[source]).set(since.as_secs_f64());
    }

    /// An address was given (`allocate`) or taken back (`release`).
    pub fn ipam(&self, action: &str, family: &str) {
        self.ipam_events.with_label_values(&[action, family]).inc();
    }

    /// Frontends of services came (`add`), changed (`update`) or went (`delete`).
    pub fn services(&self, action: &str, count: usize) {
        self.services_events.with_label_values(&[action]).inc_by(count as u64);
    }

    /// A line of the log that is worse than information.
    pub fn log(&self, level: &str, subsystem: &str) {
        self.log.with_label_values(&[level, subsystem]).inc();
    }

    pub(super) fn gather(&self) -> Vec<MetricFamily> {
        self.registry.gather()
    }
}

struct Add<'a>(&'a Registry);

impl Add<'_> {
    fn add<C: Collector + Clone + 'static>(&self, collector: C) -> Result<C, prometheus::Error> {
        self.0.register(Box::new(collector.clone()))?;
        Ok(collector)
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.add(IntCounterVec::new(Opts::new(name, help), labels)?)
    }
}
