// SPDX-License-Identifier: Apache-2.0
//! `bpf ct`.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

use addr::Protocol;
use clap::{Args, Subcommand};
use maps::{BpfMap, Bytes, ConntrackEntry, ConntrackKey4, ConntrackKey6, Cursor, conntrack_flags, names};
use nix::time::{ClockId, clock_gettime};
use serde::Serialize;

use super::{Root, address};
use crate::CliError;
use crate::output::OutputArguments;
use crate::session::Session;

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Forget connections: packets of those that go on are judged as if they were new
    Flush(Flush),
    /// List connections
    List(List),
}

#[derive(Debug, Args)]
pub(crate) struct Flush {
    /// Of which endpoint; global is all
    which: Which,
    #[command(flatten)]
    root: Root,
}

#[derive(Debug, Args)]
pub(crate) struct List {
    /// Of which endpoint; global is all
    #[arg(default_value = "global")]
    which: Which,
    #[command(flatten)]
    root: Root,
    #[command(flatten)]
    output: OutputArguments,
}

#[derive(Debug, Clone, Copy)]
enum Which {
    Global,
    Endpoint(u16),
}

impl FromStr for Which {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.parse() {
            _ if text == "global" => Ok(Self::Global),
            Ok(id) if id > 0 => Ok(Self::Endpoint(id)),
            _ => Err("write global or the number of an endpoint".to_owned()),
        }
    }
}

impl Which {
    const fn includes(self, entry: &ConntrackEntry) -> bool {
        match self {
            Self::Global => true,
            Self::Endpoint(id) => entry.concerns(id),
        }
    }
}

/// A key of either family.
trait Key: Bytes {
    fn protocol(&self) -> u8;
    fn ends(&self) -> [SocketAddr; 2];
}

impl Key for ConntrackKey4 {
    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn ends(&self) -> [SocketAddr; 2] {
        let [first, second] = self.addresses();
        [(first, self.port[0].get()).into(), (second, self.port[1].get()).into()]
    }
}

impl Key for ConntrackKey6 {
    fn protocol(&self) -> u8 {
        self.protocol
    }

    fn ends(&self) -> [SocketAddr; 2] {
        let [first, second] = self.addresses();
        [(first, self.port[0].get()).into(), (second, self.port[1].get()).into()]
    }
}

/// A connection as it is printed.
#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Connection {
    protocol: String,
    initiator: SocketAddr,
    responder: SocketAddr,
    /// Seconds; below zero once it has ended and is not yet removed.
    expires_in: i64,
    tx_packets: u64,
    tx_bytes: u64,
    rx_packets: u64,
    rx_bytes: u64,
    flags: Vec<&'static str>,
    tx_tcp_flags: u8,
    rx_tcp_flags: u8,
    source_identity: u32,
    destination_identity: u32,
    source_endpoint: u16,
    destination_endpoint: u16,
    epoch: u32,
    /// The service whose address answers carry; 0: none.
    rev_nat: u16,
    /// Who stands for the responder, which is a service's frontend.
    #[serde(skip_serializing_if = "Option::is_none")]
    backend: Option<Backend>,
}

/// The backend of a connection to a service.
#[derive(Debug, Serialize)]
struct Backend {
    id: u32,
    address: SocketAddr,
}

impl Connection {
    fn new<K: Key>(key: &K, entry: &ConntrackEntry, now_s: i64) -> Self {
        let [first, second] = key.ends();
        let second_began = entry.flags & conntrack_flags::INITIATOR_IS_SECOND != 0;
        let (initiator, responder) = if second_began { (second, first) } else { (first, second) };
        let protocol = match Protocol::from_number(key.protocol()) {
            Some(protocol) => protocol.as_str().to_owned(),
            None => key.protocol().to_string(),
        };
        let backend = entry.service().map(|service| Backend {
            id: service.backend,
            address: (address(service.addr, responder.is_ipv4()), service.port.get()).into(),
        });
        // Such an entry has its backend where others count; the connection to the backend is an entry of its own.
        let counted = |count| if backend.is_some() { 0 } else { count };
        Self {
            protocol,
            initiator,
            responder,
            expires_in: i64::from(entry.lifetime) - now_s,
            tx_packets: counted(entry.tx_packets),
            tx_bytes: counted(entry.tx_bytes),
            rx_packets: counted(entry.rx_packets),
            rx_bytes: counted(entry.rx_bytes),
            flags: flags(entry.flags),
            tx_tcp_flags: entry.tx_flags_seen,
            rx_tcp_flags: entry.rx_flags_seen,
            source_identity: entry.src_sec_id,
            destination_identity: entry.dst_sec_id,
            source_endpoint: entry.src_lxc_id,
            destination_endpoint: entry.dst_lxc_id,
            epoch: entry.epoch,
            rev_nat: entry.rev_nat_index,
            backend,
        }
    }
}

