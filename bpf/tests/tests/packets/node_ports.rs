// SPDX-License-Identifier: Apache-2.0
//! Services that the network reaches: by the node's address, or by one that is routed to it.

use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, FIN, RST, SYN};
use bpf_tests::{
    BOTH, Family, Hook, Node, Outcome, Packet, Quoted, Service, Verdict, on_node, on_node_configured,
};
use maps::{lb_flags, lb_scope};

use crate::services::{Talk, expect_ends, expect_reset};

const TCP: u8 = 6;
const UDP: u8 = 17;
const NO_SERVICE: u8 = 158;
const NO_CONFIGURATION: u8 = 165;
const INVALID_SIP: u8 = 132;
const INVALID: u8 = 134;
const PORT: u16 = 30_080;

type End = (IpAddr, u16);

/// A client outside, and a service at port 30080 of the node.
pub struct Outside<'a> {
    pub talk: Talk<'a>,
    pub client: End,
}

impl<'a> Outside<'a> {
    fn new(node: &'a Node, family: Family, protocol: u8, server: End) -> Self {
        let mut talk = Talk::new(node, family, protocol);
        talk.service = Service::new(9, protocol, (family.node(), PORT)).external();
        talk.server = server;
        node.set_backend(90, protocol, server);
        node.set_service(&talk.service, &[90]);
        Self { talk, client: (family.world(), 5000) }
    }

    fn local(node: &'a Node, family: Family, protocol: u8) -> Self {
        Self::new(node, family, protocol, (node.b.ip(family), 8080))
    }

    pub fn remote(node: &'a Node, family: Family, protocol: u8) -> Self {
        Self::new(node, family, protocol, (family.remote_pod(), 8080))
    }

    pub fn asks(&self, flags: u8) -> Outcome {
        self.talk.node.from_netdev(self.talk.packet(self.client, self.talk.service.at, flags))
    }
}

fn each(test: impl Fn(&Node, Family, u8) + Sync) {
    for family in BOTH {
        for protocol in [TCP, UDP] {
            on_node(|node| {
                node.open();
                test(node, family, protocol);
            });
        }
    }
}

/// On its way out of the node again.
pub fn expect_out(outcome: &Outcome, from: End, to: End) {
    expect_ends(outcome, from, to);
    assert_eq!(outcome.seen().hops, 63);
}

#[test]
fn a_local_backend_sees_the_client_and_answers_in_the_nodes_name() {
    each(|node, family, protocol| {
        let outside = Outside::local(node, family, protocol);
        for flags in [SYN, ACK, ACK] {
            let outcome = outside.asks(flags);
            expect_out(&outcome, outside.client, outside.talk.server);
            assert_eq!(outcome.seen().destination_mac, node.b.mac);
            let answer = outside.talk.packet(outside.talk.server, outside.client, flags | ACK);
            let outcome = node.from_pod(&node.b, answer);
            expect_out(&outcome, outside.talk.service.at, outside.client);
        }
    });
}

/// The port that the node asks a backend from.
pub fn asked_from(outside: &Outside<'_>, outcome: &Outcome) -> u16 {
    let port = outcome.seen().ports().0;
    expect_out(outcome, (outside.talk.family.node(), port), outside.talk.server);
    port
}

#[test]
fn a_remote_backend_is_asked_in_the_nodes_name_and_the_client_answered_in_it() {
    each(|node, family, protocol| {
        let outside = Outside::remote(node, family, protocol);
        for flags in [SYN, ACK, ACK] {
            let port = asked_from(&outside, &outside.asks(flags));
            assert_eq!(port, outside.client.1);
            let answer = outside.talk.packet(outside.talk.server, (family.node(), port), flags | ACK);
            expect_out(&node.from_netdev(answer), outside.talk.service.at, outside.client);
        }
    });
}

#[test]
fn without_masquerading_services_are_forwarded_all_the_same() {
    for family in BOTH {
        on_node_configured(&|host, _| host.enable_masquerade = 0, |node| {
            let outside = Outside::remote(node, family, UDP);
            let port = asked_from(&outside, &outside.asks(0));
            let answer = outside.talk.packet(outside.talk.server, (family.node(), port), 0);
            expect_out(&node.from_netdev(answer), outside.talk.service.at, outside.client);
        });
    }
}

