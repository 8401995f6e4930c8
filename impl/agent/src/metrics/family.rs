// SPDX-License-Identifier: Apache-2.0
//! Families made of values that are known, rather than counted here.

use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::NAMESPACE;

/// Labels with their values, and the value.
pub type Sample<'a> = (Vec<(&'a str, String)>, f64);

/// Something that goes up and down.
pub fn gauge<'a>(name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) -> MetricFamily {
    family(name, help, MetricType::GAUGE, samples)
}

/// Something that only goes up.
pub fn counter<'a>(name: &str, help: &str, samples: impl IntoIterator<Item = Sample<'a>>) -> MetricFamily {
    family(name, help, MetricType::COUNTER, samples)
}

/// The one sample of a family without labels.
pub fn alone(value: f64) -> [Sample<'static>; 1] {
    [(Vec::new(), value)]
}

fn family<'a>(
    name: &str,
    help: &str,
    kind: MetricType,
    samples: impl IntoIterator<Item = Sample<'a>>,
) -> MetricFamily {
    let metrics = samples.into_iter().map(|(labels, value)| {
        let mut metric = Metric::from_label(labels.into_iter().map(label).collect());
        if kind == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value);
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value);
            metric.set_gauge(gauge);
        }
        metric
    });
    let mut family = MetricFamily::default();
    family.set_metric(metrics.collect());
    family.set_name(format!("{NAMESPACE}_{name}"));
    family.set_help(help.into());
    family.set_field_type(kind);
    family
}

fn label((name, value): (&str, String)) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.into());
    pair.set_value(value);
    pair
}
