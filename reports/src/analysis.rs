// SPDX-License-Identifier: Apache-2.0
//! Samples turned into figures, once, for all outputs: run, then group (workload and placement), then subject.

use netns_lab::plan::{BASELINE, BASELINE_AGAIN, Placement, WorkloadKind, WorkloadSpec};
use netns_lab::record::{Cell, Executor, RunRecord, Samples, Slice, SubjectInfo};

use crate::latency::{Latency, latency};
use crate::pairing::{Place, slice_cost, time_per_transaction};
use crate::problems;
use crate::ranking::ranks;
use crate::statistics::{Estimate, Interval, Spread, estimate};

const BYTES_PER_GIB: f64 = (1_u64 << 30) as f64;

/// All figures of one `samples.json`.
#[derive(Clone, Debug)]
pub struct Analysis<'a> {
    /// What they come from.
    pub samples: &'a Samples,
    /// One per record.
    pub runs: Vec<RunAnalysis<'a>>,
    /// What is wrong with or missing from the samples, for the top of the report.
    pub problems: Vec<String>,
}

/// Figures of one record.
#[derive(Clone, Debug)]
pub struct RunAnalysis<'a> {
    /// The record.
    pub record: &'a RunRecord,
    /// One per workload and placement, in the plan's order.
    pub groups: Vec<Group>,
    /// Our generator's time divided by netperf's, per workload.
    pub self_check: Vec<(WorkloadKind, Estimate)>,
}

/// All subjects under one workload at one placement.
#[derive(Clone, Debug)]
pub struct Group {
    /// The workload.
    pub workload: WorkloadKind,
    /// The placement.
    pub placement: Placement,
    /// Sizes, if the plan has this phase.
    pub spec: Option<WorkloadSpec>,
    /// What two instances of the same thing differ by.
    pub noise: Option<NoiseFloor>,
    /// One per subject that this workload is for, in the plan's order.
    pub rows: Vec<Row>,
}

/// The ratio of the A/A pair.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseFloor {
    /// The A/A ratio itself.
    pub ratio: Estimate,
}

impl NoiseFloor {
    /// By how much the A/A ratio misses 1.
    pub fn offset(&self) -> f64 {
        (self.ratio.median - 1.0).abs()
    }

    /// The larger of that and the half width of its interval: differences below it mean nothing. A fraction of 1.
    pub fn band(&self) -> f64 {
        self.offset().max(self.ratio.interval.half_width())
    }
}

/// One subject of a group.
#[derive(Clone, Debug)]
pub struct Row {
    /// The subject.
    pub subject: String,
    /// It imitates another product's rules.
    pub emulation: bool,
    /// Its figures, or why it has none.
    pub outcome: Result<Figures, String>,
}

/// The figures of one cell. Times are nanoseconds of the run's clock.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Time per transaction relative to [`BASELINE`], paired slice by slice; below 1 is faster.
    /// `None` when the baseline has no slice in the same rounds.
    pub ratio: Option<Estimate>,
    /// 10th percentile of the slices relative to that of the baseline.
    pub ratio_p10: Option<f64>,
    /// 1 is the fastest; subjects that cannot be told apart share a rank.
    pub rank: Option<usize>,
    /// Median latency of a slice.
    pub p50: Spread,
    /// Latency over all transactions; `None` when the histogram is empty.
    pub latency: Option<Latency>,
    /// Transactions per second.
    pub rate: Spread,
    /// Gbit/s of payload; for [`WorkloadKind::TcpStream`] only.
    pub gbit_s: Option<Spread>,
    /// CPU microseconds per transaction, client and server process together.
    pub cpu_us: Spread,
    /// CPU seconds per GiB of payload; for [`WorkloadKind::TcpStream`] only.
    pub cpu_s_per_gib: Option<Spread>,
    /// Context switches per transaction over the whole cell.
    pub context_switches: f64,
    /// TCP segments sent again.
    pub retransmits: u64,
    /// Requests without an answer.
    pub lost: u64,
    /// Slices that the figures rest on.
    pub slices: usize,
}

