// SPDX-License-Identifier: Apache-2.0
//! The regression gate: a run's paired ratios against the committed baseline of its class.

use std::path::Path;

use netns_lab::plan::{Placement, WorkloadKind};
use netns_lab::record::RunRecord;

use crate::analysis::RunAnalysis;
use crate::baseline::{Baseline, BaselineEntry, GatedRatio, ratios, tolerance};
use crate::files::FileError;
use crate::identity::Identity;

/// A comparison that was refused.
#[derive(Debug, thiserror::Error)]
pub enum GateError {
    /// The baseline is of another class of environment.
    #[error(
        "baseline `{class}` is not for this environment: {differences}; gate with the baseline of this class, or make one with --update-baseline"
    )]
    OtherEnvironment {
        /// The baseline's class.
        class: String,
        /// What differs.
        differences: String,
    },
    /// The run was stopped early.
    #[error("the run was interrupted: let it finish before it is gated or made a baseline")]
    Interrupted,
    /// The run has no paired ratio at all.
    #[error(
        "the run holds no ratio: `routed` and at least one other subject must be measured in the same rounds"
    )]
    NoRatios,
    /// The run was slowed on purpose.
    #[error("`{subject}` was slowed on purpose: run without the handicap to make a baseline")]
    Handicapped {
        /// The subject.
        subject: String,
    },
    /// The baseline could not be read or written.
    #[error(transparent)]
    File(#[from] FileError),
}

/// What the gate says of one subject under one workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Within the band.
    Unchanged,
    /// Better than the baseline by more than the band: passes.
    Faster,
    /// Worse than the baseline by more than the band: fails.
    Slower,
    /// In the baseline, without figures now: fails. With the reason.
    Missing(String),
    /// Not in the baseline: passes.
    New,
}

/// One line of the gate's table.
#[derive(Clone, Debug, PartialEq)]
pub struct GateRow {
    /// The subject.
    pub subject: String,
    /// The workload.
    pub workload: WorkloadKind,
    /// Cores of the placement.
    pub cores: u8,
    /// The baseline's ratio.
    pub baseline: Option<f64>,
    /// This run's ratio.
    pub now: Option<f64>,
    /// This run's ratio divided by the baseline's, less 1.
    pub change: Option<f64>,
    /// The band that applied, a fraction of 1.
    pub band: Option<f64>,
    /// The verdict.
    pub verdict: Verdict,
}

/// The gate's answer; its `Display` is the table for people.
#[derive(Clone, Debug, PartialEq)]
pub struct GateOutcome {
    /// The baseline's class.
    pub class: String,
    /// One per subject, workload and placement of the baseline, then what is new.
    pub rows: Vec<GateRow>,
    /// How the environment differs from the baseline's; bands are doubled when there is any.
    pub warnings: Vec<String>,
}

impl GateOutcome {
    /// No subject is slower than the baseline and none is missing.
    pub fn passed(&self) -> bool {
        !self.rows.iter().any(|r| matches!(r.verdict, Verdict::Slower | Verdict::Missing(_)))
    }
}

/// Compares `run` with `baseline`.
///
/// # Errors
/// When the two cannot be compared: another environment, an interrupted run, a run without ratios.
pub fn gate(run: &RunRecord, baseline: &Baseline) -> Result<GateOutcome, GateError> {
    let differences = baseline.identity.differences(&Identity::of(run));
    if !differences.hard.is_empty() {
        return Err(GateError::OtherEnvironment {
            class: baseline.class.clone(),
            differences: differences.hard.join("; "),
        });
    }
    if run.interrupted {
        return Err(GateError::Interrupted);
    }
    let analysis = RunAnalysis::of(run);
    let now = ratios(&analysis);
    if now.is_empty() {
        return Err(GateError::NoRatios);
    }
    let factor = if differences.soft.is_empty() { 1.0 } else { 2.0 };
    let mut rows: Vec<GateRow> =
        baseline.entries.iter().map(|e| compare(&analysis, &now, e, factor)).collect();
    let known = |r: &&GatedRatio| baseline.entries.iter().any(|e| same(e, r));
    rows.extend(now.iter().filter(|r| !known(r)).map(new_row));
    Ok(GateOutcome { class: baseline.class.clone(), rows, warnings: differences.soft })
}

/// Makes `run` the baseline at `path`, whose file stem becomes the class.
///
/// # Errors
/// As [`Baseline::from_run`] and [`Baseline::write`].
pub fn update_baseline(run: &RunRecord, path: &Path) -> Result<Baseline, GateError> {
    let class = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let baseline = Baseline::from_run(&class, run)?;
    baseline.write(path)?;
    Ok(baseline)
}

fn same(entry: &BaselineEntry, ratio: &GatedRatio) -> bool {
    entry.subject == ratio.subject
        && entry.workload == ratio.workload
        && entry.cores == ratio.placement.cores()
}

fn compare(run: &RunAnalysis<'_>, now: &[GatedRatio], entry: &BaselineEntry, factor: f64) -> GateRow {
    let mut row = GateRow {
        subject: entry.subject.clone(),
        workload: entry.workload,
        cores: entry.cores,
        baseline: Some(entry.ratio),
        now: None,
        change: None,
        band: None,
        verdict: Verdict::Unchanged,
    };
    let Some(found) = now.iter().find(|r| same(entry, r)) else {
        row.verdict = Verdict::Missing(why_missing(run, entry));
        return row;
    };
    let band = tolerance(run.record.clock, entry, found) * factor;
    let change = found.ratio.median / entry.ratio - 1.0;
    (row.now, row.change, row.band) = (Some(found.ratio.median), Some(change), Some(band));
    row.verdict = match change {
        c if c > band => Verdict::Slower,
        c if c < -band => Verdict::Faster,
        _ => Verdict::Unchanged,
    };
    row
}

fn why_missing(run: &RunAnalysis<'_>, entry: &BaselineEntry) -> String {
    let placement = if entry.cores == 1 { Placement::OneCore } else { Placement::TwoCores };
    match run.group(entry.workload, placement).and_then(|g| g.row(&entry.subject)).map(|r| &r.outcome) {
        Some(Err(reason)) => reason.clone(),
        Some(Ok(_)) => "it has no ratio to `routed`".to_owned(),
        None => "it is not in the plan".to_owned(),
    }
}

fn new_row(ratio: &GatedRatio) -> GateRow {
    GateRow {
        subject: ratio.subject.clone(),
        workload: ratio.workload,
        cores: ratio.placement.cores(),
        baseline: None,
        now: Some(ratio.ratio.median),
        change: None,
        band: None,
        verdict: Verdict::New,
    }
}
