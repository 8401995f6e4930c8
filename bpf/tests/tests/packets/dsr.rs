// SPDX-License-Identifier: Apache-2.0
//! Direct server return: two nodes, of which the client reaches one, and the backend is a pod of the other.

use std::net::IpAddr;

use bpf_tests::tcp_flags::{ACK, FIN, SYN};
use bpf_tests::{
    BOTH, Family, Node, Outcome, Packet, Quoted, Service, Verdict, any_key, now_s, on_node_configured,
};
use maps::{ConntrackEntry, conntrack_flags};

const TCP: u8 = 6;
const UDP: u8 = 17;
const INVALID: u8 = 134;
const CANNOT_CREATE: u8 = 138;
const POLICY_CIDR: u8 = 162;
const TOO_BIG: u8 = 168;
const PORT: u16 = 30_080;
const SERVER_PORT: u16 = 8080;

type End = (IpAddr, u16);

/// What the option's bytes are, apart from the programs' way of making them.
pub fn said(frontend: End) -> Vec<u8> {
    let port = frontend.1.to_be_bytes();
    match frontend.0 {
        IpAddr::V4(address) => [&[0x9e, 8][..], &port, &address.octets()].concat(),
        IpAddr::V6(address) => [&[2, 0x1e, 20][..], &port, &[0, 0], &address.octets()].concat(),
    }
}

/// A node whose programs return directly, or not.
fn on_node_of(dsr: u32, test: impl FnOnce(&Node) + Send) {
    on_node_configured(&|_, services| services.dsr = dsr, test);
}

/// A client outside, the frontend that it speaks to, and a pod that answers there.
#[derive(Clone, Copy)]
struct Flow {
    family: Family,
    protocol: u8,
    client: End,
    frontend: End,
    server: End,
}

impl Flow {
    /// With the pod of the backend's node as backend.
    fn new(family: Family, protocol: u8, server: IpAddr) -> Self {
        Self {
            family,
            protocol,
            client: (family.world(), 5000),
            frontend: (family.hop(), PORT),
            server: (server, SERVER_PORT),
        }
    }

    fn packet(&self, from: End, to: End, flags: u8) -> Packet {
        if self.protocol == TCP { Packet::tcp(from, to, flags) } else { Packet::udp(from, to) }
    }

    /// As it is between the nodes.
    fn told(&self, flags: u8, said: Vec<u8>) -> Packet {
        let packet = self.packet(self.client, self.server, flags);
        match self.family {
            Family::V4 => packet.option_bytes(said),
            Family::V6 => packet.extension(60, said),
        }
    }

    fn service(&self) -> Service {
        Service::new(9, self.protocol, self.frontend).external()
    }

    fn answer(&self, flags: u8) -> Packet {
        self.packet(self.server, self.client, flags)
    }

    fn entry(&self, node: &Node) -> ConntrackEntry {
        node.connection(self.protocol, self.client, self.server).expect("the connection is known")
    }

    /// A plain packet has reached the pod from the client.
    fn expect_delivered(&self, node: &Node, outcome: &Outcome) {
        let seen = outcome.seen();
        seen.expect_checksum();
        assert_eq!((outcome.verdict, seen.from, seen.to), (Verdict::Redirect, self.client.0, self.server.0));
        assert_eq!((seen.protocol, seen.ports()), (self.protocol, (self.client.1, self.server.1)));
        assert_eq!(seen.destination_mac, node.b.mac);
        assert_eq!(outcome.frame[14], if self.family == Family::V4 { 0x45 } else { 0x60 });
        expect_length(outcome);
    }

    /// The pod's answer leaves from this end.
    fn expect_answered(&self, node: &Node, flags: u8, from: End) {
        let outcome = node.from_pod(&node.b, self.answer(flags));
        let seen = outcome.seen();
        seen.expect_checksum();
        let verdict = if from == self.server { Verdict::Stack } else { Verdict::Redirect };
        assert_eq!((outcome.verdict, seen.from, seen.to), (verdict, from.0, self.client.0));
        assert_eq!(seen.ports(), (from.1, self.client.1));
    }
}

/// The IP header's length is the frame's.
fn expect_length(outcome: &Outcome) {
    let word = |at: usize| usize::from(u16::from_be_bytes([outcome.frame[at], outcome.frame[at + 1]]));
    let length = if outcome.frame[14] >> 4 == 4 { word(16) } else { 40 + word(18) };
    assert_eq!(length, outcome.frame.len() - 14);
}

