// SPDX-License-Identifier: Apache-2.0
//! `bpf` and `cleanup` on what a real datapath has left in this machine's kernel. Needs root.

use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;

use cli::CliError;
use controlplane::{Delta, Deltas, EndpointRow, IpcacheRow};
use datapath::{Datapath, DatapathConfig, ServicesConfig};
use loadbalancer::{BackendAddress, BackendRow, BackendState, Frontend, FrontendKind, Scope, ServiceRow};
use maps::{ConntrackEntry, ConntrackKey4, LbAffinity, LbAffinityKey, conntrack_flags, names};
use netlink::{LinkEnd, NetNs, Netlink};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use policy::{Direction, PolicyDelta, PolicyEntry, PolicyKey};
use tempfile::TempDir;
use zerocopy::FromZeros;

const POD: &str = "lxcd0f631ca1ddb";

/// A network namespace and a BPF file system of a test's own. Both end with it, also when it fails.
struct Node {
    netns: NetNs,
    directory: TempDir,
}

impl Node {
    fn new() -> Self {
        let netns = NetNs::create_unnamed().expect("these tests need root");
        let directory = tempfile::tempdir().unwrap();
        mount(Some("bpffs"), directory.path(), Some("bpf"), MsFlags::empty(), None::<&str>).unwrap();
        let netlink = Netlink::open(&netns).unwrap();
        netlink.add_veth(&LinkEnd::new(POD, &netns), &LinkEnd::new("pod", &netns)).unwrap();
        Self { netns, directory }
    }

    fn root(&self) -> &Path {
        self.directory.path()
    }

    fn run(&self, test: impl FnOnce() + Send) {
        self.netns.run(test).unwrap();
    }

    /// What a command line prints that reads this node's maps; the agent is not there.
    fn cilium(&self, words: &[&str]) -> Result<String, CliError> {
        let fixed = ["cilium", "-H", "/nonexistent/cilium.sock"].into_iter();
        let root = ["--bpf-root", self.root().to_str().unwrap()].into_iter();
        let mut output = Vec::new();
        cli::run_into(fixed.chain(words.iter().copied()).chain(root).map(Into::into), &mut output)?;
        Ok(String::from_utf8(output).unwrap())
    }

    fn start(&self) -> Datapath {
        Datapath::start(&DatapathConfig {
            bpf_root: self.root().into(),
            enable_ipv4: true,
            enable_ipv6: false,
            pod_cidr4: Some("10.15.0.0/24".parse().unwrap()),
            pod_cidr6: None,
            router_ip4: Some(Ipv4Addr::new(10, 15, 0, 1)),
            router_ip6: None,
            native_devices: Vec::new(),
            masquerade: false,
            native_cidr4: None,
            native_cidr6: None,
            ct_tcp_max: 1024,
            ct_any_max: 1024,
            policy_map_max: 64,
            mtu: 1500,
            preallocate: false,
            services: Some(ServicesConfig {
                maglev: false,
                node_ports: (30_000, 32_767),
                dsr: false,
                loopback_ip4: Ipv4Addr::new(169, 254, 42, 1),
                loopback_ip6: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1),
                cgroup: None,
                frontends_max: 64,
                slots_max: 64,
                backends_max: 64,
                source_ranges_max: 64,
            }),
        })
        .unwrap()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        // What is still mounted ends with the namespace of mounts.
        let _ = umount2(self.directory.path(), MntFlags::MNT_DETACH);
    }
}

/// Endpoint 7 with an address, an identity and a policy.
fn one_endpoint() -> Deltas {
    let row = EndpointRow {
        id: 7,
        ifindex: 0,
        interface: POD.into(),
        ipv4: Some(Ipv4Addr::new(10, 15, 0, 2)),
        ipv6: None,
        mac: [2, 0, 0, 0, 0, 1],
        node_mac: [2, 0, 0, 0, 0, 2],
        identity: 31028,
        options: 5,
    };
    let web =
        PolicyKey { identity: 4321, protocol: 6, port: 8080, port_prefix: 14, direction: Direction::Ingress };
    let ipcache =
        |prefix: &str, identity| (prefix.parse().unwrap(), IpcacheRow { identity, tunnel_endpoint: None });
    Deltas {
        revision: 1,
        endpoints: Delta { upserts: vec![(7, row)], removals: Vec::new() },
        policy: vec![PolicyDelta {
            endpoint: 7,
            upserts: vec![
                (web, PolicyEntry { proxy_port: 0, rule: 3 }),
                (PolicyKey::any(Direction::Egress), PolicyEntry::default()),
            ],
            removals: Vec::new(),
            enforcing_ingress: true,
            enforcing_egress: false,
        }],
        ipcache: Delta {
            upserts: vec![ipcache("10.15.0.2/32", 31028), ipcache("192.0.2.0/24", 16_777_217)],
            removals: Vec::new(),
        },
        ..Deltas::default()
    }
}

