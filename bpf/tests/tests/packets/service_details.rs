// SPDX-License-Identifier: Apache-2.0
//! Services: who is chosen, fragments, errors, headers that are not plain, and backends elsewhere.

use std::collections::BTreeSet;
use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, SYN};
use bpf_tests::{BOTH, Family, Node, Outcome, Packet, Quoted, Service, Verdict, now_s, on_node_configured};
use maps::LbAffinity;

use crate::services::{Talk, each, expect_ends};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// Backends 100, 101 and so on: this many ports of pod B.
fn many(talk: &Talk<'_>, service: &Service, count: u16) {
    let ids: Vec<u32> = (0..count).map(|index| 100 + u32::from(index)).collect();
    for (id, port) in ids.iter().zip(9000..) {
        talk.node.set_backend(*id, talk.protocol, (talk.server.0, port));
    }
    talk.node.set_service(service, &ids);
}

/// The backend's port that a client's new connection is given.
fn given(talk: &Talk<'_>, client: (IpAddr, u16)) -> u16 {
    let outcome = talk.node.from_pod(&talk.node.a, talk.packet(client, talk.service.at, SYN));
    assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, talk.server.0));
    outcome.seen().ports().1
}

#[test]
fn connections_are_spread_over_all_slots() {
    each(&[TCP, UDP], |talk| {
        many(talk, &talk.service, 4);
        let given: Vec<u16> = (1000..1400).map(|port| given(talk, (talk.client.0, port))).collect();
        for backend in 9000..9004 {
            let count = given.iter().filter(|port| **port == backend).count();
            // 100 of 400 are expected; 8.7 is the standard deviation.
            assert!((50..150).contains(&count), "{backend}: {count}");
        }
    });
}

#[test]
fn a_client_with_affinity_keeps_its_backend_until_that_goes_or_its_time_is_over() {
    each(&[TCP, UDP], |talk| {
        let service = Service { affinity_s: 100, ..talk.service };
        many(talk, &service, 20);
        let first = given(talk, talk.client);
        for port in 1000..1020 {
            assert_eq!(given(talk, (talk.client.0, port)), first);
        }
        let last = || talk.node.affinity(7, talk.client.0).expect("the client is known");
        assert_eq!(last().backend, 100 + u32::from(first - 9000));

        // Each connection counts anew.
        talk.node.set_affinity(7, talk.client.0, LbAffinity { last_used_s: now_s() - 90, ..last() });
        assert_eq!(given(talk, (talk.client.0, 1100)), first);
        assert!(now_s() - last().last_used_s < 5);

        let mut later = BTreeSet::new();
        for port in 1200..1220 {
            talk.node.set_affinity(7, talk.client.0, LbAffinity { last_used_s: now_s() - 100, ..last() });
            later.insert(given(talk, (talk.client.0, port)));
        }
        assert!(later.len() > 1, "{later:?}");

        let gone = last().backend;
        // As the agent does: no slot names a backend that goes.
        let others: Vec<u32> = (100..120).filter(|id| *id != gone).collect();
        talk.node.set_service(&service, &others);
        talk.node.remove_backend(gone, talk.family);
        let other = given(talk, (talk.client.0, 1300));
        assert_ne!(u32::from(other - 9000) + 100, gone);
        assert_eq!(given(talk, (talk.client.0, 1301)), other);
    });
}

#[test]
fn maglev_gives_a_connection_the_same_backend_on_every_node() {
    for family in BOTH {
        for protocol in [TCP, UDP] {
            let on_one_node = || {
                let mut ports = Vec::new();
                on_node_configured(&|_, services| services.maglev = 1, |node| {
                    node.open();
                    let talk = Talk::new(node, family, protocol);
                    many(&talk, &talk.service, 251);
                    ports.extend((1000..1100).map(|port| given(&talk, (talk.client.0, port))));
                });
                ports
            };
            let ports = on_one_node();
            assert_eq!(ports, on_one_node());
            // 251 * (1 - (250/251)^100) = 82.8 different ones are expected.
            assert!(ports.iter().collect::<BTreeSet<_>>().len() > 60, "{ports:?}");
        }
    }
}

#[test]
fn fragments_follow_the_first_one_both_ways() {
    each(&[UDP], |talk| {
        let pieces = |packet: Packet, id| {
            let packet = packet.with_data(&[7; 100]);
            [packet.clone().fragment(0, Some(5), id), packet.fragment(5, None, id)]
        };
        for piece in pieces(talk.packet(talk.client, talk.service.at, 0), 4) {
            let outcome = talk.node.from_pod(&talk.node.a, piece);
            assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, talk.server.0));
        }
        for piece in pieces(talk.packet(talk.server, talk.client, 0), 5) {
            let outcome = talk.node.from_pod(&talk.node.b, piece);
            assert_eq!((outcome.verdict, outcome.seen().from), (Verdict::Redirect, talk.service.at.0));
        }
    });
}

