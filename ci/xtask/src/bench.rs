// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask bench`: builds the suite, sets up what its arguments need, runs it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::setup::{self, Need};
use crate::workspace::Workspace;
use crate::{cargo, child};

/// Variables by which the suite is told where things are.
const LAB_BINARY: &str = "CILIATE_LAB_BINARY";
const CACHE: &str = "CILIATE_LAB_CACHE";
const NETPERF: &str = "CILIATE_NETPERF_DIR";

/// Runs the suite with these arguments.
pub fn run<S: AsRef<OsStr>>(workspace: &Workspace, args: &[S]) -> Result<u8> {
    let suite = cargo::build_static(workspace, "bench-lab", "bench-lab")?;
    if asks_for_help(args) {
        return child::run(Command::new(suite).args(args));
    }
    let needs = match needs(&suite, args)? {
        Ok(needs) => needs,
        Err(code) => return Ok(code),
    };
    let found = setup::run(workspace, &needs)?;
    let lab = if needs.contains(&Need::AgentBuild) {
        cargo::build_lab(workspace)?
    } else {
        cargo::build_static(workspace, "netns-lab", "netns-lab")?
    };
    let mut bench = command(&suite, &lab, workspace, found.netperf.as_deref());
    child::run(bench.args(args))
}

/// The suite with the places it is told of.
fn command(suite: &Path, lab: &Path, workspace: &Workspace, netperf: Option<&Path>) -> Command {
    let mut command = Command::new(suite);
    command.env(LAB_BINARY, lab).env(CACHE, workspace.cache());
    match netperf {
        Some(directory) => command.env(NETPERF, directory),
        None => command.env_remove(NETPERF),
    };
    command
}

fn asks_for_help<S: AsRef<OsStr>>(args: &[S]) -> bool {
    args.iter()
        .map(AsRef::as_ref)
        .take_while(|a| *a != "--")
        .any(|a| ["-h", "--help", "-V", "--version"].iter().any(|help| a == *help))
}

/// What a run with these arguments needs; or the exit code of a suite that refused them.
fn needs<S: AsRef<OsStr>>(suite: &PathBuf, args: &[S]) -> Result<std::result::Result<Vec<Need>, u8>> {
    let output = Command::new(suite)
        .arg("--print-needs")
        .args(args)
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("run {}", suite.display()))?;
    if !output.status.success() {
        return Ok(Err(output.status.code().and_then(|c| u8::try_from(c).ok()).unwrap_or(1)));
    }
    String::from_utf8(output.stdout)
        .context("bench-lab --print-needs")?
        .lines()
        .map(|line| line.parse().with_context(|| format!("bench-lab --print-needs says {line:?}")))
        .collect::<Result<Vec<_>>>()
        .map(Ok)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_asked_for_only_before_a_double_dash() {
        assert!(asks_for_help(&["--quick", "--help"]));
        assert!(asks_for_help(&["-h"]));
        assert!(!asks_for_help(&["--quick", "--", "--help"]));
        assert!(!asks_for_help::<&str>(&[]));
    }

    /// Written by a process of its own: what another test of this process starts in that moment would inherit the file
    /// open for writing, and the kernel refuses to run such a file (ETXTBSY).
    fn suite(script: &str) -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("temporary directory");
        let path = directory.path().join("suite");
        let written = Command::new("sh")
            .args(["-c", r##"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""##])
            .args([path.as_os_str(), script.as_ref()])
            .status()
            .expect("sh runs");
        assert!(written.success());
        (directory, path)
    }

    #[test]
    fn needs_are_asked_for_with_the_arguments_of_the_run() {
        let (_keep, path) =
            suite("[ \"$*\" = '--print-needs --quick' ] && printf 'cni-plugins\\noptional:netperf\\n'");
        assert_eq!(needs(&path, &["--quick"]).expect("it ran"), Ok(vec![Need::CniPlugins, Need::Netperf]));
    }

    #[test]
    fn a_suite_that_refuses_its_arguments_ends_the_run_with_its_own_code() {
        let (_keep, path) = suite("exit 2");
        assert_eq!(needs(&path, &["--nonsense"]).expect("it ran"), Err(2));
    }

    #[test]
    fn a_need_that_nobody_knows_is_an_error_that_quotes_it() {
        let (_keep, path) = suite("echo unobtainium");
        let error = needs(&path, &["x"]).expect_err("accepted");
        assert!(format!("{error:#}").contains("unobtainium"), "{error:#}");
    }
}
