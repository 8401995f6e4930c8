// SPDX-License-Identifier: Apache-2.0
//! `summary.json`: the figures of a report as a flat list, for other programs.
//!
//! One entry per run, planned workload and placement, and subject, whether it was measured or not. Without samples every
//! figure is `null` and `not_run` says why. Numbers have six significant digits. Times are microseconds of the clock named in
//! `clock`: in `virtual` one microsecond is a thousand instructions.

use netns_lab::record::{Clock, Executor};
use serde::Serialize;

use crate::analysis::{Analysis, Figures, Group, Row, RunAnalysis};
use crate::figures::six_digits;

/// One entry of `summary.json`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Entry {
    /// The subject.
    pub subject: String,
    /// netperf's name of the workload.
    pub workload: &'static str,
    /// Cores in use by client and server.
    pub cores: u8,
    /// What ran it.
    pub executor: Executor,
    /// `uname -r`.
    pub kernel: String,
    /// What its times are.
    pub clock: Clock,
    /// The rules imitate another product.
    pub emulation: bool,
    /// Median latency of all transactions.
    pub p50_us: Option<f64>,
    /// Transactions per second of the median slice.
    pub rate: Option<f64>,
    /// Time per transaction relative to `routed`.
    pub ratio: Option<f64>,
    /// Lower end of its 95 % interval.
    pub ci_low: Option<f64>,
    /// Upper end of its 95 % interval.
    pub ci_high: Option<f64>,
    /// The same ratio from the 10th percentile of the slices.
    pub ratio_p10: Option<f64>,
    /// Subjects that cannot be told apart share a rank.
    pub rank: Option<usize>,
    /// Why there are no figures.
    pub not_run: Option<String>,
    /// Fastest transaction.
    pub min_us: Option<f64>,
    /// Mean latency.
    pub mean_us: Option<f64>,
    /// 90th percentile.
    pub p90_us: Option<f64>,
    /// 99th percentile.
    pub p99_us: Option<f64>,
    /// 99.9th percentile.
    pub p99_9_us: Option<f64>,
    /// Slowest transaction.
    pub max_us: Option<f64>,
    /// Payload of the median slice (TCP_STREAM).
    pub gbit_s: Option<f64>,
    /// CPU time of both processes.
    pub cpu_us_per_transaction: Option<f64>,
    /// CPU time of both processes (TCP_STREAM).
    pub cpu_s_per_gib: Option<f64>,
    /// Voluntary and involuntary, both ends.
    pub context_switches_per_transaction: Option<f64>,
    /// TCP segments sent again.
    pub retransmits: Option<u64>,
    /// Requests without an answer.
    pub lost: Option<u64>,
    /// Slices that the figures rest on.
    pub slices: usize,
    /// Differences below this fraction of 1 mean nothing in this group.
    pub noise_floor: Option<f64>,
    /// The run was stopped early.
    pub interrupted: bool,
}

/// All entries of an analysis, in the order of the report.
pub fn entries(analysis: &Analysis<'_>) -> Vec<Entry> {
    let groups = analysis.runs.iter().flat_map(|run| run.groups.iter().map(move |group| (run, group)));
    groups.flat_map(|(run, group)| group.rows.iter().map(move |row| entry(run, group, row))).collect()
}

fn entry(run: &RunAnalysis<'_>, group: &Group, row: &Row) -> Entry {
    let figures = row.figures();
    let figure = |of: &dyn Fn(&Figures) -> Option<f64>| figures.and_then(of).and_then(six_digits);
    let latency = |of: &dyn Fn(&crate::latency::Latency) -> f64| {
        figures.and_then(|f| f.latency.as_ref()).and_then(|l| six_digits(of(l) / 1000.0))
    };
    Entry {
        subject: row.subject.clone(),
        workload: group.workload.name(),
        cores: group.placement.cores(),
        executor: run.record.executor,
        kernel: run.record.environment.kernel.clone(),
        clock: run.record.clock,
        emulation: row.emulation,
        p50_us: latency(&|l| l.p50).or_else(|| figure(&|f| Some(f.p50.median / 1000.0))),
        rate: figure(&|f| Some(f.rate.median)),
        ratio: figure(&|f| f.ratio.map(|r| r.median)),
        ci_low: figure(&|f| f.ratio.map(|r| r.interval.low)),
        ci_high: figure(&|f| f.ratio.map(|r| r.interval.high)),
        ratio_p10: figure(&|f| f.ratio_p10),
        rank: figures.and_then(|f| f.rank),
        not_run: row.outcome.as_ref().err().cloned(),
        min_us: latency(&|l| l.min),
        mean_us: latency(&|l| l.mean),
        p90_us: latency(&|l| l.p90),
        p99_us: latency(&|l| l.p99),
        p99_9_us: latency(&|l| l.p99_9),
        max_us: latency(&|l| l.max),
        gbit_s: figure(&|f| f.gbit_s.map(|s| s.median)),
        cpu_us_per_transaction: figure(&|f| Some(f.cpu_us.median)),
        cpu_s_per_gib: figure(&|f| f.cpu_s_per_gib.map(|s| s.median)),
        context_switches_per_transaction: figure(&|f| Some(f.context_switches)),
        retransmits: figures.map(|f| f.retransmits),
        lost: figures.map(|f| f.lost),
        slices: figures.map_or(0, |f| f.slices),
        noise_floor: group.noise.and_then(|n| six_digits(n.band())),
        interrupted: run.record.interrupted,
    }
}
