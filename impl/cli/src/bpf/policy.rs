// SPDX-License-Identifier: Apache-2.0
//! `bpf policy`.

use std::collections::BTreeMap;
use std::fs;

use addr::Protocol;
use api::Client;
use clap::{Args, Subcommand};
use identity::NumericIdentity;
use maps::{PolicyEntry, PolicyKey, names};
use serde::Serialize;

use super::Root;
use crate::CliError;
use crate::missing::Rest;
use crate::output::OutputArguments;
use crate::session::{Session, note};
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Add an entry
    #[command(hide = true)]
    Add(Rest),
    /// Remove an entry
    #[command(hide = true)]
    Delete(Rest),
    /// Show the entries of an endpoint, or of all
    Get(Get),
}

#[derive(Debug, Args)]
#[group(id = "which", required = true, multiple = false, args = ["endpoint", "all"])]
pub(crate) struct Get {
    /// The number of an endpoint
    endpoint: Option<u16>,
    /// All endpoints
    #[arg(long)]
    all: bool,
    /// Identities as numbers: the agent is not asked for their labels
    #[arg(short, long)]
    numeric: bool,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Row {
    direction: &'static str,
    identity: u32,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    labels: Vec<String>,
    port: String,
    proxy_port: u16,
    rule: u32,
    bytes: u64,
    packets: u64,
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            // The agent would undo it.
            Self::Add(_) => Err(CliError::NotSupported("bpf policy add: use policy import")),
            Self::Delete(_) => Err(CliError::NotSupported("bpf policy delete: use policy delete")),
            Self::Get(arguments) => get(&arguments, session),
        }
    }
}

fn get(arguments: &Get, session: &mut Session<'_>) -> Result<(), CliError> {
    let endpoints = match arguments.endpoint {
        Some(endpoint) => vec![endpoint],
        None => endpoints(&arguments.root)?,
    };
    let mut labels = Labels {
        client: if arguments.numeric { None } else { Some(session.client()?) },
        known: BTreeMap::new(),
    };
    let mut all = BTreeMap::new();
    for endpoint in endpoints {
        let map = arguments.root.open::<PolicyKey, PolicyEntry>(&names::policy(endpoint))?;
        let mut rows: Vec<Row> =
            map.rows()?.iter().map(|(key, entry)| Row::new(key, entry, &mut labels)).collect();
        // Ingress before egress, as in 1.4.
        rows.sort_by(|a, b| {
            b.direction.cmp(a.direction).then((a.identity, &a.port).cmp(&(b.identity, &b.port)))
        });
        all.insert(endpoint, rows);
    }
    if arguments.output.print(&all, session)? {
        return Ok(());
    }
    for (endpoint, rows) in all {
        if arguments.all {
            session.line(format!("Endpoint {endpoint}:"))?;
        }
        write!(session.output(), "{}", table(rows, arguments.numeric))?;
    }
    Ok(())
}

/// Whose policy maps are pinned.
fn endpoints(root: &Root) -> Result<Vec<u16>, CliError> {
    let directory = root.globals();
    let read = || -> std::io::Result<Vec<fs::DirEntry>> { fs::read_dir(&directory)?.collect() };
    let entries = read().map_err(|source| CliError::Read { path: directory.clone(), source })?;
    let mut endpoints: Vec<u16> =
        entries.iter().filter_map(|entry| names::policy_endpoint(entry.file_name().to_str()?)).collect();
    endpoints.sort_unstable();
    Ok(endpoints)
}

/// The labels of identities, each asked for once, and none any more once the agent did not answer.
struct Labels {
    client: Option<Client>,
    known: BTreeMap<u32, Vec<String>>,
}

impl Labels {
    fn of(&mut self, identity: u32) -> Vec<String> {
        if identity == 0 {
            return Vec::new();
        }
        if let Some(labels) = self.known.get(&identity) {
            return labels.clone();
        }
        let labels = match self.client.as_ref().map(|client| client.identity(&identity.to_string())) {
            Some(Ok(identity)) => identity.labels,
            Some(Err(error)) if error.status().is_none() => {
                note(&format!("identities are shown as numbers: {error}"));
                self.client = None;
                Vec::new()
            }
            Some(Err(_)) | None => Vec::new(),
        };
        self.known.insert(identity, labels.clone());
        labels
    }
}

