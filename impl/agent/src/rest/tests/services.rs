// SPDX-License-Identifier: Apache-2.0
//! Services.

use api::{BackendAddress, FrontendAddress, ServiceFlags, ServiceSpec};

use super::*;

fn spec(frontend: (&str, u16), backends: &[(&str, u16)]) -> ServiceSpec {
    ServiceSpec {
        frontend_address: Some(FrontendAddress {
            ip: frontend.0.into(),
            port: frontend.1,
            protocol: "UDP".into(),
            scope: String::new(),
        }),
        backend_addresses: backends
            .iter()
            .map(|(ip, port)| BackendAddress { ip: (*ip).into(), port: *port, ..BackendAddress::default() })
            .collect(),
        ..ServiceSpec::default()
    }
}

fn addresses(service: &api::Service) -> Vec<String> {
    let backends = &service.status.as_ref().unwrap().realized.backend_addresses;
    backends.iter().map(|backend| format!("{}:{}", backend.ip, backend.port)).collect()
}

#[test]
fn a_service_is_in_the_datapath_when_its_maker_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let two = spec(("10.96.0.1", 53), &[("10.1.0.7", 5353), ("192.0.2.9", 53)]);
    assert!(bench.client.put_service(700, &two).unwrap());
    let rows = bench.ask(|memory| (memory.services.clone(), memory.backends.clone()));
    let (frontend, row) = rows.0.first_key_value().unwrap();
    assert_eq!((frontend.to_string().as_str(), row.id, row.slots.len()), ("10.96.0.1:53/UDP", 700, 2));
    assert_eq!(rows.1.len(), 2);
    let shown = bench.client.service(700).unwrap();
    assert_eq!(addresses(&shown), ["10.1.0.7:5353", "192.0.2.9:53"]);
    assert_eq!(shown.spec.flags.as_ref().unwrap().kind, "API");
    assert_eq!(shown.spec.backend_addresses[0].state, "active");
    assert!(shown.spec.backend_addresses[0].id.is_some());
    assert_eq!(bench.client.services().unwrap(), std::slice::from_ref(&shown));
    // What was shown can be sent back, with one backend less.
    let mut one = shown.spec;
    one.backend_addresses.pop();
    assert!(!bench.client.put_service(700, &one).unwrap());
    assert_eq!(addresses(&bench.client.service(700).unwrap()), ["10.1.0.7:5353"]);
    let status = bench.client.status().unwrap().services.unwrap();
    assert_eq!((status.frontends, status.active_backends, status.sockets), (1, 1, false));
    assert_eq!(status.node_port_range, "30000-32767");
    assert_eq!(bench.client.debuginfo().unwrap().service_list.len(), 1);
    bench.client.delete_service(700).unwrap();
    assert!(bench.ask(|memory| memory.services.is_empty() && memory.backends.is_empty()));
    let metrics = bench.client.metrics().unwrap();
    let events = |action: &str| {
        let of = metrics.iter().filter(|metric| metric.name == "cilium_services_events_total");
        of.filter(|metric| metric.labels["action"] == action).map(|metric| metric.value).sum::<f64>() as u64
    };
    assert_eq!((events("add"), events("update"), events("delete")), (1, 1, 1));
    bench.stop();
}

