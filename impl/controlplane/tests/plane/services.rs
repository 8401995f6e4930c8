// SPDX-License-Identifier: Apache-2.0
//! Services of files, pods and the API: what is told, who is answered, what outlives the agent.

use addr::{Port, Protocol};
use controlplane::{
    Answer, EndpointPatch, EndpointRef, Event, NodeState, Notice, Objects, Pod, Refusal, RefusalKind, Row,
    SourceName,
};
use loadbalancer::{ApiService, BackendState, Frontend, FrontendKind, HostPort, Restored, Scope, kubernetes};

use crate::random::ids_of;
use crate::world::{World, config, dump, request};

fn port(number: u16) -> Port {
    Port::new(number).unwrap()
}

fn api(id: u16, address: &str, backends: &[&str]) -> ApiService {
    ApiService {
        id,
        address: address.parse().unwrap(),
        port: port(80),
        protocol: Protocol::Tcp,
        backends: backends.iter().map(|one| (one.parse().unwrap(), port(8080))).collect(),
    }
}

fn put(world: &mut World, service: ApiService) -> controlplane::Reply {
    world.done(|ticket| Event::ServicePut { ticket, service })
}

/// A file with a service of one cluster IP, and one ready endpoint.
fn file(name: &str, address: &str, endpoint: &str) -> Event {
    let service = serde_json::json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": address, "ports": [{"port": 80}]},
    });
    let slice = serde_json::json!({
        "metadata": {"namespace": "shop", "name": name, "labels": {"kubernetes.io/service-name": name}},
        "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": [endpoint]}],
    });
    let objects = Objects {
        services: vec![kubernetes::service(&service).unwrap()],
        slices: vec![kubernetes::endpoint_slice(&slice).unwrap()],
        ..Objects::default()
    };
    Event::Source { file: format!("{name}.yaml"), objects }
}

fn frontend(address: &str, number: u16) -> Frontend {
    Frontend {
        address: address.parse().unwrap(),
        port: port(number),
        protocol: Protocol::Tcp,
        scope: Scope::External,
    }
}

/// A service of the API is answered when its rows and the node's file are written.
#[test]
fn endpoints_of_two_files_are_those_of_the_first_with_all_their_subsets() {
    let endpoints = |subsets: &[&str]| {
        let subsets = subsets
            .iter()
            .map(|ip| serde_json::json!({"addresses": [{"ip": ip}], "ports": [{"port": 8080}]}));
        let object = serde_json::json!({
            "metadata": {"namespace": "shop", "name": "web"}, "subsets": subsets.collect::<Vec<_>>(),
        });
        kubernetes::endpoints(&object).unwrap()
    };
    let service = serde_json::json!({
        "metadata": {"namespace": "shop", "name": "web"},
        "spec": {"clusterIP": "10.96.0.10", "ports": [{"port": 80}]},
    });
    let send = |world: &mut World, file: &str, slices| {
        let services = match file {
            "web.yaml" => vec![kubernetes::service(&service).unwrap()],
            _ => Vec::new(),
        };
        let objects = Objects { services, slices, ..Objects::default() };
        world.send(Event::Source { file: file.into(), objects });
        world.realize();
        let view = world.plane.services();
        let view = view.first().map(|view| view.backends.clone()).unwrap_or_default();
        view.into_iter().map(|(_, row)| row.address.address.to_string()).collect::<Vec<_>>()
    };
    let mut world = World::started();
    send(&mut world, "web.yaml", Vec::new());
    assert_eq!(send(&mut world, "b.yaml", endpoints(&["10.9.0.1", "10.9.0.2"])), ["10.9.0.1", "10.9.0.2"]);
    assert_eq!(
        send(&mut world, "a.yaml", endpoints(&["10.9.0.3"])),
        ["10.9.0.3"],
        "and nothing of the other file"
    );
    assert_eq!(send(&mut world, "a.yaml", endpoints(&["10.9.0.3", "10.9.0.4", "10.9.0.5"])).len(), 3);
    let mut back = send(&mut world, "a.yaml", Vec::new());
    back.sort();
    assert_eq!(back, ["10.9.0.1", "10.9.0.2"]);
    let twice = [endpoints(&["10.9.0.6"]), endpoints(&["10.9.0.7", "10.9.0.8"])].concat();
    assert_eq!(send(&mut world, "a.yaml", twice), ["10.9.0.6"], "twice in one file");
}

