// SPDX-License-Identifier: Apache-2.0
//! Numeric identities, fixed ones, the allocator and the label filter.

use std::collections::BTreeMap;

use identity::{
    Acquired, Allocator, AllocatorError, FilterError, FixedIdentities, FixedIdentityError, IdentityRange,
    Label, LabelFilter, Labels, Numbering, NumericIdentity, PrefixFile, cidr,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn labels(texts: &[&str]) -> Labels {
    Labels::parse(texts).unwrap()
}

#[test]
fn reserved_identities_have_the_numbers_of_cilium_1_4() {
    for (name, number) in
        [("unknown", 0), ("host", 1), ("world", 2), ("unmanaged", 3), ("health", 4), ("init", 5)]
    {
        let identity: NumericIdentity = name.parse().unwrap();
        assert_eq!(identity.as_u32(), number);
        assert_eq!(NumericIdentity::new(number).to_string(), name);
    }
    assert_eq!(NumericIdentity::new(6).to_string(), "6");
    for text in ["", "-1", "+1", "4294967296", "hosts", "0x1", " 1"] {
        assert!(text.parse::<NumericIdentity>().unwrap_err().to_string().contains(&format!("{text:?}")));
    }
}

#[test]
fn the_bits_of_an_identity_say_where_it_is_known() {
    let local = NumericIdentity::new(0x0100_0001);
    assert!(local.is_local() && !local.is_reserved() && local.cluster_id() == 0);
    assert_eq!((IdentityRange::LOCAL.first(), IdentityRange::LOCAL.last().as_u32()), (local, 0x01ff_ffff));
    assert_eq!(IdentityRange::cluster(0).to_string(), "256 to 65535");
    let third = IdentityRange::cluster(3);
    assert_eq!((third.first().as_u32(), third.last().as_u32()), (0x3_0100, 0x3_ffff));
    assert!(third.first().cluster_id() == 3 && !third.contains(NumericIdentity::new(0x4_0100)));
    assert!(!IdentityRange::cluster(255).last().is_local());
    assert!(NumericIdentity::new(255).is_fixed() && !NumericIdentity::new(256).is_fixed());
    assert!(IdentityRange::new(local, NumericIdentity::HOST).is_none());
}

#[test]
fn labels_say_who_numbers_them() {
    let fixed = FixedIdentities::new("east", "kube-system", [(128, "kvstore".to_owned())]).unwrap();
    let number = |texts: &[&str]| fixed.numbering(&labels(texts));
    let is = |n: u32| Numbering::Fixed(NumericIdentity::new(n));
    assert_eq!(number(&["reserved:host"]), is(1));
    assert_eq!(number(&["reserved:init"]), is(5));
    assert_eq!(number(&["k8s:app=a"]), Numbering::Cluster);
    assert_eq!(number(&["k8s:app=a", "reserved:host"]), Numbering::Cluster);
    assert_eq!(number(&["k8s:app=a", "k8s:io.cilium.fixed-identity=kvstore"]), is(128));
    assert_eq!(number(&["k8s:app=a", "k8s:io.cilium.fixed-identity=other"]), Numbering::Cluster);
    assert_eq!(fixed.numbering(&cidr::labels("10.0.0.0/8".parse().unwrap())), Numbering::Local);
    assert_eq!(fixed.numbering(&cidr::labels("0.0.0.0/0".parse().unwrap())), is(2));
    let core_dns = [
        "k8s:k8s-app=kube-dns",
        "k8s:io.kubernetes.pod.namespace=kube-system",
        "k8s:io.cilium.k8s.policy.serviceaccount=coredns",
        "k8s:io.cilium.k8s.policy.cluster=east",
    ];
    assert_eq!(number(&core_dns), is(104));
    assert_eq!(number(&[&core_dns[..], &["k8s:eks.amazonaws.com/component=coredns"]].concat()), is(106));
    let named = ["k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=kube-system"];
    assert_eq!(number(&[&core_dns[..], &named].concat()), is(112));
    assert_eq!(number(&core_dns[..3]), Numbering::Cluster);
    assert_eq!(fixed.iter().count(), 5 + 16 + 1);
}

#[test]
fn a_fixed_identity_that_cannot_be_is_refused() {
    let add = |users: &[(u32, &str)]| {
        FixedIdentities::new("c", "n", users.iter().map(|(n, name)| (*n, (*name).to_owned()))).unwrap_err()
    };
    assert_eq!(add(&[(127, "a")]), FixedIdentityError::OutOfRange(127));
    assert_eq!(add(&[(256, "a")]), FixedIdentityError::OutOfRange(256));
    for name in ["", "host", "all", "unknown"] {
        assert_eq!(add(&[(128, name)]), FixedIdentityError::Name(128, name.to_owned()));
    }
    assert_eq!(add(&[(128, "a"), (129, "a")]), FixedIdentityError::Twice(129, "a".to_owned()));
}

#[test]
fn the_allocator_reuses_late_and_says_when_nothing_is_left() {
    let range = IdentityRange::new(NumericIdentity::new(256), NumericIdentity::new(258)).unwrap();
    let mut allocator = Allocator::new(range);
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|key| labels(&[key]));
    let new = |n: u32| Ok(Acquired { identity: NumericIdentity::new(n), new: true });
    assert_eq!(allocator.acquire(&a), new(256));
    assert_eq!(allocator.acquire(&b), new(257));
    assert_eq!(allocator.acquire(&a), Ok(Acquired { identity: NumericIdentity::new(256), new: false }));
    assert_eq!(allocator.release(NumericIdentity::new(256)), Ok(None));
    assert_eq!(allocator.release(NumericIdentity::new(256)), Ok(Some(a.clone())));
    assert_eq!(allocator.release(NumericIdentity::new(256)), Err(AllocatorError::NotInUse(256)));
    assert_eq!(allocator.acquire(&c), new(258), "256 is free, but was used a moment ago");
    assert_eq!(allocator.acquire(&d), new(256));
    assert_eq!(allocator.acquire(&a), Err(AllocatorError::Exhausted(range)));
    assert_eq!(allocator.len(), 3);
    assert_eq!(allocator.identity_of(&a), None);
    assert_eq!(allocator.labels_of(NumericIdentity::new(258)), Some(&c));
}

