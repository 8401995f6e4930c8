// SPDX-License-Identifier: Apache-2.0
//! The CNI protocol with the reference plugins themselves. Needs root and `containernetworking-plugins`.

use std::sync::atomic::{AtomicU32, Ordering};

use netns_lab::cni::{CniError, Container, NetworkConfig, PluginPath, Runtime, host_local};
use netns_lab::lab::{Lab, Namespace, Node};
use serde_json::json;

struct Ground {
    // Pods before the node, the lab last.
    pod: Namespace,
    node: Node,
    lab: Lab,
}

impl Ground {
    fn new() -> Self {
        let lab = Lab::create().expect("the tests of the lab need root");
        let node = Node::create(&lab, "node").unwrap();
        let pod = Namespace::create(&lab, "pod").unwrap();
        Self { pod, node, lab }
    }

    fn runtime(&self) -> Runtime {
        Runtime::new(PluginPath::from_environment(), self.node.netns().try_clone().unwrap())
    }

    fn container(&self) -> Container {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        Container {
            id: format!("{}-{}", self.lab.name(), COUNTER.fetch_add(1, Ordering::Relaxed)),
            netns: self.pod.netns().path().into(),
            interface: "eth0".into(),
            args: vec![("IgnoreUnknown".into(), "1".into())],
        }
    }

    fn config(&self, plugin: &str, subnet: &str) -> NetworkConfig {
        let ipam = host_local(&self.lab.dir().join("ipam"), subnet.parse().unwrap(), &[]);
        NetworkConfig::new("test", plugin, json!({ "bridge": "br0", "isGateway": true, "ipam": ipam }))
    }

    fn links(&self, node: bool) -> Vec<String> {
        let netlink = if node { self.node.netlink() } else { self.pod.netlink() };
        netlink.links().unwrap().into_iter().map(|link| link.name).collect()
    }
}

#[test]
fn add_check_del_and_del_again() {
    let ground = Ground::new();
    let attachment =
        ground.runtime().add(ground.config("bridge", "10.9.0.0/24"), ground.container()).unwrap();
    assert_eq!(attachment.result.address_of("eth0"), Some("10.9.0.2".parse().unwrap()));
    assert!(ground.links(false).contains(&"eth0".into()));
    assert!(ground.links(true).contains(&"br0".into()), "the bridge is made on the node");
    attachment.check().unwrap();
    attachment.delete().unwrap();
    assert!(!ground.links(false).contains(&"eth0".into()));
    attachment.delete().unwrap();
    assert!(attachment.check().is_err(), "CHECK notices that the interface is gone");
}

#[test]
fn an_error_of_a_plugin_comes_back_as_one() {
    let ground = Ground::new();
    // A /32 has no address to give.
    let error = ground.runtime().add(ground.config("bridge", "10.9.0.0/32"), ground.container()).unwrap_err();
    let CniError::Plugin { command, failure, .. } = &error else { panic!("{error}") };
    assert_eq!(*command, "ADD");
    assert!(failure.msg.contains("too small"), "{failure}");
    assert!(!ground.links(false).contains(&"eth0".into()));
}

#[test]
fn addresses_run_out_with_an_error_and_come_back_with_del() {
    let ground = Ground::new();
    let config = ground.config("ptp", "10.9.0.0/30");
    let first = ground.runtime().add(config.clone(), ground.container()).unwrap();
    let second = Container { interface: "eth1".into(), ..ground.container() };
    let error = ground.runtime().add(config.clone(), second.clone()).unwrap_err();
    assert!(error.to_string().contains("no IP addresses available"), "{error}");
    first.delete().unwrap();
    let attachment = ground.runtime().add(config, second).unwrap();
    assert_eq!(attachment.result.address_of("eth1"), Some("10.9.0.2".parse().unwrap()));
}

#[test]
fn a_plugin_says_which_versions_it_speaks() {
    let version = Ground::new().runtime().version("bridge").unwrap();
    assert!(version.supported_versions.iter().any(|v| v == "1.0.0"), "{version:?}");
}

#[test]
fn a_plugin_that_is_not_installed_is_named_with_the_package() {
    let ground = Ground::new();
    let config = NetworkConfig::new("test", "no-such-plugin", json!({}));
    let error = ground.runtime().add(config, ground.container()).unwrap_err();
    assert!(matches!(error, CniError::NotInstalled { .. }), "{error}");
    assert!(error.to_string().contains("containernetworking-plugins"), "{error}");
}
