// SPDX-License-Identifier: Apache-2.0
//! Which frontends a service has.

use crate::world::{HTTP, World, config, ready, service, slice};

const WEB: &str = "clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]";

fn web() -> String {
    format!("{}---\n{}", service("web", WEB), slice("web-a", "web", &ready(&["10.0.0.5", "10.9.0.6"])))
}

#[test]
fn a_cluster_ip_has_the_ready_backends() {
    let mut world = World::node();
    world.apply(&web());
    assert_eq!(
        world.dump(),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080 10.9.0.6:8080\n\
         backend 10.0.0.5:8080/TCP\nbackend 10.9.0.6:8080/TCP\n"
    );
}

#[test]
fn a_service_without_endpoints_refuses_connections_and_one_that_goes_leaves_nothing() {
    let mut world = World::node();
    world.apply(&service("web", WEB));
    assert_eq!(world.dump(), "10.96.0.10:80/TCP ClusterIP shop/web:http = \n");
    world.apply(&slice("web-a", "web", &ready(&["10.0.0.5"])));
    world.delete_service("shop/web");
    assert_eq!(world.dump(), "");
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn headless_services_and_names_are_left_alone() {
    let mut world = World::node();
    world.apply(&service("web", "clusterIP: None, clusterIPs: [None], ports: [{name: http, port: 80}]"));
    world.apply(&service("name", "type: ExternalName, externalName: example.org"));
    world.apply(&slice("web-a", "web", &ready(&["10.0.0.5"])));
    assert_eq!(world.dump(), "");
}

#[test]
fn a_node_port_is_at_each_address_of_the_node_and_at_its_loopback() {
    let mut world = World::node();
    let spec = "type: NodePort, clusterIPs: [10.96.0.10, 'fd01::10'], ports: [{name: http, port: 80, nodePort: 30080}]";
    world.apply(&service("web", spec));
    world.apply(&slice("web-a", "web", &ready(&["10.0.0.5"])));
    assert_eq!(
        world.lines(""),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080\n\
         127.0.0.1:30080/TCP NodePort shop/web:http = 10.0.0.5:8080\n\
         192.0.2.1:30080/TCP NodePort shop/web:http = 10.0.0.5:8080\n\
         [::1]:30080/TCP NodePort shop/web:http =\n\
         [2001:db8::1]:30080/TCP NodePort shop/web:http =\n\
         [fd01::10]:80/TCP ClusterIP shop/web:http =\n"
    );
    world.set_node(&["192.0.2.2"]);
    assert_eq!(
        world.lines("NodePort"),
        "127.0.0.1:30080/TCP NodePort shop/web:http = 10.0.0.5:8080\n\
         192.0.2.2:30080/TCP NodePort shop/web:http = 10.0.0.5:8080\n\
         [::1]:30080/TCP NodePort shop/web:http =\n"
    );
}

#[test]
fn external_addresses_are_frontends_each_once() {
    let mut world = World::node();
    let spec = "type: LoadBalancer, clusterIP: 10.96.0.10, externalIPs: [198.51.100.1, 198.51.100.2], \
                ports: [{name: http, port: 80}]";
    let status = "loadBalancer: {ingress: [{ip: 198.51.100.2}, {ip: 198.51.100.3}, {hostname: lb.example}, \
                  {ip: 198.51.100.4, ipMode: Proxy}]}";
    world.apply(&service("web", spec).replace("status: {}", &format!("status: {{{status}}}")));
    assert_eq!(
        world.lines(""),
        "10.96.0.10:80/TCP ClusterIP shop/web:http =\n\
         198.51.100.1:80/TCP ExternalIPs shop/web:http =\n\
         198.51.100.2:80/TCP ExternalIPs shop/web:http =\n\
         198.51.100.3:80/TCP LoadBalancer shop/web:http =\n"
    );
    assert!(world.balancer.refused().is_empty());
}

#[test]
fn source_ranges_are_of_the_addresses_of_the_load_balancer_alone() {
    let mut world = World::node();
    let spec = "type: LoadBalancer, clusterIPs: [10.96.0.10, 'fd01::10'], externalIPs: [198.51.100.1, 198.51.100.2], \
                externalTrafficPolicy: Local, ports: [{name: http, port: 80, nodePort: 30080}], \
                loadBalancerSourceRanges: [203.0.113.0/24, 10.0.0.0/8]";
    let status = "loadBalancer: {ingress: [{ip: 198.51.100.2}, {ip: 198.51.100.3}, {ip: '2001:db8::80'}]}";
    let text = |spec: &str| service("web", spec).replace("status: {}", &format!("status: {{{status}}}"));
    world.apply(&text(spec));
    assert_eq!(
        world.lines("for ["),
        "198.51.100.2:80/TCP ExternalIPs shop/web:http two-scopes for [10.0.0.0/8 203.0.113.0/24] =\n\
         198.51.100.2:80/TCP/internal ExternalIPs shop/web:http two-scopes for [10.0.0.0/8 203.0.113.0/24] =\n\
         198.51.100.3:80/TCP LoadBalancer shop/web:http two-scopes for [10.0.0.0/8 203.0.113.0/24] =\n\
         198.51.100.3:80/TCP/internal LoadBalancer shop/web:http two-scopes for [10.0.0.0/8 203.0.113.0/24] =\n\
         [2001:db8::80]:80/TCP LoadBalancer shop/web:http two-scopes for [] =\n\
         [2001:db8::80]:80/TCP/internal LoadBalancer shop/web:http two-scopes for [] =\n",
        "with ranges of IPv4 alone, nobody is let in over IPv6"
    );
    let id = world.row("198.51.100.3:80/TCP").id;
    world.apply(&text(&spec.replace("203.0.113.0/24, 10.0.0.0/8", "'2001:db8::/32'")));
    assert!(world.lines("198.51.100.3:80/TCP ").contains("for [] "));
    assert!(world.lines("2001:db8::80").contains("for [2001:db8::/32] "));
    let open = spec.split(", loadBalancerSourceRanges").next().unwrap();
    world.apply(&text(open));
    assert_eq!(world.lines("for ["), "");
    assert_eq!(world.row("198.51.100.3:80/TCP").id, id);
}

#[test]
fn internal_traffic_that_stays_on_the_node_has_local_backends() {
    let mut world = World::node();
    world.apply(&web());
    world.apply(&service("web", &format!("{WEB}, internalTrafficPolicy: Local")));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080\n");
    assert_eq!(world.backends.len(), 2, "connections to the other one go on");
    world.apply(&slice("web-a", "web", &ready(&["10.9.0.6", "192.0.2.1"])));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http = 192.0.2.1:8080\n");
}

#[test]
fn external_traffic_that_stays_on_the_node_has_a_row_of_its_own() {
    let mut world = World::node();
    let spec = "type: NodePort, clusterIP: 10.96.0.10, externalTrafficPolicy: Local, \
                externalIPs: [198.51.100.1], ports: [{name: http, port: 80, nodePort: 30080}]";
    world.apply(&web());
    world.apply(&service("web", spec));
    assert_eq!(
        world.lines(""),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080 10.9.0.6:8080\n\
         127.0.0.1:30080/TCP NodePort shop/web:http = 10.0.0.5:8080 10.9.0.6:8080\n\
         192.0.2.1:30080/TCP NodePort shop/web:http two-scopes = 10.0.0.5:8080\n\
         192.0.2.1:30080/TCP/internal NodePort shop/web:http two-scopes = 10.0.0.5:8080 10.9.0.6:8080\n\
         198.51.100.1:80/TCP ExternalIPs shop/web:http two-scopes = 10.0.0.5:8080\n\
         198.51.100.1:80/TCP/internal ExternalIPs shop/web:http two-scopes = 10.0.0.5:8080 10.9.0.6:8080\n"
    );
    let before = world.row("192.0.2.1:30080/TCP").id;
    world.apply(&service("web", &spec.replace("Local", "Cluster")));
    assert_eq!(
        world.lines("192"),
        "192.0.2.1:30080/TCP NodePort shop/web:http = 10.0.0.5:8080 10.9.0.6:8080\n"
    );
    assert_eq!(world.row("192.0.2.1:30080/TCP").id, before);
}

#[test]
fn affinity_is_of_all_frontends() {
    let mut world = World::node();
    world.apply(&service("web", &format!("{WEB}, sessionAffinity: ClientIP")));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http affinity 10800 =\n");
    let config = "sessionAffinityConfig: {clientIP: {timeoutSeconds: 30}}";
    world.apply(&service("web", &format!("{WEB}, sessionAffinity: ClientIP, {config}")));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http affinity 30 =\n");
}

#[test]
fn each_cluster_ip_has_the_backends_of_its_family() {
    let mut world = World::node();
    world.apply(&service("web", &format!("clusterIPs: ['fd01::10', 10.96.0.10], {HTTP}")));
    world.apply(&slice("web-4", "web", &ready(&["10.0.0.5"])));
    world.apply(&slice("web-6", "web", &ready(&["fd00::5"])).replace("IPv4", "IPv6"));
    assert_eq!(
        world.lines(""),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080\n\
         [fd01::10]:80/TCP ClusterIP shop/web:http = [fd00::5]:8080\n"
    );
    world.apply(&service("web", &format!("clusterIP: 10.96.0.10, {HTTP}")));
    assert_eq!(
        world.dump(),
        "10.96.0.10:80/TCP ClusterIP shop/web:http = 10.0.0.5:8080\nbackend 10.0.0.5:8080/TCP\n"
    );
    assert_eq!(
        world.balancer.refused()["service shop/web: endpoints of shop/web-6"],
        "fd00::5 is of a family in which the service has no clusterIP"
    );
}

#[test]
fn a_family_that_is_off_has_no_frontends() {
    let mut world = World::new(config());
    world.balancer = loadbalancer::LoadBalancer::new(config()).with_families(true, false);
    world.apply(&service("web", &format!("clusterIPs: ['fd01::10', 10.96.0.10], {HTTP}")));
    assert_eq!(world.lines(""), "10.96.0.10:80/TCP ClusterIP shop/web:http =\n");
    let refused = world.balancer.refused();
    assert_eq!(refused["service shop/web: spec.clusterIPs of IPv6"], "IPv6 is off: see --enable-ipv6");
}

#[test]
fn ports_are_matched_by_name_and_protocol() {
    let mut world = World::node();
    let ports = "[{name: dns, port: 53, protocol: UDP}, {name: dns-tcp, port: 53}, {name: other, port: 54}]";
    world.apply(&service("dns", &format!("clusterIP: 10.96.0.10, ports: {ports}")));
    world.apply(&slice("dns-a", "dns", &ready(&["10.0.0.5"])).replace(
        "[{name: http, port: 8080}]",
        "[{name: dns, port: 5353, protocol: UDP}, {name: dns-tcp, port: 5354}, {name: other, port: 1, protocol: SCTP}]",
    ));
    assert_eq!(
        world.dump(),
        "10.96.0.10:53/TCP ClusterIP shop/dns:dns-tcp = 10.0.0.5:5354\n\
         10.96.0.10:53/UDP ClusterIP shop/dns:dns = 10.0.0.5:5353\n\
         10.96.0.10:54/TCP ClusterIP shop/dns:other = \n\
         backend 10.0.0.5:5353/UDP\nbackend 10.0.0.5:5354/TCP\n"
    );
}

#[test]
fn a_port_without_a_name_is_called_by_its_number() {
    let mut world = World::node();
    world.apply(&service("web", "clusterIP: 10.96.0.10, ports: [{port: 80, protocol: SCTP}]"));
    world.apply(
        &slice("web-a", "web", &ready(&["10.0.0.5"])).replace("name: http,", "name: '', protocol: SCTP,"),
    );
    assert_eq!(world.lines(""), "10.96.0.10:80/SCTP ClusterIP shop/web:80 = 10.0.0.5:8080\n");
}

#[test]
fn a_host_port_leads_to_its_pod() {
    let mut world = World::node();
    let pod = "kind: Pod\nmetadata: {name: web}\n\
               status: {podIPs: [{ip: 10.0.0.5}, {ip: 'fd00::5'}]}\n\
               spec: {containers: [{ports: [{containerPort: 80, hostPort: 8080},
                 {containerPort: 53, hostPort: 53, hostIP: 127.0.0.1, protocol: UDP}, {containerPort: 99},
                 {containerPort: 81, hostPort: 8081, hostIP: 203.0.113.9}]}]}\n";
    world.apply(pod);
    assert_eq!(
        world.lines(""),
        "127.0.0.1:53/UDP HostPort pod shop/web = 10.0.0.5:53\n\
         127.0.0.1:8080/TCP HostPort pod shop/web = 10.0.0.5:80\n\
         192.0.2.1:8080/TCP HostPort pod shop/web = 10.0.0.5:80\n\
         [::1]:8080/TCP HostPort pod shop/web = [fd00::5]:80\n\
         [2001:db8::1]:8080/TCP HostPort pod shop/web = [fd00::5]:80\n"
    );
    assert_eq!(
        world.balancer.refused()["pod shop/web: hostPort 8081/TCP"],
        "hostIP 203.0.113.9 is no address at which the node is reached"
    );
    for (host_ip, addresses, reason) in [
        (
            "127.0.0.2",
            "{ip: 10.0.0.5}, {ip: 'fd00::5'}",
            "hostIP 127.0.0.2 is no address at which the node is reached",
        ),
        ("'::1'", "{ip: 10.0.0.5}", "hostIP ::1 is of a family in which the pod has no address"),
    ] {
        let mut world = World::node();
        world.apply(&format!(
            "kind: Pod\nmetadata: {{name: web}}\nstatus: {{podIPs: [{addresses}]}}\n\
             spec: {{containers: [{{ports: [{{containerPort: 81, hostPort: 8081, hostIP: {host_ip}}}]}}]}}\n"
        ));
        assert_eq!(world.dump(), "");
        assert_eq!(world.balancer.refused()["pod shop/web: hostPort 8081/TCP"], reason);
    }
    world.set_node(&["203.0.113.9"]);
    assert_eq!(world.lines("8081"), "203.0.113.9:8081/TCP HostPort pod shop/web = 10.0.0.5:81\n");
    assert!(world.balancer.refused().is_empty());
    world.apply(&pod.replace("spec: {", "spec: {hostNetwork: true, "));
    assert_eq!(world.dump(), "");
}

#[test]
fn a_node_port_out_of_range_is_refused_alone() {
    let mut world = World::node();
    let spec = "type: NodePort, clusterIP: 10.96.0.10, ports: [{name: http, port: 80, nodePort: 8080}, \
                {name: https, port: 443, nodePort: 30443}]";
    world.apply(&service("web", spec));
    assert_eq!(world.lines("192"), "192.0.2.1:30443/TCP NodePort shop/web:https =\n");
    let told =
        ("service shop/web: spec.ports[0].nodePort", "8080 is not in 30000-32767: see --node-port-range");
    assert_eq!(world.refused, [(told.0.to_owned(), told.1.to_owned())]);
    assert_eq!(world.balancer.refused()[told.0], told.1);
    world.apply(&service("web", &spec.replace("8080", "30080")));
    assert!(world.balancer.refused().is_empty());
    assert_eq!(world.lines("30080").lines().count(), 2);
}

#[test]
fn kubernetes_services_can_be_left_to_others() {
    let mut world = World::new(loadbalancer::Config { kubernetes: false, ..config() });
    world.apply(&web());
    assert_eq!(world.dump(), "");
}
