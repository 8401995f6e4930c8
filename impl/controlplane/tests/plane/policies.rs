// SPDX-License-Identifier: Apache-2.0
//! Rules by owner, and what they make of policy maps, prefixes and replies.

use controlplane::{Answer, ConfigPatch, EndpointRef, Event, Notice, Refusal, RefusalKind, Row, State};
use identity::{LabelArray, NumericIdentity};
use policy::{Direction, EnforcementMode, PolicyKey, Rule};

use crate::world::{World, lets_in, request, rules};

fn add(world: &mut World, rules: Vec<Rule>, replace: bool) -> Result<Answer, Refusal> {
    world.done(|ticket| Event::PolicyAdd { ticket, rules, replace })
}

fn delete(world: &mut World, texts: &[&str]) -> Result<Answer, Refusal> {
    let labels = LabelArray::parse_selecting(texts).unwrap();
    world.done(|ticket| Event::PolicyDelete { ticket, labels })
}

fn owners(world: &World) -> Vec<(String, String)> {
    let (_, rules) = world.plane.policy(&LabelArray::default());
    rules.into_iter().map(|(owner, rule)| (owner, rule.labels().to_string())).collect()
}

fn keys(world: &World, id: u16) -> Vec<PolicyKey> {
    world.target.policy[&id].keys().copied().collect()
}

const IN: Direction = Direction::Ingress;
const OUT: Direction = Direction::Egress;

#[test]
fn the_api_and_files_own_their_rules_and_touch_no_others() {
    let mut world = World::started();
    assert_eq!(
        add(&mut world, vec![lets_in("one", "a", "b")], false),
        Ok(Answer::PolicyAdded { revision: 2 })
    );
    world.file("p.yaml", vec![lets_in("one", "a", "c"), lets_in("two", "a", "d")]);
    world.file("q.yaml", vec![lets_in("one", "a", "e")]);
    world.file("p.yaml", vec![lets_in("three", "a", "f")]);
    let row = |owner: &str, label: &str| (owner.to_owned(), format!("[unspec:{label}]"));
    assert_eq!(owners(&world), [row("", "one"), row("q.yaml", "one"), row("p.yaml", "three")]);
    assert_eq!(
        add(&mut world, vec![lets_in("one", "a", "g")], true),
        Ok(Answer::PolicyAdded { revision: 6 })
    );
    assert_eq!(owners(&world).len(), 3);
    assert_eq!(delete(&mut world, &["one"]), Ok(Answer::PolicyDeleted { revision: 7, deleted: 1 }));
    assert_eq!(owners(&world), [row("q.yaml", "one"), row("p.yaml", "three")]);
    let refusal = delete(&mut world, &["one"]).unwrap_err();
    assert_eq!(refusal.to_string(), "the rules with the labels [any:one] come from q.yaml: change that file");
    assert_eq!(delete(&mut world, &["none"]).unwrap_err().kind(), RefusalKind::NotFound);
    assert_eq!(delete(&mut world, &[]), Ok(Answer::PolicyDeleted { revision: 7, deleted: 0 }));
    world.file("q.yaml", vec![]);
    world.file("p.yaml", vec![]);
    assert!(owners(&world).is_empty());
}

#[test]
fn a_file_with_the_same_rules_again_changes_nothing() {
    let mut world = World::started();
    world.create(request(5, &["k8s:a"]));
    world.file("p.yaml", vec![lets_in("one", "a", "b"), lets_in("two", "a", "c")]);
    let before = (world.target.clone(), world.plane.status().policy_revision);
    world.file("p.yaml", vec![lets_in("two", "a", "c"), lets_in("one", "a", "b")]);
    assert_eq!((world.target.clone(), world.plane.status().policy_revision), before);
}

