// SPDX-License-Identifier: Apache-2.0
//! Samples in; statistics, summary, Markdown, one HTML page and the regression gate out.
//!
//! Nothing here measures. [`write_report`] turns a `samples.json` into its report, [`gate`] compares a run with a committed
//! [`Baseline`]. The same samples give the same bytes.

pub mod agent;
pub mod analysis;
pub mod announcement;
pub mod baseline;
pub mod charts;
pub mod coverage;
pub mod figures;
pub mod files;
pub mod gate;
mod gate_table;
pub mod goals;
pub mod identity;
pub mod latency;
pub mod markdown;
pub mod page;
pub mod pairing;
pub mod problems;
pub mod ranking;
pub mod statistics;
pub mod summary;
pub mod table;
pub mod terminal;
pub mod wording;
pub mod write;

pub use baseline::{Baseline, BaselineEntry};
pub use coverage::{CoveredScenario, render_coverage};
pub use files::{FileError, read_samples};
pub use gate::{GateError, GateOutcome, GateRow, Verdict, gate, update_baseline};
pub use terminal::terminal_table;
pub use write::{Error, Written, write_report};