#[test]
fn a_put_is_answered_when_it_is_realized() {
    let mut world = World::started();
    let ticket =
        world.ask(|ticket| Event::ServicePut { ticket, service: api(7, "203.0.113.1", &["10.9.0.1"]) });
    assert_eq!(world.unanswered(), [ticket]);
    assert_eq!(world.target.node.services, [api(7, "203.0.113.1", &["10.9.0.1"])]);
    world.realize();
    assert_eq!(world.replies[&ticket], Ok(Answer::ServicePut { created: true }));
    let changed = put(&mut world, api(7, "203.0.113.1", &["10.9.0.2"]));
    assert_eq!(changed, Ok(Answer::ServicePut { created: false }));
    assert_eq!(world.done(|ticket| Event::ServiceDelete { ticket, id: 7 }), Ok(Answer::Done));
    assert_eq!((world.target.node.clone(), world.target.services.len()), (NodeState::default(), 0));
    let gone = world.done(|ticket| Event::ServiceDelete { ticket, id: 7 }).unwrap_err();
    assert_eq!(
        (gone.kind(), gone.to_string().as_str()),
        (RefusalKind::NotFound, "no service of the API has the id 7")
    );
}

#[test]
fn a_put_fails_with_its_own_rows_and_no_others() {
    let mut world = World::started();
    world.send(file("web", "10.96.0.10", "10.9.0.9"));
    world.realize();
    for failing in ["frontend", "backend", "file", "another"] {
        let id = 7;
        let ticket =
            world.ask(|ticket| Event::ServicePut { ticket, service: api(id, "203.0.113.1", &["10.9.0.1"]) });
        let slot = world.target.services[&frontend("203.0.113.1", 80)].slots[0];
        let row = match failing {
            "frontend" => Row::Service(frontend("203.0.113.1", 80)),
            "backend" => Row::Backend(slot),
            "file" => Row::Node,
            _ => Row::Service(frontend("10.96.0.10", 80)),
        };
        world.realize_with(&[(row, "the map is full")]);
        match (&world.replies[&ticket], failing) {
            (Ok(_), "another") => {}
            (Err(Refusal::NotRealized(failures)), _) => assert_eq!(failures[0].row, row),
            other => panic!("{other:?}"),
        }
        assert_eq!(world.plane.status().failures.len(), 1);
        let told = world.plane.service(id).unwrap().failure;
        assert_eq!(told.as_deref(), (failing == "frontend").then_some("the map is full"));
        world.realize_with(&[]);
        world.done(|ticket| Event::ServiceDelete { ticket, id }).unwrap();
    }
}

#[test]
fn a_put_that_cannot_be_is_refused_at_once() {
    let mut world = World::started();
    world.send(file("web", "10.96.0.10", "10.9.0.1"));
    let mut refused = |service| {
        let refusal = put(&mut world, service).unwrap_err();
        (refusal.kind(), refusal.to_string())
    };
    assert_eq!(
        refused(api(7, "10.96.0.10", &[])),
        (
            RefusalKind::Conflict,
            "frontend-address: 10.96.0.10:80/TCP belongs to shop/web:80 already".to_owned()
        )
    );
    assert_eq!(refused(api(1, "203.0.113.1", &[])).0, RefusalKind::Conflict);
    assert_eq!(
        refused(api(0, "203.0.113.1", &[])),
        (RefusalKind::Invalid, "id: must be from 1 to 65534".to_owned())
    );
    assert_eq!(refused(api(7, "203.0.113.1", &["fd00::1"])).0, RefusalKind::Invalid);
    assert!(world.target.node.services.is_empty());
    let mut small = config(&[]);
    small.services.frontends_max = 0;
    let mut world = World::new(small);
    assert_eq!(put(&mut world, api(7, "203.0.113.1", &[])).unwrap_err().kind(), RefusalKind::Exhausted);
}

#[test]
fn an_id_is_given_again_when_the_targets_know_it_no_more() {
    let mut world = World::started();
    put(&mut world, api(7, "203.0.113.1", &[])).unwrap();
    let deleted = world.ask(|ticket| Event::ServiceDelete { ticket, id: 7 });
    let early = world.ask(|ticket| Event::ServicePut { ticket, service: api(7, "203.0.113.2", &[]) });
    let refusal = world.replies[&early].as_ref().unwrap_err();
    assert_eq!(refusal.kind(), RefusalKind::Conflict);
    assert_eq!(refusal.to_string(), "id: 7 is still being given back: try again");
    world.realize_with(&[(Row::Service(frontend("203.0.113.1", 80)), "cannot be removed")]);
    assert!(matches!(world.replies[&deleted], Err(Refusal::NotRealized(_))));
    assert!(put(&mut world, api(7, "203.0.113.2", &[])).is_err());
    world.send(Event::Realized { revision: world.target.revision, failures: vec![] });
    put(&mut world, api(7, "203.0.113.2", &[])).unwrap();
}