/// Those that say how a connection is; who began it is said by its order.
fn flags(bits: u16) -> Vec<&'static str> {
    let all = [
        (conntrack_flags::TX_CLOSING, "TxClosing"),
        (conntrack_flags::RX_CLOSING, "RxClosing"),
        (conntrack_flags::SEEN_NON_SYN, "SeenNonSyn"),
        (conntrack_flags::REPLY_SEEN, "ReplySeen"),
        (conntrack_flags::VIA_STACK, "ViaStack"),
        (conntrack_flags::SERVICE, "Service"),
        (conntrack_flags::LOOPBACK, "Loopback"),
        (conntrack_flags::DSR, "DSR"),
    ];
    all.into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| name).collect()
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(Backend { id, address }) = &self.backend {
            return write!(
                f,
                "{} {} -> {} service={} backend={id} => {address} expires={}s flags=[{}] endpoint={} epoch={}",
                self.protocol,
                self.initiator,
                self.responder,
                self.rev_nat,
                self.expires_in,
                self.flags.join(" "),
                self.source_endpoint,
                self.epoch
            );
        }
        let rev_nat = if self.rev_nat == 0 { String::new() } else { format!(" service={}", self.rev_nat) };
        write!(
            f,
            "{} {} -> {} expires={}s tx_packets={} tx_bytes={} rx_packets={} rx_bytes={} flags=[{}] \
             tx_flags_seen={:#04x} rx_flags_seen={:#04x} identity={}->{} endpoint={}->{} epoch={}{rev_nat}",
            self.protocol,
            self.initiator,
            self.responder,
            self.expires_in,
            self.tx_packets,
            self.tx_bytes,
            self.rx_packets,
            self.rx_bytes,
            self.flags.join(" "),
            self.tx_tcp_flags,
            self.rx_tcp_flags,
            self.source_identity,
            self.destination_identity,
            self.source_endpoint,
            self.destination_endpoint,
            self.epoch
        )
    }
}

const MAPS4: [&str; 2] = [names::CT4_GLOBAL, names::CT_ANY4_GLOBAL];
const MAPS6: [&str; 2] = [names::CT6_GLOBAL, names::CT_ANY6_GLOBAL];

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Flush(arguments) => flush(&arguments, session),
            Self::List(arguments) => list(&arguments, session),
        }
    }
}

/// The entries of a map, a few hundred at a time: there may be a million.
fn each<K: Key>(
    root: &Root,
    name: &str,
    mut visit: impl FnMut(&BpfMap<K, ConntrackEntry>, Vec<(K, ConntrackEntry)>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    let map = root.open::<K, ConntrackEntry>(name)?;
    let mut cursor = Cursor::new();
    while !cursor.is_finished() {
        let rows = map.step(&mut cursor)?;
        visit(&map, rows)?;
    }
    Ok(())
}

fn list(arguments: &List, session: &mut Session<'_>) -> Result<(), CliError> {
    let now_s = clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(std::io::Error::from)?.tv_sec();
    let mut kept = Vec::new();
    let mut tell = |connection: Connection, session: &mut Session<'_>| {
        if arguments.output.output.is_some() {
            kept.push(connection);
            return Ok(());
        }
        session.line(connection.to_string())
    };
    let which = arguments.which;
    for name in MAPS4 {
        each::<ConntrackKey4>(&arguments.root, name, |_, rows| {
            let rows = rows.iter().filter(|(_, entry)| which.includes(entry));
            rows.map(|(key, entry)| Connection::new(key, entry, now_s))
                .try_for_each(|connection| tell(connection, session))
        })?;
    }
    for name in MAPS6 {
        each::<ConntrackKey6>(&arguments.root, name, |_, rows| {
            let rows = rows.iter().filter(|(_, entry)| which.includes(entry));
            rows.map(|(key, entry)| Connection::new(key, entry, now_s))
                .try_for_each(|connection| tell(connection, session))
        })?;
    }
    arguments.output.print(&kept, session).map(|_| ())
}

fn flush(arguments: &Flush, session: &mut Session<'_>) -> Result<(), CliError> {
    let mut count = 0;
    for name in MAPS4 {
        count += flush_map::<ConntrackKey4>(arguments, name)?;
    }
    for name in MAPS6 {
        count += flush_map::<ConntrackKey6>(arguments, name)?;
    }
    session.line(format!("{count} connections forgotten"))
}