fn each(protocols: &[u8], test: impl Fn(&Node, Flow) + Sync) {
    for family in BOTH {
        for protocol in protocols {
            on_node_of(1, |node| {
                node.open();
                test(node, Flow::new(family, *protocol, node.b.ip(family)));
            });
        }
    }
}

/// The node that the client reaches, whose backend is elsewhere.
fn each_first(protocols: &[u8], test: impl Fn(&Node, Flow) + Sync) {
    each(protocols, |node, flow| {
        let mut flow = Flow { server: (flow.family.remote_pod(), SERVER_PORT), ..flow };
        flow.frontend = (flow.family.node(), PORT);
        node.set_backend(90, flow.protocol, flow.server);
        node.set_service(&flow.service(), &[90]);
        test(node, flow);
    });
}

/// It leaves for the backend with the client's address, and says so much.
fn expect_sent(flow: &Flow, outcome: &Outcome, said: &[u8]) {
    let mut seen = outcome.seen();
    if flow.family == Family::V6 && !said.is_empty() {
        assert_eq!((seen.protocol, &seen.payload[1..24]), (60, said));
        seen.protocol = seen.payload[0];
        seen.payload.drain(..24);
    } else if flow.family == Family::V4 {
        let header = 20 + said.len();
        assert_eq!(
            (usize::from(outcome.frame[14]), &outcome.frame[34..14 + header]),
            (0x40 | (header / 4), said)
        );
    }
    seen.expect_checksum();
    expect_length(outcome);
    assert_eq!((outcome.verdict, seen.from, seen.to), (Verdict::Redirect, flow.client.0, flow.server.0));
    assert_eq!((seen.protocol, seen.hops), (flow.protocol, 63));
    assert_eq!(seen.ports(), (flow.client.1, flow.server.1));
}

#[test]
fn the_backend_is_asked_with_the_clients_address_and_told_the_frontend() {
    each_first(&[TCP, UDP], |node, flow| {
        let ask = |flags| node.from_netdev(flow.packet(flow.client, flow.frontend, flags));
        let said = said(flow.frontend);
        expect_sent(&flow, &ask(SYN), &said);
        expect_sent(&flow, &ask(SYN), &said);
        // TCP says it once, UDP always.
        let later = if flow.protocol == TCP { Vec::new() } else { said };
        for flags in [ACK, ACK, FIN | ACK] {
            expect_sent(&flow, &ask(flags), &later);
        }
        assert!(node.snat4.rows().unwrap().is_empty() && node.snat6.rows().unwrap().is_empty());
    });
}

#[test]
fn where_no_answer_is_seen_a_clients_fin_ends_its_connection() {
    each_first(&[TCP], |node, flow| {
        let ask = |flags| node.from_netdev(flow.packet(flow.client, flow.frontend, flags));
        let expect_left = |seconds: u32| {
            let left = flow.entry(node).lifetime - now_s();
            assert!((seconds - 5..=seconds).contains(&left), "{left} seconds left, not {seconds}");
        };
        let other = Flow { frontend: (flow.frontend.0, PORT + 1), ..flow };
        node.set_service(&Service { id: 10, ..other.service() }, &[90]);
        let by_the_other = || node.from_netdev(flow.packet(flow.client, other.frontend, SYN));
        ask(SYN);
        ask(ACK);
        expect_left(21_600);
        node.expect_drop(CANNOT_CREATE, |_| by_the_other());
        ask(FIN | ACK);
        expect_left(60);
        // The server may go on: what the client says of it keeps the connection.
        node.change_connection(TCP, flow.client, flow.server, |entry| {
            (entry.lifetime, entry.tick) = (now_s() + 3, entry.tick - 1);
        });
        expect_sent(&flow, &ask(ACK), &[]);
        expect_left(60);
        // The port is free for another connection, by either way.
        expect_sent(&flow, &by_the_other(), &said(other.frontend));
        assert_eq!(flow.entry(node).rev_nat_index, 10);
        for flags in [ACK, FIN | ACK] {
            node.from_netdev(flow.packet(flow.client, other.frontend, flags));
        }
        expect_sent(&flow, &ask(SYN), &said(flow.frontend));
        ask(ACK);
        expect_left(21_600);
    });
}