#[test]
fn services_are_listed_by_id_with_their_backends() {
    let mut world = World::started();
    put(&mut world, api(9, "203.0.113.1", &["10.9.0.1", "10.9.0.2"])).unwrap();
    world.send(file("web", "10.96.0.10", "10.9.0.2"));
    let views = world.plane.services();
    let shown: Vec<_> = views.iter().map(|view| (view.id, view.kind, view.owner.as_str())).collect();
    assert_eq!(shown, [(1, FrontendKind::ClusterIp, "shop/web:80"), (9, FrontendKind::Api, "api")]);
    let shared = views[0].backends[0];
    assert_eq!(shared.1.address.socket().to_string(), "10.9.0.2:8080");
    assert_eq!(shared.1.state, BackendState::Active);
    assert!(views[1].backends.contains(&shared) && views[1].backends.len() == 2);
    let status = world.plane.status();
    assert_eq!((status.services, status.backends), (2, 2));
}

#[test]
fn before_all_sources_are_known_nothing_is_told_and_ids_are_restored() {
    let mut world = World::started();
    put(&mut world, api(3, "203.0.113.1", &["10.9.0.1"])).unwrap();
    for (name, address) in [("b", "10.96.0.2"), ("gone", "10.96.0.3"), ("a", "10.96.0.1")] {
        world.send(file(name, address, "10.9.0.9"));
    }
    let mut again = World::new(config(&[SourceName::State, SourceName::Files]));
    again.send(file("a", "10.96.0.1", "10.9.0.9"));
    again.send(file("b", "10.96.0.2", "10.9.0.9"));
    let early = again.ask(|ticket| Event::ServicePut { ticket, service: api(1, "203.0.113.9", &[]) });
    again.send(Event::RestoredServices(ids_of(&world.target)));
    again.send(Event::RestoredNode(world.target.node.clone()));
    again.send(Event::SourceSynced(SourceName::Files));
    assert!(again.plane.services().is_empty() && again.plane.status().services == 0);
    again.send(Event::SourceSynced(SourceName::State));
    world.send(Event::Source { file: "gone.yaml".to_owned(), objects: Objects::default() });
    assert_eq!(ids_of(&again.target), ids_of(&world.target));
    assert_eq!(again.target.services, world.target.services);
    assert_eq!(again.target.node, world.target.node);
    // Who asked early is told that the id is another's.
    assert_eq!(again.replies[&early].as_ref().unwrap_err().kind(), RefusalKind::Conflict);
    again.send(Event::RestoredServices(Restored::default()));
    assert!(again.notices.contains(&Notice::ServicesRestoredLate));
}

#[test]
fn a_service_of_the_api_that_cannot_be_had_again_is_told() {
    let mut world = World::new(config(&[SourceName::State]));
    let services = vec![api(1, "203.0.113.1", &[]), api(2, "203.0.113.1", &[]), api(3, "0.0.0.0", &[])];
    world.send(Event::RestoredNode(NodeState { services, ..NodeState::default() }));
    world.send(Event::SourceSynced(SourceName::State));
    assert_eq!(
        world.plane.status().restore_failures[&0],
        "service 2: frontend-address: 203.0.113.1:80/TCP belongs to service 1 of the API already; \
         service 3: frontend-address.ip: 0.0.0.0 is no address of anybody"
    );
    assert_eq!(world.target.node.services.len(), 1);
}

fn pod(host_port: u16) -> Event {
    let pod = Pod {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        labels: [].into(),
        service_account: None,
        named_ports: Vec::new(),
        host_ports: vec![HostPort {
            address: None,
            port: port(host_port),
            protocol: Protocol::Tcp,
            container_port: port(80),
        }],
    };
    Event::Source { file: "pods.yaml".to_owned(), objects: Objects { pods: vec![pod], ..Objects::default() } }
}

fn host_ports(world: &World) -> Vec<String> {
    let dump = dump(&world.plane);
    let lines = dump.lines().filter(|line| line.contains("192.0.2.1:"));
    lines.map(|line| line.strip_prefix("service ").unwrap().to_owned()).collect()
}

