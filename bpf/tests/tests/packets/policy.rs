// SPDX-License-Identifier: Apache-2.0
//! Which entry allows, and what it means when none does.

use addr::Be16;
use bpf_tests::tcp_flags::SYN;
use bpf_tests::{BOTH, CIDR_IDENTITY, Event, Family, Node, Packet, Verdict, any_key, on_node};
use maps::{PolicyEntry, PolicyKey, lxc_options};

const TCP: u8 = 6;
const UDP: u8 = 17;
const DENIED_L3: u8 = 133;
const DENIED_L4: u8 = 159;
const DENIED_CIDR: u8 = 162;
const EXACT: u8 = 1;
const L3_ONLY: u8 = 2;
const L4_ONLY: u8 = 3;
const ALL: u8 = 4;

fn ingress(peer: u32, protocol: u8, port: u16, port_prefix: u8) -> PolicyKey {
    PolicyKey { sec_label: peer, dport: Be16::new(port), protocol, egress: 0, port_prefix, pad: [0; 3] }
}

/// A packet from pod A to pod B, whose ingress policy is the one that decides.
fn to_b(node: &Node, family: Family, protocol: u8, source: u16, port: u16) -> Packet {
    let (from, to) = ((node.a.ip(family), source), (node.b.ip(family), port));
    if protocol == TCP { Packet::tcp(from, to, SYN) } else { Packet::udp(from, to) }
}

fn expect(node: &Node, allowed: bool, protocol: u8, port: u16) {
    for family in BOTH {
        let outcome = node.from_pod(&node.a, to_b(node, family, protocol, 40_000, port));
        let expected = if allowed { Verdict::Redirect } else { Verdict::Drop };
        assert_eq!(outcome.verdict, expected, "{family:?}, protocol {protocol}, port {port}");
    }
}

/// The rule and kind of match that pod B's policy said.
fn told(node: &Node, source: u16, port: u16) -> (u32, u8, bool) {
    node.events();
    node.from_pod(&node.a, to_b(node, Family::V4, TCP, source, port));
    let events = node.events();
    let verdicts: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Verdict(verdict) if verdict.direction == 1 => Some(verdict),
            _ => None,
        })
        .collect();
    assert_eq!(verdicts.len(), 1, "{events:?}");
    (verdicts[0].rule, verdicts[0].matched, verdicts[0].header.subtype == 1)
}

#[test]
fn an_empty_policy_denies_in_both_directions() {
    on_node(|node| {
        expect(node, false, TCP, 80);
        node.allow(&node.a, any_key(1), 0);
        expect(node, false, TCP, 80);
        node.allow(&node.b, any_key(0), 0);
        expect(node, true, TCP, 80);
        node.forbid(&node.a, any_key(1));
        expect(node, false, TCP, 80);
    });
}

#[test]
fn an_entry_of_one_direction_says_nothing_about_the_other() {
    on_node(|node| {
        node.allow(&node.a, any_key(0), 0);
        node.allow(&node.b, any_key(1), 0);
        expect(node, false, TCP, 80);
    });
}

#[test]
fn an_exact_entry_allows_its_peer_protocol_and_port_only() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        node.allow(&node.b, ingress(node.a.identity, TCP, 80, 16), 0);
        expect(node, true, TCP, 80);
        expect(node, false, TCP, 81);
        expect(node, false, UDP, 80);
        node.forbid(&node.b, ingress(node.a.identity, TCP, 80, 16));
        node.allow(&node.b, ingress(node.a.identity + 1, TCP, 80, 16), 0);
        expect(node, false, TCP, 80);
    });
}

#[test]
fn an_entry_without_port_allows_all_of_its_protocol_and_one_without_protocol_all_of_its_peer() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        let udp = ingress(node.a.identity, UDP, 0, 0);
        node.allow(&node.b, udp, 0);
        expect(node, true, UDP, 53);
        expect(node, true, UDP, 0);
        expect(node, false, TCP, 53);
        node.forbid(&node.b, udp);
        node.allow(&node.b, ingress(node.a.identity, 0, 0, 0), 0);
        expect(node, true, UDP, 53);
        expect(node, true, TCP, 53);
    });
}

#[test]
fn an_entry_without_peer_allows_everybody_its_port() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        node.allow(&node.b, ingress(0, TCP, 443, 16), 0);
        expect(node, true, TCP, 443);
        expect(node, false, TCP, 444);
        for family in BOTH {
            let from_world = Packet::tcp((family.world(), 999), (node.b.ip(family), 443), SYN);
            assert_eq!(node.from_netdev(from_world).verdict, Verdict::Redirect);
        }
    });
}

#[test]
fn a_port_prefix_covers_its_range_and_nothing_beside_it() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        for (first, bits) in [(8080, 13), (0x4000, 2), (0x8000, 1), (4242, 16), (6, 15)] {
            let key = ingress(node.a.identity, TCP, first, bits);
            let last = first + ((1_u32 << (16 - bits)) - 1) as u16;
            node.allow(&node.b, key, 0);
            expect(node, false, TCP, first - 1);
            expect(node, true, TCP, first);
            expect(node, true, TCP, last);
            expect(node, false, TCP, last.wrapping_add(1));
            node.forbid(&node.b, key);
        }
    });
}

