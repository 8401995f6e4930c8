// SPDX-License-Identifier: Apache-2.0
//! Labels of endpoints, and the identities that follow from them.

use std::collections::BTreeMap;

use controlplane::{
    Answer, EndpointPatch, EndpointRef, EndpointRequest, Event, LabelChange, Namespace, Notice, Objects, Pod,
    Refusal,
};
use identity::{LabelFilter, NumericIdentity};

use crate::world::{World, config, labels, request};

fn pod(name: &str, own: &[(&str, &str)]) -> Pod {
    Pod {
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        labels: map(own),
        service_account: Some("seller".to_owned()),
        named_ports: Vec::new(),
        host_ports: Vec::new(),
    }
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn of_pod(n: u8, name: &str) -> EndpointRequest {
    EndpointRequest { k8s_namespace: "shop".to_owned(), k8s_pod_name: name.to_owned(), ..request(n, &[]) }
}

fn source(world: &mut World, file: &str, pods: Vec<Pod>, namespaces: Vec<Namespace>) {
    let objects = Objects { pods, namespaces, ..Objects::default() };
    world.send(Event::Source { file: file.to_owned(), objects });
}

fn identity_of(world: &World, id: u16) -> Vec<String> {
    world.plane.endpoint(&EndpointRef::Local(id)).unwrap().identity_labels.printable()
}

const SHOP: [&str; 3] = [
    "k8s:io.cilium.k8s.namespace.labels.kubernetes.io/metadata.name=shop",
    "k8s:io.cilium.k8s.policy.cluster=default",
    "k8s:io.kubernetes.pod.namespace=shop",
];

fn with_shop(own: &[&str]) -> Vec<String> {
    let mut all: Vec<String> = own.iter().chain(&SHOP).map(|text| (*text).to_owned()).collect();
    all.sort();
    all
}

#[test]
fn a_pod_is_init_until_its_object_is_there_and_keeps_its_labels_when_it_goes() {
    let mut world = World::started();
    let id = world.create(of_pod(5, "web"));
    assert_eq!(identity_of(&world, id), ["reserved:init"]);
    assert_eq!(world.target.endpoints[&id].identity, 5);
    source(&mut world, "pods.yaml", vec![pod("web", &[("app", "web"), ("pod-template-hash", "x")])], vec![]);
    let expected = with_shop(&["k8s:app=web", "k8s:io.cilium.k8s.policy.serviceaccount=seller"]);
    assert_eq!(identity_of(&world, id), expected);
    assert_eq!(world.target.ipcache[&"10.0.0.5/32".parse().unwrap()].identity, 256);
    let view = world.plane.endpoint(&EndpointRef::Local(id)).unwrap();
    assert_eq!(view.labels.information.printable(), ["k8s:pod-template-hash=x"]);
    source(&mut world, "pods.yaml", vec![], vec![]);
    assert_eq!(identity_of(&world, id), expected);
}

#[test]
fn labels_of_the_namespace_are_labels_of_its_pods() {
    let mut world = World::started();
    let id = world.create(of_pod(5, "web"));
    source(&mut world, "pods.yaml", vec![pod("web", &[])], vec![]);
    let team = |value| Namespace { name: "shop".to_owned(), labels: map(&[("team", value)]) };
    source(&mut world, "shop.yaml", vec![], vec![team("red")]);
    let expected = |value: &str| {
        with_shop(&[
            &format!("k8s:io.cilium.k8s.namespace.labels.team={value}"),
            "k8s:io.cilium.k8s.policy.serviceaccount=seller",
        ])
    };
    assert_eq!(identity_of(&world, id), expected("red"));
    source(&mut world, "shop.yaml", vec![], vec![team("blue")]);
    assert_eq!(identity_of(&world, id), expected("blue"));
    source(&mut world, "shop.yaml", vec![], vec![]);
    assert_eq!(identity_of(&world, id), with_shop(&["k8s:io.cilium.k8s.policy.serviceaccount=seller"]));
}

#[test]
fn a_pod_cannot_give_itself_the_labels_of_another_place() {
    let mut world = World::started();
    let forged = [
        ("io.kubernetes.pod.namespace", "kube-system"),
        ("io.cilium.k8s.policy.cluster", "other"),
        ("io.cilium.k8s.policy.serviceaccount", "admin"),
        ("io.cilium.k8s.namespace.labels.team", "red"),
        ("app", "web"),
    ];
    let pod = Pod { service_account: None, ..pod("web", &forged) };
    source(&mut world, "pods.yaml", vec![pod], vec![]);
    let id = world.create(of_pod(5, "web"));
    assert_eq!(identity_of(&world, id), with_shop(&["k8s:app=web"]));
}

#[test]
fn labels_of_the_request_are_joined_by_those_of_the_place() {
    let mut world = World::started();
    let with = EndpointRequest { labels: labels(&["k8s:app=web"]), ..of_pod(5, "web") };
    let id = world.create(with);
    assert_eq!(identity_of(&world, id), with_shop(&["k8s:app=web"]));
    let alone = world.create(request(6, &["container:app=web", "k8s:io.kubernetes.x=y"]));
    assert_eq!(identity_of(&world, alone), ["container:app=web"]);
    let nothing_left = world.create(request(7, &["k8s:io.kubernetes.x=y"]));
    assert_eq!(identity_of(&world, nothing_left), ["reserved:init"]);
}

#[test]
fn of_two_files_with_one_pod_the_first_by_name_counts() {
    for order in [["a.yaml", "b.yaml"], ["b.yaml", "a.yaml"]] {
        let mut world = World::started();
        let id = world.create(of_pod(5, "web"));
        for file in order {
            source(&mut world, file, vec![pod("web", &[("from", file)])], vec![]);
        }
        let own = |file: &str| {
            with_shop(&[&format!("k8s:from={file}"), "k8s:io.cilium.k8s.policy.serviceaccount=seller"])
        };
        assert_eq!(identity_of(&world, id), own("a.yaml"));
        let twice = Notice::Twice {
            object: "pod shop/web".to_owned(),
            counts: "a.yaml".to_owned(),
            file: order[1].to_owned(),
        };
        assert!(world.notices.contains(&twice), "{:?}", world.notices);
        source(&mut world, "a.yaml", vec![], vec![]);
        assert_eq!(identity_of(&world, id), own("b.yaml"));
    }
}

#[test]
fn equal_labels_share_a_number_that_is_free_again_after_the_last() {
    let mut world = World::started();
    let ids: Vec<u16> = (5..8).map(|n| world.create(request(n, &["k8s:a"]))).collect();
    let known = |world: &World| world.plane.identity(NumericIdentity::new(256)).map(|view| view.references);
    assert_eq!(known(&world), Some(3));
    for id in &ids[..2] {
        world.done(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(*id) }).unwrap();
    }
    assert_eq!(known(&world), Some(1));
    let endpoint = EndpointRef::Local(ids[2]);
    let patch = EndpointPatch { labels: Some(labels(&["k8s:b"])), ..EndpointPatch::default() };
    world.done(|ticket| Event::EndpointPatch { ticket, endpoint, patch }).unwrap();
    assert_eq!(known(&world), None);
    assert_eq!(world.target.endpoints[&ids[2]].identity, 257);
    let id = world.create(request(8, &["k8s:a"]));
    assert_eq!(world.target.endpoints[&id].identity, 258);
}

