// SPDX-License-Identifier: Apache-2.0
//! From the kernel's bytes to lines and JSON.

use etherparse::PacketBuilder;
use maps::{DebugEvent, DropEvent, EVENT_DATA_BYTES, EventHeader, TraceEvent, VerdictEvent, event_type};
use monitor::{DecodeError, Decoder, Event, Summary};
use proptest::prelude::*;
use serde_json::json;
use zerocopy::IntoBytes;

const SOURCE_MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];
const DESTINATION_MAC: [u8; 6] = [2, 0, 0, 0, 0, 2];

fn tcp_syn() -> Vec<u8> {
    let builder = PacketBuilder::ethernet2(SOURCE_MAC, DESTINATION_MAC)
        .ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64)
        .tcp(1, 2, 0, 1000)
        .syn();
    let mut packet = Vec::new();
    builder.write(&mut packet, &[]).unwrap();
    packet
}

/// A packet as programs capture it.
fn captured(packet: &[u8]) -> ([u8; EVENT_DATA_BYTES], u32) {
    let mut data = [0; EVENT_DATA_BYTES];
    let length = packet.len().min(EVENT_DATA_BYTES);
    data[..length].copy_from_slice(&packet[..length]);
    (data, length as u32)
}

fn header(kind: u8, subtype: u8, source: u16) -> EventHeader {
    EventHeader { kind, subtype, source, hash: 0x1a2b }
}

fn drop_event() -> DropEvent {
    let (data, len_cap) = captured(&tcp_syn());
    DropEvent {
        header: header(event_type::DROP, 133, 11),
        len_orig: 54,
        len_cap,
        src_label: 31028,
        dst_label: 16_777_217,
        dst_id: 12,
        ifindex: u32::MAX,
        direction: 1,
        pad: [0; 3],
        rule: 0,
        data,
    }
}

fn trace_event(subtype: u8, reason: u8, packet: &[u8]) -> TraceEvent {
    let (data, len_cap) = captured(packet);
    TraceEvent {
        header: header(event_type::TRACE, subtype, 11),
        len_orig: packet.len() as u32,
        len_cap,
        src_label: 31028,
        dst_label: 2,
        dst_id: 12,
        reason,
        direction: 2,
        ifindex: 1,
        data,
    }
}

fn verdict_event(subtype: u8, direction: u8) -> VerdictEvent {
    let (data, len_cap) = captured(&tcp_syn());
    VerdictEvent {
        header: header(event_type::POLICY_VERDICT, subtype, 11),
        len_orig: 54,
        len_cap,
        src_label: 31028,
        dst_label: 2,
        dst_id: 12,
        direction,
        matched: if subtype == 1 { 3 } else { 0 },
        pad: [0; 2],
        rule: u32::from(subtype) * 7,
        pad2: 0,
        data,
    }
}

fn decode(bytes: &[u8]) -> Event {
    Decoder::new().decode(bytes).unwrap()
}

#[test]
fn a_drop_is_worded_as_in_1_4_with_its_identities_in_full() {
    assert_eq!(
        decode(drop_event().as_bytes()).to_string(),
        "xx drop (Policy denied (L3)) flow 0x1a2b to endpoint 12, identity 31028->16777217: \
         10.0.0.1:1 -> 10.0.0.2:2 tcp SYN"
    );
    let ruled = DropEvent { rule: 3, ..drop_event() };
    assert!(decode(ruled.as_bytes()).to_string().contains("identity 31028->16777217, rule 3: 10.0.0.1:1"));
}

#[test]
fn a_drop_as_json_has_1_4s_fields() {
    let event = decode(drop_event().as_bytes()).without_payload();
    assert_eq!(
        serde_json::to_value(event).unwrap(),
        json!({
            "type": "drop", "mark": "0x1a2b", "ifindex": "4294967295",
            "reason": "Policy denied (L3)", "reasonCode": 133,
            "source": 11, "bytes": 54, "srcLabel": 31028, "dstLabel": 16777217, "dstID": 12,
            "direction": "ingress", "rule": 0,
            "summary": {
                "l2": {"src": "02:00:00:00:00:01", "dst": "02:00:00:00:00:02"},
                "l3": {"src": "10.0.0.1", "dst": "10.0.0.2"},
                "l4": {"src": "1", "dst": "2"},
                "protocol": "tcp", "detail": "SYN"
            }
        })
    );
}

