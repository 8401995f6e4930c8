// SPDX-License-Identifier: Apache-2.0
//! Versions of the programs that take part in a run, each as it states it itself.

use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

use crate::cni::PluginPath;
use crate::plan::SelfCheckPlan;
use crate::tool;

/// A program that does not state its version within this is left out.
const LIMIT: Duration = Duration::from_secs(5);

/// The plugins that subjects use.
const PLUGINS: [&str; 4] = ["bridge", "host-local", "ipvlan", "ptp"];

/// Versions by program; what is not installed is not in it.
pub fn versions(self_check: Option<&SelfCheckPlan>) -> BTreeMap<String, String> {
    let mut versions = BTreeMap::new();
    let mut add = |name: String, version: Option<String>| {
        if let Some(version) = version {
            versions.insert(name, version);
        }
    };
    for (program, argument) in [("iptables", "--version"), ("ipset", "--version")] {
        add(program.into(), first_line(Command::new(program).arg(argument)));
    }
    for plugin in PLUGINS {
        // Without CNI_COMMAND a reference plugin says what it is.
        let path = PluginPath::from_environment().find(plugin).ok();
        add(
            format!("CNI {plugin}"),
            path.and_then(|p| first_line(Command::new(p).env_remove("CNI_COMMAND"))),
        );
    }
    if let Some(check) = self_check {
        add("netperf".into(), netperf(&check.netperf));
    }
    versions
}

/// What `netperf -V` says.
pub fn netperf(program: &str) -> Option<String> {
    first_line(Command::new(program).arg("-V"))
}

fn first_line(command: &mut Command) -> Option<String> {
    let said = tool::run(command, b"", LIMIT).ok()?;
    let text = if said.stdout.trim_ascii().is_empty() { said.stderr } else { said.stdout };
    let line = String::from_utf8_lossy(&text).lines().next()?.trim().to_owned();
    (!line.is_empty()).then_some(line)
}
