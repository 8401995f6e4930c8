// SPDX-License-Identifier: Apache-2.0
//! Which backends a service has, and in which slots.

use loadbalancer::BackendState;

use crate::world::{HTTP, World, maglev, ready, service, slice};

fn web() -> String {
    service("web", &format!("clusterIP: 10.96.0.10, {HTTP}"))
}

const NOT_READY: &str = "{addresses: [10.0.0.7], conditions: {ready: false}}";
const ENDS: &str = "{addresses: [10.0.0.8], conditions: {ready: false, serving: true, terminating: true}}";
const ENDED: &str = "{addresses: [10.0.0.9], conditions: {ready: false, serving: false, terminating: true}}";

#[test]
fn only_ready_endpoints_are_given_connections_and_the_others_keep_theirs() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&slice("a", "web", &format!("{}, {NOT_READY}, {ENDS}", ready(&["10.0.0.5"]))));
    assert_eq!(
        world.dump(),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080\n\
         backend 10.0.0.5:8080/TCP\nbackend 10.0.0.7:8080/TCP is not ready\nbackend 10.0.0.8:8080/TCP ends\n"
    );
}

#[test]
fn a_udp_endpoint_that_does_not_serve_is_no_backend_and_one_of_tcp_keeps_its_connections() {
    let ports = "ports: [{name: http, port: 80}, {name: dns, port: 53, protocol: UDP}]";
    let mut world = World::node();
    world.apply(&service("web", &format!("clusterIP: 10.96.0.10, {ports}")));
    let both = |endpoints: &str| {
        slice("a", "web", endpoints).replace("ports: [", "ports: [{name: dns, port: 8053, protocol: UDP}, ")
    };
    world.apply(&both(&ready(&["10.0.0.5", "10.0.0.7", "10.0.0.8", "10.0.0.9"])));
    assert_eq!(world.row("10.96.0.10:53/UDP").slots.len(), 4);
    let id = world.id("10.0.0.8:8053");
    world.apply(&both(&format!("{}, {NOT_READY}, {ENDS}, {ENDED}", ready(&["10.0.0.5"]))));
    let dump = world.dump();
    let backends: Vec<&str> = dump.lines().filter(|line| line.starts_with("backend")).collect();
    assert_eq!(
        backends,
        [
            "backend 10.0.0.5:8053/UDP",
            "backend 10.0.0.5:8080/TCP",
            "backend 10.0.0.7:8080/TCP is not ready",
            "backend 10.0.0.8:8053/UDP ends",
            "backend 10.0.0.8:8080/TCP ends",
            "backend 10.0.0.9:8080/TCP ends",
        ]
    );
    assert_eq!(world.id("10.0.0.8:8053"), id);
}

#[test]
fn of_two_services_that_say_different_things_of_a_backend_the_better_word_counts() {
    let mut world = World::node();
    let mut after = |endpoint: &str, other: &str| {
        for (name, endpoints, ip) in [("web", endpoint, 10), ("two", other, 11)] {
            world.apply(&service(name, &format!("clusterIP: 10.96.0.{ip}, {HTTP}")));
            let endpoints = endpoints.replace("10.0.0.8", "10.0.0.7");
            world.apply(&slice(name, name, &endpoints));
        }
        let id = world.id("10.0.0.7:8080");
        world.backends[&id].state
    };
    assert_eq!(after(NOT_READY, NOT_READY), BackendState::NotReady);
    assert_eq!(after(NOT_READY, ENDS), BackendState::Terminating);
    assert_eq!(after(&ready(&["10.0.0.7"]), ENDS), BackendState::Active);
    assert_eq!(after(NOT_READY, NOT_READY), BackendState::NotReady);
}

#[test]
fn without_a_ready_endpoint_those_that_end_and_serve_are_given_connections() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&slice("a", "web", &format!("{NOT_READY}, {ENDS}, {ENDED}")));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.8:8080\n");
    let id = world.id("10.0.0.8:8080");
    assert_eq!(world.backends[&id].state, BackendState::Terminating);
}

#[test]
fn of_a_service_that_publishes_them_all_endpoints_are_given_connections() {
    let mut world = World::node();
    world.apply(&service("web", &format!("clusterIP: 10.96.0.10, publishNotReadyAddresses: true, {HTTP}")));
    world.apply(&slice("a", "web", &format!("{NOT_READY}, {ENDED}")));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.7:8080 10.0.0.9:8080\n");
}

#[test]
fn a_backend_that_ends_keeps_its_id_and_its_row_until_no_slice_names_it() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&slice("a", "web", &ready(&["10.0.0.5", "10.0.0.8"])));
    let id = world.id("10.0.0.8:8080");
    world.apply(&slice("a", "web", &format!("{}, {ENDS}", ready(&["10.0.0.5"]))));
    assert_eq!((world.id("10.0.0.8:8080"), world.backends[&id].state), (id, BackendState::Terminating));
    assert!(!world.row("10.96.0.10:80/TCP").slots.contains(&id));
    world.apply(&slice("a", "web", &ready(&["10.0.0.5"])));
    assert!(!world.backends.contains_key(&id));
}

