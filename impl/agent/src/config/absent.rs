// SPDX-License-Identifier: Apache-2.0
//! Options of Cilium 1.4 whose feature is not there: refused by name, unless their value says just that.

use super::option::{Absent, Kind};

const fn absent(
    name: &'static str,
    kind: Kind,
    accepted: &'static [&'static str],
    missing: &'static str,
) -> Absent {
    Absent { name, kind, accepted, missing }
}

const OFF: &[&str] = &["false"];
const ON: &[&str] = &["true"];
const TEXT: Kind = Kind::Value("VALUE");
const SWITCH: Kind = Kind::Switch;
const LIST: Kind = Kind::List("VALUE");

const L7: &str = "layer 7 rules and the proxy are not there yet";
const KUBERNETES: &str = "there is no connection to Kubernetes yet; objects can be read with --policy-dir";
const KVSTORE: &str = "there is no kvstore yet";
const COMPILER: &str = "nothing is compiled on the node: programs are built into the agent";
const DNS: &str = "toFQDNs rules and the DNS proxy are not there yet";
const FLANNEL: &str = "chaining to flannel is not there yet";
const IPTABLES: &str = "no iptables rules are made: masquerading is done in BPF, see --masquerade";
const RUNTIME: &str = "container runtimes are not asked; labels come from the CNI request or --policy-dir";
const BALANCER: &str = "the mode of a load balancer alone is not there; services work without it";
const SERVICE_RANGE: &str = "services' addresses need no routes: leave the range to be found";
const PREFILTER: &str = "the XDP prefilter is not there yet";

