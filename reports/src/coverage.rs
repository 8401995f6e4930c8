// SPDX-License-Identifier: Apache-2.0
//! `reports/coverage.md`: which behaviour is shown by which scenario, over which subjects.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// A scenario as its file states it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoveredScenario {
    /// The folder under `scenarios/`.
    pub area: String,
    /// The name of its file, without the ending.
    pub name: String,
    /// The behaviour that it shows, in a sentence.
    pub sentence: String,
    /// What it covers, for example `service/cluster-ip`.
    pub covers: Vec<String>,
    /// The subjects over which it runs.
    pub subjects: Vec<String>,
}

/// Renders the page. The order of `scenarios` and of their lists does not matter.
pub fn render_coverage(scenarios: &[CoveredScenario]) -> String {
    let sorted: BTreeSet<&CoveredScenario> = scenarios.iter().collect();
    let mut out = String::from(
        "# Coverage\n\nGenerated from the scenarios' own `covers`; do not edit. What is not in the second table is not shown by any \
         scenario.\n\n## Scenarios\n\n| scenario | behaviour | covers | subjects |\n|---|---|---|---|\n",
    );
    let mut by_item: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    for scenario in &sorted {
        let _ = writeln!(
            out,
            "| {}/{} | {} | {} | {} |",
            cell(&scenario.area),
            cell(&scenario.name),
            cell(&scenario.sentence),
            list(&scenario.covers),
            list(&scenario.subjects)
        );
        for item in &scenario.covers {
            by_item.entry(item).or_default().insert(format!("{}/{}", scenario.area, scenario.name));
        }
    }
    out += "\n## Covered\n\n| what | scenarios |\n|---|---|\n";
    for (item, shown_by) in &by_item {
        let shown_by: Vec<String> = shown_by.iter().map(|s| cell(s)).collect();
        let _ = writeln!(out, "| {} | {} |", cell(item), shown_by.join(", "));
    }
    let _ = writeln!(out, "\n{} scenarios cover {} items.", sorted.len(), by_item.len());
    out
}

fn list(items: &[String]) -> String {
    let sorted: BTreeSet<&String> = items.iter().collect();
    sorted.into_iter().map(|i| cell(i)).collect::<Vec<_>>().join(", ")
}

fn cell(raw: &str) -> String {
    raw.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().replace('|', "\\|")
}
