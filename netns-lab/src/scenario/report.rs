// SPDX-License-Identifier: Apache-2.0
//! What is said of a scenario over one subject, here or in a virtual machine.

use serde::{Deserialize, Serialize};

use super::run::{RunResult, Verdict};

/// A scenario that is to be run over one subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// `<area>/<behaviour>`.
    pub scenario: String,
    /// The subject.
    pub subject: String,
    /// The file's text.
    pub text: String,
}

/// How a scenario ended over one subject.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// `<area>/<behaviour>`.
    pub scenario: String,
    /// The behaviour, in a sentence.
    pub name: String,
    /// The subject.
    pub subject: String,
    /// How it ended.
    pub verdict: VerdictName,
    /// Why it failed or did not run.
    pub reasons: Vec<String>,
    /// How long it took.
    pub seconds: f64,
}

/// [`Verdict`] without its reasons.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "they are those of Verdict")]
pub enum VerdictName {
    Passed,
    Failed,
    NotRun,
    Interrupted,
}

impl Report {
    /// Of a result.
    pub fn new(scenario: &str, name: &str, subject: &str, result: RunResult) -> Self {
        let (verdict, reasons) = match result.verdict {
            Verdict::Passed => (VerdictName::Passed, Vec::new()),
            Verdict::Failed(reasons) => (VerdictName::Failed, reasons),
            Verdict::NotRun(reason) => (VerdictName::NotRun, vec![reason]),
            Verdict::Interrupted => (VerdictName::Interrupted, Vec::new()),
        };
        Self {
            scenario: scenario.into(),
            name: name.into(),
            subject: subject.into(),
            verdict,
            reasons,
            seconds: result.time.as_secs_f64(),
        }
    }
}
