// SPDX-License-Identifier: Apache-2.0
//! `bpf lb`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddr};

use addr::Protocol;
use clap::{Args, Subcommand};
use ipnet::IpNet;
use maps::{
    LbAffinity, LbAffinityKey, LbBackend4, LbBackend6, LbFrontend, LbKey4, LbKey6, LbReverse4, LbReverse6,
    LbSlotKey, LbSourceKey4, LbSourceKey6, lb_flags, lb_scope, names,
};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::{Root, address};
use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;
use crate::table::Table;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// List services with their backends
    List(List),
}

#[derive(Debug, Args)]
#[group(id = "what", multiple = false, args = ["revnat", "backends", "affinity", "source_ranges"])]
pub(crate) struct List {
    /// Which address answers carry, by the number of the service
    #[arg(long)]
    revnat: bool,
    /// Backends by their numbers
    #[arg(long)]
    backends: bool,
    /// Which backend clients had last
    #[arg(long)]
    affinity: bool,
    /// Which clients may use services, by the number of the service
    #[arg(long)]
    source_ranges: bool,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    output: OutputArguments,
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        let Self::List(arguments) = self;
        match &arguments {
            List { revnat: true, .. } => reverse(&arguments, session),
            List { backends: true, .. } => backends(&arguments, session),
            List { affinity: true, .. } => affinity(&arguments, session),
            List { source_ranges: true, .. } => source_ranges(&arguments, session),
            _ => services(&arguments, session),
        }
    }
}

/// A frontend as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Service {
    id: u16,
    flags: Vec<&'static str>,
    affinity_timeout_s: u32,
    slots: u32,
    backends: Vec<Backend>,
}

/// A backend of a service as it is printed.
#[derive(Debug, Serialize)]
struct Backend {
    id: u32,
    /// None: no backend has this number.
    address: Option<String>,
    /// How many of the service's slots it has.
    slots: usize,
}

/// `10.96.0.1:80/TCP`.
fn named(socket: SocketAddr, protocol: u8) -> String {
    match Protocol::from_number(protocol) {
        Some(protocol) => format!("{socket}/{protocol}"),
        None => format!("{socket}/{protocol}"),
    }
}

fn flags(bits: u16) -> Vec<&'static str> {
    let all = [
        (lb_flags::EXTERNAL, "external"),
        (lb_flags::TWO_SCOPES, "two-scopes"),
        (lb_flags::NODE_PORT, "node-port"),
        (lb_flags::SOURCE_RANGES, "source-ranges"),
    ];
    all.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name).collect()
}

/// Frontends of both families, in the order of their addresses.
fn frontends(root: &Root) -> Result<Vec<(SocketAddr, u8, u8, LbFrontend)>, CliError> {
    let v4 = root.open::<LbKey4, LbFrontend>(names::LB4_SERVICES)?.rows()?;
    let v6 = root.open::<LbKey6, LbFrontend>(names::LB6_SERVICES)?.rows()?;
    let v4 = v4.into_iter().map(|(key, row)| (key.socket(), key.protocol, key.scope, row));
    let v6 = v6.into_iter().map(|(key, row)| (key.socket(), key.protocol, key.scope, row));
    let mut all: Vec<_> = v4.chain(v6).collect();
    all.sort_by_key(|(socket, protocol, scope, _)| (*socket, *protocol, *scope));
    Ok(all)
}

/// Backends of both families by number.
fn addresses(root: &Root) -> Result<BTreeMap<u32, String>, CliError> {
    let v4 = root.open::<u32, LbBackend4>(names::LB4_BACKENDS)?.rows()?;
    let v6 = root.open::<u32, LbBackend6>(names::LB6_BACKENDS)?.rows()?;
    let v4 = v4.into_iter().map(|(id, row)| (id, named(row.socket(), row.protocol)));
    let v6 = v6.into_iter().map(|(id, row)| (id, named(row.socket(), row.protocol)));
    Ok(v4.chain(v6).collect())
}

fn services(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let root = &arguments.root;
    let frontends = frontends(root)?;
    let addresses = addresses(root)?;
    let slots: BTreeMap<LbSlotKey, u32> =
        root.open::<LbSlotKey, u32>(names::LB_SLOTS)?.rows()?.into_iter().collect();
    let mut services = Vec::new();
    for (socket, protocol, scope, row) in frontends {
        let internal = if scope == lb_scope::INTERNAL { "/internal" } else { "" };
        let name = format!("{}{internal}", named(socket, protocol));
        services.push((name, Service::new(&row, &slots, &addresses)));
    }
    if arguments.output.output.is_some() {
        let by_name: BTreeMap<_, _> = services.into_iter().collect();
        return arguments.output.print(&by_name, session).map(|_| ());
    }
    let mut table = Table::of(&["SERVICE ADDRESS", "ID", "FLAGS", "BACKEND ADDRESS"]);
    for (name, service) in services {
        let mut lines = service.lines().into_iter();
        let first = lines.next().unwrap_or_default();
        table.row([name, service.id.to_string(), format!("[{}]", service.flags.join(", ")), first]);
        for line in lines {
            table.row(["", "", "", &line]);
        }
    }
    Ok(write!(session.output(), "{table}")?)
}

