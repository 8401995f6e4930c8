// SPDX-License-Identifier: Apache-2.0
//! Packets that are too long for the way to a backend, or from it: who hears of it, and about what. The node's ways take 1500 bytes.

use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, SYN};
use bpf_tests::{BOTH, Family, Hook, Node, Outcome, Packet, Service, Verdict, on_node_configured};
use maps::Direction;

use crate::services::expect_ends;

const TCP: u8 = 6;
const UDP: u8 = 17;
const TOO_BIG: u8 = 168;
const MTU: usize = 1500;
const PORT: u16 = 30_080;

type End = (IpAddr, u16);

/// A client outside, a NodePort, and a backend on another node.
#[derive(Clone, Copy)]
struct Flow<'a> {
    node: &'a Node,
    family: Family,
    protocol: u8,
    client: End,
    frontend: End,
    server: End,
    dsr: bool,
}

fn each(direct: &[u32], protocols: &[u8], test: impl Fn(Flow<'_>) + Sync) {
    for family in BOTH {
        for (dsr, protocol) in direct.iter().flat_map(|dsr| protocols.iter().map(move |p| (*dsr, *p))) {
            on_node_configured(&|_, services| services.dsr = dsr, |node| {
                node.open();
                let frontend = (family.node(), PORT);
                let server = (family.remote_pod(), 8080);
                node.set_backend(90, protocol, server);
                node.set_service(&Service::new(9, protocol, frontend).external(), &[90]);
                test(Flow {
                    node,
                    family,
                    protocol,
                    client: (family.world(), 5000),
                    frontend,
                    server,
                    dsr: dsr == 1,
                });
            });
        }
    }
}

impl Flow<'_> {
    fn packet(&self, from: End, to: End, flags: u8) -> Packet {
        if self.protocol == TCP { Packet::tcp(from, to, flags) } else { Packet::udp(from, to) }
    }

    /// The client's, of this length.
    fn asked(&self, length: usize) -> Packet {
        self.packet(self.client, self.frontend, ACK).whole().of_length(length)
    }

    /// From the network.
    fn receive(&self, packet: Packet) -> Outcome {
        self.node.run(Hook::FromNetdev, &self.node.frame(Hook::FromNetdev, packet), 1).0
    }

    /// The connection stands.
    fn opens(&self) -> Outcome {
        let outcome = self.receive(self.packet(self.client, self.frontend, SYN));
        assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, self.server.0));
        outcome
    }

    /// Bytes in which a packet of the client says its frontend. TCP has said it already.
    fn said(&self) -> usize {
        match (self.dsr && self.protocol == UDP, self.family) {
            (false, _) => 0,
            (true, Family::V4) => 8,
            (true, Family::V6) => 24,
        }
    }

    /// How long the client's packets may be.
    fn fits(&self) -> usize {
        MTU - self.said()
    }

    /// The drop was counted, and the sender is told in the name of whom it wrote to, about its own packet.
    fn expect_told(
        &self,
        send: impl FnOnce() -> Outcome,
        mtu: usize,
        sent: &Packet,
        from: End,
        to: End,
    ) -> Outcome {
        let before = self.counted();
        let outcome = send();
        let seen = outcome.seen();
        assert_eq!(self.counted(), before + 1, "{seen:?}");
        seen.expect_checksum();
        assert_eq!((outcome.verdict, seen.from, seen.to), (Verdict::Redirect, to.0, from.0));
        assert_eq!(seen.protocol, self.family.icmp());
        let (kind, at) = if self.family == Family::V4 { ([3, 4], 6) } else { ([2, 0], 4) };
        assert_eq!(seen.payload[..2], kind);
        assert_eq!(seen.payload[4..at], [0, 0][..at - 4]);
        let told = &seen.payload[at..8];
        assert_eq!(told.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)), mtu);
        // But for the transport's checksum, which nobody looks at there.
        let own = sent.bytes();
        let inner = &seen.payload[8..];
        let ports = if self.family == Family::V4 { 24 } else { 44 };
        assert_eq!(inner[..ports], own[14..14 + ports]);
        outcome
    }

    fn counted(&self) -> u64 {
        [Direction::Ingress, Direction::Egress].map(|way| self.node.counted(TOO_BIG, way)).iter().sum()
    }
}

#[test]
fn a_client_is_told_how_long_its_packets_may_be_and_then_they_fit() {
    each(&[0, 1], &[TCP, UDP], |flow| {
        flow.opens();
        let fits = flow.fits();
        for length in [fits + 1, MTU + 1, MTU + 100] {
            let asked = flow.asked(length);
            flow.expect_told(|| flow.receive(asked.clone()), fits, &asked, flow.client, flow.frontend);
        }
        let outcome = flow.receive(flow.asked(fits));
        assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, flow.server.0));
        assert_eq!(outcome.frame.len(), 14 + MTU);
    });
}