#[test]
fn where_answers_are_seen_a_clients_fin_leaves_its_connection_half_open() {
    each(&[TCP], |node, flow| {
        let service = Service { at: (flow.family.node(), PORT), ..flow.service() };
        node.set_backend(90, TCP, flow.server);
        node.set_service(&service, &[90]);
        for (flags, answer) in [(SYN, SYN | ACK), (ACK, ACK), (FIN | ACK, ACK)] {
            node.from_netdev(flow.packet(flow.client, service.at, flags));
            node.from_pod(&node.b, flow.answer(answer));
        }
        let left = flow.entry(node).lifetime - now_s();
        assert!(left > 21_000, "{left} seconds left");
    });
}

#[test]
fn what_must_stand_first_is_not_pushed_back() {
    each_first(&[TCP, UDP], |node, flow| {
        let packet = flow.packet(flow.client, flow.frontend, SYN);
        if flow.family == Family::V6 {
            node.expect_drop(156, |_| node.from_netdev(packet.extension(0, vec![0, 1, 4, 0, 0, 0, 0])));
        } else {
            // Nor is there always room.
            node.expect_drop(TOO_BIG, |_| node.from_netdev(packet.options(9)));
        }
    });
}

#[test]
fn other_protocols_are_asked_in_the_nodes_name() {
    for family in BOTH {
        on_node_of(1, |node| {
            node.open();
            let (client, frontend) = ((family.world(), 5000), (family.node(), PORT));
            let server = (family.remote_pod(), PORT);
            node.set_backend(90, 132, server);
            node.set_service(&Service::new(9, 132, frontend).external(), &[90]);
            let seen = node.from_netdev(Packet::sctp(client, frontend)).seen();
            assert_eq!((seen.from, seen.to), (family.node(), server.0));
        });
    }
}

#[test]
fn a_backend_where_no_pod_can_be_is_asked_in_the_nodes_name() {
    for (family, protocol) in BOTH.into_iter().flat_map(|family| [(family, TCP), (family, UDP)]) {
        on_node_of(1, |node| {
            node.open();
            let (client, frontend) = ((family.world(), 5000), (family.node(), PORT));
            let server = (family.known(), SERVER_PORT);
            let flow = Flow { client, frontend, ..Flow::new(family, protocol, server.0) };
            node.set_backend(90, protocol, server);
            node.set_service(&Service::new(9, protocol, frontend).external(), &[90]);
            let asked = node.from_netdev(flow.packet(client, frontend, SYN)).seen();
            assert_eq!((asked.from, asked.to), (family.node(), server.0));
            let node_end = (family.node(), u16::from_be_bytes([asked.payload[0], asked.payload[1]]));
            let answered = node.from_netdev(flow.packet(server, node_end, SYN | ACK)).seen();
            assert_eq!((answered.from, answered.to), (frontend.0, client.0));
        });
    }
}

#[test]
fn what_leaves_one_node_reaches_the_pod_of_the_other_whose_answer_is_the_frontends() {
    for family in BOTH {
        for protocol in [TCP, UDP] {
            // What the first node sends, for the address of the second's pod.
            let (mut sent, mut later) = (Vec::new(), Vec::new());
            let pod = family.pod(12);
            // Its pods are others of the same prefix.
            let foreign: &(dyn Fn(&mut maps::HostConfig, &mut maps::LbConfig) + Sync) = &|host, services| {
                services.dsr = 1;
                (host.pod_cidr4, host.pod_cidr6[1]) = (addr::Be32::new(0x0a02_0000), addr::Be32::new(2));
                (host.native_cidr4, host.native_mask4) =
                    (addr::Be32::new(0x0a00_0000), addr::Be32::new(0xff00_0000));
                let prefix = |word| [word, 0, 0, 0].map(addr::Be32::new);
                (host.native_cidr6, host.native_mask6) = (prefix(0xfd00_0000), prefix(u32::MAX));
            };
            let mut flow = Flow::new(family, protocol, pod);
            flow.frontend = (family.node(), PORT);
            on_node_configured(foreign, |node| {
                for pod in [node.a, node.b] {
                    node.remove_endpoint(pod.ip(family));
                }
                node.set_backend(90, protocol, flow.server);
                node.set_service(&flow.service(), &[90]);
                let ask = |flags| node.from_netdev(flow.packet(flow.client, flow.frontend, flags));
                expect_sent(&flow, &ask(SYN), &said(flow.frontend));
                sent = node.from_netdev(flow.packet(flow.client, flow.frontend, SYN)).frame;
                later = node.from_netdev(flow.packet(flow.client, flow.frontend, ACK)).frame;
            });
            on_node_of(1, |node| {
                node.open();
                flow.expect_delivered(node, &node.from_netdev_summed(&sent));
                flow.expect_answered(node, SYN | ACK, flow.frontend);
                flow.expect_delivered(node, &node.from_netdev_summed(&later));
                flow.expect_answered(node, ACK, flow.frontend);
                // And in a new epoch, from either end.
                node.next_epoch();
                flow.expect_answered(node, ACK, flow.frontend);
                node.next_epoch();
                flow.expect_delivered(node, &node.from_netdev_summed(&later));
                flow.expect_answered(node, ACK, flow.frontend);
                assert_ne!(flow.entry(node).flags & conntrack_flags::DSR, 0);
            });
        }
    }
}

