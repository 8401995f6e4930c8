// SPDX-License-Identifier: Apache-2.0
//! How much work the verifier has with each program, against committed limits: it grows unnoticed, until a kernel with other
//! habits refuses to load.

use std::collections::BTreeMap;

use bpf_tests::on_node_configured;

/// One line per program: name, instructions that the verifier may process, instructions of the program.
const LIMITS: &str = include_str!("../../verifier_limits.txt");

#[test]
fn the_verifier_processes_no_more_instructions_than_the_committed_limits() {
    let limits: BTreeMap<&str, [u32; 2]> = LIMITS
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            (words[0], [1, 2].map(|index: usize| words[index].parse().unwrap()))
        })
        .collect();
    for dsr in [0, 1] {
        on_node_configured(&|_, services| services.dsr = dsr, |node| {
            let work = node.verifier_work();
            assert_eq!(work.len(), limits.len(), "each program has its line: {work:?}");
            for (name, cost) in work {
                let limit = limits[name.as_str()];
                println!("{name}, dsr {dsr}: {cost:?} of {limit:?}");
                assert!(cost[0] <= limit[0] && cost[1] <= limit[1], "{name}: {cost:?} is above {limit:?}");
                assert!(cost[0] * 4 >= limit[0], "{name}: {cost:?} is far below {limit:?}: lower the limit");
            }
        });
    }
}
