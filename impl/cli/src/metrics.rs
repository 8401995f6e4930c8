// SPDX-License-Identifier: Apache-2.0
//! `metrics`.

use clap::{Args, Subcommand};

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List all metrics
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    output: OutputArguments,
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        let Self::List(arguments) = self;
        let metrics = session.client()?.metrics()?;
        if arguments.output.print(&metrics, session)? {
            return Ok(());
        }
        let mut table = Table::of(&["Metric", "Labels", "Value"]);
        for metric in metrics {
            let labels: Vec<String> =
                metric.labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
            table.row([metric.name, labels.join(" "), format!("{:.6}", metric.value)]);
        }
        Ok(write!(session.output(), "{table}")?)
    }
}
