// SPDX-License-Identifier: Apache-2.0
//! What commands send to an agent.

use std::fs;

use crate::server::Server;
use serde_json::{Value, json};

const RULES: &str = r#"[{
    "endpointSelector": {"matchLabels": {"app": "web"}},
    "ingress": [{"fromEndpoints": [{"matchLabels": {"app": "front"}}]}],
    "labels": [{"key": "name", "value": "web"}]
}]"#;

const OBJECTS: &str = "\
apiVersion: v1
kind: Namespace
metadata: {name: default}
---
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: deny, namespace: default}
spec: {podSelector: {}, policyTypes: [Ingress]}
---
apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: {name: web, namespace: default}
spec:
  endpointSelector: {matchLabels: {app: web}}
  ingress: [{toPorts: [{ports: [{port: '80', protocol: TCP}]}]}]
";

fn revision(revision: u64) -> Value {
    json!({ "revision": revision })
}

#[test]
fn rules_of_files_and_directories_are_sent_in_one_request() {
    let server = Server::start().on("PUT /v1/policy", 200, &revision(3));
    let directory = server.directory();
    fs::create_dir_all(directory.join("policies/more")).unwrap();
    fs::write(directory.join("policies/rules.json"), RULES).unwrap();
    fs::write(directory.join("policies/more/objects.yaml"), OBJECTS).unwrap();
    fs::write(directory.join("policies/README.md"), "not a policy").unwrap();
    fs::write(directory.join("policies/.hidden.json"), "not a policy").unwrap();
    let path = directory.join("policies");
    assert_eq!(server.run(&["policy", "import", path.to_str().unwrap()]).unwrap(), "Revision: 3\n");
    let rules = server.sent("PUT /v1/policy");
    let rules: Value = serde_json::from_str(rules.as_str().unwrap()).unwrap();
    assert_eq!(rules.as_array().unwrap().len(), 3);
    assert!(rules.to_string().contains("io.cilium.k8s.policy.name"), "{rules}");
}

#[test]
fn rules_in_yaml_are_rules_too() {
    let server = Server::start().on("PUT /v1/policy", 200, &revision(4));
    let path = server.directory().join("rules.yaml");
    fs::write(&path, "- endpointSelector: {matchLabels: {app: web}}\n  ingress: [{}]\n").unwrap();
    assert_eq!(server.run(&["policy", "import", path.to_str().unwrap()]).unwrap(), "Revision: 4\n");
}

