// SPDX-License-Identifier: Apache-2.0
//! The head of the page: what was compared, on what, how finely, and the order that came out.

use std::fmt::Write;

use super::{code, escape};
use crate::analysis::{Analysis, RunAnalysis};
use crate::{figures, ranking, wording};

/// One row per run: kernel, CPU, clock, subjects, noise floor.
pub fn compared(out: &mut String, analysis: &Analysis<'_>) {
    if analysis.runs.is_empty() {
        return;
    }
    out.push_str(
        "<table class=\"facts glance\">\n<tr><th>run</th><th>CPU</th><th>times are</th><th>subjects</th><th>noise floor (A/A)</th>\
         <th>state</th></tr>\n",
    );
    for (index, run) in analysis.runs.iter().enumerate() {
        let environment = &run.record.environment;
        let cells = [
            format!("{} × {}", environment.cpus, environment.cpu),
            wording::times(run.record).to_owned(),
            wording::compared(run),
            wording::floors(run),
            if run.record.interrupted { "PARTIAL: interrupted" } else { "complete" }.to_owned(),
        ];
        let _ = write!(out, "<tr><td><a href=\"#run-{index}\">{}</a></td>", escape(&run.title()));
        for cell in cells {
            let _ = write!(out, "<td>{}</td>", escape(&cell));
        }
        out.push_str("</tr>\n");
    }
    out.push_str("</table>\n");
}

/// The subjects of every group in the order of their ranks.
pub fn ranking(out: &mut String, analysis: &Analysis<'_>) {
    out.push_str("<h2>Verdict</h2>\n");
    for run in &analysis.runs {
        let _ = writeln!(out, "<h3>{}</h3>", escape(&run.title()));
        order(out, run);
    }
    let _ = writeln!(out, "<p class=\"muted\">{}</p>", code(wording::RANKING));
}

fn order(out: &mut String, run: &RunAnalysis<'_>) {
    out.push_str(
        "<table class=\"facts\">\n<tr><th>workload</th><th>noise floor</th><th>rank and ratio to routed</th></tr>\n",
    );
    for group in &run.groups {
        let floor = group.noise.map_or(figures::NONE.to_owned(), |n| figures::percent(n.band()));
        let _ = write!(out, "<tr><th>{}</th><td>{floor}</td><td>", escape(&group.title()));
        let order = ranking::order(group);
        for (rank, members) in &order {
            for (place, (row, ratio)) in members.iter().enumerate() {
                let name = escape(&row.label());
                let mark = if place == 0 { format!("<b>{rank}</b> ") } else { String::new() };
                let end = if place + 1 < members.len() { "," } else { "" };
                let spread = format!("<small>±{:.3}</small>", ratio.reach());
                let class = if end.is_empty() { "rank last" } else { "rank" };
                let _ = write!(
                    out,
                    "<span class=\"{class}\">{mark}{name} {:.3} {spread}{end}</span> ",
                    ratio.median
                );
            }
        }
        if order.is_empty() {
            out.push_str("no ratio was measured");
        } else if order.len() == 1 && order[0].1.len() > 1 {
            out.push_str("(no order: all intervals overlap)");
        }
        out.push_str("</td></tr>\n");
    }
    out.push_str("</table>\n");
}
