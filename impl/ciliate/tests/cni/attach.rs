// SPDX-License-Identifier: Apache-2.0
//! ADD and DEL in namespaces of their own. Needs root.

use std::net::IpAddr;

use netlink::{NetNs, Netlink, NetlinkError, sysctl};
use serde_json::{Value, json};

use crate::agent::{Agent, Fault, ROUTER};
use crate::plugin::{Answer, Plugin, config, with};

/// A node with one container.
pub struct Scene {
    pub agent: Agent,
    pub node: NetNs,
    pub pod: NetNs,
    pub near: Netlink,
    pub far: Netlink,
    pub plugin: Plugin,
}

impl Scene {
    pub fn new() -> Self {
        let netns = || NetNs::create_unnamed().expect("this test needs root: it makes network namespaces");
        let (node, pod) = (netns(), netns());
        let (near, far) = (Netlink::open(&node).unwrap(), Netlink::open(&pod).unwrap());
        let plugin = Plugin::subcommand().container("c1", &Self::path_of(&pod), "eth0");
        Self { agent: Agent::start(), node, pod, near, far, plugin }
    }

    /// A namespace without a name has a path while a process holds it.
    pub fn path_of(netns: &NetNs) -> String {
        use std::os::fd::{AsFd, AsRawFd};
        format!("/proc/{}/fd/{}", std::process::id(), netns.as_fd().as_raw_fd())
    }

    pub fn config(&self, version: &str) -> Value {
        config(version, &self.agent.socket())
    }

    pub fn call(&self, command: &str, config: &Value) -> Answer {
        self.plugin.call_in(&self.node, command, config)
    }

    /// The interfaces of node and pod but for the loopback devices.
    pub fn interfaces(&self) -> Vec<String> {
        let names = |netlink: &Netlink| {
            netlink.links().unwrap().into_iter().map(|link| link.name).filter(|name| name != "lo").collect()
        };
        let mut all: Vec<String> = names(&self.near);
        all.extend::<Vec<String>>(names(&self.far));
        all
    }

    #[track_caller]
    pub fn is_clean(&self) {
        assert_eq!(self.interfaces(), Vec::<String>::new());
        self.agent.is_clean();
    }
}

#[test]
fn a_container_is_attached_in_both_families() {
    let scene = Scene::new();
    let result = scene.call("ADD", &scene.config("1.1.0"));
    let result = result.result();
    let lxc = scene.near.link("lxcd0f631ca1ddb").unwrap();
    let eth0 = scene.far.link("eth0").unwrap();
    assert_eq!((lxc.up, eth0.up, lxc.mtu, eth0.mtu), (true, true, 1500, 1500));
    assert_eq!((lxc.peer, eth0.peer), (Some(eth0.index), Some(lxc.index)));
    assert_eq!(lxc.alias.as_deref(), Some("cni test c1 eth0"));
    assert_eq!(result["interfaces"][0]["mac"], lxc.mac.unwrap().to_string());
    assert_eq!(result["interfaces"][1]["mac"], eth0.mac.unwrap().to_string());
    assert_eq!(result["interfaces"][1]["sandbox"], Scene::path_of(&scene.pod));
    assert_eq!(result["routes"][0], json!({"dst": "0.0.0.0/0", "gw": ROUTER[0], "mtu": 1450}));

    let addresses = scene.far.addresses("eth0").unwrap();
    for (n, address) in ["192.0.2.10/32", "2001:db8::a/128"].into_iter().enumerate() {
        assert_eq!(result["ips"][n], json!({"address": address, "gateway": ROUTER[n], "interface": 1}));
        assert!(addresses.contains(&address.parse().unwrap()), "{addresses:?}");
    }
    routes_lead_to_the_router(&scene.far);

    let neighbours = scene.far.neighbours().unwrap();
    for router in ROUTER {
        let known = neighbours.iter().find(|n| n.address.to_string() == router).expect("the router");
        assert_eq!((known.mac, known.permanent), (lxc.mac, true));
    }
    for (netns, name, value) in [
        (&scene.node, "net/ipv4/conf/lxcd0f631ca1ddb/rp_filter", "0"),
        (&scene.node, "net/ipv4/conf/lxcd0f631ca1ddb/send_redirects", "0"),
        (&scene.node, "net/ipv6/conf/lxcd0f631ca1ddb/addr_gen_mode", "1"),
        (&scene.pod, "net/ipv6/conf/eth0/accept_dad", "0"),
        (&scene.pod, "net/ipv6/conf/eth0/accept_ra", "0"),
    ] {
        assert_eq!(sysctl(netns, name).unwrap(), value, "{name}");
    }
    let node_addresses = scene.near.addresses("lxcd0f631ca1ddb").unwrap();
    assert_eq!(node_addresses, [], "the node's end has no address");
}

