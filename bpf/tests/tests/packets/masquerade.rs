// SPDX-License-Identifier: Apache-2.0
//! Pods that speak to the world speak with the node's address, and are answered.

use std::net::{IpAddr, TcpListener, UdpSocket};

use addr::Be16;
use bpf_tests::tcp_flags::{ACK, RST, SYN};
use bpf_tests::{BOTH, Family, Node, Outcome, Packet, Pod, Seen, Verdict, on_node, on_node_with};

const NO_PORT: u8 = 166;

type End = (IpAddr, u16);

fn on_open_node(test: impl FnOnce(&Node) + Send) {
    on_node(|node| {
        node.open();
        test(node);
    });
}

/// As a pod's packet goes: its own device's program, then the native device's.
fn out(node: &Node, pod: &Pod, packet: &Packet) -> Outcome {
    assert_eq!(node.from_pod(pod, packet.clone()).verdict, Verdict::Stack);
    node.to_netdev(packet.clone())
}

/// The port (or id) that a packet has left with, from the node's address.
fn left_with(outcome: &Outcome, family: Family) -> u16 {
    let seen = outcome.seen();
    assert_eq!((outcome.verdict, seen.from), (Verdict::Stack, family.node()));
    seen.expect_checksum();
    if seen.protocol == family.icmp() { seen.echo_id() } else { seen.ports().0 }
}

fn expect_back(node: &Node, answer: Packet, pod: &Pod, family: Family) -> Seen {
    let outcome = node.from_netdev(answer);
    let seen = outcome.seen();
    assert_eq!((outcome.verdict, seen.to), (Verdict::Redirect, pod.ip(family)));
    assert_eq!(seen.destination_mac, pod.mac);
    seen.expect_checksum();
    seen
}

#[test]
fn a_connection_leaves_with_the_nodes_address_and_its_own_port_and_is_answered() {
    on_open_node(|node| {
        for family in BOTH {
            let (client, server): (End, End) = ((node.a.ip(family), 40_000), (family.world(), 443));
            let masked = (family.node(), 40_000);
            assert_eq!(left_with(&out(node, &node.a, &Packet::tcp(client, server, SYN)), family), 40_000);
            let seen = expect_back(node, Packet::tcp(server, masked, SYN | ACK), &node.a, family);
            assert_eq!((seen.ports(), seen.hops), ((443, 40_000), 63));
            left_with(&out(node, &node.a, &Packet::tcp(client, server, ACK)), family);

            left_with(&out(node, &node.a, &Packet::udp(client, server)), family);
            expect_back(node, Packet::udp(server, masked), &node.a, family);

            let request = Packet::echo_request(client.0, server.0, 77);
            assert_eq!(left_with(&out(node, &node.a, &request), family), 77);
            let seen = expect_back(node, Packet::echo_reply(server.0, masked.0, 77), &node.a, family);
            assert_eq!(seen.echo_id(), 77);
        }
    });
}

#[test]
fn pods_and_native_addresses_are_reached_with_the_pods_own_address() {
    on_open_node(|node| {
        for family in BOTH {
            for to in [node.b.ip(family), family.native()] {
                let packet = Packet::udp((node.a.ip(family), 1), (to, 2));
                assert_eq!(node.to_netdev(packet).seen().from, node.a.ip(family));
            }
        }
    });
}

#[test]
fn without_masquerading_every_packet_keeps_its_address() {
    on_node_with(&|config| config.enable_masquerade = 0, |node| {
        node.open();
        for family in BOTH {
            let packet = Packet::udp((node.a.ip(family), 1), (family.world(), 2));
            assert_eq!(out(node, &node.a, &packet).seen().from, node.a.ip(family));
        }
    });
}

#[test]
fn two_pods_with_one_port_leave_with_two_and_each_gets_its_answers() {
    on_open_node(|node| {
        for family in BOTH {
            let server = (family.world(), 53);
            let ports = 40_000..40_020;
            let packets = |pod: &Pod, port| {
                let client = (pod.ip(family), port);
                [
                    Packet::tcp(client, server, SYN),
                    Packet::udp(client, server),
                    Packet::echo_request(client.0, server.0, port),
                ]
            };
            let answers = |port| {
                let masked = (family.node(), port);
                [
                    Packet::tcp(server, masked, SYN | ACK),
                    Packet::udp(server, masked),
                    Packet::echo_reply(server.0, masked.0, port),
                ]
            };
            // All of the first pod's before the second's: those that are chosen by chance could be one of them.
            for port in ports.clone() {
                for packet in packets(&node.a, port) {
                    assert_eq!(left_with(&out(node, &node.a, &packet), family), port);
                }
            }
            for port in ports {
                for (kind, packet) in packets(&node.b, port).iter().enumerate() {
                    let other = left_with(&out(node, &node.b, packet), family);
                    assert!(other != port && other >= 1024, "{other}");
                    // The next packet of the flow has the same port.
                    assert_eq!(left_with(&node.to_netdev(packet.clone()), family), other);
                    expect_back(node, answers(port)[kind].clone(), &node.a, family);
                    let seen = expect_back(node, answers(other)[kind].clone(), &node.b, family);
                    let own = if seen.protocol == family.icmp() { seen.echo_id() } else { seen.ports().1 };
                    assert_eq!(own, port);
                }
            }
        }
    });
}

