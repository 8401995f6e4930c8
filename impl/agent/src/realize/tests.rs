// SPDX-License-Identifier: Apache-2.0
//! The realizing thread with a datapath in memory.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use controlplane::{Delta, Deltas, Desired, EndpointRow, EndpointState, Failure, Row};

use super::{Latest, Realizer, StateFiles};
use crate::health::HealthPorts;
use crate::memory::Memory;
use crate::state::StateDir;

const DEADLINE: Duration = Duration::from_secs(10);

fn row(id: u16) -> EndpointRow {
    EndpointRow {
        id,
        ifindex: id.into(),
        interface: format!("lxc{id}"),
        ipv4: None,
        ipv6: None,
        mac: [0; 6],
        node_mac: [0; 6],
        identity: 1000,
        options: 0,
    }
}

fn state(id: u16) -> EndpointState {
    let value = serde_json::json!({
        "version": 1, "id": id, "interface": format!("lxc{id}"), "ifindex": id,
        "mac": [2, 0, 0, 0, 0, 1], "node-mac": [2, 0, 0, 0, 0, 2], "identity": 1000, "identity-labels": [],
    });
    serde_json::from_value(value).unwrap()
}

fn added(revision: u64, id: u16) -> Deltas {
    Deltas {
        revision,
        endpoints: Delta { upserts: vec![(id, row(id))], removals: vec![] },
        state: Delta { upserts: vec![(id, state(id))], removals: vec![] },
        ..Deltas::default()
    }
}

fn removed(revision: u64, id: u16) -> Deltas {
    Deltas {
        revision,
        endpoints: Delta { upserts: vec![], removals: vec![id] },
        state: Delta { upserts: vec![], removals: vec![id] },
        ..Deltas::default()
    }
}

struct Bench {
    /// Nothing listens here.
    _runtime: tokio::runtime::Runtime,
    dir: tempfile::TempDir,
    realizer: Realizer<Memory>,
    thread: std::thread::JoinHandle<()>,
    told: Receiver<()>,
}

impl Bench {
    fn new(target: Memory) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ports = HealthPorts::new(runtime.handle().clone(), true, false);
        let files = StateFiles::new(StateDir::open(dir.path()).unwrap());
        let (sender, told) = channel();
        let (realizer, thread) = Realizer::start(
            files,
            ports,
            || Ok::<_, std::io::Error>(target),
            move || sender.send(()).unwrap_or_default(),
        )
        .unwrap();
        Self { _runtime: runtime, dir, realizer, thread, told }
    }

    /// The word that satisfies the condition.
    fn wait(&self, wanted: impl Fn(&Latest) -> bool) -> Latest {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(latest) = self.realizer.latest().filter(&wanted) {
                return latest;
            }
            self.told.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
        }
    }

    fn ask<R: Send + 'static>(&self, question: impl FnOnce(&mut Memory) -> R + Send + 'static) -> R {
        self.realizer.ask(question).unwrap().blocking_recv().unwrap()
    }

    fn has_file(&self, id: u16) -> bool {
        self.dir.path().join(format!("state/{id}/ep_config.json")).exists()
    }

    fn stop(self) -> tempfile::TempDir {
        self.realizer.stop();
        self.thread.join().unwrap();
        self.dir
    }
}

#[test]
fn what_is_handed_over_is_in_the_datapath_and_on_disk_before_it_is_said_to_be_realized() {
    let bench = Bench::new(Memory::default());
    bench.realizer.apply(added(1, 5));
    assert_eq!(bench.wait(|latest| latest.revision == 1), Latest { revision: 1, failures: vec![] });
    assert!(bench.has_file(5) && bench.ask(|memory| memory.endpoints.contains_key(&5)));
    bench.realizer.apply(removed(2, 5));
    bench.wait(|latest| latest.revision == 2);
    assert!(!bench.has_file(5) && bench.ask(|memory| memory.endpoints.is_empty()));
    bench.stop();
}

#[test]
fn what_failed_is_told_and_tried_again_until_it_is_as_desired() {
    let bench = Bench::new(Memory { refuse: true, ..Memory::default() });
    bench.realizer.apply(added(1, 5));
    let latest = bench.wait(|latest| latest.revision == 1);
    assert_eq!(latest.failures, [Failure { row: Row::Endpoint(5), reason: "refused".into() }]);
    bench.ask(|memory| memory.refuse = false);
    assert_eq!(bench.wait(|latest| latest.failures.is_empty()).revision, 1);
    assert!(bench.ask(|memory| memory.endpoints.contains_key(&5)));
    bench.stop();
}

#[test]
fn a_state_file_that_cannot_be_written_is_a_failure_that_heals() {
    let bench = Bench::new(Memory::default());
    // In the place of the endpoint's directory stands a file.
    let place = bench.dir.path().join("state/5");
    std::fs::write(&place, "").unwrap();
    bench.realizer.apply(added(1, 5));
    let latest = bench.wait(|latest| latest.revision == 1);
    assert_eq!(latest.failures.iter().map(|failure| failure.row).collect::<Vec<_>>(), [Row::State(5)]);
    std::fs::remove_file(place).unwrap();
    bench.wait(|latest| latest.failures.is_empty());
    assert!(bench.has_file(5));
    bench.stop();
}

#[test]
fn after_all_sources_are_known_what_nobody_desires_is_removed() {
    let bench = Bench::new(Memory::default());
    bench.realizer.apply(added(1, 5));
    bench.realizer.apply(added(2, 6));
    let desired = Desired {
        revision: 3,
        endpoints: BTreeMap::from([(6, row(6))]),
        state: BTreeMap::from([(6, state(6))]),
        ..Desired::default()
    };
    bench.realizer.resync(desired);
    bench.wait(|latest| latest.revision == 3);
    assert!(!bench.has_file(5) && bench.has_file(6));
    assert_eq!(bench.ask(|memory| memory.endpoints.keys().copied().collect::<Vec<_>>()), [6]);
    bench.stop();
}

#[test]
fn changes_that_wait_are_brought_about_as_one() {
    let bench = Bench::new(Memory::default());
    let (release, held) = channel::<()>();
    // The thread is held, so that all that follows waits.
    let holding = bench.realizer.ask(move |_| held.recv().unwrap()).unwrap();
    for id in 1..=10 {
        bench.realizer.apply(added(id.into(), id));
    }
    bench.realizer.apply(removed(11, 3));
    release.send(()).unwrap();
    holding.blocking_recv().unwrap();
    assert_eq!(bench.wait(|latest| latest.revision == 11).failures, []);
    assert_eq!(bench.realizer.statistics().applied.load(std::sync::atomic::Ordering::Relaxed), 1);
    let expected: Vec<u16> = (1..=10).filter(|id| *id != 3).collect();
    assert_eq!(bench.ask(|memory| memory.endpoints.keys().copied().collect::<Vec<_>>()), expected);
    assert!(!bench.has_file(3) && bench.has_file(10));
    bench.stop();
}

#[test]
fn stopping_does_what_was_handed_over_first() {
    let bench = Bench::new(Memory::default());
    for id in 1..=20 {
        bench.realizer.apply(added(id.into(), id));
    }
    let dir = bench.stop();
    assert!((1..=20).all(|id| dir.path().join(format!("state/{id}/ep_config.json")).exists()));
}
