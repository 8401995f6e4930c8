// SPDX-License-Identifier: Apache-2.0
//! What is read as a rule, what is refused, and where it says the fault is.

use policy::kubernetes;
use policy::{
    Direction, Feature, L4Ports, MAX_EXCEPT, MAX_IMPORT_BYTES, MAX_PORTS, ParseError, Rule, parse_rules_json,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn refused(json: &str) -> ParseError {
    match parse_rules_json(json) {
        Ok(rules) => panic!("accepted {json}: {rules:?}"),
        Err(error) => error,
    }
}

fn accepted(json: &str) -> Vec<Rule> {
    parse_rules_json(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

fn with_port(port: &str) -> String {
    format!(r#"{{"endpointSelector": {{}}, "ingress": [{{"toPorts": [{{"ports": [{port}]}}]}}]}}"#)
}

fn with_egress(entry: &str) -> String {
    format!(r#"{{"endpointSelector": {{}}, "egress": [{entry}]}}"#)
}

fn with_service(entry: &str) -> String {
    with_egress(&format!(r#"{{"toServices": [{entry}]}}"#))
}

#[test]
fn one_rule_and_an_array_of_rules_are_read() {
    assert_eq!(accepted(r#" {"endpointSelector": {}}"#).len(), 1);
    assert_eq!(accepted("[]").len(), 0);
    let rules = accepted(r#"[{"endpointSelector": {}, "description": "a"}, {"endpointSelector": {}}]"#);
    assert_eq!((rules.len(), rules[0].description()), (2, "a"));
}

#[test]
fn every_field_is_written_as_it_was_read() {
    let text = r#"[{"endpointSelector":{"matchLabels":{"any:app":"web"}},
        "ingress":[{"fromEndpoints":[{"matchLabels":{"k8s:app":"a"}}],"fromRequires":[{}],"fromCIDR":["192.0.2.0/24"],
            "fromCIDRSet":[{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}],"fromEntities":["world"],
            "toPorts":[{"ports":[{"port":"80","protocol":"TCP"},{"port":"0","protocol":"SCTP"},
                {"port":"http","protocol":"UDP"},{"port":"1","endPort":9,"protocol":"ANY"}]}]}],
        "egress":[{"toEndpoints":[{"matchExpressions":[{"key":"any:a","operator":"Exists"}]}],"toRequires":[{}],
            "toCIDR":["2001:db8::/32"],"toCIDRSet":[{"cidr":"::/0"}],"toEntities":["host"],
            "toServices":[{"k8sService":{"serviceName":"a","namespace":"b"}},{"k8sService":{"serviceName":"c"}},
                {"k8sServiceSelector":{"selector":{"matchLabels":{"example.com/app":"a"},
                    "matchExpressions":[{"key":"tier","operator":"In","values":["b","c"]}]},"namespace":"d"}},
                {"k8sServiceSelector":{"selector":{}}}]},{}],
        "labels":[{"key":"name","value":"x","source":"unspec"}],"description":"all of it"}]"#;
    let written = serde_json::to_value(accepted(text)).unwrap();
    assert_eq!(written, serde_json::from_str::<serde_json::Value>(text).unwrap());
}

#[test]
fn an_empty_section_stays_a_section() {
    let rule = &accepted(r#"{"endpointSelector": {}, "ingress": [], "egress": null}"#)[0];
    assert_eq!(rule.section(Direction::Ingress), Some(&[][..]));
    assert_eq!(rule.section(Direction::Egress), None);
    assert_eq!(serde_json::to_string(rule).unwrap(), r#"{"endpointSelector":{},"ingress":[]}"#);
}

#[test]
fn an_address_in_a_cidr_list_is_the_prefix_of_it_alone() {
    let rule = &accepted(&with_egress(r#"{"toCIDR": ["192.0.2.1", "2001:db8::1", "10.1.2.3/8"]}"#))[0];
    let prefixes: Vec<String> = rule.prefixes().map(|prefix| prefix.to_string()).collect();
    assert_eq!(prefixes, ["192.0.2.1/32", "2001:db8::1/128", "10.0.0.0/8"]);
}

#[test]
fn ports_are_numbers_ranges_and_names() {
    let ports = |port: &str| {
        let rule = &accepted(&with_port(port))[0];
        rule.section(Direction::Ingress).unwrap()[0].ports[0].ports[0].ports.clone()
    };
    assert_eq!(ports(r#"{"port": "0", "endPort": 0}"#), L4Ports::All);
    assert_eq!(ports(r#"{"port": "web-1"}"#), L4Ports::Named("web-1".into()));
    let L4Ports::Range(range) = ports(r#"{"port": "80", "endPort": 90, "protocol": "sctp"}"#) else {
        panic!()
    };
    assert_eq!((range.first().get(), range.last().get()), (80, 90));
}

#[test]
fn a_fault_is_told_with_the_path_of_its_field() {
    for (json, path) in [
        (r#"{"ingress": []}"#, "endpointSelector"),
        (r#"[{"endpointSelector": {}}, {}]"#, "[1].endpointSelector"),
        (r#"{"endpointSelector": {}, "ingress": {}}"#, "ingress"),
        (r#"{"endpointSelector": {}, "ingress": [[]]}"#, "ingress[0]"),
        (r#"[[]]"#, "[0]"),
        (r#"{"endpointSelector": {}, "igress": []}"#, "igress"),
        (r#"{"endpointSelector": {}, "ingress": [{"toEndpoints": []}]}"#, "ingress[0].toEndpoints"),
        (r#"{"endpointSelector": {"matchlabels": {}}}"#, "endpointSelector.matchlabels"),
        (&with_port("{}"), "ingress[0].toPorts[0].ports[0]"),
        (&with_port(r#"{"port": 80}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": ""}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": "65536"}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": "-1"}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": "UPPER"}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": "a--b"}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": "sixteen-letters-"}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": "0", "endPort": 9}"#), "ingress[0].toPorts[0].ports[0].port"),
        (&with_port(r#"{"port": "80", "endPort": 79}"#), "ingress[0].toPorts[0].ports[0].endPort"),
        (&with_port(r#"{"port": "80", "endPort": 65536}"#), "ingress[0].toPorts[0].ports[0].endPort"),
        (&with_port(r#"{"port": "http", "endPort": 90}"#), "ingress[0].toPorts[0].ports[0].endPort"),
        (&with_port(r#"{"port": "80", "protocol": "ICMP"}"#), "ingress[0].toPorts[0].ports[0].protocol"),
        (&with_port(r#"{"port": "80", "protocol": "IP"}"#), "ingress[0].toPorts[0].ports[0].protocol"),
        (&with_egress(r#"{"toCIDR": ["10.0.0.0/8", "10.0.0.0/33"]}"#), "egress[0].toCIDR[1]"),
        (&with_egress(r#"{"toCIDRSet": [{"cidr": "10.0.0.0"}]}"#), "egress[0].toCIDRSet[0].cidr"),
        (
            &with_egress(r#"{"toCIDRSet": [{"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}]}"#),
            "egress[0].toCIDRSet[0].except[0]",
        ),
        (&with_egress(r#"{"toEntities": ["host", "hosts"]}"#), "egress[0].toEntities[1]"),
        (&with_service("{}"), "egress[0].toServices[0]"),
        (&with_service("[]"), "egress[0].toServices[0]"),
        (&with_service(r#"{"k8sservice": {}}"#), "egress[0].toServices[0].k8sservice"),
        (&with_service(r#"{"k8sService": {}}"#), "egress[0].toServices[0].k8sService.serviceName"),
        (
            &with_service(r#"{"k8sService": {"serviceName": "a_b"}}"#),
            "egress[0].toServices[0].k8sService.serviceName",
        ),
        (
            &with_service(r#"{"k8sService": {"serviceName": "a", "namespace": "*"}}"#),
            "egress[0].toServices[0].k8sService.namespace",
        ),
        (
            &with_service(r#"{"k8sService": {"serviceName": "a", "port": 1}}"#),
            "egress[0].toServices[0].k8sService.port",
        ),
        (&with_service(r#"{"k8sServiceSelector": {}}"#), "egress[0].toServices[0].k8sServiceSelector"),
        (
            &with_service(r#"{"k8sServiceSelector": {"selector": {}, "namespace": "-"}}"#),
            "egress[0].toServices[0].k8sServiceSelector.namespace",
        ),
        (
            &with_service(r#"{"k8sService": {"serviceName": "a"}, "k8sServiceSelector": {"selector": {}}}"#),
            "egress[0].toServices[0]",
        ),
        (r#"{"endpointSelector": {}, "ingress": [{"toServices": []}]}"#, "ingress[0].toServices"),
        (r#"{"endpointSelector": {}, "labels": ["k8s:a", "cilium-generated:b"]}"#, "labels[1]"),
    ] {
        let error = refused(json);
        let (ParseError::Schema { path: told, .. } | ParseError::Value { path: told, .. }) = &error else {
            panic!("{error:?}")
        };
        assert_eq!(told, path, "{json}: {error}");
        assert!(error.to_string().starts_with(path), "{error}");
    }
}

#[test]
fn a_fault_inside_a_selector_has_the_path_into_it() {
    let error = refused(&with_egress(
        r#"{"toEndpoints": [{}, {"matchExpressions": [{"key": "a", "operator": "In", "values": []}]}]}"#,
    ));
    assert!(
        error.to_string().starts_with("egress[0].toEndpoints[1].matchExpressions[0].values: "),
        "{error}"
    );
    // The labels of services have no source, and so the keys have none.
    let error =
        refused(&with_service(r#"{"k8sServiceSelector": {"selector": {"matchLabels": {"k8s:a": "b"}}}}"#));
    let path = r#"egress[0].toServices[0].k8sServiceSelector.selector.matchLabels["k8s:a"]: "#;
    assert!(error.to_string().starts_with(path), "{error}");
}

#[test]
fn what_is_valid_and_missing_is_refused_as_a_feature() {
    let l7 = |rules: &str| {
        with_egress(&format!(r#"{{"toPorts": [{{"ports": [{{"port": "80"}}], "rules": {rules}}}]}}"#))
    };
    for (json, feature, path) in [
        (l7(r#"{"http": [{"method": "GET"}]}"#), Feature::L7Rules, "egress[0].toPorts[0].rules"),
        (
            l7(r#"{"kafka": [{"role": "produce", "topic": "a"}]}"#),
            Feature::L7Rules,
            "egress[0].toPorts[0].rules",
        ),
        (l7(r#"{"dns": [{"matchPattern": "*"}]}"#), Feature::L7Rules, "egress[0].toPorts[0].rules"),
        (l7(r#"{"l7proto": "r2d2"}"#), Feature::L7Rules, "egress[0].toPorts[0].rules"),
        (
            with_egress(r#"{"toFQDNs": [{"matchName": "_sip._tcp.x"}]}"#),
            Feature::ToFqdns,
            "egress[0].toFQDNs",
        ),
        (
            with_egress(r#"{"toGroups": [{"aws": {"securityGroupsIds": ["sg-1"]}}]}"#),
            Feature::ToGroups,
            "egress[0].toGroups",
        ),
    ] {
        assert_eq!(refused(&json), ParseError::Unsupported { feature, path: path.into() }, "{json}");
    }
    let error = refused(&with_egress(r#"{"toFQDNs": [{"matchName": "a"}]}"#));
    assert_eq!(error.to_string(), "egress[0].toFQDNs: toFQDNs (DNS policy) is not supported");
}

#[test]
fn an_unknown_field_of_a_missing_feature_is_a_fault_and_an_empty_one_is_nothing() {
    let error = refused(&with_egress(r#"{"toFQDNs": [{"matchNames": "a"}]}"#));
    assert!(
        matches!(&error, ParseError::Schema { path, .. } if path == "egress[0].toFQDNs[0].matchNames"),
        "{error:?}"
    );
    accepted(&with_egress(
        r#"{"toFQDNs": [], "toPorts": [{"ports": [{"port": "80"}], "rules": {"http": []}}]}"#,
    ));
}

#[test]
fn what_is_no_json_is_told_with_line_and_column() {
    for json in ["", "{", r#"{"endpointSelector": {}} x"#, "[{]"] {
        let error = refused(json);
        assert!(matches!(error, ParseError::Syntax { format: "JSON", .. }), "{error:?}");
        assert!(error.to_string().contains("line 1 column"), "{error}");
    }
}

#[test]
fn limits_are_told_with_what_was_found() {
    let ports = vec![r#"{"port": "80"}"#; MAX_PORTS];
    accepted(&with_port(&ports.join(",")));
    let error = refused(&with_port(&format!(r#"{},{{"port": "80"}}"#, ports.join(","))));
    assert_eq!(error.to_string(), "ingress[0].toPorts[0].ports: 41 ports: at most 40 are allowed");

    let except = vec![r#""10.1.0.0/16""#; MAX_EXCEPT + 1];
    let entry = format!(r#"{{"toCIDRSet": [{{"cidr": "10.0.0.0/8", "except": [{}]}}]}}"#, except.join(","));
    assert!(matches!(
        refused(&with_egress(&entry)),
        ParseError::TooMany { found: 1025, limit: MAX_EXCEPT, .. }
    ));

    let error = refused(&" ".repeat(MAX_IMPORT_BYTES + 1));
    assert!(matches!(error, ParseError::TooMany { what: "bytes", .. }), "{error:?}");
}

#[test]
fn a_rule_is_read_by_serde_with_the_same_checks() {
    assert!(serde_json::from_str::<Rule>(r#"{"endpointSelector": {}}"#).is_ok());
    let error =
        serde_json::from_str::<Rule>(r#"{"endpointSelector": {}, "egress": [{"toEntities": ["x"]}]}"#);
    assert!(error.unwrap_err().to_string().starts_with("egress[0].toEntities[0]: unknown entity"));
}

/// Words of the schema in any order, most of it nonsense.
fn nonsense() -> impl Strategy<Value = String> {
    let word = prop::sample::select(vec![
        "{",
        "}",
        "[",
        "]",
        ":",
        ",",
        "\n",
        "- ",
        "  ",
        "null",
        "true",
        "-1",
        "0",
        "65536",
        "1e400",
        "\"\"",
        "\"endpointSelector\"",
        "\"matchLabels\"",
        "\"ingress\"",
        "\"egress\"",
        "\"toPorts\"",
        "\"ports\"",
        "\"port\"",
        "\"endPort\"",
        "\"80\"",
        "\"fromCIDRSet\"",
        "\"cidr\"",
        "\"except\"",
        "\"::/0\"",
        "\"10.0.0.0/8\"",
        "\"toServices\"",
        "\"k8sService\"",
        "\"serviceName\"",
        "\"labels\"",
        "\"k8s:\"",
        "\"a=b=c\"",
        "\"$\"",
        "kind: NetworkPolicy\n",
        "apiVersion: networking.k8s.io/v1\n",
        "metadata: {name: x}\n",
        "spec: {podSelector: {}}\n",
        "&a ",
        "*a",
        "é",
    ]);
    prop::collection::vec(word, 0..24).prop_map(|words| words.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn any_text_is_read_or_refused(text in nonsense()) {
        if let Ok(rules) = parse_rules_json(&text) {
            let written = serde_json::to_string(&rules).unwrap();
            prop_assert_eq!(parse_rules_json(&written).unwrap(), rules);
        }
        for document in kubernetes::documents(&text).unwrap_or_default() {
            let _ = kubernetes::policy_of(&document);
        }
    }

    #[test]
    fn any_change_of_a_rule_is_read_or_refused(at in 0..400usize, with in "\\PC{0,3}", gone in 0..8usize) {
        let text = r#"[{"endpointSelector":{"matchLabels":{"any:app":"web"}},
            "ingress":[{"fromEndpoints":[{"matchLabels":{"k8s:app":"a"}}],"fromCIDR":["192.0.2.0/24"],
                "fromCIDRSet":[{"cidr":"10.0.0.0/8","except":["10.1.0.0/16"]}],"fromEntities":["world"],
                "toPorts":[{"ports":[{"port":"80","protocol":"TCP"},{"port":"1","endPort":9}]}]}]}]"#;
        let at = at.min(text.len());
        let changed = format!("{}{with}{}", &text[..at], &text[(at + gone).min(text.len())..]);
        if let Ok(rules) = parse_rules_json(&changed) {
            let written = serde_json::to_string(&rules).unwrap();
            prop_assert_eq!(parse_rules_json(&written).unwrap(), rules);
        }
    }
}
