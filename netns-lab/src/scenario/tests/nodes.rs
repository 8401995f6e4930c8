// SPDX-License-Identifier: Apache-2.0
//! Scenarios with several nodes: what is accepted, and how the rest is refused.

use crate::scenario::{Scenario, Step};

const GOOD: &str = "\
name: Two nodes
covers: [services/nodes]
topology:
  subject: ciliate-veth
  agent_flags: [--bpf-lb-mode=dsr]
  nodes:
    a: {routed_to_node: [203.0.113.1]}
    b: {agent_flags: [--debug=true]}
  pods:
    server: {node: b}
listen: {tcp: [7001]}
manifests: {web: '${a.ipv4} ${server.ipv4}'}
steps:
  - kill-agent: {node: a}
  - probe: {kind: tcp, from: world, to: b, port: 7001, expect: allowed, answered_by: b}
  - restart-agent: {node: b}
  - start-agent: {node: a}
  - stop-agent
  - start-agent: {}
  - set-labels: {pod: server, labels: {}}
";

/// The error of the good scenario with one change.
fn refused(from: &str, to: &str) -> String {
    assert!(GOOD.contains(from), "{from}");
    match Scenario::parse("x.yaml", &GOOD.replacen(from, to, 1)) {
        Ok(scenario) => panic!("accepted: {scenario:?}"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn nodes_have_names_flags_and_pods() {
    let scenario = Scenario::parse("x.yaml", GOOD).expect("a scenario");
    let cluster = scenario.cluster.as_ref().expect("pods of its own");
    assert_eq!(cluster.node_names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(cluster.nodes[0].agent_flags, ["--bpf-lb-mode=dsr"]);
    assert_eq!(cluster.nodes[1].agent_flags, ["--bpf-lb-mode=dsr", "--debug=true"]);
    assert_eq!((cluster.nodes[0].routed_to_node.len(), cluster.nodes[1].routed_to_node.len()), (1, 0));
    assert_eq!(cluster.node_of(&cluster.pods["server"]), 1);
    let whose = |step: &Step| match step {
        Step::KillAgent(whose)
        | Step::StopAgent(whose)
        | Step::StartAgent(whose)
        | Step::RestartAgent(whose) => Some(whose.node.clone()),
        _ => None,
    };
    let whose: Vec<_> = scenario.steps.iter().filter_map(whose).collect();
    assert_eq!(
        whose.iter().map(Option::as_deref).collect::<Vec<_>>(),
        [Some("a"), Some("b"), Some("a"), None, None]
    );
}

#[test]
fn nodes_and_pods_that_do_not_fit_each_other_are_refused_by_their_names() {
    for (from, to, word) in [
        ("{node: b}", "{}", "pod \"server\" has no `node`"),
        ("{node: b}", "{node: c}", "`node` of pod \"server\" is \"c\""),
        ("    server: {", "    a: {", "\"a\" is a pod and a node"),
        ("    a: {r", "    A: {r", "\"A\" is no name of a node"),
        ("    a: {r", "    world: {r", "a node cannot be called world"),
        ("    a: {r", "    host: {r", "a node cannot be called host"),
        ("    server: {", "    wire: {", "a pod cannot be called wire"),
        ("    b: {agent", "    b: {agents", "agents_flags"),
        ("    a: {r", "    c: {}\n    d: {}\n    e: {}\n    a: {r", "`nodes` has 5 nodes"),
        ("  agent_flags: [", "  routed_to_node: [203.0.113.9]\n  agent_flags: [", "a field of one of them"),
        ("[203.0.113.1]", "['fd40::1']", "`routed_to_node` has fd40::1, but `ipv6`"),
        ("  pods:\n    server: {node: b}\n", "", "`nodes` needs `pods`"),
        (
            "  nodes:\n    a: {routed_to_node: [203.0.113.1]}\n    b: {agent_flags: [--debug=true]}\n",
            "",
            "`node` of pod \"server\" needs `nodes`",
        ),
        ("to: b, port", "to: host, port", "\"host\" is neither server, a, b, world"),
        ("${a.ipv4}", "${host.ipv4}", "\"host\" is neither"),
    ] {
        let text = refused(from, to);
        assert!(text.starts_with("x.yaml") && text.contains(word), "{word}: {text}");
    }
}

#[test]
fn an_agent_is_ended_and_started_where_it_runs_or_does_not() {
    for (from, to, word) in [
        ("  - start-agent: {node: a}\n", "", "the agent of node \"a\" does not run where it is ended"),
        ("  - restart-agent: {node: b}", "  - start-agent: {node: b}", "the agent of node \"b\" runs where"),
        ("  - kill-agent: {node: a}", "  - kill-agent: {node: c}", "there is no node \"c\""),
        ("  - kill-agent: {node: a}", "  - kill-agent: {nod: a}", "nod"),
        ("  - start-agent: {}\n", "", "the agent of node \"a\" does not run where it has something to do"),
        ("  - stop-agent\n", "  - probe\n", "kind"),
        ("  - stop-agent\n", "  - stop-agents\n", "stop-agents"),
    ] {
        let text = refused(from, to);
        assert!(text.starts_with("x.yaml") && text.contains(word), "{word}: {text}");
    }
}
