// SPDX-License-Identifier: Apache-2.0
//! Services of files and of the API, as users see them: in the lists of the command line, over a restart.

use std::net::IpAddr;
use std::time::{Duration, Instant};
use std::{fs, io};

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::node::Node;
use crate::pods::attach;

const DEADLINE: Duration = Duration::from_secs(30);

fn service() -> String {
    "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  type: NodePort
  clusterIPs: [10.96.0.10, 'f00d:96::10']
  sessionAffinity: ClientIP
  ports: [{name: http, port: 80, nodePort: 30080}]
"
    .into()
}

fn slice(backends: &[&str]) -> String {
    let endpoint = |backend: &&str| format!("{{addresses: [{backend}], conditions: {{ready: true}}}}");
    let endpoints: Vec<_> = backends.iter().map(endpoint).collect();
    format!(
        "
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: web-x7, namespace: shop, labels: {{kubernetes.io/service-name: web}}}}
addressType: IPv4
endpoints: [{}]
ports: [{{name: http, port: 8080, protocol: TCP}}]
",
        endpoints.join(", ")
    )
}

/// Puts a file into the directory that the agent watches, as a whole.
fn put(node: &Node, name: &str, text: &str) {
    let hidden = node.path("policy").join(format!(".{name}"));
    fs::write(&hidden, text).unwrap();
    fs::rename(hidden, node.path("policy").join(name)).unwrap();
}

/// What a command prints once it satisfies the condition.
fn printed(node: &Node, words: &[&str], wanted: impl Fn(&str) -> bool) -> String {
    let end = Instant::now() + DEADLINE;
    loop {
        let text = node.cilium(words);
        if wanted(&text) {
            return text;
        }
        assert!(Instant::now() < end, "{words:?} prints\n{text}\n{}", node.log());
    }
}

/// The number of each frontend, and of each backend, by their addresses.
fn ids(node: &Node) -> Vec<(String, u64)> {
    let services: Value = serde_json::from_str(&node.cilium(&["service", "list", "-o", "json"])).unwrap();
    let mut ids = Vec::new();
    for service in services.as_array().unwrap() {
        let spec = &service["spec"];
        ids.push((spec["frontend-address"].to_string(), spec["id"].as_u64().unwrap()));
        for backend in spec["backend-addresses"].as_array().into_iter().flatten() {
            ids.push((backend["ip"].to_string(), backend["id"].as_u64().unwrap()));
        }
    }
    ids.sort();
    ids.dedup();
    ids
}

