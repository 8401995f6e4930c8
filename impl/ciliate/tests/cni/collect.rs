// SPDX-License-Identifier: Apache-2.0
//! GC. Needs root.

use netlink::NetNs;
use serde_json::{Value, json};

use crate::agent::Fault;
use crate::attach::Scene;
use crate::plugin::{config, with};

fn list(scene: &Scene, network: &str, valid: Value) -> Value {
    let config = with(scene.config("1.1.0"), "name", network.into());
    with(config, "cni.dev/valid-attachments", valid)
}

/// Attaches one more container, in a namespace that lives as long as the value.
fn attach(scene: &Scene, id: &str, network: &str) -> NetNs {
    let pod = NetNs::create_unnamed().expect("root");
    let plugin = scene.plugin.clone().container(id, &Scene::path_of(&pod), "eth0");
    let config = with(scene.config("1.1.0"), "name", network.into());
    plugin.call_in(&scene.node, "ADD", &config).result();
    pod
}

fn containers(scene: &Scene) -> Vec<String> {
    scene.agent.state().endpoints.keys().cloned().collect()
}

#[test]
fn attachments_that_are_not_valid_any_more_are_removed_and_those_of_other_networks_stay() {
    let scene = Scene::new();
    let _pods = ["keep", "stale"].map(|id| attach(&scene, id, "test"));
    let _other = attach(&scene, "other", "another");
    let gone = attach(&scene, "gone", "test");
    drop(gone);
    assert_eq!(containers(&scene).len(), 4);
    let valid =
        json!([{"containerID": "keep", "ifname": "eth0"}, {"containerID": "never", "ifname": "eth0"}]);
    // GC is about no container.
    let plugin = crate::plugin::Plugin::subcommand();
    plugin.call_in(&scene.node, "GC", &list(&scene, "test", valid.clone())).is_silent_success();
    assert_eq!(containers(&scene), ["keep", "other"]);
    assert_eq!(scene.agent.state().given.len(), 4);
    assert_eq!(scene.interfaces().len(), 2);
    plugin.call_in(&scene.node, "GC", &list(&scene, "test", valid)).is_silent_success();
    assert_eq!(containers(&scene), ["keep", "other"]);
}

#[test]
fn an_empty_list_empties_the_network() {
    let scene = Scene::new();
    let _pods = ["a", "b"].map(|id| attach(&scene, id, "test"));
    scene.call("GC", &list(&scene, "test", json!([]))).is_silent_success();
    scene.is_clean();
}

#[test]
fn one_that_cannot_be_removed_does_not_stop_the_others() {
    let scene = Scene::new();
    let _pods = ["a", "b", "c"].map(|id| attach(&scene, id, "test"));
    scene.agent.fault("DELETE /endpoint/container-id:b", Fault::Refuse(500, "stuck"));
    let answer = scene.call("GC", &list(&scene, "test", json!(null)));
    answer.fails_with(104, "1 of 3 stale attachments could not be removed: eth0 of b:");
    answer.fails_with(104, "stuck");
    assert_eq!(containers(&scene), ["b"]);
    assert_eq!(scene.interfaces(), Vec::<String>::new());
}

#[test]
fn without_the_agent_nothing_is_removed() {
    let scene = Scene::new();
    let _pod = attach(&scene, "a", "test");
    let down = config("1.1.0", &scene.agent.directory().join("nobody.sock"));
    scene.call("GC", &with(down, "cni.dev/valid-attachments", json!([]))).fails_with(11, "nobody.sock");
    assert_eq!(scene.interfaces().len(), 1);
}