#[test]
fn a_host_port_is_there_as_long_as_its_pod_has_an_endpoint() {
    let mut world = World::started();
    world.send(Event::NodeAddresses(vec!["192.0.2.1".parse().unwrap()]));
    world.send(pod(8000));
    assert!(host_ports(&world).is_empty());
    let mut request = request(5, &[]);
    request.k8s_namespace = "shop".to_owned();
    request.k8s_pod_name = "web".to_owned();
    let id = world.create(request.clone());
    assert_eq!(host_ports(&world), ["192.0.2.1:8000/TCP HostPort pod shop/web = 10.0.0.5:80"]);
    world.send(pod(8001));
    assert_eq!(host_ports(&world), ["192.0.2.1:8001/TCP HostPort pod shop/web = 10.0.0.5:80"]);
    let rename =
        |name: &str| EndpointPatch { k8s_pod_name: Some(name.to_owned()), ..EndpointPatch::default() };
    for (name, count) in [("other", 0), ("web", 1)] {
        let patch = rename(name);
        world
            .done(|ticket| Event::EndpointPatch { ticket, endpoint: EndpointRef::Local(id), patch })
            .unwrap();
        assert_eq!(host_ports(&world).len(), count);
    }
    // The next pod of this name has its endpoint before the old one is gone.
    let next = controlplane::EndpointRequest {
        container_id: "c6".to_owned(),
        interface: "lxc6".to_owned(),
        ipv4: Some([10, 0, 0, 6].into()),
        ..request
    };
    world.create(next);
    assert_eq!(host_ports(&world), ["192.0.2.1:8001/TCP HostPort pod shop/web = 10.0.0.6:80"]);
    world.done(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(id) }).unwrap();
    assert_eq!(host_ports(&world).len(), 1);
    let last = EndpointRef::Ipv4([10, 0, 0, 6].into());
    world.done(|ticket| Event::EndpointDelete { ticket, endpoint: last }).unwrap();
    assert!(world.target.services.is_empty() && world.target.backends.is_empty());
}

#[test]
fn a_new_endpoint_that_is_not_realized_leaves_no_host_port() {
    let mut world = World::started();
    world.send(pod(8000));
    let mut request = request(5, &[]);
    request.k8s_namespace = "shop".to_owned();
    request.k8s_pod_name = "web".to_owned();
    let ticket = world.ask(|ticket| Event::EndpointCreate { ticket, request });
    assert_eq!(world.target.services.len(), 1, "at the loopback address");
    world.realize_with(&[(Row::Endpoint(1), "no such interface")]);
    world.realize();
    assert!(world.replies[&ticket].is_err() && world.target.services.is_empty());
}

#[test]
fn what_is_refused_is_told_once_and_listed_until_it_is_not() {
    let mut small = config(&[]);
    small.services.frontends_max = 1;
    let mut world = World::new(small);
    world.send(file("a", "10.96.0.1", "10.9.0.1"));
    world.send(file("b", "10.96.0.2", "10.9.0.1"));
    world.send(file("c", "10.96.0.1", "10.9.0.1"));
    world.send(Event::Tick);
    let told: Vec<String> = world
        .notices
        .iter()
        .filter_map(|notice| match notice {
            Notice::ServiceRefused { what, reason } => Some(format!("{what}: {reason}")),
            _ => None,
        })
        .collect();
    let full = "10.96.0.2:80/TCP of shop/b:80: all 1 frontends are in use: raise --bpf-lb-map-max";
    assert_eq!(told, [full, "10.96.0.1:80/TCP of shop/c:80: shop/a:80 has it already"]);
    assert_eq!(world.plane.status().services_refused.len(), 2);
    world.send(Event::Source { file: "a.yaml".to_owned(), objects: Objects::default() });
    let refused = world.plane.status().services_refused;
    assert_eq!(refused.len(), 1, "{refused:?}");
    world.send(Event::Source { file: "c.yaml".to_owned(), objects: Objects::default() });
    assert!(world.plane.status().services_refused.is_empty());
    assert_eq!(world.target.services.keys().next(), Some(&frontend("10.96.0.2", 80)));
}

#[test]
fn many_that_are_refused_at_once_are_told_shortly() {
    let mut none = config(&[]);
    none.services.frontends_max = 0;
    let mut world = World::new(none);
    let Event::Source { objects, .. } = file("a", "10.96.0.1", "10.9.0.1") else { unreachable!() };
    let mut service = objects.services[0].clone();
    service.external_ips = (0..200).map(|n| [198, 51, 100, n].into()).collect();
    let objects = Objects { services: vec![service], ..Objects::default() };
    world.send(Event::Source { file: "a.yaml".to_owned(), objects });
    let told = world.notices.iter().filter(|one| matches!(one, Notice::ServiceRefused { .. })).count();
    assert_eq!((told, world.plane.status().services_refused.len()), (101, 201));
    let last =
        Notice::ServiceRefused { what: "101 more".to_owned(), reason: "status lists them all".to_owned() };
    assert_eq!(world.notices.last(), Some(&last));
}
