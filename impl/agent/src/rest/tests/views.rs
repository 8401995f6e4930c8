// SPDX-License-Identifier: Apache-2.0
//! What is shown of the agent.

use super::*;

#[test]
fn the_configuration_shows_the_node_and_changes() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let config = bench.client.config().unwrap().status;
    assert_eq!(config.device_mtu, Some(1500));
    let ipv4 = config.addressing.unwrap().ipv4.unwrap();
    assert_eq!((ipv4.ip.as_str(), ipv4.alloc_range.as_str()), ("10.1.0.1", "10.1.0.0/24"));
    assert_eq!(config.realized.policy_enforcement.as_deref(), Some("default"));
    let mut change =
        DaemonConfigurationSpec { policy_enforcement: Some("always".into()), ..Default::default() };
    change.options.insert("TraceNotification".into(), "Disabled".into());
    change.options.insert("MonitorAggregationLevel".into(), "medium".into());
    bench.client.patch_config(&change).unwrap();
    let realized = bench.client.config().unwrap().status.realized;
    assert_eq!(realized.policy_enforcement.as_deref(), Some("always"));
    assert_eq!(realized.options["TraceNotification"], "Disabled");
    assert_eq!(realized.options["MonitorAggregationLevel"], "Medium");
    change.policy_enforcement = Some("perhaps".into());
    refused(bench.client.patch_config(&change), 400, &["policy-enforcement", "perhaps"]);
    bench.stop();
}

#[test]
fn the_status_is_ok_and_a_row_that_fails_makes_it_a_warning_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    assert_eq!(bench.client.status().unwrap().cilium.unwrap().state, StatusState::Ok);
    let (id, _) = bench.attach("web", &[]);
    bench.ask(|memory| memory.refuse = true);
    let change = LabelConfigurationSpec { user: vec!["tier=gold".into()] };
    refused(bench.client.patch_endpoint_labels(&id.to_string(), &change), 500, &["refused"]);
    let status = bench.client.status().unwrap();
    assert_eq!(status.cilium.unwrap().state, StatusState::Warning);
    let realize = status.controllers.iter().find(|controller| controller.name == "realize").unwrap();
    let runs = realize.status.as_ref().unwrap();
    assert_eq!(runs.consecutive_failure_count, 1);
    assert!(runs.last_failure_msg.contains("refused"), "{runs:?}");
    bench.ask(|memory| memory.refuse = false);
    let deadline = Instant::now() + DEADLINE;
    while bench.client.status().unwrap().cilium.unwrap().state != StatusState::Ok {
        assert!(Instant::now() < deadline, "what failed was not tried again");
    }
    bench.stop();
}

#[test]
fn identities_maps_metrics_and_debuginfo_are_shown() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (id, _) = bench.attach("web", &["k8s:app=web"]);
    let identity = bench.client.endpoint(&id.to_string()).unwrap().status.identity.unwrap();
    assert_eq!(bench.client.identity(&identity.id.to_string()).unwrap(), identity);
    assert_eq!(bench.client.identities(&["k8s:app=web".into()]).unwrap(), [identity]);
    assert!(
        bench.client.identities(&[]).unwrap().iter().any(|identity| identity.labels == ["reserved:host"])
    );
    refused(bench.client.identity("9999"), 404, &["9999"]);
    refused(bench.client.identity("x"), 400, &["id"]);
    assert_eq!(bench.client.maps().unwrap().maps.len(), 1);
    let (map, left_out) = bench.client.map(MAP).unwrap();
    let map = map.cache.unwrap();
    assert_eq!(left_out, 0);
    assert_eq!((map[0].key.as_str(), map[0].value.as_str()), (&*id.to_string(), "lxc-web"));
    refused(bench.client.map("none"), 404, &["none"]);
    let debuginfo = bench.client.debuginfo().unwrap();
    assert_eq!(debuginfo.endpoint_list.len(), 1);
    assert!(debuginfo.cilium_memory_map.contains("[stack]"));
    bench.stop();
}
