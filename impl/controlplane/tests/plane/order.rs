// SPDX-License-Identifier: Apache-2.0
//! The order in which facts arrive does not matter.

use controlplane::{Desired, Event, Objects, SourceName};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::random::{self, Step};
use crate::world::{World, config, dump, lets_in, request, rules};

/// What a small node has: endpoints, rules of the API, and files.
fn left() -> (Desired, Vec<Event>) {
    let mut world = World::started();
    world.create(request(5, &["k8s:a"]));
    world.create(request(6, &["k8s:b"]));
    let of_api = vec![lets_in("one", "a", "b")];
    world.done(|ticket| Event::PolicyAdd { ticket, rules: of_api, replace: false }).unwrap();
    let json = r#"{"endpointSelector": {}, "egress": [{"toCIDR": ["192.0.2.0/24", "198.51.100.0/24"]}]}"#;
    let file = |file: &str, rules| Event::Source {
        file: file.to_owned(),
        objects: Objects { rules, ..Objects::default() },
    };
    (world.target, vec![file("p.yaml", rules(json)), file("q.yaml", vec![lets_in("two", "b", "a")])])
}

/// All orders of `items`.
fn permutations<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    if items.is_empty() {
        return vec![Vec::new()];
    }
    (0..items.len())
        .flat_map(|at| {
            let mut rest = items.to_vec();
            let first = rest.remove(at);
            permutations(&rest).into_iter().map(move |mut tail| {
                tail.insert(0, first.clone());
                tail
            })
        })
        .collect()
}

#[test]
fn facts_of_a_start_in_any_order_make_exactly_the_same_tables() {
    let (left, files) = left();
    let mut facts: Vec<Event> = left.state.values().cloned().map(Event::Restored).collect();
    facts.extend(files);
    facts.push(Event::RestoredNode(left.node.clone()));
    facts.push(Event::NodeAddresses(vec!["192.0.2.1".parse().unwrap()]));
    let mut first: Option<Desired> = None;
    for order in permutations(&facts) {
        let mut world = World::new(config(&[SourceName::State, SourceName::Files, SourceName::Node]));
        for event in order {
            world.send(event);
        }
        world.send(Event::SourceSynced(SourceName::Files));
        world.send(Event::SourceSynced(SourceName::State));
        assert!(world.plane.is_started());
        match &first {
            Some(first) => assert_eq!(*first, world.target),
            None => first = Some(world.target),
        }
    }
    let first = first.unwrap();
    assert_eq!((first.endpoints.len(), first.ipcache.len()), (2, 2 + 4 + 2 + 1));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, rng_seed: RngSeed::Fixed(4), failure_persistence: None, ..ProptestConfig::default()
    })]

    /// Numbers are given in the order of arrival, so tables are compared by names.
    #[test]
    fn facts_of_a_running_node_in_any_order_make_the_same_tables(
        (steps, shuffled) in random::facts().prop_flat_map(|steps| {
            (Just(steps.clone()), Just(steps).prop_shuffle())
        })
    ) {
        let run = |steps: &[Step]| {
            let mut world = World::started();
            for step in steps {
                random::take(&mut world, step);
            }
            world.realize();
            dump(&world.plane)
        };
        prop_assert_eq!(run(&steps), run(&shuffled));
    }
}
