// SPDX-License-Identifier: Apache-2.0
//! Connection tracking: who began, how long, and what a change of policy does.

use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, FIN, RST, SYN};
use bpf_tests::{BOTH, Family, Node, Packet, Verdict, any_key, now_s, on_node};
use maps::{ConntrackEntry, conntrack_flags, lxc_options};

const TCP: u8 = 6;
const UDP: u8 = 17;
const CLOSED: u16 = conntrack_flags::TX_CLOSING | conntrack_flags::RX_CLOSING;

type End = (IpAddr, u16);

/// A connection of pod A (or B, if turned) to port 80 of the other.
struct Talk<'a> {
    node: &'a Node,
    client: End,
    server: End,
    turned: bool,
}

impl<'a> Talk<'a> {
    fn new(node: &'a Node, family: Family, turned: bool) -> Self {
        let (client, server) = if turned { (&node.b, &node.a) } else { (&node.a, &node.b) };
        Self { node, client: (client.ip(family), 40_000), server: (server.ip(family), 80), turned }
    }

    fn asks(&self, flags: u8) -> Verdict {
        let pod = if self.turned { &self.node.b } else { &self.node.a };
        self.node.from_pod(pod, Packet::tcp(self.client, self.server, flags)).verdict
    }

    fn answers(&self, flags: u8) -> Verdict {
        let pod = if self.turned { &self.node.a } else { &self.node.b };
        self.node.from_pod(pod, Packet::tcp(self.server, self.client, flags)).verdict
    }

    fn entry(&self) -> ConntrackEntry {
        self.node.connection(TCP, self.client, self.server).expect("the connection has an entry")
    }

    fn expect_lifetime(&self, seconds: u32) {
        let left = self.entry().lifetime - now_s();
        assert!((seconds - 5..=seconds).contains(&left), "{left} seconds left, not {seconds}");
    }

    fn change(&self, change: impl FnOnce(&mut ConntrackEntry)) {
        self.node.change_connection(TCP, self.client, self.server, change);
    }
}

/// Both families, and either pod as the one that begins.
fn each_way(test: impl Fn(&Talk<'_>) + Sync) {
    on_node(|node| {
        for family in BOTH {
            for turned in [false, true] {
                let client = if turned { &node.b } else { &node.a };
                let server = if turned { &node.a } else { &node.b };
                node.allow(client, any_key(1), 0);
                node.allow(server, any_key(0), 0);
                test(&Talk::new(node, family, turned));
                for (pod, egress) in [(&node.a, 0), (&node.a, 1), (&node.b, 0), (&node.b, 1)] {
                    if node.has(pod, any_key(egress)) {
                        node.forbid(pod, any_key(egress));
                    }
                }
            }
        }
    });
}

#[test]
fn answers_pass_without_a_policy_of_their_own() {
    each_way(|talk| {
        assert_eq!(talk.answers(SYN | ACK), Verdict::Drop, "nobody asked");
        assert_eq!(talk.asks(SYN), Verdict::Redirect);
        assert_eq!(talk.answers(SYN | ACK), Verdict::Redirect);
        assert_eq!(talk.asks(ACK), Verdict::Redirect);
    });
}

#[test]
fn one_entry_tells_who_began_and_both_ends() {
    each_way(|talk| {
        talk.asks(SYN);
        let entry = talk.entry();
        let (client, server) =
            if talk.turned { (&talk.node.b, &talk.node.a) } else { (&talk.node.a, &talk.node.b) };
        assert_eq!((entry.src_lxc_id, entry.dst_lxc_id), (client.id, server.id));
        assert_eq!((entry.src_sec_id, entry.dst_sec_id), (client.identity, server.identity));
        let second = entry.flags & conntrack_flags::INITIATOR_IS_SECOND != 0;
        assert_eq!(second, talk.client > talk.server);
    });
}

#[test]
fn lifetimes_follow_the_handshake_and_the_end() {
    each_way(|talk| {
        talk.asks(SYN);
        talk.expect_lifetime(60);
        talk.answers(SYN | ACK);
        talk.expect_lifetime(60);
        talk.asks(ACK);
        talk.expect_lifetime(21_600);
        talk.asks(FIN | ACK);
        talk.expect_lifetime(21_600);
        assert_eq!(talk.entry().flags & CLOSED, conntrack_flags::TX_CLOSING);
        talk.answers(FIN | ACK);
        assert_eq!(talk.entry().flags & CLOSED, CLOSED);
        talk.expect_lifetime(10);
        assert_eq!(talk.asks(ACK), Verdict::Redirect);
        talk.expect_lifetime(10);
    });
}

#[test]
fn a_reset_of_either_side_ends_a_connection() {
    for answer in [false, true] {
        each_way(|talk| {
            talk.asks(SYN);
            talk.answers(SYN | ACK);
            talk.asks(ACK);
            let verdict = if answer { talk.answers(RST) } else { talk.asks(RST | ACK) };
            assert_eq!(verdict, Verdict::Redirect);
            assert_eq!(talk.entry().flags & CLOSED, CLOSED);
            talk.expect_lifetime(10);
        });
    }
}

#[test]
fn a_closed_connection_opens_again_as_a_new_one() {
    each_way(|talk| {
        talk.asks(SYN);
        talk.answers(RST | ACK);
        assert_eq!(talk.asks(SYN), Verdict::Redirect);
        assert_eq!(talk.entry().flags & CLOSED, 0);
        talk.expect_lifetime(60);
    });
}

#[test]
fn a_server_cannot_open_a_connection_in_the_name_of_an_answer() {
    each_way(|talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        assert_eq!(talk.answers(SYN), Verdict::Drop);
        assert_eq!(talk.asks(ACK), Verdict::Redirect, "the connection goes on");
        talk.asks(RST);
        assert_eq!(talk.answers(SYN), Verdict::Drop);
    });
}

