// SPDX-License-Identifier: Apache-2.0
//! The committed figures that a gate compares with: `reports/baselines/<class>.json`.

use std::collections::BTreeSet;
use std::path::Path;

use netns_lab::plan::{BASELINE, BASELINE_AGAIN, Placement, WorkloadKind};
use netns_lab::probe::Capability;
use netns_lab::record::{Clock, RunRecord};
use netns_lab::subject;
use serde::{Deserialize, Serialize};

use crate::analysis::{Group, RunAnalysis};
use crate::files::{FileError, read_json, write_atomically};
use crate::gate::GateError;
use crate::identity::Identity;
use crate::statistics::Estimate;

/// Version of the baseline's file format.
pub const BASELINE_SCHEMA: u32 = 1;

/// The band of one round trip through our agent's programs, in virtual time.
const RR_WITH_MAPS: f64 = 0.02;
/// The band of a connection through them.
const CRR_WITH_MAPS: f64 = 0.03;

/// Ratios of one class of environment, for example `vm-6.12-virtual`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Baseline {
    /// [`BASELINE_SCHEMA`].
    pub schema: u32,
    /// The class: the file's name without `.json`.
    pub class: String,
    /// What it is valid for.
    pub identity: Identity,
    /// One per subject, workload and placement.
    pub entries: Vec<BaselineEntry>,
}

/// One ratio of a baseline.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineEntry {
    /// The subject.
    pub subject: String,
    /// The workload.
    pub workload: WorkloadKind,
    /// Cores of the placement.
    pub cores: u8,
    /// Time per transaction relative to `routed`.
    pub ratio: f64,
    /// Lower end of its 95 % interval.
    pub ci_low: f64,
    /// Upper end of its 95 % interval.
    pub ci_high: f64,
    /// Changes below this fraction of 1 are noise, even if the intervals say more.
    pub noise_band: f64,
}

impl Baseline {
    /// Reads and checks a baseline.
    ///
    /// # Errors
    /// When it cannot be read, or a field is missing, unknown or impossible; the error names it.
    pub fn read(path: &Path) -> Result<Self, FileError> {
        let baseline: Self = read_json(path)?;
        if baseline.schema != BASELINE_SCHEMA {
            return Err(FileError::Schema {
                path: path.to_owned(),
                found: baseline.schema,
                expected: BASELINE_SCHEMA,
            });
        }
        match baseline.impossible() {
            Some((field, reason)) => Err(FileError::Malformed { path: path.to_owned(), field, reason }),
            None => Ok(baseline),
        }
    }

    /// Writes it, whole or not at all.
    ///
    /// # Errors
    /// [`FileError::Write`].
    pub fn write(&self, path: &Path) -> Result<(), FileError> {
        let failed =
            |source: serde_json::Error| FileError::Write { path: path.to_owned(), source: source.into() };
        let mut json = serde_json::to_vec_pretty(self).map_err(failed)?;
        json.push(b'\n');
        write_atomically(path, &json)
    }

    /// A baseline of what `run` measured.
    ///
    /// # Errors
    /// When the run was interrupted or slowed on purpose, or holds no ratio.
    pub fn from_run(class: &str, run: &RunRecord) -> Result<Self, GateError> {
        if run.interrupted {
            return Err(GateError::Interrupted);
        }
        if let Some(handicap) = &run.plan.handicap {
            return Err(GateError::Handicapped { subject: handicap.subject.clone() });
        }
        let entries: Vec<BaselineEntry> = ratios(&RunAnalysis::of(run))
            .into_iter()
            .map(|r| BaselineEntry {
                subject: r.subject,
                workload: r.workload,
                cores: r.placement.cores(),
                ratio: r.ratio.median,
                ci_low: r.ratio.interval.low,
                ci_high: r.ratio.interval.high,
                noise_band: r.band,
            })
            .collect();
        if entries.is_empty() {
            return Err(GateError::NoRatios);
        }
        Ok(Self { schema: BASELINE_SCHEMA, class: class.to_owned(), identity: Identity::of(run), entries })
    }

