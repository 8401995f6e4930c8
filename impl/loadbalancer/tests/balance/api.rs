// SPDX-License-Identifier: Apache-2.0
//! Services of the API.

use addr::{Port, Protocol};
use loadbalancer::{ApiError, ApiService, Config, Restored};

use crate::world::{HTTP, World, config, service};

fn api(id: u16, address: &str, backends: &[&str]) -> ApiService {
    ApiService {
        id,
        address: address.parse().unwrap(),
        port: Port::new(80).unwrap(),
        protocol: Protocol::Tcp,
        backends: backends.iter().map(|one| (one.parse().unwrap(), Port::new(8080).unwrap())).collect(),
    }
}

fn fault(error: ApiError) -> String {
    error.to_string()
}

#[test]
fn a_service_has_the_id_that_its_user_says() {
    let mut world = World::node();
    assert_eq!(
        world.balancer.put_api(api(77, "203.0.113.1", &["10.0.0.5", "10.0.0.6", "10.0.0.5"])),
        Ok(true)
    );
    world.decide();
    assert_eq!(world.row("203.0.113.1:80/TCP").id, 77);
    assert_eq!(world.lines(""), "203.0.113.1:80/TCP API api = 10.0.0.5:8080 10.0.0.6:8080\n");
    assert_eq!(world.balancer.put_api(api(77, "203.0.113.1", &["10.0.0.6"])), Ok(false));
    world.decide();
    assert_eq!(world.lines(""), "203.0.113.1:80/TCP API api = 10.0.0.6:8080\n");
    assert_eq!(world.balancer.api(), [api(77, "203.0.113.1", &["10.0.0.6"])]);
    assert_eq!(world.balancer.delete_api(77), Some(api(77, "203.0.113.1", &["10.0.0.6"])));
    assert_eq!(world.balancer.delete_api(77), None);
    let freed = world.balancer.changes().freed;
    assert_eq!(freed.iter().map(|(_, id)| *id).collect::<Vec<_>>(), [77]);
    let early = world.balancer.put_api(api(77, "203.0.113.2", &[])).unwrap_err();
    assert_eq!(fault(early), "id: 77 is still being given back: try again");
    world.balancer.release([77]);
    world = World { balancer: world.balancer, ..World::node() };
    world.decide();
    assert_eq!(world.dump(), "");
    assert_eq!(world.balancer.put_api(api(77, "203.0.113.2", &[])), Ok(true));
    world.decide();
    assert_eq!(world.row("203.0.113.2:80/TCP").id, 77);
}

#[test]
fn what_another_has_is_refused_with_its_name() {
    let mut world = World::node();
    world.apply(&service("web", &format!("clusterIP: 10.96.0.10, {HTTP}")));
    let id = world.row("10.96.0.10:80/TCP").id;
    let mut put = |service| fault(world.balancer.put_api(service).unwrap_err());
    assert_eq!(
        put(api(9, "10.96.0.10", &[])),
        "frontend-address: 10.96.0.10:80/TCP belongs to shop/web:http already"
    );
    assert_eq!(
        put(api(id, "203.0.113.1", &[])),
        "id: 1 is 10.96.0.10:80/TCP of shop/web:http already: take another, or delete that first"
    );
    world.balancer.put_api(api(9, "203.0.113.1", &[])).unwrap();
    let mut put = |service| fault(world.balancer.put_api(service).unwrap_err());
    assert_eq!(
        put(api(8, "203.0.113.1", &[])),
        "frontend-address: 203.0.113.1:80/TCP belongs to service 9 of the API already"
    );
    assert_eq!(
        put(api(9, "203.0.113.2", &[])),
        "id: 9 is 203.0.113.1:80/TCP of service 9 of the API already: take another, or delete that first"
    );
    world.decide();
    assert_eq!(world.frontends.len(), 2);
}

