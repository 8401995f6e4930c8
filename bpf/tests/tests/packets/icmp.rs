// SPDX-License-Identifier: Apache-2.0
//! Echoes, and errors about other packets.

use bpf_tests::tcp_flags::SYN;
use bpf_tests::{BOTH, Family, Node, Packet, Quoted, Verdict, any_key, on_node};

const CANNOT_CREATE: u8 = 138;
const INVALID: u8 = 134;
const DENIED_L3: u8 = 133;

fn a_may_reach_b(test: impl FnOnce(&Node) + Send) {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        node.allow(&node.b, any_key(0), 0);
        test(node);
    });
}

#[test]
fn an_echo_is_answered_and_an_answer_that_nobody_asked_for_is_not_delivered() {
    a_may_reach_b(|node| {
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            node.expect_drop(CANNOT_CREATE, |node| node.from_pod(&node.b, Packet::echo_reply(b, a, 7)));
            assert_eq!(node.from_pod(&node.a, Packet::echo_request(a, b, 7)).verdict, Verdict::Redirect);
            assert_eq!(node.from_pod(&node.b, Packet::echo_reply(b, a, 7)).verdict, Verdict::Redirect);
            node.expect_drop(CANNOT_CREATE, |node| node.from_pod(&node.b, Packet::echo_reply(b, a, 8)));
            assert!(node.connection(family.icmp(), (a, 7), (b, 0)).is_some());
        }
    });
}

#[test]
fn the_one_who_was_asked_may_not_ask_back_by_the_same_id() {
    a_may_reach_b(|node| {
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            for id in [7, 0, 0xffff] {
                node.from_pod(&node.a, Packet::echo_request(a, b, id));
                node.expect_drop(DENIED_L3, |node| node.from_pod(&node.b, Packet::echo_request(b, a, id)));
                assert_eq!(node.from_pod(&node.b, Packet::echo_reply(b, a, id)).verdict, Verdict::Redirect);
            }
        }
    });
}

#[test]
fn an_error_about_a_flow_reaches_its_sender_without_a_policy() {
    a_may_reach_b(|node| {
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            let flows = [
                Packet::udp((a, 1), (b, 2)),
                Packet::tcp((a, 3), (b, 4), SYN),
                Packet::sctp((a, 5), (b, 6)),
                Packet::echo_request(a, b, 7),
            ];
            for flow in flows {
                for kind in family.error_types() {
                    for quoted in [Quoted::Eight, Quoted::All] {
                        let error = || Packet::error(b, a, kind, &flow, quoted);
                        node.from_pod(&node.a, flow.clone());
                        let outcome = node.from_pod(&node.b, error());
                        assert_eq!(outcome.verdict, Verdict::Redirect, "{flow:?}");
                        let seen = outcome.seen();
                        assert_eq!((seen.destination_mac, seen.hops), (node.a.mac, 63));
                        seen.expect_checksum();
                    }
                }
            }
        }
    });
}

#[test]
fn an_error_about_nothing_we_know_is_a_question_for_policy() {
    a_may_reach_b(|node| {
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            let kind = family.error_types()[0];
            let of_b = Packet::error(b, a, kind, &Packet::udp((a, 1), (b, 2)), Quoted::Eight);
            node.expect_drop(DENIED_L3, |node| node.from_pod(&node.b, of_b));
            let of_a = Packet::error(a, b, kind, &Packet::udp((b, 1), (a, 2)), Quoted::Eight);
            assert_eq!(node.from_pod(&node.a, of_a).verdict, Verdict::Redirect);
        }
    });
}

#[test]
fn routers_report_on_what_passed_them() {
    a_may_reach_b(|node| {
        for family in BOTH {
            let (a, world) = (node.a.ip(family), family.world());
            let flow = Packet::udp((a, 33_434), (world, 33_434));
            let error = || Packet::error(family.hop(), a, family.error_types()[1], &flow, Quoted::Eight);
            assert_eq!(node.from_netdev(error()).verdict, Verdict::Drop);
            node.from_pod(&node.a, flow.clone());
            for outcome in [node.from_netdev(error()), node.from_host(error())] {
                assert_eq!(outcome.verdict, Verdict::Redirect);
                assert_eq!(outcome.seen().destination_mac, node.a.mac);
            }
        }
    });
}

#[test]
fn an_error_about_an_answer_reaches_who_answered() {
    a_may_reach_b(|node| {
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            node.from_pod(&node.a, Packet::udp((a, 1), (b, 2)));
            let answer = Packet::udp((b, 2), (a, 1));
            let error = Packet::error(a, b, family.error_types()[0], &answer, Quoted::All);
            let outcome = node.from_pod(&node.a, error);
            assert_eq!((outcome.verdict, outcome.seen().destination_mac), (Verdict::Redirect, node.b.mac));
        }
    });
}

#[test]
fn a_pod_cannot_report_on_what_it_never_received() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            let flow = Packet::udp((a, 1), (family.world(), 2));
            node.from_pod(&node.a, flow.clone());
            let forged = Packet::error(b, a, family.error_types()[0], &flow, Quoted::Eight);
            node.expect_drop(INVALID, |node| node.from_pod(&node.b, forged));
            let astray =
                Packet::error(b, a, family.error_types()[0], &Packet::udp((b, 1), (a, 2)), Quoted::All);
            node.expect_drop(INVALID, |node| node.from_pod(&node.b, astray));
        }
    });
}

#[test]
fn an_error_about_a_flow_that_is_no_longer_permitted_does_not_pass() {
    a_may_reach_b(|node| {
        for family in BOTH {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            let flow = Packet::udp((a, 1), (b, 2));
            node.from_pod(&node.a, flow.clone());
            node.forbid(&node.b, any_key(0));
            let error = Packet::error(b, a, family.error_types()[0], &flow, Quoted::Eight);
            assert_eq!(node.from_pod(&node.b, error).verdict, Verdict::Drop);
            assert_eq!(node.from_pod(&node.a, flow).verdict, Verdict::Drop);
            node.allow(&node.b, any_key(0), 0);
        }
    });
}

#[test]
fn messages_without_an_id_are_flows_by_policy() {
    a_may_reach_b(|node| {
        // A timestamp; a node information query.
        for (family, kind) in [(Family::V4, 13), (Family::V6, 139)] {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            assert_eq!(node.from_pod(&node.a, Packet::message(a, b, kind)).verdict, Verdict::Redirect);
            assert_eq!(node.from_pod(&node.b, Packet::message(b, a, kind + 1)).verdict, Verdict::Redirect);
        }
    });
}

#[test]
fn errors_that_quote_too_little_are_told() {
    on_node(|node| {
        node.open();
        for (family, length) in [(Family::V4, 27), (Family::V6, 47)] {
            let (a, b) = (node.a.ip(family), node.b.ip(family));
            let quoted = &Packet::udp((a, 1), (b, 2)).bytes()[14..14 + length - 4];
            let message = [&[family.error_types()[0], 0, 0, 0, 0, 0, 0, 0], quoted].concat();
            let packet = Packet::raw(b, a, family.icmp(), message);
            node.expect_drop(135, |node| node.from_pod(&node.b, packet));
        }
    });
}
