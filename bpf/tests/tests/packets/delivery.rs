// SPDX-License-Identifier: Apache-2.0
//! Where permitted packets go, and how they look then.

use bpf_tests::tcp_flags::{ACK, SYN};
use bpf_tests::{BOTH, Family, Node, Outcome, Packet, Verdict, any_key, on_node};
use maps::{Direction, EndpointInfo};

fn syn(node: &Node, family: Family) -> Packet {
    Packet::tcp((node.a.ip(family), 40_000), (node.b.ip(family), 80), SYN)
}

fn expect_delivered(node: &Node, outcome: &Outcome, family: Family, hops: u8) {
    let seen = outcome.seen();
    assert_eq!(outcome.verdict, Verdict::Redirect);
    assert_eq!((seen.source_mac, seen.destination_mac), (node.b.node_mac, node.b.mac));
    assert_eq!((seen.to, seen.hops), (node.b.ip(family), hops));
    seen.expect_checksum();
}

#[test]
fn a_packet_between_pods_has_the_macs_of_its_last_link_and_one_hop_less() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let outcome = node.from_pod(&node.a, syn(node, family));
            expect_delivered(node, &outcome, family, 63);
            assert_eq!(outcome.seen().ports(), (40_000, 80));
        }
    });
}

#[test]
fn every_time_to_live_counts_down_with_a_right_header_checksum() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            for hops in 2..=255 {
                let outcome = node.from_pod(&node.a, syn(node, family).hops(hops));
                expect_delivered(node, &outcome, family, hops - 1);
            }
        }
    });
}

#[test]
fn a_packet_whose_time_is_over_goes_to_the_stack_which_says_so() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            for hops in [0, 1] {
                let packet = syn(node, family).hops(hops);
                let outcome = node.from_pod(&node.a, packet.clone());
                assert_eq!(outcome.verdict, Verdict::Stack);
                assert_eq!(outcome.frame, packet.macs(node.a.mac, node.a.node_mac).bytes());
            }
        }
    });
}

#[test]
fn what_is_for_the_node_or_the_world_goes_to_the_stack_unchanged() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            for to in [family.node(), family.router(), family.world()] {
                let packet = Packet::udp((node.a.ip(family), 5000), (to, 53));
                let outcome = node.from_pod(&node.a, packet.clone());
                assert_eq!(outcome.verdict, Verdict::Stack);
                assert_eq!(outcome.frame, packet.macs(node.a.mac, node.a.node_mac).bytes());
            }
        }
    });
}

#[test]
fn the_nodes_own_packets_reach_a_pod_without_losing_a_hop() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let packet = Packet::tcp((family.node(), 4000), (node.b.ip(family), 80), SYN);
            expect_delivered(node, &node.from_host(packet), family, 64);
            let answer = Packet::tcp((node.b.ip(family), 80), (family.node(), 4000), SYN | ACK);
            assert_eq!(node.from_pod(&node.b, answer).verdict, Verdict::Stack);
        }
    });
}

#[test]
fn packets_from_the_network_go_straight_into_a_pod() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let packet = Packet::tcp((family.world(), 4000), (node.b.ip(family), 80), SYN);
            expect_delivered(node, &node.from_netdev(packet), family, 63);
        }
    });
}

#[test]
fn frames_for_others_and_packets_for_others_are_left_to_the_stack() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let to_pod = Packet::tcp((family.world(), 4000), (node.b.ip(family), 80), SYN);
            let overheard = to_pod.macs([2, 0, 0, 0, 7, 7], [2, 0, 0, 0, 7, 8]).bytes();
            assert_eq!(node.from_netdev_raw(&overheard).verdict, Verdict::Stack);
            let to_node = Packet::tcp((family.world(), 4000), (family.node(), 22), SYN);
            assert_eq!(node.from_netdev(to_node.clone()).verdict, Verdict::Stack);
            assert_eq!(node.from_host(to_node).verdict, Verdict::Stack);
        }
    });
}

#[test]
fn a_pod_that_the_stack_translated_for_is_answered_through_the_stack() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            // As a service of the node's own makes of a connection to its address.
            assert_eq!(node.from_host(syn(node, family)).verdict, Verdict::Redirect);
            let answer = Packet::tcp((node.b.ip(family), 80), (node.a.ip(family), 40_000), SYN | ACK);
            let outcome = node.from_pod(&node.b, answer.clone());
            assert_eq!(outcome.verdict, Verdict::Stack);
            assert_eq!(outcome.frame, answer.macs(node.b.mac, node.b.node_mac).bytes());
        }
    });
}

#[test]
fn sctp_passes_like_other_protocols_with_ports() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let packet = Packet::sctp((node.a.ip(family), 3000), (node.b.ip(family), 3868));
            assert_eq!(node.from_pod(&node.a, packet).verdict, Verdict::Redirect);
            assert!(node.connection(132, (node.a.ip(family), 3000), (node.b.ip(family), 3868)).is_some());
        }
    });
}

#[test]
fn ip_options_and_extension_headers_do_not_hide_the_ports() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        node.allow(&node.b, any_key(0), 0);
        let v4 = syn(node, Family::V4).options(3);
        assert_eq!(node.from_pod(&node.a, v4).verdict, Verdict::Redirect);
        let hop_by_hop = (0, vec![0, 1, 4, 0, 0, 0, 0]);
        let authentication = (51, vec![1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let destination = (60, vec![1, 1, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        let mut v6 = syn(node, Family::V6);
        for (kind, bytes) in [hop_by_hop, authentication, destination] {
            v6 = v6.extension(kind, bytes);
        }
        assert_eq!(node.from_pod(&node.a, v6).verdict, Verdict::Redirect);
        for family in BOTH {
            let connection = node.connection(6, (node.a.ip(family), 40_000), (node.b.ip(family), 80));
            assert_eq!(connection.map(|entry| entry.tx_flags_seen), Some(SYN));
        }
    });
}

#[test]
fn forwarded_packets_and_their_bytes_are_counted_by_direction() {
    on_node(|node| {
        node.open();
        node.from_pod(&node.a, syn(node, Family::V4));
        node.from_pod(&node.a, Packet::udp((node.a.ip(Family::V4), 1), (Family::V4.world(), 2)));
        assert_eq!(node.counted(maps::FORWARDED, Direction::Ingress), 1);
        assert_eq!(node.counted(maps::FORWARDED, Direction::Egress), 1);
    });
}

#[test]
fn an_address_that_moves_to_another_pod_is_followed_at_the_next_epoch() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let third = family.pod(200);
            let is = |pod: &bpf_tests::Pod| EndpointInfo {
                ifindex: pod.ifindex,
                lxc_id: pod.id,
                sec_id: pod.identity,
                ..Default::default()
            };
            let packet = || Packet::udp((node.a.ip(family), 9), (third, 9));
            assert_eq!(node.from_pod(&node.a, packet()).verdict, Verdict::Stack);
            node.set_endpoint(third, is(&node.b));
            node.next_epoch();
            let outcome = node.from_pod(&node.a, packet());
            assert_eq!((outcome.verdict, outcome.seen().destination_mac), (Verdict::Redirect, node.b.mac));
        }
    });
}
