// SPDX-License-Identifier: Apache-2.0
//! Packets that no policy could permit, and the reason that is told for each.

use std::net::IpAddr;

use bpf_tests::tcp_flags::SYN;
use bpf_tests::{BOTH, Family, Node, Packet, Verdict, on_node};
use maps::Direction;

const SMAC: u8 = 130;
const DMAC: u8 = 131;
const SIP: u8 = 132;
const INVALID: u8 = 134;
const TRUNCATED: u8 = 135;
const MISSING_ACK: u8 = 136;
const UNKNOWN_PROTOCOL: u8 = 137;
const UNSUPPORTED_L3: u8 = 139;
const UNKNOWN_TARGET: u8 = 150;
const NO_CONTAINER: u8 = 152;
const EXTENSION_HEADER: u8 = 156;
const NO_CONFIGURATION: u8 = 165;

fn datagram(node: &Node, family: Family) -> Packet {
    Packet::udp((node.a.ip(family), 1), (node.b.ip(family), 2))
}

fn on_open_node(test: impl FnOnce(&Node) + Send) {
    on_node(|node| {
        node.open();
        test(node);
    });
}

#[test]
fn a_pod_speaks_with_its_own_mac_to_its_gateway_only() {
    on_open_node(|node| {
        for family in BOTH {
            let packet = datagram(node, family);
            let wrong = [2, 0, 0, 0, 5, 5];
            let forged = packet.clone().macs(wrong, node.a.node_mac).bytes();
            node.expect_drop(SMAC, |node| node.from_pod_raw(&node.a, &forged));
            for to in [wrong, [0xff; 6]] {
                let astray = packet.clone().macs(node.a.mac, to).bytes();
                node.expect_drop(DMAC, |node| node.from_pod_raw(&node.a, &astray));
            }
        }
    });
}

#[test]
fn a_pod_speaks_with_its_own_address_only() {
    on_open_node(|node| {
        let zero: [IpAddr; 2] = ["0.0.0.0".parse().unwrap(), "::".parse().unwrap()];
        for (family, zero) in BOTH.into_iter().zip(zero) {
            for from in [family.pod(99), node.b.ip(family), family.node(), zero] {
                node.expect_drop(SIP, |node| {
                    node.from_pod(&node.a, Packet::udp((from, 1), (family.world(), 2)))
                });
            }
        }
    });
}

#[test]
fn the_network_does_not_speak_for_a_pod_or_for_the_node() {
    on_open_node(|node| {
        for family in BOTH {
            for from in [node.a.ip(family), family.node()] {
                let forged = || Packet::udp((from, 1), (node.b.ip(family), 2));
                node.expect_drop(SIP, |node| node.from_netdev(forged()));
            }
            // Nor in a connection that exists.
            node.from_pod(&node.a, datagram(node, family));
            node.expect_drop(SIP, |node| node.from_netdev(datagram(node, family)));
        }
    });
}

#[test]
fn broken_ip_headers_are_told() {
    on_open_node(|node| {
        let frame = |family| datagram(node, family).macs(node.a.mac, node.a.node_mac).bytes();
        let changed = |family, at: usize, value: u8| {
            let mut frame = frame(family);
            frame[14 + at] = value;
            frame
        };
        // Of plain TCP and UDP the receiver's stack looks at the total length.
        let (a, b) = (node.a.ip(Family::V4), node.b.ip(Family::V4));
        let mut total_length = Packet::echo_request(a, b, 1).macs(node.a.mac, node.a.node_mac).bytes();
        total_length[14 + 3] = 19;
        for frame in [changed(Family::V4, 0, 0x65), changed(Family::V4, 0, 0x44), total_length] {
            node.expect_drop(INVALID, |node| node.from_pod_raw(&node.a, &frame));
        }
        let version = changed(Family::V6, 0, 0x40);
        node.expect_drop(INVALID, |node| node.from_pod_raw(&node.a, &version));
    });
}

