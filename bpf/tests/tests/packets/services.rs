// SPDX-License-Identifier: Apache-2.0
//! Pods that speak to services, by packet.

use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, FIN, RST, SYN};
use bpf_tests::{BOTH, Event, Family, Node, Outcome, Packet, Service, Verdict, any_key, now_s, on_node};
use maps::{ConntrackEntry, conntrack_flags, lb_scope};

const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
const NO_SERVICE: u8 = 158;
const CANNOT_CREATE: u8 = 138;

type End = (IpAddr, u16);

/// Pod A, port 40000, speaks to port 80 of a service, behind which pod B listens on port 8080.
pub struct Talk<'a> {
    pub node: &'a Node,
    pub family: Family,
    pub protocol: u8,
    pub service: Service,
    pub client: End,
    pub server: End,
}

impl<'a> Talk<'a> {
    pub fn new(node: &'a Node, family: Family, protocol: u8) -> Self {
        // SCTP's port is never changed.
        let port = if protocol == SCTP { 80 } else { 8080 };
        let service = Service::new(7, protocol, (family.cluster(), 80));
        let talk = Self {
            node,
            family,
            protocol,
            service,
            client: (node.a.ip(family), 40_000),
            server: (node.b.ip(family), port),
        };
        node.set_backend(70, protocol, talk.server);
        node.set_service(&service, &[70]);
        talk
    }

    pub fn packet(&self, from: End, to: End, flags: u8) -> Packet {
        match self.protocol {
            TCP => Packet::tcp(from, to, flags),
            UDP => Packet::udp(from, to),
            _ => Packet::sctp(from, to),
        }
    }

    pub fn asks(&self, flags: u8) -> Outcome {
        self.node.from_pod(&self.node.a, self.packet(self.client, self.service.at, flags))
    }

    pub fn answers(&self, flags: u8) -> Outcome {
        self.node.from_pod(&self.node.b, self.packet(self.server, self.client, flags))
    }

    /// The frontend's entry.
    pub fn entry(&self) -> ConntrackEntry {
        self.node.connection(self.protocol, self.client, self.service.at).expect("the frontend has an entry")
    }

    pub fn expect_asked(&self, outcome: &Outcome, server: End) {
        expect_ends(outcome, self.client, server);
        assert_eq!(outcome.seen().hops, 63);
    }

    pub fn change(&self, change: impl FnOnce(&mut ConntrackEntry)) {
        self.node.change_connection(self.protocol, self.client, self.service.at, change);
    }

    pub fn expect_lifetime(&self, seconds: u32) {
        let left = self.entry().lifetime - now_s();
        assert!((seconds - 5..=seconds).contains(&left), "{left} seconds left, not {seconds}");
    }
}

/// The packet has gone into a pod, from here to there, with right checksums.
pub fn expect_ends(outcome: &Outcome, from: End, to: End) {
    let seen = outcome.seen();
    assert_eq!(outcome.verdict, Verdict::Redirect);
    let (source, destination) = seen.ports();
    assert_eq!(((seen.from, source), (seen.to, destination)), (from, to));
    if seen.protocol != SCTP {
        seen.expect_checksum();
    }
}