#[test]
fn a_dead_entry_is_no_connection() {
    each_way(|talk| {
        talk.asks(SYN);
        // Programs look at the lifetime when their clock has moved on.
        let die = |entry: &mut ConntrackEntry| (entry.lifetime, entry.tick) = (now_s() - 1, entry.tick - 1);
        talk.change(die);
        assert_eq!(talk.answers(SYN | ACK), Verdict::Drop);
        assert_eq!(talk.asks(ACK), Verdict::Redirect);
        talk.expect_lifetime(21_600);
    });
}

#[test]
fn a_packet_keeps_its_connection_alive() {
    each_way(|talk| {
        talk.asks(SYN);
        talk.asks(ACK);
        talk.change(|entry| (entry.lifetime, entry.tick) = (now_s() + 5, entry.tick - 1));
        talk.asks(ACK);
        talk.expect_lifetime(21_600);
    });
}

#[test]
fn an_established_flow_that_policy_no_longer_permits_ends_with_its_next_packet() {
    for answer in [false, true] {
        for egress in [false, true] {
            each_way(|talk| {
                talk.asks(SYN);
                talk.answers(SYN | ACK);
                assert_eq!(talk.asks(ACK), Verdict::Redirect);
                let client = if talk.turned { &talk.node.b } else { &talk.node.a };
                let server = if talk.turned { &talk.node.a } else { &talk.node.b };
                if egress {
                    talk.node.forbid(client, any_key(1));
                } else {
                    talk.node.forbid(server, any_key(0));
                }
                assert_eq!(if answer { talk.answers(ACK) } else { talk.asks(ACK) }, Verdict::Drop);
                // What either end repeats does not begin it anew, not even by what the responder may do of its own accord.
                assert_eq!(talk.answers(ACK), Verdict::Drop);
                assert_eq!(talk.asks(ACK), Verdict::Drop);
                assert_eq!(talk.answers(ACK), Verdict::Drop);
            });
        }
    }
}

#[test]
fn a_flow_that_stays_permitted_goes_on_in_the_new_epoch() {
    each_way(|talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        let before = talk.entry();
        talk.node.next_epoch();
        assert_eq!(talk.answers(ACK), Verdict::Redirect);
        let after = talk.entry();
        assert_eq!(after.epoch, before.epoch + 1);
        assert_eq!(
            after.flags & conntrack_flags::INITIATOR_IS_SECOND,
            before.flags & conntrack_flags::INITIATOR_IS_SECOND
        );
        assert_eq!((after.src_lxc_id, after.dst_lxc_id), (before.src_lxc_id, before.dst_lxc_id));
    });
}