#[test]
fn services_are_in_the_tables_follow_their_slices_and_keep_their_numbers_over_a_restart() {
    let mut node = Node::start();
    put(&node, "web.yaml", &service());
    put(&node, "web-slice.yaml", &slice(&["10.244.0.77", "192.0.2.9"]));
    let line = |text: &str, begin: &str| {
        text.lines().find(|line| line.contains(begin)).map(str::to_owned).unwrap_or_default()
    };
    let listed = printed(&node, &["service", "list"], |text| text.contains("192.0.2.9:8080 (active)"));
    assert!(line(&listed, " 10.96.0.10:80/TCP ").contains("ClusterIP"), "{listed}");
    assert!(line(&listed, " 198.51.100.1:30080/TCP ").contains("NodePort"), "{listed}");
    assert!(line(&listed, " 127.0.0.1:30080/TCP ").contains("NodePort"), "{listed}");
    // No slice has IPv6 addresses: whoever connects there is refused.
    assert!(line(&listed, " [f00d:96::10]:80/TCP ").trim_end().ends_with("ClusterIP"), "{listed}");

    let tables = printed(&node, &["bpf", "lb", "list"], |text| text.contains("192.0.2.9:8080/TCP"));
    assert!(line(&tables, "10.96.0.10:80/TCP").contains("affinity=10800s"), "{tables}");
    assert!(line(&tables, "198.51.100.1:30080/TCP").contains("[external, node-port]"), "{tables}");
    assert!(!line(&tables, "127.0.0.1:30080/TCP").contains("external"), "{tables}");
    assert!(line(&tables, "[f00d:96::10]:80/TCP").contains("connections are refused"), "{tables}");
    let backends = node.cilium(&["bpf", "lb", "list", "--backends"]);
    assert!(
        backends.contains("10.244.0.77:8080/TCP") && backends.contains("192.0.2.9:8080/TCP"),
        "{backends}"
    );
    assert!(node.cilium(&["bpf", "lb", "list", "--revnat"]).contains("10.96.0.10:80"));
    assert!(node.cilium(&["map", "get", "cilium_lb4_services_v2"]).contains("10.96.0.10:80/TCP"));

    let made =
        ["--id", "60000", "--frontend", "10.96.0.99:53", "--protocol", "udp", "--backends", "192.0.2.9:53"];
    let answer = node.cilium(&[&["service", "update"], &made[..]].concat());
    assert_eq!(answer, "Added service with 1 backends\n");
    let status = node.cilium(&["status"]);
    assert!(line(&status, "Services:").contains("backends"), "{status}");
    let sockets = if node.has_cgroup() { "Enabled: " } else { "Disabled: --bpf-lb-sock=false" };
    assert!(line(&status, "Sockets:").contains(sockets), "{status}");

    // Numbers are kept, whatever comes first when the agent is back.
    let before = ids(&node);
    put(
        &node,
        "before.yaml",
        &service().replace("web", "earlier").replace("0.10", "0.5").replace("30080", "30079"),
    );
    printed(&node, &["service", "list"], |text| text.contains("10.96.0.5:80"));
    let with_earlier = ids(&node);
    node.end_agent(Signal::SIGTERM);
    assert!(node.cilium(&["bpf", "lb", "list"]).contains("10.96.0.99:53/UDP"), "services outlive the agent");
    node.start_agent();
    printed(&node, &["service", "list"], |text| {
        text.contains("10.96.0.5:80") && text.contains("192.0.2.9:8080")
    });
    assert_eq!(ids(&node), with_earlier);
    assert!(before.iter().all(|id| with_earlier.contains(id)), "{before:?} {with_earlier:?}");

    put(&node, "web-slice.yaml", &slice(&["10.244.0.78"]));
    let listed = printed(&node, &["service", "list"], |text| text.contains("10.244.0.78:8080 (active)"));
    assert!(!listed.contains("10.244.0.77"), "{listed}");
    printed(&node, &["bpf", "lb", "list", "--backends"], |text| !text.contains("10.244.0.77:8080"));
    fs::remove_file(node.path("policy/web.yaml")).unwrap();
    printed(&node, &["bpf", "lb", "list"], |text| !text.contains("10.96.0.10:80"));
    assert_eq!(node.cilium(&["service", "delete", "--all"]), "1 services deleted successfully\n");
    printed(&node, &["bpf", "lb", "list"], |text| !text.contains("10.96.0.99:53"));
}

#[test]
fn a_pod_reaches_services_packet_by_packet_and_the_list_of_connections_says_so() {
    let node = Node::start();
    let [web, client] = ["web", "client"].map(|name| attach(&node, name, "1.0.0"));
    web.serve();
    let backend = web.addresses().into_iter().find(IpAddr::is_ipv4).unwrap().to_string();
    let text = service().replace("port: 80,", "port: 8080,");
    put(&node, "web.yaml", &text);
    put(&node, "web-slice.yaml", &slice(&[&backend]));
    let listed = format!("{backend}:8080/TCP");
    printed(&node, &["bpf", "lb", "list"], |text| text.contains(&listed));
    // The test's own threads are in no control group of the agent's.
    let asked = client.ask("10.96.0.10".parse().unwrap());
    asked.unwrap_or_else(|e| panic!("{e}\n{}\n{}", node.cilium(&["bpf", "lb", "list"]), node.log()));
    let refused = client.ask("f00d:96::10".parse().unwrap()).unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused, "{refused}");
    let connections = node.cilium(&["bpf", "ct", "list"]);
    let to_service = connections.lines().find(|line| line.contains(" -> 10.96.0.10:8080 ")).unwrap();
    assert!(to_service.contains(&format!(" => {backend}:8080 ")), "{connections}");
    let behind = format!(" -> {backend}:8080 ");
    let to_backend = connections.lines().find(|line| line.contains(&behind)).unwrap();
    assert!(to_backend.contains(" service="), "{connections}");
    let drops = node.cilium(&["bpf", "metrics", "list"]);
    assert!(drops.contains("Service backend not found"), "{drops}");
}