#[test]
fn the_first_entry_in_the_order_of_precedence_is_the_one_that_is_told_and_counted() {
    on_node(|node| {
        node.set_options(&node.b, lxc_options::POLICY_VERDICT_NOTIFICATION);
        node.set_monitor(1);
        node.allow(&node.a, any_key(1), 0);
        let entries = [
            (ingress(node.a.identity, TCP, 80, 16), 11, EXACT),
            (ingress(node.a.identity, TCP, 64, 10), 12, EXACT),
            (ingress(node.a.identity, TCP, 0, 0), 13, EXACT),
            (ingress(node.a.identity, 0, 0, 0), 14, L3_ONLY),
            (ingress(0, TCP, 80, 16), 15, L4_ONLY),
            (ingress(0, TCP, 64, 10), 16, L4_ONLY),
            (ingress(0, TCP, 0, 0), 17, L4_ONLY),
            (ingress(0, 0, 0, 0), 18, ALL),
        ];
        for (key, rule, _) in entries {
            node.allow(&node.b, key, rule);
        }
        for (index, (key, rule, matched)) in entries.into_iter().enumerate() {
            assert_eq!(told(node, 1000 + index as u16, 80), (rule, matched, true), "{key:?}");
            let counted = node.policy_entry(&node.b, &key);
            assert_eq!((counted.packets, counted.bytes), (1, 54), "{key:?}");
            node.forbid(&node.b, key);
        }
        assert_eq!(told(node, 2000, 80), (0, 0, false));
    });
}

#[test]
fn a_flow_is_counted_by_policy_once_and_again_when_it_is_judged_again() {
    on_node(|node| {
        node.open();
        for _ in 0..3 {
            node.from_pod(&node.a, to_b(node, Family::V4, UDP, 1, 2));
        }
        assert_eq!(node.policy_entry(&node.a, &any_key(1)).packets, 1);
        node.next_epoch();
        node.from_pod(&node.a, to_b(node, Family::V4, UDP, 1, 2));
        assert_eq!(node.policy_entry(&node.a, &any_key(1)).packets, 2);
        assert_eq!(node.policy_entry(&node.b, &any_key(0)).packets, 2);
    });
}

#[test]
fn the_reason_of_a_denial_names_the_layer() {
    on_node(|node| {
        let send = |node: &Node| node.from_pod(&node.a, to_b(node, Family::V4, TCP, 1, 80));
        node.expect_drop(DENIED_L3, send);
        node.allow(&node.a, any_key(1), 0);
        node.expect_drop(DENIED_L3, send);
        node.allow(&node.b, ingress(node.a.identity, TCP, 81, 16), 0);
        node.expect_drop(DENIED_L4, send);
        for family in BOTH {
            for peer in [family.world(), family.known()] {
                node.expect_drop(DENIED_CIDR, |node| {
                    node.from_netdev(Packet::tcp((peer, 1), (node.b.ip(family), 80), SYN))
                });
            }
        }
    });
}

#[test]
fn a_denial_is_told_with_both_identities_and_the_direction_of_the_policy_that_denied() {
    on_node(|node| {
        for direction in [2, 1] {
            node.events();
            node.from_pod(&node.a, to_b(node, Family::V6, TCP, 7, 80));
            let events = node.events();
            let [Event::Drop(drop)] = &events[..] else { panic!("{events:?}") };
            assert_eq!((drop.src_label, drop.dst_label), (node.a.identity, node.b.identity));
            assert_eq!((drop.direction, drop.dst_id), (direction, u32::from(node.b.id)));
            assert_eq!((drop.header.source, drop.ifindex), (node.a.id, node.a.ifindex));
            assert_eq!((drop.len_orig, drop.len_cap), (74, 74));
            node.allow(&node.a, any_key(1), 0);
        }
    });
}

#[test]
fn the_identity_of_an_address_is_that_of_its_longest_prefix() {
    on_node(|node| {
        node.allow(&node.b, ingress(CIDR_IDENTITY, 0, 0, 0), 0);
        for family in BOTH {
            let to_b = |from| Packet::udp((from, 1), (node.b.ip(family), 1));
            assert_eq!(node.from_netdev(to_b(family.known())).verdict, Verdict::Redirect);
            assert_eq!(node.from_netdev(to_b(family.world())).verdict, Verdict::Drop);
            node.set_identity(family.known().into(), CIDR_IDENTITY + 1);
            node.next_epoch();
            assert_eq!(node.from_netdev(to_b(family.known())).verdict, Verdict::Drop);
        }
    });
}

#[test]
fn the_nodes_addresses_have_its_identity() {
    on_node(|node| {
        node.allow(&node.b, ingress(1, 0, 0, 0), 0);
        for family in BOTH {
            let to_b = |from| Packet::udp((from, 1), (node.b.ip(family), 1));
            assert_eq!(node.from_host(to_b(family.node())).verdict, Verdict::Redirect);
            assert_eq!(node.from_host(to_b(family.world())).verdict, Verdict::Drop);
        }
    });
}

#[test]
fn an_entry_that_wants_a_proxy_does_not_let_packets_pass_without_one() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        let entry = PolicyEntry { proxy_port: Be16::new(10_000), ..Default::default() };
        node.allow_entry(&node.b, ingress(0, TCP, 80, 16), entry);
        node.expect_drop(165, |node| node.from_pod(&node.a, to_b(node, Family::V4, TCP, 1, 80)));
    });
}

#[test]
fn ten_thousand_entries_change_no_verdict() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        for identity in 0..10_000 {
            node.allow(&node.b, ingress(20_000 + identity, TCP, 80, 16), identity);
        }
        expect(node, false, TCP, 80);
        node.allow(&node.b, ingress(node.a.identity, TCP, 80, 16), 1);
        expect(node, true, TCP, 80);
    });
}
