// SPDX-License-Identifier: Apache-2.0
//! Connections' entries and events of the datapath.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use controlplane::{Delta, Deltas};
use datapath::{Datapath, EventReader};
use maps::{ConntrackEntry, ConntrackKey4, DropEvent, EventHeader, TraceEvent, event_type, names};
use policy::MapState;
use zerocopy::{FromBytes, FromZeros};

use crate::bench::Bench;
use crate::node::{made, policy, started};

fn key(number: u32) -> ConntrackKey4 {
    ConntrackKey4 { protocol: 6, addr: [number.into(), u32::MAX.into()], ..ConntrackKey4::new_zeroed() }
}

fn clock_s() -> u32 {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).unwrap().tv_sec() as u32
}

/// Cleans until a whole pass is over.
fn clean(datapath: &mut Datapath) {
    let passes = datapath.collector_totals().passes;
    // Later than any interval.
    let mut now = Instant::now();
    for _ in 0..10_000 {
        now += Duration::from_secs(3600);
        datapath.clean(now);
        if datapath.collector_totals().passes > passes {
            return;
        }
    }
    panic!("a pass did not end: {:?}", datapath.collector_totals());
}

#[test]
fn connections_that_ended_are_taken_out_and_others_stay() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = started(&bench);
        let ct = datapath.map::<ConntrackKey4, ConntrackEntry>(names::CT4_GLOBAL).unwrap();
        let entry = |lifetime| ConntrackEntry { lifetime, ..Default::default() };
        let ends = |number| if number % 3 == 0 { clock_s() + 1000 } else { clock_s() - 1 };
        let rows: Vec<_> = (0..3000).map(|number| (key(number), entry(ends(number)))).collect();
        assert!(ct.insert_all(&rows).is_empty());
        // It is not time yet.
        assert!(datapath.clean(Instant::now()) > Duration::from_secs(1));
        assert_eq!(ct.rows().unwrap().len(), 3000);
        clean(&mut datapath);
        let left: BTreeSet<u32> = ct.rows().unwrap().iter().map(|(key, _)| key.addr[0].get()).collect();
        assert_eq!(left, (0..3000).filter(|number| number % 3 == 0).collect());
        let totals = datapath.collector_totals();
        assert_eq!((totals.seen, totals.removed, totals.errors), (3000, 2000, 0));
        let map = datapath.maps().unwrap().into_iter().find(|map| map.name == names::CT4_GLOBAL).unwrap();
        assert_eq!((map.entries, map.capacity), (Some(1000), 4096));
    });
}

#[test]
fn an_endpoint_takes_its_connections_along() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = started(&bench);
        let (one, two, three) = (bench.add_pod(1), bench.add_pod(2), bench.add_pod(3));
        assert_eq!(datapath.apply(&made(&[&one, &two, &three])), []);
        assert!(one.reaches(&two, two.addresses()[0]) && three.reaches(&two, two.addresses()[0]));
        let ct = datapath.map::<ConntrackKey4, ConntrackEntry>(names::CT4_GLOBAL).unwrap();
        let ends = || {
            let rows = ct.rows().unwrap();
            rows.iter().map(|(_, entry)| (entry.src_lxc_id, entry.dst_lxc_id)).collect::<BTreeSet<_>>()
        };
        assert_eq!(ends(), [(1, 2), (3, 2)].into());
        let gone = Delta { upserts: Vec::new(), removals: vec![1] };
        assert_eq!(datapath.apply(&Deltas { endpoints: gone, ..Deltas::default() }), []);
        assert_eq!(ends(), [(3, 2)].into());
    });
}

/// The events until one is as wanted.
fn wait_for(events: &mut EventReader, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        match events.next().unwrap() {
            Some(event) if wanted(&event) => return event,
            Some(_) => {}
            None => events.wait(Duration::from_millis(100)).unwrap(),
        }
    }
    panic!("no such event");
}

fn is(kind: u8) -> impl Fn(&[u8]) -> bool {
    move |event| EventHeader::read_from_prefix(event).is_ok_and(|(header, _)| header.kind == kind)
}

#[test]
fn drops_are_told_always_and_traces_when_somebody_listens() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = started(&bench);
        let mut events = datapath.events().unwrap();
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut deltas = made(&[&one, &two]);
        deltas.policy[1] = policy(2, MapState::new());
        assert_eq!(datapath.apply(&deltas), []);
        assert!(!one.reaches(&two, two.addresses()[0]));
        let event = wait_for(&mut events, is(event_type::DROP));
        let event = DropEvent::read_from_bytes(&event).unwrap();
        assert_eq!((event.src_label, event.dst_label, event.dst_id), (1001, 1002, 2));
        assert_eq!(maps::reason_name(event.header.subtype), "Policy denied (L3)");
        let dropped = datapath.packets().unwrap().into_iter().find(|count| count.reason == 133).unwrap();
        assert!(dropped.value.count > 0 && dropped.value.bytes > 0);
        while let Some(event) = events.next().unwrap() {
            assert!(!is(event_type::TRACE)(&event), "nobody listens");
        }
        datapath.set_monitor(Some(0)).unwrap();
        assert!(one.reaches_node(&bench, bench.routers()[0]));
        let event = wait_for(&mut events, is(event_type::TRACE));
        let event = TraceEvent::read_from_bytes(&event).unwrap();
        assert!(event.len_orig > 0 && event.len_cap > 0);
        datapath.set_monitor(None).unwrap();
    });
}
