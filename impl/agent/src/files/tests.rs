// SPDX-License-Identifier: Apache-2.0
//! The source of files, on a real directory.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use controlplane::{Event, Objects, SourceName};

use super::{Found, ObjectError, Watcher};

const POLICY: &str = r"
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{fromEndpoints: [{matchLabels: {app: client}}]}]
";
const POD: &str = r"
apiVersion: v1
kind: Pod
metadata: {name: web-0, namespace: shop, labels: {app: web}}
spec:
  serviceAccountName: robot
  containers:
  - name: c
    image: x
    ports: [{name: http, containerPort: 80}, {containerPort: 9}, {name: dns, containerPort: 53, protocol: UDP}]
";
const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {team: red}}\n";
/// How long a change may take to be told.
const DEADLINE: Duration = Duration::from_secs(10);

/// A directory to be watched, with room beside it.
fn place() -> (tempfile::TempDir, PathBuf) {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    fs::create_dir(&dir).unwrap();
    (parent, dir)
}

/// Where copies of a directory's files are: beside it.
fn copies(path: &Path) -> PathBuf {
    path.parent().unwrap().join(format!("{}-copies", path.file_name().unwrap().display()))
}

fn watch(path: &Path) -> (Watcher, Receiver<Event>) {
    let (sender, receiver) = mpsc::channel();
    let copies = copies(path);
    let watcher =
        Watcher::start(path, &copies, true, move |event| sender.send(event).unwrap_or_default()).unwrap();
    (watcher, receiver)
}

/// All that is told until a file's event satisfies the condition: that event's objects.
fn wait(events: &Receiver<Event>, file: &str, wanted: impl Fn(&Event) -> bool) -> Event {
    let deadline = std::time::Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let event = events.recv_timeout(left).unwrap_or_else(|e| panic!("{file}: {e}"));
        let path = match &event {
            Event::Source { file, .. } | Event::SourceFailed { file, .. } => file.as_str(),
            _ => "",
        };
        if path.ends_with(file) && wanted(&event) {
            return event;
        }
    }
}

fn objects(text: &str) -> Result<Objects, ObjectError> {
    super::objects(text, true).map(|found| found.objects)
}

fn rules(event: &Event) -> usize {
    let Event::Source { objects, .. } = event else { return usize::MAX };
    objects.rules.len()
}

fn failed(event: &Event) -> bool {
    matches!(event, Event::SourceFailed { .. })
}

#[test]
fn a_text_holds_rules_pods_and_namespaces_in_any_mixture() {
    let text = format!("{POLICY}---\n{POD}---\n{NAMESPACE}---\n");
    let Objects { rules, pods, namespaces, .. } = objects(&text).unwrap();
    assert_eq!((rules.len(), pods.len(), namespaces.len()), (1, 1, 1));
    let pod = &pods[0];
    assert_eq!((pod.namespace.as_str(), pod.name.as_str()), ("shop", "web-0"));
    assert_eq!(pod.service_account.as_deref(), Some("robot"));
    let ports: Vec<_> =
        pod.named_ports.iter().map(|p| (p.name.as_str(), p.protocol.as_str(), p.port.get())).collect();
    assert_eq!(ports, [("http", "TCP", 80), ("dns", "UDP", 53)]);
    assert_eq!(namespaces[0].labels["team"], "red");
    let json = r#"{"kind":"List","apiVersion":"v1","items":[{"kind":"Namespace","apiVersion":"v1","metadata":{"name":"a"}}]}"#;
    assert_eq!(objects(json).unwrap().namespaces.len(), 1);
}

