// SPDX-License-Identifier: Apache-2.0
//! `report.md`: the report for a terminal, a pull request or a mail.

use std::fmt::Write;

use crate::analysis::{Analysis, Group, RunAnalysis};
use crate::table;
use crate::{agent, figures, goals, ranking, wording};

/// Renders the whole report.
pub fn render(analysis: &Analysis<'_>) -> String {
    let mut out = String::from("# Container datapaths measured\n\n");
    if analysis.partial() {
        out += "**PARTIAL: this run was interrupted. What is here is valid, some is missing.**\n\n";
    }
    let samples = analysis.samples;
    line(&mut out, &format!("Measured {}.", figures::utc(samples.started_unix_s)));
    glance(&mut out, analysis);
    line(&mut out, "Every number here comes from `samples.json` by this command:");
    let fence = if samples.command.contains("```") { "~~~~" } else { "```" };
    line(&mut out, &format!("{fence}\n{}\n{fence}", samples.command));
    for problem in &analysis.problems {
        let _ = writeln!(out, "- **Note** {}", text(problem));
    }
    if !analysis.problems.is_empty() {
        out.push('\n');
    }
    line(&mut out, &wording::ratio());
    line(&mut out, wording::EMULATION);
    for run in &analysis.runs {
        section(&mut out, run);
    }
    out
}

/// What was compared, and the order that came out.
fn glance(out: &mut String, analysis: &Analysis<'_>) {
    for run in &analysis.runs {
        let environment = &run.record.environment;
        let facts = [
            format!("{} × {}", environment.cpus, environment.cpu),
            wording::times(run.record).to_owned(),
            wording::compared(run),
            format!("noise floor {}", wording::floors(run)),
        ];
        line(out, &format!("**{}**: {}", text(&run.title()), text(&facts.join("; "))));
        for group in &run.groups {
            let ranked = ranking::order(group).into_iter().map(|(rank, members)| {
                let named = members
                    .iter()
                    .map(|(row, e)| format!("{} {:.3} ±{:.3}", text(&row.label()), e.median, e.reach()));
                format!("**{rank}** {}", named.collect::<Vec<_>>().join(", "))
            });
            let ranked = ranked.collect::<Vec<_>>().join("; ");
            let ranked = if ranked.is_empty() { "no ratio was measured" } else { &ranked };
            let _ = writeln!(out, "- {}: {ranked}", group.title());
        }
        out.push('\n');
    }
    if !analysis.runs.is_empty() {
        line(out, wording::RANKING);
    }
}

fn section(out: &mut String, run: &RunAnalysis<'_>) {
    line(out, &format!("## {}", text(&run.title())));
    line(out, wording::clock(run.record));
    line(out, &wording::self_check(run).iter().map(|l| text(l)).collect::<Vec<_>>().join("  \n"));
    for group in &run.groups {
        table(out, group);
    }
    if let Some(agent) = &run.record.agent {
        line(out, &format!("### {}", agent::TITLE));
        line(out, agent::READING);
        out.push_str("| figure | value |\n|---|---|\n");
        for (name, value) in agent::rows(agent) {
            let _ = writeln!(out, "| {} | {} |", text(&name), text(&value));
        }
        out.push('\n');
    }
    let reached = goals::rows(run);
    if !reached.is_empty() {
        line(out, &format!("### {}", goals::TITLE));
        line(out, goals::READING);
        out.push_str("| goal | measured | verdict |\n|---|---|---|\n");
        for row in reached {
            let _ = writeln!(out, "| {} |", row.map(|cell| text(&cell)).join(" | "));
        }
        out.push('\n');
    }
    line(out, "### Environment");
    let mut rows = wording::environment(&run.record.environment);
    rows.push(("MTU, bytes".to_owned(), wording::mtu(run.record)));
    out.push_str("| fact | value |\n|---|---|\n");
    for (name, value) in rows {
        let _ = writeln!(out, "| {} | {} |", text(&name), text(&value));
    }
    out.push('\n');
    line(out, "### Subjects");
    for subject in &run.record.subjects {
        let mark = if subject.emulation { " (emulation)" } else { "" };
        let _ = writeln!(out, "- `{}`{mark}: {}", text(&subject.name), text(&subject.description));
    }
    for missing in &run.record.not_run {
        let _ = writeln!(out, "- `{}`: not run: {}", text(&missing.subject), text(&missing.reason));
    }
    out.push('\n');
}

fn table(out: &mut String, group: &Group) {
    line(out, &format!("### {}", group.title()));
    line(out, &format!("{} {} {}", wording::traffic(group), wording::slices(group), wording::noise(group)));
    let headings = table::headings(group);
    let _ = writeln!(out, "| {} |", headings.join(" | "));
    let _ = writeln!(out, "|--:|:--|{}", "--:|".repeat(headings.len() - 2));
    for row in table::ordered(group) {
        let cells = match &row.outcome {
            Ok(figures) => table::figure_cells(group, figures).join(" | "),
            Err(reason) => format!("not run: {}{}", text(reason), " |".repeat(headings.len() - 3)),
        };
        let _ = writeln!(out, "| {} | {} | {cells} |", table::rank(row), text(&row.label()));
    }
    out.push('\n');
}

/// Text from a file on one line, with nothing that Markdown would read as a table or as HTML.
fn text(raw: &str) -> String {
    let mut escaped = String::with_capacity(raw.len());
    for c in raw.chars() {
        match c {
            '|' => escaped.push_str("\\|"),
            '<' => escaped.push_str("&lt;"),
            '&' => escaped.push_str("&amp;"),
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push_str("\n\n");
}