#[test]
fn rules_become_entries_and_an_answer_waits_until_they_are_realized() {
    let mut world = World::started();
    let (a, b) = (world.create(request(5, &["k8s:a"])), world.create(request(6, &["k8s:b"])));
    assert_eq!(keys(&world, a), [PolicyKey::any(IN), PolicyKey::any(OUT)]);
    let ticket = world.ask(|ticket| Event::PolicyAdd {
        ticket,
        rules: vec![lets_in("one", "a", "b")],
        replace: false,
    });
    let peer = world.target.endpoints[&b].identity;
    assert_eq!(keys(&world, a), [PolicyKey::any(OUT), PolicyKey::identity(peer, IN)]);
    let view = |world: &World, id| world.plane.endpoint(&EndpointRef::Local(id)).unwrap();
    let policy = view(&world, a).policy;
    assert_eq!((policy.enforcing_ingress, policy.enforcing_egress), (true, false));
    assert_eq!((policy.allowed_ingress, policy.allowed_egress), (vec![peer], vec![0]));
    assert_eq!((policy.revision, policy.realized_revision), (2, 1));
    assert_eq!(view(&world, b).policy.realized_revision, 1, "b has nothing to wait for but the agent has");
    assert_eq!(world.unanswered(), [ticket]);
    world.realize();
    assert_eq!(world.replies[&ticket], Ok(Answer::PolicyAdded { revision: 2 }));
    for id in [a, b] {
        assert_eq!(view(&world, id).policy.realized_revision, 2);
    }
    assert_eq!(world.plane.status().realized_policy_revision, 2);
}

#[test]
fn a_policy_map_that_fails_fails_the_answer_and_keeps_the_endpoint_behind() {
    let mut world = World::started();
    let (a, b) = (world.create(request(5, &["k8s:a"])), world.create(request(6, &["k8s:b"])));
    let ticket = world.ask(|ticket| Event::PolicyAdd {
        ticket,
        rules: vec![lets_in("one", "a", "b")],
        replace: false,
    });
    world.realize_with(&[(Row::Policy(a), "the map is full")]);
    let refusal = world.replies[&ticket].clone().unwrap_err();
    assert_eq!(refusal.to_string(), "not realized: policy map of endpoint 1: the map is full");
    let view = |world: &World, id| world.plane.endpoint(&EndpointRef::Local(id)).unwrap();
    assert_eq!((view(&world, a).state, view(&world, b).state), (State::NotReady, State::Ready));
    assert_eq!(view(&world, a).policy.realized_revision, 1);
    assert_eq!(view(&world, b).policy.realized_revision, 2);
    world.send(Event::Realized { revision: world.target.revision, failures: vec![] });
    assert_eq!((view(&world, a).state, view(&world, a).policy.realized_revision), (State::Ready, 2));
}

#[test]
fn a_service_that_fails_is_none_of_a_policys_business() {
    let mut world = World::started();
    world.create(request(5, &["k8s:a"]));
    let ticket = world.ask(|ticket| Event::PolicyAdd {
        ticket,
        rules: vec![lets_in("one", "a", "b")],
        replace: false,
    });
    let frontend = loadbalancer::Frontend {
        address: "10.96.0.10".parse().unwrap(),
        port: addr::Port::new(80).unwrap(),
        protocol: addr::Protocol::Tcp,
        scope: loadbalancer::Scope::External,
    };
    world.realize_with(&[(Row::Service(frontend), "the map is full"), (Row::Backend(3), "the map is full")]);
    assert!(matches!(world.replies[&ticket], Ok(Answer::PolicyAdded { .. })), "{:?}", world.replies[&ticket]);
}

#[test]
fn rules_whose_epoch_could_not_be_raised_are_not_realized() {
    let mut world = World::started();
    world.create(request(5, &["k8s:a"]));
    let ticket = world.ask(|ticket| Event::PolicyAdd {
        ticket,
        rules: vec![lets_in("one", "a", "b")],
        replace: false,
    });
    world.realize_with(&[(Row::Datapath, "the map is frozen")]);
    assert!(matches!(&world.replies[&ticket], Err(Refusal::NotRealized(failures)) if failures.len() == 1));
}

#[test]
fn identities_that_come_and_go_are_one_entry_each() {
    let mut world = World::started();
    let a = world.create(request(5, &["k8s:a"]));
    world.file("p.yaml", vec![lets_in("one", "a", "b")]);
    world.realize();
    assert_eq!(keys(&world, a), [PolicyKey::any(OUT)]);
    let ticket = world.ticket();
    let deltas = world.send(Event::EndpointCreate { ticket, request: request(6, &["k8s:b"]) }).unwrap();
    let to_a = deltas.policy.iter().find(|delta| delta.endpoint == a).unwrap();
    assert_eq!((to_a.upserts.len(), to_a.removals.len()), (1, 0));
    world.realize();
    let ticket = world.ticket();
    let endpoint = EndpointRef::ContainerId("c6".to_owned());
    let deltas = world.send(Event::EndpointDelete { ticket, endpoint }).unwrap();
    assert_eq!((deltas.policy.len(), deltas.policy[0].removals.len()), (1, 1));
    assert_eq!(keys(&world, a), [PolicyKey::any(OUT)]);
}

