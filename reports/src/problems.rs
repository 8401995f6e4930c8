// SPDX-License-Identifier: Apache-2.0
//! What a reader must be told before the first figure: parts that are missing, or that do not fit together.

use std::collections::BTreeSet;

use netns_lab::plan::{BASELINE, BASELINE_AGAIN};
use netns_lab::record::{Cell, RunRecord, Samples};

use crate::analysis::{Group, RunAnalysis};
use crate::statistics::MIN_PAIRS;

/// All problems of `samples`, one sentence each, in the order of the runs.
pub fn of(samples: &Samples, runs: &[RunAnalysis<'_>]) -> Vec<String> {
    if samples.runs.is_empty() {
        return vec!["samples.json holds no run: there is nothing to report".to_owned()];
    }
    let mut all = Vec::new();
    for run in runs {
        let title = run.title();
        let mut found = Vec::new();
        if run.record.interrupted {
            found.push("PARTIAL: the run was interrupted; what is here is valid, some is missing".to_owned());
        }
        if let Some(handicap) = &run.record.plan.handicap {
            found.push(format!(
                "`{}` was slowed on purpose (--handicap {0}={})",
                handicap.subject, handicap.amount
            ));
        }
        found.extend(cells(run.record));
        found.extend(few_rounds(run));
        found.extend(run.groups.iter().flat_map(|g| group(run.record, g)));
        all.extend(found.into_iter().map(|problem| format!("{title}: {problem}")));
    }
    all
}

fn cells(record: &RunRecord) -> Vec<String> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for cell in &record.cells {
        let name = format!("`{}` under {}, {}", cell.subject, cell.workload, cell.placement);
        if !seen.insert((cell.subject.as_str(), cell.workload.name(), cell.placement)) {
            found.push(format!("{name} is there twice: only the first cell is reported"));
            continue;
        }
        found.extend(slices(cell).map(|problem| format!("{name}: {problem}")));
    }
    found
}

fn slices(cell: &Cell) -> Option<String> {
    let rounds: BTreeSet<u32> = cell.slices.iter().map(|s| s.round).collect();
    let empty = cell.slices.iter().filter(|s| s.transactions == 0 || s.elapsed_ns == 0).count();
    if rounds.len() < cell.slices.len() {
        Some("a round is there twice: the first slice of it is paired".to_owned())
    } else if empty > 0 {
        Some(format!("{empty} of {} slices counted no transaction and are left out", cell.slices.len()))
    } else if !cell.slices.is_empty() && cell.histogram.iter().all(|(_, n)| *n == 0) {
        Some("its latency histogram is empty: no percentiles".to_owned())
    } else if cell.histogram.windows(2).any(|w| w[0].0 >= w[1].0) {
        Some("its latency histogram is not ascending: its percentiles are wrong".to_owned())
    } else {
        None
    }
}

/// One sentence on all groups with too few rounds for an interval: which subjects they are is in the tables.
fn few_rounds(run: &RunAnalysis<'_>) -> Option<String> {
    let ratios = |g: &Group| {
        let others = g.rows.iter().filter(|r| r.subject != BASELINE);
        others.filter_map(|r| r.figures()?.ratio).collect::<Vec<_>>()
    };
    let few = |g: &&Group| ratios(g).iter().any(|ratio| ratio.pairs < MIN_PAIRS);
    let found: Vec<&Group> = run.groups.iter().filter(few).collect();
    let measured = run.groups.iter().filter(|g| !ratios(g).is_empty()).count();
    let named = match found.len() {
        0 => return None,
        n if n == measured => "all workloads".to_owned(),
        _ => found.iter().map(|g| format!("{}/{}", g.workload, g.placement)).collect::<Vec<_>>().join(", "),
    };
    let whole = found.iter().all(|g| ratios(g).iter().all(|ratio| ratio.pairs < MIN_PAIRS));
    let whose = if whole { "" } else { " of some subjects" };
    Some(format!(
        "fewer than {MIN_PAIRS} rounds{whose} in {named}: their intervals are ranges, not 95 % intervals"
    ))
}

fn group(record: &RunRecord, group: &Group) -> Vec<String> {
    let mut found = Vec::new();
    let title = group.title();
    let measured = group.rows.iter().filter_map(|r| Some((r, r.figures()?)));
    let unpaired: Vec<String> = measured
        .clone()
        .filter(|(_, f)| f.ratio.is_none())
        .map(|(r, _)| format!("`{}`", r.subject))
        .collect();
    if !unpaired.is_empty() {
        found.push(format!(
            "{title}: no ratio, because `{BASELINE}` has no slice in the same rounds: {}",
            unpaired.join(", ")
        ));
    }
    if measured.count() > 0 && group.noise.is_none() && record.plan.subjects.len() > 1 {
        found
            .push(format!("{title}: no noise floor, because the A/A pair `{BASELINE_AGAIN}` has no samples"));
    }
    if group.spec.is_none() {
        found.push(format!("{title}: the plan has no such phase, so sizes are unknown"));
    }
    found
}
