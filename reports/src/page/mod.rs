// SPDX-License-Identifier: Apache-2.0
//! `report.html`: one page that needs no other file, no script and no network.

mod drawings;
mod glance;
mod tables;

use std::fmt::Write;

use crate::analysis::{Analysis, Group, RunAnalysis};
use crate::charts::{ChartError, announcement};
use crate::{announcement as published, figures, wording};

const STYLE: &str = include_str!("style.css");

/// Text as it may stand in HTML, in an element or an attribute; control characters become spaces.
pub fn escape(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

/// Renders the page.
///
/// # Errors
/// When a chart cannot be drawn.
pub fn render(analysis: &Analysis<'_>) -> Result<String, ChartError> {
    let mut out = String::new();
    header(&mut out, analysis);
    for (index, run) in analysis.runs.iter().enumerate() {
        section(&mut out, index, run)?;
    }
    announcement_section(&mut out, analysis)?;
    out.push_str("</body>\n</html>\n");
    Ok(out)
}

fn header(out: &mut String, analysis: &Analysis<'_>) {
    let samples = analysis.samples;
    let _ = write!(
        out,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>Container datapaths measured</title>\n<style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Container datapaths measured</h1>\n<p class=\"muted\">{}</p>\n",
        figures::utc(samples.started_unix_s)
    );
    if analysis.partial() {
        out.push_str("<p class=\"problems partial\">PARTIAL: this run was interrupted. What is here is valid, some is missing.</p>\n");
    }
    glance::compared(out, analysis);
    if !analysis.problems.is_empty() {
        out.push_str("<div class=\"problems\"><strong>Notes on these samples</strong><ul>\n");
        for problem in &analysis.problems {
            let _ = writeln!(out, "<li>{}</li>", code(problem));
        }
        out.push_str("</ul></div>\n");
    }
    glance::ranking(out, analysis);
    out.push_str("<h3>How to read this page</h3>\n");
    paragraph(out, &code(&wording::ratio()));
    paragraph(out, &code(wording::EMULATION));
    paragraph(out, "Every number here comes from <code>samples.json</code> by this command:");
    let command: Vec<String> = samples.command.lines().map(escape).collect();
    let _ = writeln!(out, "<pre>{}</pre>", command.join("\n"));
    out.push_str("<nav><ul>\n");
    for (index, run) in analysis.runs.iter().enumerate() {
        let _ = writeln!(out, "<li><a href=\"#run-{index}\">{}</a></li>", escape(&run.title()));
    }
    out.push_str(
        "<li><a href=\"#announcement\">The announcement’s charts drawn again</a></li>\n</ul></nav>\n",
    );
}

fn section(out: &mut String, index: usize, run: &RunAnalysis<'_>) -> Result<(), ChartError> {
    let _ = writeln!(out, "<h2 id=\"run-{index}\">{}</h2>", escape(&run.title()));
    paragraph(out, &escape(wording::clock(run.record)));
    out.push_str("<h3>All ratios</h3>\n");
    tables::verdict(out, run);
    for line in wording::self_check(run) {
        paragraph(out, &code(&line));
    }
    drawings::of_run(out, run)?;
    out.push_str("<h3>All figures</h3>\n");
    for group in &run.groups {
        figures_of(out, group);
    }
    tables::agent(out, run);
    tables::goals(out, run);
    out.push_str("<h3>Subjects</h3>\n");
    tables::subjects(out, run);
    out.push_str("<h3>Environment</h3>\n");
    tables::environment(out, run);
    Ok(())
}

fn figures_of(out: &mut String, group: &Group) {
    let _ = writeln!(out, "<h3>{}</h3>", escape(&group.title()));
    let facts = [wording::traffic(group), wording::slices(group), wording::noise(group)].join(" ");
    let _ = writeln!(out, "<p class=\"muted\">{}</p>", code(&facts));
    tables::figures(out, group);
}

fn announcement_section(out: &mut String, analysis: &Analysis<'_>) -> Result<(), ChartError> {
    out.push_str("<h2 id=\"announcement\">The announcement’s charts drawn again</h2>\n");
    let _ = writeln!(
        out,
        "<p>Source of the published numbers: {}. Its machine, kernel and generator were others, so only ratios are shown: each \
         published bar relative to the chart’s reference bar, and beside it the same ratio between our counterparts, measured in one \
         executor, client and server on one core. A counterpart imitates the configuration; it is not that product. The \
         counterpart of IPVLAN L3 is for now the kernel’s plain ipvlan, without a BPF program. Our round trip, minimum, rate and \
         throughput are paired slice by slice, with a 95 % interval; mean and 99th percentile are of the whole run, without one. \
         Beside each bar: the ratio, then the published number in parentheses or our 95 % interval in brackets. Hatched: emulation.</p>",
        escape(published::SOURCE)
    );
    let mut without = Vec::new();
    for chart in &published::CHARTS {
        let Some(redrawn) = announcement::draw(chart, &analysis.runs)? else {
            without.push(chart);
            continue;
        };
        let _ = writeln!(out, "<h3>{} <span class=\"muted\">{}.png</span></h3>", chart.title, chart.file);
        figure(out, &redrawn.svg, &redrawn.caption);
    }
    if !without.is_empty() {
        tables::published_only(out, &without);
    }
    Ok(())
}

fn figure(out: &mut String, svg: &str, caption: &str) {
    let _ = writeln!(out, "<figure>\n{svg}<figcaption>{}</figcaption>\n</figure>", code(caption));
}

fn paragraph(out: &mut String, html: &str) {
    let _ = writeln!(out, "<p>{html}</p>");
}

/// Escaped text in which `…` becomes a code element.
fn code(raw: &str) -> String {
    let mut out = String::new();
    let parts: Vec<&str> = raw.split('`').collect();
    for (index, part) in parts.iter().enumerate() {
        let inside = index % 2 == 1 && index + 1 < parts.len();
        let text = escape(part);
        match (inside, index % 2 == 1) {
            (true, _) => {
                let _ = write!(out, "<code>{text}</code>");
            }
            // A lone backtick stays what it is.
            (false, true) => {
                let _ = write!(out, "`{text}");
            }
            (false, false) => out.push_str(&text),
        }
    }
    out
}
