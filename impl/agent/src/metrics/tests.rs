// SPDX-License-Identifier: Apache-2.0
//! Names, labels and values as a scrape sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use maps::Direction;

use super::*;
use crate::realize::{Cleaning, EndedSockets, MapSummary, PacketCount};

fn count(reason: u8, direction: Direction, packets: u64) -> PacketCount {
    PacketCount { reason, direction, packets, bytes: packets * 100 }
}

fn scrape(counters: &Counters, snapshot: &Snapshot) -> String {
    String::from_utf8(text(&gather(counters, snapshot))).unwrap()
}

#[test]
fn a_scrape_has_the_names_and_labels_of_1_4() {
    let counters = Counters::new().unwrap();
    counters.regeneration("policyCalculation", true, Duration::from_millis(20), 2);
    counters.regeneration("buildDuration", true, Duration::from_millis(40), 2);
    counters.regeneration("buildDuration", false, Duration::from_millis(40), 1);
    counters.policy_import_errors.inc();
    counters.ipam("allocate", "ipv4");
    counters.log("warning", "files");
    counters.services("add", 12);
    counters.services("delete", 1);
    let snapshot = Snapshot {
        endpoints: EndpointCounts {
            states: BTreeMap::from([("ready", 3), ("regenerating", 1)]),
            enforcement: BTreeMap::from([("both", 1), ("none", 3)]),
        },
        rules: 7,
        services: 12,
        backends: BTreeMap::from([("active", 30), ("terminating", 2)]),
        services_refused: 1,
        policy_revision: 9,
        packets: vec![
            count(133, Direction::Ingress, 5),
            count(0, Direction::Egress, 11),
            count(1, Direction::Unknown, 2),
        ],
        maps: vec![
            MapSummary { name: "cilium_lxc".into(), path: "/x".into(), max_entries: 100, entries: Some(25) },
            MapSummary {
                name: "cilium_ct4_global".into(),
                path: "/z".into(),
                max_entries: 1000,
                entries: Some(40),
            },
            MapSummary { name: "cilium_events".into(), path: "/y".into(), max_entries: 100, entries: None },
        ],
        cleaning: Cleaning { passes: 6, removed: 30, errors: 1 },
        ended_sockets: EndedSockets { passes: 4, ended: 9, failures: 2, reason: None, unsupported: false },
        ..Snapshot::default()
    };
    let text = scrape(&counters, &snapshot);
    for line in [
        "cilium_endpoint_count 4",
        "cilium_endpoint_state{endpoint_state=\"ready\"} 3",
        "cilium_policy_endpoint_enforcement_status{enforcement=\"both\"} 1",
        "cilium_policy_count 7",
        "cilium_service_sockets_ended_total 9",
        "cilium_service_sockets_ended_failures_total 2",
        "cilium_service_count 12",
        "cilium_service_backend_count{state=\"active\"} 30",
        "cilium_service_backend_count{state=\"terminating\"} 2",
        "cilium_service_refused_count 1",
        "cilium_services_events_total{action=\"add\"} 12",
        "cilium_services_events_total{action=\"delete\"} 1",
        "cilium_policy_max_revision 9",
        "cilium_policy_import_errors 1",
        "cilium_policy_regeneration_total 1",
        "cilium_endpoint_regenerations{outcome=\"success\"} 2",
        "cilium_endpoint_regenerations{outcome=\"fail\"} 1",
        "cilium_endpoint_regeneration_time_stats_seconds_count{scope=\"buildDuration\",status=\"failure\"} 1",
        "cilium_drop_count_total{reason=\"Policy denied (L3)\",direction=\"INGRESS\"} 5",
        "cilium_drop_bytes_total{reason=\"Policy denied (L3)\",direction=\"INGRESS\"} 500",
        "cilium_forward_count_total{direction=\"EGRESS\"} 11",
        "cilium_forward_bytes_total{direction=\"EGRESS\"} 1100",
        "cilium_datapath_events_lost_total 2",
        "cilium_bpf_map_pressure{map_name=\"cilium_lxc\"} 0.25",
        "cilium_datapath_conntrack_gc_runs_total{status=\"completed\"} 6",
        "cilium_datapath_conntrack_gc_entries{family=\"ipv4\",protocol=\"TCP\",status=\"alive\"} 40",
        "cilium_ipam_events_total{action=\"allocate\",family=\"ipv4\"} 1",
        "cilium_errors_warnings_total{level=\"warning\",subsystem=\"files\"} 1",
        "# TYPE cilium_drop_count_total counter",
        "# TYPE cilium_endpoint_count gauge",
    ] {
        assert!(text.lines().any(|one| one == line), "no {line:?} in\n{text}");
    }
    assert!(!text.contains("cilium_events"), "a map whose entries are not known has no pressure");
}

#[test]
fn the_process_is_shown_with_plausible_values() {
    let text = scrape(&Counters::new().unwrap(), &Snapshot::default());
    let value = |name: &str| -> f64 {
        let line = text.lines().find(|line| line.starts_with(&format!("{name} "))).expect(name);
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    let resident = value("cilium_process_resident_memory_bytes");
    assert!(resident > 100_000.0 && resident < value("cilium_process_virtual_memory_bytes"));
    assert!(value("cilium_process_open_fds") >= 3.0);
    assert!(value("cilium_process_start_time_seconds") > 1e9);
}

#[test]
fn the_list_of_the_api_has_the_same_values() {
    let counters = Counters::new().unwrap();
    counters.regeneration("buildDuration", true, Duration::from_secs(2), 1);
    let list = list(&gather(&counters, &Snapshot { rules: 3, ..Snapshot::default() }));
    let value = |name: &str| list.iter().find(|metric| metric.name == name).map(|metric| metric.value);
    assert_eq!(value("cilium_policy_count"), Some(3.0));
    assert_eq!(value("cilium_endpoint_regeneration_time_stats_seconds_count"), Some(1.0));
    assert_eq!(value("cilium_endpoint_regeneration_time_stats_seconds_sum"), Some(2.0));
}
