// SPDX-License-Identifier: Apache-2.0
//! Metrics with the names and labels of Cilium 1.4, where there is something to count.
//!
//! What happens is counted as it happens, in [`Counters`]; what is the case is asked when somebody looks, and comes as a
//! [`Snapshot`].

mod counters;
mod family;
mod process;
mod snapshot;
#[cfg(test)]
mod tests;

use api::Metric;
use prometheus::proto::{MetricFamily, MetricType};
use prometheus::{Encoder, TextEncoder};

pub use counters::Counters;
pub use snapshot::{EndpointCounts, QueueCounts, Snapshot};

/// What begins each name.
const NAMESPACE: &str = "cilium";

/// All metrics: those of the counters and those of the snapshot.
pub fn gather(counters: &Counters, snapshot: &Snapshot) -> Vec<MetricFamily> {
    let mut families = counters.gather();
    families.extend(snapshot.families());
    families.extend(process::families());
    families.sort_by(|one, other| one.name().cmp(other.name()));
    families
}

/// In the text format of Prometheus.
pub fn text(families: &[MetricFamily]) -> Vec<u8> {
    let mut text = Vec::new();
    // A family without a metric is the only thing that the encoder refuses; none is made here.
    if let Err(error) = TextEncoder::new().encode(families, &mut text) {
        tracing::error!(%error, "metrics are incomplete");
    }
    text
}

/// As the REST API lists them: of a histogram its count and sum.
pub fn list(families: &[MetricFamily]) -> Vec<Metric> {
    let mut list = Vec::new();
    for family in families {
        for metric in family.get_metric() {
            let labels: std::collections::BTreeMap<_, _> =
                metric.get_label().iter().map(|pair| (pair.name().into(), pair.value().into())).collect();
            let name = family.name();
            let mut add = |name: String, value| list.push(Metric { name, value, labels: labels.clone() });
            match family.get_field_type() {
                MetricType::COUNTER => add(name.into(), metric.get_counter().get_value()),
                MetricType::GAUGE => add(name.into(), metric.get_gauge().get_value()),
                MetricType::HISTOGRAM => {
                    let histogram = metric.get_histogram();
                    add(format!("{name}_count"), histogram.get_sample_count() as f64);
                    add(format!("{name}_sum"), histogram.get_sample_sum());
                }
                MetricType::SUMMARY | MetricType::UNTYPED => {}
            }
        }
    }
    list
}