fn routes_lead_to_the_router(pod: &Netlink) {
    let routes = pod.routes().unwrap();
    for router in ROUTER {
        let router: IpAddr = router.parse().unwrap();
        let on_link = routes.iter().find(|r| r.destination == router.into()).expect("the router's route");
        assert_eq!((on_link.via, on_link.mtu, on_link.device.as_deref()), (None, Some(1450), Some("eth0")));
        let default = routes.iter().find(|r| r.destination.prefix_len() == 0 && r.via == Some(router));
        assert_eq!(default.expect("the default route").mtu, Some(1450));
    }
}

#[test]
fn the_agent_is_told_everything_about_the_endpoint() {
    let scene = Scene::new();
    let labels = json!({"cni": {"labels": [{"key": "app", "value": "web"}]}});
    let plugin =
        scene.plugin.clone().with("CNI_ARGS", "IgnoreUnknown=1;K8S_POD_NAMESPACE=ns;K8S_POD_NAME=web-0;X=y");
    plugin.call_in(&scene.node, "ADD", &with(scene.config("1.0.0"), "args", labels)).result();
    let state = scene.agent.state();
    let (request, _) = &state.endpoints["c1"];
    let lxc = scene.near.link("lxcd0f631ca1ddb").unwrap();
    assert_eq!(request.interface_index, Some(lxc.index));
    assert_eq!(request.interface_name.as_deref(), Some("lxcd0f631ca1ddb"));
    assert_eq!(request.host_mac, lxc.mac.map(|mac| mac.to_string()));
    assert_eq!(request.mac, scene.far.link("eth0").unwrap().mac.map(|mac| mac.to_string()));
    assert_eq!(request.container_id.as_deref(), Some("c1"));
    assert_eq!(
        (request.k8s_namespace.as_deref(), request.k8s_pod_name.as_deref()),
        (Some("ns"), Some("web-0"))
    );
    assert_eq!(request.sync_build_endpoint, Some(true));
    let expected = ["k8s:app=web", "k8s:io.kubernetes.pod.namespace=ns"].map(String::from);
    assert_eq!(request.labels.as_deref(), Some(expected.as_slice()));
    let owner = "owner=cni%20test%20c1%20eth0";
    assert!(
        state.requests.iter().any(|r| r.starts_with("POST /ipam?") && r.contains(owner)),
        "{:?}",
        state.requests
    );
}

#[test]
fn every_version_gets_a_result_in_its_own_words() {
    for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let scene = Scene::new();
        let answer = scene.call("ADD", &scene.config(version));
        let result = answer.result();
        assert_eq!(result["cniVersion"], version);
        if version < "0.3.0" {
            assert_eq!(
                (&result["ip4"]["ip"], &result["ip6"]["ip"]),
                (&json!("192.0.2.10/32"), &json!("2001:db8::a/128"))
            );
        } else {
            let said = &result["ips"][0]["version"];
            assert_eq!(*said, if version < "1.0.0" { json!("4") } else { Value::Null }, "{version}");
        }
        scene.call("DEL", &scene.config(version)).is_silent_success();
        scene.is_clean();
    }
}

#[test]
fn one_family_is_enough_and_the_configurations_mtu_comes_first() {
    for (ipv4, ipv6) in [(true, false), (false, true)] {
        let scene = Scene::new();
        (scene.agent.state().ipv4, scene.agent.state().ipv6) = (ipv4, ipv6);
        let answer = scene.call("ADD", &with(scene.config("1.0.0"), "mtu", json!(1300)));
        let ips = answer.result()["ips"].as_array().unwrap();
        assert_eq!(ips.len(), 1);
        assert_eq!(ips[0]["address"].as_str().unwrap().contains(':'), ipv6);
        assert_eq!(scene.far.link("eth0").unwrap().mtu, 1300);
        let default = scene.far.routes().unwrap().into_iter().find(|r| r.destination.prefix_len() == 0);
        assert_eq!(default.unwrap().mtu, Some(1300));
    }
}