impl Row {
    fn new(key: &PolicyKey, entry: &PolicyEntry, labels: &mut Labels) -> Self {
        Self {
            direction: if key.egress == 0 { "Ingress" } else { "Egress" },
            identity: key.sec_label,
            labels: labels.of(key.sec_label),
            port: port(key),
            proxy_port: entry.proxy_port.get(),
            rule: entry.rule,
            bytes: entry.bytes,
            packets: entry.packets,
        }
    }

    /// Who the peer is, one line each.
    fn peer(&self, numeric: bool) -> Vec<String> {
        match self.identity {
            0 => vec!["ANY".to_owned()],
            identity if numeric => vec![identity.to_string()],
            identity if self.labels.is_empty() => vec![NumericIdentity::new(identity).to_string()],
            _ => self.labels.clone(),
        }
    }
}

/// `80/TCP`, `8080-8083/TCP`, `ANY/TCP` or `ANY`.
fn port(key: &PolicyKey) -> String {
    let protocol = match Protocol::from_number(key.protocol) {
        _ if key.protocol == 0 => return "ANY".to_owned(),
        Some(protocol) => protocol.as_str().to_owned(),
        None => key.protocol.to_string(),
    };
    let first = key.dport.get();
    match key.port_prefix {
        0 => format!("ANY/{protocol}"),
        // A port has 16 bits, and the map's owner writes no longer prefix.
        bits => match u16::MAX.checked_shr(bits.into()).unwrap_or(0) {
            0 => format!("{first}/{protocol}"),
            rest => format!("{first}-{}/{protocol}", first | rest),
        },
    }
}

fn table(rows: Vec<Row>, numeric: bool) -> Table {
    let peer = if numeric { "IDENTITY" } else { "LABELS (source:key[=value])" };
    let mut table = Table::of(&["DIRECTION", peer, "PORT/PROTO", "PROXY PORT", "RULE", "BYTES", "PACKETS"]);
    for row in rows {
        let mut peer = row.peer(numeric).into_iter();
        let proxy = if row.proxy_port == 0 { "NONE".to_owned() } else { row.proxy_port.to_string() };
        table.row([
            row.direction.to_owned(),
            peer.next().unwrap_or_default(),
            row.port,
            proxy,
            row.rule.to_string(),
            row.bytes.to_string(),
            row.packets.to_string(),
        ]);
        for label in peer {
            table.row(["", &label]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use addr::Be16;

    use super::*;

    fn key(sec_label: u32, dport: u16, protocol: u8, egress: u8, port_prefix: u8) -> PolicyKey {
        PolicyKey { sec_label, dport: Be16::new(dport), protocol, egress, port_prefix, pad: [0; 3] }
    }

    #[test]
    fn ports_and_ranges_are_written_with_their_protocol() {
        for (key, text) in [
            (key(0, 0, 0, 0, 0), "ANY"),
            (key(1, 0, 6, 0, 0), "ANY/TCP"),
            (key(1, 80, 6, 0, 16), "80/TCP"),
            (key(1, 8080, 17, 0, 14), "8080-8083/UDP"),
            (key(1, 0x8000, 6, 0, 1), "32768-65535/TCP"),
            (key(1, 80, 200, 0, 16), "80/200"),
            (key(1, 80, 6, 0, 200), "80/TCP"),
        ] {
            assert_eq!(port(&key), text);
        }
    }

    #[test]
    fn entries_have_the_columns_of_1_4_and_their_rule() {
        let mut labels = Labels {
            client: None,
            known: [(31028, vec!["k8s:app=web".to_owned(), "k8s:tier=front".to_owned()])].into(),
        };
        let entry = PolicyEntry { rule: 3, packets: 2, bytes: 148, ..PolicyEntry::default() };
        let rows = |labels: &mut Labels| {
            vec![
                Row::new(&key(31028, 80, 6, 0, 16), &entry, labels),
                Row::new(&key(1, 0, 0, 0, 0), &PolicyEntry::default(), labels),
                Row::new(&key(0, 0, 0, 1, 0), &PolicyEntry::default(), labels),
            ]
        };
        assert_eq!(
            table(rows(&mut labels), false).to_string(),
            "\
DIRECTION   LABELS (source:key[=value])   PORT/PROTO   PROXY PORT   RULE   BYTES   PACKETS
Ingress     k8s:app=web                   80/TCP       NONE         3      148     2
            k8s:tier=front
Ingress     host                          ANY          NONE         0      0       0
Egress      ANY                           ANY          NONE         0      0       0
"
        );
        let numeric = table(rows(&mut labels), true).to_string();
        assert!(numeric.contains("Ingress     31028      80/TCP"), "{numeric}");
    }
}
