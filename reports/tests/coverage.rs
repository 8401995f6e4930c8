// SPDX-License-Identifier: Apache-2.0
//! The page of coverage is the same whatever the order of its input.

use reports::{CoveredScenario, render_coverage};

fn scenario(area: &str, name: &str, covers: &[&str]) -> CoveredScenario {
    let owned = |items: &[&str]| items.iter().map(|i| (*i).to_owned()).collect();
    CoveredScenario {
        area: area.to_owned(),
        name: name.to_owned(),
        sentence: format!("It shows that {name}"),
        covers: owned(covers),
        subjects: owned(&["veth", "bridge"]),
    }
}

#[test]
fn coverage_lists_every_scenario_and_every_item_in_one_order() {
    let mut scenarios = vec![
        scenario("service", "cluster-ip-reaches-a-backend", &["service/cluster-ip", "tcp"]),
        scenario("connectivity", "pods-reach-each-other", &["tcp", "udp|icmp"]),
    ];
    let page = render_coverage(&scenarios);
    assert!(
        page.contains("| connectivity/pods-reach-each-other | It shows that pods-reach-each-other | tcp, udp\\|icmp | bridge, veth |"),
        "{page}"
    );
    assert!(
        page.contains("| tcp | connectivity/pods-reach-each-other, service/cluster-ip-reaches-a-backend |")
    );
    assert!(page.ends_with("2 scenarios cover 3 items.\n"));
    scenarios.reverse();
    scenarios[0].covers.reverse();
    assert_eq!(render_coverage(&scenarios), page);
}
