// SPDX-License-Identifier: Apache-2.0
//! What is in a packet, as far as it was captured.

use std::fmt;
use std::net::Ipv4Addr;

use etherparse::{EtherType, IpNumber, LaxNetSlice, LaxSlicedPacket, LinkSlice, TcpSlice, TransportSlice};
use serde::{Deserialize, Serialize};

/// Two ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Flow {
    /// From where.
    pub src: String,
    /// To where.
    pub dst: String,
}

impl Flow {
    fn new(source: impl fmt::Display, destination: impl fmt::Display) -> Self {
        Self { src: source.to_string(), dst: destination.to_string() }
    }
}

/// What is in a packet. A layer that it does not have, or that was not captured, is left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Summary {
    /// Its MAC addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l2: Option<Flow>,
    /// Its IP addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l3: Option<Flow>,
    /// Its ports.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l4: Option<Flow>,
    /// `tcp`, `udp`, `icmp`, `icmpv6`, `arp`, or `protocol N`, or `ethertype 0xN`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
    /// TCP flags or the type of an ICMP or ARP message, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
}

impl Summary {
    /// Of a frame that begins with its Ethernet header and may end anywhere.
    pub fn of(frame: &[u8]) -> Self {
        let mut summary = Self::default();
        let Ok(packet) = LaxSlicedPacket::from_ethernet(frame) else { return summary };
        if let Some(LinkSlice::Ethernet2(ethernet)) = &packet.link {
            summary.l2 = Some(Flow::new(Mac(ethernet.source()), Mac(ethernet.destination())));
            summary.protocol = Some(ether_type(ethernet.ether_type()));
        }
        match &packet.net {
            Some(LaxNetSlice::Ipv4(ip)) => {
                let header = ip.header();
                summary.l3 = Some(Flow::new(header.source_addr(), header.destination_addr()));
                summary.protocol = Some(ip_protocol(ip.payload().ip_number));
                summary.detail = ip.payload().fragmented.then(|| "fragment".to_owned());
            }
            Some(LaxNetSlice::Ipv6(ip)) => {
                let header = ip.header();
                summary.l3 = Some(Flow::new(header.source_addr(), header.destination_addr()));
                summary.protocol = Some(ip_protocol(ip.payload().ip_number));
                summary.detail = ip.payload().fragmented.then(|| "fragment".to_owned());
            }
            Some(LaxNetSlice::Arp(arp)) => {
                summary.protocol = Some("arp".to_owned());
                summary.l3 = arp_addresses(arp.sender_protocol_addr(), arp.target_protocol_addr());
                summary.detail = match arp.operation().0 {
                    1 => Some("request".to_owned()),
                    2 => Some("reply".to_owned()),
                    other => Some(format!("operation {other}")),
                };
            }
            None => {}
        }
        summary.transport(packet.transport.as_ref());
        summary
    }

    fn transport(&mut self, transport: Option<&TransportSlice<'_>>) {
        match transport {
            Some(TransportSlice::Tcp(tcp)) => {
                self.l4 = Some(Flow::new(tcp.source_port(), tcp.destination_port()));
                self.detail = Some(flags(tcp)).filter(|flags| !flags.is_empty());
            }
            Some(TransportSlice::Udp(udp)) => {
                self.l4 = Some(Flow::new(udp.source_port(), udp.destination_port()));
                self.detail = None;
            }
            Some(TransportSlice::Icmpv4(icmp)) => {
                self.detail = Some(icmpv4(icmp.type_u8(), icmp.code_u8()));
            }
            Some(TransportSlice::Icmpv6(icmp)) => {
                self.detail = Some(icmpv6(icmp.type_u8(), icmp.code_u8()));
            }
            Some(_) | None => {}
        }
    }
}

/// As 1.4 prints a connection: `10.0.0.1:1 -> 10.0.0.2:2 tcp SYN`, `10.0.0.1 -> 10.0.0.2 EchoRequest`.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let protocol = self.protocol.as_deref().unwrap_or("packet that cannot be read");
        match (&self.l3, &self.l4) {
            (Some(l3), Some(l4)) => {
                let (source, destination) = (End(&l3.src, &l4.src), End(&l3.dst, &l4.dst));
                write!(f, "{source} -> {destination} {protocol}")?;
            }
            (Some(l3), None) => {
                write!(f, "{} -> {}", l3.src, l3.dst)?;
                // 1.4 names the message and not the protocol.
                if !(protocol.starts_with("icmp") && self.detail.is_some()) {
                    write!(f, " {protocol}")?;
                }
            }
            (None, _) => {
                if let Some(l2) = &self.l2 {
                    write!(f, "{} -> {} ", l2.src, l2.dst)?;
                }
                f.write_str(protocol)?;
            }
        }
        self.detail.as_ref().map_or(Ok(()), |detail| write!(f, " {detail}"))
    }
}

