// SPDX-License-Identifier: Apache-2.0
//! Fragments: ports are in the first only.

use addr::Be16;
use bpf_tests::{BOTH, Family, Node, Packet, Verdict, any_key, on_node};
use maps::PolicyKey;

const UNKNOWN_FRAGMENT: u8 = 157;

fn datagram(node: &Node, family: Family, port: u16) -> Packet {
    Packet::udp((node.a.ip(family), 4000), (node.b.ip(family), port)).with_data(&[0; 100])
}

fn only_port_53(test: impl FnOnce(&Node) + Send) {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        let key = PolicyKey {
            sec_label: 0,
            dport: Be16::new(53),
            protocol: 17,
            egress: 0,
            port_prefix: 16,
            pad: [0; 3],
        };
        node.allow(&node.b, key, 0);
        test(node);
    });
}

#[test]
fn later_fragments_follow_the_first() {
    only_port_53(|node| {
        for family in BOTH {
            let packet = datagram(node, family, 53);
            let pieces = [
                packet.clone().fragment(0, Some(4), 9),
                packet.clone().fragment(4, Some(4), 9),
                packet.fragment(8, None, 9),
            ];
            for piece in pieces {
                let outcome = node.from_pod(&node.a, piece);
                assert_eq!((outcome.verdict, outcome.seen().hops), (Verdict::Redirect, 63));
            }
        }
    });
}

#[test]
fn a_later_fragment_whose_first_was_not_seen_does_not_pass() {
    only_port_53(|node| {
        for family in BOTH {
            let packet = datagram(node, family, 53);
            node.from_pod(&node.a, packet.clone().fragment(0, Some(4), 9));
            node.expect_drop(UNKNOWN_FRAGMENT, |node| {
                node.from_pod(&node.a, packet.clone().fragment(4, Some(4), 10))
            });
            assert_eq!(node.from_pod(&node.a, packet.fragment(4, None, 9)).verdict, Verdict::Redirect);
        }
    });
}

#[test]
fn fragments_are_judged_by_the_ports_of_the_first() {
    only_port_53(|node| {
        for family in BOTH {
            let packet = datagram(node, family, 54);
            for piece in [packet.clone().fragment(0, Some(4), 3), packet.fragment(4, None, 3)] {
                node.expect_drop(159, |node| node.from_pod(&node.a, piece));
            }
        }
    });
}

#[test]
fn fragments_of_one_id_but_of_other_ends_are_other_packets() {
    only_port_53(|node| {
        for family in BOTH {
            node.from_pod(&node.a, datagram(node, family, 53).fragment(0, Some(4), 5));
            let other = Packet::udp((node.a.ip(family), 4000), (family.world(), 53)).with_data(&[0; 64]);
            node.expect_drop(UNKNOWN_FRAGMENT, |node| node.from_pod(&node.a, other.fragment(4, None, 5)));
        }
    });
}

#[test]
fn an_ipv6_packet_of_one_fragment_is_a_whole_packet() {
    only_port_53(|node| {
        let packet = datagram(node, Family::V6, 53).fragment(0, None, 8);
        assert_eq!(node.from_pod(&node.a, packet).verdict, Verdict::Redirect);
        let later = datagram(node, Family::V6, 53).fragment(4, None, 8);
        node.expect_drop(UNKNOWN_FRAGMENT, |node| node.from_pod(&node.a, later));
    });
}

#[test]
fn echoes_in_fragments_are_answered_in_fragments() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        node.allow(&node.b, any_key(0), 0);
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            let request = Packet::echo_request(a, b, 77).with_data(&[0; 92]);
            let reply = Packet::echo_reply(b, a, 77).with_data(&[0; 92]);
            for (pod, packet) in [(&node.a, request), (&node.b, reply)] {
                for piece in [packet.clone().fragment(0, Some(4), 2), packet.fragment(4, None, 2)] {
                    assert_eq!(node.from_pod(pod, piece).verdict, Verdict::Redirect);
                }
            }
        }
    });
}