impl<'a> Analysis<'a> {
    /// Computes all figures.
    pub fn of(samples: &'a Samples) -> Self {
        let runs: Vec<_> = samples.runs.iter().map(RunAnalysis::of).collect();
        let problems = problems::of(samples, &runs);
        Self { samples, runs, problems }
    }

    /// A run was stopped early.
    pub fn partial(&self) -> bool {
        self.runs.iter().any(|r| r.record.interrupted)
    }
}

impl<'a> RunAnalysis<'a> {
    /// Computes the figures of one record.
    pub fn of(record: &'a RunRecord) -> Self {
        let places = places(record);
        let groups =
            places.iter().map(|(workload, placement)| group(record, *workload, *placement)).collect();
        Self { record, groups, self_check: self_check(record) }
    }

    /// The facts of a subject, if it was set up.
    pub fn info(&self, subject: &str) -> Option<&'a SubjectInfo> {
        self.record.subjects.iter().find(|s| s.name == subject)
    }

    /// The group of a workload and placement.
    pub fn group(&self, workload: WorkloadKind, placement: Placement) -> Option<&Group> {
        self.groups.iter().find(|g| g.workload == workload && g.placement == placement)
    }

    /// Short name for headings: `host, kernel 6.18.5`.
    pub fn title(&self) -> String {
        let kernel = &self.record.environment.kernel;
        let kernel = if kernel.is_empty() { "unknown" } else { kernel };
        match self.record.executor {
            Executor::Host => format!("Host, kernel {kernel}"),
            Executor::Vm => format!("Virtual machine, kernel {kernel}"),
        }
    }
}

impl Group {
    /// `TCP_RR, 1 core`.
    pub fn title(&self) -> String {
        format!("{}, {}", self.workload, self.placement)
    }

    /// The row of a subject.
    pub fn row(&self, subject: &str) -> Option<&Row> {
        self.rows.iter().find(|r| r.subject == subject)
    }
}

impl Row {
    /// The name, with the word that an emulation must carry.
    pub fn label(&self) -> String {
        if self.emulation { format!("{} (emulation)", self.subject) } else { self.subject.clone() }
    }

    /// The figures, if there are any.
    pub fn figures(&self) -> Option<&Figures> {
        self.outcome.as_ref().ok()
    }
}

/// Workloads and placements of a record: those of the plan, then any that only cells have.
fn places(record: &RunRecord) -> Vec<(WorkloadKind, Placement)> {
    let planned = record.plan.phases.iter().map(|p| (p.workload.kind, p.placement));
    let mut places = Vec::new();
    for place in planned.chain(record.cells.iter().map(|c| (c.workload, c.placement))) {
        if !places.contains(&place) {
            places.push(place);
        }
    }
    places
}

/// Names of all subjects of a record: the plan's, then any that only other parts name.
pub fn subjects(record: &RunRecord) -> Vec<&str> {
    let planned = record.plan.subjects.iter();
    let others = record.subjects.iter().map(|s| &s.name).chain(record.not_run.iter().map(|n| &n.subject));
    let mut names: Vec<&str> = Vec::new();
    for name in planned.chain(others).chain(record.cells.iter().map(|c| &c.subject)) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names
}

fn group(record: &RunRecord, workload: WorkloadKind, placement: Placement) -> Group {
    let place = Place { run: record, workload, placement };
    let phase = record.plan.phases.iter().find(|p| p.workload.kind == workload && p.placement == placement);
    let spec = phase.map(|p| p.workload.clone());
    let noise =
        estimate(&place.ratios(BASELINE_AGAIN, BASELINE, slice_cost)).map(|ratio| NoiseFloor { ratio });
    let mut rows: Vec<Row> = subjects(record)
        .into_iter()
        .filter(|subject| takes_part(record, subject, workload))
        .map(|subject| row(&place, spec.as_ref(), subject))
        .collect();
    rank(&mut rows, noise.map_or(0.0, |n| n.band()));
    Group { workload, placement, spec, noise, rows }
}

