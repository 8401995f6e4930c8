// SPDX-License-Identifier: Apache-2.0
//! Ranks of subjects of one group: no order where intervals overlap.

use std::collections::BTreeMap;

use crate::analysis::{Group, Row};
use crate::statistics::{Estimate, Interval};

/// Ranks of intervals, 1 for the lowest. Subjects whose intervals overlap, directly or through a third, share a rank; the
/// next rank counts all that are before it (1, 1, 3). The caller widens the intervals by the noise floor.
pub fn ranks(intervals: &[Interval]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..intervals.len()).collect();
    order.sort_by(|a, b| intervals[*a].low.total_cmp(&intervals[*b].low));
    let mut ranks = vec![0; intervals.len()];
    let (mut rank, mut reach) = (0, f64::NEG_INFINITY);
    for (place, index) in order.into_iter().enumerate() {
        let interval = intervals[index];
        if rank == 0 || interval.low > reach {
            rank = place + 1;
        }
        reach = reach.max(interval.high);
        ranks[index] = rank;
    }
    ranks
}

/// The measured rows of a group by rank, and of one rank by ratio.
pub fn order(group: &Group) -> Vec<(usize, Vec<(&Row, Estimate)>)> {
    let mut by_rank: BTreeMap<usize, Vec<(&Row, Estimate)>> = BTreeMap::new();
    for row in &group.rows {
        if let Some((rank, ratio)) = row.figures().and_then(|f| Some((f.rank?, f.ratio?))) {
            by_rank.entry(rank).or_default().push((row, ratio));
        }
    }
    for members in by_rank.values_mut() {
        members.sort_by(|a, b| a.1.median.total_cmp(&b.1.median));
    }
    by_rank.into_iter().collect()
}