/// An address with a port.
struct End<'a>(&'a str, &'a str);

impl fmt::Display for End<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(address, port) = self;
        if address.contains(':') { write!(f, "[{address}]:{port}") } else { write!(f, "{address}:{port}") }
    }
}

struct Mac([u8; 6]);

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

fn ether_type(number: EtherType) -> String {
    match number {
        EtherType::IPV4 => "ipv4".to_owned(),
        EtherType::IPV6 => "ipv6".to_owned(),
        EtherType::ARP => "arp".to_owned(),
        EtherType(number) => format!("ethertype {number:#06x}"),
    }
}

fn ip_protocol(number: IpNumber) -> String {
    match number {
        IpNumber::TCP => "tcp".to_owned(),
        IpNumber::UDP => "udp".to_owned(),
        IpNumber::ICMP => "icmp".to_owned(),
        IpNumber::IPV6_ICMP => "icmpv6".to_owned(),
        IpNumber::SCTP => "sctp".to_owned(),
        IpNumber(number) => format!("protocol {number}"),
    }
}

fn arp_addresses(sender: &[u8], target: &[u8]) -> Option<Flow> {
    let address = |bytes: &[u8]| <[u8; 4]>::try_from(bytes).ok().map(Ipv4Addr::from);
    Some(Flow::new(address(sender)?, address(target)?))
}

fn flags(tcp: &TcpSlice<'_>) -> String {
    let set = [
        (tcp.syn(), "SYN"),
        (tcp.ack(), "ACK"),
        (tcp.rst(), "RST"),
        (tcp.fin(), "FIN"),
        (tcp.psh(), "PSH"),
        (tcp.urg(), "URG"),
        (tcp.ece(), "ECE"),
        (tcp.cwr(), "CWR"),
    ];
    let names: Vec<&str> = set.into_iter().filter_map(|(set, name)| set.then_some(name)).collect();
    names.join(", ")
}

/// Names of RFC 792.
fn icmpv4(kind: u8, code: u8) -> String {
    match (kind, code) {
        (0, _) => "EchoReply".to_owned(),
        (3, 0) => "DestinationUnreachable(Net)".to_owned(),
        (3, 1) => "DestinationUnreachable(Host)".to_owned(),
        (3, 2) => "DestinationUnreachable(Protocol)".to_owned(),
        (3, 3) => "DestinationUnreachable(Port)".to_owned(),
        (3, 4) => "DestinationUnreachable(FragmentationNeeded)".to_owned(),
        (3, code) => format!("DestinationUnreachable({code})"),
        (5, _) => "Redirect".to_owned(),
        (8, _) => "EchoRequest".to_owned(),
        (11, 0) => "TimeExceeded(TTLExceeded)".to_owned(),
        (11, _) => "TimeExceeded(FragmentReassemblyTimeExceeded)".to_owned(),
        (12, _) => "ParameterProblem".to_owned(),
        (kind, code) => format!("icmp type {kind} code {code}"),
    }
}

/// Names of RFC 4443, RFC 4861, RFC 2710 and RFC 3810.
fn icmpv6(kind: u8, code: u8) -> String {
    match (kind, code) {
        (1, 0) => "DestinationUnreachable(NoRouteToDst)".to_owned(),
        (1, 1) => "DestinationUnreachable(AdminProhibited)".to_owned(),
        (1, 3) => "DestinationUnreachable(Address)".to_owned(),
        (1, 4) => "DestinationUnreachable(Port)".to_owned(),
        (1, code) => format!("DestinationUnreachable({code})"),
        (2, _) => "PacketTooBig".to_owned(),
        (3, _) => "TimeExceeded".to_owned(),
        (4, _) => "ParameterProblem".to_owned(),
        (128, _) => "EchoRequest".to_owned(),
        (129, _) => "EchoReply".to_owned(),
        (130, _) => "MulticastListenerQuery".to_owned(),
        (131 | 143, _) => "MulticastListenerReport".to_owned(),
        (132, _) => "MulticastListenerDone".to_owned(),
        (133, _) => "RouterSolicitation".to_owned(),
        (134, _) => "RouterAdvertisement".to_owned(),
        (135, _) => "NeighborSolicitation".to_owned(),
        (136, _) => "NeighborAdvertisement".to_owned(),
        (kind, code) => format!("icmpv6 type {kind} code {code}"),
    }
}
