// SPDX-License-Identifier: Apache-2.0
//! Labels: what is read, written and matched.

use identity::{Label, LabelArray, LabelError, Labels, Source, cidr};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn label(text: &str) -> Label {
    text.parse().unwrap()
}

fn labels(texts: &[&str]) -> Labels {
    Labels::parse(texts).unwrap()
}

#[test]
fn a_label_is_read_as_source_key_and_value() {
    for (text, source, key, value) in [
        ("k8s:app=web", "k8s", "app", "web"),
        ("app", "unspec", "app", ""),
        (":app", "unspec", "app", ""),
        ("app=a=b=", "unspec", "app", "a=b="),
        ("k8s:app=a:b", "k8s", "app", "a:b"),
        ("container:a:b=c", "container", "a:b", "c"),
        ("$host", "reserved", "host", ""),
        ("reserved:host", "reserved", "host", ""),
        ("reserved.host", "reserved", "host", ""),
        ("reserved:=host", "reserved", "host", ""),
        ("cidr:10.0.0.0/8", "cidr", "10.0.0.0/8", ""),
        ("myown:x", "myown", "x", ""),
    ] {
        let label = label(text);
        assert_eq!((label.source().as_str(), label.key(), label.value()), (source, key, value), "{text}");
    }
}

#[test]
fn a_label_without_a_key_is_refused() {
    for text in ["", "=", "=a", "k8s:", "k8s:=a", "$", "reserved:="] {
        assert_eq!(text.parse::<Label>(), Err(LabelError::NoKey(text.into())), "{text}");
    }
    assert_eq!(Label::new(Source::K8s, "a=b", ""), Err(LabelError::EqualsInKey("a=b".into())));
    assert_eq!(Label::new(Source::from("a:b"), "k", ""), Err(LabelError::Source("a:b".into())));
}

#[test]
fn a_source_in_a_key_counts_only_where_none_is_given() {
    let pair = |key, value, source| Label::from_pair(key, value, source).unwrap().to_string();
    assert_eq!(pair("app", "a", Some(Source::K8s)), "k8s:app=a");
    assert_eq!(pair("container:app", "a", Some(Source::K8s)), "k8s:app=a");
    assert_eq!(pair("container:app", "a", None), "container:app=a");
    assert_eq!(pair("app", "a", None), "unspec:app=a");
    assert_eq!(pair("$", "host", None), "reserved:host");
}

#[test]
fn any_source_matches_every_source_but_not_the_other_way_round() {
    let matches = |a: &str, b: &str| Label::parse_selecting(a).unwrap().matches(&label(b));
    assert!(matches("any:app=a", "k8s:app=a") && matches("app=a", "container:app=a"));
    assert!(matches("k8s:app=a", "k8s:app=a"));
    assert!(!matches("k8s:app=a", "container:app=a"));
    assert!(!matches("k8s:app=a", "any:app=a"));
    assert!(!matches("app=a", "k8s:app=b") && !matches("app", "k8s:app=b"));
    assert!(matches("reserved:all", "k8s:anything=x"));
}

#[test]
fn a_set_has_one_label_for_each_key_and_the_later_wins() {
    let set = labels(&["k8s:app=a", "", "container:app=b", "k8s:tier"]);
    assert_eq!(set.len(), 2);
    assert_eq!(set.sorted_list(), "container:app=b;k8s:tier=;");
    assert_eq!(set, Labels::from_sorted_list("container:app=b;k8s:tier=;").unwrap());
    assert_eq!(set.merged(&labels(&["k8s:app=c"])).sorted_list(), "k8s:app=c;k8s:tier=;");
    assert_eq!(set.from_source(&Source::K8s).sorted_list(), "k8s:tier=;");
    assert!(set.find(&Source::Any, "app").is_some() && set.find(&Source::K8s, "app").is_none());
    assert!(set.contains(&[label("any:tier")]) && !set.contains(&[label("k8s:app=b")]));
}

#[test]
fn the_sum_of_a_set_is_sha_512_256_of_its_sorted_list() {
    // The digest of nothing is in FIPS 180-4's examples.
    assert_eq!(Labels::empty().sha256(), "c672b8d1ef56ed28ab87c3622c5114069bdd3ad7b8f9737498d0c01ecef0967a");
    assert_eq!(labels(&["k8s:a=1", "k8s:b=2"]).sha256(), labels(&["k8s:b=2", "k8s:a=1"]).sha256());
    assert_ne!(labels(&["k8s:a=1"]).sha256(), labels(&["any:a=1"]).sha256());
}

#[test]
fn an_array_keeps_order_and_tells_what_it_lacks() {
    let array = LabelArray::parse(["k8s:b=1", "k8s:a=1", "k8s:b=1"]).unwrap();
    assert_eq!(array.to_string(), "[k8s:b=1 k8s:a=1 k8s:b=1]");
    let needed = LabelArray::parse_selecting(["c", "b=1", "a=2"]).unwrap();
    assert_eq!(array.lacks(&needed).map(Label::to_string).collect::<Vec<_>>(), ["any:a=2", "any:c"]);
    assert!(array.contains(&[]) && !array.contains(&needed));
}

