// SPDX-License-Identifier: Apache-2.0
//! The announcement's charts drawn again: published ratios beside ours, a series of bars per executor. A ratio never mixes two.

use netns_lab::plan::Placement;
use netns_lab::record::{Clock, Executor};
use plotters::style::RGBColor;

use super::ChartError;
use super::canvas::PALETTE;
use super::panels::{Bar, Mark, Panel, PanelChart, RowLabel};
use crate::analysis::RunAnalysis;
use crate::announcement::{Configuration, Metric, PublishedChart};
use crate::figures;
use crate::latency::latency;
use crate::pairing::{Place, fastest, time_per_transaction};
use crate::statistics::estimate;

/// A chart and what must be said under it.
#[derive(Clone, Debug)]
pub struct Redrawn {
    /// The `<svg>` element.
    pub svg: String,
    /// Which run is shown, or why none is.
    pub caption: String,
}

/// Draws one of the announcement's charts with the counterparts that `runs` measured; `None` where no run measured the
/// counterpart of the reference bar, so that there is nothing of ours to draw.
///
/// # Errors
/// When the backend refuses an element.
pub fn draw(chart: &PublishedChart, runs: &[RunAnalysis<'_>]) -> Result<Option<Redrawn>, ChartError> {
    let shown: Vec<&RunAnalysis<'_>> =
        runs.iter().filter(|run| measured(chart, run, &chart.reference)).collect();
    if shown.is_empty() {
        return Ok(None);
    }
    let panels = chart.metrics().iter().map(|metric| panel(chart, *metric, &shown)).collect();
    let published = ("published 2019 (no spread was published)".to_owned(), PUBLISHED);
    let ours = shown.iter().zip(PALETTE.iter().cycle()).map(|(run, color)| (run.title(), *color));
    let drawing = PanelChart {
        title: format!("{} ({}.png)", chart.title, chart.file),
        rows: chart.bars.iter().map(|b| label(chart, b, &shown, runs)).collect(),
        panels,
        origin: 0.0,
        reference: Some(1.0),
        series: [published].into_iter().chain(ours).collect(),
        numbers: if chart.metrics().len() > 1 { 104.0 } else { 170.0 },
    };
    Ok(Some(Redrawn { svg: drawing.draw()?, caption: caption(chart, &shown) }))
}

/// Lighter than any colour of ours, so that it is told apart without colours too.
const PUBLISHED: RGBColor = RGBColor(165, 165, 165);

fn label(
    chart: &PublishedChart,
    bar: &Configuration,
    shown: &[&RunAnalysis<'_>],
    runs: &[RunAnalysis<'_>],
) -> RowLabel {
    let emulation = |run: &&RunAnalysis<'_>| run.info(chart.counterpart(bar)).is_some_and(|i| i.emulation);
    let has_ratio = shown.iter().any(|run| measured(chart, run, bar));
    RowLabel {
        name: bar.name.to_owned(),
        note: (!has_ratio).then(|| why_not(chart, bar, runs)),
        hatched: shown.iter().any(emulation),
    }
}

fn place<'a>(chart: &PublishedChart, run: &RunAnalysis<'a>) -> Place<'a> {
    Place { run: run.record, workload: chart.workload, placement: Placement::OneCore }
}

fn measured(chart: &PublishedChart, run: &RunAnalysis<'_>, bar: &Configuration) -> bool {
    let group = run.group(chart.workload, Placement::OneCore);
    group.and_then(|g| g.row(chart.counterpart(bar))).is_some_and(|row| row.figures().is_some())
}

fn panel(chart: &PublishedChart, metric: Metric, shown: &[&RunAnalysis<'_>]) -> Panel {
    let row = |bar: &Configuration| {
        let ours = shown.iter().map(|run| our_ratio(chart, metric, run, bar).unwrap_or(Mark::Empty));
        [published(chart, metric, bar)].into_iter().chain(ours).collect()
    };
    let marks = chart.bars.iter().map(row).collect();
    let better = if metric.lower_is_better() { "below 1 is faster" } else { "above 1 is faster" };
    let axis = format!("ratio, no unit; {better}");
    // What the numbers are says the text above all charts: there is no room for it in a quarter of a chart.
    Panel { title: metric.title().to_owned(), axis, numbers: String::new(), marks }
}

fn published(chart: &PublishedChart, metric: Metric, bar: &Configuration) -> Mark {
    let reference = chart.published(&chart.reference, metric);
    let (Some(value), Some(reference)) = (chart.published(bar, metric), reference) else {
        return Mark::Note("not published".to_owned());
    };
    let ratio = value / reference;
    let text = format!("{ratio:.2} ({} {})", figures::number(value), metric.unit());
    Mark::Bar(Bar { value: ratio, interval: None, text })
}

/// Our ratio to the counterpart of the reference bar. Round trip, minimum, rate and throughput are paired slice by slice; mean and p99 are of
/// the whole run's histograms, which know no pairs, so they come without interval.
fn our_ratio(
    chart: &PublishedChart,
    metric: Metric,
    run: &RunAnalysis<'_>,
    bar: &Configuration,
) -> Option<Mark> {
    let (subject, reference) = (chart.counterpart(bar), chart.counterpart(&chart.reference));
    let place = place(chart, run);
    if subject == reference {
        place.cell(subject)?;
        return Some(Mark::Bar(Bar { value: 1.0, interval: None, text: "1 (reference)".to_owned() }));
    }
    let of_histogram = |figure: fn(&crate::latency::Latency) -> f64| {
        let value = figure(&latency(place.cell(subject)?)?) / figure(&latency(place.cell(reference)?)?);
        value.is_finite().then(|| Bar { value, interval: None, text: format!("{value:.2} (no interval)") })
    };
    let paired = |ratios: Vec<f64>| {
        let e = estimate(&ratios)?;
        let (low, high) = (e.interval.low, e.interval.high);
        // A quarter of a chart has no room for a third digit.
        let digits = if chart.metrics().len() > 1 { 2 } else { 3 };
        let text = format!("{:.digits$} [{low:.digits$}, {high:.digits$}]", e.median);
        Some(Bar { value: e.median, interval: Some((low, high)), text })
    };
    let times = || place.ratios(subject, reference, time_per_transaction);
    let bar = match metric {
        Metric::RoundTrip => paired(times()),
        Metric::Rate | Metric::Throughput => paired(times().into_iter().map(|r| 1.0 / r).collect()),
        Metric::Min => paired(place.ratios(subject, reference, fastest)),
        Metric::Mean => of_histogram(|l| l.mean),
        Metric::P99 => of_histogram(|l| l.p99),
    };
    bar.map(Mark::Bar)
}

/// What ran the counterpart, with its clock where that is not time.
fn executor(run: &RunAnalysis<'_>) -> &'static str {
    match (run.record.executor, run.record.clock) {
        (Executor::Host, _) => "host",
        (Executor::Vm, Clock::Wall) => "virtual machine",
        (Executor::Vm, Clock::Virtual) => "virtual machine in virtual time",
    }
}

fn why_not(chart: &PublishedChart, bar: &Configuration, runs: &[RunAnalysis<'_>]) -> String {
    let subject = chart.counterpart(bar);
    if runs.iter().any(|run| measured(chart, run, bar)) {
        format!("{subject}: no ratio, see caption")
    } else {
        format!("not measured: needs {subject}")
    }
}

fn caption(chart: &PublishedChart, shown: &[&RunAnalysis<'_>]) -> String {
    let reference =
        format!("{} = 1 (counterpart `{}`)", chart.reference.name, chart.counterpart(&chart.reference));
    let pairs = chart.bars.iter().filter_map(|b| {
        let subject = chart.counterpart(b);
        let on: Vec<&&RunAnalysis<'_>> = shown.iter().filter(|run| measured(chart, run, b)).collect();
        let emulation = on.first()?.info(subject).is_some_and(|i| i.emulation);
        let mark = if emulation { " (emulation)" } else { "" };
        let executors: Vec<&str> = on.iter().map(|run| executor(run)).collect();
        Some(format!("{} → {subject}{mark}, {}", b.name, executors.join(" and ")))
    });
    let pairs: Vec<String> = pairs.collect();
    format!(
        "Reference bar: {reference}. Measured at 1 core, each executor relative to its own reference: {}.",
        pairs.join("; ")
    )
}
