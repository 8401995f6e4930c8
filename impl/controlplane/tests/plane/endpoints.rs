// SPDX-License-Identifier: Apache-2.0
//! The life of endpoints.

use controlplane::{
    Answer, EndpointOptions, EndpointPatch, EndpointRef, EndpointRequest, Event, LogCode, Notice, Refusal,
    RefusalKind, Row, SourceName, State,
};

use crate::world::{World, config, request};

fn refused(world: &mut World, request: EndpointRequest) -> Refusal {
    world.done(|ticket| Event::EndpointCreate { ticket, request }).unwrap_err()
}

fn state(world: &World, id: u16) -> Option<State> {
    world.plane.endpoint(&EndpointRef::Local(id)).map(|view| view.state)
}

#[test]
fn a_new_endpoint_is_answered_when_its_rows_are_realized() {
    let mut world = World::started();
    let ticket = world.ask(|ticket| Event::EndpointCreate { ticket, request: request(5, &["k8s:a"]) });
    assert_eq!(state(&world, 1), Some(State::Regenerating));
    assert_eq!(world.unanswered(), [ticket]);
    let row = world.target.endpoints[&1].clone();
    assert_eq!((row.interface.as_str(), row.ifindex, row.identity), ("lxc5", 105, 256));
    assert_eq!(row.options, 1 | 2 | 4);
    assert_eq!(world.target.ipcache[&"10.0.0.5/32".parse().unwrap()].identity, 256);
    assert_eq!(world.target.state[&1].container_id, "c5");
    world.realize();
    assert_eq!(world.replies[&ticket], Ok(Answer::EndpointCreated { id: 1 }));
    assert_eq!(state(&world, 1), Some(State::Ready));
    let told = |state| Notice::EndpointState { id: 1, state: Some(state), reason: String::new() };
    assert_eq!(world.notices, [Notice::Synced, told(State::Creating), told(State::Ready)]);
    let told: Vec<String> = world
        .plane
        .endpoint_log(&EndpointRef::Local(1))
        .unwrap()
        .into_iter()
        .map(|entry| format!("{}: {}", entry.state, entry.message))
        .collect();
    assert_eq!(
        told,
        [
            "creating: created",
            "waiting-for-identity: labels are known",
            "waiting-for-identity: identity 256 for k8s:a",
            "regenerating: revision 2",
            "ready: ",
        ]
    );
}

#[test]
fn one_that_does_not_wait_is_answered_at_once() {
    let mut world = World::started();
    let request = EndpointRequest { sync_build: false, ..request(5, &["k8s:a"]) };
    let ticket = world.ask(|ticket| Event::EndpointCreate { ticket, request });
    assert_eq!(world.replies[&ticket], Ok(Answer::EndpointCreated { id: 1 }));
}

#[test]
fn an_endpoint_that_cannot_be_realized_is_refused_and_goes() {
    let mut world = World::started();
    let ticket = world.ask(|ticket| Event::EndpointCreate { ticket, request: request(5, &["k8s:a"]) });
    world.realize_with(&[(Row::Endpoint(1), "no interface lxc5")]);
    let refusal = world.replies[&ticket].clone().unwrap_err();
    assert_eq!(refusal.to_string(), "not realized: endpoint 1: no interface lxc5");
    assert_eq!(refusal.kind(), RefusalKind::Failed);
    assert_eq!(state(&world, 1), Some(State::Disconnecting));
    assert!(world.target.endpoints.is_empty() && world.target.state.is_empty());
    world.realize();
    assert_eq!(state(&world, 1), None);
    assert_eq!(world.create(request(5, &["k8s:a"])), 2);
}

