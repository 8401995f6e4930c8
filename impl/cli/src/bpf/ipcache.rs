// SPDX-License-Identifier: Apache-2.0
//! `bpf ipcache`.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};

use clap::{Args, Subcommand};
use ipnet::IpNet;
use maps::{IpcacheEntry, IpcacheKey, names};
use serde::Serialize;

use super::Root;
use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show the identity of an address
    Get(Get),
    /// List identities by prefix
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The address
    address: IpAddr,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    identity: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    tunnel_endpoint: Option<Ipv4Addr>,
}

impl From<IpcacheEntry> for Row {
    fn from(entry: IpcacheEntry) -> Self {
        Self { identity: entry.sec_label, tunnel_endpoint: entry.tunnel_endpoint() }
    }
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Get(arguments) => get(&arguments, session),
            Self::List(arguments) => list(&arguments, session),
        }
    }
}

/// The kernel finds the longest prefix itself.
fn get(arguments: &Get, session: &mut Session<'_>) -> Result<(), CliError> {
    let map = arguments.root.open::<IpcacheKey, IpcacheEntry>(names::IPCACHE)?;
    let Some(entry) = map.lookup(&IpcacheKey::from(IpNet::from(arguments.address)))? else {
        return Err(CliError::Failed(format!(
            "{} has no identity of its own: programs take it for world (2)",
            arguments.address
        )));
    };
    let row = Row::from(entry);
    if arguments.output.print(&row, session)? {
        return Ok(());
    }
    session.line(format!("{} maps to identity {}", arguments.address, row.identity))
}

fn list(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let map = arguments.root.open::<IpcacheKey, IpcacheEntry>(names::IPCACHE)?;
    let mut rows: BTreeMap<IpNet, Row> = BTreeMap::new();
    for (key, entry) in map.rows()? {
        let prefix =
            key.prefix().map_err(|source| maps::MapError::Row { map: names::IPCACHE.to_owned(), source })?;
        rows.insert(prefix, entry.into());
    }
    if arguments.output.print(&rows, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["IP PREFIX/ADDRESS", "IDENTITY", "TUNNEL ENDPOINT"]);
    for (prefix, row) in rows {
        let tunnel = row.tunnel_endpoint.map(|node| node.to_string()).unwrap_or_default();
        table.row([prefix.to_string(), row.identity.to_string(), tunnel]);
    }
    Ok(write!(session.output(), "{table}")?)
}
