// SPDX-License-Identifier: Apache-2.0
//! What rules mean, asked of the policy maps that come out.

mod node;

use addr::Protocol;
use node::{HOST, Node, WORLD, labels, ports};
use policy::{
    Direction, Endpoint, Enforcement, EnforcementMode, MAX_ENTRIES, MapState, NOT_A_RULE, Options,
    PolicyEntry, PolicyKey,
};

const WEB: u16 = 10;
const FRONT: u32 = 300;
const BACK: u32 = 301;
const STRANGER: u32 = 999;

/// An endpoint `app=web`, and identities of `app=front env=prod` and `app=back env=test`.
fn node() -> Node {
    let mut node = Node::new(Options::default());
    node.identity(FRONT, "k8s:app=front k8s:env=prod").identity(BACK, "k8s:app=back k8s:env=test");
    node.endpoint(WEB, "k8s:app=web");
    node
}

fn rule(sections: &str) -> String {
    format!(r#"{{"endpointSelector": {{"matchLabels": {{"app": "web"}}}}, {sections}}}"#)
}

fn ingress(entry: &str) -> String {
    rule(&format!(r#""ingress": [{entry}]"#))
}

fn egress(entry: &str) -> String {
    rule(&format!(r#""egress": [{entry}]"#))
}

const FROM_FRONT: &str = r#"{"fromEndpoints": [{"matchLabels": {"app": "front"}}]}"#;

fn key(identity: u32, protocol: u8, port: u16, port_prefix: u8, direction: Direction) -> PolicyKey {
    PolicyKey { identity, protocol, port, port_prefix, direction }
}

#[test]
fn without_rules_each_direction_is_one_entry_that_allows_everything() {
    let node = node();
    let open = PolicyEntry { proxy_port: 0, rule: NOT_A_RULE };
    let expected: MapState =
        [(PolicyKey::any(Direction::Ingress), open), (PolicyKey::any(Direction::Egress), open)].into();
    assert_eq!(node.map(WEB), expected);
    assert!(!node.enforces(WEB, Direction::Ingress) && !node.enforces(WEB, Direction::Egress));
}

#[test]
fn a_section_closes_its_direction_and_leaves_the_other_open() {
    for section in [r#"[{}]"#, "[]", r#"[{"fromEndpoints": []}]"#] {
        let mut node = node();
        node.import(&rule(&format!(r#""ingress": {section}"#)));
        assert!(node.enforces(WEB, Direction::Ingress), "{section}");
        assert!(!node.receives(WEB, FRONT, "80/TCP") && !node.receives(WEB, HOST, "80/TCP"), "{section}");
        assert!(!node.enforces(WEB, Direction::Egress), "{section}");
        assert!(node.sends(WEB, WORLD, "80/TCP"), "{section}");
    }
}

#[test]
fn a_rule_that_selects_others_changes_nothing() {
    let mut node = node();
    node.deltas();
    node.import(r#"{"endpointSelector": {"matchLabels": {"app": "other"}}, "ingress": [{}]}"#);
    assert_eq!(node.deltas(), []);
    assert!(node.receives(WEB, STRANGER, "80/TCP"));
}

#[test]
fn enforcement_always_closes_and_never_opens() {
    let mut node = node();
    node.resolver.set_enforcement(Enforcement::both(EnforcementMode::Always));
    assert_eq!(node.keys(WEB), []);
    assert!(node.enforces(WEB, Direction::Ingress) && node.enforces(WEB, Direction::Egress));
    node.import(&ingress(FROM_FRONT));
    assert!(node.receives(WEB, FRONT, "80/TCP") && !node.receives(WEB, BACK, "80/TCP"));
    node.resolver.set_enforcement(Enforcement::both(EnforcementMode::Never));
    assert!(node.receives(WEB, BACK, "80/TCP"));
    assert!(!node.enforces(WEB, Direction::Ingress));
    let one_way = Enforcement { ingress: EnforcementMode::Never, egress: EnforcementMode::Always };
    node.resolver.set_enforcement(one_way);
    assert!(node.receives(WEB, BACK, "80/TCP") && !node.sends(WEB, BACK, "80/TCP"));
}

#[test]
fn an_endpoint_may_have_a_mode_of_its_own() {
    let mut node = node();
    let enforcement = Some(Enforcement::both(EnforcementMode::Always));
    let closed = Endpoint { labels: labels("k8s:app=web"), enforcement, ..Endpoint::default() };
    node.resolver.endpoint_changed(11, closed);
    assert!(!node.receives(11, FRONT, "80/TCP") && node.receives(WEB, FRONT, "80/TCP"));
    node.resolver.set_enforcement(Enforcement::both(EnforcementMode::Never));
    assert!(!node.receives(11, FRONT, "80/TCP"));
}

#[test]
fn what_any_rule_allows_is_allowed() {
    let mut node = node();
    node.import(&ingress(FROM_FRONT));
    assert!(node.receives(WEB, FRONT, "80/TCP") && node.receives(WEB, FRONT, "icmp"));
    assert!(!node.receives(WEB, BACK, "80/TCP"));
    node.import(&ingress(r#"{"toPorts": [{"ports": [{"port": "443", "protocol": "TCP"}]}]}"#));
    assert!(node.receives(WEB, BACK, "443/TCP") && node.receives(WEB, STRANGER, "443/TCP"));
    assert!(!node.receives(WEB, BACK, "443/UDP") && !node.receives(WEB, BACK, "80/TCP"));
    assert!(node.receives(WEB, FRONT, "80/TCP"));
}

#[test]
fn peers_with_ports_are_allowed_on_these_ports_only() {
    let mut node = node();
    node.import(&ingress(
        r#"{"fromEndpoints": [{"matchLabels": {"app": "front"}}], "toPorts": [{"ports": [{"port": "80"}]}]}"#,
    ));
    for port in ["80/TCP", "80/UDP", "80/SCTP"] {
        assert!(node.receives(WEB, FRONT, port), "a port without a protocol is of any: {port}");
        assert!(!node.receives(WEB, BACK, port));
    }
    assert!(!node.receives(WEB, FRONT, "81/TCP") && !node.receives(WEB, FRONT, "icmp"));
    let all: Vec<u32> = node.keys(WEB).iter().map(|key| key.identity).collect();
    assert_eq!(all, [0, FRONT, FRONT, FRONT], "nothing is expanded to identities that are not selected");
}

#[test]
fn a_range_of_ports_is_as_many_entries_as_it_has_prefixes() {
    let mut node = node();
    node.import(&ingress(
        r#"{"toPorts": [{"ports": [{"port": "8000", "endPort": 8009, "protocol": "TCP"}]}]}"#,
    ));
    for port in 7990..8020 {
        let inside = (8000..=8009).contains(&port);
        assert_eq!(node.receives(WEB, STRANGER, &format!("{port}/TCP")), inside, "{port}");
    }
    let keys: Vec<PolicyKey> =
        node.keys(WEB).into_iter().filter(|key| key.direction == Direction::Ingress).collect();
    assert_eq!(keys, [key(0, 6, 8000, 13, Direction::Ingress), key(0, 6, 8008, 15, Direction::Ingress)]);
}

#[test]
fn allowing_all_is_one_entry_and_says_which_rule_did() {
    for peers in [
        r#"{"fromEndpoints": [{}]}"#,
        r#"{"fromEntities": ["all"]}"#,
        r#"{"fromEndpoints": [{"matchLabels": {"reserved:all": ""}}]}"#,
        r#"{"fromEndpoints": [{"matchLabels": {"app": "front"}}, {}]}"#,
    ] {
        let mut node = node();
        node.import(&ingress(FROM_FRONT)).import(&ingress(peers));
        let map = node.map(WEB);
        let second = node.repository.rules().nth(1).unwrap().id();
        assert_eq!(map.len(), 2, "{peers}: {map:?}");
        assert_eq!(map[&PolicyKey::any(Direction::Ingress)].rule, second);
        assert!(node.enforces(WEB, Direction::Ingress));
    }
}

#[test]
fn an_entry_names_the_first_rule_that_asked_for_it() {
    let mut node = node();
    node.import(&format!("[{}, {}]", ingress(FROM_FRONT), ingress(FROM_FRONT)));
    let ids: Vec<u32> = node.repository.rules().map(|rule| rule.id()).collect();
    assert_eq!(node.map(WEB)[&PolicyKey::identity(FRONT, Direction::Ingress)].rule, ids[0]);
}

#[test]
fn requirements_narrow_the_endpoints_of_every_rule_and_allow_nothing() {
    let mut node = node();
    let both = r#"{"fromEndpoints": [{"matchExpressions": [{"key": "app", "operator": "Exists"}]}]}"#;
    node.import(&ingress(both));
    assert!(node.receives(WEB, FRONT, "80/TCP") && node.receives(WEB, BACK, "80/TCP"));
    node.import(
        r#"{"endpointSelector": {}, "labels": ["prod"],
            "ingress": [{"fromRequires": [{"matchLabels": {"env": "prod"}}]}]}"#,
    );
    assert!(node.receives(WEB, FRONT, "80/TCP") && !node.receives(WEB, BACK, "80/TCP"));
    assert_eq!(node.delete("prod"), 1);
    assert!(node.receives(WEB, BACK, "80/TCP"));
}

#[test]
fn a_requirement_alone_closes_the_direction_even_with_ports() {
    let mut node = node();
    node.import(&ingress(
        r#"{"fromRequires": [{"matchLabels": {"env": "prod"}}], "toPorts": [{"ports": [{"port": "80"}]}]}"#,
    ));
    assert!(node.enforces(WEB, Direction::Ingress) && !node.receives(WEB, FRONT, "80/TCP"));
}

#[test]
fn a_requirement_turns_all_endpoints_into_those_that_meet_it_and_leaves_entities_and_cidrs_alone() {
    let mut node = node();
    node.cidr(16_777_217, "192.0.2.0/24");
    node.import(&rule(
        r#""ingress": [{"fromRequires": [{"matchLabels": {"env": "prod"}}]}, {"fromEndpoints": [{}]},
            {"fromEntities": ["init"]}, {"fromCIDR": ["192.0.2.0/24"]}]"#,
    ));
    assert!(node.receives(WEB, FRONT, "80/TCP") && !node.receives(WEB, BACK, "80/TCP"));
    assert!(node.receives(WEB, 5, "80/TCP") && node.receives(WEB, 16_777_217, "80/TCP"));
    assert!(!node.receives(WEB, HOST, "80/TCP"));
}

#[test]
fn requirements_of_egress_narrow_egress_only() {
    let mut node = node();
    node.import(&rule(
        r#""egress": [{"toRequires": [{"matchLabels": {"env": "prod"}}],
                       "toEndpoints": [{"matchLabels": {"app": "front"}}, {"matchLabels": {"app": "back"}}]}],
            "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "back"}}]}]"#,
    ));
    assert!(node.sends(WEB, FRONT, "80/TCP") && !node.sends(WEB, BACK, "80/TCP"));
    assert!(node.receives(WEB, BACK, "80/TCP"));
}

#[test]
fn entities_are_the_identities_that_they_name() {
    let cases: [(&str, &[u32]); 8] = [
        ("all", &[HOST, WORLD, 3, 4, 5, FRONT, 400, 16_777_217]),
        ("world", &[WORLD, 16_777_217]),
        ("host", &[HOST]),
        ("init", &[5]),
        ("health", &[4]),
        ("unmanaged", &[3]),
        ("cluster", &[HOST, 3, 5, 400]),
        ("none", &[]),
    ];
    for (entity, allowed) in cases {
        let mut node = node();
        node.identity(400, "k8s:app=x k8s:io.cilium.k8s.policy.cluster=default");
        node.identity(401, "k8s:app=x k8s:io.cilium.k8s.policy.cluster=elsewhere");
        node.cidr(16_777_217, "192.0.2.0/24");
        node.import(&egress(&format!(r#"{{"toEntities": ["{entity}"]}}"#)));
        for peer in [HOST, WORLD, 3, 4, 5, FRONT, 400, 16_777_217] {
            assert_eq!(node.sends(WEB, peer, "80/TCP"), allowed.contains(&peer), "{entity} {peer}");
        }
        assert_eq!(node.sends(WEB, 401, "80/TCP"), entity == "all", "{entity}");
    }
}

#[test]
fn a_cidr_allows_every_longer_prefix_inside_it() {
    let mut node = node();
    node.import(&egress(r#"{"toCIDR": ["10.0.0.0/8"]}"#));
    node.cidr(16_777_217, "10.0.0.0/8").cidr(16_777_218, "10.1.2.0/24").cidr(16_777_219, "11.0.0.0/8");
    assert!(node.sends(WEB, 16_777_217, "80/TCP") && node.sends(WEB, 16_777_218, "80/TCP"));
    assert!(!node.sends(WEB, 16_777_219, "80/TCP") && !node.sends(WEB, WORLD, "80/TCP"));
}

#[test]
fn an_exception_is_not_allowed_nor_is_any_prefix_inside_it() {
    let mut node = node();
    node.import(&egress(r#"{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.96.0.0/12"]}]}"#));
    let named: Vec<String> = node.resolver.prefixes().map(|prefix| prefix.to_string()).collect();
    assert_eq!(
        named,
        ["10.0.0.0/8", "10.96.0.0/12"],
        "an address in the exception has an identity of its own"
    );
    for (number, prefix) in [(1, "10.0.0.0/8"), (2, "10.96.0.0/12"), (3, "10.96.0.0/16"), (4, "10.1.0.0/16")]
    {
        node.cidr(16_777_216 + number, prefix);
    }
    let allowed: Vec<u32> =
        (16_777_217..=16_777_220).filter(|identity| node.sends(WEB, *identity, "80/TCP")).collect();
    assert_eq!(allowed, [16_777_217, 16_777_220]);
    node.import(&egress(r#"{"toCIDR": ["10.96.0.0/16"]}"#));
    assert!(node.sends(WEB, 16_777_219, "80/TCP"), "another rule may allow what one does not speak of");
    assert!(!node.sends(WEB, 16_777_218, "80/TCP"));
}

#[test]
fn prefix_zero_is_the_world_with_all_prefixes_but_the_exceptions() {
    let mut node = node();
    node.import(&egress(r#"{"toCIDRSet": [{"cidr": "0.0.0.0/0", "except": ["10.0.0.0/8"]}]}"#));
    node.cidr(16_777_217, "10.0.0.0/8").cidr(16_777_218, "192.0.2.0/24");
    assert!(node.sends(WEB, WORLD, "80/TCP") && node.sends(WEB, 16_777_218, "80/TCP"));
    assert!(!node.sends(WEB, 16_777_217, "80/TCP") && !node.sends(WEB, HOST, "80/TCP"));
    let named: Vec<String> = node.resolver.prefixes().map(|prefix| prefix.to_string()).collect();
    assert_eq!(named, ["10.0.0.0/8"]);
    let mut node = self::node();
    node.import(&egress(r#"{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["10.0.0.0/8"]}]}"#));
    node.cidr(16_777_217, "10.0.0.0/8");
    assert!(!node.sends(WEB, 16_777_217, "80/TCP"), "nothing is left of it");
}

#[test]
fn ingress_cidrs_may_have_ports_and_peers_of_all_kinds_add_up() {
    let mut node = node();
    node.cidr(16_777_217, "2001:db8::/32");
    node.import(&ingress(
        r#"{"fromCIDR": ["2001:db8::/32"], "fromEndpoints": [{"matchLabels": {"app": "front"}}],
            "fromEntities": ["health"], "toPorts": [{"ports": [{"port": "80", "protocol": "TCP"}]}]}"#,
    ));
    for peer in [16_777_217, FRONT, 4] {
        assert!(node.receives(WEB, peer, "80/TCP") && !node.receives(WEB, peer, "81/TCP"), "{peer}");
    }
    assert!(!node.receives(WEB, BACK, "80/TCP") && !node.receives(WEB, WORLD, "80/TCP"));
}

#[test]
fn prefixes_are_told_when_the_first_rule_names_them_and_when_the_last_stops() {
    let mut node = node();
    let named = egress(r#"{"toCIDR": ["192.0.2.1", "192.0.2.1/32", "0.0.0.0/0"]}"#);
    node.import(&named).import(&named);
    let delta = node.resolver.take_prefixes();
    assert_eq!(delta.added, ["192.0.2.1/32".parse().unwrap()]);
    assert_eq!(delta.removed, []);
    node.repository.delete_by_labels(&identity::LabelArray::default());
    node.import(&named);
    assert_eq!(node.resolver.take_prefixes(), policy::PrefixDelta::default(), "gone and back is no change");
    node.repository.delete_by_labels(&identity::LabelArray::default());
    node.follow();
    assert_eq!(node.resolver.take_prefixes().removed, ["192.0.2.1/32".parse().unwrap()]);
}

#[test]
fn the_host_is_always_let_in_where_the_node_is_configured_so() {
    let mut node = Node::new(Options { host_always_allowed: true, ..Options::default() });
    node.endpoint(WEB, "k8s:app=web").import(&rule(r#""ingress": [{}], "egress": [{}]"#));
    let entry = node.map(WEB)[&PolicyKey::identity(HOST, Direction::Ingress)];
    assert_eq!(entry.rule, NOT_A_RULE);
    assert!(node.receives(WEB, HOST, "icmp") && !node.sends(WEB, HOST, "80/TCP"));
    node.resolver.set_host_always_allowed(false);
    assert!(!node.receives(WEB, HOST, "80/TCP"));
}

#[test]
fn an_endpoint_without_labels_yet_is_closed_until_a_rule_for_such_opens_it() {
    let mut node = node();
    node.endpoint(20, "reserved:init");
    assert!(node.enforces(20, Direction::Ingress) && node.enforces(20, Direction::Egress));
    assert_eq!(node.keys(20), []);
    node.import(
        r#"{"endpointSelector": {"matchLabels": {"reserved:init": ""}}, "ingress": [{"fromEntities": ["host"]}],
            "egress": [{"toEntities": ["all"], "toPorts": [{"ports": [{"port": "53", "protocol": "UDP"}]}]}]}"#,
    );
    assert!(node.receives(20, HOST, "80/TCP") && !node.receives(20, FRONT, "80/TCP"));
    assert!(node.sends(20, STRANGER, "53/UDP") && !node.sends(20, STRANGER, "53/TCP"));
    node.endpoint(20, "k8s:app=front");
    assert!(node.receives(20, FRONT, "80/TCP"), "with labels it is an endpoint like others");
}

#[test]
fn named_ports_are_numbers_of_the_receiver() {
    let mut node = node();
    node.endpoint_with(11, "k8s:app=web", ports(&[("http", Protocol::Tcp, 8080)]));
    node.endpoint_with(
        12,
        "k8s:app=web",
        ports(&[("http", Protocol::Tcp, 9090), ("http", Protocol::Udp, 53)]),
    );
    node.import(&ingress(r#"{"toPorts": [{"ports": [{"port": "http", "protocol": "TCP"}]}]}"#));
    assert!(node.receives(11, FRONT, "8080/TCP") && !node.receives(11, FRONT, "9090/TCP"));
    assert!(node.receives(12, FRONT, "9090/TCP") && !node.receives(12, FRONT, "53/UDP"));
    assert_eq!(node.keys(WEB).len(), 1, "without a port of this name the rule allows nothing");
    let unresolved = node.resolver.unresolved_ports();
    assert_eq!(unresolved.len(), 1);
    assert_eq!(unresolved.first().unwrap().name.name, "http");
    assert_eq!(unresolved.first().unwrap().direction, Direction::Ingress);
}

#[test]
fn named_ports_at_egress_follow_the_endpoints_that_are_the_destination() {
    for peers in ["", r#""toEndpoints": [{"matchLabels": {"app": "front"}}], "#] {
        let mut node = node();
        node.import(&egress(&format!(r#"{{{peers}"toPorts": [{{"ports": [{{"port": "http"}}]}}]}}"#)));
        assert!(!node.sends(WEB, FRONT, "8080/TCP"));
        assert_eq!(node.resolver.unresolved_ports().len(), 3, "one for each protocol");
        let front = "k8s:app=front k8s:env=prod";
        node.endpoint_with(30, front, ports(&[("http", Protocol::Tcp, 8080)]));
        node.endpoint_with(31, front, ports(&[("http", Protocol::Tcp, 8081)]));
        assert!(node.sends(WEB, FRONT, "8080/TCP") && node.sends(WEB, FRONT, "8081/TCP"), "{peers}");
        assert!(!node.sends(WEB, BACK, "8080/TCP") && !node.sends(WEB, FRONT, "8082/TCP"));
        node.resolver.endpoint_removed(31);
        assert!(!node.sends(WEB, FRONT, "8081/TCP") && node.sends(WEB, FRONT, "8080/TCP"), "{peers}");
        node.resolver.identity_removed(identity::NumericIdentity::new(FRONT));
        assert!(!node.sends(WEB, FRONT, "8080/TCP"));
        node.identity(FRONT, front);
        assert!(node.sends(WEB, FRONT, "8080/TCP"), "{peers}");
    }
}

#[test]
fn all_ports_of_a_protocol_are_one_entry() {
    let mut node = node();
    node.import(&ingress(r#"{"toPorts": [{"ports": [{"port": "0", "protocol": "UDP"}]}]}"#));
    assert!(node.map(WEB).contains_key(&key(0, 17, 0, 0, Direction::Ingress)));
    assert!(node.receives(WEB, STRANGER, "9/UDP") && !node.receives(WEB, STRANGER, "9/TCP"));
}

#[test]
fn an_entry_of_ports_without_ports_allows_nothing() {
    let mut node = node();
    node.import(&ingress(
        r#"{"fromEndpoints": [{"matchLabels": {"app": "front"}}], "toPorts": [{"ports": []}]}"#,
    ));
    assert!(node.enforces(WEB, Direction::Ingress) && !node.receives(WEB, FRONT, "80/TCP"));
}

#[test]
fn what_does_not_fit_into_a_map_is_not_allowed_until_there_is_room() {
    let mut node = node();
    for number in 0..120 {
        node.identity(400 + number, &format!("k8s:app=many k8s:n={number}"));
    }
    // Each range is many entries, three times as many without a protocol.
    let ranges: Vec<String> =
        (0..20).map(|at| format!(r#"{{"port": "{}", "endPort": 65534}}"#, 1 + at)).collect();
    let entry = format!(
        r#"{{"fromEndpoints": [{{"matchLabels": {{"app": "many"}}}}], "toPorts": [{{"ports": [{}]}}]}}"#,
        ranges.join(", ")
    );
    node.import(&ingress(&entry));
    let per_identity = node.keys(WEB).iter().filter(|key| key.identity == 400).count();
    let fit = MAX_ENTRIES / per_identity;
    assert!(fit < 120, "{per_identity}");
    let ingress =
        |node: &Node| node.keys(WEB).iter().filter(|key| key.direction == Direction::Ingress).count();
    assert_eq!(ingress(&node), MAX_ENTRIES);
    assert_eq!(node.resolver.overflowing(), [WEB].into());
    assert!(node.receives(WEB, 400, "80/TCP") && !node.receives(WEB, 519, "80/TCP"));
    for number in 0..=(120 - fit as u32) {
        node.resolver.identity_removed(identity::NumericIdentity::new(400 + number));
    }
    assert!(node.receives(WEB, 519, "80/TCP"));
    assert!(node.resolver.overflowing().is_empty());
    assert_eq!(ingress(&node), (fit - 1) * per_identity);
    for number in 0..120 {
        node.identity(700 + number, &format!("k8s:app=many k8s:m={number}"));
    }
    assert_eq!(node.resolver.overflowing(), [WEB].into());
    node.import(&self::ingress(r#"{"fromEntities": ["all"]}"#));
    assert!(node.resolver.overflowing().is_empty(), "everything is one entry");
}