#[test]
fn a_row_that_fails_makes_its_endpoint_not_ready_until_it_is_repaired() {
    let mut world = World::started();
    let (first, second) = (world.create(request(5, &["k8s:a"])), world.create(request(6, &["k8s:b"])));
    world.notices.clear();
    for row in [
        Row::Endpoint(first),
        Row::Policy(first),
        Row::State(first),
        Row::Ipcache("10.0.0.5/32".parse().unwrap()),
    ] {
        world.realize_with(&[(row, "the map is full")]);
        let view = world.plane.endpoint(&EndpointRef::Local(first)).unwrap();
        assert_eq!((view.state, view.failures.len()), (State::NotReady, 1), "{row}");
        assert_eq!(state(&world, second), Some(State::Ready));
        assert_eq!(world.plane.status().failures[0].reason, "the map is full");
        let reason = format!("{row}: the map is full");
        let bad = Notice::EndpointState { id: first, state: Some(State::NotReady), reason: reason.clone() };
        assert_eq!(world.notices, [bad]);
        let last = world.plane.endpoint_log(&EndpointRef::Local(first)).unwrap().pop().unwrap();
        assert_eq!((last.code, &*last.message), (LogCode::Failed, reason.as_str()));
        world.notices.clear();
        world.send(Event::Realized { revision: world.target.revision, failures: Vec::new() });
        assert_eq!(state(&world, first), Some(State::Ready));
        world.notices.clear();
    }
}

#[test]
fn a_change_waits_while_an_earlier_one_is_realized() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    let endpoint = EndpointRef::Local(id);
    let regenerate = |ticket| Event::EndpointRegenerate { ticket, endpoint: endpoint.clone() };
    let first = world.ask(regenerate);
    assert_eq!(state(&world, id), Some(State::Regenerating));
    let second = world.ask(regenerate);
    assert_eq!(state(&world, id), Some(State::WaitingToRegenerate));
    world.send(Event::Realized { revision: world.target.revision - 1, failures: Vec::new() });
    assert_eq!(state(&world, id), Some(State::Regenerating));
    assert_eq!(world.unanswered(), [second]);
    world.realize();
    assert_eq!(state(&world, id), Some(State::Ready));
    assert_eq!((&world.replies[&first], &world.replies[&second]), (&Ok(Answer::Done), &Ok(Answer::Done)));
}

#[test]
fn regeneration_tells_every_row_of_the_endpoint_again() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    world.create(request(6, &["k8s:b"]));
    let before = world.target.clone();
    let ticket = world.ticket();
    let deltas = world.send(Event::EndpointRegenerate { ticket, endpoint: EndpointRef::Local(id) }).unwrap();
    assert_eq!(deltas.endpoints.upserts, [(id, before.endpoints[&id].clone())]);
    assert_eq!(deltas.state.upserts, [(id, before.state[&id].clone())]);
    assert_eq!(deltas.ipcache.upserts.len(), 1);
    let policy: Vec<_> = before.policy[&id].clone().into_iter().collect();
    assert_eq!((deltas.policy.len(), &deltas.policy[0].upserts), (1, &policy));
}