#[test]
fn a_change_without_a_new_epoch_is_not_looked_for() {
    each_way(|talk| {
        talk.asks(SYN);
        let policy_packets = |talk: &Talk<'_>| {
            let server = if talk.turned { &talk.node.a } else { &talk.node.b };
            talk.node.policy_entry(server, &any_key(0)).packets
        };
        let before = policy_packets(talk);
        for _ in 0..5 {
            talk.asks(ACK);
            talk.answers(ACK);
        }
        assert_eq!(policy_packets(talk), before);
    });
}

#[test]
fn packets_and_bytes_are_accounted_by_direction_if_an_end_wants_it() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            let talk = Talk::new(node, family, false);
            let length = if family == Family::V4 { 54 } else { 74 };
            talk.asks(SYN);
            assert_eq!(talk.entry().tx_packets, 0);
            node.set_options(&node.b, lxc_options::CONNTRACK_ACCOUNTING);
            node.next_epoch();
            for _ in 0..3 {
                talk.asks(ACK);
            }
            talk.answers(ACK);
            let entry = talk.entry();
            assert_eq!((entry.tx_packets, entry.tx_bytes), (3, 3 * length));
            assert_eq!((entry.rx_packets, entry.rx_bytes), (1, length));
            node.set_options(&node.b, 0);
            node.next_epoch();
        }
    });
}

#[test]
fn flags_that_were_seen_are_kept_by_direction() {
    each_way(|talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK | 8);
        let entry = talk.entry();
        assert_eq!((entry.tx_flags_seen, entry.rx_flags_seen), (SYN | ACK | 8, SYN | ACK));
        assert_ne!(entry.flags & conntrack_flags::REPLY_SEEN, 0);
    });
}

#[test]
fn a_reset_of_nothing_we_know_passes_by_policy_and_leaves_no_entry() {
    each_way(|talk| {
        assert_eq!(talk.asks(RST), Verdict::Redirect);
        assert!(talk.node.connection(TCP, talk.client, talk.server).is_none());
        assert_eq!(talk.answers(RST), Verdict::Drop);
    });
}

#[test]
fn a_connection_that_is_under_way_is_picked_up_if_policy_permits_it() {
    each_way(|talk| {
        assert_eq!(talk.asks(ACK), Verdict::Redirect);
        talk.expect_lifetime(21_600);
        assert_eq!(talk.answers(ACK), Verdict::Redirect);
    });
}

#[test]
fn datagrams_are_answered_for_a_minute_after_the_last_one() {
    on_node(|node| {
        node.allow(&node.a, any_key(1), 0);
        node.allow(&node.b, any_key(0), 0);
        for family in BOTH {
            let (client, server) = ((node.a.ip(family), 5353), (node.b.ip(family), 53));
            let answer = || node.from_pod(&node.b, Packet::udp(server, client)).verdict;
            assert_eq!(answer(), Verdict::Drop);
            node.from_pod(&node.a, Packet::udp(client, server));
            assert_eq!(answer(), Verdict::Redirect);
            let left = node.connection(UDP, client, server).unwrap().lifetime - now_s();
            assert!((55..=60).contains(&left), "{left}");
            node.change_connection(UDP, client, server, |entry| {
                (entry.lifetime, entry.tick) = (now_s() - 1, entry.tick - 1);
            });
            assert_eq!(answer(), Verdict::Drop);
        }
    });
}

#[test]
fn ends_of_one_address_range_and_port_are_told_apart() {
    on_node(|node| {
        node.open();
        for family in BOTH {
            // The same port at both ends, and ports that order against the addresses.
            for (from, to) in [(80, 80), (1, 65_535), (65_535, 1)] {
                let (client, server) = ((node.a.ip(family), from), (node.b.ip(family), to));
                assert_eq!(node.from_pod(&node.a, Packet::udp(client, server)).verdict, Verdict::Redirect);
                let entry = node.connection(UDP, client, server).unwrap();
                assert_eq!(entry.src_lxc_id, node.a.id);
                assert_eq!(node.from_pod(&node.b, Packet::udp(server, client)).verdict, Verdict::Redirect);
                let entry = node.connection(UDP, client, server).unwrap();
                assert_ne!(entry.flags & conntrack_flags::REPLY_SEEN, 0);
            }
        }
    });
}
