// SPDX-License-Identifier: Apache-2.0
//! From the latencies of slices to a cell of the record.

use hdrhistogram::{CreationError, Histogram};

use super::clients::SliceReport;
use crate::record::Slice;

/// The longest latency that the histogram tells from longer ones: more than any time limit of a transaction.
const LONGEST_NS: u64 = 60_000_000_000;

/// The recorded slices of one subject in one phase.
#[derive(Debug)]
pub struct Tally {
    slices: Vec<Slice>,
    histogram: Histogram<u64>,
    /// Context switches of the client's threads.
    pub switches: u64,
    /// Requests that were sent again.
    pub lost: u64,
    scratch: Vec<u64>,
}

impl Tally {
    /// Room for `rounds` slices of `transactions` each.
    ///
    /// # Errors
    /// Never with these bounds; the histogram's constructor is fallible.
    pub fn new(rounds: u32, transactions: usize) -> Result<Self, CreationError> {
        Ok(Self {
            slices: Vec::with_capacity(rounds as usize),
            histogram: Histogram::new_with_bounds(1, LONGEST_NS, 3)?,
            switches: 0,
            lost: 0,
            scratch: Vec::with_capacity(transactions),
        })
    }

    /// Adds a slice. `server_cpu_ns` is what the server's process used meanwhile.
    pub fn add(&mut self, round: u32, reports: &[SliceReport], server_cpu_ns: u64) {
        self.scratch.clear();
        for report in reports {
            self.scratch.extend_from_slice(&report.latencies);
            self.switches += report.switches;
            self.lost += report.span.lost;
        }
        self.scratch.sort_unstable();
        for &latency in &self.scratch {
            self.histogram.saturating_record(latency);
        }
        let start = reports.iter().map(|report| report.span.start_ns).min().unwrap_or(0);
        let end = reports.iter().map(|report| report.span.end_ns).max().unwrap_or(start);
        self.slices.push(Slice {
            round,
            transactions: u32::try_from(self.scratch.len()).unwrap_or(u32::MAX),
            elapsed_ns: end - start,
            min_ns: percentile(&self.scratch, 0),
            p10_ns: percentile(&self.scratch, 10),
            p50_ns: percentile(&self.scratch, 50),
            cpu_ns: server_cpu_ns + reports.iter().map(|report| report.cpu_ns).sum::<u64>(),
        });
    }

    /// Recorded slices so far.
    pub fn len(&self) -> usize {
        self.slices.len()
    }

    /// Nothing is recorded yet.
    pub fn is_empty(&self) -> bool {
        self.slices.is_empty()
    }

    /// The slices and the histogram as a record holds them.
    pub fn finish(self) -> (Vec<Slice>, Vec<(u64, u64)>) {
        let buckets = self
            .histogram
            .iter_recorded()
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration()))
            .collect();
        (self.slices, buckets)
    }
}

/// The smallest value that is not less than `percent` per cent of `sorted` (nearest rank); 0 for no values.
pub fn percentile(sorted: &[u64], percent: usize) -> u64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::client::Span;
    use super::*;

    #[test]
    fn percentiles_are_exact_nearest_ranks() {
        let sorted: Vec<u64> = (1..=10).collect();
        assert_eq!(percentile(&sorted, 0), 1);
        assert_eq!(percentile(&sorted, 10), 1);
        assert_eq!(percentile(&sorted, 11), 2);
        assert_eq!(percentile(&sorted, 50), 5);
        assert_eq!(percentile(&sorted, 51), 6);
        assert_eq!(percentile(&sorted, 100), 10);
        assert_eq!(percentile(&[7], 50), 7);
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn a_slice_of_several_connections_lasts_from_the_first_start_to_the_last_end() {
        let report = |start_ns, end_ns, latencies| SliceReport {
            span: Span { start_ns, end_ns, lost: 1 },
            cpu_ns: 10,
            switches: 2,
            latencies,
        };
        let mut tally = Tally::new(1, 4).unwrap();
        tally.add(3, &[report(100, 500, vec![30, 10]), report(90, 400, vec![40, 20])], 5);
        assert_eq!((tally.switches, tally.lost), (4, 2));
        let (slices, histogram) = tally.finish();
        let expected = Slice {
            round: 3,
            transactions: 4,
            elapsed_ns: 410,
            min_ns: 10,
            p10_ns: 10,
            p50_ns: 20,
            cpu_ns: 25,
        };
        assert_eq!(slices, [expected]);
        assert_eq!(histogram, [(10, 1), (20, 1), (30, 1), (40, 1)]);
    }

    #[test]
    fn histogram_buckets_are_upper_bounds_within_three_digits() {
        let report = SliceReport { latencies: vec![1_234_567, 1_234_568], ..SliceReport::default() };
        let mut tally = Tally::new(1, 2).unwrap();
        tally.add(0, &[report], 0);
        let (_, histogram) = tally.finish();
        assert_eq!(histogram.len(), 1);
        let (bound, count) = histogram[0];
        assert_eq!(count, 2);
        assert!((1_234_568..1_234_568 * 1001 / 1000).contains(&bound), "{bound}");
    }
}
