// SPDX-License-Identifier: Apache-2.0
//! JSON in the shape of 1.4 comes back as it was: no field is lost, renamed or added.

use api::{
    DaemonConfiguration, Endpoint, EndpointChangeRequest, EndpointPolicyEnabled, EndpointState, ErrorBody,
    IpamResponse, PolicyTraceResult, Service, ServiceSpec, StatusResponse, TraceSelector,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

#[track_caller]
fn comes_back<T: Serialize + DeserializeOwned>(shape: &Value) -> T {
    let model: T = serde_json::from_value(shape.clone()).unwrap();
    assert_eq!(&serde_json::to_value(&model).unwrap(), shape);
    model
}

#[test]
fn a_status_comes_back() {
    let status: StatusResponse = comes_back(&json!({
        "cilium": {"state": "Ok", "msg": "OK"},
        "kvstore": {"state": "Disabled", "msg": "not configured"},
        "container-runtime": {"state": "Failure", "msg": "no runtime"},
        "kubernetes": {"state": "Warning", "msg": "1.13", "k8s-api-versions": ["core/v1::Node"]},
        "ipam": {"ipv4": ["10.15.0.1"], "ipv6": ["f00d::a0f:0:0:1"], "status": "2/65535"},
        "nodeMonitor": {"cpus": 2, "npages": 64, "pagesize": 4096, "lost": 1, "unknown": 0},
        "cluster": {
            "self": "default/one",
            "ciliumHealth": {"state": "Disabled"},
            "nodes": [{
                "name": "default/one",
                "primary-address": {"ipv4": {"enabled": true, "ip": "192.0.2.1", "alloc-range": "10.15.0.0/16"}},
                "secondary-addresses": [{"ip": "192.0.2.2", "address-type": "InternalIP"}],
                "health-endpoint-address": {"ipv4": {"enabled": true, "ip": "10.15.0.9"}}
            }]
        },
        "controllers": [{
            "name": "conntrack-gc",
            "uuid": "5b6a1c5e-0000-0000-0000-000000000000",
            "configuration": {"interval": "1m0s", "error-retry-base": "1s", "error-retry": true},
            "status": {
                "success-count": 3, "last-success-timestamp": "2019-02-12T10:00:00.000Z",
                "failure-count": 1, "last-failure-timestamp": "2019-02-12T09:00:00.000Z",
                "consecutive-failure-count": 0, "last-failure-msg": "busy"
            }
        }],
        "proxy": {"ip": "10.15.0.1", "port-range": "10000-20000"},
        "services": {
            "kubernetes": true, "frontends": 3, "health-checks": 4, "active-backends": 5, "terminating-backends": 1, "not-ready-backends": 2,
            "sockets": true, "sockets-msg": "/sys/fs/cgroup", "mode": "snat", "algorithm": "maglev",
            "node-port-range": "30000-32767", "refused-count": 1, "refused": {"default/web": "10.0.0.1:80/TCP is that of default/old"}
        },
        "stale": {"kvstore": "2019-02-12T10:00:00.000Z"}
    }));
    assert_eq!(status.node_monitor.unwrap().pagesize, 4096);
    comes_back::<StatusResponse>(&json!({}));
}

#[test]
fn a_configuration_comes_back() {
    comes_back::<DaemonConfiguration>(&json!({
        "spec": {"options": {"DropNotification": "Enabled"}, "policy-enforcement": "default"},
        "status": {
            "realized": {"options": {"DropNotification": "Enabled"}, "policy-enforcement": "always"},
            "immutable": {"ConntrackLocal": "Disabled"},
            "addressing": {"ipv4": {"enabled": true, "ip": "10.15.0.1", "alloc-range": "10.15.0.0/16"}},
            "k8s-endpoint": "https://192.0.2.1:6443",
            "k8s-configuration": "/etc/kubeconfig",
            "nodeMonitor": {"cpus": 2, "npages": 64, "pagesize": 4096, "lost": 0, "unknown": 0},
            "kvstoreConfiguration": {"type": "etcd", "options": {"etcd.address": "192.0.2.1:4001"}},
            "deviceMTU": 1500,
            "routeMTU": 1450,
            "datapathMode": "ipvlan",
            "ipvlanConfiguration": {"masterDeviceIndex": 2, "operationMode": "L3S"}
        }
    }));
}

#[test]
fn a_service_comes_back_as_1_4_has_it_and_with_what_1_4_has_not() {
    let spec = json!({
        "id": 7,
        "frontend-address": {"ip": "10.96.0.1", "port": 443, "protocol": "TCP"},
        "backend-addresses": [{"ip": "192.0.2.1", "port": 6443}, {"ip": "192.0.2.2", "port": 6443, "weight": 2}],
        "flags": {"active-frontend": true, "direct-server-return": true}
    });
    comes_back::<Service>(&json!({"spec": spec, "status": {"realized": spec}}));
    let service: Service = comes_back(&json!({
        "spec": {
            "id": 9,
            "frontend-address": {"ip": "f00d::1", "port": 53, "protocol": "UDP", "scope": "internal"},
            "backend-addresses": [{"ip": "f00d::2", "port": 53, "id": 12, "state": "terminating"}],
            "flags": {"type": "NodePort"}
        },
        "status": {
            "realized": {"id": 9}, "owner": "kube-system/dns:dns", "affinity-timeout-s": 10800, "failure": "full"
        }
    }));
    assert_eq!(service.spec.backend_addresses[0].id, Some(12));
    serde_json::from_value::<ServiceSpec>(json!({"id": 1, "backends": []})).unwrap_err();
}

fn endpoint() -> Value {
    let options = json!({"Conntrack": "Enabled", "Debug": "Disabled"});
    let policy = json!({
        "policy-revision": 7, "id": 31028, "policy-enabled": "ingress", "build": 7,
        "allowed-ingress-identities": [1, 31028], "allowed-egress-identities": [2],
        "l4": {"ingress": [{"rule": "{\"port\":80}", "derived-from-rules": [["k8s:name=web"]]}], "egress": []},
        "cidr-policy": {"ingress": [], "egress": [{"rule": "192.0.2.0/24"}]}
    });
    json!({
        "id": 2761,
        "spec": {"options": options, "label-configuration": {"user": ["cilium:x=y"]}},
        "status": {
            "state": "ready",
            "external-identifiers": {
                "container-id": "c0ffee", "container-name": "web", "docker-endpoint-id": "d1",
                "docker-network-id": "d2", "pod-name": "default/web"
            },
            "identity": {"id": 31028, "labels": ["k8s:app=web"], "labelsSHA256": "ab01"},
            "labels": {
                "realized": {"user": ["cilium:x=y"]}, "security-relevant": ["k8s:app=web"],
                "derived": ["k8s:pod-template-hash=1"], "disabled": ["k8s:tier=front"]
            },
            "realized": {"options": options},
            "networking": {
                "addressing": [{"ipv4": "10.15.0.2", "ipv6": "f00d::a0f:0:0:2"}],
                "host-addressing": {"ipv4": {"enabled": true, "ip": "10.15.0.1"}},
                "host-mac": "02:00:00:00:00:01", "mac": "02:00:00:00:00:02",
                "interface-name": "lxc0a1b2c", "interface-index": 9
            },
            "policy": {"spec": policy, "realized": policy, "proxy-policy-revision": 6},
            "log": [{"timestamp": "2019-02-12T10:00:00Z", "code": "ok", "message": "Set", "state": "ready"}],
            "controllers": [{"name": "sync"}],
            "health": {"overallHealth": "OK", "bpf": "OK", "policy": "Bootstrap", "connected": true}
        }
    })
}

#[test]
fn an_endpoint_comes_back() {
    let endpoint: Endpoint = comes_back(&endpoint());
    assert_eq!(endpoint.status.state, EndpointState::Ready);
    assert_eq!(endpoint.status.policy.realized.policy_enabled, EndpointPolicyEnabled::Ingress);
}

#[test]
fn a_change_request_comes_back_and_needs_a_state() {
    let shape = json!({
        "id": 0, "state": "waiting-for-identity", "container-id": "c0ffee", "container-name": "web",
        "docker-endpoint-id": "d1", "docker-network-id": "d2", "labels": ["k8s:app=web"],
        "interface-name": "lxc0a1b2c", "interface-index": 9, "mac": "02:00:00:00:00:02",
        "host-mac": "02:00:00:00:00:01", "addressing": {"ipv4": "10.15.0.2"}, "k8s-pod-name": "web",
        "k8s-namespace": "default", "datapath-map-id": 3, "policy-enabled": true, "pid": 4,
        "sync-build-endpoint": true
    });
    comes_back::<EndpointChangeRequest>(&shape);
    let error = serde_json::from_value::<EndpointChangeRequest>(json!({"id": 0})).unwrap_err();
    assert!(error.to_string().contains("missing field `state`"), "{error}");
}

#[test]
fn a_request_with_an_unknown_field_or_a_number_out_of_range_is_refused_by_name() {
    let unknown = json!({"state": "ready", "lables": []});
    let error = serde_json::from_value::<EndpointChangeRequest>(unknown).unwrap_err();
    assert!(error.to_string().contains("unknown field `lables`"), "{error}");
    let large = serde_json::from_str::<EndpointChangeRequest>(r#"{"state": "ready", "id": 65536}"#);
    assert!(large.unwrap_err().to_string().contains("65536"));
    let port =
        serde_json::from_value::<TraceSelector>(json!({"to": {"dports": [{"port": 80, "name": "web"}]}}));
    assert!(port.unwrap_err().to_string().contains("unknown field `name`"));
}

#[test]
fn ipam_trace_and_errors_come_back() {
    comes_back::<IpamResponse>(&json!({
        "address": {"ipv4": "10.15.0.2", "ipv6": "f00d::2"},
        "host-addressing": {
            "ipv4": {"enabled": true, "ip": "10.15.0.1", "alloc-range": "10.15.0.0/16"},
            "ipv6": {"enabled": true, "ip": "f00d::1", "alloc-range": "f00d::/112"}
        }
    }));
    comes_back::<TraceSelector>(&json!({
        "from": {"labels": ["k8s:a"]},
        "to": {"labels": ["k8s:b"], "dports": [{"port": 53, "protocol": "UDP"}, {"port": 0, "protocol": "ICMPV6"}]},
        "verbose": true
    }));
    comes_back::<PolicyTraceResult>(&json!({"verdict": "denied", "log": "no rule"}));
    comes_back::<ErrorBody>(&json!({"message": "no such label", "field": "labels[0]"}));
}

#[test]
fn each_state_is_written_as_it_is_named() {
    for state in ["creating", "waiting-for-identity", "not-ready", "waiting-to-regenerate", "regenerating"]
        .into_iter()
        .chain(["restoring", "ready", "disconnecting", "disconnected"])
    {
        assert_eq!(comes_back::<EndpointState>(&json!(state)).to_string(), state);
    }
}
