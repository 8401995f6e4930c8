// SPDX-License-Identifier: Apache-2.0
//! Starting, starting again, files, listeners.

use super::*;

#[test]
fn an_agent_that_starts_again_has_the_endpoints_the_rules_and_the_identities() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (id, address) = bench.attach("web", &["k8s:app=web"]);
    bench.attach("gone", &["k8s:app=gone"]);
    bench.client.put_policy(RULE).unwrap();
    let identity = bench.client.endpoint(&id.to_string()).unwrap().status.identity;
    bench.stop();
    let links = std::collections::BTreeMap::from([("lxc-web".to_owned(), 9)]);
    let bench = Bench::start(dir.path(), &[], Memory::default(), |state| restore(state, &links).unwrap());
    let endpoints = wait(|| {
        let endpoints = bench.client.endpoints(&[]).unwrap();
        (endpoints.len() == 1 && endpoints[0].status.state == EndpointState::Ready).then_some(endpoints)
    });
    assert_eq!((endpoints[0].id, &endpoints[0].status.identity), (id, &identity));
    let row = bench.ask(move |memory| memory.endpoints.get(&id).cloned()).unwrap();
    assert_eq!(row.ifindex, 9, "the interface's number of today");
    assert!(bench.client.policy(&["name=web".into()]).unwrap().policy.contains("client"));
    refused(bench.client.allocate_ip(&address, "thief"), 409, &[]);
    assert_eq!(bench.client.status().unwrap().cilium.unwrap().state, StatusState::Ok);
    assert!(!dir.path().join("state/2").exists(), "the endpoint whose interface is gone is forgotten");
    bench.stop();
}

#[test]
fn an_endpoint_whose_file_is_corrupt_is_told_and_the_others_are_taken_up() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (web, _) = bench.attach("web", &["k8s:app=web"]);
    let (bad, _) = bench.attach("bad", &["k8s:app=bad"]);
    bench.stop();
    std::fs::write(dir.path().join(format!("state/{bad}/ep_config.json")), "{").unwrap();
    let links = std::collections::BTreeMap::from([("lxc-web".to_owned(), 7), ("lxc-bad".to_owned(), 8)]);
    let bench = Bench::start(dir.path(), &[], Memory::default(), |state| restore(state, &links).unwrap());
    let status = bench.client.status().unwrap();
    assert_eq!(status.cilium.unwrap().state, StatusState::Warning);
    let restore = status.controllers.iter().find(|one| one.name == "restore-endpoints").unwrap();
    let message = &restore.status.as_ref().unwrap().last_failure_msg;
    assert!(
        message.contains(&format!("endpoint {bad}: ")) && message.contains("ep_config.json"),
        "{message}"
    );
    let endpoints = bench.client.endpoints(&[]).unwrap();
    assert_eq!(endpoints.iter().map(|endpoint| endpoint.id).collect::<Vec<_>>(), [web]);
    bench.stop();
}

#[test]
fn files_are_read_before_the_agent_is_ready_and_followed_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let policies = dir.path().join("policies");
    std::fs::create_dir(&policies).unwrap();
    let pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: web-0, namespace: shop, labels: {app: web}}\n";
    std::fs::write(policies.join("pod.yaml"), pod).unwrap();
    let flag = format!("--policy-dir={}", policies.display());
    let bench = Bench::start(dir.path(), &[&flag], Memory::default(), |_| Restored::default());
    let given = bench.client.allocate(Some("ipv4"), "web").unwrap();
    let mut request = attachment("web", &[], &given.address.ipv4);
    (request.k8s_namespace, request.k8s_pod_name) = (Some("shop".into()), Some("web-0".into()));
    request.labels = None;
    let endpoint = bench.client.create_endpoint("container-id:web", &request).unwrap().unwrap();
    assert!(endpoint.status.labels.security_relevant.contains(&"k8s:app=web".to_owned()), "{endpoint:?}");
    std::fs::write(policies.join("bad.yaml"), "kind: [").unwrap();
    wait(|| {
        let status = bench.client.status().unwrap();
        let files = status.controllers.into_iter().find(|one| one.name == "read-files").unwrap();
        files.status.unwrap().last_failure_msg.contains("bad.yaml").then_some(())
    });
    bench.stop();
}

#[test]
fn listeners_get_what_happens_and_the_datapath_is_told_that_they_are_there() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (told, heard) = mpsc::channel();
    let subscription = bench.assembly.api.hub.subscribe(monitor::Filter::default()).unwrap();
    let listener = std::thread::spawn(move || {
        while let Some(event) = subscription.next_before(Instant::now() + DEADLINE) {
            if told.send(Arc::unwrap_or_clone(event)).is_err() {
                return;
            }
        }
    });
    let (id, _) = bench.attach("web", &["k8s:app=web"]);
    let deadline = Instant::now() + DEADLINE;
    loop {
        let event = heard.recv_timeout(deadline.saturating_duration_since(Instant::now())).unwrap();
        if matches!(event, monitor::Event::Agent(monitor::AgentEvent::EndpointRegenerated { id: of, .. }) if of == id)
        {
            break;
        }
    }
    assert_eq!(bench.ask(|memory| memory.listening), Some(0));
    drop(heard);
    // The next event finds nobody who hears it, and the listener goes.
    bench.client.put_policy(RULE).unwrap();
    listener.join().unwrap();
    wait(|| bench.ask(|memory| memory.listening.is_none()).then_some(()));
    bench.stop();
}
