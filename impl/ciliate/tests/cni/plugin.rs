// SPDX-License-Identifier: Apache-2.0
//! Runs the plugin as a runtime does.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use netlink::NetNs;
use serde_json::{Value, json};

/// What a call came to.
#[derive(Debug)]
pub struct Answer {
    /// Whether the process ended with code 0.
    pub success: bool,
    /// What it wrote, if anything.
    pub json: Option<Value>,
}

impl Answer {
    /// The error of the protocol.
    #[track_caller]
    pub fn error(&self) -> (u64, String) {
        assert!(!self.success, "it should have failed: {:?}", self.json);
        let json = self.json.as_ref().expect("an error is written");
        assert!(json["cniVersion"].is_string(), "{json}");
        (json["code"].as_u64().expect("code"), json["msg"].as_str().expect("msg").to_owned())
    }

    /// Fails unless the code is this one and the message holds `says`.
    #[track_caller]
    pub fn fails_with(&self, code: u64, says: &str) {
        let error = self.error();
        assert!(error.0 == code && error.1.contains(says), "expected {code} {says:?}, got {error:?}");
    }

    /// The result of ADD or VERSION.
    #[track_caller]
    pub fn result(&self) -> &Value {
        assert!(self.success, "{:?}", self.json);
        self.json.as_ref().expect("a result is written")
    }

    /// Fails unless it succeeded without a word.
    #[track_caller]
    pub fn is_silent_success(&self) {
        assert!(self.success && self.json.is_none(), "{:?}", self.json);
    }
}

/// A way to call the plugin.
#[derive(Clone, Debug)]
pub struct Plugin {
    program: PathBuf,
    environment: Vec<(String, String)>,
}

/// The binary under test, as the plugin that a runtime would find: a copy under a plugin's name. `cp` writes it: a file that
/// this process had open for writing could not be run while a child that another test starts just then has it open too.
pub fn copy_to(directory: &Path, name: &str) -> PathBuf {
    let program = directory.join(name);
    let copied = Command::new("cp").arg(env!("CARGO_BIN_EXE_ciliate")).arg(&program).status();
    assert!(copied.expect("run cp").success(), "copy the plugin to {}", program.display());
    program
}

impl Plugin {
    /// The binary under the name that it is built with, as `ciliate cni`.
    pub fn subcommand() -> Self {
        Self::of(env!("CARGO_BIN_EXE_ciliate").into())
    }

    /// The program at this path.
    pub fn of(program: PathBuf) -> Self {
        Self { program, environment: Vec::new() }
    }

    /// With one more variable; an empty value is set as such.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.into(), value.into()));
        self
    }

    /// With what every command on a container needs.
    pub fn container(self, id: &str, netns: &str, interface: &str) -> Self {
        self.with("CNI_CONTAINERID", id)
            .with("CNI_NETNS", netns)
            .with("CNI_IFNAME", interface)
            .with("CNI_PATH", "/opt/cni/bin")
    }

    /// Starts it in the namespace of this thread, with all of its input.
    pub fn start(&self, command: &str, input: &[u8]) -> Child {
        let mut program = Command::new(&self.program);
        let name = self.program.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if name == "ciliate" {
            program.arg("cni");
        }
        program.env_clear().envs(self.environment.iter().cloned());
        if !command.is_empty() {
            program.env("CNI_COMMAND", command);
        }
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("run the plugin");
        // It may answer without having read everything.
        let _ = child.stdin.take().expect("stdin").write_all(input);
        child
    }

    /// Calls it in the namespace of this thread.
    pub fn call(&self, command: &str, input: &[u8]) -> Answer {
        let child = self.start(command, input);
        let output = child.wait_with_output().expect("wait for the plugin");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code().is_some_and(|code| code <= 1), "{}: {said}", output.status);
        assert_eq!(said, "", "nothing is written but results and errors");
        let text = String::from_utf8(output.stdout).expect("UTF-8");
        let json = (!text.is_empty()).then(|| serde_json::from_str(&text).expect("JSON"));
        Answer { success: output.status.success(), json }
    }

    /// Calls it in another namespace: that of the node.
    pub fn call_in(&self, node: &NetNs, command: &str, config: &Value) -> Answer {
        node.run(|| self.call(command, config.to_string().as_bytes())).expect("enter the node's namespace")
    }
}

/// A network configuration of this version whose agent is on this socket.
pub fn config(version: &str, socket: &Path) -> Value {
    json!({"cniVersion": version, "name": "test", "type": "ciliate-cni", "socket-path": socket})
}

/// The same with one more field.
pub fn with(mut config: Value, key: &str, value: Value) -> Value {
    config[key] = value;
    config
}
