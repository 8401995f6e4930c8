// SPDX-License-Identifier: Apache-2.0
//! The columns of a group's table, as text: Markdown and HTML only differ in how they draw it.

use netns_lab::plan::WorkloadKind;

use crate::analysis::{Figures, Group, Row};
use crate::figures::{self, NONE, number, us};

/// Column headings of a group, units included.
pub fn headings(group: &Group) -> Vec<&'static str> {
    let mut headings =
        vec!["rank", "subject", "ratio [95\u{a0}%]", "p10 ratio", "slice p50 µs", "min µs", "mean µs"];
    headings.extend(["p50 µs", "p90 µs", "p99 µs", "p99.9 µs", "max µs"]);
    if group.workload == WorkloadKind::TcpStream {
        headings.extend(["Gbit/s", "CPU s/GiB"]);
    } else {
        headings.extend(["rate 1/s", "CPU µs/trans."]);
    }
    headings.extend(["ctx sw./trans.", "retrans.", "lost"]);
    headings
}

/// The cells of a measured row after rank and subject.
pub fn figure_cells(group: &Group, figures: &Figures) -> Vec<String> {
    let mut cells = vec![
        figures.ratio.as_ref().map_or(NONE.to_owned(), figures::estimate),
        figures.ratio_p10.map_or(NONE.to_owned(), |r| format!("{r:.3}")),
        figures::spread(&figures.p50, 1e-3),
    ];
    match &figures.latency {
        Some(l) => cells.extend([l.min, l.mean, l.p50, l.p90, l.p99, l.p99_9, l.max].map(us)),
        None => cells.extend(vec![NONE.to_owned(); 7]),
    }
    let spread = |s: &Option<_>| s.as_ref().map_or(NONE.to_owned(), |s| figures::spread(s, 1.0));
    if group.workload == WorkloadKind::TcpStream {
        cells.extend([spread(&figures.gbit_s), spread(&figures.cpu_s_per_gib)]);
    } else {
        cells.extend([spread(&Some(figures.rate)), spread(&Some(figures.cpu_us))]);
    }
    cells.extend([
        number(figures.context_switches),
        figures.retransmits.to_string(),
        figures.lost.to_string(),
    ]);
    cells
}

/// Rank as text.
pub fn rank(row: &Row) -> String {
    row.figures().and_then(|f| f.rank).map_or(NONE.to_owned(), |r| r.to_string())
}

/// Rows in the order of rank, then ratio; those without figures last, in the plan's order.
pub fn ordered(group: &Group) -> Vec<&Row> {
    let ratio =
        |r: &Row| r.figures().map(|f| f.ratio.map_or(f64::MAX, |e| e.median)).unwrap_or(f64::INFINITY);
    let mut rows: Vec<&Row> = group.rows.iter().collect();
    rows.sort_by(|a, b| ratio(a).total_cmp(&ratio(b)));
    rows
}
