// SPDX-License-Identifier: Apache-2.0
//! `endpoint`.

mod change;
mod list;
mod show;

use clap::Subcommand;

use crate::CliError;
use crate::session::Session;

/// How users name an endpoint, for the help of each command.
const ID_HELP: &str = "A number, or one of cilium-local:N, container-id:ID, container-name:NAME, \
                       pod-name:NAMESPACE:NAME, ipv4:ADDRESS, ipv6:ADDRESS";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show or change the options of an endpoint
    Config(change::Config),
    /// Remove an endpoint: its workload cannot talk any more
    Disconnect(change::Id),
    /// Show all of an endpoint
    Get(show::Get),
    /// Show whether an endpoint works
    Health(show::One),
    /// Show or change the labels of an endpoint
    Labels(change::Labels),
    /// List endpoints
    List(list::List),
    /// Show the history of an endpoint
    Log(show::One),
    /// Make the programs and maps of an endpoint again
    Regenerate(change::Id),
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Config(arguments) => change::config(&arguments, session),
            Self::Disconnect(arguments) => change::disconnect(&arguments, session),
            Self::Get(arguments) => show::get(&arguments, session),
            Self::Health(arguments) => show::health(&arguments, session),
            Self::Labels(arguments) => change::labels(&arguments, session),
            Self::List(arguments) => list::run(&arguments, session),
            Self::Log(arguments) => show::log(&arguments, session),
            Self::Regenerate(arguments) => change::regenerate(&arguments, session),
        }
    }
}
