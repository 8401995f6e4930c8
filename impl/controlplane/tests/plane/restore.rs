// SPDX-License-Identifier: Apache-2.0
//! What a new run of the agent makes of what the last one left.

use controlplane::{
    Answer, Desired, EndpointRef, EndpointState, Event, Family, IpamRequest, LabelChange, NodeState, Notice,
    Objects, Pod, SourceName, State,
};

use crate::world::{World, config, labels, lets_in, request, rules};

const ALL: [SourceName; 3] = [SourceName::State, SourceName::Files, SourceName::Node];

/// What restart tells: the files that the last run left, then what the sources say.
fn restart(left: &Desired, files: &[Event]) -> World {
    let mut world = World::new(config(&ALL));
    for file in left.state.values() {
        // As the agent does: through the file's bytes.
        let text = serde_json::to_string(file).unwrap();
        world.send(Event::Restored(serde_json::from_str(&text).unwrap()));
    }
    let text = serde_json::to_string(&left.node).unwrap();
    world.send(Event::RestoredNode(serde_json::from_str(&text).unwrap()));
    world.send(Event::SourceSynced(SourceName::State));
    for event in files {
        world.send(event.clone());
    }
    world.send(Event::SourceSynced(SourceName::Files));
    world.send(Event::NodeAddresses(vec![]));
    world
}

fn prefixes(file: &str) -> Event {
    let json = r#"{"endpointSelector": {"matchLabels": {"a": ""}}, "egress": [
        {"toCIDR": ["192.0.2.0/24", "198.51.100.0/24"]}]}"#;
    Event::Source { file: file.to_owned(), objects: Objects { rules: rules(json), ..Objects::default() } }
}

/// The same rows, but for the numbers of rules, which follow the order in which they were added.
fn same(left: &Desired, right: &Desired) {
    let without_rules = |desired: &Desired| -> Vec<(u16, Vec<policy::PolicyKey>)> {
        desired.policy.iter().map(|(id, map)| (*id, map.keys().copied().collect())).collect()
    };
    assert_eq!(left.endpoints, right.endpoints);
    assert_eq!(without_rules(left), without_rules(right));
    assert_eq!(left.ipcache, right.ipcache);
    assert_eq!(left.state, right.state);
    assert_eq!(left.node, right.node);
}