#[test]
fn clients_with_one_port_are_told_apart_and_none_is_given_a_node_port() {
    each(|node, family, protocol| {
        let mut outside = Outside::remote(node, family, protocol);
        let mut ports = Vec::new();
        let clients =
            [(family.world(), 5000), (family.hop(), 5000), (family.known(), 5000), (family.known(), 80)];
        let more = (30_000..30_040).map(|port| (family.world(), port));
        for client in clients.into_iter().chain(more) {
            outside.client = client;
            let port = asked_from(&outside, &outside.asks(SYN));
            assert!(port >= 1024 && !(30_000..=32_767).contains(&port), "{port}");
            assert!(!ports.iter().any(|(_, other)| *other == port), "{port} twice");
            ports.push((client, port));
        }
        for (client, port) in ports {
            let answer = outside.talk.packet(outside.talk.server, (family.node(), port), SYN | ACK);
            expect_out(&node.from_netdev(answer), outside.talk.service.at, client);
        }
    });
}

#[test]
fn without_an_address_to_ask_from_a_remote_backend_is_out_of_reach() {
    let none = |host: &mut maps::HostConfig, _: &mut maps::LbConfig| {
        (host.masq_ipv4, host.masq_ipv6) = Default::default();
    };
    for family in BOTH {
        on_node_configured(&none, |node| {
            let outside = Outside::remote(node, family, TCP);
            node.expect_drop(NO_CONFIGURATION, |_| outside.asks(SYN));
        });
    }
}

#[test]
fn what_is_translated_leaves_the_native_device_as_it_is() {
    each(|node, family, protocol| {
        let outside = Outside::remote(node, family, protocol);
        let asked = outside.asks(SYN);
        let sent = node.to_netdev_redirected(&asked);
        assert_eq!((sent.verdict, &sent.frame, sent.mark), (Verdict::Stack, &asked.frame, 0));
        assert_ne!(asked.mark, 0);
    });
}

#[test]
fn a_process_of_the_node_is_a_backend_too() {
    each(|node, family, protocol| {
        let outside = Outside::new(node, family, protocol, (family.node(), 8080));
        let outcome = outside.asks(SYN);
        let seen = outcome.seen();
        assert_eq!((outcome.verdict, seen.to, seen.ports()), (Verdict::Stack, family.node(), (5000, 8080)));
        seen.expect_checksum();
        let answer = outside.talk.packet(outside.talk.server, outside.client, SYN | ACK);
        let outcome = node.to_netdev(answer);
        let seen = outcome.seen();
        assert_eq!((outcome.verdict, seen.from, seen.ports()), (Verdict::Stack, family.node(), (PORT, 5000)));
        seen.expect_checksum();
        // And for a pod, to which it speaks by way of cilium_host.
        let client = (node.a.ip(family), 6000);
        let asked = node.from_pod(&node.a, outside.talk.packet(client, outside.talk.service.at, SYN));
        assert_eq!((asked.verdict, asked.seen().ports()), (Verdict::Stack, (6000, 8080)));
        let outcome = node.from_host(outside.talk.packet(outside.talk.server, client, SYN | ACK));
        expect_ends(&outcome, outside.talk.service.at, client);
    });
}

#[test]
fn pods_reach_node_ports_as_well() {
    each(|node, family, protocol| {
        let outside = Outside::local(node, family, protocol);
        let client = (node.a.ip(family), 6000);
        let asked = node.from_pod(&node.a, outside.talk.packet(client, outside.talk.service.at, SYN));
        expect_ends(&asked, client, outside.talk.server);
        let answer = outside.talk.packet(outside.talk.server, client, SYN | ACK);
        expect_ends(&node.from_pod(&node.b, answer), outside.talk.service.at, client);
    });
}

#[test]
fn clients_outside_have_the_backends_of_their_scope() {
    each(|node, family, protocol| {
        let outside = Outside::local(node, family, protocol);
        let service = Service { flags: lb_flags::EXTERNAL | lb_flags::TWO_SCOPES, ..outside.talk.service };
        let inner = Service { id: 10, scope: lb_scope::INTERNAL, ..service };
        node.set_backend(91, protocol, (family.remote_pod(), 8080));
        node.set_service(&service, &[90]);
        node.set_service(&inner, &[91]);
        expect_out(&outside.asks(SYN), outside.client, outside.talk.server);
        let asked = node.from_pod(&node.a, outside.talk.packet((node.a.ip(family), 1), service.at, SYN));
        assert_eq!((asked.verdict, asked.seen().to), (Verdict::Stack, family.remote_pod()));
    });
}

#[test]
fn a_cluster_address_is_nothing_to_the_network() {
    each(|node, family, protocol| {
        let outside = Outside::local(node, family, protocol);
        let inner = Service::new(11, protocol, (family.cluster(), 80));
        node.set_service(&inner, &[90]);
        let packet = outside.talk.packet(outside.client, inner.at, SYN);
        let outcome = node.from_netdev(packet.clone());
        assert_eq!(outcome.verdict, Verdict::Stack);
        assert_eq!(outcome.seen().payload, packet.payload());
        assert!(node.connection(protocol, outside.client, inner.at).is_none());
    });
}

