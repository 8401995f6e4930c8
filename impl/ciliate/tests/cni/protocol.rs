// SPDX-License-Identifier: Apache-2.0
//! What needs no root: versions, the environment, standard input, STATUS.

use std::path::Path;

use api::StatusState;
use serde_json::json;

use crate::agent::{Agent, Fault};
use crate::plugin::{Plugin, config, copy_to, with};

const NOWHERE: &str = "/nonexistent/agent.sock";

fn plugin() -> Plugin {
    Plugin::subcommand().container("c1", "/nonexistent/netns", "eth0")
}

fn config_of(version: &str) -> Vec<u8> {
    config(version, Path::new(NOWHERE)).to_string().into_bytes()
}

#[test]
fn version_lists_what_is_spoken_whatever_is_asked() {
    let all = json!(["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]);
    for (input, version) in [
        ("", "1.1.0"),
        ("{}", "0.1.0"),
        (r#"{"cniVersion":"0.4.0"}"#, "0.4.0"),
        (r#"{"cniVersion":"1.0.0","name":"x","type":"y"}"#, "1.0.0"),
        (r#"{"cniVersion":"9.9.9"}"#, "1.1.0"),
    ] {
        // libcni calls it with these.
        let plugin = Plugin::subcommand().container("dummy", "dummy", "dummy");
        let answer = plugin.call("VERSION", input.as_bytes());
        assert_eq!(*answer.result(), json!({"cniVersion": version, "supportedVersions": all}), "{input}");
    }
    Plugin::subcommand().call("VERSION", b"{").fails_with(6, "EOF");
}

#[test]
fn the_binary_is_the_plugin_under_either_plugins_name_and_as_a_subcommand() {
    let directory = tempfile::tempdir().expect("temporary directory");
    let copies = ["ciliate-cni", "cilium-cni"].map(|name| Plugin::of(copy_to(directory.path(), name)));
    for plugin in copies.into_iter().chain([Plugin::subcommand()]) {
        assert_eq!(plugin.call("VERSION", b"").result()["cniVersion"], "1.1.0");
    }
}

#[test]
fn every_variable_that_is_missing_or_wrong_is_named() {
    let long = "x".repeat(129);
    for (command, name, value) in [
        ("", "CNI_COMMAND", ""),
        ("ATTACH", "CNI_COMMAND", ""),
        ("ADD", "CNI_CONTAINERID", ""),
        ("ADD", "CNI_CONTAINERID", "a/b"),
        ("ADD", "CNI_CONTAINERID", long.as_str()),
        ("ADD", "CNI_NETNS", ""),
        ("CHECK", "CNI_NETNS", ""),
        ("ADD", "CNI_IFNAME", ""),
        ("DEL", "CNI_IFNAME", "a/b"),
        ("ADD", "CNI_IFNAME", "a b"),
        ("ADD", "CNI_IFNAME", "sixteen-bytes-xx"),
        ("ADD", "CNI_ARGS", "FOO=BAR"),
        ("ADD", "CNI_ARGS", "FOO"),
        ("ADD", "CNI_NETNS", "/dev/null"),
    ] {
        plugin().with(name, value).call(command, &config_of("1.0.0")).fails_with(4, name);
    }
    let answer = plugin().with("CILIUM_SOCK", "tcp://h").call("DEL", br#"{"name":"x"}"#);
    answer.fails_with(4, "CILIUM_SOCK");
}

#[test]
fn a_namespace_that_is_gone_or_the_plugins_own_is_refused() {
    plugin().call("ADD", &config_of("1.0.0")).fails_with(3, "/nonexistent/netns");
    let own = plugin().with("CNI_NETNS", "/proc/self/ns/net");
    own.call("ADD", &config_of("1.0.0")).fails_with(8, "/proc/self/ns/net");
}

#[test]
fn bad_standard_input_is_refused_by_every_command_that_reads_it() {
    for command in ["ADD", "DEL", "CHECK", "GC", "STATUS"] {
        for (input, code, says) in [
            ("", 6, "standard input is empty"),
            ("null", 6, "not a JSON object"),
            ("[1]", 6, "not a JSON object"),
            ("{\"name\":", 6, "EOF"),
            ("{} {}", 6, "trailing characters"),
            (r#"{"cniVersion":3,"name":"x"}"#, 6, "cniVersion"),
            (r#"{"cniVersion":"7.0.0","name":"x"}"#, 1, "7.0.0"),
            (r#"{"cniVersion":"1.1.0"}"#, 7, "name"),
            (r#"{"cniVersion":"1.1.0","name":"x","mtu":"big"}"#, 7, "mtu"),
            (r#"{"cniVersion":"1.1.0","name":"x","bridge":"b"}"#, 2, "bridge"),
            (r#"{"cniVersion":"1.1.0","name":"x","ipam":{"type":"y"}}"#, 2, "ipam"),
        ] {
            plugin().call(command, input.as_bytes()).fails_with(code, says);
        }
    }
    let endless = vec![b' '; (1 << 20) + 1];
    plugin().call("ADD", &endless).fails_with(6, "larger than");
}

#[test]
fn an_error_is_in_the_version_of_the_configuration() {
    for version in ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
        let answer = plugin().call("ADD", &config_of(version));
        assert_eq!(answer.json.expect("an error")["cniVersion"], version);
    }
    let answer = plugin().call("ADD", &config_of("9.0.0")).json.expect("an error");
    assert_eq!(answer["cniVersion"], "1.1.0");
    assert!(answer["details"].as_str().expect("details").contains("0.3.0, 0.3.1, 0.4.0, 1.0.0, 1.1.0"));
}

#[test]
fn a_command_is_refused_in_versions_that_do_not_have_it() {
    for (command, first) in [("CHECK", "0.4.0"), ("GC", "1.1.0"), ("STATUS", "1.1.0")] {
        for version in ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"] {
            let answer = plugin().call(command, &config_of(version));
            let too_old = answer.error().0 == 1;
            assert_eq!(too_old, version < first, "{command} in {version}: {:?}", answer.json);
        }
    }
}

#[test]
fn chaining_is_refused_by_name() {
    let config = with(config("1.0.0", Path::new(NOWHERE)), "prevResult", json!({"cniVersion": "1.0.0"}));
    let answer = plugin().call("ADD", config.to_string().as_bytes());
    answer.fails_with(2, "prevResult: chaining is not supported yet");
}

#[test]
fn check_and_gc_say_which_field_they_miss() {
    plugin().call("CHECK", &config_of("1.0.0")).fails_with(7, "prevResult: is missing");
    plugin().call("GC", &config_of("1.1.0")).fails_with(7, "cni.dev/valid-attachments: is missing");
    let config = with(config("1.0.0", Path::new(NOWHERE)), "prevResult", json!({"ips": [{"address": "x"}]}));
    let answer = plugin().call("CHECK", config.to_string().as_bytes());
    answer.fails_with(7, "prevResult.ips[0].address");
}

#[test]
fn status_says_whether_add_would_be_served() {
    plugin().call("STATUS", &config_of("1.1.0")).fails_with(50, NOWHERE);
    let agent = Agent::start();
    let config = config("1.1.0", &agent.socket()).to_string().into_bytes();
    // STATUS is about no container.
    let plugin = Plugin::subcommand();
    for health in [StatusState::Ok, StatusState::Warning] {
        agent.state().health = health;
        plugin.call("STATUS", &config).is_silent_success();
    }
    agent.state().health = StatusState::Failure;
    plugin.call("STATUS", &config).fails_with(50, "not ready: as told");
    agent.fault("GET /healthz", Fault::Refuse(500, "broken"));
    plugin.call("STATUS", &config).fails_with(50, "broken");
}

#[test]
fn the_agents_socket_is_that_of_the_configuration_then_of_the_environment() {
    let agent = Agent::start();
    let socket = agent.socket().display().to_string();
    let bare = json!({"cniVersion": "1.1.0", "name": "test", "type": "cilium-cni"}).to_string();
    for value in [socket.clone(), format!("unix://{socket}")] {
        Plugin::subcommand().with("CILIUM_SOCK", &value).call("STATUS", bare.as_bytes()).is_silent_success();
    }
    let config = config("1.1.0", &agent.socket()).to_string();
    let elsewhere = Plugin::subcommand().with("CILIUM_SOCK", NOWHERE);
    elsewhere.call("STATUS", config.as_bytes()).is_silent_success();
    elsewhere.call("STATUS", bare.as_bytes()).fails_with(50, NOWHERE);
}
