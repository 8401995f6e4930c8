// SPDX-License-Identifier: Apache-2.0
//! What is read from a configuration, and what is refused with which code and name.

use serde_json::json;

use super::*;

fn parse(value: Value) -> Result<NetworkConfig, Error> {
    NetworkConfig::parse(decode(value.to_string().as_bytes())?)
}

fn with(key: &str, value: Value) -> Value {
    let mut map = json!({"cniVersion": "1.0.0", "name": "cilium", "type": "cilium-cni"});
    map[key] = value;
    map
}

#[test]
fn the_configuration_of_1_4_is_enough() {
    let config = parse(json!({"name": "cilium", "type": "cilium-cni"})).unwrap();
    assert_eq!((config.version, config.name.as_str()), (Version::V0_1_0, "cilium"));
    assert_eq!((config.mtu, config.socket, config.previous), (None, None, None));
}

#[test]
fn every_field_that_is_supported_is_read() {
    let config = parse(json!({
        "cniVersion": "1.1.0", "name": "n", "type": "ciliate-cni", "mtu": 1400, "socket-path": "/run/a.sock",
        "args": {"cni": {"labels": [{"key": "app", "value": "web"}, {"key": "empty"}]}},
        "dns": {"nameservers": ["192.0.2.53"], "search": ["example.org"]},
        "prevResult": {"x": 1}, "disableCheck": false, "capabilities": {"portMappings": false},
        "cni.dev/valid-attachments": [{"containerID": "c1", "ifname": "eth0"}],
    }))
    .unwrap();
    assert_eq!((config.version, config.mtu), (Version::V1_1_0, Some(1400)));
    assert_eq!(config.socket, Some("/run/a.sock".into()));
    assert_eq!(config.labels[0], ContainerLabel { key: "app".into(), value: "web".into() });
    assert_eq!(config.labels[1].value, "");
    assert_eq!(config.dns.nameservers, ["192.0.2.53"]);
    assert_eq!(config.previous, Some(json!({"x": 1})));
    let valid = config.valid.unwrap();
    assert_eq!((valid[0].container.as_str(), valid[0].interface.as_str()), ("c1", "eth0"));
}

#[test]
fn what_go_writes_for_unset_fields_is_as_if_it_were_not_there() {
    for (key, value) in [
        ("ipam", json!({})),
        ("ipMasq", json!(false)),
        ("runtimeConfig", json!({})),
        ("prevResult", json!(null)),
        ("dns", json!({})),
        ("mtu", json!(0)),
        ("args", json!(null)),
    ] {
        let config = parse(with(key, value)).unwrap();
        assert_eq!((config.previous, config.mtu, config.labels), (None, None, Vec::new()), "{key}");
    }
    let config = parse(with("cni.dev/valid-attachments", json!(null))).unwrap();
    assert_eq!(config.valid, Some(Vec::new()));
    assert_eq!(parse(with("mtu", json!(1500))).unwrap().valid, None);
}

#[test]
fn what_is_wrong_is_refused_with_its_code_and_the_name_of_the_field() {
    let long = "x".repeat(MAX_NAME + 1);
    for (key, value, code, says) in [
        ("cniVersion", json!("9.0.0"), 1, "\"9.0.0\""),
        ("cniVersion", json!(1), 6, "cniVersion"),
        ("name", json!(""), 7, "name: is missing"),
        ("name", json!("a/b"), 7, "name: "),
        ("name", json!(long), 7, "name: is 97 bytes"),
        ("name", json!(7), 7, "name: invalid type"),
        ("mtu", json!("1500"), 7, "mtu: invalid type"),
        ("mtu", json!(67), 7, "mtu: 67 is not between"),
        ("mtu", json!(-1), 7, "mtu: invalid value"),
        ("mtu", json!(65536), 7, "mtu: 65536"),
        ("socket-path", json!("a.sock"), 7, "socket-path: a.sock"),
        ("args", json!({"cni": {"labels": [{"key": "a"}, {"key": 1}]}}), 7, "args.cni.labels[1].key"),
        ("args", json!({"cni": {"labels": [{"key": "a=b"}]}}), 7, "args.cni.labels[0].key"),
        ("args", json!({"cni": {"labels": [{"value": "a"}]}}), 7, "args.cni.labels[0]: missing field `key`"),
        ("args", json!({"cni": {"ips": ["192.0.2.1"]}}), 2, "args.cni.ips: unknown field"),
        ("args", json!({"mesos": {}}), 2, "unknown field `mesos`"),
        ("ipam", json!({"type": "host-local"}), 2, "ipam: the agent gives addresses"),
        ("ipMasq", json!(true), 2, "ipMasq: the agent masquerades"),
        ("runtimeConfig", json!({"portMappings": [1]}), 2, "runtimeConfig.portMappings"),
        ("runtimeConfig", json!(1), 7, "runtimeConfig: is not an object"),
        ("bridge", json!("cni0"), 2, "bridge: unknown field"),
        ("dns", json!({"nameservers": [1]}), 7, "dns.nameservers[0]: invalid type"),
        ("cni.dev/valid-attachments", json!([{"containerID": "a"}]), 7, "missing field `ifname`"),
        (
            "cni.dev/valid-attachments",
            json!([{"containerID": "/", "ifname": "x"}]),
            7,
            "cni.dev/valid-attachments[0].containerID",
        ),
    ] {
        let error = parse(with(key, value.clone())).expect_err(key);
        assert_eq!(error.code(), code, "{key}={value}: {error}");
        assert!(error.to_string().contains(says), "{key}={value}: {error}");
    }
}

#[test]
fn standard_input_that_is_no_object_is_a_decoding_failure() {
    for text in ["", " ", "null", "[]", "\"x\"", "{", "{}x", "{\"a\":}", "\u{0}"] {
        let error = decode(text.as_bytes()).expect_err(text);
        assert_eq!(error.code(), 6, "{text:?}");
    }
    assert_eq!(decode(&[0xff, 0xfe]).unwrap_err().code(), 6);
    // Deeper than any honest configuration: refused, not a stack that overflows.
    assert_eq!(decode("[".repeat(100_000).as_bytes()).unwrap_err().code(), 6);
}

#[test]
fn standard_input_is_not_read_beyond_its_limit() {
    let error = read(&mut std::io::repeat(b' ')).unwrap_err();
    assert_eq!(error.code(), 6);
    assert!(error.to_string().contains("larger than 1048576 bytes"), "{error}");
    assert_eq!(read(&mut &b"{}"[..]).unwrap(), b"{}");
}
