// SPDX-License-Identifier: Apache-2.0
//! The REST API as its clients see it: the real control plane, a datapath in memory, and the client of the `api` crate.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use api::{
    AddressPair, Client, ClientError, DaemonConfigurationSpec, EndpointChangeRequest,
    EndpointConfigurationSpec, EndpointHealthStatus, EndpointState, LabelConfigurationSpec, Port,
    PortProtocol, StatusState, TraceFrom, TraceSelector, TraceTo, Verdict,
};
use tokio::sync::oneshot;

use crate::config::{Loaded, load};
use crate::lifetime::{Assembly, Parts, Restored, listen_unix, restore};
use crate::memory::{MAP, Memory};
use crate::metrics::Counters;
use crate::node::{Facts, Kept, Node};
use crate::rest::serve_unix;
use crate::state::StateDir;

const DEADLINE: Duration = Duration::from_secs(20);
const RULE: &str = r#"[{"endpointSelector":{"matchLabels":{"app":"web"}},
  "ingress":[{"fromEndpoints":[{"matchLabels":{"app":"client"}}],"toPorts":[{"ports":[{"port":"80","protocol":"TCP"}]}]}],
  "labels":[{"key":"name","value":"web","source":"unspec"}]}]"#;

/// An agent without a kernel's datapath.
struct Bench {
    dir: PathBuf,
    client: Client,
    assembly: Assembly<Memory>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Bench {
    fn start(
        dir: &Path,
        flags: &[&str],
        target: Memory,
        restored: impl FnOnce(&StateDir) -> Restored,
    ) -> Self {
        let socket = dir.join("agent.sock");
        let own = [
            "cilium-agent".to_owned(),
            "--ipv4-range=10.1.0.0/24".to_owned(),
            format!("--socket-path={}", socket.display()),
        ];
        let arguments = own.into_iter().chain(flags.iter().map(ToString::to_string)).map(Into::into);
        let Ok(Loaded::Run { config, .. }) = load(arguments, []) else { panic!("{flags:?}") };
        let node = Node::decide(&config.network, &Facts::default(), Kept::default()).unwrap();
        let state = StateDir::open(dir).unwrap();
        let restored = restored(&state);
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        let counters = Counters::new().unwrap();
        let parts = Parts { config: *config, node, state, restored, addresses, counters };
        let assembly = Assembly::start(parts, || Ok::<_, std::io::Error>(target)).unwrap();
        let (stop, stopped) = oneshot::channel();
        let listener = listen_unix("--socket-path", &socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let api = assembly.api.clone();
        let server = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                tokio::spawn(serve_unix(listener, api));
                stopped.await.unwrap();
            });
        });
        Self { dir: dir.into(), client: Client::with_timeout(socket, DEADLINE), assembly, stop, server }
    }

    fn new(dir: &Path) -> Self {
        Self::start(dir, &[], Memory::default(), |_| Restored::default())
    }

    fn ask<R: Send + 'static>(&self, question: impl FnOnce(&mut Memory) -> R + Send + 'static) -> R {
        self.assembly.api.realizer.ask(question).unwrap().blocking_recv().unwrap()
    }

    /// A pod as the CNI plugin attaches it, with its address.
    fn attach(&self, name: &str, labels: &[&str]) -> (u16, String) {
        let given = self.client.allocate(Some("ipv4"), name).unwrap();
        let request = attachment(name, labels, &given.address.ipv4);
        let endpoint =
            self.client.create_endpoint(&format!("container-id:{name}"), &request).unwrap().unwrap();
        (endpoint.id, given.address.ipv4)
    }

    /// The raw reply to raw bytes.
    fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.join("agent.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.join().unwrap();
        assert!(self.assembly.stop());
    }
}

fn attachment(name: &str, labels: &[&str], ipv4: &str) -> EndpointChangeRequest {
    EndpointChangeRequest {
        state: EndpointState::WaitingForIdentity,
        container_id: Some(name.into()),
        labels: Some(labels.iter().map(ToString::to_string).collect()),
        interface_name: Some(format!("lxc-{name}")),
        interface_index: Some(7),
        mac: Some("02:00:00:00:00:01".into()),
        host_mac: Some("02:00:00:00:00:02".into()),
        addressing: Some(AddressPair { ipv4: ipv4.into(), ipv6: String::new() }),
        sync_build_endpoint: Some(true),
        ..EndpointChangeRequest::default()
    }
}