#[test]
fn what_makes_no_sense_names_the_field_with_the_status_of_1_4() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let good = spec(("10.96.0.1", 53), &[("10.1.0.7", 53), ("10.1.0.8", 53)]);
    type Change = fn(&mut ServiceSpec);
    let frontend: fn(&mut ServiceSpec) -> &mut FrontendAddress =
        |spec| spec.frontend_address.as_mut().unwrap();
    let cases: [(Change, u16, &[&str]); 14] = [
        (|spec| spec.id = 8, 400, &["id", "the path says 7"]),
        (|spec| spec.frontend_address = None, 460, &["frontend-address", "required"]),
        (|spec| spec.frontend_address.as_mut().unwrap().ip = "10.96.0".into(), 460, &["frontend-address.ip"]),
        (|spec| spec.frontend_address.as_mut().unwrap().ip = "0.0.0.0".into(), 460, &["frontend-address.ip"]),
        (|spec| spec.frontend_address.as_mut().unwrap().port = 0, 460, &["frontend-address.port", "65535"]),
        (
            |spec| spec.frontend_address.as_mut().unwrap().protocol = "ICMP".into(),
            460,
            &["frontend-address.protocol", "TCP, UDP, SCTP"],
        ),
        (
            |spec| spec.frontend_address.as_mut().unwrap().scope = "internal".into(),
            460,
            &["frontend-address.scope"],
        ),
        (|spec| spec.backend_addresses[1].ip = "x".into(), 461, &["backend-addresses[1].ip"]),
        (|spec| spec.backend_addresses[1].ip = "f00d::1".into(), 461, &["backend-addresses", "family"]),
        (|spec| spec.backend_addresses[0].port = 0, 461, &["backend-addresses[0].port"]),
        (|spec| spec.backend_addresses[1].weight = 3, 461, &["backend-addresses[1].weight", "same"]),
        (|spec| spec.backend_addresses[0].state = "terminating".into(), 461, &["backend-addresses[0].state"]),
        (
            |spec| spec.flags = Some(ServiceFlags { kind: "NodePort".into(), ..ServiceFlags::default() }),
            400,
            &["flags.type", "NodePort"],
        ),
        (|spec| spec.backend_addresses[0].ip = "127.0.0.1".into(), 461, &["backend-addresses"]),
    ];
    for (change, status, parts) in cases {
        let mut spec = good.clone();
        change(&mut spec);
        refused(bench.client.put_service(7, &spec), status, parts);
    }
    for id in [0, 65_535, 65_536] {
        refused(bench.client.put_service(id, &good), 400, &["id", "1 to 65534"]);
    }
    refused(bench.client.service(7), 404, &["7"]);
    refused(bench.client.delete_service(7), 404, &["7"]);
    assert!(bench.ask(|memory| memory.services.is_empty()));

    assert!(bench.client.put_service(7, &good).unwrap());
    // Neither the frontend nor the number of another.
    refused(bench.client.put_service(8, &good), 460, &["frontend-address", "10.96.0.1:53/UDP"]);
    refused(bench.client.put_service(7, &spec(("10.96.0.2", 53), &[])), 409, &["id", "7"]);
    // The same address and port with another protocol is another frontend; TCP is what is meant by no protocol.
    for (id, protocol) in [(8, ""), (9, "sctp")] {
        let mut other = good.clone();
        frontend(&mut other).protocol = protocol.into();
        assert!(bench.client.put_service(id, &other).unwrap());
    }
    let protocols = bench.client.services().unwrap();
    let protocols: Vec<_> =
        protocols.iter().map(|one| one.spec.frontend_address.as_ref().unwrap().protocol.as_str()).collect();
    assert_eq!(protocols, ["UDP", "TCP", "SCTP"]);
    bench.stop();
}

#[test]
fn services_of_files_are_shown_and_are_not_the_apis_to_delete() {
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    let text = r"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, sessionAffinity: ClientIP, ports: [{name: http, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x7, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.7], conditions: {ready: true}}]
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: v1
kind: Service
metadata: {name: web-too, namespace: shop}
spec: {clusterIP: 10.96.0.10, ports: [{name: http, port: 80}]}
";
    std::fs::write(objects.join("web.yaml"), text).unwrap();
    let flag = format!("--policy-dir={}", objects.display());
    let bench = Bench::start(dir.path(), &[&flag], Memory::default(), |_| Restored::default());
    let services = wait(|| bench.client.services().ok().filter(|services| !services.is_empty()));
    let [service] = &services[..] else { panic!("{services:?}") };
    let status = service.status.as_ref().unwrap();
    assert_eq!(addresses(service), ["10.1.0.7:8080"]);
    assert!(status.owner.contains("shop/"), "{status:?}");
    assert_eq!(status.affinity_timeout_s, Some(10_800));
    refused(bench.client.delete_service(service.spec.id), 404, &["API"]);
    // Two services want one frontend: one has it, and the other's want is told.
    let response = bench.client.status().unwrap();
    let services = response.services.unwrap();
    assert_eq!((services.refused_count, services.refused.len()), (1, 1), "{services:?}");
    assert_eq!(response.cilium.unwrap().state, StatusState::Ok, "one user's mistake is not the agent's");
    let controller = response.controllers.iter().find(|controller| controller.name == "place-services");
    assert_eq!(controller.unwrap().status.as_ref().unwrap().consecutive_failure_count, 1);
    bench.stop();
}

#[test]
fn ids_of_an_earlier_run_are_given_again() {
    let dir = tempfile::tempdir().unwrap();
    let objects = dir.path().join("objects");
    std::fs::create_dir(&objects).unwrap();
    let text = "apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {clusterIP: 10.96.0.10, ports: [{port: 80}]}\n";
    std::fs::write(objects.join("web.yaml"), text).unwrap();
    let frontend = loadbalancer::Frontend {
        address: "10.96.0.10".parse().unwrap(),
        port: addr::Port::new(80).unwrap(),
        protocol: addr::Protocol::Tcp,
        scope: loadbalancer::Scope::External,
    };
    let row = loadbalancer::ServiceRow {
        id: 4711,
        kind: loadbalancer::FrontendKind::ClusterIp,
        affinity_timeout_s: None,
        source_ranges: None,
        two_scopes: false,
        slots: Vec::new(),
        owner: String::new(),
    };
    let memory = Memory { services: [(frontend, row)].into(), ..Memory::default() };
    let flag = format!("--policy-dir={}", objects.display());
    let bench = Bench::start(dir.path(), &[&flag], memory, |_| Restored::default());
    let services = wait(|| bench.client.services().ok().filter(|services| !services.is_empty()));
    assert_eq!(services[0].spec.id, 4711);
    bench.stop();
}
