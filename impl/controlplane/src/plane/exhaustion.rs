// SPDX-License-Identifier: Apache-2.0
//! Tests of what happens when no number is left: with ranges of a few numbers instead of thousands.

use std::collections::BTreeSet;

use identity::{FixedIdentities, IdentityRange, LabelFilter, Labels, NumericIdentity};

use super::ControlPlane;
use crate::config::{Config, PodRange};
use crate::endpoint::{EndpointRef, State};
use crate::event::{EndpointRequest, Event, LabelChange, Objects, Ticket, Timestamp};
use crate::identities::Identities;
use crate::options::EndpointOptions;
use crate::reply::{Answer, Notice, RefusalKind, Reply};

const NOW: Timestamp = Timestamp(1);

/// A node with two numbers for pods and one for prefixes.
fn small() -> ControlPlane {
    let fixed = FixedIdentities::new("default", "kube-system", []).unwrap();
    let ipv4 = PodRange { range: "10.0.0.0/24".parse().unwrap(), router: "10.0.0.1".parse().unwrap() };
    let mut plane = ControlPlane::new(Config {
        cluster_name: "default".to_owned(),
        cluster_id: 0,
        fixed_identities: fixed.clone(),
        label_filter: LabelFilter::new::<&str>(None, []).unwrap(),
        ipv4: Some(ipv4),
        ipv6: None,
        reserved: Vec::new(),
        enforcement: policy::EnforcementMode::Default,
        allow_localhost: false,
        options: EndpointOptions::default(),
        services: loadbalancer::Config::default(),
        sources: BTreeSet::new(),
    })
    .unwrap();
    let range = |first: u32, last: u32| {
        IdentityRange::new(NumericIdentity::new(first), NumericIdentity::new(last)).unwrap()
    };
    let local = NumericIdentity::LOCAL_SCOPE;
    plane.identities = Identities::new(fixed, range(256, 257), range(local | 1, local | 1));
    plane
}

/// Sends an event, has everything realized, and tells the reply.
fn done(plane: &mut ControlPlane, event: Event) -> Option<Reply> {
    let mut replies = plane.handle(event, NOW).replies;
    let revision = plane.status().revision;
    replies.extend(plane.handle(Event::Realized { revision, failures: vec![] }, NOW).replies);
    replies.pop().map(|(_, reply)| reply)
}

fn create(plane: &mut ControlPlane, n: u8, label: &str) -> Reply {
    let request = EndpointRequest {
        interface: format!("lxc{n}"),
        ipv4: Some([10, 0, 0, n].into()),
        labels: Labels::parse([label]).unwrap(),
        sync_build: true,
        ..EndpointRequest::default()
    };
    done(plane, Event::EndpointCreate { ticket: Ticket(0), request }).unwrap()
}

fn relabel(plane: &mut ControlPlane, id: u16, label: &str) -> Vec<Notice> {
    let change = LabelChange::User(Labels::parse([label]).unwrap());
    let event = Event::EndpointLabels { ticket: Ticket(0), endpoint: EndpointRef::Local(id), change };
    plane.handle(event, NOW).notices
}

#[test]
fn a_new_endpoint_without_a_number_is_refused_and_leaves_nothing() {
    let mut plane = small();
    create(&mut plane, 5, "a").unwrap();
    create(&mut plane, 6, "b").unwrap();
    let refusal = create(&mut plane, 7, "c").unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "no identity for unspec:c: no numeric identity is free: all of 256 to 257 are in use"
    );
    assert_eq!(refusal.kind(), RefusalKind::Exhausted);
    assert_eq!((plane.endpoints().len(), plane.ipam().ipv4.unwrap().given.len()), (2, 2));
    assert_eq!(create(&mut plane, 7, "a"), Ok(Answer::EndpointCreated { id: 4 }));
}

#[test]
fn an_endpoint_whose_new_labels_have_no_number_keeps_the_old_one_until_a_number_is_free() {
    let mut plane = small();
    create(&mut plane, 5, "a").unwrap();
    create(&mut plane, 6, "b").unwrap();
    create(&mut plane, 7, "b").unwrap();
    let notices = relabel(&mut plane, 2, "c");
    assert!(matches!(&notices[..], [Notice::NoIdentity { labels, .. }] if labels == "unspec:b,unspec:c"));
    let view = |plane: &ControlPlane, id| plane.endpoint(&EndpointRef::Local(id)).unwrap();
    assert_eq!(plane.status().without_identity.len(), 1);
    done(&mut plane, Event::Tick);
    assert_eq!(view(&plane, 2).state, State::WaitingForIdentity);
    assert_eq!(view(&plane, 2).identity, Some(NumericIdentity::new(257)));
    done(&mut plane, Event::EndpointDelete { ticket: Ticket(0), endpoint: EndpointRef::Local(1) });
    assert_eq!(view(&plane, 2).state, State::Ready);
    assert_eq!(view(&plane, 2).identity, Some(NumericIdentity::new(256)));
    assert!(plane.status().without_identity.is_empty());
}

#[test]
fn a_prefix_without_a_number_is_told_and_numbered_when_one_is_free() {
    let mut plane = small();
    let file = |file: &str, prefix: &str| Event::Source {
        file: file.to_owned(),
        objects: Objects {
            rules: policy::parse_rules_json(&format!(
                r#"{{"endpointSelector": {{}}, "egress": [{{"toCIDR": ["{prefix}"]}}]}}"#
            ))
            .unwrap(),
            ..Objects::default()
        },
    };
    done(&mut plane, file("p.yaml", "192.0.2.0/24"));
    let notices = plane.handle(file("q.yaml", "198.51.100.0/24"), NOW).notices;
    assert!(matches!(notices[..], [Notice::NoIdentity { .. }]), "{notices:?}");
    let row = |plane: &ControlPlane| {
        plane.desired().ipcache.get(&"198.51.100.0/24".parse().unwrap()).map(|row| row.identity)
    };
    assert_eq!((row(&plane), plane.status().without_identity.len()), (None, 1));
    done(&mut plane, Event::Source { file: "p.yaml".to_owned(), objects: Objects::default() });
    assert_eq!(row(&plane), Some(NumericIdentity::LOCAL_SCOPE | 1));
    assert!(plane.status().without_identity.is_empty());
}
