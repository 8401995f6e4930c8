// SPDX-License-Identifier: Apache-2.0
//! What the binary is, by its names and its first argument.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Output};

const BINARY: &str = env!("CARGO_BIN_EXE_ciliate");

fn run(program: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.args(arguments).env_remove("CNI_COMMAND").env("CILIUM_SOCK", "/nonexistent/agent.sock");
    command.output().expect("run the binary")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("UTF-8")
}

/// Runs it by another name, as a link that an image or a package makes.
fn by_name(name: &str, arguments: &[&str]) -> Output {
    let directory = tempfile::tempdir().expect("temporary directory");
    let path = directory.path().join(name);
    symlink(BINARY, &path).expect("link");
    run(&path, arguments)
}

#[test]
fn every_name_of_1_4_is_what_it_was() {
    let status = by_name("cilium", &["status"]);
    assert!(!status.status.success());
    assert!(String::from_utf8_lossy(&status.stderr).contains("/nonexistent/agent.sock"), "{status:?}");
    let help = stdout(&by_name("cilium-agent", &["--help"]));
    assert!(help.contains("--ipv4-range") && help.contains("--enable-policy"), "{help}");
    for name in ["cilium-cni", "ciliate-cni"] {
        let plugin = by_name(name, &[]);
        assert!(stdout(&plugin).contains("CNI_COMMAND"), "{plugin:?}");
    }
}

#[test]
fn the_first_argument_is_the_role() {
    let binary = Path::new(BINARY);
    let agent = run(binary, &["agent", "--no-such-flag"]);
    let said = String::from_utf8_lossy(&agent.stderr).into_owned();
    assert!(
        !agent.status.success() && said.contains("--no-such-flag") && said.lines().count() == 1,
        "{said}"
    );
    assert!(stdout(&run(binary, &["cni"])).contains("CNI_COMMAND"));
    let version = run(binary, &["version"]);
    assert!(stdout(&version).contains(env!("CARGO_PKG_VERSION")), "{version:?}");
}

#[test]
fn help_of_the_binary_tells_all_roles_and_help_of_cilium_is_the_command_lines() {
    let all = stdout(&run(Path::new(BINARY), &["--help"]));
    assert!(
        all.contains("ciliate agent") && all.contains("ciliate cni") && all.contains("endpoint"),
        "{all}"
    );
    let old = stdout(&by_name("cilium", &["--help"]));
    assert!(!old.contains("ciliate agent") && old.contains("endpoint"), "{old}");
}
