// SPDX-License-Identifier: Apache-2.0
//! `endpoint get`, `health` and `log`.

use api::StatusChangeCode;
use clap::Args;

use super::ID_HELP;
use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["id", "labels"])]
pub(crate) struct Get {
    #[arg(value_name = "ENDPOINT", help = ID_HELP)]
    id: Option<String>,
    /// All endpoints that have these labels
    #[arg(short, long, value_name = "LABEL", value_delimiter = ',')]
    labels: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct One {
    #[arg(value_name = "ENDPOINT", help = ID_HELP)]
    id: String,
    #[command(flatten)]
    output: OutputArguments,
}

pub(super) fn get(arguments: &Get, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.client()?;
    let endpoints = match &arguments.id {
        Some(id) => vec![client.endpoint(id)?],
        None => client.endpoints(&arguments.labels)?,
    };
    if endpoints.is_empty() {
        return Err(CliError::Failed(format!("no endpoint has the labels {}", arguments.labels.join(" "))));
    }
    // A list also for one, as in 1.4.
    arguments.output.print_or_json(&endpoints, session)
}

pub(super) fn health(arguments: &One, session: &mut Session<'_>) -> Result<(), CliError> {
    let health = session.client()?.endpoint_health(&arguments.id)?;
    if arguments.output.print(&health, session)? {
        return Ok(());
    }
    let mut table = Table::default();
    table.row(["Overall Health:", health.overall_health.as_str()]);
    table.row(["BPF Health:", health.bpf.as_str()]);
    table.row(["Policy Health:", health.policy.as_str()]);
    table.row(["Connected:", if health.connected { "yes" } else { "no" }]);
    Ok(write!(session.output(), "{table}")?)
}

pub(super) fn log(arguments: &One, session: &mut Session<'_>) -> Result<(), CliError> {
    let changes = session.client()?.endpoint_log(&arguments.id)?;
    if arguments.output.print(&changes, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["Timestamp", "Status", "State", "Message"]);
    for change in changes {
        let code = match change.code {
            StatusChangeCode::Ok => "OK",
            StatusChangeCode::Failed => "Failed",
        };
        let state = change.state.map(|state| state.to_string()).unwrap_or_default();
        table.row([change.timestamp, code.to_owned(), state, change.message]);
    }
    Ok(write!(session.output(), "{table}")?)
}
