// SPDX-License-Identifier: Apache-2.0
//! A scenario that expects something else than what happens fails. In namespaces of its own: root is needed.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::AtomicBool;

use netlink::{NetNs, Netlink};

use super::scenario;
use crate::lab::{Lab, Origin};
use crate::scenario::run::take_steps;
use crate::scenario::{Ends, RunResult, Verdict, run};

static GO_ON: AtomicBool = AtomicBool::new(false);
const LOCALHOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);

/// Without root there is nothing to be seen; under CI that is a failure.
fn root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "this test needs root");
    if !root {
        eprintln!("not run: this test needs root");
    }
    root
}

/// The verdict of probes within one namespace, whose service leads to a closed port.
fn verdict(listen: &str, probes: &[&str]) -> Verdict {
    let netns = NetNs::create_unnamed().expect("a namespace");
    Netlink::open(&netns).and_then(|netlink| netlink.set_up("lo")).expect("loopback");
    let service = Some(SocketAddr::new(LOCALHOST, 79));
    let ends = Ends::pair((Origin::plain(&netns), LOCALHOST), (Origin::plain(&netns), LOCALHOST), service);
    take_steps(&scenario(listen, probes), &ends, None, &GO_ON)
}

fn reasons(verdict: Verdict) -> Vec<String> {
    match verdict {
        Verdict::Failed(reasons) => reasons,
        other => panic!("{other:?}"),
    }
}

#[test]
fn right_expectations_pass_and_the_same_ones_turned_round_fail() {
    if !root() {
        return;
    }
    let listen = "tcp: [7001], udp: [7001]";
    let expected = [
        ("kind: tcp, from: client, to: server, port: 7001, size: 65000", "allowed"),
        ("kind: udp, from: server, to: client, port: 7001, count: 3", "allowed"),
        ("kind: icmp, from: client, to: server", "allowed"),
        ("kind: tcp, from: client, to: server, port: 7002", "refused"),
        ("kind: udp, from: client, to: server, port: 7002", "refused"),
        ("kind: tcp, from: client, to: service", "refused"),
    ];
    let right: Vec<_> = expected.iter().map(|(probe, expect)| format!("{probe}, expect: {expect}")).collect();
    assert_eq!(verdict(listen, &right.iter().map(String::as_str).collect::<Vec<_>>()), Verdict::Passed);
    for (probe, outcome) in expected {
        for wrong in ["allowed", "refused", "dropped"].into_iter().filter(|wrong| *wrong != outcome) {
            let reasons = reasons(verdict(listen, &[&format!("{probe}, expect: {wrong}")]));
            let said = format!("expected {wrong}, was {outcome}");
            assert!(reasons.len() == 1 && reasons[0].contains(&said), "{reasons:?}");
        }
    }
}

#[test]
fn a_destination_without_a_route_fails_whatever_is_expected() {
    if !root() {
        return;
    }
    for expect in ["allowed", "refused", "dropped"] {
        for probe in ["kind: tcp, port: 1", "kind: udp, port: 1", "kind: icmp"] {
            let probe = format!("{probe}, from: client, to: 192.0.2.1, expect: {expect}");
            let reasons = reasons(verdict("", &[&probe]));
            assert!(reasons[0].contains("no route to 192.0.2.1"), "{reasons:?}");
        }
    }
}

#[test]
fn every_failing_probe_is_named_by_its_number() {
    if !root() {
        return;
    }
    let open = "kind: tcp, from: client, to: server, port: 7001, expect: allowed";
    let closed = "kind: tcp, from: client, to: server, port: 7002, count: 2, expect: allowed";
    let reasons = reasons(verdict("tcp: [7001]", &[closed, open, closed]));
    assert_eq!(reasons.len(), 2);
    assert!(reasons[0].starts_with("probe 1, tcp from client to server port 7002: "), "{reasons:?}");
    assert!(reasons[1].starts_with("probe 3, ") && reasons[1].ends_with("(number 1 of 2)"), "{reasons:?}");
}

#[test]
fn a_service_that_the_subject_does_not_have_fails() {
    if !root() {
        return;
    }
    let lab = Lab::create().expect("a lab");
    let scenario = scenario("", &["kind: tcp, from: client, to: service, expect: refused"]);
    let RunResult { verdict, .. } = run(&lab, &scenario, "veth", &GO_ON);
    assert!(reasons(verdict)[0].contains("has no service"));
}

#[test]
fn a_second_address_where_no_node_routes_to_the_client_fails() {
    if !root() {
        return;
    }
    let lab = Lab::create().expect("a lab");
    let mut scenario = scenario("", &["kind: icmp, from: client, to: server, expect: allowed"]);
    scenario.client_addresses = vec![Ipv4Addr::new(10, 244, 0, 77)];
    let RunResult { verdict, .. } = run(&lab, &scenario, "veth", &GO_ON);
    assert!(reasons(verdict)[0].contains("no node"));
}

#[test]
fn a_run_that_is_told_to_stop_is_neither_passed_nor_failed() {
    if !root() {
        return;
    }
    let lab = Lab::create().expect("a lab");
    let scenario = scenario("", &["kind: icmp, from: client, to: server, expect: allowed"]);
    let RunResult { verdict, .. } = run(&lab, &scenario, "loopback", &AtomicBool::new(true));
    assert_eq!(verdict, Verdict::Interrupted);
}

#[test]
fn whoever_answers_says_who_he_is_and_a_wrong_expectation_of_it_fails() {
    if !root() {
        return;
    }
    let listen = "tcp: [7001], udp: [7001]";
    for manner in ["kind: tcp", "kind: udp", "kind: udp, unconnected: true", "kind: tcp, mapped: true"] {
        let probe = |expected: &str| {
            format!("{manner}, from: client, to: server, port: 7001, count: 2, expect: allowed, {expected}")
        };
        // Both ends have one address here, and the first of them in order of names listens.
        let right = ["answered_by: client", "answered_by: same", "answered_by_each_of: [client]"];
        for expected in right.into_iter().chain(["seen_from: client", "seen_from: 127.0.0.1"]) {
            assert_eq!(verdict(listen, &[&probe(expected)]), Verdict::Passed, "{manner}, {expected}");
        }
        for (expected, said) in [
            ("answered_by: server", "client answered"),
            ("answered_by_each_of: [client, server]", "server has not answered"),
            ("seen_from: 192.0.2.1", "saw 127.0.0.1, and should have seen 192.0.2.1"),
        ] {
            let reasons = reasons(verdict(listen, &[&probe(expected)]));
            assert!(reasons[0].contains(said), "{manner}, {expected}: {reasons:?}");
        }
    }
}