#[test]
fn a_port_towards_another_remote_is_free() {
    on_open_node(|node| {
        for family in BOTH {
            let client = |pod: &Pod| (pod.ip(family), 5000);
            left_with(&out(node, &node.a, &Packet::udp(client(&node.a), (family.world(), 53))), family);
            let other = Packet::udp(client(&node.b), (family.world(), 54));
            assert_eq!(left_with(&out(node, &node.b, &other), family), 5000);
        }
    });
}

#[test]
fn a_privileged_port_is_left_to_the_node() {
    on_open_node(|node| {
        for family in BOTH {
            let packet = Packet::udp((node.a.ip(family), 123), (family.world(), 123));
            let port = left_with(&out(node, &node.a, &packet), family);
            assert!(port >= 1024, "{port}");
            let seen =
                expect_back(node, Packet::udp((family.world(), 123), (family.node(), port)), &node.a, family);
            assert_eq!(seen.ports().1, 123);
        }
    });
}

#[test]
fn a_port_of_a_socket_of_the_node_is_not_taken() {
    on_open_node(|node| {
        for (family, any) in BOTH.into_iter().zip(["0.0.0.0:0", "[::]:0"]) {
            let udp = UdpSocket::bind(any).unwrap();
            let tcp = TcpListener::bind(any).unwrap();
            let (udp_port, tcp_port) = (udp.local_addr().unwrap().port(), tcp.local_addr().unwrap().port());
            let server = (family.world(), 9999);
            let packet = Packet::udp((node.a.ip(family), udp_port), server);
            assert_ne!(left_with(&out(node, &node.a, &packet), family), udp_port);
            let packet = Packet::tcp((node.a.ip(family), tcp_port), server, SYN);
            assert_ne!(left_with(&out(node, &node.a, &packet), family), tcp_port);
            drop((udp, tcp));
            let packet = Packet::udp((node.b.ip(family), udp_port), server);
            assert_eq!(left_with(&out(node, &node.b, &packet), family), udp_port);
        }
    });
}

#[test]
fn the_nodes_own_traffic_is_left_alone() {
    on_open_node(|node| {
        for family in BOTH {
            let (own, remote) = ((family.node(), 5000), (family.world(), 53));
            let packets = [
                Packet::udp(own, remote),
                Packet::tcp(own, remote, SYN),
                Packet::echo_request(own.0, remote.0, 9),
                Packet::echo_reply(own.0, remote.0, 9),
            ];
            for packet in packets {
                let before = node.to_netdev(packet.clone()).seen();
                assert_eq!((before.from, before.payload), (own.0, packet.payload()));
            }
            let answer = node.from_netdev(Packet::udp(remote, own));
            assert_eq!((answer.verdict, answer.seen().to), (Verdict::Stack, own.0));
        }
    });
}

#[test]
fn a_port_of_the_node_that_a_pod_has_taken_is_translated_for_the_node_too() {
    on_open_node(|node| {
        for family in BOTH {
            let remote = (family.world(), 53);
            for protocol in [6, 17] {
                let packet = |from| match protocol {
                    6 => Packet::tcp(from, remote, SYN),
                    _ => Packet::udp(from, remote),
                };
                let answer = |to| match protocol {
                    6 => Packet::tcp(remote, to, SYN | ACK),
                    _ => Packet::udp(remote, to),
                };
                left_with(&out(node, &node.a, &packet((node.a.ip(family), 6000))), family);
                let other = left_with(&node.to_netdev(packet((family.node(), 6000))), family);
                assert_ne!(other, 6000);
                assert_eq!(left_with(&node.to_netdev(packet((family.node(), 6000))), family), other);
                let back = node.from_netdev(answer((family.node(), other)));
                let seen = back.seen();
                assert_eq!((back.verdict, seen.to, seen.ports().1), (Verdict::Stack, family.node(), 6000));
                seen.expect_checksum();
                expect_back(node, answer((family.node(), 6000)), &node.a, family);
            }
        }
    });
}

#[test]
fn an_echo_of_the_node_and_one_of_a_pod_with_one_id_are_told_apart() {
    on_open_node(|node| {
        for family in BOTH {
            let remote = family.world();
            left_with(&node.to_netdev(Packet::echo_request(family.node(), remote, 5)), family);
            let other =
                left_with(&out(node, &node.a, &Packet::echo_request(node.a.ip(family), remote, 5)), family);
            assert_ne!(other, 5);
            let own = node.from_netdev(Packet::echo_reply(remote, family.node(), 5));
            assert_eq!((own.verdict, own.seen().echo_id()), (Verdict::Stack, 5));
            let seen = expect_back(node, Packet::echo_reply(remote, family.node(), other), &node.a, family);
            assert_eq!(seen.echo_id(), 5);
        }
    });
}

