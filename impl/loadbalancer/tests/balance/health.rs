// SPDX-License-Identifier: Apache-2.0
//! What a load balancer that asks at `healthCheckNodePort` is told, and of which services.

use loadbalancer::HealthCheck;

use crate::world::{World, key, ready, service, slice};

const LOCAL: &str = "type: LoadBalancer, clusterIP: 10.96.0.10, externalTrafficPolicy: Local, \
                     healthCheckNodePort: 31123, ports: [{name: http, port: 80, nodePort: 30080}]";

/// Ports with the service and its count.
fn checks(world: &World) -> String {
    let line = |(port, HealthCheck { service, local_endpoints }): (&addr::Port, &HealthCheck)| {
        format!("{port} {service} {local_endpoints}\n")
    };
    world.health_checks.iter().map(line).collect()
}

#[test]
fn it_counts_the_ready_endpoints_of_this_node() {
    let mut world = World::node();
    world.apply(&service("web", LOCAL));
    assert_eq!(checks(&world), "31123 shop/web 0\n");
    world.apply(&slice("web-a", "web", &ready(&["10.0.0.5", "10.0.0.6", "10.9.0.6", "192.0.2.1"])));
    assert_eq!(checks(&world), "31123 shop/web 3\n");
    let one = "{addresses: ['10.0.0.5'], conditions: {ready: false, serving: true, terminating: true}}, \
               {addresses: ['10.0.0.6'], conditions: {ready: false}}, {addresses: ['10.9.0.6']}";
    world.apply(&slice("web-a", "web", one));
    assert_eq!(checks(&world), "31123 shop/web 0\n", "one that ends is given connections, and not counted");
    assert!(world.lines("30080").contains("= 10.0.0.5:8080"));
    world.apply(&service("web", &format!("{LOCAL}, publishNotReadyAddresses: true")));
    assert_eq!(checks(&world), "31123 shop/web 2\n");
}

#[test]
fn an_endpoint_with_several_ports_or_an_address_of_each_family_counts_once() {
    let mut world = World::node();
    let spec = "type: LoadBalancer, clusterIPs: [10.96.0.10, 'fd01::10'], externalTrafficPolicy: Local, \
                healthCheckNodePort: 31123, ports: [{name: http, port: 80}, {name: https, port: 443}]";
    world.apply(&service("web", spec));
    let ports = "[{name: http, port: 8080}, {name: https, port: 8443}]";
    let both = |name: &str, address: &str| {
        slice(name, "web", &ready(&[address])).replace("[{name: http, port: 8080}]", ports)
    };
    world.apply(&both("web-4", "10.0.0.5"));
    world.apply(&both("web-6", "fd00::5").replace("IPv4", "IPv6"));
    assert_eq!(checks(&world), "31123 shop/web 1\n");
}

#[test]
fn it_is_there_with_the_type_and_the_policy_that_need_it_alone() {
    let mut world = World::node();
    for (from, to) in
        [("LoadBalancer", "NodePort"), ("externalTrafficPolicy: Local", "externalTrafficPolicy: Cluster")]
    {
        world.apply(&service("web", LOCAL));
        assert_eq!(checks(&world), "31123 shop/web 0\n");
        world.apply(&service("web", &LOCAL.replace(from, to)));
        assert_eq!(checks(&world), "", "{to}");
    }
    world.apply(&service("web", &LOCAL.replace("healthCheckNodePort: 31123, ", "")));
    assert_eq!(checks(&world), "");
    world.apply(&service("web", &LOCAL.replace("31123", "8080")));
    assert_eq!(checks(&world), "8080 shop/web 0\n", "any port will do: a process listens there");
    world.delete_service("shop/web");
    assert_eq!(checks(&world), "");
}

#[test]
fn of_two_services_with_one_port_the_first_has_it_and_the_other_gets_it_after_that() {
    let mut world = World::node();
    let other = LOCAL.replace("10.96.0.10", "10.96.0.11").replace("30080", "30081");
    world.apply(&service("web", LOCAL));
    world.apply(&service("api", &other));
    assert_eq!(checks(&world), "31123 shop/api 0\n");
    let refused = world.balancer.refused();
    assert_eq!(
        refused["service shop/web: spec.healthCheckNodePort 31123"],
        "the health check of shop/api has this port already"
    );
    assert_eq!(refused.len(), 1);
    assert_eq!(world.refused.len(), 1, "{:?}", world.refused);
    assert!(world.lines("30080").contains("shop/web:http"), "its frontends are not harmed");
    world.delete_service("shop/api");
    assert_eq!(checks(&world), "31123 shop/web 0\n");
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn a_port_at_which_a_frontend_of_the_node_is_is_that_frontends() {
    let mut world = World::node();
    world.apply(&service("web", LOCAL));
    let node_port = "type: NodePort, clusterIP: 10.96.0.12, ports: [{name: http, port: 80, nodePort: 31123}]";
    world.apply(&service("other", node_port));
    assert_eq!(checks(&world), "");
    assert_eq!(
        world.balancer.refused()["service shop/web: spec.healthCheckNodePort 31123"],
        "192.0.2.1:31123/TCP of shop/other:http has this port already"
    );
    world.apply(&service("other", &node_port.replace("port: 80,", "port: 80, protocol: UDP,")));
    assert_eq!(checks(&world), "31123 shop/web 0\n", "of another protocol it is another port");
    world.apply(&service("web", &LOCAL.replace("31123", "30080")));
    assert_eq!(
        world.balancer.refused()["service shop/web: spec.healthCheckNodePort 30080"],
        "192.0.2.1:30080/TCP of shop/web:http has this port already"
    );
    // An external address that comes to be the node's.
    world.apply(&service("web", LOCAL));
    let external = "clusterIP: 10.96.0.12, externalIPs: [192.0.2.9], ports: [{name: http, port: 31123}]";
    world.apply(&service("other", external));
    assert_eq!(checks(&world), "31123 shop/web 0\n");
    world.set_node(&["192.0.2.9"]);
    assert_eq!(checks(&world), "");
    assert!(world.balancer.refused().keys().any(|what| what.contains("healthCheckNodePort")));
    assert_eq!(world.balancer.health_checks().len(), 0);
    world.balancer.set_service(&key("shop/other"), None);
    world.decide();
    assert_eq!(checks(&world), "31123 shop/web 0\n");
}