#[test]
fn an_answer_leaves_past_the_stack_and_unmasqueraded() {
    each(&[TCP, UDP], |node, flow| {
        node.from_netdev(flow.told(SYN, said(flow.frontend)));
        let answer = node.from_pod(&node.b, flow.answer(SYN | ACK));
        assert_eq!((answer.verdict, answer.seen().hops), (Verdict::Redirect, 63));
        let sent = node.to_netdev_redirected(&answer);
        assert_eq!((sent.verdict, &sent.frame), (Verdict::Stack, &answer.frame));
    });
}

#[test]
fn a_packet_that_has_options_of_its_own_keeps_them() {
    for protocol in [TCP, UDP] {
        on_node_of(1, |node| {
            node.open();
            let flow = Flow::new(Family::V4, protocol, node.b.ip(Family::V4));
            let all = [said(flow.frontend), vec![1; 8]].concat();
            let outcome = node.from_netdev(flow.told(SYN, all));
            assert_eq!(
                (outcome.verdict, outcome.frame[14], &outcome.frame[34..42]),
                (Verdict::Redirect, 0x47, &[1; 8][..])
            );
            outcome.seen().expect_checksum();
            expect_length(&outcome);
        });
    }
}

#[test]
fn what_a_frontend_may_not_be_is_dropped() {
    each(&[TCP, UDP], |node, flow| {
        let told = |said: Vec<u8>| node.from_netdev(flow.told(SYN, said));
        let right = said(flow.frontend);
        let at = usize::from(flow.family == Family::V6);
        // Too short or too long a length.
        for length in [right[at + 1] - 1, right[at + 1] + 1] {
            let mut wrong = right.clone();
            wrong[at + 1] = length;
            node.expect_drop(INVALID, |_| told(wrong));
        }
        // Neither known nor a NodePort of another node.
        for port in [0, 80, 29_999, 32_768] {
            node.expect_drop(INVALID, |_| told(said((flow.frontend.0, port))));
        }
        // Known, but for pods alone.
        node.set_service(&Service::new(9, flow.protocol, flow.frontend), &[]);
        node.expect_drop(INVALID, |_| told(right.clone()));
        assert!(node.connection(flow.protocol, flow.client, flow.server).is_none());
        // Known, whatever its port.
        let known = (flow.family.cluster(), 80);
        node.set_service(&Service::new(10, flow.protocol, known).external(), &[]);
        flow.expect_delivered(node, &told(said(known)));
        flow.expect_answered(node, SYN | ACK, known);
    });
}

#[test]
fn a_connection_that_goes_on_has_the_frontend_that_it_began_with() {
    each(&[TCP], |node, flow| {
        let told = |flags, frontend| node.from_netdev(flow.told(flags, said(frontend)));
        let other = (flow.family.known(), PORT);
        told(SYN, flow.frontend);
        flow.expect_answered(node, SYN | ACK, flow.frontend);
        node.from_netdev(flow.packet(flow.client, flow.server, ACK));
        node.expect_drop(INVALID, |_| told(ACK, other));
        told(SYN, other);
        flow.expect_answered(node, ACK, flow.frontend);
        node.from_netdev(flow.packet(flow.client, flow.server, SYN));
        flow.expect_answered(node, ACK, flow.frontend);
    });
}