const SERVICES: &str = r"
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec: {clusterIP: 10.96.0.10, type: NodePort, ports: [{name: http, port: 80, nodePort: 30080, targetPort: web}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-x7, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.7], conditions: {ready: true}}]
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: discovery.k8s.io/v1beta1
kind: EndpointSlice
metadata: {name: web-x8, namespace: shop, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
endpoints: [{addresses: [10.1.0.8]}]
ports: [{name: http, port: 8080, protocol: TCP}]
---
apiVersion: v1
kind: Endpoints
metadata: {name: db}
subsets: [{addresses: [{ip: 192.0.2.7}], ports: [{port: 5432}]}]
";

#[test]
fn services_and_their_endpoints_are_read_and_host_ports_of_pods() {
    let pod = POD.replace("containerPort: 80}", "containerPort: 80, hostPort: 8088}");
    let text = format!("{SERVICES}---\n{pod}");
    let Objects { services, slices, pods, .. } = objects(&text).unwrap();
    assert_eq!((services.len(), slices.len(), pods.len()), (1, 3, 1));
    assert_eq!(services[0].key.to_string(), "shop/web");
    let of: Vec<_> = slices.iter().map(|slice| slice.service.as_str()).collect();
    assert_eq!(of, ["web", "web", "db"]);
    let [port] = &pods[0].host_ports[..] else { panic!("{:?}", pods[0].host_ports) };
    assert_eq!((port.port.get(), port.container_port.get()), (8088, 80));
    let list = r#"{"kind":"ServiceList","apiVersion":"v1","items":[{"metadata":{"name":"a"},
        "spec":{"clusterIP":"10.96.0.1","ports":[{"port":80}]}}]}"#;
    assert_eq!(objects(list).unwrap().services.len(), 1);
    let Found { objects: without, left_out, .. } = super::objects(&text, false).unwrap();
    assert_eq!((without.services.len(), without.slices.len(), without.pods.len(), left_out), (0, 0, 1, 4));
}

#[test]
fn what_is_wrong_is_named_by_object_and_field() {
    for (text, parts) in [
        ("", &["no object"][..]),
        ("---\n---\n", &["no object"]),
        ("a: {{{", &["YAML"]),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: d}\n",
            &["object 1", "Deployment d", "not read"],
        ),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\n", &["object 1", "metadata.name"]),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: ''}\n", &["metadata.name", "empty"]),
        ("apiVersion: v1\nkind: Pod\nmetadata: {labels: {}}\n", &["metadata", "name"]),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {clusterIP: 10.96.0.1, ports: [{port: 0}]}\n",
            &["object 1 (Service s)", "spec.ports[0].port", "1 to 65535"],
        ),
        ("apiVersion: discovery.k8s.io/v2\nkind: EndpointSlice\nmetadata: {name: s}\n", &["not read"]),
    ] {
        let problem = objects(text).unwrap_err().to_string();
        for part in parts {
            assert!(problem.contains(part), "{text:?}: {problem}");
        }
    }
    let second = format!("{NAMESPACE}---\n{}", POLICY.replace("ingress", "ingres"));
    let problem = objects(&second).unwrap_err().to_string();
    assert!(
        problem.contains("object 2 (CiliumNetworkPolicy web)") && problem.contains("ingres"),
        "{problem}"
    );
}

#[test]
fn what_is_there_at_the_start_is_told_before_that_it_was_all() {
    let (_parent, dir) = place();
    fs::write(dir.join("a.yaml"), POLICY).unwrap();
    fs::write(dir.join("b.json"), "{").unwrap();
    for other in [".hidden.yaml", "a.yaml~", "a.yaml.swp", "README"] {
        fs::write(dir.join(other), POLICY).unwrap();
    }
    let (_watcher, events) = watch(&dir);
    let mut told = Vec::new();
    loop {
        match events.recv_timeout(DEADLINE).unwrap() {
            Event::SourceSynced(SourceName::Files) => break,
            Event::Source { file, .. } => told.push((file, true)),
            Event::SourceFailed { file, .. } => told.push((file, false)),
            other => panic!("{other:?}"),
        }
    }
    let path = |name: &str| dir.join(name).display().to_string();
    let directory = dir.display().to_string();
    assert_eq!(told, [(directory, true), (path("a.yaml"), true), (path("b.json"), false)]);
}

#[test]
fn a_file_that_is_written_renamed_into_place_or_removed_is_told() {
    let (_parent, dir) = place();
    let (_watcher, events) = watch(&dir);
    let file = dir.join("a.yaml");
    fs::write(&file, POLICY).unwrap();
    wait(&events, "a.yaml", |event| rules(event) == 1);
    fs::write(dir.join(".a.yaml.tmp"), format!("{POLICY}---{}", POLICY.replace("web", "db"))).unwrap();
    fs::rename(dir.join(".a.yaml.tmp"), &file).unwrap();
    wait(&events, "a.yaml", |event| rules(event) == 2);
    fs::rename(&file, dir.join("b.yaml")).unwrap();
    wait(&events, "a.yaml", |event| rules(event) == 0);
    wait(&events, "b.yaml", |event| rules(event) == 2);
    fs::remove_file(dir.join("b.yaml")).unwrap();
    wait(&events, "b.yaml", |event| rules(event) == 0);
}

