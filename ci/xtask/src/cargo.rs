// SPDX-License-Identifier: Apache-2.0
//! Builds a program with cargo and finds out where it was put.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::setup;
use crate::workspace::Workspace;

/// The lab binary is also the first process of a virtual machine without any library: it is linked static. With
/// `--target`, even when that is the host's own, the flag reaches neither build scripts nor procedural macros.
const STATIC_TARGET: &str = "x86_64-unknown-linux-gnu";
const STATIC_FLAG: &str = "-Ctarget-feature=+crt-static";

/// The package and the program of the agent.
const AGENT: &str = "ciliate";

/// What libbpf calls. Rust's compiler looks for a static library only where it is told, by this variable of libbpf-sys.
const STATIC_LIBRARIES: [&str; 2] = ["libelf.a", "libz.a"];
const LIBRARY_PATH: &str = "LIBBPF_SYS_LIBRARY_PATH";
/// For a libelf with zstd: at the end of the linker's line, where it is looked at last.
const ZSTD_FLAG: &str = "-Clink-arg=-lzstd";

/// The cargo that runs this program, or the one in `PATH`.
pub fn command() -> Command {
    Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")))
}

/// Builds a program of a package, optimised and linked static, and returns its path. All programs are built this way, since
/// one of them must be: with other flags, everything that they share would be compiled twice.
pub fn build_static(workspace: &Workspace, package: &str, name: &str) -> Result<PathBuf> {
    build(workspace, package, name, &[], &[], Vec::new())
}

/// Builds the lab's program and, beside it, the agent, which it starts from there. Returns the lab's.
pub fn build_lab(workspace: &Workspace) -> Result<PathBuf> {
    build_agent(workspace)?;
    build_static(workspace, "netns-lab", "netns-lab")
}

/// It has C in it: libbpf, and what that calls.
fn build_agent(workspace: &Workspace) -> Result<PathBuf> {
    let directories: BTreeSet<_> = STATIC_LIBRARIES
        .iter()
        .filter_map(|name| Some(setup::find_library(name)?.parent()?.to_string_lossy().into_owned()))
        .collect();
    let path = directories.into_iter().collect::<Vec<_>>().join(":");
    let zstd: &[&str] = if setup::libelf_wants_zstd() { &[ZSTD_FLAG] } else { &[] };
    build(workspace, AGENT, AGENT, zstd, &["--features", "static"], vec![(LIBRARY_PATH, path.into())])
}

fn build(
    workspace: &Workspace,
    package: &str,
    name: &str,
    flags: &[&str],
    features: &[&str],
    mut environment: Vec<(&'static str, OsString)>,
) -> Result<PathBuf> {
    let flags = [&[STATIC_FLAG], flags].concat();
    let rustflags = ["CARGO_ENCODED_RUSTFLAGS", "RUSTFLAGS"]
        .into_iter()
        .find_map(|variable| Some((variable, env::var_os(variable)?)))
        .map(|(variable, old)| {
            let separator = if variable == "RUSTFLAGS" { " " } else { "\u{1f}" };
            (variable, flags.iter().fold(old, |old, flag| append(old, separator, flag)))
        });
    // Flags in the environment hide those of `--config`; without any, `--config` adds to those of the user's files.
    let config = format!("target.{STATIC_TARGET}.rustflags={flags:?}");
    let mut arguments = [&["--target", STATIC_TARGET], features].concat();
    if rustflags.is_none() {
        arguments.extend(["--config", &config]);
    }
    environment.extend(rustflags);
    build_with(workspace, package, name, &arguments, environment)
}

fn append(mut old: OsString, separator: &str, flag: &str) -> OsString {
    if !old.is_empty() {
        old.push(separator);
    }
    old.push(flag);
    old
}

fn build_with(
    workspace: &Workspace,
    package: &str,
    name: &str,
    arguments: &[&str],
    environment: Vec<(&'static str, OsString)>,
) -> Result<PathBuf> {
    let mut cargo = command();
    cargo
        .args(["build", "--release", "--package", package, "--bin", name])
        .arg("--message-format=json-render-diagnostics")
        .args(arguments)
        .arg("--manifest-path")
        .arg(workspace.root.join("Cargo.toml"))
        .envs(environment)
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let mut child = cargo.spawn().context("run cargo build")?;
    let mut built = None;
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            if let Some(path) = executable(&line.context("read from cargo build")?, name) {
                built = Some(path);
            }
        }
    }
    let status = child.wait().context("wait for cargo build")?;
    if !status.success() {
        bail!("{name} does not build: see above");
    }
    built.with_context(|| format!("cargo build did not say where it put {name}"))
}

/// The path of the program in one line of cargo's JSON messages, if it is that.
fn executable(line: &str, name: &str) -> Option<PathBuf> {
    let message: Value = serde_json::from_str(line).ok()?;
    (message["reason"] == "compiler-artifact" && message["target"]["name"] == name)
        .then(|| message["executable"].as_str().map(|path| Path::new(path).into()))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_program_is_found_among_the_messages() {
        let artifact = r#"{"reason":"compiler-artifact","target":{"name":"netns-lab"},"executable":"/t/release/netns-lab"}"#;
        let library = r#"{"reason":"compiler-artifact","target":{"name":"netns-lab"},"executable":null}"#;
        assert_eq!(executable(artifact, "netns-lab"), Some("/t/release/netns-lab".into()));
        assert_eq!(executable(artifact, "bench-lab"), None);
        assert_eq!(executable(library, "netns-lab"), None);
        assert_eq!(executable("warning: not JSON", "netns-lab"), None);
    }

    #[test]
    fn a_flag_is_added_to_those_of_the_user() {
        assert_eq!(append("-Cdebuginfo=0".into(), " ", "-Cx"), "-Cdebuginfo=0 -Cx");
        assert_eq!(append("".into(), " ", "-Cx"), "-Cx");
    }
}
