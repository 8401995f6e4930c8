// SPDX-License-Identifier: Apache-2.0
//! What `toServices` means, and how it follows services.

mod node;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use addr::{Port, Protocol};
use node::{Node, WORLD, labels, ports};
use policy::trace::{Context, DPort, Verdict};
use policy::{
    Direction, EnforcementMode, ExternalService, MAX_SERVICE_ADDRESSES, Options, PolicyDelta, ServiceName,
    UnresolvedService, kubernetes,
};

const WEB: u16 = 10;
const A: u32 = 16_777_217;
const B: u32 = 16_777_218;
const A6: u32 = 16_777_219;

/// An endpoint `app=web`, and the identities of three addresses.
fn node() -> Node {
    let mut node = Node::new(Options::default());
    node.endpoint(WEB, "k8s:app=web");
    node.cidr(A, "192.0.2.1/32").cidr(B, "192.0.2.2/32").cidr(A6, "2001:db8::1/128");
    node
}

fn rule(entry: &str) -> String {
    format!(r#"{{"endpointSelector": {{"matchLabels": {{"app": "web"}}}}, "egress": [{{{entry}}}]}}"#)
}

const NAMED: &str = r#""toServices": [{"k8sService": {"serviceName": "db", "namespace": "shop"}}]"#;

/// Which of the three addresses the endpoint may reach.
fn reaches(node: &Node) -> Vec<u32> {
    [A, B, A6].into_iter().filter(|peer| node.sends(WEB, *peer, "5432/TCP")).collect()
}

fn only(node: &mut Node) -> PolicyDelta {
    let mut deltas = node.deltas();
    assert_eq!(deltas.len(), 1, "{deltas:?}");
    deltas.remove(0)
}

#[test]
fn a_service_is_the_addresses_of_its_endpoints_on_every_port_whichever_comes_first() {
    for service_first in [true, false] {
        let mut node = node();
        if service_first {
            node.service("shop/db", "", &["192.0.2.1", "2001:db8::1"]).import(&rule(NAMED));
        } else {
            node.import(&rule(NAMED)).service("shop/db", "", &["192.0.2.1", "2001:db8::1"]);
        }
        assert_eq!(reaches(&node), [A, A6]);
        assert!(node.sends(WEB, A, "53/UDP") && node.sends(WEB, A, "icmp"));
        assert!(!node.sends(WEB, WORLD, "5432/TCP"));
        let needed: Vec<String> = node.resolver.prefixes().map(|prefix| prefix.to_string()).collect();
        assert_eq!(needed, ["192.0.2.1/32", "2001:db8::1/128"]);
    }
}

/// Cilium itself opens the ports to everybody there (cilium/cilium#20067).
#[test]
fn ports_narrow_a_service_and_open_nothing_while_it_has_no_address() {
    let mut node = node();
    node.import(&rule(&format!(
        r#"{NAMED}, "toPorts": [{{"ports": [{{"port": "5432", "protocol": "TCP"}}]}}]"#
    )));
    assert!(node.enforces(WEB, Direction::Egress));
    assert!(!node.keys(WEB).iter().any(|key| key.direction == Direction::Egress));
    node.service("shop/db", "", &["192.0.2.1"]);
    assert_eq!(reaches(&node), [A]);
    assert!(!node.sends(WEB, A, "5433/TCP") && !node.sends(WEB, A, "5432/UDP"));
    node.service("shop/db", "", &[]);
    assert!(!node.keys(WEB).iter().any(|key| key.direction == Direction::Egress));
}

#[test]
fn a_name_or_labels_select_in_one_namespace_or_without_it_in_all() {
    let by_labels = |namespace: &str| {
        format!(
            r#""toServices": [{{"k8sServiceSelector": {{"selector": {{"matchLabels": {{"tier": "data"}},
                "matchExpressions": [{{"key": "old", "operator": "DoesNotExist"}}]}}{namespace}}}}}]"#
        )
    };
    for (entry, expected) in [
        (NAMED.to_owned(), vec![A]),
        (r#""toServices": [{"k8sService": {"serviceName": "db"}}]"#.to_owned(), vec![A, B]),
        (by_labels(r#", "namespace": "shop""#), vec![A]),
        (by_labels(""), vec![A, A6]),
        (r#""toServices": [{"k8sServiceSelector": {"selector": {}}}]"#.to_owned(), vec![A, B, A6]),
    ] {
        let mut node = node();
        node.service("shop/db", "k8s:tier=data", &["192.0.2.1"]);
        node.service("bank/db", "k8s:tier=data k8s:old=", &["192.0.2.2"]);
        node.service("bank/files", "k8s:tier=data", &["2001:db8::1"]);
        node.import(&rule(&entry));
        assert_eq!(reaches(&node), expected, "{entry}");
    }
}

#[test]
fn an_address_that_moves_is_one_delta_of_what_moved() {
    let mut node = node();
    node.import(&rule(NAMED)).service("shop/db", "", &["192.0.2.1", "2001:db8::1"]);
    node.deltas();
    node.resolver.take_prefixes();
    node.service("shop/db", "", &["192.0.2.2", "2001:db8::1"]);
    let delta = only(&mut node);
    let told: Vec<u32> = delta.upserts.iter().map(|(key, _)| key.identity).collect();
    let gone: Vec<u32> = delta.removals.iter().map(|key| key.identity).collect();
    assert_eq!((told, gone), (vec![B], vec![A]));
    let prefixes = node.resolver.take_prefixes();
    assert_eq!(prefixes.added, ["192.0.2.2/32".parse().unwrap()]);
    assert_eq!(prefixes.removed, ["192.0.2.1/32".parse().unwrap()]);
    // Labels that no rule asks for, and the same again, are no change.
    node.service("shop/db", "k8s:a=b", &["192.0.2.2", "2001:db8::1"]);
    node.service("shop/other", "", &["192.0.2.1"]);
    assert_eq!((node.deltas(), node.resolver.take_prefixes()), (vec![], Default::default()));
    node.no_service("shop/db");
    assert_eq!((reaches(&node), only(&mut node).removals.len()), (vec![], 2));
    assert_eq!(node.resolver.prefixes().count(), 0);
}

#[test]
fn labels_that_change_move_a_service_in_and_out() {
    let mut node = node();
    node.import(&rule(
        r#""toServices": [{"k8sServiceSelector": {"selector": {"matchLabels": {"tier": "data"}}}}]"#,
    ));
    node.service("shop/db", "", &["192.0.2.1"]);
    assert!(reaches(&node).is_empty());
    node.service("shop/db", "k8s:tier=data", &["192.0.2.1"]);
    assert_eq!(reaches(&node), [A]);
    node.service("shop/db", "k8s:tier=web", &["192.0.2.1"]);
    assert!(reaches(&node).is_empty());
}

/// Each of several that name an address holds it.
#[test]
fn an_address_stays_as_long_as_anything_names_it() {
    let mut node = node();
    let other = r#"{"k8sService": {"serviceName": "other", "namespace": "shop"}}"#;
    node.import(&rule(&format!(
        r#"{}, "toCIDR": ["192.0.2.2"]"#,
        NAMED.replace("}}]", &format!("}}}}, {other}]"))
    )));
    node.service("shop/db", "", &["192.0.2.1", "192.0.2.2"]).service("shop/other", "", &["192.0.2.1"]);
    assert_eq!(reaches(&node), [A, B]);
    node.deltas();
    node.service("shop/db", "", &[]);
    assert_eq!((reaches(&node), node.deltas()), (vec![A, B], vec![]));
    node.no_service("shop/other");
    assert_eq!(reaches(&node), [B]);
}

/// As those of CIDR rules.
#[test]
fn an_address_inside_another_rules_prefix_is_of_that_as_well() {
    let mut node = node();
    node.endpoint(11, "k8s:app=other").cidr(16_777_230, "192.0.2.0/24");
    node.import(r#"{"endpointSelector": {"matchLabels": {"app": "other"}}, "egress": [{"toCIDR": ["192.0.2.0/24"]}]}"#);
    node.import(&rule(NAMED)).service("shop/db", "", &["192.0.2.1"]);
    assert!(node.sends(11, A, "80/TCP") && node.sends(11, 16_777_230, "80/TCP"));
    assert_eq!(reaches(&node), [A]);
}

#[test]
fn requirements_speak_of_endpoints_and_leave_services_alone() {
    let mut node = node();
    node.import(&rule(&format!(r#"{NAMED}, "toRequires": [{{"matchLabels": {{"env": "prod"}}}}]"#)));
    node.service("shop/db", "", &["192.0.2.1"]);
    assert_eq!(reaches(&node), [A]);
}

#[test]
fn a_rule_that_means_no_address_is_listed_with_its_number() {
    let mut node = node();
    node.import(&rule(NAMED));
    let listed = |node: &Node| -> Vec<String> {
        let text = |one: UnresolvedService| format!("{} {} {}", one.rule, one.entry, one.addresses);
        node.resolver.unresolved_services().into_iter().map(text).collect()
    };
    assert_eq!(listed(&node), ["1 service shop/db 0"]);
    node.service("shop/db", "", &["192.0.2.1"]);
    assert_eq!(listed(&node), [""; 0]);
    node.no_service("shop/db");
    node.resolver.endpoint_removed(WEB);
    assert_eq!(listed(&node), [""; 0], "it is in force nowhere");
}

#[test]
fn more_addresses_than_an_entry_may_mean_are_cut_in_their_order_and_listed() {
    let addresses = |count: usize| -> BTreeSet<IpAddr> {
        (0..count as u32).map(|n| Ipv4Addr::from_bits(0x0a00_0000 + n).into()).collect()
    };
    let mut node = node();
    node.import(&rule(NAMED));
    let name = ServiceName { namespace: "shop".to_owned(), name: "db".to_owned() };
    let set = |node: &mut Node, addresses| {
        let service = ExternalService { addresses, ..ExternalService::default() };
        node.resolver.service_changed(&name, Some(service));
        let counts: Vec<usize> =
            node.resolver.unresolved_services().into_iter().map(|one| one.addresses).collect();
        (node.resolver.prefixes().collect::<BTreeSet<_>>(), counts)
    };
    let many = |count| addresses(count).into_iter().map(ipnet::IpNet::from).collect::<BTreeSet<_>>();
    let max = MAX_SERVICE_ADDRESSES;
    let mut expect = |given, prefixes: BTreeSet<ipnet::IpNet>, listed: &[usize]| {
        let (named, counts) = set(&mut node, given);
        assert_eq!(counts, listed);
        let wrong: Vec<_> = named.symmetric_difference(&prefixes).take(5).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    };
    expect(addresses(max), many(max), &[]);
    expect(addresses(max + 2), many(max), &[max + 2]);
    // The first goes, and the first of those that did not fit comes.
    let without_first = addresses(max + 2).into_iter().skip(1).collect();
    expect(without_first, many(max + 1).into_iter().skip(1).collect(), &[max + 1]);
    expect(addresses(3), many(3), &[]);
}

#[test]
fn a_trace_tells_the_service_as_the_rule_names_it() {
    let mut node = node();
    node.import(&rule(NAMED));
    let ask = |node: &Node, to: &str| {
        let trace = node.repository.trace(
            node.resolver.services(),
            &Context {
                from: labels("k8s:app=web"),
                to: identity::cidr::labels(to.parse().unwrap()),
                dports: vec![DPort { port: Port::new(80).unwrap(), protocol: Protocol::Tcp }],
                direction: Direction::Egress,
                enforcement: EnforcementMode::Default,
                host_always_allowed: false,
                named_ports: ports(&[]),
                verbose: false,
            },
        );
        let line = trace.text.lines().find(|line| line.contains("Allows to")).unwrap().trim().to_owned();
        (trace.verdict, line)
    };
    let without = "Allows to service shop/db: no address, since only services without a selector have any";
    assert_eq!(ask(&node, "192.0.2.1/32"), (Verdict::Denied, without.to_owned()));
    node.service("shop/db", "", &["192.0.2.1", "2001:db8::1"]);
    let found = "Allows to service shop/db: it has this address";
    assert_eq!(ask(&node, "192.0.2.1/32"), (Verdict::Allowed, found.to_owned()));
    assert_eq!(ask(&node, "2001:db8::1/128"), (Verdict::Allowed, found.to_owned()));
    let other = "Allows to service shop/db: no match, 2 other addresses";
    assert_eq!(ask(&node, "192.0.2.2/32"), (Verdict::Denied, other.to_owned()));
    assert_eq!(ask(&node, "192.0.0.0/16"), (Verdict::Denied, other.to_owned()));
}

#[test]
fn a_cilium_policy_keeps_the_namespace_of_its_services_and_warns_where_it_names_none() {
    let policy = |service: &str| {
        let yaml = format!(
            "apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nmetadata: {{name: p, namespace: shop}}\n\
             spec: {{endpointSelector: {{}}, egress: [{{toServices: [{{k8sService: {service}}}]}}]}}\n"
        );
        kubernetes::policy_of(&kubernetes::documents(&yaml).unwrap()[0]).unwrap().unwrap()
    };
    let elsewhere = policy("{serviceName: db, namespace: bank}");
    assert_eq!(elsewhere.warnings, [""; 0]);
    assert_eq!(elsewhere.rules[0].services().next().unwrap().to_string(), "service bank/db");
    let anywhere = policy("{serviceName: db}");
    assert_eq!(anywhere.rules[0].services().next().unwrap().to_string(), "service */db");
    assert_eq!(
        anywhere.warnings,
        ["egress.toServices: service */db names no namespace: services of every namespace count"]
    );
}
