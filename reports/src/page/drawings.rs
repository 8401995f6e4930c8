// SPDX-License-Identifier: Apache-2.0
//! The charts of one run: ratios, absolute figures, percentile curves, cost against size.

use std::collections::BTreeMap;
use std::fmt::Write;

use netns_lab::plan::{BASELINE, WorkloadKind};
use netns_lab::record::Clock;

use super::figure;
use crate::analysis::{Figures, Group, RunAnalysis, subjects};
use crate::charts::ChartError;
use crate::charts::panels::{Bar, Mark, Panel, PanelChart, RowLabel};
use crate::charts::percentiles::{self, Curve};
use crate::charts::scale::{self, ScaleLine, ScalePanel};
use crate::figures::{number, spread};
use crate::pairing::Place;
use crate::statistics::Spread;

/// Writes all charts of a run.
///
/// # Errors
/// When one cannot be drawn.
pub fn of_run(out: &mut String, run: &RunAnalysis<'_>) -> Result<(), ChartError> {
    for workload in WorkloadKind::ALL {
        let groups: Vec<&Group> = run.groups.iter().filter(|g| g.workload == workload).collect();
        if groups.iter().all(|g| g.rows.iter().all(|r| r.outcome.is_err())) {
            if !groups.is_empty() {
                let _ = writeln!(out, "<h3>{workload}</h3>\n<p>No samples: no charts.</p>");
            }
            continue;
        }
        ratio(out, run, workload, &groups)?;
        absolute(out, run, workload, &groups)?;
        curves(out, run, workload, &groups)?;
    }
    sizes(out, run)
}

fn ratio(
    out: &mut String,
    run: &RunAnalysis<'_>,
    workload: WorkloadKind,
    groups: &[&Group],
) -> Result<(), ChartError> {
    let what = if workload == WorkloadKind::TcpStream { "time per block" } else { "latency" };
    let _ = writeln!(out, "<h3>{workload}: {what} relative to {BASELINE}</h3>");
    let axis = format!("ratio of {what} to {BASELINE}, no unit; below 1 is faster");
    let bar = |f: &Figures| {
        let e = f.ratio?;
        let (low, high) = (e.interval.low, e.interval.high);
        let text = format!("{:.3} [{low:.3}, {high:.3}]", e.median);
        Some(Bar { value: e.median, interval: Some((low, high)), text })
    };
    let svg =
        chart(run, groups, format!("{workload}: {what} relative to {BASELINE}"), &axis, 1.0, &bar).draw()?;
    figure(
        out,
        &svg,
        "Median of the paired ratios; error bars: 95 % interval. Hatched: emulation. The line is the baseline.",
    );
    Ok(())
}

fn absolute(
    out: &mut String,
    run: &RunAnalysis<'_>,
    workload: WorkloadKind,
    groups: &[&Group],
) -> Result<(), ChartError> {
    let clock = clock_name(run);
    let bars = |of: fn(&Figures) -> Option<Spread>, scale: f64| {
        move |f: &Figures| {
            let s = of(f)?;
            let interval = Some((s.p10 * scale, s.p90 * scale));
            Some(Bar { value: s.median * scale, interval, text: spread(&s, scale) })
        }
    };
    let spread_is =
        "Median over slices; error bars: 10th to 90th percentile of the slices. Hatched: emulation.";
    let (title, axis) = ("median latency of a slice", format!("µs ({clock})"));
    let _ = writeln!(out, "<h3>{workload}: {title}</h3>");
    let p50 = bars(|f| Some(f.p50), 1e-3);
    let svg = chart(run, groups, format!("{workload}: {title}"), &axis, 0.0, &p50).draw()?;
    figure(out, &svg, spread_is);
    let (title, unit) = match workload {
        WorkloadKind::TcpStream => ("throughput", "Gbit/s of payload"),
        _ => ("rate", "thousand transactions per second"),
    };
    let rate = match workload {
        WorkloadKind::TcpStream => bars(|f| f.gbit_s, 1.0),
        _ => bars(|f| Some(f.rate), 1e-3),
    };
    let _ = writeln!(out, "<h3>{workload}: {title}</h3>");
    let svg = chart(run, groups, format!("{workload}: {title}"), &format!("{unit} ({clock})"), 0.0, &rate)
        .draw()?;
    figure(out, &svg, spread_is);
    Ok(())
}