#[test]
fn labels_are_objects_or_strings_on_the_wire() {
    let short: Label = serde_json::from_str("\"k8s:app=a\"").unwrap();
    let long: Label = serde_json::from_str(r#"{"source":"k8s","key":"app","value":"a"}"#).unwrap();
    assert_eq!(short, long);
    assert_eq!(serde_json::to_string(&short).unwrap(), r#"{"key":"app","value":"a","source":"k8s"}"#);
    assert_eq!(
        serde_json::to_string(&labels(&["k8s:app=a", "$host"])).unwrap(),
        r#"["k8s:app=a","reserved:host"]"#
    );
    let array: LabelArray = serde_json::from_str(r#"["a=1", {"key":"b"}]"#).unwrap();
    assert_eq!(array.to_string(), "[unspec:a=1 unspec:b]");
    for (text, reason) in [
        ("\"\"", "has no key"),
        ("{}", "missing field `key`"),
        (r#"{"key":""}"#, "has no key"),
        (r#"{"key":"a","vlaue":"b"}"#, "unknown field `vlaue`"),
        ("7", "expected a label"),
        ("null", "expected a label"),
        (r#"{"key":"\u00e9","source":"\"x"}"#, ""),
    ] {
        match serde_json::from_str::<Label>(text) {
            Ok(label) => assert!(reason.is_empty(), "{text} is {label}"),
            Err(error) => {
                assert!(!reason.is_empty() && error.to_string().contains(reason), "{text}: {error}")
            }
        }
    }
}

#[test]
fn a_prefix_has_the_labels_of_all_that_enclose_it_and_of_the_world() {
    let of = |text: &str| cidr::labels(text.parse().unwrap());
    assert_eq!(of("0.0.0.0/0").sorted_list(), "reserved:world=;");
    assert_eq!(
        of("10.0.0.0/3").sorted_list(),
        "cidr:0.0.0.0/0=;cidr:0.0.0.0/1=;cidr:0.0.0.0/2=;cidr:0.0.0.0/3=;reserved:world=;"
    );
    assert_eq!(of("10.1.2.3/32").len(), 34);
    assert_eq!(of("10.1.2.3/32").to_string(), "cidr:10.1.2.3/32,reserved:world");
    let v6 = of("2001:db8::1/128");
    assert!(v6.contains(&[
        label("cidr:2001-db8--0/32"),
        label("cidr:2001-db8--1/128"),
        label("cidr:0--0/0")
    ]));
    assert_eq!(v6.to_string(), "cidr:2001:db8::1/128,reserved:world");
    assert!(of("::1/128").contains(&[label("cidr:0--1/128")]));
    assert_eq!(cidr::prefix_of(&label("cidr:nonsense")), None);
    assert_eq!(cidr::prefix_of(&label("k8s:10.0.0.0/8")), None);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn every_label_that_can_be_is_read_back_as_printed(source in "[^:$][^:]{0,6}", key in "[^=]{1,9}", value in ".{0,9}") {
        let label = Label::new(Source::from(&*source), &key, &value).unwrap();
        // `reserved:=x` is the one form that has a second meaning, and no key is empty.
        prop_assert_eq!(label.to_string().parse::<Label>().unwrap(), label.clone());
        let json = serde_json::to_string(&label).unwrap();
        prop_assert_eq!(serde_json::from_str::<Label>(&json).unwrap(), label);
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[$:=.a-c;é]{0,12}") {
        let _ = text.parse::<Label>();
        let _ = Label::parse_selecting(&text);
        let _ = Labels::from_sorted_list(&text);
        let _ = Label::from_pair(&text, &text, None);
    }

    #[test]
    fn the_order_in_which_labels_are_given_does_not_matter(
        pairs in prop::collection::btree_map("[a-d.]{1,3}", "[a-z]{0,2}", 0..6), turn in 0usize..6
    ) {
        let mut list: Vec<Label> = pairs.iter().map(|(k, v)| Label::new(Source::K8s, k, v).unwrap()).collect();
        let set = Labels::from_iter(list.clone());
        let middle = turn % (list.len() + 1);
        list.rotate_left(middle);
        prop_assert_eq!(&Labels::from_iter(list), &set);
        prop_assert_eq!(Labels::from_sorted_list(&set.sorted_list()).unwrap(), set);
    }

    #[test]
    fn a_prefix_is_found_again_from_its_label(bits in any::<u128>(), v4 in any::<bool>(), length in 0u8..=128) {
        let address = if v4 { std::net::IpAddr::from((bits as u32).to_be_bytes()) } else { std::net::IpAddr::from(bits.to_be_bytes()) };
        let length = if v4 { length % 33 } else { length };
        let prefix = ipnet::IpNet::new(address, length).unwrap().trunc();
        prop_assert_eq!(cidr::prefix_of(&cidr::label(prefix)), Some(prefix));
        let selector = identity::EndpointSelector::from_labels([&cidr::label(prefix)]);
        let json = serde_json::to_string(&selector).unwrap();
        prop_assert_eq!(serde_json::from_str::<identity::EndpointSelector>(&json).unwrap(), selector, "its key is valid");
        if length > 0 {
            prop_assert_eq!(cidr::labels(prefix).len(), usize::from(length) + 2);
        }
    }
}