#[track_caller]
fn refused<R: std::fmt::Debug>(reply: Result<R, ClientError>, status: u16, parts: &[&str]) {
    let error = reply.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.status(), Some(status), "{text}");
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

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
fn rules_change_what_is_realized_before_their_import_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let (web, _) = bench.attach("web", &["k8s:app=web"]);
    bench.attach("client", &["k8s:app=client"]);
    let policy = bench.client.put_policy(RULE).unwrap();
    let ports = |memory: &mut Memory, id| -> Vec<u16> {
        memory.policy[&id]
            .keys()
            .filter(|key| key.direction == policy::Direction::Ingress)
            .map(|key| key.port)
            .collect()
    };
    assert!(bench.ask(move |memory| ports(memory, web)).contains(&80));
    let stored = bench.client.policy(&[]).unwrap();
    assert_eq!(stored, policy);
    assert!(stored.policy.contains("app"), "{}", stored.policy);
    let question = |from: &str, port| TraceSelector {
        from: TraceFrom { labels: vec![from.into()] },
        to: TraceTo {
            labels: vec!["k8s:app=web".into()],
            dports: vec![Port { port, protocol: PortProtocol::Tcp }],
        },
        verbose: false,
    };
    let ask = |from, port| bench.client.resolve_policy(&question(from, port)).unwrap().verdict;
    assert_eq!(ask("k8s:app=client", 80), Verdict::Allowed);
    assert_eq!(ask("k8s:app=client", 81), Verdict::Denied);
    assert_eq!(ask("k8s:app=other", 80), Verdict::Denied);
    bench.client.delete_policy(&["name=web".into()]).unwrap();
    assert!(!bench.ask(move |memory| ports(memory, web)).contains(&80));
    refused(bench.client.delete_policy(&["name=web".into()]), 404, &["name=web"]);
    bench.stop();
}

#[test]
fn rules_that_cannot_be_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    refused(bench.client.put_policy("["), 400, &["JSON"]);
    refused(bench.client.put_policy(&RULE.replace("\"80\"", "\"x_y\"")), 460, &["[0].ingress[0].toPorts[0]"]);
    refused(bench.client.put_policy(&RULE.replace("ingress", "ingres")), 400, &["ingres"]);
    let l7 = RULE.replace("\"protocol\":\"TCP\"}]", "\"protocol\":\"TCP\"}],\"rules\":{\"http\":[{}]}");
    refused(bench.client.put_policy(&l7), 501, &["L7", "toPorts"]);
    let metrics = bench.client.metrics().unwrap();
    let errors = metrics.iter().find(|metric| metric.name == "cilium_policy_import_errors").unwrap();
    assert!((errors.value - 4.0).abs() < f64::EPSILON);
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

#[test]
fn requests_that_make_no_sense_name_the_field() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let good = attachment("web", &[], "10.1.0.9");
    type Change = fn(&mut EndpointChangeRequest);
    let cases: [(Change, &str); 8] = [
        (|request| request.mac = Some("zz".into()), "mac"),
        (|request| request.mac = None, "mac"),
        (|request| request.interface_name = None, "interface-name"),
        (|request| request.addressing = None, "addressing"),
        (|request| request.addressing.as_mut().unwrap().ipv4 = "::1".into(), "addressing.ipv4"),
        (|request| request.labels = Some(vec!["k8s:a".into(), "=x".into()]), "labels[1]"),
        (|request| request.docker_network_id = Some("x".into()), "docker-network-id"),
        (|request| request.state = EndpointState::Ready, "state"),
    ];
    for (change, field) in cases {
        let mut request = good.clone();
        change(&mut request);
        refused(bench.client.create_endpoint("container-id:web", &request), 400, &[field]);
    }
    refused(bench.client.create_endpoint("container-id:other", &good), 400, &["id"]);
    refused(bench.client.endpoint("nonsense:1"), 400, &["id", "nonsense"]);
    refused(bench.client.endpoint("0"), 400, &["id"]);
    bench.stop();
}

#[test]
fn what_is_not_http_not_json_or_not_there_is_refused_without_harm() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    let put = |body: &str| {
        let length = body.len();
        format!(
            "PUT /v1/endpoint/1 HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )
    };
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    for (request, status, part) in [
        (put("{\"state\":\"creating\",\"interface-index\":\"x\"}"), 400, "\"field\":\"interface-index\""),
        (put("{\"state\":\"creating\",\"surprise\":1}"), 400, "surprise"),
        (put("{\"state\":\"creating\"} {}"), 400, "trailing"),
        (put(""), 400, "needs a JSON body"),
        (put(&"[".repeat(100_000)), 400, "message"),
        (get("/v1/service"), 501, "services are not there yet"),
        (get("/v1/fqdn/cache"), 501, "DNS"),
        (get("/v1/nothing"), 404, "/v1/nothing"),
        ("DELETE /v1/healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into(), 405, "allow: GET"),
        ("POST /v1/ipam?family=ipv9 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".into(), 400, "family"),
        (
            "PUT /v1/policy HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 99999999\r\n\r\n"
                .into(),
            413,
            "larger",
        ),
        ("nonsense\r\n\r\n".into(), 400, ""),
    ] {
        let reply = bench.raw(&request);
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{request:.80}: {reply}");
        assert!(reply.contains(part), "{request:.80}: {reply}");
    }
    assert_eq!(bench.client.status().unwrap().cilium.unwrap().state, StatusState::Ok);
    bench.stop();
}

#[test]
fn a_client_that_hangs_up_in_the_middle_harms_nobody() {
    let dir = tempfile::tempdir().unwrap();
    let bench = Bench::new(dir.path());
    for bytes in ["GET /v1/hea", "PUT /v1/policy HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\n[{", ""] {
        let mut stream = UnixStream::connect(dir.path().join("agent.sock")).unwrap();
        stream.write_all(bytes.as_bytes()).unwrap();
        stream.shutdown(Shutdown::Both).unwrap();
    }
    assert_eq!(bench.client.status().unwrap().cilium.unwrap().state, StatusState::Ok);
    bench.stop();
}

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

fn wait<R>(condition: impl Fn() -> Option<R>) -> R {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to be");
        std::thread::yield_now();
    }
}