impl Service {
    fn new(row: &LbFrontend, slots: &BTreeMap<LbSlotKey, u32>, addresses: &BTreeMap<u32, String>) -> Self {
        // The map's owner writes no more slots than there are numbers for them.
        let last = u16::try_from(row.count).unwrap_or(u16::MAX);
        let range = LbSlotKey { id: row.id, slot: 1 }..=LbSlotKey { id: row.id, slot: last.max(1) };
        let mut shares: BTreeMap<u32, usize> = BTreeMap::new();
        for (_, backend) in slots.range(range).filter(|(key, _)| key.slot <= last) {
            *shares.entry(*backend).or_default() += 1;
        }
        let backend = |(id, slots)| Backend { id, address: addresses.get(&id).cloned(), slots };
        Self {
            id: row.id,
            flags: flags(row.flags),
            affinity_timeout_s: row.affinity_timeout_s,
            slots: row.count,
            backends: shares.into_iter().map(backend).collect(),
        }
    }

    /// Its backends, and what is wrong with it.
    fn lines(&self) -> Vec<String> {
        if self.slots == 0 {
            return vec!["none: connections are refused".to_owned()];
        }
        let mut lines: Vec<String> = self.backends.iter().map(|backend| backend.line(self.slots)).collect();
        let found: usize = self.backends.iter().map(|backend| backend.slots).sum();
        if found < self.slots as usize {
            lines.push(format!("{} of {} slots are not there", self.slots as usize - found, self.slots));
        }
        if self.affinity_timeout_s > 0
            && let Some(first) = lines.first_mut()
        {
            first.push_str(&format!(" affinity={}s", self.affinity_timeout_s));
        }
        lines
    }
}

impl Backend {
    fn line(&self, slots: u32) -> String {
        let address = self.address.as_deref().unwrap_or("not found");
        let share = if self.slots > 1 { format!(" {} of {slots} slots", self.slots) } else { String::new() };
        format!("{} => {address}{share}", self.id)
    }
}

fn reverse(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let v4 = arguments.root.open::<u32, LbReverse4>(names::LB4_REVERSE_NAT)?.rows()?;
    let v6 = arguments.root.open::<u32, LbReverse6>(names::LB6_REVERSE_NAT)?.rows()?;
    let v4 = v4.into_iter().filter_map(|(id, row)| Some((id, row.socket()?)));
    let v6 = v6.into_iter().filter_map(|(id, row)| Some((id, row.socket()?)));
    let rows: BTreeMap<u32, SocketAddr> = v4.chain(v6).collect();
    if arguments.output.print(&rows, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["ID", "SERVICE ADDRESS"]);
    for (id, socket) in rows {
        table.row([id.to_string(), socket.to_string()]);
    }
    Ok(write!(session.output(), "{table}")?)
}

/// The ranges of each frontend that has some, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct SourceRanges {
    address: String,
    ranges: Vec<String>,
}

/// Also of those that let nobody in.
fn source_ranges(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let v4 = arguments.root.open::<LbSourceKey4, u32>(names::LB4_SOURCE_RANGE)?.rows()?;
    let v6 = arguments.root.open::<LbSourceKey6, u32>(names::LB6_SOURCE_RANGE)?.rows()?;
    let v4 = v4.into_iter().filter_map(|(key, _)| Some((key.id, key.range()?)));
    let v6 = v6.into_iter().filter_map(|(key, _)| Some((key.id, key.range()?)));
    let known: BTreeSet<(u16, IpNet)> = v4.chain(v6).collect();
    let frontends = frontends(&arguments.root)?;
    let restricted = frontends.iter().filter(|(.., row)| row.flags & lb_flags::SOURCE_RANGES != 0);
    let rows: BTreeMap<u16, SourceRanges> = restricted
        .map(|(socket, protocol, scope, row)| {
            let internal = if *scope == lb_scope::INTERNAL { "/internal" } else { "" };
            let ranges = known.iter().filter(|(id, _)| *id == row.id).map(|(_, range)| range.to_string());
            let address = format!("{}{internal}", named(*socket, *protocol));
            (row.id, SourceRanges { address, ranges: ranges.collect() })
        })
        .collect();
    if arguments.output.print(&rows, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["ID", "SERVICE ADDRESS", "SOURCE RANGES"]);
    for (id, row) in rows {
        let ranges =
            if row.ranges.is_empty() { "none: nobody is let in".into() } else { row.ranges.join(" ") };
        table.row([id.to_string(), row.address, ranges]);
    }
    Ok(write!(session.output(), "{table}")?)
}

fn backends(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let rows = addresses(&arguments.root)?;
    if arguments.output.print(&rows, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["ID", "BACKEND ADDRESS"]);
    for (id, address) in rows {
        table.row([id.to_string(), address]);
    }
    Ok(write!(session.output(), "{table}")?)
}

