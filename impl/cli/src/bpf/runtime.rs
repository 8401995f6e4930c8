// SPDX-License-Identifier: Apache-2.0
//! `bpf config`.

use clap::{Args, Subcommand};
use maps::{LxcRow, RuntimeConfig, lxc_options, names};
use serde::Serialize;

use super::Root;
use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show what programs read: of the node, or of one endpoint
    Get(Get),
}

#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The number of an endpoint
    endpoint: Option<u16>,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Node {
    epoch: u32,
    monitor: u32,
    lb_epoch: u32,
    lb_external: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Endpoint {
    ifindex: u32,
    identity: u32,
    ingress_port_prefixes: Vec<u32>,
    egress_port_prefixes: Vec<u32>,
    options: Vec<&'static str>,
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        let Self::Get(arguments) = self;
        let mut table = Table::default();
        match arguments.endpoint {
            None => {
                let map = arguments.root.open::<u32, RuntimeConfig>(names::RUNTIME)?;
                let RuntimeConfig { epoch, monitor, lb_epoch, lb_external } =
                    map.lookup(&0)?.unwrap_or_default();
                let node = Node { epoch, monitor, lb_epoch, lb_external };
                if arguments.output.print(&node, session)? {
                    return Ok(());
                }
                table.row(["Epoch:".to_owned(), epoch.to_string()]);
                table.row(["Monitor:".to_owned(), listens(monitor)]);
                table.row(["Backends' epoch:".to_owned(), lb_epoch.to_string()]);
                table.row(["External frontends:".to_owned(), lb_external.to_string()]);
            }
            Some(id) => {
                let map = arguments.root.open::<u32, LxcRow>(names::LXC_BY_ID)?;
                let row = map.lookup(&id.into())?.filter(|row| row.ifindex != 0);
                let row =
                    row.ok_or_else(|| CliError::Failed(format!("the datapath has no endpoint {id}")))?;
                let endpoint = Endpoint::from(row);
                if arguments.output.print(&endpoint, session)? {
                    return Ok(());
                }
                table.row(["Interface index:".to_owned(), endpoint.ifindex.to_string()]);
                table.row(["Identity:".to_owned(), endpoint.identity.to_string()]);
                table.row(["Ingress port prefixes:".to_owned(), list(&endpoint.ingress_port_prefixes)]);
                table.row(["Egress port prefixes:".to_owned(), list(&endpoint.egress_port_prefixes)]);
                table.row(["Options:".to_owned(), endpoint.options.join(" ")]);
            }
        }
        Ok(write!(session.output(), "{table}")?)
    }
}

fn listens(monitor: u32) -> String {
    match monitor.checked_sub(1) {
        None => "nobody listens to traces".to_owned(),
        Some(level) => format!("traces are told, aggregation level {level}"),
    }
}

fn list(lengths: &[u32]) -> String {
    let lengths: Vec<String> = lengths.iter().map(u32::to_string).collect();
    if lengths.is_empty() { "none".to_owned() } else { lengths.join(" ") }
}

impl From<LxcRow> for Endpoint {
    fn from(row: LxcRow) -> Self {
        let lengths = |bits: u32| (0..=16).filter(|length| bits & (1 << length) != 0).collect();
        let options = [
            (lxc_options::DROP_NOTIFICATION, "DropNotification"),
            (lxc_options::TRACE_NOTIFICATION, "TraceNotification"),
            (lxc_options::CONNTRACK_ACCOUNTING, "ConntrackAccounting"),
            (lxc_options::POLICY_VERDICT_NOTIFICATION, "PolicyVerdictNotification"),
            (lxc_options::DEBUG, "Debug"),
        ];
        Self {
            ifindex: row.ifindex,
            identity: row.sec_id,
            ingress_port_prefixes: lengths(row.ingress_prefixes),
            egress_port_prefixes: lengths(row.egress_prefixes),
            options: options
                .iter()
                .filter(|(bit, _)| row.options & bit != 0)
                .map(|(_, name)| *name)
                .collect(),
        }
    }
}