#[test]
fn the_nodes_own_traffic_is_left_alone() {
    each(|node, family, protocol| {
        let outside = Outside::local(node, family, protocol);
        let own = (family.node(), 22);
        for (from, to) in [(outside.client, own), ((family.world(), 443), (family.node(), 50_000))] {
            let packet = outside.talk.packet(from, to, SYN);
            let outcome = node.from_netdev(packet.clone());
            assert_eq!((outcome.verdict, outcome.seen().payload), (Verdict::Stack, packet.payload()));
            let answer = outside.talk.packet(to, from, SYN | ACK);
            let outcome = node.to_netdev(answer.clone());
            assert_eq!((outcome.verdict, outcome.seen().payload), (Verdict::Stack, answer.payload()));
        }
    });
}

#[test]
fn a_client_outside_is_refused_when_there_is_no_backend() {
    each(|node, family, protocol| {
        let outside = Outside::local(node, family, protocol);
        node.set_service(&outside.talk.service, &[]);
        let before = node.counted(NO_SERVICE, maps::Direction::Ingress);
        // A packet that grows has no device's sum any more, which only its own kernel can tell.
        let packet = outside.talk.packet(outside.client, outside.talk.service.at, SYN);
        let outcome = match protocol {
            TCP => outside.asks(SYN),
            _ => node.run(Hook::FromNetdev, &node.frame(Hook::FromNetdev, packet), 1).0,
        };
        assert_eq!(node.counted(NO_SERVICE, maps::Direction::Ingress), before + 1);
        if protocol == TCP {
            expect_reset(&outcome, outside.client, outside.talk.service.at, [0, 2], RST | ACK);
        } else {
            let seen = outcome.seen();
            seen.expect_checksum();
            assert_eq!(
                (outcome.verdict, seen.from, seen.to),
                (Verdict::Redirect, family.node(), outside.client.0)
            );
        }
    });
}

#[test]
fn a_packet_at_the_end_of_its_hops_is_not_forwarded() {
    each(|node, family, protocol| {
        let outside = Outside::remote(node, family, protocol);
        let packet = outside.talk.packet(outside.client, outside.talk.service.at, SYN).hops(1);
        node.expect_drop(INVALID, |node| node.from_netdev(packet));
    });
}

#[test]
fn the_network_does_not_speak_for_a_pod() {
    each(|node, family, protocol| {
        let mut outside = Outside::local(node, family, protocol);
        outside.client = (node.a.ip(family), 6000);
        node.expect_drop(INVALID_SIP, |_| outside.asks(SYN));
        let asks =
            || node.from_pod(&node.a, outside.talk.packet(outside.client, outside.talk.service.at, SYN));
        asks();
        node.expect_drop(INVALID_SIP, |_| outside.asks(ACK));
        expect_ends(&asks(), outside.client, outside.talk.server);
    });
}

#[test]
fn what_the_network_says_in_a_pods_name_leaves_nothing_behind() {
    each(|node, family, protocol| {
        let mut outside = Outside::local(node, family, protocol);
        let service = Service { affinity_s: 100, ..outside.talk.service };
        node.set_service(&service, &[90]);
        // As its own backend as well, where it must be given the loopback address.
        for client in [(node.a.ip(family), 6000), outside.talk.server] {
            outside.client = client;
            node.expect_drop(INVALID_SIP, |_| outside.asks(SYN));
            assert!(node.connection(protocol, client, service.at).is_none());
            assert!(node.affinity(service.id, client.0).is_none());
        }
        let asked = node.from_pod(&node.b, outside.talk.packet(outside.talk.server, service.at, SYN));
        expect_ends(&asked, (family.loopback(), outside.talk.server.1), outside.talk.server);
        // Who is no pod of this node has an entry, and the same backend again.
        outside.client = (family.remote_pod(), 6000);
        expect_out(&outside.asks(SYN), outside.client, outside.talk.server);
        assert!(node.affinity(service.id, outside.client.0).is_some());
    });
}