#[test]
fn transport_headers_that_are_cut_off_are_told() {
    on_open_node(|node| {
        for family in BOTH {
            for (protocol, length) in [(6, 3), (6, 12), (17, 3), (132, 2), (family.icmp(), 7)] {
                let packet = Packet::raw(node.a.ip(family), node.b.ip(family), protocol, vec![0; length]);
                node.expect_drop(TRUNCATED, |node| node.from_pod(&node.a, packet));
            }
        }
    });
}

#[test]
fn a_segment_that_neither_opens_nor_acknowledges_opens_nothing() {
    on_open_node(|node| {
        for family in BOTH {
            let packet = Packet::tcp((node.a.ip(family), 1), (node.b.ip(family), 2), 0);
            node.expect_drop(MISSING_ACK, |node| node.from_pod(&node.a, packet));
        }
    });
}

#[test]
fn protocols_without_ports_that_are_not_icmp_do_not_pass() {
    on_open_node(|node| {
        for family in BOTH {
            // GRE, ESP, and the other family's ICMP.
            let other = if family == Family::V4 { 58 } else { 1 };
            for protocol in [47, 50, other] {
                let packet = Packet::raw(node.a.ip(family), node.b.ip(family), protocol, vec![0; 32]);
                node.expect_drop(UNKNOWN_PROTOCOL, |node| node.from_pod(&node.a, packet));
            }
        }
    });
}

#[test]
fn frames_that_are_neither_ip_nor_arp_do_not_leave_a_pod() {
    on_open_node(|node| {
        let mut frame = [node.a.node_mac, node.a.mac].concat();
        frame.extend([0x88, 0xcc]);
        frame.extend([0; 50]);
        node.expect_drop(UNSUPPORTED_L3, |node| node.from_pod_raw(&node.a, &frame));
    });
}

#[test]
fn an_address_of_the_pods_range_that_no_pod_has_is_an_unknown_target() {
    on_open_node(|node| {
        for family in BOTH {
            let packet = || Packet::udp((family.node(), 1), (family.pod(250), 2));
            node.expect_drop(UNKNOWN_TARGET, |node| node.from_host(packet()));
            let packet = || Packet::udp((family.world(), 1), (family.pod(250), 2));
            node.expect_drop(UNKNOWN_TARGET, |node| node.from_netdev(packet()));
        }
    });
}

#[test]
fn a_pod_that_is_gone_is_told_in_established_flows_and_has_no_policy_for_new_ones() {
    on_open_node(|node| {
        for family in BOTH {
            node.from_pod(&node.a, datagram(node, family));
        }
        node.remove_row(&node.b);
        for family in BOTH {
            // Nobody is left to ask whether the drop is to be told: pod A's own option counts.
            node.expect_drop(NO_CONTAINER, |node| node.from_pod(&node.a, datagram(node, family)));
            let other = || Packet::udp((node.a.ip(family), 3), (node.b.ip(family), 4));
            node.expect_drop(NO_CONFIGURATION, |node| node.from_pod(&node.a, other()));
        }
    });
}

#[test]
fn a_chain_of_extension_headers_has_an_end() {
    on_open_node(|node| {
        let padding = || (60, vec![0, 1, 4, 0, 0, 0, 0]);
        let chain = |length| {
            (0..length).fold(datagram(node, Family::V6), |packet, _| {
                let (kind, bytes) = padding();
                packet.extension(kind, bytes)
            })
        };
        assert_eq!(node.from_pod(&node.a, chain(8)).verdict, Verdict::Redirect);
        node.expect_drop(EXTENSION_HEADER, |node| node.from_pod(&node.a, chain(9)));
        let beyond = datagram(node, Family::V6).extension(60, vec![255, 1, 4, 0, 0, 0, 0]);
        node.expect_drop(TRUNCATED, |node| node.from_pod(&node.a, beyond));
    });
}

#[test]
fn drops_of_a_pod_that_does_not_want_to_hear_of_them_are_counted_only() {
    on_open_node(|node| {
        node.set_options(&node.a, 0);
        let packet = Packet::tcp((node.b.ip(Family::V4), 1), (Family::V4.world(), 2), SYN);
        assert_eq!(node.from_pod(&node.a, packet).verdict, Verdict::Drop);
        assert_eq!(node.counted(SIP, Direction::Egress), 1);
        assert_eq!(node.events(), []);
    });
}