#[test]
fn a_file_that_is_wrong_is_told_with_its_field_and_nothing_is_sent() {
    let server = Server::start();
    let directory = server.directory();
    fs::write(directory.join("a.json"), RULES).unwrap();
    for (text, says) in [
        (r#"[{"endpointSelectr": {}}]"#, "endpointSelectr"),
        (r#"[{"endpointSelector": {}, "egress": [{"toFQDNs": [{"matchName": "x.org"}]}]}]"#, "toFQDNs"),
        ("{", "not readable as JSON"),
    ] {
        let path = directory.join("b.json");
        fs::write(&path, text).unwrap();
        for command in ["import", "validate"] {
            let paths = [directory.join("a.json"), path.clone()];
            let line = ["policy", command, paths[0].to_str().unwrap(), paths[1].to_str().unwrap()];
            let error = server.run(&line).unwrap_err().to_string();
            assert!(error.starts_with(path.to_str().unwrap()) && error.contains(says), "{command}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
    }
    assert_eq!(server.requests(), []);
}

#[test]
fn valid_files_are_valid_without_an_agent() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("rules.json");
    fs::write(&path, RULES).unwrap();
    let validate = |path: &std::path::Path| {
        crate::server::run(["cilium", "policy", "validate", path.to_str().unwrap()].map(Into::into).to_vec())
    };
    assert_eq!(validate(&path).unwrap(), "All policy elements are valid.\n");
    fs::write(&path, "kind: Pod\napiVersion: v1\n").unwrap();
    let none = validate(&path).unwrap_err().to_string();
    assert!(none.starts_with("there is no policy in "), "{none}");
    let absent = validate(&directory.path().join("absent.json")).unwrap_err().to_string();
    assert!(absent.starts_with("read ") && absent.contains("absent.json"), "{absent}");
}

#[test]
fn rules_are_shown_and_removed_by_label() {
    let server = Server::start().on("GET /v1/policy", 200, &json!({"revision": 3, "policy": "[]"})).on(
        "DELETE /v1/policy",
        200,
        &revision(5),
    );
    assert_eq!(server.run(&["policy", "get"]).unwrap(), "[]\nRevision: 3\n");
    assert_eq!(server.run(&["policy", "delete", "k8s:name=web"]).unwrap(), "Revision: 5\n");
    assert_eq!(server.sent("DELETE /v1/policy"), json!(["k8s:name=web"]));
    assert_eq!(server.run(&["policy", "delete", "--all"]).unwrap(), "Revision: 5\n");
    assert_eq!(server.requests().pop().unwrap().1, "");
    // All rules are not removed by forgetting a label.
    assert_eq!(server.run(&["policy", "delete"]).unwrap_err().exit_code(), 2);
}

#[test]
fn a_trace_asks_for_labels_of_endpoints_pods_and_identities() {
    let identity = json!({"id": 31028, "labels": ["k8s:app=web"]});
    let endpoint = json!({"id": 7, "status": {"state": "ready", "identity": identity}});
    let server = Server::start()
        .on("GET /v1/endpoint/pod-name:default:web", 200, &endpoint)
        .on("GET /v1/identity/31028", 200, &identity)
        .on("GET /v1/policy/resolve", 200, &json!({"verdict": "denied", "log": "no rule\n"}));
    let printed = server
        .run(&[
            "policy",
            "trace",
            "--src-k8s-pod",
            "default:web",
            "--dst-identity",
            "31028",
            "--dport",
            "80/tcp,53",
        ])
        .unwrap();
    assert_eq!(printed, "no rule\nFinal verdict: DENIED\n");
    assert_eq!(
        server.sent("GET /v1/policy/resolve"),
        json!({
            "from": {"labels": ["k8s:app=web"]},
            "to": {
                "labels": ["k8s:app=web"],
                "dports": [{"port": 80, "protocol": "TCP"}, {"port": 53, "protocol": "ANY"}]
            }
        })
    );
    for wrong in [
        &["policy", "trace", "-s", "any:a"][..],
        &["policy", "trace", "-s", "any:a", "--src-identity", "1", "-d", "any:b"],
        &["policy", "trace", "-s", "any:a", "-d", "any:b", "--dport", "0/tcp"],
        &["policy", "trace", "-s", "any:a", "-d", "any:b", "--dport", "80/ip"],
    ] {
        assert_eq!(server.run(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}

fn endpoint_at(revision: u64, state: &str) -> Value {
    json!({"id": 7, "status": {"state": state, "policy": {"realized": {"policy-revision": revision}}}})
}

#[test]
fn waiting_ends_when_all_endpoints_have_the_revision() {
    let behind = json!([endpoint_at(4, "ready"), endpoint_at(3, "regenerating")]);
    let leaving = json!([endpoint_at(4, "ready"), endpoint_at(4, "ready"), endpoint_at(0, "disconnecting")]);
    let server = Server::start().on("GET /v1/endpoint", 200, &behind).on("GET /v1/endpoint", 200, &leaving);
    let printed = server.run(&["policy", "wait", "4", "--sleep-time", "0"]).unwrap();
    assert_eq!(printed, "All endpoints have reached revision 4\n");
    assert_eq!(server.requests().len(), 2);
}

#[test]
fn waiting_gives_up_after_its_time_or_after_that_of_endpoints_that_fail() {
    let server = Server::start().on("GET /v1/endpoint", 200, &json!([endpoint_at(3, "regenerating")]));
    let late = server.run(&["policy", "wait", "4", "--max-wait-time", "0"]).unwrap_err().to_string();
    assert!(late.contains("0 of 1 endpoints have revision 4, 0 are not ready"), "{late}");
    let server = Server::start().on("GET /v1/endpoint", 200, &json!([endpoint_at(3, "not-ready")]));
    let failed = server.run(&["policy", "wait", "4", "--fail-wait-time", "0"]).unwrap_err().to_string();
    assert!(failed.contains("1 are not ready"), "{failed}");
}

#[test]
fn options_are_changed_with_the_words_that_1_4_takes() {
    let server = Server::start()
        .on("PATCH /v1/config", 200, &Value::Null)
        .on("GET /v1/config", 200, &json!({"status": {"realized": {"options": {"Debug": "Enabled"}, "policy-enforcement": "always"}}}))
        .on("PATCH /v1/endpoint/7/config", 200, &Value::Null);
    server.run(&["config", "Debug=true", "PolicyEnforcement=ALWAYS"]).unwrap();
    let patch = server.requests().remove(0);
    assert_eq!(patch.0, "PATCH /v1/config");
    assert_eq!(
        serde_json::from_str::<Value>(&patch.1).unwrap(),
        json!({"options": {"Debug": "Enabled"}, "policy-enforcement": "always"})
    );
    assert_eq!(
        server.run(&["config"]).unwrap(),
        "Debug                      Enabled\nPolicyEnforcement          always\n"
    );
    server.run(&["endpoint", "config", "7", "DropNotification=off"]).unwrap();
    assert_eq!(
        server.sent("PATCH /v1/endpoint/7/config"),
        json!({"options": {"DropNotification": "Disabled"}})
    );
    for wrong in ["Debug", "Debug=", "=true"] {
        assert_eq!(server.run(&["config", wrong]).unwrap_err().exit_code(), 2, "{wrong}");
    }
    assert_eq!(server.run(&["config", "Debug=on", "Debug=off"]).unwrap_err().exit_code(), 2);
}

#[test]
fn labels_that_a_user_gave_are_added_and_removed() {
    let labels = json!({
        "spec": {"user": ["unspec:a=1"]},
        "status": {"realized": {"user": ["unspec:a=1"]}, "security-relevant": ["k8s:app=web"]}
    });
    let server = Server::start().on("GET /v1/endpoint/7/labels", 200, &labels).on(
        "PATCH /v1/endpoint/7/labels",
        200,
        &Value::Null,
    );
    let printed = server.run(&["endpoint", "labels", "7", "-a", "k8s:b=2", "-d", "a=1"]).unwrap();
    assert_eq!(printed, "Label         Use\nk8s:app=web   identity\nunspec:a=1    user\n");
    let sent = server.requests().into_iter().find(|(line, _)| line.starts_with("PATCH")).unwrap().1;
    assert_eq!(serde_json::from_str::<Value>(&sent).unwrap(), json!({"user": ["k8s:b=2"]}));
    let error = server.run(&["endpoint", "labels", "7", "-d", "k8s:app=web"]).unwrap_err().to_string();
    assert!(error.contains("was not added by a user; those that were: unspec:a=1"), "{error}");
}

#[test]
fn an_endpoint_is_regenerated_and_disconnected() {
    let server = Server::start()
        .on("PATCH /v1/endpoint/7/config", 200, &Value::Null)
        .on("DELETE /v1/endpoint/7", 200, &json!(0))
        .on("DELETE /v1/endpoint/8", 206, &json!(2))
        .on("DELETE /v1/endpoint/9", 404, &json!({"message": "endpoint 9 does not exist", "field": "id"}));
    assert_eq!(
        server.run(&["endpoint", "regenerate", "7"]).unwrap(),
        "Endpoint 7 successfully regenerated\n"
    );
    assert_eq!(server.sent("PATCH /v1/endpoint/7/config"), json!({}));
    assert_eq!(
        server.run(&["endpoint", "disconnect", "7"]).unwrap(),
        "Endpoint 7 successfully disconnected\n"
    );
    let errors = server.run(&["endpoint", "disconnect", "8"]).unwrap_err();
    assert!(errors.to_string().contains("with 2 errors"), "{errors}");
    let absent = server.run(&["endpoint", "disconnect", "9"]).unwrap_err();
    assert_eq!(absent.to_string(), "DELETE /v1/endpoint/9: id: endpoint 9 does not exist");
}

#[test]
fn a_service_is_made_changed_and_removed() {
    let spec = |id: u64, kind: &str| json!({"spec": {"id": id, "flags": {"type": kind}}});
    let server = Server::start()
        .on("PUT /v1/service/7", 201, &Value::Null)
        .on("PUT /v1/service/7", 200, &Value::Null)
        .on("DELETE /v1/service/7", 200, &Value::Null)
        .on("DELETE /v1/service/8", 404, &json!({"message": "there is no service 8", "field": "id"}))
        .on("GET /v1/service", 200, &json!([spec(4, "ClusterIP"), spec(7, "API")]));
    let line = ["service", "update", "--id", "7", "--frontend", "10.96.0.1:53", "--protocol", "udp"];
    let backends = ["--backends", "10.0.0.1:5353,10.0.0.2:5353/3", "--backends", "10.0.0.3:53", "--rev"];
    let printed = server.run(&[&line[..], &backends].concat()).unwrap();
    assert_eq!(printed, "Added service with 3 backends\n");
    assert_eq!(
        server.sent("PUT /v1/service/7"),
        json!({
            "id": 7,
            "frontend-address": {"ip": "10.96.0.1", "port": 53, "protocol": "UDP"},
            "backend-addresses": [
                {"ip": "10.0.0.1", "port": 5353}, {"ip": "10.0.0.2", "port": 5353, "weight": 3},
                {"ip": "10.0.0.3", "port": 53}
            ],
            "flags": {"direct-server-return": true}
        })
    );
    let v6 = ["service", "update", "--id=7", "--frontend=[f00d::1]:80", "--backends=[f00d::2]:80"];
    assert_eq!(server.run(&v6).unwrap(), "Updated service with 1 backends\n");
    assert_eq!(server.run(&["service", "delete", "7"]).unwrap(), "Service 7 deleted successfully\n");
    let absent = server.run(&["service", "delete", "8"]).unwrap_err();
    assert_eq!(absent.to_string(), "DELETE /v1/service/8: id: there is no service 8");
    // Those of objects are not the command's to delete.
    assert_eq!(server.run(&["service", "delete", "--all"]).unwrap(), "1 services deleted successfully\n");
    assert_eq!(server.requests().pop().unwrap().0, "DELETE /v1/service/7");
    for wrong in [
        &["service", "delete"][..],
        &["service", "delete", "7", "--all"],
        &["service", "update", "--id", "7", "--backends", "10.0.0.1:80"],
        &["service", "update", "--id", "7", "--frontend", "10.96.0.1", "--backends", "10.0.0.1:80"],
        &["service", "update", "--id", "7", "--frontend", "10.96.0.1:80", "--backends", "10.0.0.1"],
        &["service", "update", "--id", "7", "--frontend", "10.96.0.1:80", "--backends", "10.0.0.1:80/x"],
        &["service", "update", "--id", "7", "--frontend", "10.96.0.1:80", "--protocol", "icmp"],
    ] {
        assert_eq!(server.run(wrong).unwrap_err().exit_code(), 2, "{wrong:?}");
    }
}