/// Whether a subject is for this traffic at all. Of one that could not be built the record does not say.
fn takes_part(record: &RunRecord, subject: &str, workload: WorkloadKind) -> bool {
    record.subjects.iter().find(|s| s.name == subject).is_none_or(|s| s.workloads.contains(&workload))
}

fn row(place: &Place<'_>, spec: Option<&WorkloadSpec>, subject: &str) -> Row {
    let emulation = place.run.subjects.iter().any(|s| s.name == subject && s.emulation);
    let outcome = place
        .cell(subject)
        .and_then(|cell| figures(place, spec, cell))
        .ok_or_else(|| why_missing(place.run, subject));
    Row { subject: subject.to_owned(), emulation, outcome }
}

fn why_missing(run: &RunRecord, subject: &str) -> String {
    if let Some(not_run) = run.not_run.iter().find(|n| n.subject == subject) {
        not_run.reason.clone()
    } else if run.interrupted {
        "the run was interrupted before it was measured".to_owned()
    } else {
        "the record holds no samples of it".to_owned()
    }
}

fn figures(place: &Place<'_>, spec: Option<&WorkloadSpec>, cell: &Cell) -> Option<Figures> {
    let used: Vec<&Slice> =
        cell.slices.iter().filter(|s| time_per_transaction(cell.workload, s).is_some()).collect();
    let spread =
        |figure: &dyn Fn(&Slice) -> f64| Spread::of(&used.iter().map(|s| figure(s)).collect::<Vec<_>>());
    let transactions: f64 = used.iter().map(|s| f64::from(s.transactions)).sum();
    let block = spec
        .filter(|s| s.kind == WorkloadKind::TcpStream && s.request_bytes > 0)
        .map(|s| f64::from(s.request_bytes));
    let per_second = |s: &Slice| f64::from(s.transactions) * 1e9 / s.elapsed_ns as f64;
    let cpu_s = |s: &Slice| s.cpu_ns as f64 / 1e9 / f64::from(s.transactions);
    Some(Figures {
        ratio: estimate(&place.ratios(&cell.subject, BASELINE, slice_cost)),
        ratio_p10: place.p10_ratio(&cell.subject, BASELINE, slice_cost),
        rank: None,
        p50: spread(&|s| s.p50_ns as f64)?,
        latency: latency(cell),
        rate: spread(&per_second)?,
        gbit_s: block.and_then(|bytes| spread(&|s| per_second(s) * bytes * 8.0 / 1e9)),
        cpu_us: spread(&|s| cpu_s(s) * 1e6)?,
        cpu_s_per_gib: block.and_then(|bytes| spread(&|s| cpu_s(s) * BYTES_PER_GIB / bytes)),
        context_switches: cell.context_switches as f64 / transactions,
        retransmits: cell.retransmits,
        lost: cell.lost,
        slices: used.len(),
    })
}

fn rank(rows: &mut [Row], noise: f64) {
    let intervals: Vec<Interval> =
        rows.iter().filter_map(|r| Some(r.figures()?.ratio?.interval.widened(noise))).collect();
    let ranked = rows.iter_mut().filter_map(|r| r.outcome.as_mut().ok()).filter(|f| f.ratio.is_some());
    for (figures, rank) in ranked.zip(ranks(&intervals)) {
        figures.rank = Some(rank);
    }
}

fn self_check(record: &RunRecord) -> Vec<(WorkloadKind, Estimate)> {
    let ratios = |kind| -> Vec<f64> {
        let pairs = record.self_check.pairs.iter().filter(|p| p.workload == kind);
        pairs.map(|p| p.ours_ns / p.netperf_ns).filter(|r| r.is_finite() && *r > 0.0).collect()
    };
    WorkloadKind::ALL.into_iter().filter_map(|kind| Some((kind, estimate(&ratios(kind))?))).collect()
}
