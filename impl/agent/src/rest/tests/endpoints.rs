// SPDX-License-Identifier: Apache-2.0
//! Endpoints and addresses.

use super::*;

#[test]
fn an_endpoint_is_in_the_datapath_and_on_disk_when_its_creation_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (id, address) = bench.attach("web", &["k8s:app=web"]);
    let row = bench.ask(move |memory| memory.endpoints.get(&id).cloned()).unwrap();
    assert_eq!((row.interface.as_str(), row.ifindex), ("lxc-web", 7));
    assert!(dir.path().join(format!("state/{id}/ep_config.json")).exists());
    let endpoint = bench.client.endpoint(&id.to_string()).unwrap();
    assert_eq!(endpoint.status.state, EndpointState::Ready);
    assert_eq!(endpoint.status.networking.addressing[0].ipv4, address);
    assert_eq!(endpoint.status.external_identifiers.container_id, "web");
    assert_eq!(endpoint.status.labels.security_relevant, ["k8s:app=web"]);
    let identity = endpoint.status.identity.unwrap();
    assert_eq!(u64::from(identity.id), u64::from(row.identity));
    for name in [format!("cilium-local:{id}"), "container-id:web".into(), format!("ipv4:{address}")] {
        assert_eq!(bench.client.endpoint(&name).unwrap().id, id, "{name}");
    }
    assert_eq!(
        bench.client.endpoint_health(&id.to_string()).unwrap().overall_health,
        EndpointHealthStatus::Ok
    );
    assert!(!bench.client.endpoint_log(&id.to_string()).unwrap().is_empty());
    bench.stop();
}

#[test]
fn an_endpoint_that_the_datapath_refuses_is_refused_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let target = Memory { refuse: true, ..Memory::default() };
    let bench = Bench::start(dir.path(), &[], target, |_| Restored::default());
    let given = bench.client.allocate(Some("ipv4"), "web").unwrap();
    let request = attachment("web", &[], &given.address.ipv4);
    refused(bench.client.create_endpoint("container-id:web", &request), 500, &["refused"]);
    wait(|| bench.client.endpoints(&[]).unwrap().is_empty().then_some(()));
    bench.ask(|memory| memory.refuse = false);
    bench.client.create_endpoint("container-id:web", &request).unwrap();
    bench.stop();
}

#[test]
fn a_deleted_endpoint_is_gone_everywhere_and_its_address_is_free() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (id, address) = bench.attach("web", &["k8s:app=web"]);
    refused(bench.client.release_ip(&address), 409, &["belongs to endpoint"]);
    assert_eq!(bench.client.delete_endpoint("container-id:web").unwrap(), 0);
    refused(bench.client.endpoint(&id.to_string()), 404, &["not found"]);
    refused(bench.client.delete_endpoint("container-id:web"), 404, &["not found"]);
    assert!(bench.ask(|memory| memory.endpoints.is_empty() && memory.policy.is_empty()));
    assert!(!dir.path().join(format!("state/{id}")).exists());
    bench.client.allocate_ip(&address, "again").unwrap();
    bench.client.release_ip(&address).unwrap();
    bench.stop();
}

#[test]
fn a_second_endpoint_with_the_same_container_or_address_is_a_conflict() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (_, address) = bench.attach("web", &[]);
    let same = attachment("web", &[], "10.1.0.99");
    refused(bench.client.create_endpoint("container-id:web", &same), 409, &["container-id"]);
    let mut same = attachment("other", &[], &address);
    same.interface_index = Some(8);
    refused(bench.client.create_endpoint("container-id:other", &same), 409, &[&address]);
    bench.stop();
}

#[test]
fn labels_and_options_of_an_endpoint_change_while_it_runs() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (id, _) = bench.attach("web", &["k8s:app=web"]);
    let name = id.to_string();
    let before = bench.client.endpoint(&name).unwrap().status.identity.unwrap().id;
    bench
        .client
        .patch_endpoint_labels(&name, &LabelConfigurationSpec { user: vec!["tier=gold".into()] })
        .unwrap();
    let labels = bench.client.endpoint_labels(&name).unwrap();
    assert_eq!(labels.spec.user, labels.status.realized.user);
    assert!(labels.status.security_relevant.iter().any(|label| label.contains("tier=gold")));
    let after = bench.client.endpoint(&name).unwrap().status.identity.unwrap().id;
    assert_ne!(before, after);
    assert_eq!(bench.ask(move |memory| memory.endpoints[&id].identity), after);
    let mut change = EndpointConfigurationSpec::default();
    change.options.insert("Debug".into(), "Enabled".into());
    bench.client.patch_endpoint_config(&name, &change).unwrap();
    assert_eq!(bench.client.endpoint_config(&name).unwrap().realized.options["Debug"], "Enabled");
    assert_eq!(bench.ask(move |memory| memory.endpoints[&id].options & 16), 16);
    change.options.insert("NAT46".into(), "Enabled".into());
    refused(bench.client.patch_endpoint_config(&name, &change), 400, &["NAT46"]);
    bench.client.patch_endpoint_config(&name, &EndpointConfigurationSpec::default()).unwrap();
    bench.stop();
}

#[test]
fn addresses_are_given_once_and_taken_back() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let both = bench.client.allocate(None, "x").unwrap();
    assert!(both.address.ipv4.starts_with("10.1.0.") && both.address.ipv6.starts_with("f00d::"));
    assert_eq!(both.host_addressing.ipv4.unwrap().ip, "10.1.0.1");
    refused(bench.client.allocate_ip(&both.address.ipv4, "y"), 409, &["given to x"]);
    refused(bench.client.allocate_ip("10.1.0.1", "y"), 409, &["reserved"]);
    refused(bench.client.allocate_ip("nonsense", "y"), 400, &["ip", "nonsense"]);
    refused(bench.client.allocate(Some("ipx"), "y"), 400, &["family"]);
    bench.client.release_ip(&both.address.ipv4).unwrap();
    refused(bench.client.release_ip(&both.address.ipv4), 404, &["not given"]);
    let status = bench.client.status().unwrap().ipam.unwrap();
    assert!(status.ipv6.contains(&both.address.ipv6) && !status.ipv4.contains(&both.address.ipv4));
    bench.stop();
}