#[test]
fn endpoints_are_found_by_everything_they_are_known_by() {
    let mut world = World::started();
    let mut request = request(5, &["k8s:a"]);
    request.container_name = "web".to_owned();
    (request.k8s_namespace, request.k8s_pod_name) = ("shop".to_owned(), "web-1".to_owned());
    request.ipv6 = Some("fd00::5".parse().unwrap());
    let id = world.create(request);
    for text in [
        "1",
        "cilium-local:1",
        "container-id:c5",
        "container-name:web",
        "pod-name:shop:web-1",
        "ipv4:10.0.0.5",
        "ipv6:fd00::5",
        "ipv6:fd00:0::5",
    ] {
        let found = world.plane.endpoint(&text.parse().unwrap());
        assert_eq!(found.map(|view| view.id), Some(id), "{text}");
    }
    for text in ["2", "container-id:c", "pod-name:shop:web", "ipv4:10.0.0.6"] {
        assert!(world.plane.endpoint(&text.parse().unwrap()).is_none(), "{text}");
    }
    for text in [
        "0",
        "65536",
        "+1",
        "-1",
        "",
        "cilium-local:",
        "container-id:",
        "pod-name:web-1",
        "pod-name::web-1",
        "ipv4:fd00::5",
        "cilium-global:default:1",
        "docker-endpoint:x",
        "web:1",
    ] {
        let error = text.parse::<EndpointRef>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
}

#[test]
fn what_another_endpoint_has_is_refused_with_the_field() {
    let mut world = World::started();
    let mut first = request(5, &["k8s:a"]);
    first.container_name = "web".to_owned();
    (first.k8s_namespace, first.k8s_pod_name) = ("shop".to_owned(), "web-1".to_owned());
    first.id = 7;
    assert_eq!(world.create(first.clone()), 7);
    type Change = fn(&mut EndpointRequest, &EndpointRequest);
    let fields: [(&str, Change); 5] = [
        ("container-id", |new, old| new.container_id = old.container_id.clone()),
        ("container-name", |new, old| new.container_name = old.container_name.clone()),
        ("interface-name", |new, old| new.interface = old.interface.clone()),
        ("id", |new, old| new.id = old.id),
        ("10.0.0.5", |new, old| new.ipv4 = old.ipv4),
    ];
    for (field, change) in fields {
        let mut second = request(6, &["k8s:a"]);
        change(&mut second, &first);
        let refusal = refused(&mut world, second);
        assert!(refusal.to_string().starts_with(field), "{refusal}");
        assert!(refusal.to_string().contains("endpoint 7"), "{refusal}");
        assert_eq!(refusal.kind(), RefusalKind::Conflict);
    }
    assert_eq!(world.plane.endpoints().len(), 1);
    assert_eq!(world.plane.ipam().ipv4.unwrap().given.len(), 1);
    // An address outside of the range is nobody's but the endpoint's.
    let mut outside = request(8, &["k8s:a"]);
    outside.ipv4 = Some("172.16.0.8".parse().unwrap());
    world.create(outside.clone());
    let twice = refused(&mut world, EndpointRequest { ipv4: outside.ipv4, ..request(9, &["k8s:a"]) });
    assert!(twice.to_string().starts_with("addressing.ipv4: 172.16.0.8"), "{twice}");
}

#[test]
fn a_pod_made_again_before_its_old_endpoint_is_deleted_is_the_new_one() {
    let mut world = World::started();
    let of_pod = |n| EndpointRequest {
        k8s_namespace: "shop".to_owned(),
        k8s_pod_name: "web-0".to_owned(),
        ..request(n, &["k8s:a"])
    };
    let (old, new) = (world.create(of_pod(5)), world.create(of_pod(6)));
    let pod: EndpointRef = "pod-name:shop:web-0".parse().unwrap();
    let found = |world: &World| world.plane.endpoint(&pod).map(|view| view.id);
    assert_eq!(found(&world), Some(new));
    let delete = |id| move |ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(id) };
    world.done(delete(old)).unwrap();
    assert_eq!(found(&world), Some(new));
    world.done(delete(new)).unwrap();
    assert_eq!(found(&world), None);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_field() {
    let mut world = World::started();
    world.send(Event::NodeAddresses(vec!["192.0.2.1".parse().unwrap()]));
    let good = request(5, &["k8s:a"]);
    let with_v4 = |ip: &str| EndpointRequest { ipv4: Some(ip.parse().unwrap()), ..good.clone() };
    let cases = [
        (EndpointRequest { interface: String::new(), ..good.clone() }, "interface-name: must not be empty"),
        (EndpointRequest { ipv4: None, ..good.clone() }, "addressing: an endpoint needs"),
        (with_v4("127.0.0.1"), "addressing: 127.0.0.1 cannot be"),
        (with_v4("224.0.0.1"), "addressing: 224.0.0.1 cannot be"),
        (with_v4("192.0.2.1"), "addressing: 192.0.2.1 is an address of the node"),
        (with_v4("10.0.0.1"), "addressing: 10.0.0.1 is an address of the node"),
        (with_v4("10.0.0.255"), "10.0.0.255 is reserved"),
        (EndpointRequest { k8s_pod_name: "a".to_owned(), ..good.clone() }, "k8s-namespace: must be given"),
        (request(5, &["reserved:host"]), "labels: reserved:host cannot be given"),
    ];
    for (request, message) in cases {
        let refusal = refused(&mut world, request);
        assert!(refusal.to_string().starts_with(message), "{refusal}");
    }
    let mut only_v6 = config(&[]);
    only_v6.ipv4 = None;
    let mut world = World::new(only_v6);
    assert_eq!(refused(&mut world, good).to_string(), "ipv4 is not enabled");
    assert!(world.plane.endpoints().is_empty());
}

#[test]
fn numbers_of_endpoints_are_reused_as_late_as_possible() {
    let mut world = World::started();
    let last = EndpointRequest { id: 65534, ..request(5, &[]) };
    assert_eq!(world.create(last), 65534);
    assert_eq!(world.create(request(6, &[])), 65535);
    assert_eq!(world.create(request(7, &[])), 1);
    let delete =
        |ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::ContainerId("c7".to_owned()) };
    assert_eq!(world.done(delete), Ok(Answer::Done));
    assert_eq!(world.create(request(7, &[])), 2);
}