#[test]
fn a_restored_number_is_kept_and_a_conflict_refused() {
    let mut allocator = Allocator::new(IdentityRange::cluster(0));
    let [a, b] = ["a", "b"].map(|key| labels(&[key]));
    let n = NumericIdentity::new;
    assert_eq!(allocator.restore(n(300), &a), Ok(Acquired { identity: n(300), new: true }));
    assert_eq!(allocator.restore(n(300), &a), Ok(Acquired { identity: n(300), new: false }));
    assert!(matches!(allocator.restore(n(300), &b), Err(AllocatorError::Taken { identity: 300, .. })));
    assert!(matches!(allocator.restore(n(301), &a), Err(AllocatorError::Taken { identity: 301, .. })));
    assert!(matches!(allocator.restore(n(5), &b), Err(AllocatorError::OutOfRange { identity: 5, .. })));
    assert_eq!(allocator.acquire(&b), Ok(Acquired { identity: n(301), new: true }));
    assert_eq!(allocator.references(n(300)), 2);
}

#[test]
fn the_default_filter_leaves_out_what_controllers_add() {
    let filter = LabelFilter::new(None, [""; 0]).unwrap();
    let is = |text: &str| filter.is_identity(&text.parse().unwrap());
    for text in [
        "k8s:app=a",
        "k8s:io.kubernetes.pod.namespace=x",
        "k8s:io.cilium.k8s.namespace.labels.team=x",
        "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=x",
        "container:a",
        "k8s:my.io.kubernetes=1",
    ] {
        assert!(is(text), "{text}");
    }
    for text in [
        "k8s:io.kubernetes.pod.name=x",
        "k8s:app.kubernetes.io/name=x",
        "k8s:io.cilium.k8s.namespace.labels.a.kubernetes.io/b=x",
        "k8s:pod-template-hash=1",
        "k8s:controller-revision-hash=1",
        "container:annotation.etcd.version=3",
        "k8s:etcd_node=x",
        "k8s:annotation.cilium.io/x",
    ] {
        assert!(!is(text), "{text}");
    }
    let divided = filter.filter(&labels(&["k8s:app=a", "k8s:pod-template-hash=1"]));
    assert_eq!(
        (divided.identity.to_string(), divided.information.to_string()),
        ("k8s:app=a".into(), "k8s:pod-template-hash=1".into())
    );
}

#[test]
fn an_inclusion_leaves_out_all_else_and_the_longer_match_wins() {
    let filter =
        LabelFilter::new(None, ["k8s:app", "!app.old", "!k8s:apple", "k8s:app.old.but.good"]).unwrap();
    let is = |text: &str| filter.is_identity(&text.parse().unwrap());
    assert!(is("k8s:app") && is("k8s:app2") && is("k8s:io.kubernetes.pod.namespace"));
    assert!(!is("container:app") && !is("k8s:tier") && !is("k8s:app.old") && !is("k8s:apple"));
    assert!(is("k8s:app.old.but.good"));
    let only_excluding = LabelFilter::new(None, ["!tier"]).unwrap();
    assert!(only_excluding.is_identity(&"k8s:a".parse().unwrap()));
    assert!(!only_excluding.is_identity(&"k8s:tier".parse().unwrap()));
}