#[test]
fn maps_are_read_without_an_agent() {
    let node = Node::new();
    node.run(|| {
        let mut datapath = node.start();
        assert_eq!(datapath.apply(&one_endpoint()), []);
        let endpoints = node.cilium(&["bpf", "endpoint", "list"]).unwrap();
        let line = endpoints.lines().find(|line| line.starts_with("10.15.0.2 ")).unwrap();
        assert!(line.contains("id=7 ") && line.ends_with("identity=31028"), "{line}");
        assert!(line.contains("mac=02:00:00:00:00:01 nodemac=02:00:00:00:00:02"), "{line}");
        let policy = node.cilium(&["bpf", "policy", "get", "-n", "7"]).unwrap();
        assert_eq!(
            policy,
            "\
DIRECTION   IDENTITY   PORT/PROTO      PROXY PORT   RULE   BYTES   PACKETS
Ingress     4321       8080-8083/TCP   NONE         3      0       0
Egress      ANY        ANY             NONE         0      0       0
"
        );
        let all = node.cilium(&["bpf", "policy", "get", "--all"]).unwrap();
        assert!(
            all.starts_with("Endpoint 7:\nDIRECTION   LABELS (source:key[=value])   PORT/PROTO"),
            "{all}"
        );
        assert!(all.contains("\nIngress     4321                          8080-8083/TCP "), "{all}");
    });
}

#[test]
fn identities_of_addresses_are_found_by_the_longest_prefix() {
    let node = Node::new();
    node.run(|| {
        let mut datapath = node.start();
        assert_eq!(datapath.apply(&one_endpoint()), []);
        let list = node.cilium(&["bpf", "ipcache", "list", "-o", "json"]).unwrap();
        let list: serde_json::Value = serde_json::from_str(&list).unwrap();
        assert_eq!(list["192.0.2.0/24"]["identity"], 16_777_217);
        let get = |address| node.cilium(&["bpf", "ipcache", "get", address]);
        assert_eq!(get("192.0.2.9").unwrap(), "192.0.2.9 maps to identity 16777217\n");
        assert!(get("198.51.100.1").unwrap_err().to_string().contains("world (2)"));
    });
}

#[test]
fn connections_are_listed_and_forgotten_by_endpoint() {
    let node = Node::new();
    node.run(|| {
        let datapath = node.start();
        let connections = datapath.map::<ConntrackKey4, ConntrackEntry>(names::CT4_GLOBAL).unwrap();
        for (port, src_lxc_id) in [(1000, 7), (1001, 8)] {
            let key = ConntrackKey4 {
                addr: [Ipv4Addr::new(10, 15, 0, 2).into(), Ipv4Addr::new(10, 15, 0, 3).into()],
                port: [80.into(), port.into()],
                protocol: 6,
                ..ConntrackKey4::new_zeroed()
            };
            let flags = conntrack_flags::INITIATOR_IS_SECOND;
            let entry = ConntrackEntry { src_lxc_id, flags, lifetime: u32::MAX, ..Default::default() };
            connections.insert(&key, &entry).unwrap();
        }
        let list = |which| node.cilium(&["bpf", "ct", "list", which]).unwrap();
        assert_eq!(list("global").lines().count(), 2);
        assert!(list("8").starts_with("TCP 10.15.0.3:1001 -> 10.15.0.2:80 "), "{}", list("8"));
        assert_eq!(node.cilium(&["bpf", "ct", "flush", "8"]).unwrap(), "1 connections forgotten\n");
        assert_eq!((list("global").lines().count(), list("8").as_str()), (1, ""));
        assert_eq!(node.cilium(&["bpf", "ct", "flush", "global"]).unwrap(), "1 connections forgotten\n");
        assert_eq!(list("global"), "");
    });
}

