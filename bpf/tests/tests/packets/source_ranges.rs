// SPDX-License-Identifier: Apache-2.0
//! Services for clients in some ranges alone.

use bpf_tests::tcp_flags::{ACK, SYN};
use bpf_tests::{BOTH, Family, Service, on_node};
use maps::lb_flags;

use crate::services::{Talk, each, expect_ends};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const NOT_IN_SOURCE_RANGE: u8 = 177;
const NO_SERVICE: u8 = 158;

/// The same service for clients in ranges alone, of which there is none yet.
fn restrict(talk: &mut Talk<'_>) {
    talk.service.flags |= lb_flags::SOURCE_RANGES;
    talk.node.set_service(&talk.service, &[70]);
}

fn restricted(protocols: &[u8], test: impl Fn(&mut Talk<'_>) + Sync) {
    for family in BOTH {
        for protocol in protocols {
            on_node(|node| {
                node.open();
                let mut talk = Talk::new(node, family, *protocol);
                restrict(&mut talk);
                test(&mut talk);
            });
        }
    }
}

#[test]
fn a_client_in_no_range_is_dropped_and_one_in_a_range_let_in() {
    restricted(&[TCP, UDP, SCTP], |talk| {
        let node = talk.node;
        node.expect_drop(NOT_IN_SOURCE_RANGE, |_| talk.asks(SYN));
        assert!(
            node.connection(talk.protocol, talk.client, talk.service.at).is_none(),
            "nothing is remembered"
        );
        // Ranges of other services, of the other family, and of others.
        let (own, everybody) = match talk.family {
            Family::V4 => (talk.client.0.into(), "::/0"),
            Family::V6 => (talk.client.0.into(), "0.0.0.0/0"),
        };
        node.set_source_range(8, own);
        node.set_source_range(7, everybody.parse().unwrap());
        node.set_source_range(7, talk.server.0.into());
        node.expect_drop(NOT_IN_SOURCE_RANGE, |_| talk.asks(SYN));
        node.set_source_range(7, own);
        expect_ends(&talk.asks(SYN), talk.client, talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
    });
}

#[test]
fn the_range_of_all_addresses_lets_everybody_in() {
    restricted(&[TCP, UDP], |talk| {
        let all = if talk.family == Family::V4 { "0.0.0.0/0" } else { "::/0" };
        talk.node.set_source_range(7, all.parse().unwrap());
        expect_ends(&talk.asks(SYN), talk.client, talk.server);
    });
}

#[test]
fn a_connection_that_was_let_in_goes_on_when_its_range_has_gone() {
    restricted(&[TCP, UDP], |talk| {
        let own = talk.client.0.into();
        talk.node.set_source_range(7, own);
        expect_ends(&talk.asks(SYN), talk.client, talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
        talk.node.remove_source_range(7, own);
        for _ in 0..2 {
            expect_ends(&talk.asks(ACK), talk.client, talk.server);
            expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
        }
        talk.client.1 += 1;
        talk.node.expect_drop(NOT_IN_SOURCE_RANGE, |_| talk.asks(SYN));
    });
}

#[test]
fn ranges_of_a_service_that_does_not_ask_for_them_mean_nothing() {
    each(&[TCP, UDP], |talk| {
        talk.node.set_source_range(7, talk.server.0.into());
        expect_ends(&talk.asks(SYN), talk.client, talk.server);
    });
}

#[test]
fn who_is_kept_out_is_not_told_whether_there_are_backends_and_keeps_none_by_affinity() {
    restricted(&[TCP, UDP], |talk| {
        let mut empty = Service { affinity_s: 60, ..talk.service };
        talk.node.set_service(&empty, &[70]);
        talk.node.expect_drop(NOT_IN_SOURCE_RANGE, |_| talk.asks(SYN));
        assert!(talk.node.affinity(7, talk.client.0).is_none());
        empty.affinity_s = 0;
        talk.node.set_service(&empty, &[]);
        talk.node.expect_drop(NOT_IN_SOURCE_RANGE, |_| talk.asks(SYN));
        talk.node.set_source_range(7, talk.client.0.into());
        let before = talk.node.counted(NO_SERVICE, maps::Direction::Egress);
        talk.asks(SYN);
        assert_eq!(talk.node.counted(NO_SERVICE, maps::Direction::Egress), before + 1);
    });
}

#[test]
fn the_networks_clients_are_judged_alike() {
    for family in BOTH {
        for protocol in [TCP, UDP] {
            on_node(|node| {
                node.open();
                let mut talk = Talk::new(node, family, protocol);
                talk.service = Service::new(9, protocol, (family.node(), 30_080)).external();
                talk.service.flags |= lb_flags::SOURCE_RANGES;
                node.set_service(&talk.service, &[70]);
                talk.client = (family.world(), 5000);
                let asks = |flags| node.from_netdev(talk.packet(talk.client, talk.service.at, flags));
                node.expect_drop(NOT_IN_SOURCE_RANGE, |_| asks(SYN));
                node.set_source_range(9, talk.client.0.into());
                expect_ends(&asks(SYN), talk.client, talk.server);
                node.remove_source_range(9, talk.client.0.into());
                expect_ends(&asks(ACK), talk.client, talk.server);
            });
        }
    }
}
