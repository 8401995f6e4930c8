// SPDX-License-Identifier: Apache-2.0
//! Percentiles of the latency of all recorded transactions of a cell, from its histogram.

use netns_lab::record::Cell;

/// Latency of all transactions of a cell, nanoseconds on the run's clock, three significant digits.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Latency {
    /// Fastest transaction.
    pub min: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p99_9: f64,
    /// Slowest transaction.
    pub max: f64,
    /// Transactions counted.
    pub count: u64,
}

/// Latency of a cell; `None` when its histogram counts nothing.
pub fn latency(cell: &Cell) -> Option<Latency> {
    let histogram = &cell.histogram;
    let count = total(histogram);
    let max = histogram.iter().filter(|(_, n)| *n > 0).map(|(ns, _)| *ns).max()?;
    let weighted: f64 = histogram.iter().map(|(ns, n)| *ns as f64 * *n as f64).sum();
    let fastest_bucket = histogram.iter().filter(|(_, n)| *n > 0).map(|(ns, _)| *ns).min()?;
    let min = cell.slices.iter().filter(|s| s.transactions > 0).map(|s| s.min_ns).min();
    let at = |q| percentile(histogram, q).map(|ns| ns as f64);
    Some(Latency {
        min: min.unwrap_or(fastest_bucket) as f64,
        mean: weighted / count as f64,
        p50: at(0.5)?,
        p90: at(0.9)?,
        p99: at(0.99)?,
        p99_9: at(0.999)?,
        max: max as f64,
        count: u64::try_from(count).unwrap_or(u64::MAX),
    })
}

/// The upper bound of the bucket that holds the quantile `q` (0 to 1) of an ascending histogram.
pub fn percentile(histogram: &[(u64, u64)], q: f64) -> Option<u64> {
    let count = total(histogram);
    // The product is rounded to 53 bits, so it may pass the count.
    let wanted = ((count as f64 * q).ceil() as u128).clamp(1, count.max(1));
    let mut seen = 0_u128;
    histogram.iter().find_map(|(ns, n)| {
        seen += u128::from(*n);
        (seen >= wanted).then_some(*ns)
    })
}

fn total(histogram: &[(u64, u64)]) -> u128 {
    histogram.iter().map(|(_, n)| u128::from(*n)).sum()
}