#[test]
fn a_prefix_file_replaces_the_defaults_and_is_taken_literally() {
    let file = |json: &str| serde_json::from_str::<PrefixFile>(json).unwrap();
    let text = r#"{"version":1,"valid-prefixes":[{"prefix":"a.b","source":"k8s"},{"prefix":"a.b.c","source":"k8s","invert":true}]}"#;
    let filter = LabelFilter::new(Some(file(text)), [""; 0]).unwrap();
    let is = |text: &str| filter.is_identity(&text.parse().unwrap());
    assert!(is("k8s:a.b") && is("k8s:a.b.x") && !is("k8s:axb") && !is("k8s:a.b.c") && !is("container:a.b"));
    assert_eq!(filter.to_string(), "k8s:a.b\n!k8s:a.b.c\n");
    let refused = |json: &str| LabelFilter::new(Some(file(json)), [""; 0]).unwrap_err();
    assert_eq!(refused(r#"{"version":2}"#), FilterError::Version(2));
    assert_eq!(
        refused(r#"{"version":1,"valid-prefixes":[{"prefix":"a"}]}"#),
        FilterError::EmptyField { at: 0, field: "source" }
    );
    assert_eq!(
        refused(r#"{"version":1,"valid-prefixes":[{"source":"a"}]}"#),
        FilterError::EmptyField { at: 0, field: "prefix" }
    );
}

#[test]
fn a_prefix_that_cannot_be_is_refused() {
    for text in ["", "!", "k8s:", "k8s:!", "!k8s:"] {
        assert_eq!(LabelFilter::new(None, [text]).unwrap_err(), FilterError::Empty(text.to_owned()));
    }
    assert!(
        matches!(LabelFilter::new(None, ["k8s:a("]), Err(FilterError::Regex { prefix, .. }) if prefix == "k8s:a(")
    );
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 500, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn a_number_stands_for_one_set_as_long_as_anybody_holds_it(steps in prop::collection::vec((0u8..6, any::<bool>()), 0..60)) {
        let range = IdentityRange::new(NumericIdentity::new(1000), NumericIdentity::new(1003)).unwrap();
        let mut allocator = Allocator::new(range);
        let mut held: BTreeMap<u8, (NumericIdentity, u64)> = BTreeMap::new();
        for (who, take) in steps {
            let set = Labels::from_iter([format!("k8s:a=v{who}").parse::<Label>().unwrap()]);
            match (take, held.get(&who).copied()) {
                (true, Some((identity, count))) => {
                    prop_assert_eq!(allocator.acquire(&set), Ok(Acquired { identity, new: false }));
                    held.insert(who, (identity, count + 1));
                }
                (true, None) if held.len() == 4 => {
                    prop_assert_eq!(allocator.acquire(&set), Err(AllocatorError::Exhausted(range)));
                }
                (true, None) => {
                    let got = allocator.acquire(&set).unwrap();
                    prop_assert!(got.new && range.contains(got.identity));
                    prop_assert!(held.values().all(|(other, _)| *other != got.identity));
                    held.insert(who, (got.identity, 1));
                }
                (false, Some((identity, 1))) => {
                    prop_assert_eq!(allocator.release(identity), Ok(Some(set)));
                    held.remove(&who);
                }
                (false, Some((identity, count))) => {
                    prop_assert_eq!(allocator.release(identity), Ok(None));
                    held.insert(who, (identity, count - 1));
                }
                (false, None) => prop_assert_eq!(allocator.identity_of(&set), None),
            }
            prop_assert_eq!(allocator.len(), held.len());
        }
    }

    #[test]
    fn a_filter_loses_no_label_and_never_panics(flag in "!?(k8s:)?!?[a-c.*+(]{0,4}", keys in prop::collection::btree_set("[a-c.]{1,4}", 0..6)) {
        if let Ok(filter) = LabelFilter::new(None, [flag]) {
            let all: Labels = keys.iter().map(|key| format!("k8s:{key}").parse::<Label>().unwrap()).collect();
            let divided = filter.filter(&all);
            prop_assert_eq!(divided.identity.merged(&divided.information), all.clone());
            prop_assert_eq!(divided.identity.len() + divided.information.len(), all.len());
        }
    }
}