/// Two services over IPv4, one of them without backends, and one over IPv6.
fn services() -> Deltas {
    let port = |number| addr::Port::new(number).unwrap();
    let frontend = |address: &str, scope| Frontend {
        address: address.parse().unwrap(),
        port: port(80),
        protocol: addr::Protocol::Tcp,
        scope,
    };
    let row = |id, kind, slots: &[u32]| ServiceRow {
        id,
        kind,
        affinity_timeout_s: Some(60),
        source_ranges: None,
        two_scopes: false,
        slots: slots.to_vec(),
        owner: String::new(),
    };
    let backend = |id, address: &str| {
        let address = BackendAddress {
            address: address.parse().unwrap(),
            port: port(8080),
            protocol: addr::Protocol::Tcp,
        };
        (id, BackendRow { address, state: BackendState::Active })
    };
    let two_scopes =
        |id, slots: &[u32]| ServiceRow { two_scopes: true, ..row(id, FrontendKind::NodePort, slots) };
    let ranged = |id, ranges: &[&str]| {
        let mut ranges: Vec<ipnet::IpNet> = ranges.iter().map(|range| range.parse().unwrap()).collect();
        ranges.sort_unstable();
        let source_ranges = Some(ranges.into());
        ServiceRow { source_ranges, affinity_timeout_s: None, ..row(id, FrontendKind::LoadBalancer, &[3]) }
    };
    Deltas {
        revision: 2,
        services: Delta {
            upserts: vec![
                (frontend("10.96.0.1", Scope::External), row(7, FrontendKind::ClusterIp, &[3, 4])),
                (frontend("10.96.0.2", Scope::External), row(9, FrontendKind::Api, &[])),
                (frontend("192.0.2.1", Scope::External), two_scopes(10, &[3])),
                (frontend("192.0.2.1", Scope::Internal), row(11, FrontendKind::NodePort, &[3, 4])),
                (frontend("f00d::1", Scope::External), row(8, FrontendKind::ExternalIps, &[5])),
                (frontend("198.51.100.1", Scope::External), ranged(12, &["192.0.2.0/24", "10.0.0.0/8"])),
                (frontend("198.51.100.2", Scope::External), ranged(13, &[])),
            ],
            removals: Vec::new(),
        },
        backends: Delta {
            upserts: vec![backend(3, "10.15.0.3"), backend(4, "10.15.0.4"), backend(5, "f00d::5")],
            removals: Vec::new(),
        },
        ..Deltas::default()
    }
}