#[test]
fn the_pieces_of_a_datagram_have_a_right_checksum_together() {
    each(&[UDP], |talk| {
        // IPv6's fragment header is in the payload that is seen: 8 bytes.
        let skipped = if talk.family == Family::V4 { 0 } else { 8 };
        let packet = talk.packet(talk.client, talk.service.at, 0).with_data(&[7; 100]);
        let mut payload = Vec::new();
        for piece in [packet.clone().fragment(0, Some(5), 4), packet.fragment(5, None, 4)] {
            payload.extend(&talk.node.from_pod(&talk.node.a, piece).seen().payload[skipped..]);
        }
        let sum = bpf_tests::transport_checksum(talk.client.0, talk.server.0, UDP, &payload);
        assert_eq!(sum, 0);
        assert_eq!(u16::from_be_bytes([payload[2], payload[3]]), talk.server.1);
    });
}

/// An error has reached the client, from there, about what it sent to the frontend.
fn expect_error(talk: &Talk<'_>, outcome: &Outcome, from: IpAddr) {
    let seen = outcome.seen();
    seen.expect_checksum();
    assert_eq!((outcome.verdict, seen.from, seen.to), (Verdict::Redirect, from, talk.client.0));
    let inner = seen.quoted();
    assert_eq!((inner.from, inner.to), (talk.client.0, talk.service.at.0));
    assert_eq!(inner.ports(), (talk.client.1, talk.service.at.1));
}

/// A packet as a backend or a router has it.
fn requote(outcome: &Outcome) -> Packet {
    let seen = outcome.seen();
    Packet::raw(seen.from, seen.to, seen.protocol, seen.payload)
}

#[test]
fn errors_about_what_was_asked_are_about_the_frontend() {
    each(&[TCP, UDP, SCTP], |talk| {
        let (family, kind) = (talk.family, talk.family.error_types()[1]);
        let sent = requote(&talk.asks(SYN));
        for quoted in [Quoted::Eight, Quoted::All] {
            let error = |from| Packet::error(from, talk.client.0, kind, &sent, quoted);
            let outcome = talk.node.from_pod(&talk.node.b, error(talk.server.0));
            expect_error(talk, &outcome, talk.service.at.0);
            expect_error(talk, &talk.node.from_host(error(family.hop())), family.hop());
        }
        let server = (family.remote_pod(), talk.server.1);
        talk.node.set_backend(71, talk.protocol, server);
        talk.node.set_service(&talk.service, &[71]);
        talk.node.forget(talk.protocol, talk.client, talk.service.at);
        let sent = requote(&talk.asks(SYN));
        for quoted in [Quoted::Eight, Quoted::All] {
            let error = |from| Packet::error(from, talk.client.0, kind, &sent, quoted);
            expect_error(talk, &talk.node.from_netdev(error(server.0)), talk.service.at.0);
            expect_error(talk, &talk.node.from_netdev(error(family.hop())), family.hop());
        }
    });
}

#[test]
fn a_clients_error_about_an_answer_reaches_the_backend() {
    each(&[TCP, UDP, SCTP], |talk| {
        talk.asks(SYN);
        let answer = talk.packet(talk.service.at, talk.client, SYN | ACK);
        for quoted in [Quoted::Eight, Quoted::All] {
            let kind = talk.family.error_types()[0];
            let error = Packet::error(talk.client.0, talk.service.at.0, kind, &answer, quoted);
            let outcome = talk.node.from_pod(&talk.node.a, error);
            let seen = outcome.seen();
            seen.expect_checksum();
            assert_eq!(
                (outcome.verdict, seen.from, seen.to),
                (Verdict::Redirect, talk.client.0, talk.server.0)
            );
            let inner = seen.quoted();
            assert_eq!((inner.from, inner.to), (talk.server.0, talk.client.0));
            assert_eq!(inner.ports(), (talk.server.1, talk.client.1));
        }
    });
}