#[test]
fn the_answer_leaves_the_native_device_as_it_is_by_the_way_that_the_packet_came() {
    each(&[0, 1], &[UDP], |flow| {
        let asked = flow.asked(MTU + 1);
        let told = flow.receive(asked.clone());
        let frame = flow.node.frame(Hook::FromNetdev, asked);
        assert_eq!((&told.frame[..6], &told.frame[6..12]), (&frame[6..12], &frame[..6]));
        let sent = flow.node.to_netdev_redirected(&told);
        assert_eq!((sent.verdict, &sent.frame, sent.mark), (Verdict::Stack, &told.frame, 0));
    });
}

#[test]
fn what_may_be_fragmented_is_handed_to_the_stack_and_takes_the_nodes_address_when_it_leaves() {
    each(&[0], &[TCP, UDP], |flow| {
        if flow.family == Family::V6 {
            return;
        }
        let port = flow.opens().seen().ports().0;
        let before = flow.counted();
        let long = flow.packet(flow.client, flow.frontend, ACK).of_length(1600);
        let outcome = flow.receive(long);
        let seen = outcome.seen();
        seen.expect_checksum();
        assert_eq!((outcome.verdict, seen.from, seen.to), (Verdict::Stack, flow.client.0, flow.server.0));
        assert_eq!((seen.ports(), seen.hops), ((5000, 8080), 64));
        // The stack's pieces, which keep the mark.
        let translated = flow.packet(flow.client, flow.server, ACK).of_length(1600);
        for piece in [translated.clone().fragment(0, Some(185), 4), translated.fragment(185, None, 4)] {
            let frame = flow.node.frame(Hook::ToNetdev, piece);
            let out = flow.node.to_netdev_redirected(&Outcome { frame: frame.clone(), ..outcome.clone() });
            let seen = out.seen();
            assert_eq!(
                (out.verdict, seen.from, seen.to, out.mark),
                (Verdict::Stack, flow.family.node(), flow.server.0, 0)
            );
            assert_eq!(out.frame.len(), frame.len());
            if out.frame[20] & 0x20 != 0 {
                assert_eq!(seen.ports(), (port, 8080));
            }
        }
        assert_eq!(flow.counted(), before);
        let answer = flow.packet(flow.server, (flow.family.node(), port), ACK);
        expect_ends(&flow.receive(answer), flow.frontend, flow.client);
    });
}

#[test]
fn with_direct_server_return_it_is_fragmented_with_what_it_says() {
    each(&[1], &[UDP], |flow| {
        if flow.family == Family::V6 {
            return;
        }
        let outcome = flow.receive(flow.packet(flow.client, flow.frontend, 0).of_length(MTU));
        let seen = outcome.seen();
        assert_eq!((outcome.verdict, seen.from, seen.to), (Verdict::Stack, flow.client.0, flow.server.0));
        // In each piece: the option says that it is to be copied.
        assert_eq!((outcome.frame.len(), outcome.frame[14], outcome.frame[34]), (14 + MTU + 8, 0x47, 0x9e));
        let sent = flow.node.to_netdev_redirected(&outcome);
        assert_eq!((sent.verdict, &sent.frame, sent.mark), (Verdict::Stack, &outcome.frame, 0));
    });
}

#[test]
fn fragments_of_ipv6_are_told_of_by_the_first() {
    each(&[0, 1], &[UDP], |flow| {
        if flow.family == Family::V4 {
            return;
        }
        // Of 1512 bytes each.
        let piece = |offset| {
            flow.packet(flow.client, flow.frontend, 0).of_length(4000).fragment(offset, Some(183), 4)
        };
        let first = piece(0);
        let told =
            flow.expect_told(|| flow.receive(first.clone()), flow.fits(), &first, flow.client, flow.frontend);
        assert_eq!(told.seen().payload[8 + 40..8 + 40 + 12], first.bytes()[54..66]);
        flow.node.expect_drop(TOO_BIG, |_| flow.receive(piece(183)));
    });
}

#[test]
fn of_segments_that_a_device_has_put_together_each_is_measured() {
    each(&[0, 1], &[TCP], |flow| {
        flow.opens();
        let headers = if flow.family == Family::V4 { 40 } else { 60 };
        let asked = flow.asked(1900);
        let frame = flow.node.frame(Hook::FromNetdev, asked.clone());
        let send = |segment: usize| flow.node.from_netdev_segments(&frame, segment as u32);
        let outcome = send(MTU - headers);
        assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, flow.server.0));
        assert_eq!(outcome.frame.len(), frame.len());
        flow.expect_told(|| send(MTU - headers + 1), MTU, &asked, flow.client, flow.frontend);
    });
}