#[test]
fn a_restart_makes_the_same_tables_with_the_same_numbers() {
    let mut world = World::started();
    // Numbers that a fresh count would not give.
    for n in [5, 6] {
        world.create(request(n, &["k8s:gone"]));
        let endpoint = EndpointRef::ContainerId(format!("c{n}"));
        world.done(|ticket| Event::EndpointDelete { ticket, endpoint }).unwrap();
    }
    world.file("old.yaml", rules(r#"{"endpointSelector": {}, "egress": [{"toCIDR": ["203.0.113.0/24"]}]}"#));
    world.file("old.yaml", vec![]);
    let b = world.create(request(7, &["k8s:b"]));
    let a = world.create(request(8, &["k8s:a", "k8s:zone=x"]));
    world.send(prefixes("p.yaml"));
    let of_api = vec![lets_in("one", "a", "b")];
    world.done(|ticket| Event::PolicyAdd { ticket, rules: of_api, replace: false }).unwrap();
    let change = LabelChange::Patch { add: labels(&["mine"]), delete: labels(&["zone"]) };
    let endpoint = EndpointRef::Local(a);
    world.done(|ticket| Event::EndpointLabels { ticket, endpoint, change }).unwrap();
    let again = restart(&world.target, &[prefixes("p.yaml")]);
    same(&world.target, &again.target);
    assert!(again.notices.contains(&Notice::Synced));
    let view = again.plane.endpoint(&EndpointRef::Local(a)).unwrap();
    assert_eq!(view.labels.user.printable(), ["unspec:mine"]);
    assert_eq!(view.labels.disabled.printable(), ["k8s:zone=x"]);
    // Nor does the new run give what is in use, or what was given before.
    let mut again = again;
    again.realize();
    let new = again.create(request(2, &["k8s:new"]));
    assert!(new > a.max(b));
    assert!(again.target.endpoints[&new].identity > again.target.endpoints[&a].identity);
    let any = IpamRequest::Allocate { family: Some(Family::Ipv4), owner: "x".to_owned(), expires: false };
    let given = again.done(|ticket| Event::Ipam { ticket, request: any });
    assert_eq!(given, Ok(Answer::Addresses { ipv4: Some("10.0.0.9".parse().unwrap()), ipv6: None }));
}

#[test]
fn nothing_is_told_before_every_source_is_known() {
    let mut world = World::started();
    world.create(request(5, &["k8s:a"]));
    let left = world.target.clone();
    let mut world = World::new(config(&ALL));
    world.send(Event::Restored(left.state[&1].clone()));
    let view = world.plane.endpoint(&EndpointRef::ContainerId("c5".to_owned())).unwrap();
    assert_eq!((view.state, view.identity.map(|id| id.as_u32())), (State::Restoring, Some(256)));
    world.send(Event::SourceSynced(SourceName::State));
    assert_eq!(
        world.notices,
        [Notice::Waiting(vec![SourceName::Files, SourceName::Node])],
        "what is missing is named"
    );
    world.send(prefixes("p.yaml"));
    world.send(Event::SourceSynced(SourceName::Files));
    let waiting = world.ask(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(1) });
    assert!(!world.plane.is_started());
    assert_eq!(world.plane.status().unsynced.len(), 1);
    assert_eq!(world.unanswered(), [waiting]);
    world.send(Event::NodeAddresses(vec![]));
    assert!(world.plane.is_started() && world.target.endpoints.is_empty());
    world.realize();
    assert_eq!(world.replies[&waiting], Ok(Answer::Done));
}

#[test]
fn requests_before_the_start_take_nothing_that_a_restored_endpoint_has() {
    let mut world = World::started();
    let left = EndpointState { id: 1, ..world_state(&mut world) };
    let mut world = World::new(config(&[SourceName::State]));
    let mut other = request(6, &["k8s:other"]);
    other.ipv4 = left.ipv4;
    let first = world.ask(|ticket| Event::EndpointCreate { ticket, request: request(9, &["k8s:new"]) });
    let second = world.ask(|ticket| Event::EndpointCreate { ticket, request: other });
    world.send(Event::Restored(left.clone()));
    world.send(Event::SourceSynced(SourceName::State));
    world.realize();
    assert_eq!(world.replies[&first], Ok(Answer::EndpointCreated { id: 2 }));
    let refusal = world.replies[&second].clone().unwrap_err();
    assert_eq!(refusal.to_string(), "10.0.0.5 is given to endpoint 1 already");
    assert_eq!(world.target.state[&1], left);
    assert_ne!(world.target.endpoints[&2].identity, left.identity);
}

fn world_state(world: &mut World) -> EndpointState {
    let id = world.create(request(5, &["k8s:a"]));
    world.target.state[&id].clone()
}

#[test]
fn what_cannot_be_restored_is_told_and_the_rest_is() {
    let mut world = World::started();
    let good = world_state(&mut world);
    let with = |change: fn(&mut EndpointState)| {
        let mut state = good.clone();
        change(&mut state);
        state
    };
    let bad = [
        with(|state| (state.id, state.version) = (2, 9)),
        with(|state| (state.id, state.interface) = (3, String::new())),
        with(|state| (state.id, state.identity_labels) = (4, labels(&[]))),
        with(|state| (state.id, state.interface, state.container_id) = (5, "x".to_owned(), "x".to_owned())),
        with(|state| {
            (state.id, state.interface, state.container_id) = (6, "y".to_owned(), "y".to_owned());
            state.ipv4 = Some("192.0.2.1".parse().unwrap());
        }),
        with(|state| state.id = 0),
    ];
    let mut world = World::new(config(&ALL));
    for state in bad {
        world.send(Event::Restored(state));
    }
    world.send(Event::Restored(good.clone()));
    world.send(Event::RestoreFailed { id: 9, reason: "9.json: expected value at line 1".to_owned() });
    world.send(Event::NodeAddresses(vec!["192.0.2.1".parse().unwrap()]));
    world.send(Event::SourceSynced(SourceName::State));
    world.send(Event::SourceSynced(SourceName::Files));
    let told: Vec<String> = world
        .plane
        .status()
        .restore_failures
        .into_iter()
        .map(|(id, reason)| format!("{id}: {reason}"))
        .collect();
    assert_eq!(
        told,
        [
            "0: id: must be from 1 to 65535",
            "2: version: 9 is not supported, only 1 is",
            "3: interface: must not be empty",
            "4: identity-labels: must not be empty",
            "5: addressing.ipv4: 10.0.0.5 belongs to endpoint 1 already",
            "6: addressing: 192.0.2.1 is an address of the node",
            "9: 9.json: expected value at line 1",
        ]
    );
    assert_eq!(world.target.endpoints.len(), 1);
    assert_eq!(world.notices.iter().filter(|one| matches!(one, Notice::RestoreFailed { .. })).count(), 7);
}

#[test]
fn labels_that_changed_while_the_agent_was_away_make_another_identity() {
    let mut world = World::started();
    let pod = |app: &str| {
        let pod = Pod {
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            labels: [("app".to_owned(), app.to_owned())].into(),
            service_account: None,
            named_ports: Vec::new(),
            host_ports: Vec::new(),
        };
        Event::Source {
            file: "pods.yaml".to_owned(),
            objects: Objects { pods: vec![pod], ..Objects::default() },
        }
    };
    world.send(pod("old"));
    let mut request = request(5, &[]);
    (request.k8s_namespace, request.k8s_pod_name) = ("shop".to_owned(), "web".to_owned());
    let id = world.create(request);
    let old = world.target.endpoints[&id].identity;
    let again = restart(&world.target, &[pod("new")]);
    assert_ne!(again.target.endpoints[&id].identity, old);
    assert!(again.plane.identity(identity::NumericIdentity::new(old)).is_none());
    let without_file = restart(&world.target, &[]);
    assert_eq!(without_file.target.endpoints[&id].identity, old, "the last known labels stay");
}

#[test]
fn an_endpoint_of_another_cluster_id_gets_a_new_number() {
    let mut world = World::started();
    let left = world_state(&mut world);
    let mut other = config(&[SourceName::State]);
    other.cluster_id = 3;
    let mut world = World::new(other);
    world.send(Event::Restored(left));
    world.send(Event::SourceSynced(SourceName::State));
    assert_eq!(world.target.endpoints[&1].identity, 0x3_0100);
    assert_eq!(world.plane.identities().iter().filter(|view| view.references > 0).count(), 1);
}

#[test]
fn numbers_of_prefixes_that_cannot_be_are_told_and_given_anew() {
    let mut world = World::new(config(&[SourceName::State]));
    let cidr_identities =
        [("192.0.2.0/24".parse().unwrap(), 300), ("198.51.100.0/24".parse().unwrap(), 0x0100_0007)].into();
    world.send(Event::RestoredNode(NodeState { cidr_identities, ..NodeState::default() }));
    world.send(prefixes("p.yaml"));
    world.send(Event::SourceSynced(SourceName::State));
    assert!(world.plane.status().restore_failures[&0].starts_with("identity of 192.0.2.0/24"));
    let kept = world.target.ipcache[&"198.51.100.0/24".parse().unwrap()];
    assert_eq!(kept.identity, 0x0100_0007);
    assert_eq!(world.target.node.cidr_identities.len(), 2);
}

#[test]
fn prefixes_that_no_rule_names_any_more_are_forgotten() {
    let mut world = World::new(config(&[SourceName::State]));
    let cidr_identities = [("198.51.100.0/24".parse().unwrap(), 0x0100_0007)].into();
    world.send(Event::RestoredNode(NodeState { cidr_identities, ..NodeState::default() }));
    world.send(Event::SourceSynced(SourceName::State));
    assert_eq!(world.target.node, NodeState::default());
    assert!(world.plane.identity(identity::NumericIdentity::new(0x0100_0007)).is_none());
}

#[test]
fn an_endpoint_restored_after_the_start_is_had_where_its_place_is_free() {
    let mut world = World::started();
    let left = world_state(&mut world);
    world.send(Event::Restored(left.clone()));
    assert_eq!(world.plane.status().restore_failures[&1], "another endpoint has its number");
    let mut world = World::started();
    world.send(Event::Restored(left.clone()));
    assert_eq!(world.target.state[&1], left);
    world.realize();
    let view = world.plane.endpoint(&EndpointRef::Local(1)).unwrap();
    assert_eq!(view.state, State::Ready);
}

#[test]
fn a_state_file_with_a_field_that_is_not_known_is_refused() {
    let mut world = World::started();
    let left = world_state(&mut world);
    let mut json = serde_json::to_value(&left).unwrap();
    json["tunnel"] = serde_json::json!(1);
    let error = serde_json::from_value::<EndpointState>(json).unwrap_err();
    assert!(error.to_string().contains("unknown field `tunnel`"), "{error}");
}
