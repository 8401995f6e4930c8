// SPDX-License-Identifier: Apache-2.0
//! An ADD that fails at any step leaves nothing behind. Needs root.

use netlink::{Netlink, set_sysctl};
use serde_json::json;

use crate::agent::Fault;
use crate::attach::Scene;
use crate::plugin::{config, with};

#[test]
fn without_the_agent_the_runtime_is_asked_to_try_again_and_told_what_to_do() {
    let scene = Scene::new();
    let answer = scene.call("ADD", &config("1.0.0", &scene.agent.directory().join("nobody.sock")));
    answer.fails_with(11, "nobody.sock");
    let details = answer.json.unwrap()["details"].as_str().unwrap().to_owned();
    assert!(details.contains("start the agent") && details.contains("socket-path"), "{details}");
    scene.is_clean();
}

#[test]
fn a_refusal_at_any_step_leaves_nothing_behind() {
    for (request, fault, code, says) in [
        ("GET /config", Fault::Refuse(500, "no idea"), 100, "no idea"),
        ("POST /ipam", Fault::Refuse(502, "no address is free"), 11, "no address is free"),
        ("POST /ipam", Fault::Refuse(400, "what family"), 100, "what family"),
        ("PUT /endpoint", Fault::Refuse(400, "labels: bad"), 100, "labels: bad"),
        ("PUT /endpoint", Fault::Refuse(500, "the program does not load"), 100, "does not load"),
        ("PUT /endpoint", Fault::Refuse(503, "starting"), 11, "starting"),
        ("PUT /endpoint", Fault::CarryOutAndHangUp, 11, "PUT"),
    ] {
        let scene = Scene::new();
        scene.agent.fault(request, fault);
        let answer = scene.call("ADD", &scene.config("1.0.0"));
        answer.fails_with(code, says);
        assert_eq!(answer.json.unwrap()["details"], "", "everything could be undone");
        scene.is_clean();
    }
}

#[test]
fn what_could_not_be_undone_is_said() {
    let scene = Scene::new();
    scene.agent.fault("PUT /endpoint", Fault::Refuse(500, "does not load"));
    scene.agent.fault("DELETE /ipam", Fault::Refuse(500, "cannot release"));
    let answer = scene.call("ADD", &scene.config("1.0.0"));
    answer.fails_with(100, "does not load");
    let details = answer.json.unwrap()["details"].as_str().unwrap().to_owned();
    assert_eq!(details.matches("not undone: ").count(), 2, "{details}");
    assert!(details.contains("cannot release"), "{details}");
    assert_eq!(scene.interfaces(), Vec::<String>::new());
}

#[test]
fn a_kernel_that_refuses_a_route_leaves_nothing_behind() {
    let scene = Scene::new();
    // An MTU below what IPv6 needs turns IPv6 off on the interface; the agent's own word is refused as such.
    scene.agent.state().device_mtu = Some(1000);
    scene.call("ADD", &scene.config("1.0.0")).fails_with(7, "mtu: 1000 is too small for IPv6");
    scene.is_clean();
    // The pod has a default route already.
    scene.agent.state().device_mtu = Some(1500);
    scene.far.add_bridge("br").unwrap();
    let any = "0.0.0.0/0".parse().unwrap();
    scene.far.set_up("br").unwrap();
    scene.far.add_route(&netlink::Route::link(any, "br")).unwrap();
    scene.call("ADD", &scene.config("1.0.0")).fails_with(102, "add route 0.0.0.0/0 via 192.0.2.1");
    assert_eq!(scene.interfaces(), ["br"]);
    scene.agent.is_clean();
}

#[test]
fn answers_that_make_no_sense_are_refused_by_name() {
    let scene = Scene::new();
    (scene.agent.state().ipv4, scene.agent.state().ipv6) = (false, false);
    scene.call("ADD", &scene.config("1.0.0")).fails_with(100, "address: is empty");
    scene.agent.state().ipv4 = true;
    scene.agent.state().device_mtu = None;
    scene.call("ADD", &scene.config("1.0.0")).fails_with(100, "deviceMTU: is missing");
    scene.call("ADD", &with(scene.config("1.0.0"), "mtu", json!(1400))).result();
    scene.call("DEL", &scene.config("1.0.0")).is_silent_success();
    scene.is_clean();
}

#[test]
fn a_pod_whose_runtime_turned_ipv6_off_gets_it_back() {
    let scene = Scene::new();
    set_sysctl(&scene.pod, "net/ipv6/conf/default/disable_ipv6", "1").unwrap();
    scene.call("ADD", &scene.config("1.0.0")).result();
    let addresses = Netlink::open(&scene.pod).unwrap().addresses("eth0").unwrap();
    assert!(addresses.contains(&"2001:db8::a/128".parse().unwrap()), "{addresses:?}");
}

#[test]
fn what_an_add_that_was_killed_has_made_is_removed_by_del() {
    for request in ["PUT /endpoint", "POST /ipam"] {
        let scene = Scene::new();
        scene.agent.fault(request, Fault::CarryOutAndStall);
        let config = scene.config("1.0.0").to_string();
        let mut child = scene.node.run(|| scene.plugin.start("ADD", config.as_bytes())).unwrap();
        scene.agent.wait_for(request);
        child.kill().unwrap();
        child.wait().unwrap();
        scene.call("DEL", &scene.config("1.0.0")).is_silent_success();
        assert_eq!(scene.interfaces(), Vec::<String>::new());
        assert_eq!(scene.agent.state().endpoints.len(), 0);
        // Addresses that no endpoint has taken are the agent's to take back: nobody told the plugin which they were.
        assert_eq!(scene.agent.state().given.len(), if request == "POST /ipam" { 2 } else { 0 });
    }
}