#[test]
fn what_is_sent_to_a_process_itself_is_answered_by_it() {
    each(|node, family, protocol| {
        let outside = Outside::new(node, family, protocol, (family.node(), 8080));
        let Outside { talk, client } = &outside;
        let directly = |flags| node.from_netdev(talk.packet(*client, talk.server, flags));
        let expect_answered = |flags, from: End| {
            let outcome = node.to_netdev(talk.packet(talk.server, *client, flags));
            let seen = outcome.seen();
            seen.expect_checksum();
            assert_eq!(
                (outcome.verdict, seen.from, seen.ports()),
                (Verdict::Stack, from.0, (from.1, client.1))
            );
        };
        outside.asks(SYN);
        // Whether or not the first was answered.
        for answered in [false, true] {
            if answered {
                outside.asks(SYN);
                expect_answered(SYN | ACK, talk.service.at);
                outside.asks(ACK);
            }
            let outcome = directly(SYN);
            assert_eq!((outcome.verdict, outcome.seen().ports()), (Verdict::Stack, (client.1, 8080)));
            if protocol == TCP {
                // The first is kept until it is over.
                expect_answered(SYN | ACK, talk.service.at);
            } else {
                expect_answered(0, talk.server);
            }
        }
        if protocol == TCP {
            outside.asks(FIN | ACK);
            expect_answered(FIN | ACK, talk.service.at);
            outside.asks(ACK);
            expect_answered(ACK, talk.service.at);
            directly(SYN);
            expect_answered(SYN | ACK, talk.server);
        }
        outside.asks(SYN);
        expect_answered(SYN | ACK, talk.service.at);
    });
}

#[test]
fn what_is_sent_to_a_remote_backend_itself_is_no_matter_of_its_answers() {
    each(|node, family, protocol| {
        let outside = Outside::remote(node, family, protocol);
        let port = asked_from(&outside, &outside.asks(SYN));
        let answers = || {
            let answer = outside.talk.packet(outside.talk.server, (family.node(), port), SYN | ACK);
            expect_out(&node.from_netdev(answer), outside.talk.service.at, outside.client);
        };
        answers();
        let directly = outside.talk.packet(outside.client, outside.talk.server, SYN);
        assert_eq!(node.from_netdev(directly).verdict, Verdict::Stack);
        answers();
    });
}

#[test]
fn an_error_about_a_forwarded_packet_reaches_the_client_with_the_frontend_inside() {
    each(|node, family, protocol| {
        let outside = Outside::remote(node, family, protocol);
        let asked = outside.asks(SYN).seen();
        let sent = Packet::raw(asked.from, asked.to, asked.protocol, asked.payload);
        for (from, seen_from) in [(family.hop(), family.hop()), (outside.talk.server.0, family.node())] {
            let error = Packet::error(from, family.node(), family.error_types()[1], &sent, Quoted::All);
            let outcome = node.from_netdev(error);
            let seen = outcome.seen();
            seen.expect_checksum();
            assert_eq!(
                (outcome.verdict, seen.from, seen.to),
                (Verdict::Redirect, seen_from, outside.client.0)
            );
            let inner = seen.quoted();
            assert_eq!((inner.from, inner.to), (outside.client.0, family.node()));
            assert_eq!(inner.ports(), (5000, PORT));
        }
    });
}

#[test]
fn an_error_of_the_clients_side_reaches_the_backend() {
    each(|node, family, protocol| {
        let outside = Outside::local(node, family, protocol);
        outside.asks(SYN);
        let answer = outside.talk.packet(outside.talk.service.at, outside.client, SYN | ACK);
        let error = Packet::error(family.hop(), family.node(), family.error_types()[1], &answer, Quoted::All);
        let outcome = node.from_netdev(error);
        let seen = outcome.seen();
        seen.expect_checksum();
        assert_eq!(
            (outcome.verdict, seen.from, seen.to),
            (Verdict::Redirect, family.hop(), node.b.ip(family))
        );
        let inner = seen.quoted();
        assert_eq!((inner.from, inner.to), (node.b.ip(family), outside.client.0));
        assert_eq!(inner.ports(), (8080, 5000));
    });
}

#[test]
fn a_later_fragment_that_comes_before_the_first_is_left_to_the_stack_as_it_is() {
    for family in BOTH {
        on_node(|node| {
            node.open();
            let outside = Outside::local(node, family, UDP);
            // For a process and for a frontend: without the first, nobody can tell them apart.
            for (to, id) in [((family.node(), 53), 4), (outside.talk.service.at, 5)] {
                let packet = Packet::udp(outside.client, to).with_data(&[7; 100]);
                let (first, later) = (packet.clone().fragment(0, Some(5), id), packet.fragment(5, None, id));
                let before = node.counted(maps::FRAGMENT_PASSED, maps::Direction::Ingress);
                let outcome = node.from_netdev(later.clone());
                assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Stack, to.0));
                assert_eq!(node.counted(maps::FRAGMENT_PASSED, maps::Direction::Ingress), before + 1);
                node.from_netdev(first);
                let outcome = node.from_netdev(later);
                let verdict = if to.1 == 53 { Verdict::Stack } else { Verdict::Redirect };
                assert_eq!(outcome.verdict, verdict);
                assert_eq!(node.counted(maps::FRAGMENT_PASSED, maps::Direction::Ingress), before + 1);
            }
        });
    }
}
