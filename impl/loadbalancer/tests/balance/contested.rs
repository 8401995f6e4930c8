// SPDX-License-Identifier: Apache-2.0
//! Frontends that two want.

use crate::world::{HTTP, World, key, ready, service, slice};

fn claimants() -> [String; 3] {
    ["b", "a", "c"].map(|name| service(name, &format!("clusterIP: 10.96.0.10, {HTTP}")))
}

#[test]
fn whoever_comes_first_the_lesser_name_has_it_and_the_other_is_listed() {
    for rotation in 0..3 {
        let mut world = World::node();
        let mut texts = claimants();
        texts.rotate_left(rotation);
        texts.iter().for_each(|text| world.apply(text));
        assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/a:http =\n");
        let refused: Vec<_> = world.balancer.refused().into_iter().collect();
        let told = |name: &str| {
            (format!("10.96.0.10:80/TCP of shop/{name}:http"), "shop/a:http has it already".to_owned())
        };
        assert_eq!(refused, [told("b"), told("c")]);
    }
}

#[test]
fn the_next_has_it_when_the_first_goes() {
    let mut world = World::node();
    claimants().iter().for_each(|text| world.apply(text));
    world.apply(&slice("b", "b", &ready(&["10.0.0.5"])));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/a:http =\n");
    let id = world.row("10.96.0.10:80/TCP").id;
    world.delete_service("shop/a");
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/b:http = 10.0.0.5:8080\n");
    assert_eq!(world.row("10.96.0.10:80/TCP").id, id);
    assert_eq!(world.balancer.refused().len(), 1);
    world.delete_service("shop/b");
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/c:http =\n");
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn services_come_before_pods() {
    let mut world = World::node();
    world.apply(
        "kind: Pod\nmetadata: {name: a}\nstatus: {podIPs: [{ip: 10.0.0.5}]}\n\
         spec: {containers: [{ports: [{containerPort: 80, hostPort: 30080}]}]}\n",
    );
    let spec = "type: NodePort, clusterIP: 10.96.0.10, ports: [{name: http, port: 80, nodePort: 30080}]";
    world.apply(&service("web", spec));
    assert_eq!(
        world.lines("30080"),
        "127.0.0.1:30080/TCP NodePort shop/web:http =\n\
         192.0.2.1:30080/TCP NodePort shop/web:http =\n"
    );
    let refused = world.balancer.refused();
    assert_eq!(refused["192.0.2.1:30080/TCP of pod shop/a"], "shop/web:http has it already");
    world.balancer.set_host_ports(&key("shop/a"), Vec::new());
    world.decide();
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn of_two_ports_at_one_node_port_the_first_has_it() {
    let mut world = World::node();
    let spec = "type: NodePort, clusterIP: 10.96.0.10, \
                ports: [{name: http, port: 80, nodePort: 30080}, {name: alt, port: 81, nodePort: 30080}]";
    world.apply(&service("web", spec));
    world.apply(&slice("a", "web", &ready(&["10.0.0.5"])));
    assert_eq!(world.lines("192"), "192.0.2.1:30080/TCP NodePort shop/web:http = 10.0.0.5:8080\n");
    let refused = world.balancer.refused();
    assert_eq!(refused["service shop/web: 192.0.2.1:30080/TCP"], "shop/web:http has it already");
}

#[test]
fn one_that_moves_away_lets_the_other_in() {
    let mut world = World::node();
    claimants().iter().for_each(|text| world.apply(text));
    world.apply(&service("a", &format!("clusterIP: 10.96.0.20, {HTTP}")));
    assert_eq!(
        world.lines(""),
        "10.96.0.10:80/TCP ClusterIP shop/b:http =\n10.96.0.20:80/TCP ClusterIP shop/a:http =\n"
    );
}

#[test]
fn an_address_that_the_cluster_gave_is_taken_by_nobody_who_writes_it_into_a_service() {
    let give = [
        service("kube-dns", &format!("clusterIP: 10.96.0.10, {HTTP}")),
        service(
            "node",
            "type: NodePort, clusterIP: 10.96.0.11, ports: [{name: http, port: 81, nodePort: 30080}]",
        ),
        service("outside", &format!("type: LoadBalancer, clusterIP: 10.96.0.12, {HTTP}"))
            .replace("status: {}", "status: {loadBalancer: {ingress: [{ip: 198.51.100.9}]}}"),
    ];
    let ports = "ports: [{name: http, port: 80}, {name: node, port: 30080}]";
    let ips = "externalIPs: [10.96.0.10, 192.0.2.1, 198.51.100.9]";
    let take = service("a", &format!("clusterIP: 10.96.0.20, {ips}, {ports}"));
    for first in [true, false] {
        let mut world = World::node();
        give.iter().filter(|_| first).for_each(|text| world.apply(text));
        world.apply(&take);
        give.iter().for_each(|text| world.apply(text));
        let has = |frontend: &str| world.row(&format!("{frontend}/TCP")).owner.clone();
        assert_eq!(has("10.96.0.10:80"), "shop/kube-dns:http");
        assert_eq!(has("192.0.2.1:30080"), "shop/node:http");
        assert_eq!(has("198.51.100.9:80"), "shop/outside:http");
        assert_eq!(has("192.0.2.1:80"), "shop/a:http");
        let refused = world.balancer.refused();
        assert_eq!(refused["10.96.0.10:80/TCP of shop/a:http"], "shop/kube-dns:http has it already");
        assert_eq!(refused.len(), 3, "{refused:?}");
        world.delete_service("shop/kube-dns");
        assert_eq!(world.row("10.96.0.10:80/TCP").owner, "shop/a:http");
    }
}

#[test]
fn a_frontend_that_is_wanted_for_another_reason_now_is_contested_anew() {
    let mut world = World::node();
    world.apply(&service("a", &format!("clusterIP: 10.96.0.10, externalIPs: [198.51.100.9], {HTTP}")));
    world.apply(&service("b", &format!("clusterIP: 10.96.0.11, externalIPs: [198.51.100.9], {HTTP}")));
    assert_eq!(world.row("198.51.100.9:80/TCP").owner, "shop/a:http");
    world.apply(&service("b", &format!("clusterIP: 198.51.100.9, {HTTP}")));
    assert_eq!(world.row("198.51.100.9:80/TCP").owner, "shop/b:http");
    world.apply(&service("b", &format!("clusterIP: 10.96.0.11, externalIPs: [198.51.100.9], {HTTP}")));
    assert_eq!(world.row("198.51.100.9:80/TCP").owner, "shop/a:http");
}