    /// The first field whose value cannot be.
    fn impossible(&self) -> Option<(String, String)> {
        let mut seen = BTreeSet::new();
        for (index, e) in self.entries.iter().enumerate() {
            let wrong =
                |field: &str, reason: &str| Some((format!("entries[{index}].{field}"), reason.to_owned()));
            if !(e.ratio.is_finite() && e.ratio > 0.0) {
                return wrong("ratio", "must be above 0");
            }
            if !(e.ci_low > 0.0 && e.ci_low <= e.ratio) {
                return wrong("ci_low", "must be above 0 and not above `ratio`");
            }
            if !(e.ci_high.is_finite() && e.ci_high >= e.ratio) {
                return wrong("ci_high", "must not be below `ratio`");
            }
            if !(0.0..1.0).contains(&e.noise_band) {
                return wrong("noise_band", "must be at least 0 and below 1");
            }
            if !matches!(e.cores, 1 | 2) {
                return wrong("cores", "must be 1 or 2");
            }
            if !seen.insert((&e.subject, e.workload.name(), e.cores)) {
                return wrong("subject", "is there twice with the same workload and cores");
            }
        }
        self.entries.is_empty().then(|| ("entries".to_owned(), "must not be empty".to_owned()))
    }
}

/// A ratio that takes part in gating.
#[derive(Clone, Debug)]
pub(crate) struct GatedRatio {
    pub subject: String,
    pub workload: WorkloadKind,
    pub placement: Placement,
    pub ratio: Estimate,
    pub band: f64,
    pub floor: f64,
}

/// All ratios of a run but those of the A/A pair, which are 1 by construction.
pub(crate) fn ratios(run: &RunAnalysis<'_>) -> Vec<GatedRatio> {
    let clock = run.record.clock;
    run.groups
        .iter()
        .flat_map(|group| {
            group.rows.iter().filter(|r| r.subject != BASELINE && r.subject != BASELINE_AGAIN).filter_map(
                move |row| {
                    let ratio = row.figures()?.ratio?;
                    Some(GatedRatio {
                        subject: row.subject.clone(),
                        workload: group.workload,
                        placement: group.placement,
                        ratio,
                        band: band(clock, group, &row.subject),
                        floor: group.noise.map_or(0.0, |n| n.band()),
                    })
                },
            )
        })
        .collect()
}

/// What is noise whatever the interval of a ratio says, a fraction of 1.
///
/// In virtual time, what was seen between runs that differ only in their seed, rounded up: 0.5 % (RR), 2 % (CRR), 3 % (stream);
/// more where our agent's programs are in the path, which change from build to build (ADR 2). In wall time no less than that, nor than the A/A floor: two instances
/// of one topology differ by it.
fn band(clock: Clock, group: &Group, subject: &str) -> f64 {
    let least = match (group.workload, has_maps(subject)) {
        (WorkloadKind::TcpRr | WorkloadKind::UdpRr, false) => 0.005,
        (WorkloadKind::TcpRr | WorkloadKind::UdpRr, true) => RR_WITH_MAPS,
        (WorkloadKind::TcpCrr, false) => 0.02,
        (WorkloadKind::TcpCrr, true) => CRR_WITH_MAPS,
        (WorkloadKind::TcpStream, _) => 0.03,
    };
    match clock {
        Clock::Virtual => least,
        // A band of 1 or more would let everything pass, and is what no committed baseline may hold.
        Clock::Wall => f64::max(least, group.noise.map_or(0.0, |n| n.band())).min(0.99),
    }
}

/// Whether our agent's programs, and so its maps, are in the path.
fn has_maps(subject: &str) -> bool {
    subject::find(subject).is_ok_and(|spec| spec.needs.contains(&Capability::Agent))
}

/// The change that a ratio may show before the gate calls it one, a fraction of 1.
///
/// In virtual time the band alone. In wall time no less than the A/A floor and the half widths of both intervals together: below that
/// the intervals overlap, and of the dozens of rows of a run some always would.
pub(crate) fn tolerance(clock: Clock, then: &BaselineEntry, now: &GatedRatio) -> f64 {
    let band = then.noise_band.max(now.band);
    match clock {
        Clock::Virtual => band,
        Clock::Wall => {
            let half_then = (then.ci_high - then.ci_low) / 2.0 / then.ratio;
            let half_now = now.ratio.interval.half_width() / now.ratio.median;
            band.max(now.floor + half_then + half_now)
        }
    }
}