#[test]
fn a_trace_says_where_in_which_state_and_on_which_device() {
    let line = |subtype, reason| decode(trace_event(subtype, reason, &tcp_syn()).as_bytes()).to_string();
    assert_eq!(
        line(0, 0),
        "-> endpoint 12 flow 0x1a2b identity 31028->2 state new ifindex lo: 10.0.0.1:1 -> 10.0.0.2:2 tcp SYN"
    );
    for (subtype, words) in [
        (1, "-> proxy flow"),
        (2, "-> host from 11 flow"),
        (3, "-> stack from 11 flow"),
        (4, "-> overlay from 11 flow"),
        (5, "<- endpoint 11 flow"),
        (6, "<- proxy flow"),
        (7, "<- host flow"),
        (8, "<- stack flow"),
        (9, "<- overlay flow"),
        (10, "<- network flow"),
        (11, "-> network from 11 flow"),
        (99, "unknown trace point of endpoint 11 flow"),
    ] {
        assert!(line(subtype, 0).starts_with(words), "{}", line(subtype, 0));
    }
    for (reason, state) in [(1, "established"), (2, "reply"), (3, "related"), (9, "unknown")] {
        assert!(line(0, reason).contains(&format!(" state {state} ")), "{}", line(0, reason));
    }
}

#[test]
fn a_verdict_names_the_peer_by_direction() {
    let line = |subtype, direction| decode(verdict_event(subtype, direction).as_bytes()).to_string();
    assert_eq!(
        line(0, 1),
        "Policy verdict log: flow 0x1a2b local EP ID 11, remote ID 31028, ingress, action deny, match none, \
         10.0.0.1:1 -> 10.0.0.2:2 tcp SYN"
    );
    assert_eq!(
        line(1, 2),
        "Policy verdict log: flow 0x1a2b local EP ID 11, remote ID 2, egress, action allow, match L4-Only, rule 7, \
         10.0.0.1:1 -> 10.0.0.2:2 tcp SYN"
    );
}

#[test]
fn a_debug_message_is_worded_or_shown_with_its_numbers() {
    let line = |subtype, arg3| {
        let header = header(event_type::DEBUG, subtype, 11);
        decode(DebugEvent { header, arg1: 12, arg2: 31028, arg3, pad: 0 }.as_bytes()).to_string()
    };
    assert_eq!(line(3, 0), "DEBUG: flow 0x1a2b policy of endpoint 12 allows identity 31028");
    assert_eq!(
        line(3, 133),
        "DEBUG: flow 0x1a2b policy of endpoint 12 denies identity 31028: Policy denied (L3)"
    );
    assert_eq!(line(3, 1000), "DEBUG: flow 0x1a2b endpoint 11 code 3: 12 31028 1000");
    assert_eq!(line(77, 5), "DEBUG: flow 0x1a2b endpoint 11 code 77: 12 31028 5");
}

#[test]
fn each_kind_of_packet_is_summed_up() {
    let ipv6 = || {
        PacketBuilder::ethernet2(SOURCE_MAC, DESTINATION_MAC).ipv6(
            "f00d::1".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            "f00d::2".parse::<std::net::Ipv6Addr>().unwrap().octets(),
            64,
        )
    };
    let ipv4 =
        || PacketBuilder::ethernet2(SOURCE_MAC, DESTINATION_MAC).ipv4([10, 0, 0, 1], [10, 0, 0, 2], 64);
    let mut packets = vec![Vec::new(); 5];
    ipv6().udp(53, 1053).write(&mut packets[0], b"name").unwrap();
    ipv4().icmpv4_echo_request(1, 2).write(&mut packets[1], b"ping").unwrap();
    ipv6().icmpv6_echo_reply(1, 2).write(&mut packets[2], b"ping").unwrap();
    ipv4().icmpv4_raw(3, 4, [0; 4]).write(&mut packets[3], b"big").unwrap();
    ipv4().tcp(80, 1, 0, 0).ack(5).fin().write(&mut packets[4], &[0; 1000]).unwrap();
    let lines: Vec<String> = packets
        .iter()
        .map(|packet| Summary::of(&packet[..packet.len().min(EVENT_DATA_BYTES)]).to_string())
        .collect();
    assert_eq!(
        lines,
        [
            "[f00d::1]:53 -> [f00d::2]:1053 udp",
            "10.0.0.1 -> 10.0.0.2 EchoRequest",
            "f00d::1 -> f00d::2 EchoReply",
            "10.0.0.1 -> 10.0.0.2 DestinationUnreachable(FragmentationNeeded)",
            "10.0.0.1:80 -> 10.0.0.2:1 tcp ACK, FIN",
        ]
    );
}

