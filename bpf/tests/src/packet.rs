// SPDX-License-Identifier: Apache-2.0
//! Packets, byte by byte.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::sum::{internet_checksum, transport_checksum};

/// TCP's flags.
pub mod tcp_flags {
    /// No more data.
    pub const FIN: u8 = 1;
    /// Opens.
    pub const SYN: u8 = 2;
    /// Ends at once.
    pub const RST: u8 = 4;
    /// Acknowledges.
    pub const ACK: u8 = 16;
}

/// How much of a packet an ICMP error quotes.
#[derive(Clone, Copy, Debug)]
pub enum Quoted {
    /// Its IP header and 8 bytes: what RFC 792 asks for.
    Eight,
    /// All of it.
    All,
}

#[derive(Clone, Debug)]
struct Fragment {
    offset: u16,
    more: bool,
    id: u32,
}

/// A packet from one address to another.
#[derive(Clone, Debug)]
pub struct Packet {
    source_mac: [u8; 6],
    destination_mac: [u8; 6],
    from: IpAddr,
    to: IpAddr,
    hops: u8,
    protocol: u8,
    transport: Vec<u8>,
    checksum_at: Option<usize>,
    fragment: Option<Fragment>,
    options: Vec<u8>,
    extensions: Vec<(u8, Vec<u8>)>,
    whole: bool,
}

impl Packet {
    /// Of a protocol, with these bytes behind the IP header.
    pub fn raw(from: IpAddr, to: IpAddr, protocol: u8, transport: Vec<u8>) -> Self {
        Self {
            source_mac: [0; 6],
            destination_mac: [0; 6],
            from,
            to,
            hops: 64,
            protocol,
            transport,
            checksum_at: None,
            fragment: None,
            options: Vec::new(),
            extensions: Vec::new(),
            whole: false,
        }
    }

    fn summed(mut self, at: usize) -> Self {
        self.checksum_at = Some(at);
        self
    }

    /// A TCP segment.
    pub fn tcp(from: (IpAddr, u16), to: (IpAddr, u16), flags: u8) -> Self {
        let mut header = ports(from.1, to.1);
        header.extend([0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0]);
        Self::raw(from.0, to.0, 6, header).summed(16)
    }

    /// A UDP datagram.
    pub fn udp(from: (IpAddr, u16), to: (IpAddr, u16)) -> Self {
        let mut header = ports(from.1, to.1);
        header.extend([0, 12, 0, 0]);
        header.extend(b"data");
        Self::raw(from.0, to.0, 17, header).summed(6)
    }

    /// An SCTP packet; its checksum is not of the internet's kind and stays as it is.
    pub fn sctp(from: (IpAddr, u16), to: (IpAddr, u16)) -> Self {
        let mut header = ports(from.1, to.1);
        header.extend([0, 0, 0, 1, 0xab, 0xcd, 0xef, 0x01]);
        Self::raw(from.0, to.0, 132, header)
    }

    fn icmp(from: IpAddr, to: IpAddr, message: Vec<u8>) -> Self {
        Self::raw(from, to, if from.is_ipv4() { 1 } else { 58 }, message).summed(2)
    }

    /// A question that is to be echoed.
    pub fn echo_request(from: IpAddr, to: IpAddr, id: u16) -> Self {
        Self::icmp(from, to, echo(if from.is_ipv4() { 8 } else { 128 }, id))
    }

    /// The answer to it.
    pub fn echo_reply(from: IpAddr, to: IpAddr, id: u16) -> Self {
        Self::icmp(from, to, echo(if from.is_ipv4() { 0 } else { 129 }, id))
    }

    /// An ICMP message without an id.
    pub fn message(from: IpAddr, to: IpAddr, kind: u8) -> Self {
        Self::icmp(from, to, vec![kind, 0, 0, 0, 0, 0, 0, 0])
    }

    /// An ICMP error about another packet.
    pub fn error(from: IpAddr, to: IpAddr, kind: u8, about: &Self, quoted: Quoted) -> Self {
        let mut message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
        let about_bytes = about.ip_bytes();
        let length = match quoted {
            Quoted::All => about_bytes.len(),
            Quoted::Eight => about_bytes.len() - about.payload().len() + 8,
        };
        message.extend(&about_bytes[..length]);
        Self::icmp(from, to, message)
    }

    /// An ICMP error about another packet: the way takes no more than so many bytes.
    pub fn too_big(from: IpAddr, to: IpAddr, mtu: u16, about: &Self) -> Self {
        let mut error = Self::error(from, to, if from.is_ipv4() { 3 } else { 2 }, about, Quoted::All);
        error.transport[1] = if from.is_ipv4() { 4 } else { 0 };
        error.transport[6..8].copy_from_slice(&mtu.to_be_bytes());
        error
    }

    /// An IPv4 packet that nobody may fragment, as IPv6's all are.
    pub fn whole(self) -> Self {
        Self { whole: true, ..self }
    }

    /// With these Ethernet addresses.
    pub fn macs(mut self, source: [u8; 6], destination: [u8; 6]) -> Self {
        (self.source_mac, self.destination_mac) = (source, destination);
        self
    }

    /// With this time to live.
    pub fn hops(mut self, hops: u8) -> Self {
        self.hops = hops;
        self
    }

    /// With 4-byte IPv4 options that mean nothing.
    pub fn options(self, words: usize) -> Self {
        self.option_bytes(vec![1; words * 4])
    }

    /// With these IPv4 options, of whole words.
    pub fn option_bytes(mut self, bytes: Vec<u8>) -> Self {
        self.options = bytes;
        self
    }

    /// With an IPv6 extension header; they follow each other as they are added.
    pub fn extension(mut self, kind: u8, bytes: Vec<u8>) -> Self {
        self.extensions.push((kind, bytes));
        self
    }

