// SPDX-License-Identifier: Apache-2.0
//! ICMP errors about masqueraded connections, in both directions.

use bpf_tests::tcp_flags::SYN;
use bpf_tests::{BOTH, Family, Node, Outcome, Packet, Quoted, Verdict, on_node};

/// Pod B has its port from the node's choice, because pod A has its own: ports differ inside and outside.
fn translated(node: &Node, family: Family, make: &dyn Fn(std::net::IpAddr) -> Packet) -> Packet {
    for pod in [&node.a, &node.b] {
        node.from_pod(pod, make(pod.ip(family)));
    }
    node.to_netdev(make(node.a.ip(family)));
    let outcome = node.to_netdev(make(node.b.ip(family)));
    assert_eq!(outcome.verdict, Verdict::Stack);
    requote(&outcome)
}

/// A packet as it was seen, to be quoted.
fn requote(outcome: &Outcome) -> Packet {
    let seen = outcome.seen();
    Packet::raw(seen.from, seen.to, seen.protocol, seen.payload)
}

type Make = fn(std::net::IpAddr, Family) -> Packet;

const FLOWS: [Make; 3] = [
    |from, family| Packet::udp((from, 5000), (family.world(), 33_434)),
    |from, family| Packet::tcp((from, 5000), (family.world(), 443), SYN),
    |from, family| Packet::echo_request(from, family.world(), 5000),
];

#[test]
fn an_error_from_the_network_reaches_the_pod_with_the_pods_ends_inside() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            for make in FLOWS {
                let outside = translated(node, family, &|from| make(from, family));
                for quoted in [Quoted::Eight, Quoted::All] {
                    let kind = family.error_types()[1];
                    let error = Packet::error(family.hop(), family.node(), kind, &outside, quoted);
                    let outcome = node.from_netdev(error);
                    assert_eq!(outcome.verdict, Verdict::Redirect, "{family:?} {outside:?}");
                    let seen = outcome.seen();
                    seen.expect_checksum();
                    assert_eq!((seen.to, seen.destination_mac), (node.b.ip(family), node.b.mac));
                    let inner = seen.quoted();
                    assert_eq!((inner.from, inner.to), (node.b.ip(family), family.world()));
                    let own = if inner.protocol == family.icmp() { inner.echo_id() } else { inner.ports().0 };
                    assert_eq!(own, 5000);
                }
            }
        }
    });
}

#[test]
fn an_error_of_a_pod_leaves_with_the_nodes_ends_inside() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let world = (family.world(), 33_434);
            let outside = translated(node, family, &|from| Packet::udp((from, 5000), world));
            let port = u16::from_be_bytes([outside.payload()[0], outside.payload()[1]]);
            // The answer as the pod received it, at a port that it has closed.
            let answer = Packet::udp(world, (node.b.ip(family), 5000));
            let kind = family.error_types()[0];
            let error = Packet::error(node.b.ip(family), world.0, kind, &answer, Quoted::All);
            assert_eq!(node.from_pod(&node.b, error.clone()).verdict, Verdict::Stack);
            let outcome = node.to_netdev(error);
            let seen = outcome.seen();
            seen.expect_checksum();
            assert_eq!((outcome.verdict, seen.from), (Verdict::Stack, family.node()));
            let inner = seen.quoted();
            assert_eq!((inner.from, inner.to, inner.ports()), (world.0, family.node(), (33_434, port)));
        }
    });
}

#[test]
fn an_error_about_the_nodes_own_traffic_is_the_nodes() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let own = Packet::udp((family.node(), 1), (family.world(), 2));
            let error =
                || Packet::error(family.hop(), family.node(), family.error_types()[0], &own, Quoted::All);
            let outcome = node.from_netdev(error());
            assert_eq!((outcome.verdict, outcome.seen().payload), (Verdict::Stack, error().payload()));
        }
    });
}
