// SPDX-License-Identifier: Apache-2.0
//! `bpf metrics`.

use clap::{Args, Subcommand};
use maps::{MetricsMap, names, reason_name};
use serde::Serialize;

use super::Root;
use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List packets by reason and direction
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
struct Row {
    reason: String,
    direction: &'static str,
    packets: u64,
    bytes: u64,
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        let Self::List(arguments) = self;
        let map = MetricsMap::open(&arguments.root.globals().join(names::METRICS))?;
        let rows: Vec<Row> = map
            .rows()?
            .into_iter()
            .map(|(reason, direction, value)| Row {
                reason: reason_name(reason),
                direction: direction.as_str(),
                packets: value.count,
                bytes: value.bytes,
            })
            .collect();
        if arguments.output.print(&rows, session)? {
            return Ok(());
        }
        let mut table = Table::of(&["REASON", "DIRECTION", "PACKETS", "BYTES"]);
        for row in rows {
            table.row([row.reason, row.direction.to_owned(), row.packets.to_string(), row.bytes.to_string()]);
        }
        Ok(write!(session.output(), "{table}")?)
    }
}