#[test]
fn del_removes_everything_and_may_be_called_again() {
    let scene = Scene::new();
    let result = scene.call("ADD", &scene.config("1.0.0")).json.unwrap();
    let config = with(scene.config("1.0.0"), "prevResult", result);
    for _ in 0..3 {
        scene.call("DEL", &config).is_silent_success();
        scene.is_clean();
    }
}

#[test]
fn del_needs_no_namespace_and_no_add() {
    let scene = Scene::new();
    scene.call("DEL", &scene.config("0.3.1")).is_silent_success();
    scene.call("ADD", &scene.config("0.3.1")).result();
    let nameless = scene.plugin.clone().with("CNI_NETNS", "");
    nameless.call_in(&scene.node, "DEL", &scene.config("0.3.1")).is_silent_success();
    scene.is_clean();
    let gone = scene.plugin.clone().with("CNI_NETNS", "/nonexistent/netns");
    gone.call_in(&scene.node, "DEL", &scene.config("0.3.1")).is_silent_success();
}

#[test]
fn del_while_the_agent_is_down_removes_the_interface_and_asks_to_be_called_again() {
    let scene = Scene::new();
    scene.call("ADD", &scene.config("1.0.0")).result();
    let down = config("1.0.0", &scene.agent.directory().join("nobody.sock"));
    scene.call("DEL", &down).fails_with(11, "nobody.sock");
    assert_eq!(scene.interfaces(), Vec::<String>::new());
    assert_eq!(scene.agent.state().endpoints.len(), 1);
    scene.call("DEL", &scene.config("1.0.0")).is_silent_success();
    scene.is_clean();
}

#[test]
fn a_second_add_is_refused_and_the_first_stays() {
    let scene = Scene::new();
    scene.call("ADD", &scene.config("1.0.0")).result();
    let before = scene.interfaces();
    scene.call("ADD", &scene.config("1.0.0")).fails_with(101, "call DEL first");
    assert_eq!(scene.interfaces(), before);
    let state = scene.agent.state();
    assert_eq!((state.endpoints.len(), state.given.len()), (1, 2));
}

#[test]
fn a_container_may_have_a_second_interface_of_another_name() {
    let scene = Scene::new();
    scene.call("ADD", &scene.config("1.0.0")).result();
    let second = scene.plugin.clone().with("CNI_IFNAME", "net1");
    // Two default routes of one metric cannot be: the second interface says so and leaves nothing behind.
    second.call_in(&scene.node, "ADD", &scene.config("1.0.0")).fails_with(102, "exists already");
    assert!(matches!(scene.far.link("net1"), Err(NetlinkError::Missing { .. })));
    assert_eq!(scene.agent.state().given.len(), 2);
    scene.call("DEL", &scene.config("1.0.0")).is_silent_success();
    second.call_in(&scene.node, "ADD", &scene.config("1.0.0")).result();
    assert!(scene.agent.state().endpoints.contains_key("c1:net1"));
    second.call_in(&scene.node, "DEL", &scene.config("1.0.0")).is_silent_success();
    scene.is_clean();
}

#[test]
fn an_interface_of_that_name_in_the_pod_is_respected() {
    let scene = Scene::new();
    scene.far.add_bridge("eth0").unwrap();
    scene.call("ADD", &scene.config("1.0.0")).fails_with(101, "exists already");
    assert_eq!(scene.interfaces(), ["eth0"]);
    scene.agent.is_clean();
}

#[test]
fn an_endpoint_that_the_agent_has_already_is_not_deleted_by_the_add_that_found_it() {
    let scene = Scene::new();
    scene.agent.fault("PUT /endpoint", Fault::Refuse(409, "there is one"));
    scene.call("ADD", &scene.config("1.0.0")).fails_with(101, "there is one");
    scene.is_clean();
    let state = scene.agent.state();
    assert!(!state.requests.iter().any(|r| r.starts_with("DELETE /endpoint")), "{:?}", state.requests);
}
