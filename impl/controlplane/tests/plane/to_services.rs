// SPDX-License-Identifier: Apache-2.0
//! Rules with `toServices`: policy maps and ipcache follow the services that they name.

use std::collections::BTreeMap;

use controlplane::{Config, EndpointRef, Event, Objects};
use identity::LabelArray;
use ipnet::IpNet;
use loadbalancer::kubernetes;
use policy::{Direction, PolicyKey};
use serde_json::{Value, json};

use crate::world::{World, config, request, rules};

const TO_DB: &str = r#"{"endpointSelector": {"matchLabels": {"a": ""}}, "labels": ["to-db"],
    "egress": [{"toServices": [{"k8sService": {"serviceName": "db", "namespace": "shop"}}]}]}"#;

fn service(world: &mut World, spec: Value) {
    let object = json!({"metadata": {"namespace": "shop", "name": "db"}, "spec": spec});
    let services = vec![kubernetes::service(&object).unwrap()];
    world.send(Event::Source {
        file: "db.yaml".to_owned(),
        objects: Objects { services, ..Objects::default() },
    });
}

fn slice(world: &mut World, of: &str, addresses: &[&str]) {
    let endpoints: Vec<Value> = addresses.iter().map(|one| json!({"addresses": [one]})).collect();
    let labels = json!({"kubernetes.io/service-name": of});
    let object = json!({"metadata": {"namespace": "shop", "name": "db-1", "labels": labels},
        "addressType": "IPv4", "ports": [{"port": 5432}], "endpoints": endpoints});
    let slices = vec![kubernetes::endpoint_slice(&object).unwrap()];
    world.send(Event::Source {
        file: "slice.yaml".to_owned(),
        objects: Objects { slices, ..Objects::default() },
    });
}

fn gone(world: &mut World, file: &str) {
    world.send(Event::Source { file: file.to_owned(), objects: Objects::default() });
}

/// The addresses that the endpoint may reach, as packets find them: by what the ipcache says of each.
fn reaches(world: &World, id: u16) -> Vec<String> {
    let rows = world.target.ipcache.iter();
    let allowed = rows.filter(|(_, row)| {
        world.target.policy[&id].contains_key(&PolicyKey::identity(row.identity, Direction::Egress))
    });
    allowed.map(|(prefix, _)| prefix.to_string()).collect()
}

fn numbers(world: &World) -> &BTreeMap<IpNet, u32> {
    &world.target.node.cidr_identities
}