/// All of them. What is in `accepted` is the case here already, so that a ConfigMap of 1.4 needs no more changes than
/// the features that it uses.
pub const ABSENT: &[Absent] = &[
    absent("access-log", TEXT, &[], L7),
    absent("agent-labels", LIST, &[], L7),
    absent("auto-direct-node-routes", SWITCH, OFF, "other nodes are not known yet"),
    absent("auto-ipv6-node-routes", SWITCH, OFF, "other nodes are not known yet"),
    absent("bpf-compile-debug", SWITCH, OFF, COMPILER),
    absent("clean-cilium-bpf-state", SWITCH, OFF, "run `cilium cleanup` before the agent starts"),
    absent("clean-cilium-state", SWITCH, OFF, "run `cilium cleanup` before the agent starts"),
    absent("cluster-id", TEXT, &["0"], "cluster mesh is not there yet"),
    absent("clustermesh-config", TEXT, &[], "cluster mesh is not there yet"),
    absent("conntrack-garbage-collector-interval", TEXT, &[], "the interval adapts itself to what is found"),
    absent("container-runtime", LIST, &["none"], RUNTIME),
    absent("container-runtime-endpoint", LIST, &[], RUNTIME),
    absent("datapath-mode", TEXT, &["veth"], "only veth is there yet"),
    absent("debug-verbose", LIST, &[], "write --debug"),
    absent("disable-conntrack", SWITCH, OFF, "policy needs connection tracking"),
    absent("disable-endpoint-crd", SWITCH, ON, KUBERNETES),
    absent("disable-envoy-version-check", SWITCH, OFF, L7),
    absent("disable-ipv4", SWITCH, OFF, "write --enable-ipv4=false"),
    absent("docker", TEXT, &[], RUNTIME),
    absent("enable-ipsec", SWITCH, OFF, "encryption is not there yet"),
    absent("enable-tracing", SWITCH, OFF, "ask for one decision at a time with `cilium policy trace`"),
    absent("envoy-log", TEXT, &[], L7),
    absent("etcd-config", TEXT, &[], KVSTORE),
    absent("flannel-manage-existing-containers", SWITCH, OFF, FLANNEL),
    absent("flannel-master-device", TEXT, &[], FLANNEL),
    absent("flannel-uninstall-on-exit", SWITCH, OFF, FLANNEL),
    absent("http-403-msg", TEXT, &[], L7),
    absent("http-idle-timeout", TEXT, &[], L7),
    absent("http-max-grpc-timeout", TEXT, &[], L7),
    absent("http-request-timeout", TEXT, &[], L7),
    absent("http-retry-count", TEXT, &[], L7),
    absent("http-retry-timeout", TEXT, &[], L7),
    absent("install-iptables-rules", SWITCH, OFF, IPTABLES),
    absent("ipsec-key-file", TEXT, &[], "encryption is not there yet"),
    absent("ipv4-service-range", TEXT, &["auto"], SERVICE_RANGE),
    absent("ipv6-service-range", TEXT, &["auto"], SERVICE_RANGE),
    absent("ipvlan-master-device", TEXT, &["undefined"], "the ipvlan mode is not there yet"),
    absent("k8s-api-server", TEXT, &[], KUBERNETES),
    absent("k8s-kubeconfig-path", TEXT, &[], KUBERNETES),
    absent("k8s-legacy-host-allows-world", SWITCH, OFF, "host and world are told apart; write a rule"),
    absent("k8s-namespace", TEXT, &[], KUBERNETES),
    absent("k8s-require-ipv4-pod-cidr", SWITCH, OFF, KUBERNETES),
    absent("k8s-require-ipv6-pod-cidr", SWITCH, OFF, KUBERNETES),
    absent("keep-bpf-templates", SWITCH, OFF, COMPILER),
    absent("keep-config", SWITCH, OFF, "options are read anew at each start"),
    absent("kvstore", TEXT, &[], KVSTORE),
    absent("kvstore-opt", LIST, &[], KVSTORE),
    absent("lb", TEXT, &[], BALANCER),
    absent("legacy-host-allows-world", SWITCH, OFF, "host and world are told apart; write a rule"),
    absent("lib-dir", TEXT, &[], "nothing is read at run time: programs are built into the agent"),
    absent("log-driver", LIST, &[], "the log goes to standard error"),
    absent("log-opt", LIST, &[], "the log goes to standard error"),
    absent("log-system-load", SWITCH, OFF, "the load is the business of a node exporter"),
    absent("max-controller-interval", TEXT, &["0"], "there are no controllers"),
    absent("nat46-range", TEXT, &["0:0:0:0:0:FFFF::/96"], "NAT46 is not there"),
    absent("pprof", SWITCH, OFF, "use perf on the agent's process"),
    absent("prefilter-device", TEXT, &["undefined"], PREFILTER),
    absent("prefilter-mode", TEXT, &["native"], PREFILTER),
    absent("prepend-iptables-chains", SWITCH, OFF, IPTABLES),
    absent("proxy-connect-timeout", TEXT, &[], L7),
    absent("sidecar-istio-proxy-image", TEXT, &[], L7),
    absent("single-cluster-route", SWITCH, OFF, "routes towards other nodes are not made yet"),
    absent("sockops-enable", SWITCH, OFF, "the sockmap is not there yet"),
    absent("tofqdns-dns-reject-response-code", TEXT, &[], DNS),
    absent("tofqdns-enable-poller", SWITCH, OFF, DNS),
    absent("tofqdns-enable-poller-events", SWITCH, OFF, DNS),
    absent("tofqdns-endpoint-max-ip-per-hostname", TEXT, &[], DNS),
    absent("tofqdns-min-ttl", TEXT, &[], DNS),
    absent("tofqdns-pre-cache", TEXT, &[], DNS),
    absent("tofqdns-proxy-port", TEXT, &["0"], DNS),
    absent("trace-payloadlen", TEXT, &["128"], "events carry the first 128 bytes of a packet"),
    Absent {
        name: "tunnel",
        kind: TEXT,
        accepted: &["disabled"],
        missing: "tunnels are not there yet: nodes must route the pods' addresses to each other",
    },
];
