// SPDX-License-Identifier: Apache-2.0
//! The paths.

use addr::Be16;
use bpf_tests::tcp_flags::{ACK, SYN};
use bpf_tests::{Family, Hook, Node, Packet, Service, Verdict};
use maps::PolicyKey;

/// A forwarded packet loses a hop each time: from 255, this many times.
const REPEAT: u32 = 250;
/// Packets that are not given twice: so many different ones in a sample.
const SINGLES: u32 = 32;
const POLICY_ENTRIES: u32 = 10_000;

/// How a path's packet is given.
pub enum Given {
    /// One packet, again and again.
    Again(fn(&Node) -> (Hook<'_>, Packet)),
    /// Always another packet, by number.
    New(fn(&Node, u32) -> (Hook<'_>, Packet)),
}

/// One path.
pub struct Path {
    /// What it is called.
    pub name: &'static str,
    /// What must be there before.
    pub prepare: fn(&Node),
    /// Its packets.
    pub given: Given,
    /// Where they must go: a path that goes elsewhere is not this path.
    pub verdict: Verdict,
}

impl Path {
    /// Nanoseconds per packet.
    pub fn measure(&self, node: &Node, round: u32) -> f64 {
        match self.given {
            Given::Again(packet) => {
                let (hook, packet) = packet(node);
                let (outcome, ns) = node.run(hook, &node.frame(hook, packet.hops(255)), REPEAT);
                self.expect(outcome.verdict);
                f64::from(ns)
            }
            Given::New(packet) => {
                let sum: f64 = (0..SINGLES)
                    .map(|index| {
                        let (hook, packet) = packet(node, round * SINGLES + index);
                        let (outcome, ns) = node.run(hook, &node.frame(hook, packet), 1);
                        self.expect(outcome.verdict);
                        f64::from(ns)
                    })
                    .sum();
                sum / f64::from(SINGLES)
            }
        }
    }

    fn expect(&self, verdict: Verdict) {
        assert_eq!(verdict, self.verdict, "{} took another path", self.name);
    }
}

fn client(node: &Node, family: Family) -> (std::net::IpAddr, u16) {
    (node.a.ip(family), 40_000)
}

fn server(node: &Node, family: Family) -> (std::net::IpAddr, u16) {
    (node.b.ip(family), 80)
}

/// Everything is permitted, by entries among ten thousand.
fn open(node: &Node) {
    for identity in 0..POLICY_ENTRIES {
        let key = PolicyKey {
            sec_label: 100_000 + identity,
            dport: Be16::new(80),
            protocol: 6,
            egress: 0,
            port_prefix: 16,
            pad: [0; 3],
        };
        node.allow(&node.b, key, 0);
    }
    node.allow_all(&node.a);
    node.allow_all(&node.b);
}

fn established(node: &Node) {
    for family in bpf_tests::BOTH {
        let (a, b) = (client(node, family), server(node, family));
        node.from_pod(&node.a, Packet::tcp(a, b, SYN));
        node.from_pod(&node.b, Packet::tcp(b, a, SYN | ACK));
        node.from_pod(&node.a, Packet::tcp(a, b, ACK));
        let world = (family.world(), 443);
        node.from_pod(&node.a, Packet::udp(a, world));
        node.to_netdev(Packet::udp(a, world));
        node.from_netdev(Packet::udp(world, b));
        node.from_host(Packet::udp((family.node(), 5000), b));
    }
}

fn nothing(_: &Node) {}

/// Port 80 of a service's own address.
fn frontend(family: Family) -> (std::net::IpAddr, u16) {
    (family.cluster(), 80)
}

/// A port of the node.
fn node_port(family: Family, port: u16) -> (std::net::IpAddr, u16) {
    (family.node(), port)
}

fn backend(node: &Node, family: Family) -> (std::net::IpAddr, u16) {
    (node.b.ip(family), 8080)
}

const TCP: u8 = 6;
/// NodePorts: one whose backend is a pod of the node, and one with a backend elsewhere.
const LOCAL: u16 = 30_080;
const REMOTE: u16 = 30_081;

/// Services, and a connection of the pod's to one.
fn services(node: &Node) {
    for (family, first) in [(Family::V4, 1), (Family::V6, 11)] {
        let id = u32::from(first);
        node.set_backend(id, TCP, backend(node, family));
        node.set_backend(id + 1, TCP, (family.remote_pod(), 8080));
        node.set_service(&Service::new(first, TCP, frontend(family)), &[id]);
        node.set_service(&Service::new(first + 1, TCP, node_port(family, LOCAL)).external(), &[id]);
        node.set_service(&Service::new(first + 2, TCP, node_port(family, REMOTE)).external(), &[id + 1]);
        let from = client(node, family);
        node.from_pod(&node.a, Packet::tcp(from, frontend(family), SYN));
        node.from_pod(&node.b, Packet::tcp(backend(node, family), from, SYN | ACK));
        node.from_pod(&node.a, Packet::tcp(from, frontend(family), ACK));
        for port in [LOCAL, REMOTE] {
            for flags in [SYN, ACK] {
                node.from_netdev(Packet::tcp((family.world(), 5000), node_port(family, port), flags));
            }
        }
    }
}

fn port(number: u32) -> u16 {
    1024 + (number % 60_000) as u16
}

/// The first is the unit of the others' ratios.
pub const PATHS: &[Path] = &[
    Path {
        name: "pod to pod, TCP, IPv4",
        prepare: |node| {
            open(node);
            established(node);
        },
        given: Given::Again(|node| {
            (Hook::Pod(&node.a), Packet::tcp(client(node, Family::V4), server(node, Family::V4), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to pod, TCP, IPv6",
        prepare: nothing,
        given: Given::Again(|node| {
            (Hook::Pod(&node.a), Packet::tcp(client(node, Family::V6), server(node, Family::V6), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to pod, answer, IPv4",
        prepare: nothing,
        given: Given::Again(|node| {
            (Hook::Pod(&node.b), Packet::tcp(server(node, Family::V4), client(node, Family::V4), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to pod, UDP, IPv4",
        prepare: nothing,
        given: Given::Again(|node| {
            (Hook::Pod(&node.a), Packet::udp(client(node, Family::V4), server(node, Family::V4)))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to world, UDP, IPv4",
        prepare: nothing,
        given: Given::Again(|node| {
            (Hook::Pod(&node.a), Packet::udp(client(node, Family::V4), (Family::V4.world(), 443)))
        }),
        verdict: Verdict::Stack,
    },
    Path {
        name: "world to pod, UDP, IPv4",
        prepare: nothing,
        given: Given::Again(|node| {
            (Hook::FromNetdev, Packet::udp((Family::V4.world(), 443), server(node, Family::V4)))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "node to pod, UDP, IPv4",
        prepare: nothing,
        given: Given::Again(|node| {
            (Hook::Host, Packet::udp((Family::V4.node(), 5000), server(node, Family::V4)))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "network to node, not a pod's",
        prepare: nothing,
        given: Given::Again(|_| {
            (Hook::FromNetdev, Packet::udp((Family::V4.world(), 9), (Family::V4.node(), 9)))
        }),
        verdict: Verdict::Stack,
    },
    Path {
        name: "from_host leaves it alone",
        prepare: nothing,
        given: Given::Again(|_| (Hook::Host, Packet::udp((Family::V4.node(), 9), (Family::V4.world(), 9)))),
        verdict: Verdict::Stack,
    },
    Path {
        name: "masquerade, known, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::ToNetdev, Packet::udp(client(node, Family::V4), (Family::V4.world(), 443)))
        }),
        verdict: Verdict::Stack,
    },
    Path {
        name: "nothing to masquerade (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::ToNetdev, Packet::udp(client(node, Family::V4), (Family::V4.native(), 443)))
        }),
        verdict: Verdict::Stack,
    },
    Path {
        name: "pod to pod, known, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::Pod(&node.a), Packet::tcp(client(node, Family::V4), server(node, Family::V4), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to pod, new, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|node, number| {
            let from = (node.a.ip(Family::V4), port(number));
            (Hook::Pod(&node.a), Packet::tcp(from, server(node, Family::V4), SYN))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to pod, new, IPv6 (single)",
        prepare: nothing,
        given: Given::New(|node, number| {
            let from = (node.a.ip(Family::V6), port(number));
            (Hook::Pod(&node.a), Packet::tcp(from, server(node, Family::V6), SYN))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to service, known, IPv4 (single)",
        prepare: services,
        given: Given::New(|node, _| {
            (Hook::Pod(&node.a), Packet::tcp(client(node, Family::V4), frontend(Family::V4), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "service's answer, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::Pod(&node.b), Packet::tcp(backend(node, Family::V4), client(node, Family::V4), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to service, new, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|node, number| {
            let from = (node.a.ip(Family::V4), port(number));
            (Hook::Pod(&node.a), Packet::tcp(from, frontend(Family::V4), SYN))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to pod, known, IPv6 (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::Pod(&node.a), Packet::tcp(client(node, Family::V6), server(node, Family::V6), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to service, known, IPv6 (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::Pod(&node.a), Packet::tcp(client(node, Family::V6), frontend(Family::V6), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "service's answer, IPv6 (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::Pod(&node.b), Packet::tcp(backend(node, Family::V6), client(node, Family::V6), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "pod to service, new, IPv6 (single)",
        prepare: nothing,
        given: Given::New(|node, number| {
            let from = (node.a.ip(Family::V6), port(number));
            (Hook::Pod(&node.a), Packet::tcp(from, frontend(Family::V6), SYN))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "world to NodePort, pod, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|_, _| {
            (Hook::FromNetdev, Packet::tcp((Family::V4.world(), 5000), node_port(Family::V4, LOCAL), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "world to NodePort, elsewhere, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|_, _| {
            (Hook::FromNetdev, Packet::tcp((Family::V4.world(), 5000), node_port(Family::V4, REMOTE), ACK))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "world to pod, known, IPv4 (single)",
        prepare: nothing,
        given: Given::New(|node, _| {
            (Hook::FromNetdev, Packet::udp((Family::V4.world(), 443), server(node, Family::V4)))
        }),
        verdict: Verdict::Redirect,
    },
    Path {
        name: "network to node, services (single)",
        prepare: nothing,
        given: Given::New(|_, _| {
            (Hook::FromNetdev, Packet::udp((Family::V4.world(), 9), (Family::V4.node(), 9)))
        }),
        verdict: Verdict::Stack,
    },
];
