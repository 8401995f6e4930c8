// SPDX-License-Identifier: Apache-2.0
//! What is told, to whom, and how often.

use bpf_tests::tcp_flags::{ACK, FIN, SYN};
use bpf_tests::{BOTH, Event, Family, Node, Packet, any_key, on_node};
use maps::{TraceEvent, lxc_options};

const TO_ENDPOINT: u8 = 0;
const TO_HOST: u8 = 2;
const TO_STACK: u8 = 3;
const FROM_ENDPOINT: u8 = 5;
const FROM_HOST: u8 = 7;
const FROM_STACK: u8 = 8;

fn traced(test: impl FnOnce(&Node) + Send) {
    on_node(|node| {
        node.open();
        node.set_options(&node.a, lxc_options::TRACE_NOTIFICATION);
        node.set_options(&node.b, lxc_options::TRACE_NOTIFICATION);
        node.set_monitor(1);
        test(node);
    });
}

fn traces(node: &Node) -> Vec<TraceEvent> {
    let events = node.events();
    events
        .into_iter()
        .map(|event| match event {
            Event::Trace(trace) => trace,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn points(node: &Node) -> Vec<(u8, u8)> {
    traces(node).iter().map(|trace| (trace.header.subtype, trace.reason)).collect()
}

fn segment(node: &Node, family: Family, flags: u8) -> Packet {
    Packet::tcp((node.a.ip(family), 40_000), (node.b.ip(family), 80), flags)
}

#[test]
fn nothing_is_told_while_nobody_listens() {
    traced(|node| {
        node.set_monitor(0);
        node.from_pod(&node.a, segment(node, Family::V4, SYN));
        assert_eq!(node.events(), []);
    });
}

#[test]
fn a_packet_is_traced_where_it_comes_from_and_where_it_goes() {
    traced(|node| {
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            node.from_pod(&node.a, segment(node, family, SYN));
            assert_eq!(points(node), [(FROM_ENDPOINT, 0), (TO_ENDPOINT, 0)]);
            node.from_pod(&node.a, segment(node, family, ACK));
            assert_eq!(points(node), [(FROM_ENDPOINT, 0), (TO_ENDPOINT, 1)]);
            node.from_pod(&node.b, Packet::tcp((b, 80), (a, 40_000), ACK));
            assert_eq!(points(node), [(FROM_ENDPOINT, 0), (TO_ENDPOINT, 2)]);
            node.from_pod(&node.a, Packet::udp((a, 1), (family.world(), 2)));
            assert_eq!(points(node), [(FROM_ENDPOINT, 0), (TO_STACK, 0)]);
            node.from_pod(&node.a, Packet::udp((a, 1), (family.node(), 2)));
            assert_eq!(points(node), [(FROM_ENDPOINT, 0), (TO_HOST, 0)]);
            node.from_host(Packet::udp((family.node(), 1), (b, 2)));
            assert_eq!(points(node), [(FROM_HOST, 0), (TO_ENDPOINT, 0)]);
            node.from_netdev(Packet::udp((family.world(), 1), (b, 2)));
            assert_eq!(points(node), [(FROM_STACK, 0), (TO_ENDPOINT, 0)]);
        }
    });
}

#[test]
fn a_trace_names_both_identities_and_the_receiver() {
    traced(|node| {
        for family in BOTH {
            for flags in [SYN, ACK] {
                node.from_pod(&node.a, segment(node, family, flags));
                let traces = traces(node);
                let trace = traces.last().expect("a trace");
                assert_eq!((trace.src_label, trace.dst_label), (node.a.identity, node.b.identity));
                assert_eq!((trace.dst_id, trace.header.source), (node.b.id, node.a.id));
                assert_eq!((trace.ifindex, trace.direction), (node.a.ifindex, 1));
                let length = if family == Family::V4 { 54 } else { 74 };
                assert_eq!((trace.len_orig, trace.len_cap), (length, length));
                assert_eq!(trace.data[..6], node.b.mac, "the packet as it is delivered");
            }
            node.from_pod(&node.b, Packet::tcp((node.b.ip(family), 80), (node.a.ip(family), 40_000), ACK));
            let traces = traces(node);
            let trace = traces.last().expect("a trace");
            assert_eq!((trace.src_label, trace.dst_label), (node.b.identity, node.a.identity));
        }
    });
}

#[test]
fn a_long_packet_is_captured_to_128_bytes() {
    traced(|node| {
        let packet = Packet::udp((node.a.ip(Family::V4), 1), (Family::V4.world(), 2)).with_data(&[7; 300]);
        let outcome = node.from_pod(&node.a, packet);
        let traces = traces(node);
        let trace = traces.last().expect("a trace");
        assert_eq!((trace.len_orig, trace.len_cap), (346, 128));
        assert_eq!(trace.data[..], outcome.frame[..128]);
    });
}

#[test]
fn aggregation_hides_where_packets_come_from_then_what_is_not_news() {
    traced(|node| {
        node.set_monitor(2);
        node.from_pod(&node.a, segment(node, Family::V4, SYN));
        node.from_pod(&node.a, segment(node, Family::V4, ACK));
        assert_eq!(points(node), [(TO_ENDPOINT, 0), (TO_ENDPOINT, 1)]);
        node.set_monitor(4);
        for _ in 0..3 {
            node.from_pod(&node.a, segment(node, Family::V4, ACK));
        }
        assert_eq!(points(node), []);
        node.from_pod(&node.a, segment(node, Family::V4, FIN | ACK));
        assert_eq!(points(node), [(TO_ENDPOINT, 1)]);
        node.change_connection(6, (node.a.ip(Family::V4), 40_000), (node.b.ip(Family::V4), 80), |entry| {
            entry.last_report -= 6;
        });
        node.from_pod(&node.a, segment(node, Family::V4, ACK));
        node.from_pod(&node.a, segment(node, Family::V4, ACK));
        assert_eq!(points(node), [(TO_ENDPOINT, 1)]);
    });
}

#[test]
fn an_endpoint_that_does_not_trace_is_not_traced() {
    traced(|node| {
        node.set_options(&node.a, 0);
        node.from_pod(&node.a, segment(node, Family::V4, SYN));
        assert_eq!(points(node), []);
    });
}

#[test]
fn debugging_shows_what_a_policy_was_asked() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        node.set_options(&node.a, lxc_options::DEBUG);
        node.set_monitor(1);
        node.from_pod(&node.a, segment(node, Family::V4, SYN));
        let events = node.events();
        let [Event::Debug(debug)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((debug.arg1, debug.arg2, debug.arg3), (u32::from(node.a.id), node.b.identity, 0));
    });
}

#[test]
fn events_that_find_no_room_are_counted() {
    traced(|node| {
        let packet = || Packet::udp((node.a.ip(Family::V4), 1), (Family::V4.world(), 2));
        // 168 bytes each and two per packet: more than 4 MiB.
        for _ in 0..14_000 {
            node.from_pod(&node.a, packet());
        }
        assert!(node.counted(maps::EVENT_LOST, maps::Direction::Ingress) > 0);
    });
}
