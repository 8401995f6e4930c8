// SPDX-License-Identifier: Apache-2.0
//! Tables and their deltas.

use std::collections::BTreeMap;

use controlplane::{Delta, Deltas, Desired, Event, Table};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::random;
use crate::world::{World, apply};

fn write(rows: &mut BTreeMap<u8, u8>, delta: &Delta<u8, u8>) {
    for key in &delta.removals {
        rows.remove(key);
    }
    rows.extend(delta.upserts.iter().copied());
}

#[test]
fn a_change_undone_before_it_is_told_is_no_change() {
    let mut table = Table::default();
    table.upsert(1, "a");
    assert_eq!(table.drain(), Delta { upserts: vec![(1, "a")], removals: vec![] });
    table.upsert(1, "b");
    table.upsert(1, "a");
    table.upsert(2, "new");
    table.remove(&2);
    table.remove(&3);
    assert!(table.drain().is_empty());
    table.remove(&1);
    table.upsert(1, "a");
    assert!(table.drain().is_empty());
    table.touch(1);
    table.touch(9);
    assert_eq!(table.drain(), Delta { upserts: vec![(1, "a")], removals: vec![] });
    table.touch(1);
    table.remove(&1);
    assert_eq!(table.drain(), Delta { upserts: vec![], removals: vec![1] });
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, rng_seed: RngSeed::Fixed(2), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn deltas_of_a_table_add_up_however_often_they_are_taken_and_merged(
        steps in proptest::collection::vec((0_u8..4, proptest::option::of(0_u8..3), any::<bool>()), 0..30)
    ) {
        let (mut table, mut one_by_one) = (Table::default(), BTreeMap::new());
        let mut merged = Delta::default();
        for (key, row, drain) in steps {
            table.set(key, row);
            if drain {
                let delta = table.drain();
                for (key, row) in &delta.upserts {
                    prop_assert_ne!(one_by_one.get(key), Some(row));
                }
                write(&mut one_by_one, &delta);
                merged.merge(delta);
            }
        }
        let last = table.drain();
        write(&mut one_by_one, &last);
        merged.merge(last);
        let mut at_once = BTreeMap::new();
        write(&mut at_once, &merged);
        prop_assert_eq!(&one_by_one, table.rows());
        prop_assert_eq!(&at_once, table.rows());
    }

    #[test]
    fn merged_deltas_write_what_they_write_one_by_one(
        steps in proptest::collection::vec(random::step(), 0..30)
    ) {
        let mut world = World::started();
        let mut at_once = world.target.clone();
        world.told.clear();
        for step in &steps {
            random::take(&mut world, step);
        }
        let mut merged = Deltas { revision: at_once.revision, ..Deltas::default() };
        for deltas in &world.told {
            merged.merge(deltas.clone());
        }
        at_once.revision = merged.revision;
        apply_merged(&mut at_once, &merged);
        prop_assert_eq!(&at_once, &world.target);
    }
}

/// Writes merged changes: a removal may be of a row that was never written.
fn apply_merged(target: &mut Desired, deltas: &Deltas) {
    let mut deltas = deltas.clone();
    deltas.endpoints.removals.retain(|key| target.endpoints.contains_key(key));
    deltas.ipcache.removals.retain(|key| target.ipcache.contains_key(key));
    deltas.services.removals.retain(|key| target.services.contains_key(key));
    deltas.backends.removals.retain(|key| target.backends.contains_key(key));
    deltas.health_checks.removals.retain(|key| target.health_checks.contains_key(key));
    deltas.state.removals.retain(|key| target.state.contains_key(key));
    for delta in &mut deltas.policy {
        let there = target.policy.get(&delta.endpoint);
        delta.removals.retain(|key| there.is_some_and(|map| map.contains_key(key)));
    }
    apply(target, &deltas);
}

#[test]
fn a_delta_says_nothing_of_an_event_that_changes_nothing() {
    let mut world = World::started();
    assert_eq!(world.send(Event::Tick), None);
    assert_eq!(world.send(Event::NodeAddresses(vec![])), None);
    assert_eq!(world.send(Event::Realized { revision: 99, failures: vec![] }), None);
    assert_eq!(world.plane.status().realized_revision, 1, "no more is realized than was told");
}
