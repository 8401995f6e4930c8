// SPDX-License-Identifier: Apache-2.0
//! Servers that go on when their clients have nothing to say: these keep their backend.

use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, FIN, RST, SYN};
use bpf_tests::{BOTH, Family, Node, Outcome, Service, now_s, on_node};

use crate::services::{Talk, each, expect_ends};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;

/// The client has been silent for so long that its entry is about to go; the clock ticks.
fn is_silent(talk: &Talk<'_>, connection: (End, End)) {
    talk.change(|entry| (entry.lifetime, entry.tick) = (now_s() + 5, entry.tick - 1));
    talk.node.change_connection(talk.protocol, connection.0, connection.1, |entry| entry.tick -= 1);
}

type End = (IpAddr, u16);

fn lifetime(protocol: u8) -> u32 {
    if protocol == TCP { 21_600 } else { 60 }
}

#[test]
fn a_client_that_only_hears_keeps_its_backend() {
    each(&[TCP, UDP, SCTP], |talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        is_silent(talk, (talk.client, talk.server));
        expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
        talk.expect_lifetime(lifetime(talk.protocol));
        // Within a tick the entry is left alone.
        talk.change(|entry| entry.lifetime = now_s() + 5);
        talk.answers(ACK);
        talk.expect_lifetime(5);
    });
}

#[test]
fn a_client_keeps_its_backend_until_both_have_ended() {
    each(&[TCP], |talk| {
        for begins in 0..3 {
            talk.asks(SYN);
            talk.answers(SYN | ACK);
            talk.asks(ACK);
            match begins {
                0 => {
                    talk.asks(FIN | ACK);
                    talk.expect_lifetime(21_600);
                    is_silent(talk, (talk.client, talk.server));
                    talk.answers(ACK);
                    talk.expect_lifetime(21_600);
                    talk.answers(FIN | ACK);
                }
                1 => {
                    talk.answers(FIN | ACK);
                    talk.expect_lifetime(21_600);
                    talk.asks(FIN | ACK);
                }
                _ => drop(talk.answers(RST)),
            }
            talk.expect_lifetime(60);
        }
        talk.asks(SYN);
        talk.asks(ACK);
        talk.asks(RST);
        talk.expect_lifetime(60);
    });
}

#[test]
fn what_a_backend_still_sends_that_the_client_has_left_keeps_nothing() {
    each(&[UDP], |talk| {
        talk.asks(0);
        talk.answers(0);
        let other = (talk.server.0, 8081);
        talk.node.set_backend(71, talk.protocol, other);
        talk.node.set_service(&talk.service, &[71]);
        talk.node.remove_backend(70, talk.family);
        talk.expect_asked(&talk.asks(0), other);
        is_silent(talk, (talk.client, talk.server));
        expect_ends(&talk.answers(0), talk.service.at, talk.client);
        talk.expect_lifetime(5);
    });
}

#[test]
fn a_pod_that_reaches_itself_is_heard_too() {
    each(&[TCP, UDP], |talk| {
        let server = (talk.node.a.ip(talk.family), 8080);
        talk.node.set_backend(70, talk.protocol, server);
        let client = (talk.family.loopback(), talk.client.1);
        talk.asks(SYN);
        talk.asks(ACK);
        is_silent(talk, (client, server));
        let answer = talk.packet(server, client, ACK);
        expect_ends(&talk.node.from_pod(&talk.node.a, answer), talk.service.at, talk.client);
        talk.expect_lifetime(lifetime(talk.protocol));
    });
}

/// A client of port 30080 of the node. The server is a pod, a process of the node, or elsewhere.
fn outside(node: &Node, family: Family, protocol: u8, server: End, answers: impl Fn(&Talk<'_>) -> Outcome) {
    let mut talk = Talk::new(node, family, protocol);
    talk.service = Service::new(9, protocol, (family.node(), 30_080)).external();
    (talk.client, talk.server) = ((family.world(), 5000), server);
    node.set_backend(90, protocol, server);
    node.set_service(&talk.service, &[90]);
    for flags in [SYN, ACK] {
        node.from_netdev(talk.packet(talk.client, talk.service.at, flags));
    }
    is_silent(&talk, (talk.client, server));
    let seen = answers(&talk).seen();
    assert_eq!((seen.from, seen.ports()), (talk.service.at.0, (30_080, talk.client.1)));
    talk.expect_lifetime(lifetime(protocol));
}

#[test]
fn a_client_outside_that_only_hears_keeps_its_backend_wherever_that_is() {
    for family in BOTH {
        for protocol in [TCP, UDP] {
            on_node(|node| {
                node.open();
                let server = (node.b.ip(family), 8080);
                outside(node, family, protocol, server, |talk| talk.answers(ACK));
            });
            on_node(|node| {
                let server = (family.node(), 8080);
                outside(node, family, protocol, server, |talk| {
                    node.to_netdev(talk.packet(server, talk.client, ACK))
                });
            });
            on_node(|node| {
                let server = (family.remote_pod(), 8080);
                outside(node, family, protocol, server, |talk| {
                    node.from_netdev(talk.packet(server, (family.node(), talk.client.1), ACK))
                });
            });
        }
    }
}
