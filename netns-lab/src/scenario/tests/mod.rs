// SPDX-License-Identifier: Apache-2.0
//! Tests of the runner: the format, and that a wrong expectation fails.

mod format;
mod nodes;
mod probes;
mod services;
mod steps;
mod verdicts;

use super::file::Scenario;

/// A scenario of these probes, over `veth`.
fn scenario(listen: &str, probes: &[&str]) -> Scenario {
    let mut text = format!(
        "name: A test\ncovers: [a/test]\ntopology: {{subject: veth}}\nlisten: {{{listen}}}\nprobes:\n"
    );
    for probe in probes {
        text += &format!("  - {{{probe}}}\n");
    }
    Scenario::parse("test.yaml", &text).expect("a scenario")
}