#[test]
fn services_and_what_belongs_to_them_are_listed() {
    let node = Node::new();
    node.run(|| {
        let mut datapath = node.start();
        assert_eq!(datapath.apply(&services()), []);
        let list = |what: &[&str]| node.cilium(&[&["bpf", "lb", "list"], what].concat()).unwrap();
        assert_eq!(
            list(&[]),
            "\
SERVICE ADDRESS             ID   FLAGS                               BACKEND ADDRESS
10.96.0.1:80/TCP            7    []                                  3 => 10.15.0.3:8080/TCP affinity=60s
                                                                     4 => 10.15.0.4:8080/TCP
10.96.0.2:80/TCP            9    []                                  none: connections are refused
192.0.2.1:80/TCP            10   [external, two-scopes, node-port]   3 => 10.15.0.3:8080/TCP affinity=60s
192.0.2.1:80/TCP/internal   11   [external, node-port]               3 => 10.15.0.3:8080/TCP affinity=60s
                                                                     4 => 10.15.0.4:8080/TCP
198.51.100.1:80/TCP         12   [external, source-ranges]           3 => 10.15.0.3:8080/TCP
198.51.100.2:80/TCP         13   [external, source-ranges]           3 => 10.15.0.3:8080/TCP
[f00d::1]:80/TCP            8    [external]                          5 => [f00d::5]:8080/TCP affinity=60s
"
        );
        let json: serde_json::Value = serde_json::from_str(&list(&["-o", "json"])).unwrap();
        assert_eq!(json["10.96.0.1:80/TCP"]["backends"][1]["address"], "10.15.0.4:8080/TCP");
        assert_eq!(
            list(&["--backends"]),
            "ID   BACKEND ADDRESS\n3    10.15.0.3:8080/TCP\n4    10.15.0.4:8080/TCP\n5    [f00d::5]:8080/TCP\n"
        );
        assert_eq!(
            list(&["--revnat"]),
            "ID   SERVICE ADDRESS\n7    10.96.0.1:80\n8    [f00d::1]:80\n9    10.96.0.2:80\n10   192.0.2.1:80\n\
             11   192.0.2.1:80\n12   198.51.100.1:80\n13   198.51.100.2:80\n"
        );
        assert_eq!(
            list(&["--source-ranges"]),
            "ID   SERVICE ADDRESS       SOURCE RANGES\n12   198.51.100.1:80/TCP   10.0.0.0/8 192.0.2.0/24\n\
             13   198.51.100.2:80/TCP   none: nobody is let in\n"
        );
        let json: serde_json::Value =
            serde_json::from_str(&list(&["--source-ranges", "-o", "json"])).unwrap();
        assert_eq!(json["12"]["ranges"][1], "192.0.2.0/24");
        let affinity = datapath.map::<LbAffinityKey, LbAffinity>(names::LB_AFFINITY).unwrap();
        let client = [Ipv4Addr::new(10, 15, 0, 9), Ipv4Addr::UNSPECIFIED];
        let client = [client[0], client[1], client[1], client[1]].map(Into::into);
        let key = LbAffinityKey { client, id: 7, by_netns: 0, pad: 0 };
        affinity.insert(&key, &LbAffinity { last_used_s: 0, backend: 4 }).unwrap();
        let shown = list(&["--affinity"]);
        assert!(shown.contains("\n7            10.15.0.9   4 => 10.15.0.4:8080/TCP   "), "{shown}");
    });
}

#[test]
fn what_programs_read_and_count_is_shown() {
    let node = Node::new();
    node.run(|| {
        let mut datapath = node.start();
        assert_eq!(datapath.apply(&one_endpoint()), []);
        datapath.set_monitor(Some(2)).unwrap();
        let runtime = node.cilium(&["bpf", "config", "get"]).unwrap();
        assert!(runtime.contains("External frontends:   0\n"), "{runtime}");
        assert!(
            runtime.contains("Monitor:              traces are told, aggregation level 2\n"),
            "{runtime}"
        );
        let endpoint = node.cilium(&["bpf", "config", "get", "7"]).unwrap();
        assert!(endpoint.contains("Ingress port prefixes:   14\n"), "{endpoint}");
        assert!(
            endpoint.contains("Options:                 DropNotification ConntrackAccounting\n"),
            "{endpoint}"
        );
        let none = node.cilium(&["bpf", "config", "get", "8"]).unwrap_err();
        assert_eq!(none.to_string(), "the datapath has no endpoint 8");
        let metrics = node.cilium(&["bpf", "metrics", "list"]).unwrap();
        assert!(metrics.starts_with("REASON"), "{metrics}");
    });
}

#[test]
fn cleanup_takes_everything_of_ours_away_and_nothing_else() {
    let node = Node::new();
    let state = tempfile::tempdir().unwrap();
    fs::create_dir_all(state.path().join("state/7")).unwrap();
    fs::write(state.path().join("other"), "").unwrap();
    fs::create_dir(node.root().join("others")).unwrap();
    node.run(|| {
        let mut datapath = node.start();
        assert_eq!(datapath.apply(&one_endpoint()), []);
        drop(datapath);
        let words = ["cleanup", "--force", "--state-dir", state.path().to_str().unwrap()];
        assert_eq!(node.cilium(&words).unwrap(), "Removed\n");
        let links = Netlink::open(&node.netns).unwrap().links().unwrap();
        let names: Vec<&str> = links.iter().map(|link| link.name.as_str()).collect();
        assert_eq!(names, ["lo"]);
        let mut left: Vec<_> =
            fs::read_dir(node.root()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.retain(|name| !name.to_string_lossy().ends_with(".debug"));
        assert_eq!(left, ["others"]);
        assert_eq!(fs::read_dir(state.path()).unwrap().count(), 1);
        assert_eq!(node.cilium(&words).unwrap(), "There is nothing to remove\n");
    });
}