    /// The piece of the packet at this offset in units of 8 bytes, of this many such units; `None`: up to its end.
    pub fn fragment(mut self, offset: u16, units: Option<u16>, id: u32) -> Self {
        self.transport = self.payload();
        self.checksum_at = None;
        let start = usize::from(offset) * 8;
        let end = units.map_or(self.transport.len(), |units| start + usize::from(units) * 8);
        self.transport = self.transport[start..end].to_vec();
        self.fragment = Some(Fragment { offset, more: units.is_some(), id });
        self
    }

    /// More bytes at its end.
    pub fn with_data(mut self, bytes: &[u8]) -> Self {
        self.transport.extend(bytes);
        if self.protocol == 17 {
            let length = u16::try_from(self.transport.len()).expect("a packet");
            self.transport[4..6].copy_from_slice(&length.to_be_bytes());
        }
        self
    }

    /// With as many bytes at its end as make it this long, with its IP header.
    pub fn of_length(self, length: usize) -> Self {
        let more = length - self.ip_bytes().len();
        self.with_data(&vec![7; more])
    }

    /// A UDP datagram that says it has no checksum.
    pub fn without_checksum(mut self) -> Self {
        self.checksum_at = None;
        self
    }

    /// What follows the IP header and its extensions.
    pub fn payload(&self) -> Vec<u8> {
        let mut bytes = self.transport.clone();
        if let Some(at) = self.checksum_at {
            let sum = transport_checksum(self.from, self.to, self.protocol, &bytes);
            bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        bytes
    }

    fn ip_bytes(&self) -> Vec<u8> {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => self.ipv4(from, to),
            (IpAddr::V6(from), IpAddr::V6(to)) => self.ipv6(from, to),
            _ => panic!("{} and {} are of two families", self.from, self.to),
        }
    }

    fn ipv4(&self, from: Ipv4Addr, to: Ipv4Addr) -> Vec<u8> {
        let payload = self.payload();
        let header_length = 20 + self.options.len();
        let length = u16::try_from(header_length + payload.len()).expect("a packet");
        let (id, offset) = self.fragment.as_ref().map_or((7, 0), |fragment| {
            (fragment.id as u16, fragment.offset | if fragment.more { 0x2000 } else { 0 })
        });
        let offset = offset | if self.whole { 0x4000 } else { 0 };
        let mut header = vec![0x40 | (header_length / 4) as u8, 0];
        header.extend(length.to_be_bytes());
        header.extend(id.to_be_bytes());
        header.extend(offset.to_be_bytes());
        header.extend([self.hops, self.protocol, 0, 0]);
        header.extend(from.octets());
        header.extend(to.octets());
        header.extend(&self.options);
        let sum = internet_checksum(&header);
        header[10..12].copy_from_slice(&sum.to_be_bytes());
        header.extend(payload);
        header
    }

    fn ipv6(&self, from: Ipv6Addr, to: Ipv6Addr) -> Vec<u8> {
        let mut chain = self.extensions.clone();
        if let Some(fragment) = &self.fragment {
            let mut bytes = vec![0];
            bytes.extend((fragment.offset << 3 | u16::from(fragment.more)).to_be_bytes());
            bytes.extend(fragment.id.to_be_bytes());
            chain.push((44, bytes));
        }
        let mut next = self.protocol;
        let mut rest = self.payload();
        for (kind, bytes) in chain.into_iter().rev() {
            let mut header = vec![next];
            header.extend(bytes);
            header.extend(rest);
            (next, rest) = (kind, header);
        }
        let mut header = vec![0x60, 0, 0, 0];
        header.extend(u16::try_from(rest.len()).expect("a packet").to_be_bytes());
        header.extend([next, self.hops]);
        header.extend(from.octets());
        header.extend(to.octets());
        header.extend(rest);
        header
    }

    /// The frame.
    pub fn bytes(&self) -> Vec<u8> {
        let kind: u16 = if self.from.is_ipv4() { 0x0800 } else { 0x86dd };
        let mut frame = [self.destination_mac, self.source_mac].concat();
        frame.extend(kind.to_be_bytes());
        frame.extend(self.ip_bytes());
        frame
    }
}

fn ports(from: u16, to: u16) -> Vec<u8> {
    [from.to_be_bytes(), to.to_be_bytes()].concat()
}

fn echo(kind: u8, id: u16) -> Vec<u8> {
    let mut message = vec![kind, 0, 0, 0];
    message.extend(id.to_be_bytes());
    message.extend([0, 1]);
    message.extend(b"ping");
    message
}

/// "Who has this address?" by ARP.
pub fn arp_request(mac: [u8; 6], from: Ipv4Addr, asked: Ipv4Addr) -> Vec<u8> {
    let mut frame = [[0xff; 6], mac].concat();
    frame.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(mac);
    frame.extend(from.octets());
    frame.extend([0; 6]);
    frame.extend(asked.octets());
    frame
}

/// The same by IPv6's neighbour discovery.
pub fn neighbour_solicitation(mac: [u8; 6], from: Ipv6Addr, asked: Ipv6Addr) -> Vec<u8> {
    let octets = asked.octets();
    let group = Ipv6Addr::new(
        0xff02,
        0,
        0,
        0,
        0,
        1,
        0xff00 | u16::from(octets[13]),
        u16::from_be_bytes([octets[14], octets[15]]),
    );
    let mut message = vec![135, 0, 0, 0, 0, 0, 0, 0];
    message.extend(octets);
    message.extend([1, 1]);
    message.extend(mac);
    Packet::icmp(from.into(), group.into(), message)
        .hops(255)
        .macs(mac, [0x33, 0x33, 0xff, octets[13], octets[14], octets[15]])
        .bytes()
}
