// SPDX-License-Identifier: Apache-2.0
//! From the hub over the socket to those that listen.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use monitor::wire::Request;
use monitor::{
    AgentEvent, Decoder, Event, Events, Filter, Hub, Kind, Listening, Lost, LostWhere, MAX_SUBSCRIBERS,
    MonitorError, Server, UnknownKind,
};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_secs(20);

fn agent(id: u16) -> Event {
    Event::Agent(AgentEvent::EndpointCreated { id, labels: vec!["k8s:app=web".into()] })
}

fn policy(revision: u64) -> Event {
    Event::Agent(AgentEvent::PolicyUpdated { labels: Vec::new(), revision, rule_count: 1 })
}

/// A drop that endpoint `source` saw and that was for `destination`.
fn drop_event(source: u16, destination: u32) -> Event {
    let mut bytes = [0; 168];
    bytes[0] = 1;
    bytes[1] = 133;
    bytes[2..4].copy_from_slice(&source.to_ne_bytes());
    bytes[12..16].copy_from_slice(&16_u32.to_ne_bytes());
    bytes[24..28].copy_from_slice(&destination.to_ne_bytes());
    Decoder::new().decode(&bytes).unwrap()
}

/// A hub that is served.
struct Agent {
    hub: Hub,
    server: Server,
    changes: mpsc::Receiver<Listening>,
    directory: TempDir,
}

impl Agent {
    fn start(queue_size: usize) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let (sender, changes) = mpsc::channel();
        let hub = Hub::new(queue_size, move |listening| {
            // The test may have ended.
            let _ = sender.send(listening);
        });
        let listener = UnixListener::bind(directory.path().join("monitor.sock")).unwrap();
        let server = Server::start(listener, hub.clone()).unwrap();
        Self { hub, server, changes, directory }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("monitor.sock")
    }

    fn listen(&self, request: &Request) -> Events {
        Events::open(self.path(), request).unwrap()
    }
}

fn types(kinds: &[Kind]) -> BTreeSet<Kind> {
    kinds.iter().copied().collect()
}

#[test]
fn each_listener_is_told_what_it_wants() {
    let agent_ = Agent::start(64);
    let mut all = agent_.listen(&Request::default());
    let mut drops = agent_.listen(&Request { types: types(&[Kind::Drop]), ..Request::default() });
    agent_.hub.publish(agent(7));
    agent_.hub.publish(drop_event(1, 2));
    assert_eq!(all.next().unwrap().unwrap(), agent(7));
    let dropped = drop_event(1, 2).without_payload();
    assert_eq!(all.next().unwrap().unwrap(), dropped);
    assert_eq!(drops.next().unwrap().unwrap(), dropped);
}

#[test]
fn payloads_are_told_to_those_that_ask() {
    let agent_ = Agent::start(64);
    let mut events = agent_.listen(&Request { payload: true, ..Request::default() });
    agent_.hub.publish(drop_event(1, 2));
    assert_eq!(events.next().unwrap().unwrap().payload(), Some("00".repeat(16).as_str()));
}

#[test]
fn what_listeners_want_together_is_told_to_the_agent() {
    let agent_ = Agent::start(64);
    let change = || agent_.changes.recv_timeout(DEADLINE).unwrap();
    let drops = agent_.listen(&Request { types: types(&[Kind::Drop]), ..Request::default() });
    let silent = Listening { subscribers: 1, ..Listening::default() };
    assert_eq!(change(), silent);
    let all = agent_.listen(&Request::default());
    assert_eq!(change(), Listening { subscribers: 2, trace: true, policy_verdict: true, debug: true });
    // The agent sees at once that a listener is gone, also when there is nothing to tell.
    drop(all);
    assert_eq!(change(), silent);
    drop(drops);
    assert_eq!(change(), Listening::default());
}

#[test]
fn a_listener_that_reads_too_slowly_is_told_how_much_it_missed() {
    let hub = Hub::new(2, |_| {});
    let subscription = hub.subscribe(Filter::default()).unwrap();
    for id in 0..5 {
        hub.publish(agent(id));
    }
    let told: Vec<Event> = std::iter::from_fn(|| subscription.next_before(Instant::now()))
        .map(|event| (*event).clone())
        .collect();
    let lost = Event::Lost(Lost { count: 3, at: LostWhere::Queue });
    assert_eq!(lost.to_string(), "!! lost 3 events: this monitor reads too slowly");
    assert_eq!(told, [agent(0), agent(1), lost]);
    assert_eq!((hub.statistics().published, hub.statistics().lost), (5, 3));
}

#[test]
fn bytes_of_the_kernel_are_decoded_only_if_somebody_listens_and_counted_if_unknown() {
    let hub = Hub::new(2, |_| {});
    let mut decoder = Decoder::new();
    assert_eq!(hub.publish_kernel(&mut decoder, &[99; 32]), Ok(()));
    assert_eq!(hub.statistics().unknown, 0);
    let _subscription = hub.subscribe(Filter::default()).unwrap();
    hub.publish_kernel(&mut decoder, &[99; 32]).unwrap_err();
    assert_eq!(hub.statistics().unknown, 1);
}

