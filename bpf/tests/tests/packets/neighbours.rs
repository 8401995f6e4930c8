// SPDX-License-Identifier: Apache-2.0
//! Who is the gateway? ARP and neighbour discovery.

use std::net::{IpAddr, Ipv6Addr};

use bpf_tests::{
    Family, Packet, Seen, Verdict, arp_request, ipv4, neighbour_solicitation, on_node, transport_checksum,
};
use maps::Direction;

const UNKNOWN_TARGET: u8 = 150;

fn ipv6(address: IpAddr) -> Ipv6Addr {
    match address {
        IpAddr::V6(address) => address,
        IpAddr::V4(_) => panic!("{address} is no IPv6 address"),
    }
}

#[test]
fn arp_for_the_router_is_answered_with_the_nodes_mac() {
    on_node(|node| {
        let (pod, router) = (ipv4(node.a.ip(Family::V4)), ipv4(Family::V4.router()));
        let outcome = node.from_pod_raw(&node.a, &arp_request(node.a.mac, pod, router));
        assert_eq!(outcome.verdict, Verdict::Redirect);
        let mut expected = [node.a.mac, node.a.node_mac].concat();
        expected.extend([0x08, 0x06, 0, 1, 8, 0, 6, 4, 0, 2]);
        expected.extend(node.a.node_mac);
        expected.extend(router.octets());
        expected.extend(node.a.mac);
        expected.extend(pod.octets());
        assert_eq!(outcome.frame, expected);
    });
}

#[test]
fn other_arp_does_not_leave_a_pod() {
    on_node(|node| {
        let pod = ipv4(node.a.ip(Family::V4));
        let other = ipv4(node.b.ip(Family::V4));
        for asked in [other, pod] {
            node.expect_drop(UNKNOWN_TARGET, |node| {
                node.from_pod_raw(&node.a, &arp_request(node.a.mac, pod, asked))
            });
        }
        let mut answer = arp_request(node.a.mac, pod, ipv4(Family::V4.router()));
        answer[21] = 2;
        node.expect_drop(UNKNOWN_TARGET, |node| node.from_pod_raw(&node.a, &answer));
        let short = arp_request(node.a.mac, pod, other)[..30].to_vec();
        node.expect_drop(134, |node| node.from_pod_raw(&node.a, &short));
        let mut strange = arp_request(node.a.mac, pod, ipv4(Family::V4.router()));
        strange[18] = 8;
        node.expect_drop(134, |node| node.from_pod_raw(&node.a, &strange));
    });
}

#[test]
fn a_solicitation_of_the_router_is_answered_with_the_nodes_mac() {
    on_node(|node| {
        let router = ipv6(Family::V6.router());
        let link_local: Ipv6Addr = "fe80::1:2".parse().unwrap();
        for from in [ipv6(node.a.ip(Family::V6)), link_local] {
            let outcome = node.from_pod_raw(&node.a, &neighbour_solicitation(node.a.mac, from, router));
            assert_eq!(outcome.verdict, Verdict::Redirect);
            let seen: Seen = outcome.seen();
            assert_eq!((seen.source_mac, seen.destination_mac), (node.a.node_mac, node.a.mac));
            assert_eq!((seen.from, seen.to, seen.hops), (router.into(), from.into(), 255));
            // Router, solicited, override; target; its link-layer address.
            let mut expected = vec![136, 0, 0, 0, 0xe0, 0, 0, 0];
            expected.extend(router.octets());
            expected.extend([2, 1]);
            expected.extend(node.a.node_mac);
            let sum = transport_checksum(seen.from, seen.to, 58, &expected);
            expected[2..4].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(seen.payload, expected);
        }
    });
}

#[test]
fn a_solicitation_that_has_crossed_a_router_is_not_answered() {
    on_node(|node| {
        let (pod, router) = (ipv6(node.a.ip(Family::V6)), ipv6(Family::V6.router()));
        let mut frame = neighbour_solicitation(node.a.mac, pod, router);
        frame[14 + 7] = 254;
        node.expect_drop(134, |node| node.from_pod_raw(&node.a, &frame));
    });
}

#[test]
fn a_pods_other_neighbour_discovery_ends_here_counted_and_untold() {
    on_node(|node| {
        let (pod, link_local): (Ipv6Addr, Ipv6Addr) =
            (ipv6(node.a.ip(Family::V6)), "fe80::1:2".parse().unwrap());
        let to_all = |kind| {
            let routers: Ipv6Addr = "ff02::2".parse().unwrap();
            let message = vec![kind, 0, 0, 0, 0, 0, 0, 0];
            Packet::raw(link_local.into(), routers.into(), 58, message)
                .macs(node.a.mac, [0x33, 0x33, 0, 0, 0, 2])
        };
        let mut frames = vec![
            // Is my own address taken? Who is the other pod?
            neighbour_solicitation(node.a.mac, Ipv6Addr::UNSPECIFIED, pod),
            neighbour_solicitation(node.a.mac, pod, ipv6(node.b.ip(Family::V6))),
            to_all(133).bytes(),
            to_all(136).bytes(),
        ];
        // Group management has a hop-by-hop header.
        frames.push(to_all(143).extension(0, vec![0, 5, 2, 0, 0, 1, 0]).bytes());
        for (index, frame) in frames.iter().enumerate() {
            assert_eq!(node.from_pod_raw(&node.a, frame).verdict, Verdict::Drop, "{index}");
            assert_eq!(node.counted(UNKNOWN_TARGET, Direction::Egress), index as u64 + 1);
        }
        assert_eq!(node.events(), []);
    });
}