#[test]
fn slices_come_before_their_service_or_after_it_and_an_endpoint_in_two_of_them_is_one() {
    let mut world = World::node();
    world.apply(&slice("a", "web", &ready(&["10.0.0.5", "10.0.0.6"])));
    assert_eq!(world.dump(), "");
    world.apply(&web());
    world.apply(&slice("b", "web", &ready(&["10.0.0.6", "10.0.0.7"])));
    let all = "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080 10.0.0.6:8080 10.0.0.7:8080\n";
    assert_eq!(world.lines(""), all);
    assert_eq!(world.row("10.96.0.10:80/TCP").slots.len(), 3);
    let id = world.id("10.0.0.6:8080");
    world.delete_slice("shop/a");
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.6:8080 10.0.0.7:8080\n");
    assert_eq!(world.id("10.0.0.6:8080"), id);
    // A slice that is another service's now.
    world.apply(&slice("b", "other", &ready(&["10.0.0.6"])));
    assert_eq!(world.dump(), "10.96.0.10:80/TCP ClusterIP shop/web:http = \n");
}

#[test]
fn an_endpoint_that_is_ready_in_one_slice_is_ready() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&slice("a", "web", &ready(&["10.0.0.8"])));
    world.apply(&slice("b", "web", ENDS));
    assert_eq!(
        world.dump(),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.8:8080\nbackend 10.0.0.8:8080/TCP\n"
    );
}

#[test]
fn an_endpoint_that_does_not_end_in_one_slice_does_not_end() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&slice("a", "web", ENDS));
    assert_eq!(world.row("10.96.0.10:80/TCP").slots.len(), 1);
    let serves = ENDS.replace("terminating: true", "terminating: false");
    world.apply(&slice("b", "web", &serves));
    assert!(world.row("10.96.0.10:80/TCP").slots.is_empty());
}

#[test]
fn endpoints_objects_count_where_there_is_no_slice() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(
        "apiVersion: v1\nkind: Endpoints\nmetadata: {namespace: shop, name: web}\nsubsets:\n\
         - {addresses: [{ip: 10.0.0.5}], notReadyAddresses: [{ip: 10.0.0.6}], ports: [{name: http, port: 8080}]}\n\
         - {addresses: [{ip: 10.0.0.7}], ports: [{name: http, port: 9090}]}\n",
    );
    assert_eq!(
        world.dump(),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080 10.0.0.7:9090\n\
         backend 10.0.0.5:8080/TCP\nbackend 10.0.0.6:8080/TCP is not ready\nbackend 10.0.0.7:9090/TCP\n"
    );
    world.apply(&slice("web-abc", "web", &ready(&["10.0.0.9"])));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.9:8080\n");
    world.delete_slice("shop/web-abc");
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080 10.0.0.7:9090\n");
}

#[test]
fn two_services_share_a_backend_until_the_last_lets_it_go() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&service("two", &format!("clusterIP: 10.96.0.11, {HTTP}")));
    world.apply(&slice("a", "web", &ready(&["10.0.0.5"])));
    world.apply(&slice("b", "two", &ready(&["10.0.0.5"])));
    let id = world.id("10.0.0.5:8080");
    assert_eq!(world.row("10.96.0.11:80/TCP").slots, [id]);
    world.delete_service("shop/web");
    assert_eq!(world.id("10.0.0.5:8080"), id);
    world.delete_service("shop/two");
    assert!(world.backends.is_empty());
}

#[test]
fn a_change_of_one_endpoint_changes_few_slots() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&slice("a", "web", &ready(&["10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.0.4"])));
    let slots = world.row("10.96.0.10:80/TCP").slots.clone();
    world.apply(&slice("a", "web", &ready(&["10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5"])));
    let new = world.id("10.0.0.5:8080");
    assert_eq!(world.row("10.96.0.10:80/TCP").slots, [slots[3], slots[1], slots[2], new]);
}

#[test]
fn a_change_of_one_service_is_told_alone() {
    let mut world = World::node();
    for n in 1..=50 {
        world.apply(&service(&format!("s{n}"), &format!("clusterIP: 10.96.0.{n}, {HTTP}")));
        world.apply(&slice(&format!("s{n}"), &format!("s{n}"), &ready(&[&format!("10.9.0.{n}")])));
    }
    world.take(&slice("s7", "s7", &ready(&["10.9.0.7", "10.9.1.7"])));
    let changes = world.decide();
    assert_eq!((changes.frontends.len(), changes.backends.len()), (1, 1));
    world.take(&slice("s7", "s7", &ready(&["10.9.0.7"])));
    world.take(&slice("s7", "s7", &ready(&["10.9.0.7", "10.9.1.7"])));
    assert!(world.decide().is_empty());
}

#[test]
fn nodes_that_gave_other_ids_have_the_same_maglev_table() {
    let mut tables = Vec::new();
    for order in [["10.0.0.5", "10.0.0.6", "10.0.0.7"], ["10.0.0.7", "10.0.0.5", "10.0.0.6"]] {
        let mut world = World::new(maglev());
        world.apply(&web());
        for end in 1..=3 {
            world.apply(&slice("a", "web", &ready(&order[..end])));
        }
        let row = world.row("10.96.0.10:80/TCP");
        assert_eq!(row.slots.len(), 251);
        let addresses = row.slots.iter().map(|id| world.backends[id].address);
        tables.push((row.slots.clone(), addresses.collect::<Vec<_>>()));
    }
    assert_ne!(tables[0].0, tables[1].0);
    assert_eq!(tables[0].1, tables[1].1);
}

#[test]
fn an_empty_maglev_table_has_no_slot() {
    let mut world = World::new(maglev());
    world.apply(&web());
    assert!(world.row("10.96.0.10:80/TCP").slots.is_empty());
}