fn clock_name(run: &RunAnalysis<'_>) -> &'static str {
    match run.record.clock {
        Clock::Wall => "wall time",
        Clock::Virtual => "virtual time: 1 µs = 1000 instructions",
    }
}

/// A chart with one panel per placement and one row per subject.
fn chart(
    run: &RunAnalysis<'_>,
    groups: &[&Group],
    title: String,
    axis: &str,
    origin: f64,
    bar: &dyn Fn(&Figures) -> Option<Bar>,
) -> PanelChart {
    let names: Vec<&str> = subjects(run.record)
        .into_iter()
        .filter(|name| groups.iter().any(|g| g.row(name).is_some()))
        .collect();
    let mark = |group: &Group, name: &str| match group.row(name).map(|r| &r.outcome) {
        Some(Ok(figures)) => {
            bar(figures).map_or(Mark::Note("no figure: see the notes".to_owned()), Mark::Bar)
        }
        Some(Err(reason)) => Mark::Note(format!("not run: {reason}")),
        None => Mark::Empty,
    };
    let label = |name: &str| {
        let row = groups.iter().find_map(|g| g.row(name));
        RowLabel {
            note: None,
            name: row.map_or(name.to_owned(), |r| r.label()),
            hatched: row.is_some_and(|r| r.emulation),
        }
    };
    let panels = groups
        .iter()
        .map(|group| Panel {
            title: group.title(),
            axis: axis.to_owned(),
            numbers: if origin > 0.0 { "ratio [95 %]" } else { "median (p10–p90)" }.to_owned(),
            marks: names.iter().map(|name| vec![mark(group, name)]).collect(),
        })
        .collect();
    let rows = names.iter().map(|n| label(n)).collect();
    PanelChart { title, rows, panels, origin, reference: None, series: Vec::new(), numbers: 138.0 }
}

fn curves(
    out: &mut String,
    run: &RunAnalysis<'_>,
    workload: WorkloadKind,
    groups: &[&Group],
) -> Result<(), ChartError> {
    for group in groups {
        let place = Place { run: run.record, workload, placement: group.placement };
        let curves: Vec<Curve<'_>> = group
            .rows
            .iter()
            .filter_map(|r| Some(Curve { name: r.label(), histogram: &place.cell(&r.subject)?.histogram }))
            .collect();
        let counts = || group.rows.iter().filter_map(|r| r.figures()?.latency.as_ref()).map(|l| l.count);
        let (Some(least), Some(most)) = (counts().min(), counts().max()) else { continue };
        let title = format!("{}: latency percentiles", group.title());
        let _ = writeln!(out, "<h3>{title}</h3>");
        let svg = percentiles::draw(&title, &format!("latency, µs ({})", clock_name(run)), &curves)?;
        let counted = match (number(least as f64), number(most as f64)) {
            (least, most) if least == most => least,
            (least, most) => format!("{least} to {most}"),
        };
        let caption = format!(
            "All recorded transactions ({counted} per subject); a percentile with less than one transaction beyond it is left out. \
             The tail beyond 99 % is of the whole machine, not only of the datapath, and has no interval: do not rank by it."
        );
        figure(out, &svg, &caption);
    }
    Ok(())
}

/// A series of subjects: its name, and its points by count.
type Series<'a> = (&'a str, Vec<(u32, &'a str)>);

/// One chart for all series that count the same thing.
fn sizes(out: &mut String, run: &RunAnalysis<'_>) -> Result<(), ChartError> {
    let mut units: BTreeMap<&str, Vec<Series<'_>>> = BTreeMap::new();
    for subject in &run.record.subjects {
        if let Some(scale) = &subject.scale {
            let all = units.entry(&scale.unit).or_default();
            let known = all.iter().position(|(name, _)| *name == scale.series);
            let index = known.unwrap_or(all.len());
            if known.is_none() {
                all.push((&scale.series, Vec::new()));
            }
            all[index].1.push((scale.count, &subject.name));
        }
    }
    for (unit, mut series) in units {
        series.iter_mut().for_each(|(_, members)| members.sort_unstable());
        let line = |group: &Group, (name, members): &Series<'_>| {
            let points: Vec<_> = members
                .iter()
                .filter_map(|(count, subject)| Some((*count, group.row(subject)?.figures()?.ratio?)))
                .collect();
            (points.len() > 1).then(|| ScaleLine { name: format!("{name}, {}", group.placement), points })
        };
        let panel = |workload: WorkloadKind| {
            let groups = run.groups.iter().filter(|g| g.workload == workload);
            let lines = groups.flat_map(|group| series.iter().filter_map(|one| line(group, one)));
            ScalePanel { title: workload.to_string(), lines: lines.collect() }
        };
        let mut panels: Vec<ScalePanel> = WorkloadKind::ALL.into_iter().map(panel).collect();
        panels.retain(|p| !p.lines.is_empty());
        if panels.is_empty() {
            continue;
        }
        let names: Vec<&str> = series.iter().map(|(name, _)| *name).collect();
        let title = format!("{}: cost against number of {unit}", names.join(", "));
        let _ = writeln!(out, "<h3>{}</h3>", super::escape(&title));
        let svg = scale::draw(&title, &format!("number of {unit}"), &panels)?;
        figure(
            out,
            &svg,
            "Time per transaction relative to `routed`, no unit; error bars: 95 % interval; the dashed black line is the baseline. \
             Each panel has its own vertical axis, which does not begin at 0.",
        );
    }
    Ok(())
}
