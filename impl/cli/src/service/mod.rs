// SPDX-License-Identifier: Apache-2.0
//! `service`.

mod change;
mod show;

use clap::Subcommand;

use crate::CliError;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remove a service that was made with update, or all of these
    Delete(change::Delete),
    /// Show one service
    Get(show::Get),
    /// List services with their backends
    List(show::List),
    /// Make a service, or change one that was made so
    Update(change::Update),
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Delete(arguments) => change::delete(&arguments, session),
            Self::Get(arguments) => show::get(&arguments, session),
            Self::List(arguments) => show::list(&arguments, session),
            Self::Update(arguments) => change::update(&arguments, session),
        }
    }
}
