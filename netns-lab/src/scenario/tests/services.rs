// SPDX-License-Identifier: Apache-2.0
//! What scenarios of services say: manifests, who answers, changes without end.

use crate::scenario::{Answered, End, Family, Scenario, Step, Target};

const GOOD: &str = "\
name: A service leads to its backends
covers: [services/cluster-ip]
topology:
  subject: ciliate-veth
  pods: {client: {}, a: {ports: {http: {port: 7001, protocol: TCP, hostPort: 8080}}}, b: {}}
  routed_to_node: [198.51.100.7]
listen: {tcp: [7001], udp: [7001]}
manifests:
  slice: |
    kind: EndpointSlice
    endpoints: [{addresses: ['${a.ipv4}']}, {addresses: ['${host.ipv4}']}]
steps:
  - probe: {kind: tcp, from: client, to: 10.96.0.10, port: 80, expect: allowed, answered_by: a, seen_from: client}
  - probe: {kind: udp, unconnected: true, mapped: true, from: client, to: 10.96.0.10, port: 80, count: 9, expect: allowed, answered_by: same}
  - probe: {kind: tcp, from: client, to: 'fd00::10', port: 80, count: 2, expect: allowed, answered_by_each_of: [a, b]}
  - apply: {name: slice, manifest: \"kind: ${b.ipv4}\"}
  - start-churn: {name: c, file: slice, per_second: 100, manifests: [\"${a.ipv4}\", \"${b.ipv4}\"]}
  - stop-churn: {name: c, changes: 200}
  - kill-agent
  - put: {name: other, manifest: x}
  - start-agent
  - delete: slice
";

fn refused(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    match Scenario::parse("x.yaml", &GOOD.replacen(from, to, 1)) {
        Ok(scenario) => panic!("accepted: {scenario:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn who_is_to_answer_and_what_changes_is_read() {
    let scenario = Scenario::parse("x.yaml", GOOD).expect("a scenario");
    let end = |name: &str| End(name.into());
    let [tcp, udp, v6] = &scenario.probes().collect::<Vec<_>>()[..] else { panic!("three probes") };
    assert_eq!(tcp.answered, Answered::By(end("a")));
    assert_eq!(tcp.seen_from, Some(Target::End(end("client"))));
    assert!(tcp.manner.ask && !tcp.manner.mapped);
    assert!(udp.manner.unconnected && udp.manner.mapped && udp.answered == Answered::Same);
    assert_eq!((v6.family, &v6.answered), (Family::Ipv6, &Answered::ByEachOf(vec![end("a"), end("b")])));
    let cluster = scenario.cluster.as_ref().expect("pods");
    assert_eq!(cluster.pods["a"].ports["http"].host_port, Some(8080));
    assert_eq!(cluster.nodes[0].routed_to_node.len(), 1);
    assert!(scenario.manifests["slice"].contains("${a.ipv4}"));
    let churn = scenario.steps.iter().find_map(|step| match step {
        Step::StartChurn(churn) => Some(churn),
        _ => None,
    });
    let churn = churn.expect("a churn");
    assert_eq!((churn.per_second, churn.manifests.len()), (100, 2));
}

#[test]
fn addresses_of_ends_that_are_not_there_are_refused() {
    for (from, to, word) in [
        ("${a.ipv4}']", "${x.ipv4}']", "\"x\" is neither"),
        ("${a.ipv4}']", "${a.ipv6}']", "`ipv6` is not on"),
        ("${a.ipv4}']", "${a.ip}']", "form"),
        ("kind: ${b.ipv4}", "kind: ${c.ipv4}", "\"c\" is neither"),
        (", \"${b.ipv4}\"]}", ", \"${c.ipv4}\"]}", "\"c\" is neither"),
        ("answered_by: a,", "answered_by: d,", "\"d\" is neither"),
        ("[a, b]", "[a, e]", "\"e\" is neither"),
        ("seen_from: client", "seen_from: somebody", "\"somebody\" is neither"),
        ("[198.51.100.7]", "['fd00::7']", "`routed_to_node`"),
    ] {
        let text = refused(from, to);
        assert!(text.contains(word), "{to}: {text}");
    }
}

#[test]
fn who_answers_makes_sense_only_where_somebody_can_be_asked() {
    for (from, to, word) in [
        ("expect: allowed, answered_by: a", "expect: dropped, answered_by: a", "`allowed`"),
        (
            "kind: tcp, from: client, to: 10.96.0.10, port: 80",
            "kind: icmp, from: client, to: 10.96.0.10",
            "asked",
        ),
        ("count: 9, ", "", "more than one"),
        ("count: 2, ", "", "less than the ends"),
        ("[a, b]}\n  - apply", "[]}\n  - apply", "empty"),
        ("answered_by: a,", "answered_by: a, answered_by_one_of: [b],", "exclude"),
        ("kind: tcp, from", "kind: tcp, unconnected: true, from", "for UDP"),
        (
            "kind: tcp, from: client, to: 'fd00::10'",
            "kind: tcp, mapped: true, from: client, to: 'fd00::10'",
            "IPv4",
        ),
    ] {
        let text = refused(from, to);
        assert!(text.contains(word), "{to}: {text}");
    }
}

#[test]
fn changes_without_end_have_one_and_change_something() {
    for (from, to, word) in [
        ("  - stop-churn: {name: c, changes: 200}\n", "", "never stopped"),
        ("stop-churn: {name: c,", "stop-churn: {name: d,", "no churn \"d\""),
        (", \"${b.ipv4}\"]}", "]}", "nothing changes"),
        ("per_second: 100", "per_second: 0", "`per_second`"),
        ("  - start-agent\n", "", "does not run where it has something to do"),
    ] {
        let text = refused(from, to);
        assert!(text.contains(word), "{to}: {text}");
    }
}
