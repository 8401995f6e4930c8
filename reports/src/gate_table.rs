// SPDX-License-Identifier: Apache-2.0
//! The gate's table for a terminal of 100 columns.

use std::fmt;

use crate::figures::one_line;
use crate::gate::{GateOutcome, GateRow, Verdict};

impl fmt::Display for Verdict {
    /// The verdict without the reason of [`Verdict::Missing`], which the table writes on a line of its own.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unchanged => "ok",
            Self::Faster => "faster: update baseline",
            Self::Slower => "FAIL: slower",
            Self::Missing(_) => "FAIL: missing",
            Self::New => "new: update baseline",
        })
    }
}

impl fmt::Display for GateOutcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.warnings.is_empty() {
            writeln!(f, "WARNING: the environment is not the baseline's, so bands are doubled:")?;
        }
        for warning in &self.warnings {
            writeln!(f, "  {}", one_line(warning))?;
        }
        let wide =
            self.rows.iter().map(|r| r.subject.chars().count()).max().unwrap_or(0).max("subject".len());
        writeln!(
            f,
            "{:wide$}  {:12}  {:>8}  {:>8}  {:>8}  {:>7}  verdict",
            "subject", "workload/co.", "baseline", "now", "change %", "band %"
        )?;
        for row in &self.rows {
            line(f, row, wide)?;
        }
        let count = |wanted: fn(&Verdict) -> bool| self.rows.iter().filter(|r| wanted(&r.verdict)).count();
        writeln!(
            f,
            "{}: baseline {}: {} unchanged, {} faster, {} slower, {} missing, {} new",
            if self.passed() { "PASSED" } else { "FAILED" },
            self.class,
            count(|v| *v == Verdict::Unchanged),
            count(|v| *v == Verdict::Faster),
            count(|v| *v == Verdict::Slower),
            count(|v| matches!(v, Verdict::Missing(_))),
            count(|v| *v == Verdict::New)
        )
    }
}

fn line(f: &mut fmt::Formatter<'_>, row: &GateRow, wide: usize) -> fmt::Result {
    let ratio = |v: Option<f64>| v.map_or("-".to_owned(), |v| format!("{v:.4}"));
    let band = row.band.map_or("-".to_owned(), |v| format!("{:.2}", v * 100.0));
    let change = row.change.map_or("-".to_owned(), |v| format!("{:+.2}", v * 100.0));
    writeln!(
        f,
        "{:wide$}  {:12}  {:>8}  {:>8}  {change:>8}  {band:>7}  {}",
        one_line(&row.subject),
        format!("{}/{}", row.workload, row.cores),
        ratio(row.baseline),
        ratio(row.now),
        row.verdict
    )?;
    match &row.verdict {
        Verdict::Missing(reason) => writeln!(f, "{:wide$}  {}", "", one_line(reason)),
        _ => Ok(()),
    }
}
