// SPDX-License-Identifier: Apache-2.0
//! What `policy trace` answers, and the text that says why.

mod node;

use addr::{Port, Protocol};
use node::{labels, ports, rules};
use policy::trace::{Context, DPort, Verdict};
use policy::{Direction, EnforcementMode, Repository, Services};

const RULES: &str = r#"[
    {"endpointSelector": {"matchLabels": {"app": "web"}}, "labels": ["k8s:front"],
     "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "front"}}],
                  "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}, {"port": "http", "protocol": "TCP"}]}]}]},
    {"endpointSelector": {"matchLabels": {"app": "web"}}, "ingress": [{"fromRequires": [{"matchLabels": {"env": "prod"}}]}]},
    {"endpointSelector": {"matchLabels": {"app": "other"}}, "ingress": [{}]}
]"#;

fn repository() -> Repository {
    let mut repository = Repository::new("default");
    repository.add(rules(RULES));
    repository
}

fn question(from: &str, to: &str, dports: &[(u16, Protocol)]) -> Context {
    let dport =
        |(port, protocol): &(u16, Protocol)| DPort { port: Port::new(*port).unwrap(), protocol: *protocol };
    Context {
        from: labels(from),
        to: labels(to),
        dports: dports.iter().map(dport).collect(),
        direction: Direction::Ingress,
        enforcement: EnforcementMode::Default,
        host_always_allowed: false,
        named_ports: ports(&[]),
        verbose: false,
    }
}

const FRONT: &str = "k8s:app=front k8s:env=prod";
const WEB: &str = "k8s:app=web";

#[test]
fn the_text_tells_each_rule_that_selects_and_what_it_allows() {
    let trace = repository().trace(&Services::default(), &question(FRONT, WEB, &[(80, Protocol::Tcp)]));
    assert_eq!(
        trace.text,
        "\
Tracing ingress from [k8s:app=front,k8s:env=prod] to [k8s:app=web] on 80/TCP
* Rule 1 [k8s:front] (endpoints any.app=web) selects [k8s:app=web]
    Allows from any.app=front,any.env=prod: the labels match
      Port http/TCP has no number at this receiver
      + on 80/TCP
* Rule 2 (endpoints any.app=web) selects [k8s:app=web]
    Requires from any.env=prod: met
    Allows nothing at ingress
2 of 3 rules select [k8s:app=web]
Final verdict: ALLOWED
"
    );
    assert_eq!((trace.verdict, trace.enforcing), (Verdict::Allowed, true));
    assert_eq!((trace.selecting, trace.allowing), (vec![1, 2], vec![1]));
}

#[test]
fn a_requirement_that_is_not_met_denies() {
    let trace = repository()
        .trace(&Services::default(), &question("k8s:app=front k8s:env=test", WEB, &[(80, Protocol::Tcp)]));
    assert_eq!((trace.verdict, trace.allowing.len()), (Verdict::Denied, 0));
    assert!(trace.text.contains("Requires from any.env=prod: not met"), "{}", trace.text);
    assert!(trace.text.contains("Allows from any.app=front,any.env=prod: no match"), "{}", trace.text);
    assert!(trace.text.ends_with("Final verdict: DENIED\n"), "{}", trace.text);
}

#[test]
fn every_port_that_is_asked_about_must_be_allowed_and_no_port_means_all() {
    let repository = repository();
    for (dports, verdict, allowing) in [
        (&[(80, Protocol::Tcp)][..], Verdict::Allowed, 1),
        (&[(80, Protocol::Any)], Verdict::Allowed, 1),
        (&[(80, Protocol::Udp)], Verdict::Denied, 0),
        (&[(80, Protocol::Tcp), (81, Protocol::Tcp)], Verdict::Denied, 1),
        (&[], Verdict::Denied, 0),
    ] {
        let trace = repository.trace(&Services::default(), &question(FRONT, WEB, dports));
        assert_eq!((trace.verdict, trace.allowing.len()), (verdict, allowing), "{dports:?}\n{}", trace.text);
    }
}

#[test]
fn a_named_port_is_the_receivers() {
    let mut asked = question(FRONT, WEB, &[(8080, Protocol::Tcp)]);
    assert_eq!(repository().trace(&Services::default(), &asked).verdict, Verdict::Denied);
    asked.named_ports = ports(&[("http", Protocol::Tcp, 8080)]);
    assert_eq!(repository().trace(&Services::default(), &asked).verdict, Verdict::Allowed);
}

#[test]
fn without_enforcement_everything_passes() {
    let repository = repository();
    let mut asked = question(FRONT, "k8s:app=free", &[(80, Protocol::Tcp)]);
    let trace = repository.trace(&Services::default(), &asked);
    assert_eq!((trace.verdict, trace.enforcing), (Verdict::Allowed, false));
    assert!(trace.text.contains("Policy is not enforced at ingress (mode default)"), "{}", trace.text);
    asked.enforcement = EnforcementMode::Always;
    assert_eq!(repository.trace(&Services::default(), &asked).verdict, Verdict::Denied);
    let mut egress = question(WEB, "k8s:app=front", &[(80, Protocol::Tcp)]);
    egress.direction = Direction::Egress;
    let trace = repository.trace(&Services::default(), &egress);
    assert_eq!(trace.verdict, Verdict::Allowed);
    assert!(trace.text.contains("It says nothing about egress"), "{}", trace.text);
}

#[test]
fn the_host_is_let_in_where_it_always_is() {
    let mut asked = question("reserved:host", WEB, &[(80, Protocol::Tcp)]);
    assert_eq!(repository().trace(&Services::default(), &asked).verdict, Verdict::Denied);
    asked.host_always_allowed = true;
    assert_eq!(repository().trace(&Services::default(), &asked).verdict, Verdict::Allowed);
}

#[test]
fn rules_that_do_not_select_are_told_if_asked_for() {
    let mut asked = question(FRONT, WEB, &[]);
    let line = "Rule 3 (endpoints any.app=other) does not select [k8s:app=web]";
    assert!(!repository().trace(&Services::default(), &asked).text.contains(line));
    asked.verbose = true;
    let text = repository().trace(&Services::default(), &asked).text;
    assert!(text.contains(line), "{text}");
}