#[test]
fn who_speaks_to_the_pod_itself_is_answered_by_it() {
    each(&[TCP, UDP], |node, flow| {
        node.from_netdev(flow.told(SYN, said(flow.frontend)));
        flow.expect_answered(node, SYN | ACK, flow.frontend);
        // Another connection on the same ports, without a frontend.
        if flow.protocol == TCP {
            node.from_netdev(flow.packet(flow.client, flow.server, FIN | ACK));
            flow.expect_answered(node, FIN | ACK, flow.frontend);
        }
        node.from_netdev(flow.packet(flow.client, flow.server, SYN));
        flow.expect_answered(node, SYN | ACK, flow.server);
        assert_eq!(flow.entry(node).flags & conntrack_flags::DSR, 0);
    });
}

#[test]
fn policy_is_asked_about_the_client() {
    for family in BOTH {
        on_node_of(1, |node| {
            let flow = Flow::new(family, TCP, node.b.ip(family));
            let told = || node.from_netdev(flow.told(SYN, said(flow.frontend)));
            node.expect_drop(POLICY_CIDR, |_| told());
            assert!(node.snat4.rows().unwrap().is_empty() && node.snat6.rows().unwrap().is_empty());
            node.allow(&node.b, maps::PolicyKey { sec_label: bpf_tests::WORLD_IDENTITY, ..any_key(0) }, 0);
            flow.expect_delivered(node, &told());
        });
    }
}

#[test]
fn without_direct_server_return_the_network_says_nothing_of_frontends() {
    for family in BOTH {
        for protocol in [TCP, UDP] {
            on_node_of(0, |node| {
                node.open();
                let flow = Flow::new(family, protocol, node.b.ip(family));
                let outcome = node.from_netdev(flow.told(SYN, said(flow.frontend)));
                assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, flow.server.0));
                flow.expect_answered(node, SYN | ACK, flow.server);
                assert_eq!(flow.entry(node).flags & conntrack_flags::DSR, 0);
                assert_eq!(flow.entry(node).rev_nat_index, 0);
            });
        }
    }
}

#[test]
fn errors_of_the_pod_are_the_frontends() {
    each(&[TCP, UDP], |node, flow| {
        node.from_netdev(flow.told(SYN, said(flow.frontend)));
        let asked = flow.packet(flow.client, flow.server, SYN);
        let kind = flow.family.error_types()[0];
        let error = Packet::error(flow.server.0, flow.client.0, kind, &asked, Quoted::All);
        let outcome = node.from_pod(&node.b, error);
        let seen = outcome.seen();
        seen.expect_checksum();
        assert_eq!(
            (outcome.verdict, seen.from, seen.to),
            (Verdict::Redirect, flow.frontend.0, flow.client.0)
        );
        let inner = seen.quoted();
        assert_eq!((inner.from, inner.to), (flow.client.0, flow.frontend.0));
        assert_eq!(inner.ports(), (flow.client.1, flow.frontend.1));
    });
}

#[test]
fn an_error_about_an_answer_goes_by_way_of_the_frontend_to_the_pod() {
    each_first(&[TCP, UDP], |node, flow| {
        node.from_netdev(flow.packet(flow.client, flow.frontend, SYN));
        let answer = flow.packet(flow.frontend, flow.client, SYN | ACK);
        let kind = flow.family.error_types()[1];
        let error = Packet::error(flow.family.hop(), flow.frontend.0, kind, &answer, Quoted::All);
        let outcome = node.from_netdev(error);
        let seen = outcome.seen();
        seen.expect_checksum();
        assert_eq!((outcome.verdict, seen.to), (Verdict::Redirect, flow.server.0));
        assert_eq!((seen.quoted().from, seen.quoted().ports()), (flow.server.0, (SERVER_PORT, 5000)));
    });
}

#[test]
fn fragments_are_each_made_plain() {
    each(&[UDP], |node, flow| {
        for index in 0..2 {
            let packet = flow.told(0, said(flow.frontend)).with_data(&[7; 100]);
            let piece = if index == 0 { packet.fragment(0, Some(5), 4) } else { packet.fragment(5, None, 4) };
            let outcome = node.from_netdev(piece);
            assert_eq!((outcome.verdict, outcome.seen().to), (Verdict::Redirect, flow.server.0));
            expect_length(&outcome);
            let plain =
                if flow.family == Family::V4 { outcome.frame[14] == 0x45 } else { outcome.frame[20] == 44 };
            assert!(plain, "{outcome:?}");
        }
        flow.expect_answered(node, 0, flow.frontend);
    });
}