#[test]
fn a_pod_hears_of_its_own_closed_port_from_the_frontend() {
    for family in BOTH {
        on_node_configured(&|_, _| (), |node| {
            let talk = Talk::new(node, family, UDP);
            let server = (node.a.ip(family), 8080);
            node.set_backend(70, UDP, server);
            let asked = talk.asks(0);
            assert_eq!(asked.seen().from, family.loopback());
            let sent = requote(&asked);
            let error =
                Packet::error(server.0, family.loopback(), family.error_types()[0], &sent, Quoted::All);
            let outcome = node.from_pod(&node.a, error);
            let seen = outcome.seen();
            seen.expect_checksum();
            assert_eq!(
                (outcome.verdict, seen.from, seen.to),
                (Verdict::Redirect, talk.service.at.0, server.0)
            );
            let inner = seen.quoted();
            assert_eq!((inner.from, inner.to), (talk.client.0, talk.service.at.0));
            assert_eq!(inner.ports(), (talk.client.1, talk.service.at.1));
        });
    }
}

#[test]
fn options_and_extension_headers_do_not_hide_a_service() {
    each(&[TCP, UDP], |talk| {
        let packet = talk.packet(talk.client, talk.service.at, SYN);
        let outcome = match talk.family {
            Family::V4 => talk.node.from_pod(&talk.node.a, packet.options(3)),
            Family::V6 => talk.node.from_pod(&talk.node.a, packet.extension(60, vec![0, 1, 4, 0, 0, 0, 0])),
        };
        assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, talk.server.0));
        let at = if talk.family == Family::V4 { 0 } else { 8 };
        let payload = &outcome.seen().payload[at..];
        assert_eq!(u16::from_be_bytes([payload[2], payload[3]]), talk.server.1);
        let sum = bpf_tests::transport_checksum(talk.client.0, talk.server.0, talk.protocol, payload);
        assert_eq!(sum, 0);
    });
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    each(&[UDP], |talk| {
        if talk.family == Family::V4 {
            let packet = talk.packet(talk.client, talk.service.at, 0).without_checksum();
            let seen = talk.node.from_pod(&talk.node.a, packet).seen();
            assert_eq!((seen.to, &seen.payload[6..8]), (talk.server.0, &[0, 0][..]));
        }
    });
}

#[test]
fn every_translated_port_has_a_right_checksum() {
    each(&[TCP, UDP], |talk| {
        for (id, port) in (200..).zip([1, 80, 0x7fff, 0x8000, 0xff00, 0xffff]) {
            talk.node.set_backend(id, talk.protocol, (talk.server.0, port));
            talk.node.set_service(&talk.service, &[id]);
            for from in (1..0xffff).step_by(997) {
                let client = (talk.client.0, from);
                let asked = talk.node.from_pod(&talk.node.a, talk.packet(client, talk.service.at, SYN));
                expect_ends(&asked, client, (talk.server.0, port));
                let answer = talk.packet((talk.server.0, port), client, SYN | ACK);
                expect_ends(&talk.node.from_pod(&talk.node.b, answer), talk.service.at, client);
                // The next backend must not be this connection's.
                talk.node.forget(talk.protocol, client, talk.service.at);
            }
        }
    });
}

#[test]
fn a_backend_elsewhere_is_reached_by_the_stack_and_answers_from_the_network() {
    each(&[TCP, UDP], |talk| {
        let server = (talk.family.remote_pod(), 8080);
        talk.node.set_backend(70, talk.protocol, server);
        let asked = talk.asks(SYN);
        let seen = asked.seen();
        seen.expect_checksum();
        assert_eq!((asked.verdict, seen.to, seen.ports()), (Verdict::Stack, server.0, (40_000, 8080)));
        let answer = || talk.packet(server, talk.client, SYN | ACK);
        expect_ends(&talk.node.from_netdev(answer()), talk.service.at, talk.client);
        // Or, where the stack has it first, from there.
        expect_ends(&talk.node.from_host(answer()), talk.service.at, talk.client);
    });
}

#[test]
fn a_backend_in_the_world_is_asked_from_the_nodes_address() {
    each(&[TCP, UDP], |talk| {
        let server = (talk.family.world(), 8080);
        talk.node.set_backend(70, talk.protocol, server);
        assert_eq!(talk.asks(SYN).verdict, Verdict::Stack);
        let sent = talk.node.to_netdev(talk.packet(talk.client, server, SYN));
        assert_eq!(sent.seen().from, talk.family.node());
        let answer = talk.packet(server, (talk.family.node(), sent.seen().ports().0), SYN | ACK);
        expect_ends(&talk.node.from_netdev(answer), talk.service.at, talk.client);
    });
}

#[test]
fn without_services_a_frontend_is_an_address() {
    for family in BOTH {
        on_node_configured(&|_, services| services.enabled = 0, |node: &Node| {
            node.open();
            let talk = Talk::new(node, family, TCP);
            let outcome = talk.asks(SYN);
            assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Stack, talk.service.at.0));
        });
    }
}
