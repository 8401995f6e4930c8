// SPDX-License-Identifier: Apache-2.0
//! What is over a limit is refused, the rest works, and what was refused is tried again when there is room.

use loadbalancer::Config;

use crate::world::{HTTP, World, config, maglev, ready, service, slice};

fn web(n: u8) -> String {
    service(&format!("s{n}"), &format!("clusterIP: 10.96.0.{n}, {HTTP}"))
}

#[test]
fn a_frontend_over_the_limit_waits_for_room() {
    let mut world = World::new(Config { frontends_max: 2, ..config() });
    (1..=4).for_each(|n| world.apply(&web(n)));
    assert_eq!(world.lines("").lines().count(), 2);
    let refused = world.balancer.refused();
    assert_eq!(
        refused["10.96.0.3:80/TCP of shop/s3:http"],
        "all 2 frontends are in use: raise --bpf-lb-map-max"
    );
    assert_eq!((refused.len(), world.refused.len()), (2, 2));
    world.apply(&slice("s1", "s1", &ready(&["10.0.0.5"])));
    assert_eq!(world.lines("s1"), "10.96.0.1:80/TCP ClusterIP shop/s1:http = 10.0.0.5:8080\n");
    world.delete_service("shop/s1");
    assert_eq!(
        world.dump(),
        "10.96.0.2:80/TCP ClusterIP shop/s2:http = \n10.96.0.3:80/TCP ClusterIP shop/s3:http = \n"
    );
    world.delete_service("shop/s4");
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn where_there_is_room_for_one_row_connections_from_inside_have_local_backends() {
    let mut world = World::new(Config { frontends_max: 2, ..config() });
    let spec = "clusterIP: 10.96.0.10, externalTrafficPolicy: Local, externalIPs: [198.51.100.1]";
    world.apply(&service("web", &format!("{spec}, {HTTP}")));
    world.apply(&slice("web", "web", &ready(&["10.0.0.5", "10.9.0.5"])));
    assert_eq!(world.lines("198"), "198.51.100.1:80/TCP ExternalIPs shop/web:http = 10.0.0.5:8080\n");
    assert_eq!(
        world.balancer.refused()["198.51.100.1:80/TCP of shop/web:http"],
        "connections from inside have local backends only: all 2 frontends are in use: raise --bpf-lb-map-max"
    );
    world.apply(&service("web", &format!("{}, {HTTP}", spec.replace("Local", "Cluster"))));
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn a_backend_over_the_limit_waits_for_room() {
    let mut world = World::new(Config { backends_max: 2, ..config() });
    world.apply(&web(1));
    world.apply(&slice("s1", "s1", &ready(&["10.0.0.1", "10.0.0.2", "10.0.0.3"])));
    assert_eq!(world.lines(""), "10.96.0.1:80/TCP ClusterIP shop/s1:http = 10.0.0.1:8080 10.0.0.2:8080\n");
    let refused = world.balancer.refused();
    assert_eq!(
        refused["backend 10.0.0.3:8080/TCP"],
        "all 2 backends are in use: raise --bpf-lb-backend-map-max"
    );
    assert_eq!(refused["10.96.0.1:80/TCP of shop/s1:http"], "no room for 1 of 3 backends");
    world.apply(&web(2));
    world.apply(&slice("s2", "s2", &ready(&["10.0.0.2", "10.0.0.4"])));
    assert_eq!(world.lines("s2"), "10.96.0.2:80/TCP ClusterIP shop/s2:http = 10.0.0.2:8080\n");
    // One goes and another comes in the same change.
    world.apply(&slice("s1", "s1", &ready(&["10.0.0.2", "10.0.0.3"])));
    assert_eq!(world.lines("s1"), "10.96.0.1:80/TCP ClusterIP shop/s1:http = 10.0.0.2:8080 10.0.0.3:8080\n");
    world.delete_service("shop/s1");
    assert_eq!(world.lines(""), "10.96.0.2:80/TCP ClusterIP shop/s2:http = 10.0.0.2:8080 10.0.0.4:8080\n");
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn when_all_ids_are_in_use_the_next_frontend_waits_for_one() {
    let mut world = World::new(Config { frontends_max: 100_000, ..config() });
    let many = |name: &str, end: u32| {
        let ips: Vec<String> = (0..end).map(|n| format!("198.18.{}.{}", n >> 8, n & 255)).collect();
        service(name, &format!("clusterIP: 10.96.0.1, externalIPs: [{}], {HTTP}", ips.join(",")))
    };
    world.apply(&many("a", 65_534));
    assert_eq!(world.frontends.len(), 65_534);
    assert_eq!(
        world.balancer.refused().into_values().collect::<Vec<_>>(),
        ["all ids of frontends, 1 to 65534, are in use"]
    );
    world.apply(&web(9));
    assert_eq!(world.balancer.refused().len(), 2);
    world.take(&many("a", 65_000));
    let freed = world.balancer.changes().freed;
    assert_eq!(freed.len(), 533);
    assert!(world.balancer.changes().is_empty(), "not before nobody knows them any more");
    world.balancer.release(freed.into_iter().map(|(_, id)| id));
    world.frontends = world.balancer.frontends().clone();
    world.decide();
    assert_eq!(world.frontends.len(), 65_002);
    assert!(world.balancer.refused().is_empty());
    assert_eq!(world.lines("s9"), "10.96.0.9:80/TCP ClusterIP shop/s9:http =\n");
}

#[test]
fn slots_over_the_limit_wait_for_room() {
    let mut world = World::new(Config { slots_max: 3, ..config() });
    (1..=3).for_each(|n| world.apply(&web(n)));
    world.apply(&slice("s1", "s1", &ready(&["10.0.0.1", "10.0.0.2"])));
    world.apply(&slice("s2", "s2", &ready(&["10.0.0.3", "10.0.0.4"])));
    world.apply(&slice("s3", "s3", &ready(&["10.0.0.5"])));
    assert_eq!(world.lines("s2"), "10.96.0.2:80/TCP ClusterIP shop/s2:http = 10.0.0.3:8080\n");
    assert_eq!(world.lines("s3"), "10.96.0.3:80/TCP ClusterIP shop/s3:http =\n");
    let why = |lacking, wanted| {
        format!(
            "no room for {lacking} of its {wanted} slots beside those of others, 3 at most: raise --bpf-lb-slot-map-max"
        )
    };
    let refused = world.balancer.refused();
    assert_eq!(refused["10.96.0.2:80/TCP of shop/s2:http"], why(1, 2));
    assert_eq!(refused["10.96.0.3:80/TCP of shop/s3:http"], why(1, 1));
    // One that changes has the room that it had.
    world.apply(&slice("s1", "s1", &ready(&["10.0.0.2", "10.0.0.6"])));
    assert_eq!(world.lines("s1"), "10.96.0.1:80/TCP ClusterIP shop/s1:http = 10.0.0.2:8080 10.0.0.6:8080\n");
    world.delete_slice("shop/s1");
    assert_eq!(world.lines("s2"), "10.96.0.2:80/TCP ClusterIP shop/s2:http = 10.0.0.3:8080 10.0.0.4:8080\n");
    assert_eq!(world.lines("s3"), "10.96.0.3:80/TCP ClusterIP shop/s3:http = 10.0.0.5:8080\n");
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn a_maglev_table_is_there_as_a_whole_or_not_at_all() {
    let mut world = World::new(Config { slots_max: 2 * 251 + 250, ..maglev() });
    for n in 1..=4 {
        let name = format!("s{n}");
        world.apply(&(web(n) + "---\n" + &slice(&name, &name, &ready(&["10.0.0.1", "10.0.0.2"]))));
    }
    let slots = |world: &World| {
        (1..=4).map(|n| world.row(&format!("10.96.0.{n}:80/TCP")).slots.len()).collect::<Vec<_>>()
    };
    assert_eq!(slots(&world), [251, 251, 0, 0]);
    assert_eq!(
        world.balancer.refused()["10.96.0.4:80/TCP of shop/s4:http"],
        "no room for 251 of its 251 slots beside those of others, 752 at most: raise --bpf-lb-slot-map-max"
    );
    world.delete_slice("shop/s2");
    assert_eq!(slots(&world), [251, 0, 251, 0]);
    world.delete_service("shop/s1");
    assert_eq!(world.row("10.96.0.4:80/TCP").slots.len(), 251);
    assert!(world.balancer.refused().is_empty());
    assert_eq!(world.balancer.frontends().values().map(|row| row.slots.len()).sum::<usize>(), 502);
}
