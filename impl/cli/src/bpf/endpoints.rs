// SPDX-License-Identifier: Apache-2.0
//! `bpf endpoint`.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clap::{Args, Subcommand};
use maps::{EndpointInfo, EndpointKey, LxcRow, endpoint_flags, names};
use serde::Serialize;

use super::Root;
use crate::CliError;
use crate::missing::Rest;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Remove an address
    #[command(hide = true)]
    Delete(Rest),
    /// List addresses of endpoints and of the node
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
    id: u16,
    ifindex: u32,
    identity: u32,
    host: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    mac: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nodemac: Option<String>,
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            // The agent would write it again.
            Self::Delete(_) => Err(CliError::NotSupported("bpf endpoint delete: use endpoint disconnect")),
            Self::List(arguments) => list(&arguments, session),
        }
    }
}

fn list(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let addresses = arguments.root.open::<EndpointKey, EndpointInfo>(names::LXC)?;
    let by_id = arguments.root.open::<u32, LxcRow>(names::LXC_BY_ID)?;
    let mut rows: BTreeMap<IpAddr, Row> = BTreeMap::new();
    for (key, info) in addresses.rows()? {
        let Some(address) = key.address() else { continue };
        let lxc = if info.lxc_id == 0 { None } else { by_id.lookup(&info.lxc_id.into())? };
        rows.insert(address, Row::new(&info, lxc.filter(|row| row.ifindex != 0)));
    }
    if arguments.output.print(&rows, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["IP ADDRESS", "LOCAL ENDPOINT INFO"]);
    for (address, row) in rows {
        table.row([address.to_string(), row.describe()]);
    }
    Ok(write!(session.output(), "{table}")?)
}

impl Row {
    fn new(info: &EndpointInfo, lxc: Option<LxcRow>) -> Self {
        Self {
            id: info.lxc_id,
            ifindex: info.ifindex,
            identity: info.sec_id,
            host: info.flags & endpoint_flags::HOST != 0,
            mac: lxc.map(|row| mac(row.mac)),
            nodemac: lxc.map(|row| mac(row.node_mac)),
        }
    }

    fn describe(&self) -> String {
        if self.host {
            return "(localhost)".to_owned();
        }
        let Self { id, ifindex, identity, mac, nodemac, .. } = self;
        let (mac, nodemac) = (mac.as_deref().unwrap_or("?"), nodemac.as_deref().unwrap_or("?"));
        format!("id={id:<5} ifindex={ifindex:<4} mac={mac} nodemac={nodemac} identity={identity}")
    }
}

fn mac(bytes: [u8; 6]) -> String {
    netlink::MacAddr(bytes).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_the_node_are_told_from_those_of_endpoints() {
        let info = EndpointInfo { ifindex: 9, lxc_id: 12, sec_id: 31028, ..EndpointInfo::default() };
        let lxc = LxcRow { mac: [2, 0, 0, 0, 0, 1], node_mac: [2, 0, 0, 0, 0, 2], ..LxcRow::default() };
        assert_eq!(
            Row::new(&info, Some(lxc)).describe(),
            "id=12    ifindex=9    mac=02:00:00:00:00:01 nodemac=02:00:00:00:00:02 identity=31028"
        );
        let host = EndpointInfo { flags: endpoint_flags::HOST, ..info };
        assert_eq!(Row::new(&host, None).describe(), "(localhost)");
    }
}