#[test]
fn one_that_goes_is_found_by_its_number_only_and_another_can_have_its_name() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    let delete = |ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(id) };
    let first = world.ask(delete);
    assert_eq!(state(&world, id), Some(State::Disconnecting));
    assert!(world.plane.endpoint(&EndpointRef::ContainerId("c5".to_owned())).is_none());
    let regenerate = |ticket| Event::EndpointRegenerate { ticket, endpoint: EndpointRef::Local(id) };
    let ticket = world.ask(regenerate);
    assert_eq!(world.replies[&ticket], Err(Refusal::Disconnecting(id)));
    let again = EndpointRequest { ipv4: Some("10.0.0.6".parse().unwrap()), ..request(5, &["k8s:a"]) };
    let ticket = world.ask(|ticket| Event::EndpointCreate { ticket, request: again });
    world.realize();
    assert_eq!(world.replies[&first], Ok(Answer::Done));
    assert_eq!(world.replies[&ticket], Ok(Answer::EndpointCreated { id: 2 }));
    assert_eq!(world.done(regenerate), Err(Refusal::NoEndpoint("cilium-local:1".to_owned())));
}

#[test]
fn a_deletion_that_is_not_realized_is_told_and_ends_when_it_is() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    let delete = |ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(id) };
    let first = world.ask(delete);
    world.realize_with(&[(Row::Endpoint(id), "busy")]);
    assert_eq!(world.replies[&first].clone().unwrap_err().to_string(), "not realized: endpoint 1: busy");
    assert_eq!(state(&world, id), Some(State::Disconnecting));
    let second = world.ask(delete);
    world.send(Event::Realized { revision: world.target.revision, failures: Vec::new() });
    assert_eq!(state(&world, id), None);
    assert_eq!(world.plane.ipam().ipv4.unwrap().given.len(), 0);
    assert!(world.replies.contains_key(&second));
}

#[test]
fn a_deletion_before_the_creation_is_realized_answers_both() {
    let mut world = World::started();
    let create = world.ask(|ticket| Event::EndpointCreate { ticket, request: request(5, &[]) });
    let delete = world.ask(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(1) });
    world.realize();
    assert_eq!(world.replies[&create], Err(Refusal::Deleted(1)));
    assert_eq!(world.replies[&delete], Ok(Answer::Done));
}

#[test]
fn options_of_the_node_hold_where_an_endpoint_has_none_of_its_own() {
    let mut world = World::started();
    let (first, second) = (world.create(request(5, &[])), world.create(request(6, &[])));
    let options = |pairs: &[(&str, &str)]| EndpointOptions::parse(pairs.iter().copied()).unwrap();
    let own = options(&[("debug", "Enabled"), ("DropNotification", "off")]);
    let set =
        |ticket| Event::EndpointConfig { ticket, endpoint: EndpointRef::Local(first), options: own.clone() };
    assert_eq!(world.done(set), Ok(Answer::Done));
    assert_eq!(world.target.endpoints[&first].options, 2 | 4 | 16);
    assert_eq!(world.target.endpoints[&second].options, 1 | 2 | 4);
    let patch = controlplane::ConfigPatch {
        options: options(&[("TraceNotification", "false"), ("DropNotification", "true")]),
        enforcement: None,
    };
    assert_eq!(world.done(|ticket| Event::Config { ticket, patch }), Ok(Answer::Done));
    assert_eq!(world.target.endpoints[&first].options, 4 | 16);
    assert_eq!(world.target.endpoints[&second].options, 1 | 4);
    let view = world.plane.endpoint(&EndpointRef::Local(first)).unwrap();
    assert_eq!((view.options, view.effective_options.bits()), (own, 4 | 16));
    for (name, message) in [
        ("Conntrack", "option Conntrack is not supported: connections are always tracked"),
        ("nat46", "option NAT46 is not supported"),
        ("Foo", "option \"Foo\" does not exist: one of ConntrackAccounting"),
    ] {
        let error = EndpointOptions::parse([(name, "Enabled")]).unwrap_err();
        assert!(error.to_string().starts_with(message), "{error}");
    }
    let error = EndpointOptions::parse([("Debug", "2")]).unwrap_err();
    assert_eq!(error.to_string(), "option Debug: \"2\" is neither Enabled nor Disabled");
}