#[test]
fn a_malformed_file_is_reported_once_and_heals_when_it_is_written_again() {
    let (_parent, dir) = place();
    let file = dir.join("a.yaml");
    fs::write(&file, POLICY).unwrap();
    let (_watcher, events) = watch(&dir);
    wait(&events, "a.yaml", |event| rules(event) == 1);
    fs::write(&file, "spec: [").unwrap();
    wait(&events, "a.yaml", failed);
    fs::write(&file, "").unwrap();
    let Event::SourceFailed { reason, .. } = wait(&events, "a.yaml", failed) else { unreachable!() };
    assert!(reason.contains("no object"), "{reason}");
    fs::write(&file, POLICY).unwrap();
    wait(&events, "a.yaml", |event| rules(event) == 1);
}

#[test]
fn a_file_that_is_malformed_when_the_agent_starts_again_keeps_what_it_held() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    fs::create_dir(&dir).unwrap();
    for name in ["a.yaml", "gone.yaml"] {
        fs::write(dir.join(name), POLICY).unwrap();
    }
    let (watcher, events) = watch(&dir);
    wait(&events, "gone.yaml", |event| rules(event) == 1);
    drop(watcher);
    fs::write(dir.join("a.yaml"), "spec: [").unwrap();
    fs::remove_file(dir.join("gone.yaml")).unwrap();
    let (watcher, events) = watch(&dir);
    wait(&events, "a.yaml", |event| rules(event) == 1);
    wait(&events, "a.yaml", failed);
    drop(watcher);
    let told: Vec<_> = events.iter().collect();
    assert!(told.iter().any(|event| matches!(event, Event::SourceSynced(_))), "{told:?}");
    assert!(!copies(&dir).join("gone.yaml").exists(), "what is gone is forgotten");
    fs::remove_file(dir.join("a.yaml")).unwrap();
    let (_watcher, events) = watch(&dir);
    let first: Vec<_> = events.iter().take_while(|event| !matches!(event, Event::SourceSynced(_))).collect();
    assert!(first.iter().all(|event| rules(event) == 0), "{first:?}");
}

#[test]
fn a_directory_that_cannot_be_read_at_first_is_not_all_there_is() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    let (_watcher, events) = watch(&dir);
    wait(&events, "policies", failed);
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), POLICY).unwrap();
    let end = std::time::Instant::now() + DEADLINE;
    let mut held = 0;
    loop {
        match events.recv_timeout(end.saturating_duration_since(std::time::Instant::now())).unwrap() {
            Event::SourceSynced(_) => break,
            event @ Event::Source { .. } => held += rules(&event),
            _ => {}
        }
    }
    // The file may have been written after the directory was read; then its own event comes.
    if held == 0 {
        wait(&events, "a.yaml", |event| rules(event) == 1);
    }
}

#[test]
fn a_mounted_config_map_that_the_kubelet_replaces_is_read_anew() {
    let (_parent, dir) = place();
    let version = |name: &str, text: &str| {
        fs::create_dir(dir.join(name)).unwrap();
        fs::write(dir.join(name).join("a.yaml"), text).unwrap();
        std::os::unix::fs::symlink(name, dir.join("..data_tmp")).unwrap();
        fs::rename(dir.join("..data_tmp"), dir.join("..data")).unwrap();
    };
    version("..1", POLICY);
    std::os::unix::fs::symlink("..data/a.yaml", dir.join("a.yaml")).unwrap();
    let (_watcher, events) = watch(&dir);
    wait(&events, "a.yaml", |event| rules(event) == 1);
    version("..2", &format!("{POLICY}---{}", POLICY.replace("web", "db")));
    wait(&events, "a.yaml", |event| rules(event) == 2);
}

#[test]
fn a_directory_that_goes_and_comes_back_is_reported_and_read_again() {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("policies");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("a.yaml"), POLICY).unwrap();
    let (_watcher, events) = watch(&dir);
    wait(&events, "a.yaml", |event| rules(event) == 1);
    fs::rename(&dir, parent.path().join("elsewhere")).unwrap();
    let Event::SourceFailed { reason, .. } = wait(&events, "policies", failed) else { unreachable!() };
    assert!(reason.contains("gone"), "{reason}");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("b.yaml"), POLICY).unwrap();
    wait(&events, "policies", |event| !failed(event));
    wait(&events, "a.yaml", |event| rules(event) == 0);
    wait(&events, "b.yaml", |event| rules(event) == 1);
}