#[test]
fn there_is_a_limit_on_listeners_and_who_is_refused_is_told_why() {
    let agent_ = Agent::start(2);
    let subscriptions: Vec<_> =
        (0..MAX_SUBSCRIBERS).map(|_| agent_.hub.subscribe(Filter::default()).unwrap()).collect();
    let refused = Events::open(agent_.path(), &Request::default()).unwrap_err();
    assert!(refused.to_string().ends_with("which is the limit: end one of them"), "{refused}");
    drop(subscriptions);
    agent_.listen(&Request::default());
}

#[test]
fn a_request_that_is_not_understood_is_refused_with_the_reason() {
    let agent_ = Agent::start(2);
    for (request, reason) in [
        ("{\"tpyes\":[]}\n", "unknown field `tpyes`"),
        ("{\"types\":[\"l7\"]}\n", "unknown variant `l7`"),
        ("nonsense\n", "the request is not understood"),
        (&format!("{}\n", "x".repeat(70_000)), "a line is longer than 65536 bytes"),
    ] {
        let mut stream = UnixStream::connect(agent_.path()).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        // The server may hang up before it has read a line that is too long.
        let _ = stream.write_all(request.as_bytes());
        let mut reply = String::new();
        let read = BufReader::new(stream).read_line(&mut reply);
        assert!(reply.contains("\"refused\"") && reply.contains(reason), "{reason}: {read:?} {reply}");
    }
}

#[test]
fn listeners_end_when_the_agent_ends() {
    let agent_ = Agent::start(2);
    let mut events = agent_.listen(&Request::default());
    let path = agent_.path();
    drop(agent_.server);
    assert!(events.next().is_none());
    let refused = Events::open(&path, &Request::default()).unwrap_err();
    assert!(matches!(refused, MonitorError::Connect { .. }), "{refused}");
    assert!(refused.to_string().ends_with("is the agent running?"), "{refused}");
}

#[test]
fn filters_by_endpoint_must_all_be_satisfied() {
    let filter = |from: &[u16], to: &[u16], related: &[u16]| Filter {
        types: BTreeSet::new(),
        from: from.iter().copied().collect(),
        to: to.iter().copied().collect(),
        related: related.iter().copied().collect(),
    };
    let event = drop_event(1, 2);
    for (filter, matches) in [
        (filter(&[], &[], &[]), true),
        (filter(&[1, 5], &[], &[]), true),
        (filter(&[2], &[], &[]), false),
        (filter(&[1], &[2], &[]), true),
        (filter(&[1], &[3], &[]), false),
        (filter(&[], &[], &[2]), true),
        (filter(&[], &[], &[1]), true),
        (filter(&[], &[], &[3]), false),
        (filter(&[1], &[], &[3]), false),
    ] {
        assert_eq!(event.matches(&filter), matches, "{filter:?}");
    }
    // The kernel says 32 bits; no endpoint has more than 16.
    assert!(!drop_event(1, 65_538).matches(&filter(&[], &[2], &[])));
}

#[test]
fn agent_events_match_the_endpoint_that_they_are_about() {
    let related = |id| Filter { related: [id].into(), ..Filter::default() };
    assert!(agent(7).matches(&related(7)) && !agent(7).matches(&related(8)));
    assert!(!policy(1).matches(&related(7)) && policy(1).matches(&Filter::default()));
    assert!(!agent(7).matches(&Filter { from: [7].into(), ..Filter::default() }));
    assert!(!agent(7).matches(&Filter { types: types(&[Kind::Drop]), ..Filter::default() }));
    let lost = Event::Lost(Lost { count: 1, at: LostWhere::Ring });
    assert!(lost.matches(&related(7)), "what is missing might have matched");
}

#[test]
fn agent_events_are_worded_as_in_1_4() {
    assert_eq!(agent(7).to_string(), r#">> Endpoint created: {"id":7,"labels":["k8s:app=web"]}"#);
    assert_eq!(
        serde_json::to_value(policy(3)).unwrap(),
        serde_json::json!({
            "type": "agent", "subtype": "Policy updated",
            "message": {"labels": [], "revision": 3, "rule_count": 1}
        })
    );
}

#[test]
fn types_that_1_4_had_are_refused_by_the_feature_that_is_missing() {
    assert_eq!("policy-verdict".parse(), Ok(Kind::PolicyVerdict));
    let l7 = "l7".parse::<Kind>().unwrap_err();
    assert_eq!(l7.to_string(), "events of type l7 are not supported yet: the L7 proxy");
    assert!(matches!("capture".parse::<Kind>(), Err(UnknownKind::NotSupported { .. })));
    assert!(matches!("drops".parse::<Kind>(), Err(UnknownKind::Unknown(_))));
}
