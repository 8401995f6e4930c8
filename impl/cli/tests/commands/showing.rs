// SPDX-License-Identifier: Apache-2.0
//! What commands print of what an agent says.

use crate::server::Server;
use serde_json::{Value, json};

fn endpoints() -> Value {
    let endpoint = |id: u16, policy: &str, identity: Value, addressing: Value, state: &str| {
        json!({
            "id": id,
            "status": {
                "state": state, "identity": identity, "networking": {"addressing": [addressing]},
                "policy": {"realized": {"policy-enabled": policy, "policy-revision": 3}}
            }
        })
    };
    let web = json!({"id": 31028, "labels": ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=default"]});
    json!([
        endpoint(2761, "ingress", web, json!({"ipv4": "10.15.0.2", "ipv6": "f00d::a0f:0:0:2"}), "ready"),
        endpoint(45, "none", Value::Null, json!({"ipv4": "10.15.0.9"}), "waiting-for-identity")
    ])
}

#[test]
fn endpoints_are_listed_with_the_columns_of_1_4() {
    let server = Server::start().on("GET /v1/endpoint", 200, &endpoints());
    assert_eq!(
        server.run(&["endpoint", "list"]).unwrap(),
        "\
ENDPOINT   POLICY (ingress)   POLICY (egress)   IDENTITY        LABELS (source:key[=value])               IPv6              IPv4        STATUS
           ENFORCEMENT        ENFORCEMENT
45         Disabled           Disabled          <no label id>   no labels                                                   10.15.0.9   waiting-for-identity
2761       Enabled            Disabled          31028           k8s:app=web                               f00d::a0f:0:0:2   10.15.0.2   ready
                                                                k8s:io.kubernetes.pod.namespace=default
"
    );
    let bare = server.run(&["endpoint", "list", "--no-headers"]).unwrap();
    assert!(bare.starts_with("45 "), "{bare}");
}

#[test]
fn each_command_that_shows_speaks_json_and_jsonpath() {
    let server = Server::start().on("GET /v1/endpoint", 200, &endpoints()).on(
        "GET /v1/identity",
        200,
        &json!([{"id": 1, "labels": ["reserved:host"]}]),
    );
    let listed: Value =
        serde_json::from_str(&server.run(&["endpoint", "list", "-o", "json"]).unwrap()).unwrap();
    assert_eq!((&listed[0]["id"], &listed[1]["id"]), (&json!(45), &json!(2761)));
    let path = "jsonpath={[*].id}";
    assert_eq!(server.run(&["endpoint", "list", "-o", path]).unwrap(), "45 2761\n");
    assert_eq!(
        server.run(&["identity", "list", "-o", "jsonpath={[0].labels[0]}"]).unwrap(),
        "reserved:host\n"
    );
    let filter = server.run(&["identity", "list", "-o", "jsonpath={[?(@.id==1)]}"]).unwrap_err();
    assert!(filter.to_string().contains("is not supported"), "{filter}");
    let missing = server.run(&["identity", "list", "-o", "jsonpath={[7].id}"]).unwrap_err();
    assert_eq!((missing.to_string().as_str(), missing.exit_code()), ("jsonpath: nothing is at [7]", 1));
}

#[test]
fn one_endpoint_is_shown_as_a_list_as_in_1_4() {
    let server = Server::start().on("GET /v1/endpoint/pod-name:default:web", 200, &endpoints()[0]).on(
        "GET /v1/endpoint",
        200,
        &json!([]),
    );
    let shown = server.run(&["endpoint", "get", "pod-name:default:web"]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&shown).unwrap()[0]["id"], 2761);
    let none = server.run(&["endpoint", "get", "-l", "k8s:app=db"]).unwrap_err();
    assert_eq!(none.to_string(), "no endpoint has the labels k8s:app=db");
    assert_eq!(server.sent("GET /v1/endpoint"), json!(["k8s:app=db"]));
}

#[test]
fn health_and_history_of_an_endpoint_are_shown() {
    let health = json!({"overallHealth": "OK", "bpf": "OK", "policy": "Pending", "connected": true});
    let log = json!([{"timestamp": "2019-02-12T10:00:00Z", "code": "failed", "message": "no map", "state": "not-ready"}]);
    let server = Server::start().on("GET /v1/endpoint/7/healthz", 200, &health).on(
        "GET /v1/endpoint/7/log",
        200,
        &log,
    );
    assert_eq!(
        server.run(&["endpoint", "health", "7"]).unwrap(),
        "Overall Health:   OK\nBPF Health:       OK\nPolicy Health:    Pending\nConnected:        yes\n"
    );
    assert_eq!(
        server.run(&["endpoint", "log", "7"]).unwrap(),
        "Timestamp              Status   State       Message\n2019-02-12T10:00:00Z   Failed   not-ready   no map\n"
    );
}

fn status() -> Value {
    json!({
        "cilium": {"state": "Ok", "msg": "OK"},
        "kubernetes": {"state": "Disabled"},
        "nodeMonitor": {"cpus": 2, "npages": 1024, "pagesize": 4096, "lost": 0, "unknown": 0},
        "ipam": {"ipv4": ["10.15.0.1", "10.15.0.2"], "status": "2/65535 allocated"},
        "services": {
            "kubernetes": true, "frontends": 4, "active-backends": 7, "terminating-backends": 1,
            "not-ready-backends": 2, "sockets": false,
            "sockets-msg": "there is no cgroup2", "mode": "snat", "algorithm": "random",
            "node-port-range": "30000-32767", "refused-count": 3, "refused": {"default/web": "no id is free"}
        },
        "controllers": [
            {"name": "conntrack-gc", "status": {"success-count": 3, "last-success-timestamp": "2019-02-12T10:00:00Z"}},
            {"name": "resync", "status": {"consecutive-failure-count": 2, "last-failure-msg": "busy"}}
        ]
    })
}

#[test]
fn the_status_is_shown_with_what_fails_and_at_length_with_all() {
    let server = Server::start().on("GET /v1/healthz", 200, &status());
    let text = server.run(&["status"]).unwrap();
    assert_eq!(
        text,
        "\
Kubernetes:   Disabled
Cilium:       Ok         OK
NodeMonitor:            Listening for events on 2 CPUs with 1024x4096 of shared memory
IPAM:                   2/65535 allocated
Services:               4 frontends, 7 backends and 1 terminating and 2 not ready; 3 refused
  Kubernetes:           Enabled
  Sockets:              Disabled: there is no cgroup2
  Mode:                 snat, random, NodePorts 30000-32767
  Refused:              default/web: no id is free
  Refused:              and 2 more
Controller Status:      1/2 healthy
  Name     Last success   Last error   Count   Message
  resync   never          never        2       busy
"
    );
    let verbose = server.run(&["status", "--verbose"]).unwrap();
    assert!(verbose.contains("Allocated addresses:\n  10.15.0.1\n  10.15.0.2\n"), "{verbose}");
    assert!(
        verbose.contains("  conntrack-gc   2019-02-12T10:00:00Z   never        0       no error\n"),
        "{verbose}"
    );
    assert_eq!(server.run(&["status", "--brief"]).unwrap(), "OK\n");
}

#[test]
fn a_status_that_is_not_well_fails() {
    let mut bad = status();
    bad["kvstore"] = json!({"state": "Failure", "msg": "no quorum"});
    let server = Server::start().on("GET /v1/healthz", 200, &bad);
    let error = server.run(&["status", "--brief"]).unwrap_err();
    assert!(error.is_told() && error.exit_code() == 1, "{error}");
    let mut stale = status();
    stale["stale"] = json!({"kvstore": "2019-02-12T10:00:00Z"});
    let server = Server::start().on("GET /v1/healthz", 200, &stale);
    server.run(&["status"]).unwrap_err();
}

#[test]
fn an_identity_is_found_by_number_by_reserved_name_and_by_labels() {
    let host = json!({"id": 1, "labels": ["reserved:host"]});
    let server =
        Server::start().on("GET /v1/identity/1", 200, &host).on("GET /v1/identity", 200, &json!([host]));
    for line in [
        &["identity", "get", "host"][..],
        &["identity", "get", "1"],
        &["identity", "get", "--label", "reserved:host"],
    ] {
        let shown: Value = serde_json::from_str(&server.run(line).unwrap()).unwrap();
        assert_eq!(shown[0]["id"], 1, "{line:?}");
    }
    assert_eq!(server.run(&["identity", "list"]).unwrap(), "ID   LABELS\n1    reserved:host\n");
    assert_eq!(server.run(&["identity", "get"]).unwrap_err().exit_code(), 2);
    assert_eq!(server.run(&["identity", "get", "x"]).unwrap_err().exit_code(), 2);
}

#[test]
fn maps_and_metrics_are_listed() {
    let entry =
        json!({"key": "10.15.0.2/32", "value": "31028", "desired-action": "insert", "last-error": "full"});
    let map = json!({"path": "/sys/fs/bpf/tc/globals/cilium_ipcache", "cache": [entry]});
    let metric =
        json!({"name": "cilium_drop_count_total", "value": 3, "labels": {"reason": "Policy denied (L3)"}});
    let server = Server::start()
        .on("GET /v1/map/cilium_ipcache", 200, &map)
        .on("GET /v1/map", 200, &json!({"maps": [map, {"path": "/x/cilium_lxc"}]}))
        .on("GET /v1/metrics/", 200, &json!([metric]));
    assert_eq!(
        server.run(&["map", "get", "cilium_ipcache"]).unwrap(),
        "Key            Value   State            Error\n10.15.0.2/32   31028   to-be-inserted   full\n"
    );
    assert_eq!(
        server.run(&["map", "list"]).unwrap(),
        "Name             Num entries   Num errors   Cache enabled\ncilium_ipcache   1             1            true\n\
         cilium_lxc       -             -            false\n"
    );
    assert_eq!(
        server.run(&["metrics", "list"]).unwrap(),
        "Metric                    Labels                        Value\n\
         cilium_drop_count_total   reason=\"Policy denied (L3)\"   3.000000\n"
    );
}

fn services() -> Value {
    let service = |id: u16, frontend: Value, kind: &str, backends: Value, owner: &str| {
        let spec = json!({
            "id": id, "frontend-address": frontend, "backend-addresses": backends, "flags": {"type": kind}
        });
        json!({"spec": spec, "status": {"realized": spec, "owner": owner, "affinity-timeout-s": 60}})
    };
    let v4 = json!({"ip": "10.96.0.10", "port": 53, "protocol": "UDP", "scope": "external"});
    let v6 = json!({"ip": "f00d::9", "port": 30080, "protocol": "TCP", "scope": "internal"});
    let backends = json!([
        {"ip": "10.0.0.7", "port": 5353, "id": 12, "state": "active"},
        {"ip": "10.0.0.8", "port": 5353, "id": 13, "state": "terminating"}
    ]);
    json!([
        service(
            9,
            v6,
            "NodePort",
            json!([{"ip": "f00d::7", "port": 80, "id": 3, "state": "active"}]),
            "default/web:"
        ),
        service(4, v4, "ClusterIP", backends, "kube-system/dns:dns"),
        service(11, json!({"ip": "10.96.0.11", "port": 80, "protocol": "TCP"}), "API", json!([]), "api")
    ])
}

#[test]
fn services_are_listed_with_their_backends() {
    let server =
        Server::start().on("GET /v1/service", 200, &services()).on("GET /v1/service/4", 200, &services()[1]);
    assert_eq!(
        server.run(&["service", "list"]).unwrap(),
        "\
ID   Frontend                       Service Type   Backend
4    10.96.0.10:53/UDP              ClusterIP      12 => 10.0.0.7:5353 (active)
                                                   13 => 10.0.0.8:5353 (terminating)
9    [f00d::9]:30080/TCP/internal   NodePort       3 => [f00d::7]:80 (active)
11   10.96.0.11:80/TCP              API
"
    );
    let mut failing = services()[1].clone();
    failing["status"]["failure"] = "cilium_lb_slots: it is full".into();
    failing["status"]["realized"]["backend-addresses"] = json!([]);
    let full = Server::start().on("GET /v1/service", 200, &json!([failing]));
    assert_eq!(
        full.run(&["service", "list"]).unwrap(),
        "\
ID   Frontend            Service Type   Backend
4    10.96.0.10:53/UDP   ClusterIP      not as desired: cilium_lb_slots: it is full
"
    );
    let ids = server.run(&["service", "list", "-o", "jsonpath={[*].spec.id}"]).unwrap();
    assert_eq!(ids, "4 9 11\n");
    assert_eq!(
        server.run(&["service", "get", "4"]).unwrap(),
        "\
10.96.0.10:53/UDP =>
    12 => 10.0.0.7:5353 (active)
    13 => 10.0.0.8:5353 (terminating)
Service Type:       ClusterIP
Owner:              kube-system/dns:dns
Session Affinity:   60 s
"
    );
    let json = server.run(&["service", "get", "4", "-o", "json"]).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&json).unwrap()["status"]["owner"], "kube-system/dns:dns");
}

