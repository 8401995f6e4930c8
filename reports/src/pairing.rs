// SPDX-License-Identifier: Apache-2.0
//! Ratios of two subjects, slice by slice. Both cells come from one [`RunRecord`], so a ratio can never join two executors,
//! two kernels or two runs.

use std::collections::BTreeMap;

use netns_lab::plan::{Placement, WorkloadKind};
use netns_lab::record::{Cell, RunRecord, Slice};

use crate::statistics::{ascending, quantile};

/// What is compared of a slice: nanoseconds, lower is better; `None` when the slice counted nothing.
pub type Cost = fn(WorkloadKind, &Slice) -> Option<f64>;

/// Where a comparison happens: one workload at one placement of one run.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The run.
    pub run: &'a RunRecord,
    /// The workload.
    pub workload: WorkloadKind,
    /// The placement.
    pub placement: Placement,
}

impl<'a> Place<'a> {
    /// The first cell of `subject` here.
    pub fn cell(&self, subject: &str) -> Option<&'a Cell> {
        self.run
            .cells
            .iter()
            .find(|c| c.subject == subject && c.workload == self.workload && c.placement == self.placement)
    }

    /// `subject` divided by `reference`, one ratio per round that both have, in the order of rounds.
    pub fn ratios(&self, subject: &str, reference: &str, cost: Cost) -> Vec<f64> {
        let (Some(subject), Some(reference)) = (self.cell(subject), self.cell(reference)) else {
            return Vec::new();
        };
        let reference = by_round(reference, cost);
        by_round(subject, cost)
            .into_iter()
            .filter_map(|(round, ns)| Some(ns / reference.get(&round)?))
            .collect()
    }

    /// The 10th percentile of the slices of `subject` divided by that of `reference`: an estimator that
    /// a disturbed minority of slices cannot move.
    pub fn p10_ratio(&self, subject: &str, reference: &str, cost: Cost) -> Option<f64> {
        let p10 = |name: &str| {
            let costs: Vec<f64> = by_round(self.cell(name)?, cost).into_values().collect();
            quantile(&ascending(&costs), 0.1)
        };
        Some(p10(subject)? / p10(reference)?)
    }
}

/// The cost on which the ratios of a report rest: the median latency of the slice, or for
/// [`WorkloadKind::TcpStream`] the time per block.
pub fn slice_cost(workload: WorkloadKind, slice: &Slice) -> Option<f64> {
    match workload {
        WorkloadKind::TcpStream => time_per_transaction(workload, slice),
        WorkloadKind::TcpRr | WorkloadKind::TcpCrr | WorkloadKind::UdpRr => {
            (slice.transactions > 0 && slice.p50_ns > 0).then_some(slice.p50_ns as f64)
        }
    }
}

/// Elapsed time divided by transactions: the inverse of the rate.
pub fn time_per_transaction(_: WorkloadKind, slice: &Slice) -> Option<f64> {
    (slice.transactions > 0 && slice.elapsed_ns > 0)
        .then(|| slice.elapsed_ns as f64 / f64::from(slice.transactions))
}

/// The fastest transaction of the slice.
pub fn fastest(_: WorkloadKind, slice: &Slice) -> Option<f64> {
    (slice.transactions > 0 && slice.min_ns > 0).then_some(slice.min_ns as f64)
}

/// Costs by round; of two slices with one number the first counts.
fn by_round(cell: &Cell, cost: Cost) -> BTreeMap<u32, f64> {
    let mut rounds = BTreeMap::new();
    for slice in &cell.slices {
        if let Some(ns) = cost(cell.workload, slice) {
            rounds.entry(slice.round).or_insert(ns);
        }
    }
    rounds
}