/// What a client had last, as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Affinity {
    service: u16,
    client: String,
    backend: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    address: Option<String>,
    last_used_s_ago: i64,
}

fn affinity(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let root = &arguments.root;
    let now_s = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(std::io::Error::from)?.tv_sec();
    let frontends = frontends(root)?;
    let addresses = addresses(root)?;
    // The key does not say its family: the service does.
    let is_v4 = |id| frontends.iter().any(|(socket, _, _, row)| row.id == id && socket.is_ipv4());
    let mut rows: Vec<_> = root
        .open::<LbAffinityKey, LbAffinity>(names::LB_AFFINITY)?
        .rows()?
        .into_iter()
        .map(|(key, row)| Affinity {
            service: key.id,
            client: client(&key, is_v4(key.id)),
            backend: row.backend,
            address: addresses.get(&row.backend).cloned(),
            last_used_s_ago: now_s - i64::from(row.last_used_s),
        })
        .collect();
    rows.sort_by(|a, b| (a.service, &a.client).cmp(&(b.service, &b.client)));
    if arguments.output.print(&rows, session)? {
        return Ok(());
    }
    let mut table = Table::of(&["SERVICE ID", "CLIENT", "BACKEND", "LAST USED"]);
    for row in rows {
        let address = row.address.as_deref().unwrap_or("not found");
        let backend = format!("{} => {address}", row.backend);
        table.row([row.service.to_string(), row.client, backend, format!("{}s ago", row.last_used_s_ago)]);
    }
    Ok(write!(session.output(), "{table}")?)
}

/// An address, or the cookie of a network namespace.
fn client(key: &LbAffinityKey, is_ipv4: bool) -> String {
    if key.by_netns == 0 {
        return address(key.client, is_ipv4).to_string();
    }
    let [first, second, ..] = key.client.map(|word| Ipv4Addr::from(word).octets());
    let mut cookie = [0; 8];
    cookie[..4].copy_from_slice(&first);
    cookie[4..].copy_from_slice(&second);
    format!("netns {}", u64::from_ne_bytes(cookie))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: u16, count: u32) -> LbFrontend {
        LbFrontend {
            id,
            count,
            affinity_timeout_s: 0,
            flags: lb_flags::EXTERNAL | lb_flags::NODE_PORT,
            pad: 0,
        }
    }

    fn slots(id: u16, backends: &[u32]) -> impl Iterator<Item = (LbSlotKey, u32)> {
        backends.iter().zip(1..).map(move |(backend, slot)| (LbSlotKey { id, slot }, *backend))
    }

    #[test]
    fn a_service_has_the_backends_of_its_slots_each_once() {
        let all = slots(7, &[2, 1, 2, 3]).chain(slots(8, &[1])).collect();
        let addresses = [(1, "10.0.0.1:80/TCP".to_owned()), (2, "10.0.0.2:80/TCP".to_owned())].into();
        let service = |row| Service::new(&row, &all, &addresses);
        assert_eq!(
            service(row(7, 4)).lines(),
            ["1 => 10.0.0.1:80/TCP", "2 => 10.0.0.2:80/TCP 2 of 4 slots", "3 => not found"]
        );
        assert_eq!(service(row(7, 4)).flags, ["external", "node-port"]);
        // Slots behind the last are left of a moment when the service was larger.
        assert_eq!(service(row(7, 1)).lines(), ["2 => 10.0.0.2:80/TCP"]);
        assert_eq!(service(row(8, 3)).lines(), ["1 => 10.0.0.1:80/TCP", "2 of 3 slots are not there"]);
        assert_eq!(service(row(9, 0)).lines(), ["none: connections are refused"]);
        let sticky = LbFrontend { affinity_timeout_s: 60, ..row(8, 1) };
        assert_eq!(service(sticky).lines(), ["1 => 10.0.0.1:80/TCP affinity=60s"]);
    }

    #[test]
    fn clients_are_addresses_or_network_namespaces() {
        let words = |octets: [[u8; 4]; 4]| octets.map(|octets| Ipv4Addr::from(octets).into());
        let key = |client, by_netns| LbAffinityKey { client, id: 7, by_netns, pad: 0 };
        let v4 = key(words([[10, 0, 0, 9], [0; 4], [0; 4], [0; 4]]), 0);
        assert_eq!(client(&v4, true), "10.0.0.9");
        let v6 = key(words([[0xf0, 0x0d, 0, 0], [0; 4], [0; 4], [0, 0, 0, 9]]), 0);
        assert_eq!(client(&v6, false), "f00d::9");
        let [a, b, c, d, e, f, g, h] = 4711_u64.to_ne_bytes();
        let netns = key(words([[a, b, c, d], [e, f, g, h], [0; 4], [0; 4]]), 1);
        assert_eq!(client(&netns, true), "netns 4711");
    }
}