/// Both families and every protocol, with pods that may do everything.
pub fn each(protocols: &[u8], test: impl Fn(&Talk<'_>) + Sync) {
    for family in BOTH {
        for protocol in protocols {
            on_node(|node| {
                node.open();
                test(&Talk::new(node, family, *protocol));
            });
        }
    }
}

#[test]
fn a_client_reaches_a_backend_and_hears_the_frontend() {
    each(&[TCP, UDP, SCTP], |talk| {
        talk.expect_asked(&talk.asks(SYN), talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
        for _ in 0..3 {
            talk.expect_asked(&talk.asks(ACK), talk.server);
            expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
        }
        let backend = talk.entry().service().expect("the frontend's entry names its backend");
        assert_eq!((backend.backend, backend.port.get()), (70, talk.server.1));
        let connection = talk.node.connection(talk.protocol, talk.client, talk.server).unwrap();
        assert_eq!((connection.rev_nat_index, connection.src_lxc_id), (7, talk.node.a.id));
        assert_ne!(connection.flags & conntrack_flags::REPLY_SEEN, 0);
    });
}

#[test]
fn a_backend_is_reached_without_its_service_as_before() {
    each(&[TCP, UDP], |talk| {
        let direct = |flags| talk.node.from_pod(&talk.node.a, talk.packet(talk.client, talk.server, flags));
        talk.expect_asked(&direct(SYN), talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.server, talk.client);
        // From one port by both ways: a connection is kept, and datagrams are answered by the way that was taken last.
        if talk.protocol == TCP {
            talk.node.expect_drop(CANNOT_CREATE, |_| talk.asks(ACK));
            return talk.expect_asked(&direct(ACK), talk.server);
        }
        talk.asks(ACK);
        expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
        talk.expect_asked(&direct(ACK), talk.server);
        expect_ends(&talk.answers(ACK), talk.server, talk.client);
    });
}

#[test]
fn a_connection_is_not_ended_by_one_that_goes_to_its_backend_directly() {
    each(&[TCP, UDP], |talk| {
        let direct = |flags| talk.node.from_pod(&talk.node.a, talk.packet(talk.client, talk.server, flags));
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        direct(SYN);
        if talk.protocol == UDP {
            return expect_ends(&talk.answers(0), talk.server, talk.client);
        }
        expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
        talk.expect_asked(&talk.asks(ACK), talk.server);
        // Once that is over, the port is free.
        talk.asks(RST);
        talk.expect_asked(&direct(SYN), talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.server, talk.client);
    });
}

#[test]
fn a_port_that_is_no_frontends_is_the_stacks() {
    each(&[TCP, UDP], |talk| {
        let others =
            [(talk.service.at.0, 81), (talk.family.world(), 80)].map(|to| talk.packet(talk.client, to, SYN));
        for packet in others {
            let outcome = talk.node.from_pod(&talk.node.a, packet.clone());
            assert_eq!(outcome.verdict, Verdict::Stack);
            assert_eq!(outcome.frame, packet.macs(talk.node.a.mac, talk.node.a.node_mac).bytes());
        }
        let other = if talk.protocol == TCP { Packet::udp } else { |from, to| Packet::tcp(from, to, SYN) };
        let outcome = talk.node.from_pod(&talk.node.a, other(talk.client, talk.service.at));
        assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Stack, talk.service.at.0));
    });
}

#[test]
fn a_connection_stays_with_its_backend_when_slots_change() {
    each(&[TCP, UDP, SCTP], |talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        let other = (talk.family.remote_pod(), talk.server.1);
        talk.node.set_backend(71, talk.protocol, other);
        talk.node.set_service(&talk.service, &[71, 71]);
        for _ in 0..5 {
            talk.expect_asked(&talk.asks(ACK), talk.server);
        }
        // And through a new epoch, as long as it is there.
        talk.node.set_backend(72, talk.protocol, (talk.family.world(), 9));
        talk.node.remove_backend(72, talk.family);
        talk.expect_asked(&talk.asks(ACK), talk.server);
        assert_eq!(talk.entry().epoch, 1);
        let port = talk.client.1 + 1;
        let new = talk.packet((talk.client.0, port), talk.service.at, SYN);
        let outcome = talk.node.from_pod(&talk.node.a, new);
        assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Stack, other.0));
        outcome.seen().expect_checksum_unless_sctp();
    });
}

#[test]
fn datagrams_find_another_backend_when_theirs_goes() {
    each(&[UDP, SCTP], |talk| {
        talk.asks(0);
        let other = (talk.node.b.ip(talk.family), talk.server.1 + u16::from(talk.protocol == UDP));
        talk.node.set_backend(71, talk.protocol, other);
        talk.node.set_service(&talk.service, &[71]);
        talk.expect_asked(&talk.asks(0), talk.server);
        talk.node.remove_backend(70, talk.family);
        talk.expect_asked(&talk.asks(0), other);
        assert_eq!(talk.entry().service().unwrap().backend, 71);
    });
}

#[test]
fn an_id_that_is_another_backends_now_is_not_the_connections() {
    each(&[UDP], |talk| {
        talk.asks(0);
        talk.node.remove_backend(70, talk.family);
        let other = (talk.node.b.ip(talk.family), 9999);
        talk.node.set_backend(70, talk.protocol, other);
        talk.expect_asked(&talk.asks(0), other);
    });
}

