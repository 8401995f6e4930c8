// SPDX-License-Identifier: Apache-2.0
//! Ids outlive their agent.

use std::collections::BTreeMap;

use loadbalancer::{BackendAddress, Config, Frontend, Restored, Scope};

use crate::world::{HTTP, World, config, maglev, ready, service, slice};

fn restored(world: &World) -> Restored {
    Restored {
        frontends: world.frontends.iter().map(|(frontend, row)| (*frontend, row.id)).collect(),
        without_slots: world
            .frontends
            .iter()
            .filter(|(_, row)| row.slots.is_empty())
            .map(|(frontend, _)| *frontend)
            .collect(),
        backends: world.backends.iter().map(|(id, row)| (row.address, *id)).collect(),
    }
}

fn objects(n: u8) -> String {
    let spec = "externalTrafficPolicy: Local, externalIPs: [198.51.100.1]";
    format!(
        "{}---\n{}",
        service(
            &format!("s{n}"),
            &format!("clusterIP: 10.96.0.{n}, {}, {HTTP}", if n == 1 { spec } else { "" })
        )
        .replace(", ,", ","),
        slice(&format!("s{n}"), &format!("s{n}"), &ready(&[&format!("10.0.0.{n}"), &format!("10.9.0.{n}")]))
    )
}

#[test]
fn after_a_restart_everything_has_the_id_that_it_had() {
    let mut world = World::node();
    (1..=5).rev().for_each(|n| world.apply(&objects(n)));
    world.delete_service("shop/s4");
    let mut again = World::new(config());
    assert!(again.balancer.restore(restored(&world)));
    let node: Vec<std::net::IpAddr> = vec!["192.0.2.1".parse().unwrap()];
    again.balancer.set_node_addresses(&node);
    [1, 2, 3, 5].map(objects).iter().for_each(|text| again.take(text));
    again.decide();
    let ids =
        |world: &World| world.frontends.iter().map(|(one, row)| (*one, row.id)).collect::<BTreeMap<_, _>>();
    assert_eq!(ids(&again), ids(&world));
    assert_eq!(again.backends, world.backends);
    assert_eq!(again.dump(), world.dump());
}

#[test]
fn ids_that_nobody_claims_are_given_again_as_late_as_possible() {
    let mut world = World::node();
    (1..=3).for_each(|n| world.apply(&objects(n)));
    let before = restored(&world);
    let last = *before.frontends.values().max().unwrap();
    let mut again = World::new(config());
    again.balancer.restore(before);
    again.apply(&objects(9));
    assert_eq!(again.row("10.96.0.9:80/TCP").id, last + 1);
    assert!(!again.balancer.restore(Restored::default()), "too late");
    again.apply(&objects(1));
    assert_eq!(again.row("10.96.0.1:80/TCP").id, last + 2);
    assert!(
        again.id("10.0.0.1:8080") > world.id("10.0.0.3:8080"),
        "after the first decision it is another's id"
    );
}

#[test]
fn tables_that_make_no_sense_do_not_harm() {
    let frontend = |n: u8| Frontend {
        address: [10, 96, 0, n].into(),
        port: addr::Port::new(80).unwrap(),
        protocol: addr::Protocol::Tcp,
        scope: Scope::External,
    };
    let backend = |n: u8| BackendAddress {
        address: [10, 0, 0, n].into(),
        port: addr::Port::new(8080).unwrap(),
        protocol: addr::Protocol::Tcp,
    };
    let mut world = World::new(config());
    world.balancer.restore(Restored {
        frontends: [
            (frontend(1), 7),
            (frontend(2), 7),
            (frontend(3), 0),
            (frontend(4), 65_534),
            (frontend(5), 65_535),
        ]
        .into(),
        without_slots: [frontend(9)].into(),
        backends: [(backend(1), 5), (backend(2), 5), (backend(3), 0), (backend(4), u32::MAX)].into(),
    });
    (1..=5).for_each(|n| world.take(&objects(n)));
    world.decide();
    assert_eq!(world.row("10.96.0.1:80/TCP").id, 7);
    assert_eq!(world.row("10.96.0.4:80/TCP").id, 65_534);
    // The programs have the last number for something else.
    assert_ne!(world.row("10.96.0.5:80/TCP").id, 65_535);
    assert_eq!((world.id("10.0.0.1:8080"), world.id("10.0.0.4:8080")), (5, u32::MAX));
}

/// What works before a restart works after it, whose names sort first or not; the others are refused as before.
fn keeps_what_works(config: &Config, order: [u8; 4]) {
    let mut world = World::new(config.clone());
    order.iter().for_each(|n| world.apply(&objects(*n)));
    assert!(!world.balancer.refused().is_empty(), "there is room for all");
    let mut again = World::new(config.clone());
    again.balancer.restore(restored(&world));
    order.iter().for_each(|n| again.take(&objects(*n)));
    again.decide();
    assert_eq!(again.dump(), world.dump());
    let reasons = |world: &World| world.balancer.refused();
    assert_eq!(reasons(&again), reasons(&world));
}

#[test]
fn where_there_is_no_room_for_all_a_restart_takes_nothing_from_what_works() {
    for config in [
        Config { frontends_max: 2, ..config() },
        Config { slots_max: 4, ..config() },
        Config { backends_max: 4, ..config() },
        Config { slots_max: 2 * 251, ..maglev() },
    ] {
        keeps_what_works(&config, [5, 4, 3, 2]);
        keeps_what_works(&config, [2, 3, 4, 5]);
    }
}

#[test]
fn room_that_nobody_claims_after_a_restart_is_for_those_that_waited() {
    let config = Config { frontends_max: 2, backends_max: 4, slots_max: 4, ..config() };
    let mut world = World::new(config.clone());
    [5, 4, 3].iter().for_each(|n| world.apply(&objects(*n)));
    let mut again = World::new(config);
    again.balancer.restore(restored(&world));
    [5, 3].iter().for_each(|n| again.take(&objects(*n)));
    again.decide();
    assert_eq!(again.lines("s3"), "10.96.0.3:80/TCP ClusterIP shop/s3:http = 10.0.0.3:8080 10.9.0.3:8080\n");
    assert_eq!(again.row("10.96.0.5:80/TCP").slots.len(), 2);
    assert!(again.balancer.refused().is_empty());
}