#[test]
fn a_pod_that_was_reached_by_its_own_address_answers_with_it() {
    on_open_node(|node| {
        for family in BOTH {
            let (client, server) = ((family.world(), 4000), (node.b.ip(family), 80));
            assert_eq!(node.from_netdev(Packet::tcp(client, server, SYN)).verdict, Verdict::Redirect);
            let answer = out(node, &node.b, &Packet::tcp(server, client, SYN | ACK));
            assert_eq!((answer.seen().from, answer.seen().ports()), (server.0, (80, 4000)));
            node.from_netdev(Packet::echo_request(client.0, server.0, 3));
            let answer = out(node, &node.b, &Packet::echo_reply(server.0, client.0, 3));
            assert_eq!(answer.seen().from, server.0);
        }
    });
}

#[test]
fn a_port_whose_connection_is_over_is_free_again() {
    on_open_node(|node| {
        for family in BOTH {
            let server = (family.world(), 443);
            let segment = |pod: &Pod, flags| Packet::tcp((pod.ip(family), 7000), server, flags);
            left_with(&out(node, &node.a, &segment(&node.a, SYN)), family);
            left_with(&out(node, &node.a, &segment(&node.a, RST)), family);
            assert_eq!(left_with(&out(node, &node.b, &segment(&node.b, SYN)), family), 7000);
            expect_back(node, Packet::tcp(server, (family.node(), 7000), SYN | ACK), &node.b, family);
            // The first pod begins again, with another port.
            assert_ne!(left_with(&out(node, &node.a, &segment(&node.a, SYN)), family), 7000);
        }
    });
}

#[test]
fn a_mapping_that_lost_its_way_back_gets_it_again() {
    on_open_node(|node| {
        let (client, server) = ((node.a.ip(Family::V4), 7100), (Family::V4.world(), 443));
        let packet = Packet::udp(client, server);
        left_with(&out(node, &node.a, &packet), Family::V4);
        let (mut outward, mut inward) = (None, None);
        for (key, entry) in node.snat4.rows().unwrap() {
            if key.direction == 0 { outward = Some((key, entry)) } else { inward = Some(key) }
        }
        assert!(node.snat4.remove(&inward.unwrap()).unwrap());
        let (key, mut entry) = outward.unwrap();
        entry.tick -= 1;
        node.snat4.insert(&key, &entry).unwrap();
        assert_eq!(left_with(&out(node, &node.a, &packet), Family::V4), 7100);
        expect_back(node, Packet::udp(server, (Family::V4.node(), 7100)), &node.a, Family::V4);
    });
}

#[test]
fn sctp_keeps_its_port_or_does_not_leave() {
    on_open_node(|node| {
        for family in BOTH {
            let server = (family.world(), 3868);
            let packet = |pod: &Pod| Packet::sctp((pod.ip(family), 3000), server);
            let outcome = out(node, &node.a, &packet(&node.a));
            assert_eq!(
                (outcome.seen().from, outcome.seen().payload),
                (family.node(), packet(&node.a).payload())
            );
            let back = node.from_netdev(Packet::sctp(server, (family.node(), 3000)));
            assert_eq!((back.verdict, back.seen().to), (Verdict::Redirect, node.a.ip(family)));
            node.from_pod(&node.b, packet(&node.b));
            node.expect_drop(NO_PORT, |node| node.to_netdev(packet(&node.b)));
        }
    });
}

#[test]
fn a_datagram_without_checksum_stays_without() {
    on_open_node(|node| {
        let packet = Packet::udp((node.a.ip(Family::V4), 80), (Family::V4.world(), 9)).without_checksum();
        let seen = out(node, &node.a, &packet).seen();
        assert_eq!((seen.from, &seen.payload[6..8]), (Family::V4.node(), &[0, 0][..]));
        assert_ne!(seen.ports().0, 80);
    });
}

#[test]
fn fragments_leave_and_come_back_with_the_first_ones_mapping() {
    on_open_node(|node| {
        for family in BOTH {
            let (client, server) = ((node.a.ip(family), 9000), (family.world(), 9));
            let packet = Packet::udp(client, server).with_data(&[1; 100]);
            for piece in [packet.clone().fragment(0, Some(5), 4), packet.fragment(5, None, 4)] {
                let outcome = out(node, &node.a, &piece);
                assert_eq!((outcome.verdict, outcome.seen().from), (Verdict::Stack, family.node()));
            }
            let answer = Packet::udp(server, (family.node(), 9000)).with_data(&[1; 100]);
            for piece in [answer.clone().fragment(0, Some(5), 4), answer.fragment(5, None, 4)] {
                let outcome = node.from_netdev(piece);
                assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, client.0));
            }
        }
    });
}

#[test]
fn every_translated_port_has_a_right_checksum() {
    on_open_node(|node| {
        for family in BOTH {
            for port in (1..1024).step_by(41) {
                for remote in [1, 0x7fff, 0x8000, 0xffff] {
                    let packet = Packet::udp((node.a.ip(family), port), (family.world(), remote));
                    left_with(&out(node, &node.a, &packet), family);
                }
            }
        }
        assert!(node.snat4.rows().unwrap().iter().all(|(_, entry)| entry.port != Be16::new(0)));
    });
}