#[test]
fn prefixes_of_rules_have_local_identities_and_rows_until_no_rule_names_them() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    let rule = |label: &str| {
        rules(&format!(
            r#"{{"endpointSelector": {{}}, "labels": ["{label}"], "egress": [{{"toCIDRSet":
               [{{"cidr": "192.0.2.0/24", "except": ["192.0.2.128/25"]}}]}}, {{"toCIDR": ["10.0.0.5/32"]}}]}}"#
        ))
    };
    add(&mut world, rule("one"), false).unwrap();
    world.file("p.yaml", rule("two"));
    let row = |world: &World, prefix: &str| {
        world.target.ipcache.get(&prefix.parse().unwrap()).map(|row| row.identity)
    };
    let wide = row(&world, "192.0.2.0/24").unwrap();
    let hole = row(&world, "192.0.2.128/25").unwrap();
    assert!(NumericIdentity::new(wide).is_local() && NumericIdentity::new(hole).is_local());
    let of_endpoint = world.target.endpoints[&id].identity;
    assert_eq!(row(&world, "10.0.0.5/32"), Some(of_endpoint), "an endpoint's address stays its own");
    assert_eq!(world.target.node.cidr_identities.len(), 3);
    let allowed = keys(&world, id).into_iter().filter(|key| key.direction == OUT);
    let allowed: Vec<u32> = allowed.map(|key| key.identity).collect();
    assert!(allowed.contains(&wide) && !allowed.contains(&hole), "{allowed:?}");
    delete(&mut world, &["one"]).unwrap();
    assert_eq!(row(&world, "192.0.2.0/24"), Some(wide));
    world.file("p.yaml", vec![]);
    assert_eq!((row(&world, "192.0.2.0/24"), row(&world, "192.0.2.128/25")), (None, None));
    assert_eq!(row(&world, "10.0.0.5/32"), Some(of_endpoint));
    assert!(world.target.node.cidr_identities.is_empty());
    assert_eq!(world.plane.identity(NumericIdentity::new(wide)), None);
}

#[test]
fn a_prefix_whose_endpoint_goes_is_a_prefix_again() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    world.file("p.yaml", rules(r#"{"endpointSelector": {}, "egress": [{"toCIDR": ["10.0.0.5/32"]}]}"#));
    world.done(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(id) }).unwrap();
    let row = world.target.ipcache[&"10.0.0.5/32".parse().unwrap()];
    assert!(NumericIdentity::new(row.identity).is_local());
}