#[test]
fn it_comes_before_a_service_of_kubernetes_that_comes_later() {
    let mut world = World::node();
    world.balancer.put_api(api(9, "10.96.0.10", &["10.0.0.5"])).unwrap();
    world.apply(&service("web", &format!("clusterIP: 10.96.0.10, {HTTP}")));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP API api = 10.0.0.5:8080\n");
    assert_eq!(
        world.balancer.refused()["10.96.0.10:80/TCP of shop/web:http"],
        "service 9 of the API has it already"
    );
    world.balancer.delete_api(9);
    world.decide();
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http =\n");
    assert_ne!(world.row("10.96.0.10:80/TCP").id, 9);
    assert_eq!(world.balancer.put_api(api(9, "203.0.113.9", &[])), Ok(true));
    world.decide();
}

#[test]
fn bad_fields_are_named() {
    let mut world = World::node();
    let mut put = |change: &dyn Fn(&mut ApiService)| {
        let mut service = api(9, "203.0.113.1", &["10.0.0.5"]);
        change(&mut service);
        fault(world.balancer.put_api(service).unwrap_err())
    };
    assert_eq!(put(&|one| one.id = 0), "id: must be from 1 to 65534");
    assert_eq!(put(&|one| one.id = 65_535), "id: must be from 1 to 65534");
    assert_eq!(
        put(&|one| one.protocol = Protocol::Icmp),
        "frontend-address.protocol: ICMP is none of TCP, UDP, SCTP"
    );
    assert_eq!(
        put(&|one| one.address = "127.0.0.1".parse().unwrap()),
        "frontend-address.ip: 127.0.0.1 is a loopback address"
    );
    assert_eq!(
        put(&|one| one.address = "::ffff:10.0.0.1".parse().unwrap()),
        "frontend-address.ip: ::ffff:10.0.0.1 is an IPv4 address written as IPv6: write it as IPv4"
    );
    assert_eq!(
        put(&|one| one.backends[0].0 = "fd00::5".parse().unwrap()),
        "backend-addresses: fd00::5 is of another family than the frontend's 203.0.113.1"
    );
    assert_eq!(
        put(&|one| one.backends[0].0 = "0.0.0.0".parse().unwrap()),
        "backend-addresses: 0.0.0.0 is no address of anybody"
    );
    world.decide();
    assert!(world.frontends.is_empty());
}

#[test]
fn what_has_no_room_is_refused_and_changes_nothing() {
    let mut world = World::new(Config { frontends_max: 1, backends_max: 2, ..config() });
    world.balancer.put_api(api(1, "203.0.113.1", &["10.0.0.5"])).unwrap();
    let full = world.balancer.put_api(api(2, "203.0.113.2", &[])).unwrap_err();
    assert_eq!(fault(full), "all 1 frontends are in use: raise --bpf-lb-map-max");
    world.decide();
    let full =
        world.balancer.put_api(api(1, "203.0.113.1", &["10.0.0.5", "10.0.0.6", "10.0.0.7"])).unwrap_err();
    assert_eq!(
        fault(full),
        "2 of its backends are new, and there is room for 1 of at most 2: raise --bpf-lb-backend-map-max"
    );
    world.decide();
    assert_eq!(world.lines(""), "203.0.113.1:80/TCP API api = 10.0.0.5:8080\n");
}

#[test]
fn at_the_start_its_id_is_its_own_whatever_the_tables_say() {
    let mut world = World::node();
    world.apply(&service("web", &format!("clusterIP: 10.96.0.10, {HTTP}")));
    let frontends = world.frontends.iter().map(|(frontend, row)| (*frontend, row.id)).collect();
    let mut again = World::new(config());
    again.balancer.restore(Restored { frontends, ..Restored::default() });
    again.take(&service("web", &format!("clusterIP: 10.96.0.10, {HTTP}")));
    again.balancer.put_api(api(1, "203.0.113.1", &[])).unwrap();
    again.balancer.put_api(api(2, "10.96.0.10", &[])).unwrap();
    let twice = again.balancer.put_api(api(3, "10.96.0.10", &[])).unwrap_err();
    assert_eq!(fault(twice), "frontend-address: 10.96.0.10:80/TCP belongs to service 2 of the API already");
    again.decide();
    assert_eq!((again.row("203.0.113.1:80/TCP").id, again.row("10.96.0.10:80/TCP").id), (1, 2));
}
