// SPDX-License-Identifier: Apache-2.0
//! Scenarios with pods of their own and steps: what is accepted, and how the rest is refused.

use crate::scenario::{Family, LoadExpectation, LoadKind, Scenario, Step};

const GOOD: &str = "\
name: An agent that is killed takes nothing with it
covers: [restart/kill]
topology:
  subject: ciliate-veth
  ipv6: true
  pods:
    client: {labels: {app: client}}
    web: {labels: {app: web}, namespace: shop, ports: {http: {port: 7001, protocol: TCP}}}
  namespaces: {shop: {team: a}}
  world: [192.0.2.10, 'fd40::1']
  narrow: {192.0.2.10: 1400}
listen: {tcp: [7001]}
policies:
  deny: |
    apiVersion: cilium.io/v2
    kind: CiliumNetworkPolicy
steps:
  - start-load: {name: old, kind: established, from: client, to: web, port: 7001}
  - kill-agent
  - probe: {kind: tcp, from: world, source: 192.0.2.10, to: web, port: 7001, expect: dropped}
  - probe: {kind: icmp, from: host, to: web, family: ipv6, expect: allowed}
  - start-agent
  - apply-policy: {name: more, manifest: \"---\"}
  - set-labels: {pod: client, labels: {app: other}}
  - delete-policy: more
  - restart-agent
  - stop-load: {name: old, expect: unharmed}
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
fn steps_are_read_in_their_order() {
    let scenario = Scenario::parse("x.yaml", GOOD).expect("a scenario");
    let cluster = scenario.cluster.as_ref().expect("pods of its own");
    assert_eq!(
        (cluster.pods["client"].namespace.as_str(), cluster.pods["web"].namespace.as_str()),
        ("default", "shop")
    );
    assert_eq!(cluster.pods["web"].ports["http"].port, 7001);
    assert!(cluster.ipv6 && cluster.world.len() == 2 && cluster.namespaces["shop"]["team"] == "a");
    assert_eq!(cluster.narrow[&std::net::IpAddr::from([192, 0, 2, 10])], 1400);
    assert!(scenario.policies["deny"].starts_with("apiVersion: cilium.io/v2\n"));
    let [Step::StartLoad(load), Step::KillAgent(_), .., Step::RestartAgent(_), Step::StopLoad(stop)] =
        &scenario.steps[..]
    else {
        panic!("{:?}", scenario.steps)
    };
    assert_eq!((load.kind, load.port, stop.expect), (LoadKind::Established, 7001, LoadExpectation::Unharmed));
    let probes: Vec<_> = scenario.probes().collect();
    assert_eq!((probes[0].family, probes[1].family), (Family::Ipv4, Family::Ipv6));
}

#[test]
fn steps_that_make_no_sense_in_their_order_are_refused() {
    for (from, to, word) in [
        ("  - start-agent\n", "", "does not run where it has something to do"),
        ("  - kill-agent\n", "", "runs where it is started"),
        ("  - kill-agent\n", "  - kill-agent\n  - stop-agent\n", "does not run where it is ended"),
        ("  - stop-load: {name: old, expect: unharmed}\n", "", "never stopped"),
        ("stop-load: {name: old", "stop-load: {name: new", "no load \"new\""),
        ("  - kill-agent\n", "  - stop-load: {name: old, expect: cut}\n  - kill-agent\n", "no load \"old\""),
        (
            "  - kill-agent\n",
            "  - start-load: {name: old, kind: datagrams, from: web, to: client, port: 1}\n",
            "two loads",
        ),
        ("pod: client", "pod: server", "no pod \"server\""),
        ("from: client, to: web, port", "from: client, to: nobody, port", "nobody"),
    ] {
        let text = refused(from, to);
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn pods_are_of_one_subject_and_have_names_that_are_free() {
    for (from, to, word) in [
        ("subject: ciliate-veth", "subject: routed", "ciliate-veth"),
        ("    client: {", "    host: {", "called host"),
        ("    client: {", "    Client: {", "no name of a pod"),
        ("  ipv6: true\n", "", "`ipv6`"),
        ("source: 192.0.2.10", "source: 192.0.2.11", "`world`"),
        ("narrow: {192.0.2.10", "narrow: {192.0.2.11", "not one of the `world`"),
        ("narrow: {192.0.2.10", "narrow: {'fd40::1'", "is for what the node sends itself"),
        ("10: 1400", "10: 1279", "`narrow` must be between 1280 and 1500"),
        ("from: world, source", "from: client, source", "probes from world"),
        ("to: web, family: ipv6", "to: 192.0.2.10, family: ipv6", "`family`"),
    ] {
        let text = refused(from, to);
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn what_only_an_agent_can_do_needs_pods() {
    let plain = "name: x\ncovers: [a]\ntopology: {subject: veth}\nsteps:\n  - kill-agent\n\
        \x20 - probe: {kind: icmp, from: client, to: server, expect: allowed}\n";
    let text = Scenario::parse("x.yaml", plain).expect_err("accepted").to_string();
    assert!(text.contains("need `pods`"), "{text}");
    let world =
        plain.replace("subject: veth", "subject: veth, world: [192.0.2.1]").replace("  - kill-agent\n", "");
    let text = Scenario::parse("x.yaml", &world).expect_err("accepted").to_string();
    assert!(text.contains("`world` needs `pods`"), "{text}");
}

#[test]
fn a_scenario_has_probes_or_steps_and_expects_something() {
    assert!(refused("steps:\n", "probes: []\nsteps:\n").contains("either"));
    let start = GOOD.find("steps:").expect("it is there");
    let text = Scenario::parse("x.yaml", &format!("{}steps: [restart-agent]\n", &GOOD[..start]))
        .expect_err("accepted");
    assert!(text.to_string().contains("cannot fail"), "{text}");
}