#[test]
fn a_patch_changes_what_the_endpoint_is_known_by() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    world.create(request(6, &["k8s:a"]));
    let patched = |world: &mut World, patch: EndpointPatch| {
        world.done(|ticket| Event::EndpointPatch { ticket, endpoint: EndpointRef::Local(id), patch })
    };
    let patch = EndpointPatch {
        container_id: Some("new".to_owned()),
        interface: Some("lxcnew".to_owned()),
        ifindex: Some(77),
        mac: Some([2, 9, 9, 9, 9, 9]),
        ..EndpointPatch::default()
    };
    assert_eq!(patched(&mut world, patch), Ok(Answer::Done));
    let row = &world.target.endpoints[&id];
    assert_eq!((row.interface.as_str(), row.ifindex, row.mac), ("lxcnew", 77, [2, 9, 9, 9, 9, 9]));
    assert!(world.plane.endpoint(&EndpointRef::ContainerId("c5".to_owned())).is_none());
    assert!(world.plane.endpoint(&EndpointRef::ContainerId("new".to_owned())).is_some());
    let taken = EndpointPatch { container_id: Some("c6".to_owned()), ..EndpointPatch::default() };
    assert!(matches!(patched(&mut world, taken), Err(Refusal::Duplicate { field: "container-id", .. })));
    let empty = EndpointPatch { interface: Some(String::new()), ..EndpointPatch::default() };
    assert!(matches!(patched(&mut world, empty), Err(Refusal::Field { field: "interface-name", .. })));
    assert_eq!(world.target.endpoints[&id].interface, "lxcnew");
}

#[test]
fn the_log_of_an_endpoint_keeps_the_last_256_entries() {
    let mut world = World::started();
    let id = world.create(request(5, &[]));
    for _ in 0..200 {
        world.done(|ticket| Event::EndpointRegenerate { ticket, endpoint: EndpointRef::Local(id) }).unwrap();
    }
    let log = world.plane.endpoint_log(&EndpointRef::Local(id)).unwrap();
    assert_eq!(log.len(), 256);
    assert!(log.is_sorted_by_key(|entry| entry.at));
    assert!(log[0].at.0 > 1200 && log[0].message != "created");
}

#[test]
fn too_many_requests_before_the_start_are_refused_as_busy() {
    let mut world = World::new(config(&[SourceName::Files]));
    for _ in 0..4096 {
        world.ask(|ticket| Event::PolicyDelete { ticket, labels: Default::default() });
    }
    assert_eq!(world.plane.status().queued, 4096);
    let over = world.ask(|ticket| Event::EndpointCreate { ticket, request: request(5, &[]) });
    assert_eq!(world.replies[&over].clone().unwrap_err().kind(), RefusalKind::Busy);
    world.send(Event::SourceSynced(SourceName::Files));
    world.realize();
    assert!(world.unanswered().is_empty());
}

#[test]
fn too_many_requests_that_wait_for_the_targets_are_refused_as_busy() {
    let mut world = World::started();
    let id = world.create(request(5, &[]));
    let regenerate = |ticket| Event::EndpointRegenerate { ticket, endpoint: EndpointRef::Local(id) };
    for _ in 0..4096 {
        world.ask(regenerate);
    }
    let over = world.ask(regenerate);
    assert_eq!(world.replies[&over], Err(Refusal::Busy(4096)));
    assert_eq!(world.plane.status().waiting, 4096);
    world.realize();
    assert!(world.unanswered().is_empty());
    assert_eq!(world.plane.endpoint(&EndpointRef::Local(id)).unwrap().state, State::Ready);
}