/// What TCP answers in the frontend's name (RFC 9293, 3.10.7.1).
pub fn expect_reset(outcome: &Outcome, client: End, frontend: End, [seq, ack]: [u32; 2], flags: u8) {
    let seen = outcome.seen();
    expect_ends(outcome, frontend, client);
    let number = |at: usize| u32::from_be_bytes(seen.payload[at..at + 4].try_into().unwrap());
    assert_eq!((number(4), number(8)), (seq, ack));
    assert_eq!((seen.payload[12], seen.payload[13], seen.payload.len()), (0x50, flags, 20));
    assert_eq!(seen.hops, 64);
}

#[test]
fn a_connection_whose_backend_has_gone_is_reset_and_a_new_one_finds_another() {
    each(&[TCP], |talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        let other = (talk.node.b.ip(talk.family), 8081);
        talk.node.set_backend(71, talk.protocol, other);
        talk.node.set_service(&talk.service, &[71]);
        let pod = talk.node.remove_endpoint(talk.node.b.ip(talk.family));
        talk.node.remove_backend(70, talk.family);
        drop(talk.node.events());
        let outcome = talk.asks(ACK);
        expect_reset(&outcome, talk.client, talk.service.at, [1, 0], RST);
        assert_eq!(outcome.seen().destination_mac, talk.node.a.mac);
        let events = talk.node.events();
        let [Event::Drop(drop)] = &events[..] else { panic!("{events:?}") };
        assert_eq!((drop.header.subtype, drop.src_label), (NO_SERVICE, talk.node.a.identity));
        // A reset is not answered.
        assert_eq!(talk.asks(RST).verdict, Verdict::Drop);
        talk.node.set_endpoint(talk.node.b.ip(talk.family), pod);
        talk.expect_asked(&talk.asks(SYN), other);
        talk.expect_asked(&talk.asks(ACK), other);
    });
}

#[test]
fn a_connection_goes_on_while_the_pod_is_there_that_its_service_names_no_more() {
    each(&[TCP], |talk| {
        let before = (talk.node.b.ip(talk.family), 8080);
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        let other = (talk.node.b.ip(talk.family), 8081);
        talk.node.set_backend(71, talk.protocol, other);
        talk.node.set_service(&talk.service, &[71]);
        talk.node.remove_backend(70, talk.family);
        talk.expect_asked(&talk.asks(ACK), before);
        talk.expect_asked(&talk.asks(ACK), before);
        // A new one on the same ports is led to who is named now.
        talk.asks(RST);
        talk.expect_asked(&talk.asks(SYN), other);
    });
}

#[test]
fn a_connection_is_not_ended_by_another_frontend_that_leads_its_port_to_the_same_backend() {
    each(&[TCP, UDP], |talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        let second = Service::new(8, talk.protocol, (talk.service.at.0, 81));
        talk.node.set_service(&second, &[70]);
        let asks_second = || talk.node.from_pod(&talk.node.a, talk.packet(talk.client, second.at, SYN));
        if talk.protocol == UDP {
            return expect_ends(&asks_second(), talk.client, talk.server);
        }
        talk.node.expect_drop(CANNOT_CREATE, |_| asks_second());
        assert!(talk.node.connection(talk.protocol, talk.client, second.at).is_none());
        talk.expect_asked(&talk.asks(ACK), talk.server);
        // It has another backend, or the first connection is over.
        talk.node.set_backend(71, talk.protocol, (talk.node.b.ip(talk.family), 8081));
        talk.node.set_service(&second, &[71]);
        expect_ends(&asks_second(), talk.client, (talk.node.b.ip(talk.family), 8081));
        talk.asks(RST);
        talk.node.set_service(&talk.service, &[71]);
        talk.node.set_service(&second, &[70]);
        let third = Service::new(9, talk.protocol, (talk.service.at.0, 82));
        talk.node.set_service(&third, &[70]);
        let outcome = talk.node.from_pod(&talk.node.a, talk.packet(talk.client, third.at, SYN));
        expect_ends(&outcome, talk.client, talk.server);
    });
}

