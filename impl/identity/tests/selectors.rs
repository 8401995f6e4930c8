// SPDX-License-Identifier: Apache-2.0
//! Selectors: what they select, what is refused, and entities.

use identity::{EndpointSelector, Entity, Label, Labels, RawSelector, SelectorKey, Source, cidr};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn selector(json: &str) -> EndpointSelector {
    serde_json::from_str(json).unwrap()
}

fn labels(texts: &[&str]) -> Labels {
    Labels::parse(texts).unwrap()
}

fn selects(json: &str, texts: &[&str]) -> bool {
    selector(json).matches(&labels(texts))
}

#[test]
fn match_labels_see_the_sources_that_they_name() {
    let pod = ["k8s:app=web", "container:img=x"];
    for key in ["app", "any:app", "k8s:app"] {
        assert!(selects(&format!(r#"{{"matchLabels":{{"{key}":"web"}}}}"#), &pod), "{key}");
    }
    assert!(!selects(r#"{"matchLabels":{"container:app":"web"}}"#, &pod));
    assert!(!selects(r#"{"matchLabels":{"app":"web","img":"y"}}"#, &pod));
    assert!(selects(r#"{"matchLabels":{"app":"web","img":"x"}}"#, &pod));
    assert!(
        !selects(r#"{"matchLabels":{"k8s.app":"web"}}"#, &pod),
        "a dot in a user's key is part of the key"
    );
    assert!(!selects(r#"{"matchLabels":{"absent":""}}"#, &pod), "an absent label is not an empty one");
    for key in ["reserved:host", "$host", "reserved.host"] {
        assert!(selects(&format!(r#"{{"matchLabels":{{"{key}":""}}}}"#), &["reserved:host"]), "{key}");
    }
}

#[test]
fn expressions_ask_for_values_or_presence() {
    let is = |operator: &str, values: &str, texts: &[&str]| {
        selects(
            &format!(r#"{{"matchExpressions":[{{"key":"k8s:a","operator":"{operator}"{values}}}]}}"#),
            texts,
        )
    };
    let values = r#","values":["1","2"]"#;
    for (operator, values, with_1, with_3, without) in [
        ("In", values, true, false, false),
        ("NotIn", values, false, true, true),
        ("Exists", "", true, true, false),
        ("DoesNotExist", "", false, false, true),
    ] {
        assert_eq!(is(operator, values, &["k8s:a=1"]), with_1, "{operator}");
        assert_eq!(is(operator, values, &["k8s:a=3"]), with_3, "{operator}");
        assert_eq!(is(operator, values, &["container:a=1"]), without, "{operator}");
    }
}

#[test]
fn the_empty_selector_and_reserved_all_select_everything() {
    for json in
        ["{}", r#"{"matchLabels":null}"#, r#"{"matchLabels":{}}"#, r#"{"matchLabels":{"reserved:all":""}}"#]
    {
        assert!(
            selects(json, &["k8s:a=1"]) && selects(json, &["reserved:world"]) && selects(json, &[]),
            "{json}"
        );
    }
    assert!(selector("{}").is_wildcard());
    assert!(!selector(r#"{"matchLabels":{"reserved:all":""}}"#).is_wildcard());
    assert_eq!(selector("{}"), EndpointSelector::wildcard());
}

#[test]
fn what_is_wrong_in_a_selector_is_named_with_its_field() {
    let long = "x".repeat(64);
    for (json, reason) in [
        (r#"{"matchLabels":{"k8s:a b":"c"}}"#.to_owned(), r#"matchLabels["k8s:a b"]: "k8s:a b" is not a label key"#),
        (r#"{"matchLabels":{"k8s:":"c"}}"#.to_owned(), "it has no name"),
        (r#"{"matchLabels":{"/a":"c"}}"#.to_owned(), "nothing stands before the '/'"),
        (r#"{"matchLabels":{"Up.per/a":"c"}}"#.to_owned(), "DNS name in lower case"),
        (r#"{"matchLabels":{"a/b/c":"c"}}"#.to_owned(), "one '/' only"),
        (r#"{"matchLabels":{"k.s:a":"c"}}"#.to_owned(), "its source may hold"),
        (format!(r#"{{"matchLabels":{{"{long}":"c"}}}}"#), "longer than 63"),
        (format!(r#"{{"matchLabels":{{"a":"{long}"}}}}"#), r#"matchLabels["a"]: "x"#),
        (r#"{"matchLabels":{"a":"-c"}}"#.to_owned(), "must begin and end"),
        (r#"{"matchLabels":{"a":"1","any:a":"2"}}"#.to_owned(), "given twice"),
        (r#"{"matchLabels":{"a":1}}"#.to_owned(), "expected a string"),
        (r#"{"matchLabel":{"a":"1"}}"#.to_owned(), "unknown field `matchLabel`"),
        (r#"{"matchExpressions":[{"key":"a","operator":"In"}]}"#.to_owned(), "matchExpressions[0].values: at least one"),
        (
            r#"{"matchExpressions":[{"key":"a","operator":"Exists"},{"key":"a","operator":"Exists","values":["x"]}]}"#.to_owned(),
            "matchExpressions[1].values: no value",
        ),
        (r#"{"matchExpressions":[{"key":"a","operator":"in","values":["x"]}]}"#.to_owned(), r#"matchExpressions[0].operator: "in""#),
        (r#"{"matchExpressions":[{"key":"","operator":"Exists"}]}"#.to_owned(), "matchExpressions[0].key"),
        (r#"{"matchExpressions":[{"key":"a","operator":"In","values":["x","y z"]}]}"#.to_owned(), "matchExpressions[0].values[1]"),
        (r#"{"matchExpressions":[{"operator":"Exists"}]}"#.to_owned(), "missing field `key`"),
        ("[]".to_owned(), "expected an object"),
        ("null".to_owned(), "expected an object"),
        (r#"{"matchExpressions":[["a","Exists"]]}"#.to_owned(), "expected an object"),
    ] {
        match serde_json::from_str::<EndpointSelector>(&json) {
            Err(error) => assert!(error.to_string().contains(reason), "{json}: {error}"),
            Ok(selector) => panic!("{json} is {selector}"),
        }
    }
}

#[test]
fn a_selector_is_written_with_the_source_of_each_key() {
    let text = r#"{"matchLabels":{"any:app":"web","k8s:x":""},"matchExpressions":[{"key":"any:a","operator":"In","values":["1","2"]},{"key":"k8s:b","operator":"DoesNotExist"}]}"#;
    let one = selector(
        r#"{"matchLabels":{"app":"web","k8s:x":""},"matchExpressions":[{"key":"a","operator":"In","values":["1","2"]},{"key":"k8s:b","operator":"DoesNotExist"}]}"#,
    );
    assert_eq!(serde_json::to_string(&one).unwrap(), text);
    assert_eq!(one.to_string(), "any.app=web,k8s.x=,any.a in (1,2),!k8s.b");
    assert_eq!(serde_json::to_string(&EndpointSelector::wildcard()).unwrap(), "{}");
    assert_eq!(EndpointSelector::wildcard().to_string(), "<none>");
}

#[test]
fn keys_have_an_inner_and_an_outer_form() {
    let key = SelectorKey::parse("k8s:app=ignored");
    assert_eq!((key.to_string(), key.extended()), ("k8s:app".into(), "k8s.app".into()));
    assert_eq!(
        SelectorKey::parse_extended("k8s.app.kubernetes.io/name").to_string(),
        "k8s:app.kubernetes.io/name"
    );
    assert_eq!(SelectorKey::parse_extended("app").to_string(), "any:app");
    assert_eq!(SelectorKey::parse("app"), SelectorKey::of(Source::Any, "app"));
}

#[test]
fn a_kubernetes_selector_gets_a_source_and_a_prefix() {
    let raw: RawSelector = serde_json::from_str(
        r#"{"matchLabels":{"team":"a"},"matchExpressions":[{"key":"x/y","operator":"Exists"}]}"#,
    )
    .unwrap();
    let one =
        EndpointSelector::from_kubernetes(&Source::K8s, "io.cilium.k8s.namespace.labels.", raw).unwrap();
    assert_eq!(
        one.to_string(),
        "k8s.io.cilium.k8s.namespace.labels.team=a,k8s.io.cilium.k8s.namespace.labels.x/y"
    );
    let colon: RawSelector = serde_json::from_str(r#"{"matchLabels":{"any:team":"a"}}"#).unwrap();
    assert!(
        EndpointSelector::from_kubernetes(&Source::K8s, "", colon).is_err(),
        "Kubernetes keys hold no source"
    );
}

#[test]
fn a_requirement_narrows_and_never_widens() {
    let mut one = selector(r#"{"matchLabels":{"a":"1"}}"#);
    one.require(&selector(r#"{"matchLabels":{"b":"2"}}"#));
    assert!(one.matches(&labels(&["k8s:a=1", "k8s:b=2"])) && !one.matches(&labels(&["k8s:a=1"])));
    one.require(&selector(r#"{"matchLabels":{"a":"3"}}"#));
    assert!(!one.matches(&labels(&["k8s:a=1", "k8s:b=2"])) && !one.matches(&labels(&["k8s:a=3", "k8s:b=2"])));
}

#[test]
fn a_selector_says_of_which_keys_it_speaks() {
    let one = selector(
        r#"{"matchLabels":{"k8s:ns":"a"},"matchExpressions":[{"key":"k8s:ns","operator":"In","values":["b"]},{"key":"x","operator":"Exists"}]}"#,
    );
    let key = SelectorKey::parse("k8s:ns");
    assert_eq!(one.values_of(&key), Some(vec!["a", "b"]));
    assert_eq!(one.values_of(&SelectorKey::parse("x")), None);
    assert!(one.has_key(&key) && !one.has_key(&SelectorKey::parse("any:ns")));
    assert!(one.has_key_prefix(&Source::K8s, "n") && !one.has_key_prefix(&Source::Reserved, ""));
}

#[test]
fn entities_stand_for_selectors() {
    let any =
        |entity: Entity, texts: &[&str]| entity.selectors("east").iter().any(|s| s.matches(&labels(texts)));
    let outside = cidr::labels("10.0.0.0/8".parse().unwrap());
    assert!(Entity::World.selectors("east")[0].matches(&outside), "CIDR identities are of the world");
    assert!(any(Entity::All, &["k8s:a=b"]) && any(Entity::All, &["reserved:world"]));
    assert!(any(Entity::Host, &["reserved:host"]) && !any(Entity::Host, &["reserved:world"]));
    for inside in
        ["reserved:host", "reserved:init", "reserved:unmanaged", "k8s:io.cilium.k8s.policy.cluster=east"]
    {
        assert!(any(Entity::Cluster, &[inside]), "{inside}");
    }
    for outside in ["reserved:world", "k8s:io.cilium.k8s.policy.cluster=west"] {
        assert!(!any(Entity::Cluster, &[outside]), "{outside}");
    }
    assert!(!any(Entity::None, &["reserved:host"]) && !any(Entity::None, &["k8s:a"]));
    for entity in Entity::EVERY {
        assert_eq!(serde_json::from_str::<Entity>(&serde_json::to_string(&entity).unwrap()).unwrap(), entity);
    }
    assert!(
        serde_json::from_str::<Entity>("\"World\"")
            .unwrap_err()
            .to_string()
            .contains("unknown entity \"World\"")
    );
}

/// What the definition says, word by word, over a list of labels.
fn naive(raw: &RawSelector, labels: &[Label]) -> bool {
    let value = |key: &str| {
        let (source, name) = key.split_once(':').unwrap_or(("any", key));
        let seen = |l: &&Label| l.key() == name && (source == "any" || l.source().as_str() == source);
        labels.iter().find(seen).map(|l| l.value().to_owned())
    };
    let all = raw.match_labels.iter().flatten().all(|(key, wanted)| value(key).as_ref() == Some(wanted));
    all && raw.match_expressions.iter().flatten().all(|e| {
        let listed = |v: &String| e.values.as_ref().is_some_and(|values| values.contains(v));
        match (e.operator.as_str(), value(&e.key)) {
            ("In", found) => found.is_some_and(|v| listed(&v)),
            ("NotIn", found) => !found.is_some_and(|v| listed(&v)),
            ("Exists", found) => found.is_some(),
            (_, found) => found.is_none(),
        }
    })
}

fn key() -> impl Strategy<Value = String> {
    "(k8s:|any:|container:|)[ab]"
}

fn raw() -> impl Strategy<Value = RawSelector> {
    let values = prop::collection::vec("[xy]?", 1..3);
    let expression = (key(), "In|NotIn|Exists|DoesNotExist", values).prop_map(|(key, operator, values)| {
        let values = operator.ends_with("In").then_some(values);
        identity::RawExpression { key, operator, values }
    });
    (
        prop::option::of(prop::collection::btree_map(key(), "[xy]?", 0..3)),
        prop::option::of(prop::collection::vec(expression, 0..3)),
    )
        .prop_map(|(match_labels, match_expressions)| RawSelector { match_labels, match_expressions })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 3000, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_selector_selects_what_its_definition_says(raw in raw(), set in prop::collection::vec("(k8s|container|any):[ab]=[xy]?", 0..3)) {
        let set = Labels::parse(set).unwrap();
        // The one refusal that such selectors can meet is a key given twice.
        if let Ok(selector) = EndpointSelector::try_from(raw.clone()) {
            prop_assert_eq!(selector.matches(&set), naive(&raw, &set));
            let json = serde_json::to_string(&selector).unwrap();
            prop_assert_eq!(serde_json::from_str::<EndpointSelector>(&json).unwrap(), selector);
        } else {
            let twice = raw.match_labels.is_some_and(|m| m.keys().any(|k| m.contains_key(&format!("any:{k}"))));
            prop_assert!(twice);
        }
    }

    #[test]
    fn both_must_hold_where_one_requires_the_other(a in raw(), b in raw(), set in prop::collection::vec("k8s:[ab]=[xy]?", 0..3)) {
        let set = Labels::parse(set).unwrap();
        if let (Ok(a), Ok(b)) = (EndpointSelector::try_from(a), EndpointSelector::try_from(b)) {
            let mut both = a.clone();
            both.require(&b);
            prop_assert_eq!(both.matches(&set), a.matches(&set) && b.matches(&set));
        }
    }

    #[test]
    fn no_key_or_value_makes_the_checks_panic(key in ".{0,12}", value in ".{0,12}") {
        let _ = EndpointSelector::try_from(RawSelector { match_labels: Some([(key, value)].into()), match_expressions: None });
    }
}
