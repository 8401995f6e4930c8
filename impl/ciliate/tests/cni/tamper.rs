// SPDX-License-Identifier: Apache-2.0
//! CHECK after somebody has changed something. Needs root.

use api::EndpointState;
use netlink::{MacAddr, Netlink, Route};
use serde_json::{Value, json};

use crate::attach::Scene;
use crate::plugin::with;

const LXC: &str = "lxcd0f631ca1ddb";

/// An attached container and the configuration that CHECK is given.
fn attached(version: &str) -> (Scene, Value) {
    let scene = Scene::new();
    let result = scene.call("ADD", &scene.config(version)).json.expect("a result");
    let config = with(scene.config(version), "prevResult", result);
    (scene, config)
}

#[test]
fn check_succeeds_right_after_add() {
    for version in ["0.4.0", "1.0.0", "1.1.0"] {
        let (scene, config) = attached(version);
        scene.call("CHECK", &config).is_silent_success();
    }
}

#[test]
fn what_a_later_plugin_added_does_not_matter() {
    let (scene, mut config) = attached("1.0.0");
    scene.far.add_address("eth0", "198.51.100.1/24".parse().unwrap()).unwrap();
    scene.far.add_route(&Route::link("203.0.113.0/24".parse().unwrap(), "eth0")).unwrap();
    let other = json!({"name": "tunl0", "sandbox": "/x"});
    config["prevResult"]["interfaces"].as_array_mut().unwrap().push(other);
    let ip = json!({"address": "198.51.100.9/24", "interface": 2});
    config["prevResult"]["ips"].as_array_mut().unwrap().push(ip);
    scene.call("CHECK", &config).is_silent_success();
}

#[test]
fn every_change_of_the_attachment_is_found_and_named() {
    type Change = fn(&Scene);
    let any4 = |scene: &Scene| {
        let routes = scene.far.routes().unwrap();
        let default = routes.into_iter().find(|r| r.destination.to_string() == "0.0.0.0/0").unwrap();
        scene.far.delete_route(&default).unwrap();
    };
    let changes: [(Change, &str); 10] = [
        (|s| s.near.delete_link(LXC).unwrap(), "interface eth0 of the pod: is not there"),
        (|s| s.far.set_down("eth0").unwrap(), "interface eth0 of the pod: is down"),
        (|s| s.near.set_down(LXC).unwrap(), "is down"),
        (
            |s| s.far.set_mac("eth0", MacAddr([2, 0, 0, 0, 0, 9])).unwrap(),
            "has Ethernet address 02:00:00:00:00:09",
        ),
        (
            |s| s.near.set_mac(LXC, MacAddr([2, 0, 0, 0, 0, 9])).unwrap(),
            "has Ethernet address 02:00:00:00:00:09",
        ),
        (any4, "route to 0.0.0.0/0 via 192.0.2.1 by eth0: is not there"),
        (
            |s| {
                s.agent.state().endpoints.clear();
            },
            "endpoint container-id:c1: the agent does not know it",
        ),
        (
            |s| s.agent.state().endpoints.get_mut("c1").unwrap().1 = EndpointState::NotReady,
            "is not-ready, not ready",
        ),
        (
            |s| s.agent.state().endpoints.get_mut("c1").unwrap().0.interface_index = Some(9999),
            "has interface 9999",
        ),
        (
            |s| {
                let mut state = s.agent.state();
                let addressing = &mut state.endpoints.get_mut("c1").unwrap().0.addressing;
                addressing.as_mut().unwrap().ipv6 = "2001:db8::99".into();
            },
            "does not have address 2001:db8::a",
        ),
    ];
    for (change, says) in changes {
        let (scene, config) = attached("1.0.0");
        change(&scene);
        scene.call("CHECK", &config).fails_with(103, says);
    }
}

#[test]
fn an_address_that_is_gone_is_found() {
    let (scene, mut config) = attached("1.0.0");
    config["prevResult"]["ips"][0]["address"] = "192.0.2.77/32".into();
    scene.call("CHECK", &config).fails_with(103, "address 192.0.2.77/32 of eth0: is not there");
}

#[test]
fn a_pair_that_was_exchanged_is_found() {
    let (scene, config) = attached("1.0.0");
    scene.near.rename(LXC, "old").unwrap();
    let ends = [netlink::LinkEnd::new(LXC, &scene.node), netlink::LinkEnd::new("far", &scene.node)];
    Netlink::open(&scene.node).unwrap().add_veth(&ends[0], &ends[1]).unwrap();
    scene.near.set_up(LXC).unwrap();
    scene.call("CHECK", &config).fails_with(103, "is not the other end of eth0");
}

#[test]
fn check_without_the_agent_asks_to_be_called_again() {
    let (scene, config) = attached("1.0.0");
    let config = with(config, "socket-path", json!(scene.agent.directory().join("nobody.sock")));
    scene.call("CHECK", &config).fails_with(11, "nobody.sock");
}