fn flush_map<K: Key>(arguments: &Flush, name: &str) -> Result<usize, CliError> {
    let mut count = 0;
    each::<K>(&arguments.root, name, |map, rows| {
        let rows = rows.into_iter().filter(|(_, entry)| arguments.which.includes(entry));
        let keys: Vec<K> = rows.map(|(key, _)| key).collect();
        match map.remove_all(&keys).into_iter().next() {
            Some((_, error)) => Err(error.into()),
            None => {
                count += keys.len();
                Ok(())
            }
        }
    })?;
    Ok(count)
}

#[cfg(test)]
mod tests {
    use addr::Be16;

    use super::*;

    #[test]
    fn a_connection_is_printed_from_its_initiator() {
        let key = ConntrackKey4 {
            addr: [std::net::Ipv4Addr::new(10, 0, 0, 1).into(), std::net::Ipv4Addr::new(10, 0, 0, 2).into()],
            port: [Be16::new(80), Be16::new(33000)],
            protocol: 6,
            pad: [0; 3],
        };
        let entry = ConntrackEntry {
            tx_packets: 3,
            tx_bytes: 180,
            rx_packets: 2,
            rx_bytes: 120,
            lifetime: 1060,
            epoch: 7,
            src_sec_id: 31028,
            dst_sec_id: 4321,
            src_lxc_id: 12,
            flags: conntrack_flags::INITIATOR_IS_SECOND | conntrack_flags::REPLY_SEEN,
            tx_flags_seen: 0x12,
            ..ConntrackEntry::default()
        };
        let connection = Connection::new(&key, &entry, 1000);
        assert_eq!(
            connection.to_string(),
            "TCP 10.0.0.2:33000 -> 10.0.0.1:80 expires=60s tx_packets=3 tx_bytes=180 rx_packets=2 rx_bytes=120 \
             flags=[ReplySeen] tx_flags_seen=0x12 rx_flags_seen=0x00 identity=31028->4321 endpoint=12->0 epoch=7"
        );
        let json = serde_json::to_value(&connection).unwrap();
        assert_eq!((&json["initiator"], &json["expires-in"]), (&"10.0.0.2:33000".into(), &60.into()));
    }

    #[test]
    fn a_connection_to_a_service_names_its_backend_and_the_one_behind_it_names_the_service() {
        let key = ConntrackKey4 {
            addr: [std::net::Ipv4Addr::new(10, 0, 0, 2).into(), std::net::Ipv4Addr::new(10, 96, 0, 1).into()],
            port: [Be16::new(33000), Be16::new(80)],
            protocol: 6,
            pad: [0; 3],
        };
        let service = maps::ConntrackService {
            addr: [std::net::Ipv4Addr::new(10, 0, 0, 7).into(), 0.into(), 0.into(), 0.into()],
            port: Be16::new(8080),
            backend: 12,
            ..maps::ConntrackService::default()
        };
        let [tx_packets, tx_bytes, rx_packets, rx_bytes]: [u64; 4] = zerocopy::transmute!(service);
        let entry = ConntrackEntry {
            lifetime: 1060,
            epoch: 3,
            src_lxc_id: 5,
            rev_nat_index: 9,
            flags: conntrack_flags::SERVICE,
            tx_packets,
            tx_bytes,
            rx_packets,
            rx_bytes,
            ..ConntrackEntry::default()
        };
        let connection = Connection::new(&key, &entry, 1000);
        assert_eq!(
            connection.to_string(),
            "TCP 10.0.0.2:33000 -> 10.96.0.1:80 service=9 backend=12 => 10.0.0.7:8080 expires=60s flags=[Service] \
             endpoint=5 epoch=3"
        );
        let json = serde_json::to_value(&connection).unwrap();
        assert_eq!((&json["tx-packets"], &json["backend"]["address"]), (&0.into(), &"10.0.0.7:8080".into()));
        let behind = ConntrackEntry { rev_nat_index: 9, ..ConntrackEntry::default() };
        assert!(Connection::new(&key, &behind, 0).to_string().ends_with(" epoch=0 service=9"));
        let dsr = ConntrackEntry { flags: conntrack_flags::DSR, ..behind };
        assert!(Connection::new(&key, &dsr, 0).to_string().contains("flags=[DSR]"));
    }

    #[test]
    fn connections_are_chosen_by_endpoint() {
        let entry = ConntrackEntry { src_lxc_id: 12, ..ConntrackEntry::default() };
        let includes = |text: &str| text.parse::<Which>().unwrap().includes(&entry);
        assert!(includes("global") && includes("12") && !includes("13"));
        for wrong in ["0", "-1", "65536", "all"] {
            wrong.parse::<Which>().unwrap_err();
        }
    }
}
