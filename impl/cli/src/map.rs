// SPDX-License-Identifier: Apache-2.0
//! `map`.

use api::DesiredAction;
use clap::{Args, Subcommand};

use crate::CliError;
use crate::output::OutputArguments;
use crate::session::{Session, note};
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the entries of a map
    Get(Get),
    /// List open maps
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// Its name, such as cilium_ipcache
    name: String,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct List {
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
    let (map, left_out) = session.client()?.map(&arguments.name)?;
    if left_out > 0 {
        note(&format!("{left_out} more entries are not shown: `{} bpf` reads whole maps", session.program()));
    }
    if arguments.output.print(&map, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["Key", "Value", "State", "Error"]);
    for entry in map.cache.unwrap_or_default() {
        let state = match entry.desired_action {
            None | Some(DesiredAction::Ok) => "sync",
            Some(DesiredAction::Insert) => "to-be-inserted",
            Some(DesiredAction::Delete) => "to-be-deleted",
        };
        table.row([entry.key, entry.value, state.to_owned(), entry.last_error]);
    }
    Ok(write!(session.output(), "{table}")?)
}

fn list(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let list = session.client()?.maps()?;
    if arguments.output.print(&list, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["Name", "Num entries", "Num errors", "Cache enabled"]);
    for map in list.maps {
        let name = map.path.rsplit('/').next().unwrap_or_default().to_owned();
        // The list of maps need not tell their entries.
        let (entries, errors) = match &map.cache {
            Some(cache) => {
                let errors = cache.iter().filter(|entry| !entry.last_error.is_empty()).count();
                (cache.len().to_string(), errors.to_string())
            }
            None => ("-".to_owned(), "-".to_owned()),
        };
        table.row([name, entries, errors, map.cache.is_some().to_string()]);
    }
    Ok(write!(session.output(), "{table}")?)
}
