// SPDX-License-Identifier: Apache-2.0
//! `identity`.

use api::Identity;
use clap::{Args, Subcommand};
use identity::NumericIdentity;

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show one identity
    Get(Get),
    /// List identities, all or those with these labels
    List(List),
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["id", "label"])]
pub(crate) struct Get {
    /// A number, or a reserved name such as host
    id: Option<NumericIdentity>,
    /// Identities that have all these labels, such as k8s:app=web
    #[arg(long, value_delimiter = ',')]
    label: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Such as k8s:app=web
    labels: Vec<String>,
    #[command(flatten)]
    output: OutputArguments,
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Get(arguments) => get(&arguments, session),
            Self::List(arguments) => list(&arguments, session),
        }
    }
}

fn get(arguments: &Get, session: &mut Session<'_>) -> Result<(), CliError> {
    let client = session.client()?;
    let identities = match arguments.id {
        Some(id) => vec![client.identity(&id.as_u32().to_string())?],
        None => client.identities(&arguments.label)?,
    };
    if identities.is_empty() {
        return Err(CliError::Failed(format!("no identity has the labels {}", arguments.label.join(" "))));
    }
    arguments.output.print_or_json(&identities, session)
}

fn list(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut identities = session.client()?.identities(&arguments.labels)?;
    identities.sort_by_key(|identity| identity.id);
    if arguments.output.print(&identities, session)? {
        return Ok(());
    }
    Ok(write!(session.output(), "{}", table(identities))?)
}

/// A label a line.
fn table(identities: Vec<Identity>) -> Table {
    let mut table = Table::of(&["ID", "LABELS"]);
    for identity in identities {
        let mut labels = identity.labels.into_iter();
        table.row([identity.id.to_string(), labels.next().unwrap_or_default()]);
        for label in labels {
            table.row([String::new(), label]);
        }
    }
    table
}
