// SPDX-License-Identifier: Apache-2.0
//! How long what is remembered of a connection lasts, where only one end is heard.

use bpf_tests::{BOTH, Node, Packet, Quoted, Verdict, now_s, on_node};
use maps::{BpfMap, Bytes, SnatEntry};

use crate::node_ports::{Outside, asked_from, expect_out};

const UDP: u8 = 17;
/// Seconds that a mapping of datagrams has after each tick in which it was used.
const DATAGRAMS_S: i64 = 60;

/// The clock has ticked, and every mapping has so many seconds left.
fn age(node: &Node, left_s: i32) {
    fn rows<K: Bytes>(table: &BpfMap<K, SnatEntry>, left_s: i32) {
        for (key, entry) in table.rows().unwrap() {
            let lifetime = now_s().wrapping_add_signed(left_s);
            table.insert(&key, &SnatEntry { lifetime, tick: entry.tick - 1, ..entry }).unwrap();
        }
    }
    rows(&node.snat4, left_s);
    rows(&node.snat6, left_s);
}

/// Seconds that each row of a mapping has left.
fn left(node: &Node) -> Vec<i64> {
    let entries = node.snat4.rows().unwrap().into_iter().map(|(_, entry)| entry);
    let entries = entries.chain(node.snat6.rows().unwrap().into_iter().map(|(_, entry)| entry));
    entries.map(|entry| i64::from(entry.lifetime) - i64::from(now_s())).collect()
}

fn expect_kept(node: &Node) {
    let left = left(node);
    assert!(left.len() == 2 && left.iter().all(|left| *left > DATAGRAMS_S - 5), "{left:?}");
}

#[test]
fn datagrams_that_only_come_back_to_a_pod_keep_its_mapping() {
    for family in BOTH {
        on_node(|node| {
            node.open();
            let (client, server) = ((node.a.ip(family), 40_000), (family.world(), 53));
            let asks = Packet::udp(client, server);
            node.from_pod(&node.a, asks.clone());
            node.to_netdev(asks.clone());
            let streams = || {
                let outcome = node.from_netdev(Packet::udp(server, (family.node(), 40_000)));
                assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, client.0));
            };
            for _ in 0..3 {
                age(node, 3);
                streams();
                expect_kept(node);
            }
            // An error is no traffic, and what is over stays over.
            age(node, 3);
            let sent = Packet::udp((family.node(), 40_000), server);
            let kind = family.error_types()[1];
            node.from_netdev(Packet::error(family.hop(), family.node(), kind, &sent, Quoted::All));
            assert!(left(node).iter().all(|left| *left <= 3), "{:?}", left(node));
            age(node, -3);
            streams();
            assert!(left(node).iter().all(|left| *left < 0), "{:?}", left(node));
        });
    }
}

#[test]
fn a_client_that_only_listens_to_a_remote_backend_is_not_robbed_of_its_port() {
    for family in BOTH {
        on_node(|node| {
            node.open();
            let mut outside = Outside::remote(node, family, UDP);
            let (client, frontend, server) = (outside.client, outside.talk.service.at, outside.talk.server);
            let port = asked_from(&outside, &outside.asks(0));
            let streams = || node.from_netdev(Packet::udp(server, (family.node(), port)));
            age(node, 3);
            expect_out(&streams(), frontend, client);
            expect_kept(node);
            outside.client = (family.hop(), client.1);
            assert_ne!(asked_from(&outside, &outside.asks(0)), port);
            expect_out(&streams(), frontend, client);
        });
    }
}
