// SPDX-License-Identifier: Apache-2.0
//! Whatever comes in, what goes out is an error of the protocol or a result, and nothing panics.

use std::collections::BTreeMap;
use std::process::ExitCode;

use cni::Environment;
use proptest::prelude::*;
use serde_json::{Map, Value, json};

/// A container and a namespace that nobody has, and an agent that is not there: nothing can be changed.
struct Nowhere(BTreeMap<&'static str, String>);

impl Environment for Nowhere {
    fn variable(&self, name: &str) -> Option<String> {
        self.0.get(name).cloned()
    }
}

const COMMANDS: [&str; 6] = ["ADD", "DEL", "CHECK", "VERSION", "GC", "STATUS"];

fn environment(command: &str) -> Nowhere {
    Nowhere(BTreeMap::from([
        ("CNI_COMMAND", command.into()),
        ("CNI_CONTAINERID", "random-input-test-container".into()),
        ("CNI_NETNS", "/nonexistent/netns".into()),
        ("CNI_IFNAME", "eth0".into()),
        ("CILIUM_SOCK", "/nonexistent/agent.sock".into()),
    ]))
}

/// Calls the plugin and checks the form of its answer; returns the code of the error.
fn call(environment: &Nowhere, input: &[u8]) -> Option<u64> {
    let mut output = Vec::new();
    let code = cni::call(environment, &mut &*input, &mut output);
    if code == ExitCode::SUCCESS {
        return None;
    }
    let answer: Value = serde_json::from_slice(&output).expect("an error is JSON");
    assert!(answer["cniVersion"].is_string() && answer["msg"].is_string() && answer["details"].is_string());
    let code = answer["code"].as_u64().expect("a code");
    assert!((1..=104).contains(&code), "{answer}");
    Some(code)
}

/// JSON of any shape, small.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 32, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((".{0,8}", inner), 0..4)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Names that mean something, and some that do not.
fn key() -> impl Strategy<Value = String> {
    let known = [
        "cniVersion",
        "name",
        "type",
        "mtu",
        "args",
        "dns",
        "prevResult",
        "ipam",
        "runtimeConfig",
        "capabilities",
        "cni.dev/valid-attachments",
    ];
    prop_oneof![prop::sample::select(known.to_vec()).prop_map(str::to_owned), ".{0,12}"]
}

proptest! {
    #[test]
    fn random_bytes_are_refused(command in 0..6usize, bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        let code = call(&environment(COMMANDS[command]), &bytes);
        // Nothing at all is enough for VERSION.
        prop_assert!(code == Some(6) || COMMANDS[command] == "VERSION", "{code:?}");
    }

    #[test]
    fn a_configuration_with_any_field_of_any_shape_is_answered(
        command in 0..6usize,
        version in 0..7usize,
        key in key(),
        value in value(),
    ) {
        let versions = ["0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"];
        let mut config = json!({"cniVersion": versions[version], "name": "n", "type": "t"});
        config[key] = value;
        let answered = call(&environment(COMMANDS[command]), config.to_string().as_bytes());
        prop_assert!(answered.is_some() || COMMANDS[command] == "VERSION");
    }

    #[test]
    fn variables_of_any_text_are_answered(
        command in ".{0,8}",
        id in ".{0,150}",
        interface in ".{0,20}",
        args in ".{0,60}",
    ) {
        let mut environment = environment("ADD");
        environment.0.insert("CNI_CONTAINERID", id);
        environment.0.insert("CNI_IFNAME", interface);
        environment.0.insert("CNI_ARGS", args);
        let input = br#"{"cniVersion":"1.0.0","name":"n"}"#;
        prop_assert!(matches!(call(&environment, input), Some(3 | 4)));
        environment.0.insert("CNI_COMMAND", command);
        call(&environment, input);
    }
}
