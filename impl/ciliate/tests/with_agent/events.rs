// SPDX-License-Identifier: Apache-2.0
//! What listeners are told of packets between pods, and what is counted.

use std::collections::BTreeSet;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use monitor::wire::Request;
use monitor::{Event, Events, Kind};

use crate::node::Node;
use crate::pods::{Pod, attach};

const DEADLINE: Duration = Duration::from_secs(30);
/// Nobody may talk to `web` but `friend`.
const RULE: &str = r#"[{"endpointSelector":{"matchLabels":{"app":"web"}},
  "ingress":[{"fromEndpoints":[{"matchLabels":{"app":"friend"}}]}]}]"#;

/// Listens to these kinds until the receiver is dropped.
fn listen(node: &Node, kinds: &[Kind]) -> Receiver<Event> {
    let request = Request { types: kinds.iter().copied().collect::<BTreeSet<_>>(), ..Request::default() };
    let events = Events::open(node.path("monitor.sock"), &request).expect("listen");
    let (sender, receiver) = channel();
    thread::spawn(move || {
        for event in events.map_while(Result::ok) {
            if sender.send(event).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The first event that is wanted.
fn wait(events: &Receiver<Event>, wanted: impl Fn(&Event) -> bool) -> Event {
    let end = Instant::now() + DEADLINE;
    loop {
        let event = events.recv_timeout(end.saturating_duration_since(Instant::now()));
        let event = event.expect("the event is never told");
        if wanted(&event) {
            return event;
        }
    }
}

fn id(node: &Node, pod: &Pod) -> u16 {
    let name = format!("ipv4:{}", pod.addresses()[0]);
    node.client().endpoint(&name).expect("the endpoint is known").id
}

#[test]
fn a_drop_is_told_and_counted_and_traces_come_while_somebody_listens() {
    let node = Node::start();
    node.client().put_policy(RULE).unwrap();
    let [web, friend, stranger] = ["web", "friend", "stranger"].map(|name| attach(&node, name, "1.0.0"));
    web.serve();
    let address = web.addresses()[0];
    let drops = listen(&node, &[Kind::Drop]);
    assert!(stranger.ask(address).is_err());
    let from = id(&node, &stranger);
    let Event::Drop(drop) = wait(&drops, |event| matches!(event, Event::Drop(drop) if drop.source == from))
    else {
        unreachable!()
    };
    assert_eq!(drop.destination_id, u32::from(id(&node, &web)), "{drop:?}");
    let metrics = node.client().metrics().unwrap();
    let dropped: f64 = metrics
        .iter()
        .filter(|metric| metric.name == "cilium_drop_count_total")
        .filter(|metric| metric.labels["reason"].starts_with("Policy denied"))
        .map(|metric| metric.value)
        .sum();
    assert!(dropped >= 1.0, "{metrics:?}");

    let traces = listen(&node, &[Kind::Trace]);
    let source = id(&node, &friend);
    let end = Instant::now() + DEADLINE;
    // The programs hear of it a moment after the listener is there.
    loop {
        friend.ask(address).expect("the policy names friends");
        let told =
            traces.try_iter().any(|event| matches!(event, Event::Trace(trace) if trace.source == source));
        if told {
            break;
        }
        assert!(Instant::now() < end, "no trace is told");
    }
}
