// SPDX-License-Identifier: Apache-2.0
//! What a program did with a packet.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::sum::{internet_checksum, transport_checksum};

/// Where the packet goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Further up or down the node's stack.
    Stack,
    /// Nowhere.
    Drop,
    /// To another device.
    Redirect,
}

impl Verdict {
    /// From a traffic control action.
    pub(crate) fn of(action: u32) -> Self {
        match action {
            0 => Self::Stack,
            2 => Self::Drop,
            7 => Self::Redirect,
            other => panic!("no program of ours returns {other}"),
        }
    }
}

/// A verdict, and the packet as it is then.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where the packet goes.
    pub verdict: Verdict,
    /// Its bytes.
    pub frame: Vec<u8>,
    /// What programs tell each other about it.
    pub mark: u32,
}

/// What is read of a packet without extension headers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Ethernet source.
    pub source_mac: [u8; 6],
    /// Ethernet destination.
    pub destination_mac: [u8; 6],
    /// Source address.
    pub from: IpAddr,
    /// Destination address.
    pub to: IpAddr,
    /// Time to live.
    pub hops: u8,
    /// What follows the IP header.
    pub payload: Vec<u8>,
    /// Protocol number.
    pub protocol: u8,
}

impl Outcome {
    /// The packet's fields.
    pub fn seen(&self) -> Seen {
        see(&self.frame[14..], &self.frame)
    }
}

impl Seen {
    /// Source and destination port.
    pub fn ports(&self) -> (u16, u16) {
        (word(&self.payload, 0), word(&self.payload, 2))
    }

    /// The id of an ICMP echo.
    pub fn echo_id(&self) -> u16 {
        word(&self.payload, 4)
    }

    /// Panics if the transport's checksum is wrong. The IP header's was looked at already.
    pub fn expect_checksum(&self) {
        assert_eq!(transport_checksum(self.from, self.to, self.protocol, &self.payload), 0, "{self:?}");
    }

    /// As [`Seen::expect_checksum`]; but SCTP's is of another kind, and no program's business.
    pub fn expect_checksum_unless_sctp(&self) {
        if self.protocol != 132 {
            self.expect_checksum();
        }
    }

    /// The packet that an ICMP error quotes.
    pub fn quoted(&self) -> Self {
        let mut frame = vec![0; 14];
        frame.extend(&self.payload[8..]);
        see(&self.payload[8..], &frame)
    }
}

fn word(bytes: &[u8], at: usize) -> u16 {
    u16::from_be_bytes([bytes[at], bytes[at + 1]])
}

fn see(ip: &[u8], frame: &[u8]) -> Seen {
    let array = |at: usize| <[u8; 6]>::try_from(&frame[at..at + 6]).expect("an Ethernet header");
    let (destination_mac, source_mac) = (array(0), array(6));
    if ip[0] >> 4 == 4 {
        let length = usize::from(ip[0] & 15) * 4;
        assert_eq!(internet_checksum(&ip[..length]), 0, "the checksum of the IPv4 header");
        let address = |at: usize| IpAddr::from(Ipv4Addr::new(ip[at], ip[at + 1], ip[at + 2], ip[at + 3]));
        return Seen {
            source_mac,
            destination_mac,
            from: address(12),
            to: address(16),
            hops: ip[8],
            payload: ip[length..].to_vec(),
            protocol: ip[9],
        };
    }
    let address = |at: usize| {
        IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(&ip[at..at + 16]).expect("an IPv6 header")))
    };
    Seen {
        source_mac,
        destination_mac,
        from: address(8),
        to: address(24),
        hops: ip[7],
        payload: ip[40..].to_vec(),
        protocol: ip[6],
    }
}
