// SPDX-License-Identifier: Apache-2.0
//! `policy`.

mod change;
mod files;
mod trace;
mod wait;

use clap::Subcommand;

use crate::CliError;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remove rules
    Delete(change::Delete),
    /// Show the rules, all or those with these labels
    Get(change::Get),
    /// Load rules from files: JSON or YAML, of 1.4's API or of Kubernetes
    Import(change::Import),
    /// Ask whether one workload may talk to another, and why
    Trace(trace::Arguments),
    /// Check files of rules without an agent
    Validate(change::Validate),
    /// Wait until all endpoints have a revision of the rules
    Wait(wait::Arguments),
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Delete(arguments) => change::delete(&arguments, session),
            Self::Get(arguments) => change::get(&arguments, session),
            Self::Import(arguments) => change::import(&arguments, session),
            Self::Trace(arguments) => trace::run(&arguments, session),
            Self::Validate(arguments) => change::validate(&arguments, session),
            Self::Wait(arguments) => wait::run(&arguments, session),
        }
    }
}
