// SPDX-License-Identifier: Apache-2.0
//! Results and errors as plugins print them, well-formed and not. No root is needed: the "plugins" are shell scripts run
//! in the caller's own namespace.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use serde_json::json;

use super::*;
use crate::executable::write_executable;

const RESULT: &str = r#"{
    "cniVersion": "1.0.0",
    "interfaces": [
        {"name": "cni0", "mac": "66:53:ff:67:c1:9d"},
        {"name": "veth9f3a", "mac": "0e:7e:24:4d:ba:0c"},
        {"name": "eth0", "mac": "ea:fd:3f:91:0a:11", "sandbox": "/run/netns/x", "mtu": 1500}
    ],
    "ips": [{"interface": 2, "address": "10.244.0.2/24", "gateway": "10.244.0.1"}],
    "routes": [{"dst": "10.244.0.0/16"}, {"dst": "0.0.0.0/0", "gw": "10.244.0.1"}],
    "dns": {}
}"#;

fn ended(code: i32, stdout: &str) -> Finished {
    let status = ExitStatus::from_raw(code << 8);
    Finished { status, stdout: stdout.into(), stderr: b"from stderr".to_vec() }
}

#[test]
fn a_result_of_the_bridge_plugin_is_understood() {
    let result: AddResult = parse("bridge", "ADD", &ended(0, RESULT)).unwrap();
    assert_eq!(result.address_of("eth0"), Some("10.244.0.2".parse().unwrap()));
    assert_eq!(result.address_of("cni0"), None);
    assert_eq!(result.routes[1].gw, Some("10.244.0.1".parse().unwrap()));
    assert_eq!(result.interfaces[0].sandbox, "");
}

#[test]
fn an_address_without_an_interface_is_the_containers() {
    let text = r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/32"}]}"#;
    let result: AddResult = parse("x", "ADD", &ended(0, text)).unwrap();
    assert_eq!(result.address_of("eth0"), Some("10.1.2.3".parse().unwrap()));
}

#[test]
fn an_interface_index_out_of_range_gives_no_address() {
    let text = r#"{"cniVersion": "1.0.0", "ips": [{"interface": 7, "address": "10.1.2.3/32"}]}"#;
    let result: AddResult = parse("x", "ADD", &ended(0, text)).unwrap();
    assert_eq!(result.address_of("eth0"), None);
}

#[test]
fn malformed_results_are_errors_that_quote_them() {
    let texts = [
        "",
        "null",
        "[]",
        "not json",
        r#"{"cniVersion": 1}"#,
        r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3"}]}"#,
        r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/33"}]}"#,
        r#"{"cniVersion": "1.0.0", "ips": [{"address": "10.1.2.3/32", "interface": -1}]}"#,
    ];
    for text in texts {
        let error = parse::<AddResult>("x", "ADD", &ended(0, text)).unwrap_err();
        assert!(matches!(error, CniError::Malformed { .. }), "{text}: {error}");
        let said = if text.is_empty() { "from stderr" } else { text };
        assert!(error.to_string().contains(&format!("{said:?}")), "{error}");
    }
}

#[test]
fn an_error_result_keeps_code_message_and_details() {
    let text = r#"{"cniVersion": "1.0.0", "code": 11, "msg": "try again", "details": "later"}"#;
    let error = parse::<AddResult>("x", "ADD", &ended(1, text)).unwrap_err();
    let CniError::Plugin { failure, .. } = &error else { panic!("{error}") };
    assert_eq!((failure.code, failure.msg.as_str(), failure.details.as_str()), (11, "try again", "later"));
    assert_eq!(error.to_string(), "CNI ADD by x: try again (code 11): later");
}

#[test]
fn a_failure_without_an_error_result_is_malformed() {
    for text in ["", "panic: runtime error", r#"{"cniVersion": "1.0.0"}"#] {
        let error = parse::<AddResult>("x", "ADD", &ended(2, text)).unwrap_err();
        assert!(matches!(error, CniError::Malformed { .. }), "{text}: {error}");
    }
}

#[test]
fn a_plugin_that_is_nowhere_is_an_error_that_says_where_it_was_looked_for() {
    let path = PluginPath::new(vec!["/nonexistent/a".into(), "/nonexistent/b".into()]);
    let error = path.find("bridge").unwrap_err().to_string();
    assert!(error.contains("/nonexistent/a /nonexistent/b"), "{error}");
    for name in ["", "..", "../bridge", "/bin/sh"] {
        assert!(PluginPath::new(vec!["/bin".into()]).find(name).is_err(), "{name}");
    }
}

#[test]
fn settings_cannot_change_version_name_and_type() {
    let config = NetworkConfig::new("net", "bridge", json!({ "type": "other", "mtu": 1500 }));
    let text: Value = serde_json::from_slice(&config.text(Some(&json!({ "ips": [] })))).unwrap();
    let expected = json!({
        "cniVersion": "1.0.0", "name": "net", "type": "bridge", "mtu": 1500, "prevResult": { "ips": [] },
    });
    assert_eq!(text, expected);
}

/// A plugin that prints its environment and input into `log`, then `answer`.
fn script(dir: &Path, answer: &str) -> Runtime {
    let text =
        format!("#!/bin/sh\n{{ env | grep ^CNI_ | sort; cat; echo; }} >> {}/log\n{answer}\n", dir.display());
    write_executable(&dir.join("plugin"), text.as_bytes());
    Runtime::new(PluginPath::new(vec![dir.into()]), NetNs::current().unwrap())
}

fn container() -> Container {
    Container {
        id: "id-1".into(),
        netns: "/run/netns/none".into(),
        interface: "eth0".into(),
        args: vec![("IgnoreUnknown".into(), "1".into()), ("K8S_POD_NAME".into(), "a".into())],
    }
}

#[test]
fn a_failed_add_is_followed_by_del() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = script(dir.path(), r#"echo '{"code": 7, "msg": "bad configuration"}'; exit 1"#);
    let error = runtime.add(NetworkConfig::new("n", "plugin", Value::Null), container()).unwrap_err();
    assert_eq!(error.to_string(), "CNI ADD by plugin: bad configuration (code 7)");
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let commands: Vec<_> = log.lines().filter(|line| line.starts_with("CNI_COMMAND=")).collect();
    assert_eq!(commands, ["CNI_COMMAND=ADD", "CNI_COMMAND=DEL"]);
    assert!(log.contains("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAME=a\n"), "{log}");
    assert!(log.contains("CNI_IFNAME=eth0\nCNI_NETNS=/run/netns/none\n"), "{log}");
}

#[test]
fn del_and_check_are_given_the_result_of_add() {
    if !nix::unistd::geteuid().is_root() {
        assert!(std::env::var_os("CI").is_none(), "this test needs root");
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let runtime = script(dir.path(), r#"echo '{"cniVersion": "1.0.0", "mark": "from add"}'"#);
    let attachment = runtime.add(NetworkConfig::new("n", "plugin", Value::Null), container()).unwrap();
    for call in [Attachment::check, Attachment::delete] {
        let log = dir.path().join("log");
        fs::remove_file(&log).unwrap();
        call(&attachment).unwrap();
        let log = fs::read_to_string(&log).unwrap();
        assert!(log.contains(r#""prevResult":{"cniVersion":"1.0.0","mark":"from add"}"#), "{log}");
    }
}
