// SPDX-License-Identifier: Apache-2.0
//! A server that speaks first: after its client's entry was gone, for want of packets or of room.

use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, RST, SYN};
use bpf_tests::{BOTH, Family, Node, Outcome, Packet, Service, Verdict, now_s, on_node, on_node_configured};

use crate::dsr::said;
use crate::services::{Talk, each, expect_ends};

const TCP: u8 = 6;
const UDP: u8 = 17;
const CANNOT_CREATE: u8 = 138;
const INVALID: u8 = 134;

type End = (IpAddr, u16);

/// As after a minute without a packet, before the collector comes.
fn dies(talk: &Talk<'_>, client: End, responder: End) {
    talk.node.change_connection(talk.protocol, client, responder, |entry| {
        (entry.lifetime, entry.tick) = (now_s() - 1, entry.tick - 1);
    });
}

/// A client outside of port 30080 of a node, whose backend is `server`.
fn outside(node: &Node, family: Family, protocol: u8, server: End) -> Talk<'_> {
    let mut talk = Talk::new(node, family, protocol);
    talk.service = Service::new(9, protocol, (family.node(), 30_080)).external();
    (talk.client, talk.server) = ((family.world(), 5000), server);
    node.set_backend(90, protocol, server);
    node.set_service(&talk.service, &[90]);
    talk
}

fn each_outside(server: impl Fn(&Node, Family) -> End + Sync, test: impl Fn(&Talk<'_>) + Sync) {
    for family in BOTH {
        for protocol in [TCP, UDP] {
            on_node(|node| {
                node.open();
                test(&outside(node, family, protocol, server(node, family)));
            });
        }
    }
}

fn from_outside(talk: &Talk<'_>, flags: u8) -> Outcome {
    talk.node.from_netdev(talk.packet(talk.client, talk.service.at, flags))
}

#[test]
fn a_pod_hears_the_frontend_again_from_its_next_packet_on() {
    each(&[TCP, UDP], |talk| {
        for frontends_too in [false, true] {
            talk.asks(SYN);
            talk.answers(SYN | ACK);
            talk.asks(ACK);
            if frontends_too {
                dies(talk, talk.client, talk.service.at);
            }
            dies(talk, talk.client, talk.server);
            // Nobody knows any more in whose name.
            expect_ends(&talk.answers(ACK), talk.server, talk.client);
            for _ in 0..2 {
                expect_ends(&talk.asks(ACK), talk.client, talk.server);
                expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
            }
            talk.asks(RST);
        }
    });
}

#[test]
fn a_client_outside_hears_the_frontend_again_from_its_next_packet_on() {
    each_outside(
        |node, family| (node.b.ip(family), 8080),
        |talk| {
            from_outside(talk, SYN);
            talk.answers(SYN | ACK);
            from_outside(talk, ACK);
            talk.node.forget(talk.protocol, talk.client, talk.server);
            assert_eq!(talk.answers(ACK).verdict, Verdict::Stack);
            for _ in 0..2 {
                expect_ends(&from_outside(talk, ACK), talk.client, talk.server);
                expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
            }
            // All is forgotten, and the client begins again.
            talk.node.forget(talk.protocol, talk.client, talk.server);
            talk.node.forget(talk.protocol, talk.client, talk.service.at);
            assert_eq!(talk.answers(ACK).verdict, Verdict::Stack);
            expect_ends(&from_outside(talk, SYN), talk.client, talk.server);
            expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
        },
    );
}

#[test]
fn a_client_of_a_remote_backend_is_answered_again_from_its_next_packet_on() {
    each_outside(
        |_, family| (family.remote_pod(), 8080),
        |talk| {
            let node = (talk.family.node(), talk.client.1);
            let answers = |flags| talk.node.from_netdev(talk.packet(talk.server, node, flags));
            from_outside(talk, SYN);
            answers(SYN | ACK);
            from_outside(talk, ACK);
            talk.node.forget(talk.protocol, talk.client, talk.server);
            talk.node.expect_drop(158, |_| answers(ACK));
            for _ in 0..2 {
                expect_ends(&from_outside(talk, ACK), node, talk.server);
                expect_ends(&answers(ACK), talk.service.at, talk.client);
            }
        },
    );
}

#[test]
fn a_client_of_direct_server_return_is_answered_again_from_its_next_datagram_on() {
    for family in BOTH {
        on_node_configured(&|_, services| services.dsr = 1, |node| {
            node.open();
            let (frontend, server, client) =
                ((family.hop(), 30_080), (node.b.ip(family), 8080), (family.world(), 5000));
            let asks = || node.from_netdev(says(Packet::udp(client, server), frontend));
            let answers = || node.from_pod(&node.b, Packet::udp(server, client));
            expect_ends(&asks(), client, server);
            expect_ends(&answers(), frontend, client);
            node.forget(UDP, client, server);
            assert_eq!(answers().verdict, Verdict::Stack);
            for _ in 0..2 {
                expect_ends(&asks(), client, server);
                expect_ends(&answers(), frontend, client);
            }
            // What a pod asks and is answered, nobody turns round.
            node.forget(UDP, client, server);
            answers();
            node.from_netdev(Packet::udp(client, server));
            node.expect_drop(INVALID, |_| asks());
            assert_eq!(answers().verdict, Verdict::Stack);
        });
    }
}

/// The packet says which frontend it was sent to.
fn says(packet: Packet, frontend: End) -> Packet {
    if frontend.0.is_ipv4() {
        packet.option_bytes(said(frontend))
    } else {
        packet.extension(60, said(frontend))
    }
}

#[test]
fn a_connection_that_the_server_began_and_the_client_answered_is_kept() {
    each(&[TCP], |talk| {
        let from_server = |flags| talk.answers(flags);
        let to_server =
            |flags| talk.node.from_pod(&talk.node.a, talk.packet(talk.client, talk.server, flags));
        expect_ends(&from_server(SYN), talk.server, talk.client);
        to_server(SYN | ACK);
        expect_ends(&from_server(ACK), talk.server, talk.client);
        for flags in [SYN, ACK] {
            talk.node.expect_drop(CANNOT_CREATE, |_| talk.asks(flags));
        }
        expect_ends(&from_server(ACK), talk.server, talk.client);
    });
}