#[test]
fn a_service_without_backends_refuses() {
    each(&[TCP, UDP, SCTP], |talk| {
        talk.node.set_service(&talk.service, &[]);
        let egress = maps::Direction::Egress;
        let before = talk.node.counted(NO_SERVICE, egress);
        let outcome = talk.asks(SYN);
        assert_eq!(talk.node.counted(NO_SERVICE, egress), before + 1);
        assert!(talk.node.connection(talk.protocol, talk.client, talk.service.at).is_none());
        if talk.protocol == TCP {
            expect_reset(&outcome, talk.client, talk.service.at, [0, 2], RST | ACK);
        } else {
            let seen = outcome.seen();
            seen.expect_checksum();
            assert_eq!(outcome.verdict, Verdict::Redirect);
            assert_eq!((seen.from, seen.to), (talk.service.at.0, talk.client.0));
            assert_eq!((seen.source_mac, seen.destination_mac), (talk.node.a.node_mac, talk.node.a.mac));
            let unreachable = if talk.family == Family::V4 { [3, 3] } else { [1, 4] };
            assert_eq!((seen.protocol, &seen.payload[..2]), (talk.family.icmp(), &unreachable[..]));
            let quoted = seen.quoted();
            assert_eq!((quoted.from, quoted.to), (talk.client.0, talk.service.at.0));
            assert_eq!((quoted.protocol, quoted.ports()), (talk.protocol, (40_000, 80)));
        }
        talk.node.set_service(&talk.service, &[70]);
        talk.expect_asked(&talk.asks(SYN), talk.server);
    });
}

#[test]
fn a_slot_that_is_empty_for_a_moment_is_not_chosen() {
    each(&[UDP], |talk| {
        talk.node.set_service(&talk.service, &[70, 99, 99, 99]);
        for port in 1000..1020 {
            let packet = talk.packet((talk.client.0, port), talk.service.at, 0);
            assert_eq!(talk.node.from_pod(&talk.node.a, packet).seen().to, talk.server.0);
        }
    });
}

#[test]
fn a_frontend_that_is_gone_leaves_its_connections_to_tcp_and_no_datagrams() {
    for other_names_backend in [false, true] {
        each(&[TCP, UDP], |talk| {
            talk.asks(SYN);
            talk.asks(ACK);
            talk.node.remove_service(&talk.service);
            if !other_names_backend {
                talk.node.remove_backend(70, talk.family);
            }
            let outcome = talk.asks(ACK);
            if talk.protocol == TCP {
                expect_reset(&outcome, talk.client, talk.service.at, [1, 0], RST);
            } else {
                assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Stack, talk.service.at.0));
                assert_eq!(talk.entry().flags & conntrack_flags::SERVICE, 0);
            }
        });
    }
}

/// The frontend has another id from now on, and names this backend. Another service still names the one from before.
fn comes_again(talk: &Talk<'_>, backend: u32) {
    talk.node.remove_service(&talk.service);
    talk.node.set_service(&Service { id: 8, ..talk.service }, &[backend]);
}

#[test]
fn a_connection_goes_on_by_the_frontends_new_id() {
    each(&[TCP, UDP, SCTP], |talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        comes_again(talk, 70);
        talk.node.expect_drop(NO_SERVICE, |_| talk.answers(ACK));
        for _ in 0..2 {
            talk.expect_asked(&talk.asks(ACK), talk.server);
            expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
        }
        assert_eq!(talk.entry().rev_nat_index, 8);
    });
}

#[test]
fn datagrams_to_a_frontend_that_came_again_are_given_a_backend_anew_and_a_connection_keeps_its_own() {
    each(&[TCP, UDP], |talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        let other = (talk.node.b.ip(talk.family), 8081);
        talk.node.set_backend(71, talk.protocol, other);
        comes_again(talk, 71);
        let now = if talk.protocol == TCP { talk.server } else { other };
        talk.expect_asked(&talk.asks(ACK), now);
        let answer = talk.packet(now, talk.client, ACK);
        expect_ends(&talk.node.from_pod(&talk.node.b, answer), talk.service.at, talk.client);
    });
}