#[test]
fn addresses_of_the_node_are_the_host() {
    let mut world = World::started();
    world.file("p.yaml", rules(r#"{"endpointSelector": {}, "egress": [{"toCIDR": ["192.0.2.1/32"]}]}"#));
    let host = |world: &World, address: &str| {
        world.target.ipcache.get(&address.parse().unwrap()).map(|row| row.identity)
    };
    world.send(Event::NodeAddresses(vec!["192.0.2.1".parse().unwrap(), "fe80::1".parse().unwrap()]));
    assert_eq!(host(&world, "192.0.2.1/32"), Some(1));
    assert_eq!(host(&world, "fe80::1/128"), Some(1));
    assert_eq!(host(&world, "10.0.0.1/32"), Some(1));
    world.send(Event::NodeAddresses(vec!["192.0.2.2".parse().unwrap()]));
    assert!(NumericIdentity::new(host(&world, "192.0.2.1/32").unwrap()).is_local());
    assert_eq!(host(&world, "fe80::1/128"), None);
    world.create(request(9, &["k8s:a"]));
    world.send(Event::NodeAddresses(vec!["10.0.0.9".parse().unwrap()]));
    let address = "10.0.0.9".parse().unwrap();
    assert!(world.notices.contains(&Notice::AddressOfNode { address, id: 1 }));
    assert_ne!(host(&world, "10.0.0.9/32"), Some(1));
}

#[test]
fn the_enforcement_mode_can_be_changed_while_the_agent_runs() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    let mode = |world: &mut World, mode| {
        let patch = ConfigPatch { enforcement: Some(mode), ..ConfigPatch::default() };
        assert_eq!(world.done(|ticket| Event::Config { ticket, patch }), Ok(Answer::Done));
        assert_eq!(world.plane.enforcement(), mode);
    };
    mode(&mut world, EnforcementMode::Always);
    assert_eq!(keys(&world, id), []);
    mode(&mut world, EnforcementMode::Never);
    assert_eq!(keys(&world, id), [PolicyKey::any(IN), PolicyKey::any(OUT)]);
    mode(&mut world, EnforcementMode::Default);
    assert_eq!(keys(&world, id), [PolicyKey::any(IN), PolicyKey::any(OUT)]);
}

#[test]
fn the_host_may_reach_pods_where_that_is_configured() {
    let mut config = crate::world::config(&[]);
    config.allow_localhost = true;
    let mut world = World::new(config);
    world.file("p.yaml", vec![lets_in("one", "a", "b")]);
    let id = world.create(request(5, &["k8s:a"]));
    assert_eq!(keys(&world, id), [PolicyKey::any(OUT), PolicyKey::identity(1, IN)]);
}

#[test]
fn a_file_that_cannot_be_read_is_told_in_status_until_it_can() {
    let mut world = World::started();
    world.file("p.yaml", vec![lets_in("one", "a", "b")]);
    world.send(Event::SourceFailed { file: "p.yaml".to_owned(), reason: "spec: unknown field".to_owned() });
    let status = world.plane.status();
    assert_eq!(status.source_failures["p.yaml"], "spec: unknown field");
    assert_eq!(status.rules["p.yaml"], 1, "what it held stays");
    world.file("p.yaml", vec![]);
    assert!(world.plane.status().source_failures.is_empty());
}

#[test]
fn a_change_that_needs_no_row_is_answered_at_once() {
    let mut world = World::started();
    let ticket = world.ask(|ticket| Event::Config { ticket, patch: ConfigPatch::default() });
    assert_eq!(world.replies[&ticket], Ok(Answer::Done));
    let ticket = world.ask(|ticket| Event::PolicyAdd { ticket, rules: vec![], replace: false });
    assert_eq!(world.replies[&ticket], Ok(Answer::PolicyAdded { revision: 1 }));
    world.file("p.yaml", vec![lets_in("one", "nobody", "b")]);
    assert_eq!(world.plane.status().realized_policy_revision, 2);
}

#[test]
fn an_endpoint_that_changes_has_the_rules_that_were_realized_before() {
    let mut world = World::started();
    let id = world.create(request(5, &["k8s:a"]));
    world
        .done(|ticket| Event::PolicyAdd { ticket, rules: vec![lets_in("x", "nobody", "b")], replace: false })
        .unwrap();
    world.ask(|ticket| Event::EndpointRegenerate { ticket, endpoint: EndpointRef::Local(id) });
    let policy = world.plane.endpoint(&EndpointRef::Local(id)).unwrap().policy;
    assert_eq!((policy.revision, policy.realized_revision), (2, 2));
}

#[test]
fn an_endpoint_whose_rules_need_more_entries_than_a_map_has_is_told() {
    let mut world = World::started();
    let a = world.create(request(5, &["k8s:a"]));
    let prefixes: Vec<String> = (0..410).map(|n| format!("\"198.18.{}.{}/32\"", n / 256, n % 256)).collect();
    let ports: Vec<String> =
        (1..=40).map(|n| format!("{{\"port\": \"{n}\", \"protocol\": \"TCP\"}}")).collect();
    let rule = |prefixes: &[String]| {
        rules(&format!(
            r#"[{{"endpointSelector": {{"matchLabels": {{"a": ""}}}}, "labels": [{{"key": "wide"}}],
                 "ingress": [{{"fromCIDR": [{}], "toPorts": [{{"ports": [{}]}}]}}]}}]"#,
            prefixes.join(","),
            ports.join(",")
        ))
    };
    world.file("p.yaml", rule(&prefixes));
    assert_eq!(Vec::from_iter(world.plane.status().overflowing), [a]);
    world.file("p.yaml", rule(&prefixes[1..]));
    assert!(world.plane.status().overflowing.is_empty());
}