#[test]
fn a_user_adds_and_takes_away_labels() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:app=web", "k8s:zone=a"]));
    let change = |world: &mut World, add: &[&str], delete: &[&str]| {
        let change = LabelChange::Patch { add: labels(add), delete: labels(delete) };
        world.done(|ticket| Event::EndpointLabels { ticket, endpoint: EndpointRef::Local(id), change })
    };
    assert_eq!(change(&mut world, &["mine=1"], &["k8s:zone"]), Ok(Answer::Done));
    assert_eq!(identity_of(&world, id), ["k8s:app=web", "unspec:mine=1"]);
    let view = world.plane.endpoint(&EndpointRef::Local(id)).unwrap().labels;
    assert_eq!(view.user.printable(), ["unspec:mine=1"]);
    assert_eq!(view.disabled.printable(), ["k8s:zone=a"]);
    let refusal = change(&mut world, &["mine=2"], &["k8s:zone"]).unwrap_err();
    assert!(refusal.to_string().contains("k8s:zone cannot be deleted"), "{refusal}");
    assert_eq!(identity_of(&world, id), ["k8s:app=web", "unspec:mine=1"], "a refused change changes nothing");
    assert_eq!(change(&mut world, &["zone=a"], &["mine"]), Ok(Answer::Done));
    assert_eq!(identity_of(&world, id), ["k8s:app=web", "k8s:zone=a"]);
    assert!(matches!(change(&mut world, &["reserved:host"], &[]), Err(Refusal::Field { .. })));
    assert_eq!(change(&mut world, &["app=other"], &[]), Ok(Answer::Done));
    assert_eq!(identity_of(&world, id), ["k8s:zone=a", "unspec:app=other"]);
    assert_eq!(change(&mut world, &[], &["app"]), Ok(Answer::Done));
    assert_eq!(identity_of(&world, id), ["k8s:app=web", "k8s:zone=a"]);
    assert_eq!(change(&mut world, &[], &["app", "zone"]), Ok(Answer::Done));
    assert_eq!(identity_of(&world, id), ["reserved:init"]);
    let all = |ticket| Event::EndpointLabels {
        ticket,
        endpoint: EndpointRef::Local(id),
        change: LabelChange::User(labels(&["x", "y"])),
    };
    assert_eq!(world.done(all), Ok(Answer::Done));
    assert_eq!(identity_of(&world, id), ["unspec:x", "unspec:y"]);
}

#[test]
fn a_pod_that_asks_for_a_fixed_identity_has_it_and_its_labels() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:app=etcd", "k8s:io.cilium.fixed-identity=kvstore"]));
    assert_eq!(world.target.endpoints[&id].identity, 128);
    assert_eq!(identity_of(&world, id), ["reserved:kvstore"]);
    assert_eq!(world.plane.identity(NumericIdentity::new(128)).unwrap().references, 1);
    world.done(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(id) }).unwrap();
    assert_eq!(world.plane.identity(NumericIdentity::new(128)), None);
}

#[test]
fn the_label_filter_decides_what_makes_an_identity() {
    let mut config = config(&[]);
    config.label_filter = LabelFilter::new(None, ["k8s:app"]).unwrap();
    let mut world = World::new(config);
    world.send(Event::Tick);
    let id = world.create(request(5, &["k8s:app=a", "k8s:other=1"]));
    assert_eq!(identity_of(&world, id), ["k8s:app=a"]);
    let second = world.create(request(6, &["k8s:app=a", "k8s:other=2"]));
    assert_eq!(world.target.endpoints[&id].identity, world.target.endpoints[&second].identity);
}