#[test]
fn a_client_of_a_frontend_that_came_again_begins_anew_on_the_same_port() {
    each(&[TCP], |talk| {
        talk.asks(SYN);
        talk.answers(SYN | ACK);
        talk.asks(ACK);
        comes_again(talk, 70);
        talk.expect_asked(&talk.asks(SYN), talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
    });
}

#[test]
fn an_id_that_is_another_frontends_now_is_not_the_connections() {
    each(&[TCP, UDP], |talk| {
        talk.asks(SYN);
        talk.asks(ACK);
        comes_again(talk, 70);
        talk.node.set_service(&Service::new(7, talk.protocol, (talk.service.at.0, 81)), &[70]);
        talk.expect_asked(&talk.asks(ACK), talk.server);
        expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
    });
}

#[test]
fn an_answer_whose_frontend_is_gone_is_not_delivered() {
    each(&[TCP, UDP], |talk| {
        talk.asks(SYN);
        talk.node.remove_service(&talk.service);
        talk.node.expect_drop(NO_SERVICE, |_| talk.answers(SYN | ACK));
    });
}

#[test]
fn lifetimes_follow_the_client() {
    each(&[TCP], |talk| {
        talk.asks(SYN);
        talk.expect_lifetime(60);
        talk.asks(ACK);
        talk.expect_lifetime(21_600);
        // The server may have more to say than the client.
        talk.asks(FIN | ACK);
        talk.expect_lifetime(21_600);
        talk.answers(FIN | ACK);
        talk.expect_lifetime(60);
        talk.change(|entry| (entry.lifetime, entry.tick) = (now_s() + 5, entry.tick - 1));
        talk.asks(ACK);
        talk.expect_lifetime(60);
        talk.asks(SYN);
        assert_eq!(talk.entry().flags & conntrack_flags::TX_CLOSING, 0, "another connection");
    });
    each(&[UDP], |talk| {
        talk.asks(0);
        talk.change(|entry| (entry.lifetime, entry.tick) = (now_s() + 5, entry.tick - 1));
        talk.asks(0);
        talk.expect_lifetime(60);
    });
}

#[test]
fn a_client_that_begins_again_is_given_a_backend_anew_and_one_that_repeats_itself_is_not() {
    each(&[TCP], |talk| {
        talk.asks(SYN);
        let other = (talk.node.b.ip(talk.family), 8081);
        talk.node.set_backend(71, talk.protocol, other);
        talk.node.set_service(&talk.service, &[71]);
        talk.expect_asked(&talk.asks(SYN), talk.server);
        talk.answers(RST | ACK);
        talk.expect_asked(&talk.asks(SYN), other);
        // A dead entry is nobody's.
        talk.node.set_service(&talk.service, &[70]);
        talk.change(|entry| (entry.lifetime, entry.tick) = (now_s() - 1, entry.tick - 1));
        talk.expect_asked(&talk.asks(ACK), talk.server);
    });
}

#[test]
fn a_client_that_nobody_answered_finds_its_service_when_that_comes() {
    each(&[TCP, UDP], |talk| {
        talk.node.remove_service(&talk.service);
        assert_eq!(talk.asks(SYN).verdict, Verdict::Stack);
        talk.node.set_service(&talk.service, &[70]);
        talk.change(|entry| entry.tick -= 1);
        talk.expect_asked(&talk.asks(SYN), talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
    });
}

#[test]
fn nobody_speaks_in_a_frontends_name() {
    each(&[TCP, UDP], |talk| {
        talk.asks(SYN);
        let forged = || talk.packet(talk.service.at, talk.client, ACK);
        talk.node.expect_drop(138, |node| node.from_netdev(forged()));
        talk.node.expect_drop(138, |node| node.from_host(forged()));
        talk.expect_asked(&talk.asks(ACK), talk.server);
    });
}

#[test]
fn policy_is_asked_about_the_backend() {
    for family in BOTH {
        on_node(|node| {
            let talk = Talk::new(node, family, TCP);
            node.allow(&node.a, any_key(1), 0);
            node.expect_drop(133, |_| talk.asks(SYN));
            drop(node.events());
            talk.asks(SYN);
            let events = node.events();
            let [Event::Drop(drop)] = &events[..] else { panic!("{events:?}") };
            assert_eq!((drop.src_label, drop.dst_label), (node.a.identity, node.b.identity));
            node.allow(&node.b, any_key(0), 0);
            talk.expect_asked(&talk.asks(SYN), talk.server);
            expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
            // And again in a new epoch, from either end.
            node.next_epoch();
            expect_ends(&talk.answers(ACK), talk.service.at, talk.client);
            node.next_epoch();
            talk.expect_asked(&talk.asks(ACK), talk.server);
            node.forbid(&node.b, any_key(0));
            assert_eq!(talk.answers(ACK).verdict, Verdict::Drop);
            assert_eq!(talk.asks(ACK).verdict, Verdict::Drop);
        });
    }
}

#[test]
fn a_pod_reaches_itself_through_a_service_whatever_its_policy() {
    for family in BOTH {
        for protocol in [TCP, UDP, SCTP] {
            on_node(|node| {
                let mut talk = Talk::new(node, family, protocol);
                talk.server = (node.a.ip(family), if protocol == SCTP { 80 } else { 8080 });
                node.set_backend(70, protocol, talk.server);
                let client = (family.loopback(), talk.client.1);
                let answers = |flags| node.from_pod(&node.a, talk.packet(talk.server, client, flags));
                for flags in [SYN, ACK, FIN | ACK] {
                    let outcome = talk.asks(flags);
                    expect_ends(&outcome, client, talk.server);
                    assert_eq!(outcome.seen().destination_mac, node.a.mac);
                    node.next_epoch();
                    let outcome = answers(ACK);
                    expect_ends(&outcome, talk.service.at, talk.client);
                    assert_eq!(outcome.seen().destination_mac, node.a.mac);
                    node.next_epoch();
                }
            });
        }
    }
}

#[test]
fn a_pod_that_reaches_itself_has_one_connection_from_one_port() {
    each(&[TCP], |talk| {
        let server = (talk.node.a.ip(talk.family), 8080);
        talk.node.set_backend(70, TCP, server);
        let client = (talk.family.loopback(), talk.client.1);
        let answers = |flags| talk.node.from_pod(&talk.node.a, talk.packet(server, client, flags));
        talk.asks(SYN);
        answers(SYN | ACK);
        talk.asks(ACK);
        let second = Service::new(8, TCP, (talk.service.at.0, 81));
        talk.node.set_service(&second, &[70]);
        let asks_second = || talk.node.from_pod(&talk.node.a, talk.packet(talk.client, second.at, SYN));
        talk.node.expect_drop(CANNOT_CREATE, |_| asks_second());
        expect_ends(&answers(ACK), talk.service.at, talk.client);
        // The pod's answer ends it: the client is given a backend anew, and the second frontend is open to it.
        answers(RST);
        expect_ends(&asks_second(), client, server);
        talk.node.set_service(&talk.service, &[71]);
        talk.node.set_backend(71, TCP, talk.server);
        answers(RST);
        expect_ends(&talk.asks(SYN), talk.client, talk.server);
    });
}

#[test]
fn pods_have_the_backends_of_their_scope() {
    each(&[TCP], |talk| {
        let inner = (talk.node.b.ip(talk.family), 8081);
        talk.node.set_backend(71, TCP, inner);
        let outside = Service { flags: maps::lb_flags::TWO_SCOPES, ..talk.service };
        talk.node.set_service(&outside, &[70]);
        talk.node.set_service(&Service { id: 8, scope: lb_scope::INTERNAL, ..outside }, &[71]);
        talk.expect_asked(&talk.asks(SYN), inner);
        expect_ends(
            &talk.node.from_pod(&talk.node.b, talk.packet(inner, talk.client, SYN | ACK)),
            talk.service.at,
            talk.client,
        );
    });
}

#[test]
fn pods_whose_scope_goes_while_they_ask_have_the_backends_of_the_other() {
    each(&[TCP, UDP, SCTP], |talk| {
        let two_scopes = Service { flags: maps::lb_flags::TWO_SCOPES, ..talk.service };
        talk.node.set_service(&two_scopes, &[70]);
        talk.expect_asked(&talk.asks(SYN), talk.server);
        expect_ends(&talk.answers(SYN | ACK), talk.service.at, talk.client);
    });
}

#[test]
fn sctp_to_another_port_is_dropped() {
    each(&[SCTP], |talk| {
        talk.node.set_backend(70, SCTP, (talk.server.0, 81));
        talk.node.expect_drop(154, |_| talk.asks(0));
    });
}