#[test]
fn debug_information_becomes_markdown_on_output_or_in_a_file() {
    let info = json!({
        "cilium-version": "0.1.0", "kernel-version": "6.12", "policy": {"revision": 3, "policy": "[]"},
        "subsystem": {"epoch": "7"}, "service-list": services()
    });
    let server = Server::start().on("GET /v1/debuginfo", 200, &info);
    let text = server.run(&["debuginfo"]).unwrap();
    for part in [
        "## Version\n\n```\n0.1.0\n```",
        "## Services\n\n```\n[\n",
        "## Policy (revision 3)\n\n```\n[]\n```",
        "## epoch\n\n```\n7\n```",
    ] {
        assert!(text.contains(part), "{text}");
    }
    let file = server.directory().join("bug.md");
    assert_eq!(server.run(&["debuginfo", "--file", file.to_str().unwrap()]).unwrap(), "");
    assert_eq!(std::fs::read_to_string(file).unwrap(), text);
}

#[test]
fn versions_of_both_sides_are_shown_and_the_clients_without_an_agent() {
    let server = Server::start().on("GET /v1/debuginfo", 200, &json!({"cilium-version": "9.9.9"}));
    let client = concat!("Client: ", env!("CARGO_PKG_VERSION"), "\n");
    assert_eq!(server.run(&["version"]).unwrap(), format!("{client}Daemon: 9.9.9\n"));
    let nowhere = ["cilium", "-H", "/nonexistent/cilium.sock", "version"].map(Into::into).to_vec();
    assert_eq!(crate::server::run(nowhere).unwrap(), client);
}
