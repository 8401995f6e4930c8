// SPDX-License-Identifier: Apache-2.0
//! The tables of the page.

use std::fmt::Write;

use super::escape;
use crate::analysis::{Group, RunAnalysis, subjects as names};
use crate::announcement::PublishedChart;
use crate::figures::NONE;
use crate::statistics::Interval;
use crate::{agent, figures as write_figures, goals, table, wording};

/// Ratio of every subject under every workload, coloured where it differs from the baseline beyond the noise.
pub fn verdict(out: &mut String, run: &RunAnalysis<'_>) {
    out.push_str("<table>\n<tr><th class=\"name\">ratio to routed, no unit<br>[95 % interval]</th>");
    for group in &run.groups {
        let _ = write!(out, "<th>{}<br>{}</th>", group.workload, group.placement);
    }
    out.push_str("</tr>\n");
    for name in names(run.record) {
        let rows: Vec<_> = run.groups.iter().filter_map(|g| g.row(name)).collect();
        let Some(first) = rows.first() else { continue };
        let _ = write!(out, "<tr><td class=\"name\">{}</td>", escape(&first.label()));
        if let (true, Err(reason)) = (rows.iter().all(|r| r.outcome.is_err()), &first.outcome) {
            let _ = writeln!(
                out,
                "<td class=\"note\" colspan=\"{}\">not run: {}</td></tr>",
                run.groups.len(),
                escape(reason)
            );
            continue;
        }
        for group in &run.groups {
            verdict_cell(out, group, name);
        }
        out.push_str("</tr>\n");
    }
    out.push_str("<tr><td class=\"name\">noise floor (A/A)</td>");
    for group in &run.groups {
        let floor = group.noise.map_or(NONE.to_owned(), |n| write_figures::percent(n.band()));
        let _ = write!(out, "<td>{floor}</td>");
    }
    out.push_str("</tr>\n</table>\n");
    out.push_str(
        "<p class=\"muted\">Blue: faster than routed, orange: slower, where the interval widened by the noise floor does not contain 1.</p>\n",
    );
}

fn verdict_cell(out: &mut String, group: &Group, name: &str) {
    let Some(ratio) = group.row(name).and_then(|row| row.figures()).and_then(|f| f.ratio) else {
        let _ = write!(out, "<td>{NONE}</td>");
        return;
    };
    let interval = ratio.interval.widened(group.noise.map_or(0.0, |n| n.band()));
    let class = match () {
        () if interval.high < 1.0 => " class=\"faster\"",
        () if interval.low > 1.0 => " class=\"slower\"",
        () => "",
    };
    let Interval { low, high } = ratio.interval;
    let _ = write!(out, "<td{class}>{:.3}<br><small>[{low:.3}, {high:.3}]</small></td>", ratio.median);
}

