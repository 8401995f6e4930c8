// SPDX-License-Identifier: Apache-2.0
//! The short table that a bench prints when it is done: ratio of every subject under every workload.

use std::fmt::Write;

use netns_lab::record::{Clock, Samples};

use crate::analysis::{Analysis, Group, RunAnalysis, subjects};
use crate::figures::{self, NONE, one_line};

const COLUMN: usize = 13;

/// One table per run: time per transaction relative to `routed`, with the distance to the farther end of its 95 % interval.
pub fn terminal_table(samples: &Samples) -> String {
    render(&Analysis::of(samples))
}

/// The same from figures that are already there.
pub fn render(analysis: &Analysis<'_>) -> String {
    let mut out = String::new();
    for run in &analysis.runs {
        table(&mut out, run);
    }
    for problem in &analysis.problems {
        let _ = writeln!(out, "note: {}", one_line(problem));
    }
    out
}

fn table(out: &mut String, run: &RunAnalysis<'_>) {
    let clock = match run.record.clock {
        Clock::Wall => "wall time",
        Clock::Virtual => "virtual time: instructions, not comparable with the host",
    };
    let _ = writeln!(
        out,
        "{} ({clock}): time per transaction / routed, below 1 is faster",
        one_line(&run.title())
    );
    let names = subjects(run.record);
    let label = |name: &str| {
        let row = run.groups.iter().find_map(|g| g.row(name));
        one_line(&row.map_or(name.to_owned(), |r| r.label()))
    };
    let first = names.iter().map(|n| label(n).chars().count()).max().unwrap_or(0).max("noise floor".len());
    let _ = write!(out, "  {:first$}", "");
    for group in &run.groups {
        let _ = write!(out, " {:>COLUMN$}", format!("{}/{}", group.workload, group.placement.cores()));
    }
    out.push('\n');
    for name in names {
        let reason = run.groups.iter().all(|g| g.row(name).is_none_or(|r| r.figures().is_none()));
        let _ = write!(out, "  {:first$}", label(name));
        if reason {
            let why = run.groups.iter().find_map(|g| g.row(name)?.outcome.as_ref().err());
            let _ = writeln!(out, " not run: {}", one_line(why.map_or("nothing was planned", |w| w)));
            continue;
        }
        for group in &run.groups {
            let _ = write!(out, " {:>COLUMN$}", cell(group, name));
        }
        out.push('\n');
    }
    let _ = write!(out, "  {:first$}", "noise floor");
    for group in &run.groups {
        let floor = group.noise.map_or(NONE.to_owned(), |n| figures::percent(n.band()));
        let _ = write!(out, " {floor:>COLUMN$}");
    }
    out.push_str("\n\n");
}

fn cell(group: &Group, subject: &str) -> String {
    match group.row(subject).and_then(|r| r.figures()).and_then(|f| f.ratio) {
        Some(ratio) => format!("{:.3} ±{:.3}", ratio.median, ratio.reach()),
        None => NONE.to_owned(),
    }
}
