// SPDX-License-Identifier: Apache-2.0
//! The options that work, in the order of the help. Names and defaults are those of Cilium 1.4 where 1.4 has the option.

use super::option::{Kind, Spec};

const fn option(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Spec {
    Spec { name, short: None, kind, default, help, variables: &[], keys: &[] }
}

/// All of them.
pub const OPTIONS: &[Spec] = &[
    // Where to read and write.
    option("config", Kind::Value("FILE"), "", "YAML file with options by their names"),
    option("config-dir", Kind::Value("DIR"), "", "Directory of a mounted ConfigMap: a file per option"),
    option(
        "state-dir",
        Kind::Value("DIR"),
        "/var/run/cilium",
        "Where the agent keeps what it must find again",
    ),
    option("socket-path", Kind::Value("PATH"), "/var/run/cilium/cilium.sock", "Unix socket of the REST API"),
    option(
        "monitor-socket",
        Kind::Value("PATH"),
        "",
        "Unix socket of the event stream (monitor.sock beside --socket-path)",
    ),
    option("bpf-root", Kind::Value("DIR"), "", "Where the BPF file system is mounted (/sys/fs/bpf)"),
    option(
        "policy-dir",
        Kind::Value("DIR"),
        "",
        "Directory of policies, pods, namespaces and services in YAML or JSON, watched",
    ),
    option("restore", Kind::Switch, "true", "Take up the endpoints of the agent that ran before"),
    // Addresses and devices.
    option("enable-ipv4", Kind::Switch, "true", "Give pods IPv4 addresses"),
    option("enable-ipv6", Kind::Switch, "true", "Give pods IPv6 addresses"),
    option(
        "ipv4-range",
        Kind::Value("CIDR"),
        "auto",
        "Pods' IPv4 addresses on this node (auto: 10.X.0.0/16, X from the node's address)",
    ),
    option("ipv6-range", Kind::Value("CIDR"), "auto", "Pods' IPv6 addresses on this node, a /96"),
    option(
        "ipv4-node",
        Kind::Value("ADDRESS"),
        "auto",
        "This node's IPv4 address as others are told it, from which an automatic range follows",
    ),
    option("ipv6-node", Kind::Value("ADDRESS"), "auto", "This node's IPv6 address as others are told it"),
    option(
        "ipv4-cluster-cidr-mask-size",
        Kind::Value("BITS"),
        "8",
        "Length of the IPv4 prefix that all nodes' pods share; not masqueraded",
    ),
    option(
        "ipv6-cluster-alloc-cidr",
        Kind::Value("CIDR"),
        "f00d::/64",
        "The IPv6 prefix that all nodes' pods share, a /64; not masqueraded",
    ),
    Spec {
        short: Some('d'),
        ..option(
            "device",
            Kind::Value("NAME"),
            "undefined",
            "Device towards other nodes (default: that of the default route, if there is one)",
        )
    },
    option("mtu", Kind::Value("BYTES"), "0", "MTU of the pods' devices (0: that of --device)"),
    option(
        "masquerade",
        Kind::Switch,
        "true",
        "Give packets of pods that leave the cluster the node's address",
    ),
    // Services.
    option(
        "disable-k8s-services",
        Kind::Switch,
        "false",
        "Leave services of Kubernetes alone; those of the API are there all the same",
    ),
    option(
        "node-port-range",
        Kind::List("PORT"),
        "30000,32767",
        "First and last port for services of type NodePort",
    ),
    option(
        "bpf-lb-algorithm",
        Kind::Value("NAME"),
        "random",
        "How a backend is chosen for a new connection: random or maglev",
    ),
    option(
        "bpf-lb-maglev-table-size",
        Kind::Value("SLOTS"),
        "251",
        "Slots of each service with maglev: 251, 509, 1021, 2039, 4093, 8191, 16381 or 32749",
    ),
    option(
        "bpf-lb-mode",
        Kind::Value("MODE"),
        "snat",
        "How backends on other nodes are reached from outside: snat, with the node's address, or dsr, with the client's, \
         so that they answer it straight; all nodes must have the same",
    ),
    option(
        "bpf-lb-sock",
        Kind::Switch,
        "true",
        "Translate sockets of pods and of the node when they connect, so that no packet need be",
    ),
    option(
        "cgroup-root",
        Kind::Value("DIR"),
        "",
        "Control group (version 2) whose sockets are translated (default: the one that is mounted)",
    ),
    option(
        "ipv4-service-loopback-address",
        Kind::Value("ADDRESS"),
        "169.254.42.1",
        "Whom a pod sees as its client when it reaches itself through a service",
    ),
    option(
        "ipv6-service-loopback-address",
        Kind::Value("ADDRESS"),
        "fd00:a9fe:2a01::1",
        "The same over IPv6",
    ),
    // Policy and identity.
    option(
        "enable-policy",
        Kind::Value("MODE"),
        "default",
        "When policy is enforced: default, always or never",
    ),
    option(
        "allow-localhost",
        Kind::Value("MODE"),
        "auto",
        "May the node reach its pods: auto, always or policy",
    ),
    option("cluster-name", Kind::Value("NAME"), "default", "Name of the cluster, a label of each pod"),
    option("labels", Kind::List("PREFIX"), "", "Label prefixes that make identities: [SOURCE:][!]PREFIX"),
    option("label-prefix-file", Kind::Value("FILE"), "", "JSON file of label prefixes that make identities"),
    option(
        "fixed-identity-mapping",
        Kind::List("ID=LABEL"),
        "",
        "Reserved labels with identities 128 to 255",
    ),
    // Tables in the kernel.
    Spec {
        variables: &["CILIUM_GLOBAL_CT_MAX_TCP"],
        keys: &["ct-global-max-entries-tcp"],
        ..option(
            "bpf-ct-global-tcp-max",
            Kind::Value("ENTRIES"),
            "1000000",
            "Connections that are tracked: TCP, per family",
        )
    },
    Spec {
        variables: &["CILIUM_GLOBAL_CT_MAX_ANY"],
        keys: &["ct-global-max-entries-other"],
        ..option(
            "bpf-ct-global-any-max",
            Kind::Value("ENTRIES"),
            "262144",
            "Connections that are tracked: other protocols, per family",
        )
    },
    option(
        "bpf-lb-map-max",
        Kind::Value("ENTRIES"),
        "65535",
        "Frontends of services of both families together, at most 65535, and clients that keep their backend",
    ),
    option(
        "bpf-lb-slot-map-max",
        Kind::Value("ENTRIES"),
        "1048576",
        "Slots of all services: a backend of a service has one; with maglev a service has a table",
    ),
    option(
        "bpf-lb-backend-map-max",
        Kind::Value("ENTRIES"),
        "262144",
        "Backends of services, each once however many services have it",
    ),
    option(
        "bpf-lb-source-range-map-max",
        Kind::Value("ENTRIES"),
        "65536",
        "loadBalancerSourceRanges of services, per family, each for every frontend that has it",
    ),
    option(
        "preallocate-bpf-maps",
        Kind::Switch,
        "true",
        "Take the memory of hash maps at once instead of by use",
    ),
    // What the agent tells.
    Spec {
        short: Some('D'),
        ..option("debug", Kind::Switch, "false", "Log more, and let endpoints send debug events")
    },
    Spec {
        variables: &["CILIUM_MONITOR_AGGREGATION_LEVEL"],
        keys: &["monitor-aggregation-level"],
        ..option(
            "monitor-aggregation",
            Kind::Value("LEVEL"),
            "None",
            "How many trace events are left out: none, lowest, low, medium, maximum or 0 to 3",
        )
    },
    option(
        "monitor-queue-size",
        Kind::Value("EVENTS"),
        "32768",
        "Events that wait for one listener before it loses some",
    ),
    Spec {
        variables: &["PROMETHEUS_SERVE_ADDR"],
        ..option(
            "prometheus-serve-addr",
            Kind::Value("[ADDRESS]:PORT"),
            "",
            "Where metrics are served; empty: nowhere",
        )
    },
];