/// All figures of a group.
pub fn figures(out: &mut String, group: &Group) {
    let headings = table::headings(group);
    out.push_str("<table class=\"figures\">\n<tr>");
    for heading in &headings {
        let class = if *heading == "subject" { " class=\"name\"" } else { "" };
        let _ = write!(out, "<th{class}>{}</th>", heading.replace(' ', "<br>"));
    }
    out.push_str("</tr>\n");
    for row in table::ordered(group) {
        let _ = write!(
            out,
            "<tr><td>{}</td><td class=\"name\">{}</td>",
            table::rank(row),
            escape(&row.label()).replace(" (emulation)", "<br><small>(emulation)</small>")
        );
        match &row.outcome {
            Ok(figures) => {
                for cell in table::figure_cells(group, figures) {
                    let _ = write!(out, "<td>{}</td>", with_small_spread(&cell));
                }
            }
            Err(reason) => {
                let _ = write!(
                    out,
                    "<td class=\"note\" colspan=\"{}\">not run: {}</td>",
                    headings.len() - 2,
                    escape(reason)
                );
            }
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

/// The spread goes on a line of its own, smaller.
fn with_small_spread(cell: &str) -> String {
    match cell.split_once(' ') {
        Some((figure, spread)) => format!("{}<br><small>{}</small>", escape(figure), escape(spread)),
        None => escape(cell),
    }
}

/// The environment of a run.
pub fn environment(out: &mut String, run: &RunAnalysis<'_>) {
    let mut rows = wording::environment(&run.record.environment);
    rows.push(("MTU, bytes".to_owned(), wording::mtu(run.record)));
    out.push_str("<table class=\"facts\">\n");
    for (name, value) in rows {
        let _ = writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(&name), escape(&value));
    }
    out.push_str("</table>\n");
}

/// Our agent besides packets, where that was asked for.
pub fn agent(out: &mut String, run: &RunAnalysis<'_>) {
    let Some(record) = &run.record.agent else { return };
    let (title, reading) = (escape(agent::TITLE), escape(agent::READING));
    let _ = writeln!(out, "<h3>{title}</h3>\n<p class=\"muted\">{reading}</p>\n<table class=\"facts\">");
    for (name, value) in agent::rows(record) {
        let _ = writeln!(out, "<tr><th>{}</th><td>{}</td></tr>", escape(&name), escape(&value));
    }
    out.push_str("</table>\n");
}

/// What our subjects are meant to reach, where there are any.
pub fn goals(out: &mut String, run: &RunAnalysis<'_>) {
    let rows = goals::rows(run);
    if rows.is_empty() {
        return;
    }
    let (title, reading) = (escape(goals::TITLE), super::code(goals::READING));
    let _ = writeln!(out, "<h3>{title}</h3>\n<p class=\"muted\">{reading}</p>\n<table class=\"facts\">");
    out.push_str("<tr><th>goal</th><th>measured</th><th>verdict</th></tr>\n");
    for [goal, measured, verdict] in rows.iter().map(|row| row.each_ref().map(|cell| escape(cell))) {
        let _ = writeln!(out, "<tr><th>{goal}</th><td>{measured}</td><td>{verdict}</td></tr>");
    }
    out.push_str("</table>\n");
}

/// What each subject is, or why it was not run.
pub fn subjects(out: &mut String, run: &RunAnalysis<'_>) {
    out.push_str("<table class=\"facts\">\n");
    for subject in &run.record.subjects {
        let mark = if subject.emulation { " (emulation)" } else { "" };
        let (name, description) = (escape(&subject.name), escape(&subject.description));
        let _ = writeln!(out, "<tr><th>{name}{mark}</th><td>{description}</td></tr>");
    }
    for missing in &run.record.not_run {
        let (name, reason) = (escape(&missing.subject), escape(&missing.reason));
        let _ = writeln!(out, "<tr><th>{name}</th><td>not run: {reason}</td></tr>");
    }
    out.push_str("</table>\n");
}

/// Charts of the announcement with nothing of ours to draw: what they need, and their published ratios.
pub fn published_only(out: &mut String, charts: &[&PublishedChart]) {
    out.push_str(
        "<h3>Charts without a measured reference</h3>\n<p>The counterpart of their reference bar was not measured at 1 core in any \
         run here, so there is no ratio of ours to show. Published ratios, without a unit and without a published spread:</p>\n\
         <table class=\"facts\">\n<tr><th>chart</th><th>not measured</th><th>published, relative to the reference</th></tr>\n",
    );
    for chart in charts {
        let Some(metric) = chart.metrics().first() else { continue };
        let reference = chart.published(&chart.reference, *metric);
        let ratios = chart.bars.iter().filter(|bar| bar.name != chart.reference.name).filter_map(|bar| {
            Some(format!("{} {:.2}", bar.name, chart.published(bar, *metric)? / reference?))
        });
        let ratios: Vec<String> = ratios.collect();
        let _ = writeln!(
            out,
            "<tr><td>{}<br><small>{}.png</small></td><td>{}</td><td>{}, {} = 1: {}</td></tr>",
            escape(chart.title),
            escape(chart.file),
            escape(chart.counterpart(&chart.reference)),
            escape(metric.title()),
            escape(chart.reference.name),
            escape(&ratios.join("; "))
        );
    }
    out.push_str("</table>\n");
}