#[test]
fn a_backend_is_told_that_its_answer_is_too_long_for_the_way_to_the_client() {
    each(&[0], &[TCP, UDP], |flow| {
        let asked = flow.opens().seen();
        let own = (asked.from, asked.ports().0);
        let answer = flow.packet(flow.server, own, ACK).whole().of_length(MTU + 1);
        flow.expect_told(|| flow.receive(answer.clone()), MTU, &answer, flow.server, own);
        expect_ends(
            &flow.receive(flow.packet(flow.server, own, ACK).whole().of_length(MTU)),
            flow.frontend,
            flow.client,
        );
    });
}

#[test]
fn a_pod_is_told_that_its_answer_is_too_long_for_the_way_to_the_client() {
    each(&[0, 1], &[TCP, UDP], |flow| {
        let pod = (flow.node.b.ip(flow.family), 8080);
        flow.node.set_backend(90, flow.protocol, pod);
        flow.receive(flow.packet(flow.client, flow.frontend, SYN));
        let answer = flow.packet(pod, flow.client, ACK).whole().of_length(MTU + 1);
        let send = || flow.node.from_pod(&flow.node.b, answer.clone());
        let told = flow.expect_told(send, MTU, &answer, pod, flow.client);
        assert_eq!(told.frame[..6], flow.node.b.mac);
        let answer = flow.packet(pod, flow.client, ACK).whole().of_length(MTU);
        expect_ends(&flow.node.from_pod(&flow.node.b, answer), flow.frontend, flow.client);
    });
}

#[test]
fn an_answer_that_others_may_fragment_goes_as_far_as_the_device_lets_it() {
    each(&[0], &[TCP, UDP], |flow| {
        if flow.family == Family::V6 {
            return;
        }
        let asked = flow.opens().seen();
        let own = (asked.from, asked.ports().0);
        let answer = |length| flow.packet(flow.server, own, ACK).of_length(length);
        // 4 bytes are a VLAN's.
        for length in [MTU, MTU + 4] {
            expect_ends(&flow.receive(answer(length)), flow.frontend, flow.client);
        }
    });
}

#[test]
fn a_router_that_finds_a_forwarded_packet_too_long_is_heard_by_the_client() {
    each(&[0], &[TCP, UDP], |flow| {
        // The port that the node asks from is another than the client's.
        let other = Flow { client: (flow.family.known(), 5000), ..flow };
        flow.opens();
        let asked = other.opens().seen();
        assert_ne!(asked.ports().0, 5000);
        let sent = Packet::raw(asked.from, asked.to, asked.protocol, asked.payload);
        let error = Packet::too_big(flow.family.hop(), flow.family.node(), 1300, &sent);
        let rest = error.payload()[..8].to_vec();
        let outcome = flow.node.from_netdev(error);
        let seen = outcome.seen();
        seen.expect_checksum();
        assert_eq!(
            (outcome.verdict, seen.from, seen.to),
            (Verdict::Redirect, flow.family.hop(), other.client.0)
        );
        assert_eq!((&seen.payload[..2], &seen.payload[4..8]), (&rest[..2], &rest[4..8]));
        let inner = seen.quoted();
        assert_eq!((inner.from, inner.to, inner.ports()), (other.client.0, flow.frontend.0, (5000, PORT)));
    });
}

#[test]
fn what_the_nodes_stack_says_of_a_pods_packet_to_a_service_is_about_the_service() {
    each(&[0], &[TCP, UDP], |flow| {
        let (client, service) = ((flow.node.a.ip(flow.family), 6000), (flow.family.cluster(), 80));
        flow.node.set_service(&Service::new(11, flow.protocol, service), &[90]);
        let asked = flow.node.from_pod(&flow.node.a, flow.packet(client, service, SYN));
        assert_eq!((asked.verdict, asked.seen().to), (Verdict::Stack, flow.server.0));
        let sent = flow.packet(client, flow.server, ACK).whole();
        let error = Packet::too_big(flow.family.node(), client.0, 1300, &sent);
        let outcome = flow.node.from_host(error);
        let seen = outcome.seen();
        seen.expect_checksum();
        assert_eq!((outcome.verdict, seen.to), (Verdict::Redirect, client.0));
        let inner = seen.quoted();
        assert_eq!((inner.from, inner.to, inner.ports()), (client.0, service.0, (6000, 80)));
    });
}