#[test]
fn a_packet_that_is_not_ip_or_cut_short_is_summed_up_as_far_as_it_goes() {
    let arp = [
        &DESTINATION_MAC[..],
        &SOURCE_MAC,
        &[8, 6, 0, 1, 8, 0, 6, 4, 0, 1],
        &SOURCE_MAC,
        &[10, 0, 0, 1],
        &[0; 6],
        &[10, 0, 0, 2],
    ]
    .concat();
    assert_eq!(Summary::of(&arp).to_string(), "10.0.0.1 -> 10.0.0.2 arp request");
    let lldp = [&DESTINATION_MAC[..], &SOURCE_MAC, &[0x88, 0xcc, 1]].concat();
    assert_eq!(Summary::of(&lldp).to_string(), "02:00:00:00:00:01 -> 02:00:00:00:00:02 ethertype 0x88cc");
    let mut fragment = tcp_syn();
    fragment[21] = 9; // offset
    assert_eq!(Summary::of(&fragment).to_string(), "10.0.0.1 -> 10.0.0.2 tcp fragment");
    assert_eq!(Summary::of(&tcp_syn()[..34]).to_string(), "10.0.0.1 -> 10.0.0.2 tcp");
    assert_eq!(Summary::of(&[1, 2, 3]).to_string(), "packet that cannot be read");
}

#[test]
fn what_is_no_event_is_told_from_what_is_cut_short() {
    let mut decoder = Decoder::new();
    assert_eq!(decoder.decode(&[]), Err(DecodeError::Truncated { kind: 0, length: 0 }));
    let drop = drop_event();
    let bytes = drop.as_bytes();
    assert_eq!(decoder.decode(&bytes[..167]), Err(DecodeError::Truncated { kind: 1, length: 167 }));
    assert_eq!(decoder.decode(&[9; 64]), Err(DecodeError::Unknown { kind: 9 }));
    let longer = [bytes, &[0; 8]].concat();
    assert_eq!(decoder.decode(&longer), decoder.decode(bytes));
}

#[test]
fn a_length_that_the_kernel_should_not_say_is_cut() {
    let event = decode(DropEvent { len_cap: u32::MAX, ..drop_event() }.as_bytes());
    assert_eq!(event.payload().unwrap().len(), 2 * EVENT_DATA_BYTES);
    let empty = decode(DropEvent { len_cap: 0, ..drop_event() }.as_bytes());
    assert!(empty.to_string().ends_with(": packet that cannot be read"), "{empty}");
}

fn kernel_bytes() -> impl Strategy<Value = Vec<u8>> {
    let kinds = prop::sample::select(vec![1_u8, 2, 4, 5, 0, 255]);
    (kinds, prop::collection::vec(any::<u8>(), 0..200)).prop_map(|(kind, mut bytes)| {
        bytes.insert(0, kind);
        bytes
    })
}

/// Frames that are right at first and wrong from somewhere on.
fn frames() -> impl Strategy<Value = Vec<u8>> {
    let types = prop::sample::select(vec![[8_u8, 0], [0x86, 0xdd], [8, 6], [0x81, 0], [0x88, 0xe5]]);
    (types, prop::collection::vec(any::<u8>(), 0..150), any::<bool>()).prop_map(|(kind, mut rest, sane)| {
        if let (true, Some(first)) = (sane, rest.first_mut()) {
            *first = if kind == [8, 0] { 0x45 } else { 0x60 };
        }
        [&DESTINATION_MAC[..], &SOURCE_MAC, &kind, &rest].concat()
    })
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic_and_each_event_survives_its_json(bytes in kernel_bytes()) {
        if let Ok(event) = Decoder::new().decode(&bytes) {
            prop_assert!(!event.to_string().is_empty());
            let json = serde_json::to_string(&event).unwrap();
            prop_assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
        }
    }

    #[test]
    fn no_frame_makes_it_panic(frame in frames()) {
        prop_assert!(!Summary::of(&frame).to_string().is_empty());
    }
}