#[test]
fn a_rule_follows_its_service_from_its_coming_to_its_end() {
    let mut world = World::started();
    let a = world.create(request(5, &["k8s:a"]));
    world.file("p.yaml", rules(TO_DB));
    let nothing = ["rule 1: service shop/db has no address; only services without a selector count"];
    assert_eq!(
        (reaches(&world, a), world.plane.status().unresolved_services),
        (vec![], nothing.map(Into::into).into())
    );
    service(&mut world, json!({"clusterIP": "10.96.0.10", "ports": [{"port": 5432}]}));
    slice(&mut world, "db", &["192.0.2.1", "192.0.2.2"]);
    assert_eq!(reaches(&world, a), ["192.0.2.1/32", "192.0.2.2/32"]);
    assert!(world.plane.status().unresolved_services.is_empty());
    let kept = numbers(&world)[&"192.0.2.2/32".parse().unwrap()];
    // One endpoint moves: one revision, that tells nothing of the other.
    world.realize();
    let told = world.told.len();
    slice(&mut world, "db", &["192.0.2.2", "192.0.2.3"]);
    assert_eq!(reaches(&world, a), ["192.0.2.2/32", "192.0.2.3/32"]);
    let deltas = &world.told[told..];
    assert_eq!(deltas.len(), 1);
    let (policy, ipcache) = (&deltas[0].policy, &deltas[0].ipcache);
    assert_eq!((policy.len(), policy[0].upserts.len(), policy[0].removals.len()), (1, 1, 1));
    assert_eq!((ipcache.upserts.len(), ipcache.removals.len()), (1, 1));
    assert_eq!(numbers(&world)[&"192.0.2.2/32".parse().unwrap()], kept);
    assert_eq!(numbers(&world).len(), 2);
    // It gets a selector, loses it, its slice becomes another's, and comes back.
    let reached = ["192.0.2.2/32", "192.0.2.3/32"];
    service(&mut world, json!({"clusterIP": "10.96.0.10", "selector": {"app": "db"}}));
    assert_eq!((reaches(&world, a), numbers(&world).len()), (vec![], 0));
    service(&mut world, json!({"clusterIP": "None"}));
    assert_eq!(reaches(&world, a), reached);
    slice(&mut world, "other", &["192.0.2.2", "192.0.2.3"]);
    assert_eq!((reaches(&world, a), numbers(&world).len()), (vec![], 0));
    slice(&mut world, "db", &["192.0.2.2", "192.0.2.3"]);
    assert_eq!(reaches(&world, a), reached);
    gone(&mut world, "db.yaml");
    assert_eq!((reaches(&world, a), numbers(&world).len()), (vec![], 0));
    service(&mut world, json!({}));
    assert_eq!(reaches(&world, a), reached);
    gone(&mut world, "slice.yaml");
    assert_eq!((reaches(&world, a), numbers(&world).len()), (vec![], 0));
    // Only identities of rules and pods were counted for.
    assert!(world.plane.identities().iter().all(|view| !view.identity.is_local()));
}

/// A rule speaks of an address as of a prefix: whoever else has it is known by labels.
#[test]
fn an_address_that_a_pod_takes_is_the_pods_and_reached_no_more() {
    let mut world = World::started();
    let a = world.create(request(5, &["k8s:a"]));
    world.file("p.yaml", rules(TO_DB));
    service(&mut world, json!({}));
    slice(&mut world, "db", &["10.0.0.6", "10.0.0.1"]);
    // The second is the node's.
    assert_eq!(reaches(&world, a), ["10.0.0.6/32"]);
    let b = world.create(request(6, &["k8s:b"]));
    assert_eq!(reaches(&world, a), [""; 0]);
    world.done(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(b) }).unwrap();
    assert_eq!(reaches(&world, a), ["10.0.0.6/32"]);
}

#[test]
fn without_load_balancing_for_kubernetes_rules_know_its_services() {
    let services = loadbalancer::Config { kubernetes: false, ..loadbalancer::Config::default() };
    let mut world = World::new(Config { services, ..config(&[]) });
    world.send(Event::Tick);
    world.realize();
    let a = world.create(request(5, &["k8s:a"]));
    world.file("p.yaml", rules(TO_DB));
    service(&mut world, json!({"clusterIP": "10.96.0.10", "ports": [{"port": 5432}]}));
    slice(&mut world, "db", &["192.0.2.1"]);
    assert_eq!((reaches(&world, a), world.target.services.len()), (vec!["192.0.2.1/32".to_owned()], 0));
}

#[test]
fn a_rule_of_the_api_is_shown_and_kept_as_it_was_given() {
    let mut world = World::started();
    service(&mut world, json!({}));
    slice(&mut world, "db", &["192.0.2.1"]);
    world.done(|ticket| Event::PolicyAdd { ticket, rules: rules(TO_DB), replace: false }).unwrap();
    let expected = json!([{"k8sService": {"serviceName": "db", "namespace": "shop"}}]);
    let (_, shown) = world.plane.policy(&LabelArray::default());
    for rule in shown.iter().map(|(_, rule)| rule).chain(&world.target.node.rules) {
        let written = serde_json::to_value(rule).unwrap();
        assert_eq!(written["egress"], json!([{"toServices": expected}]));
    }
    assert_eq!(world.target.node.rules.len(), 1);
}
