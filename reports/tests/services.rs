// SPDX-License-Identifier: Apache-2.0
//! What a report says of services: the goals, and one chart for all series of them.

mod synthetic;

use netns_lab::plan::WorkloadKind;
use reports::write_report;

fn page() -> String {
    let names = ["routed", "routed-again", "kube-proxy-like-1", "kube-proxy-like-1000"];
    let measured: Vec<&str> = names.into_iter().chain(synthetic::SERVICES.map(|subject| subject.0)).collect();
    let machine = synthetic::Machine { seed: 3, noise: 0.001, rounds: 40 };
    let mut run = synthetic::record(&measured, &[], machine);
    run.plan.phases.retain(|phase| phase.workload.kind == WorkloadKind::TcpCrr);
    run.cells.retain(|cell| cell.workload == WorkloadKind::TcpCrr);
    let samples = netns_lab::record::Samples { runs: vec![run], ..synthetic::samples() };
    let directory = tempfile::tempdir().unwrap();
    std::fs::read_to_string(write_report(&samples, directory.path()).unwrap().html).unwrap()
}

/// The table's row of a goal, without what marks it up.
fn goal(page: &str, what: &str) -> String {
    let row = page.split("<tr>").find(|row| row.contains(what)).unwrap_or_else(|| panic!("no row {what}"));
    row.split("</tr>").next().unwrap().to_owned()
}

#[test]
fn services_are_held_against_their_goals() {
    let page = page();
    let met = |what: &str| {
        let row = goal(&page, what);
        assert!(row.contains("met") && !row.contains("missed by"), "{row}");
    };
    met("ciliate-service-1 to ciliate-veth, TCP_CRR: at most 1.02");
    met("ciliate-service-10000 to ciliate-service-1, TCP_CRR: at most 1.01");
    met("ciliate-service-packet-1 to ciliate-veth, TCP_CRR: at most 1.06");
    let row = goal(&page, "ciliate-service-packet-10000 to ciliate-service-packet-1, TCP_CRR");
    assert!(row.contains("missed by 5."), "{row}");
}

#[test]
fn all_series_of_services_are_in_one_chart() {
    let page = page();
    let title = "kube-proxy-like, ciliate-service, ciliate-service-packet: cost against number of services";
    assert_eq!(page.matches(&format!("<h3>{title}</h3>")).count(), 1);
    for name in ["kube-proxy-like, 1 core", "ciliate-service, 2 cores", "ciliate-service-packet, 1 core"] {
        assert!(page.contains(&format!("\n{name}\n")), "{name} is not in the legend");
    }
}
