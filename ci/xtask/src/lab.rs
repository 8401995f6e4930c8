// SPDX-License-Identifier: Apache-2.0
//! `cargo xtask lab`, `scenarios` and `coverage`: sets up, builds the lab binary and runs it.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::args::{Demo, Lab, Scenarios};
use crate::setup::{self, Need};
use crate::workspace::Workspace;
use crate::{cargo, child};

/// What the subjects of the lab are made with on the host. These packages are small: which subject needs which of
/// them is the lab's own knowledge and is not told twice.
pub const HOST_SUBJECTS: [Need; 5] =
    [Need::Root, Need::CniPlugins, Need::Iptables, Need::Ipset, Need::AgentBuild];

/// Subjects that any kernel which this project supports can run: under CI they must, a reason is no excuse.
const MUST_RUN: &str = "loopback,veth,routed*,bridge,ptp,vxlan,ciliate-*,calico-like-*,kube-proxy-like-*";

/// `cargo xtask lab …`.
pub fn run(workspace: &Workspace, command: &Lab) -> Result<u8> {
    match command {
        Lab::Up { .. } => {
            setup::run(workspace, &HOST_SUBJECTS)?;
        }
        Lab::Clean { .. } => {
            setup::run(workspace, &[Need::Root])?;
        }
        Lab::Ls | Lab::Subjects => {}
    }
    let mut lab = Command::new(match command {
        Lab::Up { .. } => cargo::build_lab(workspace)?,
        Lab::Ls | Lab::Clean { .. } | Lab::Subjects => {
            cargo::build_static(workspace, "netns-lab", "netns-lab")?
        }
    });
    match command {
        Lab::Up { subject } => lab.args(["up", subject]),
        Lab::Ls => lab.arg("ls"),
        Lab::Clean { all, labs } => lab.arg("clean").args(all.then_some("--all")).arg("--").args(labs),
        Lab::Subjects => lab.arg("subjects"),
    };
    child::run(&mut lab)
}

/// `cargo xtask demo`.
pub fn demo(workspace: &Workspace, args: &Demo) -> Result<u8> {
    setup::run(workspace, &[Need::Root, Need::AgentBuild])?;
    let mut demo = Command::new(cargo::build_lab(workspace)?);
    demo.arg("demo");
    if let Some(policy) = &args.policy {
        demo.arg("--policy").arg(policy);
    }
    child::run(&mut demo)
}

/// `cargo xtask scenarios …`.
pub fn scenarios(workspace: &Workspace, args: &Scenarios) -> Result<u8> {
    if !args.list {
        let vm: &[Need] = if args.vm.is_some() { &[Need::Qemu, Need::Kernel] } else { &[] };
        setup::run(workspace, &[&HOST_SUBJECTS[..], vm].concat())?;
    }
    let lab = cargo::build_lab(workspace)?;
    child::run(&mut scenario_command(&lab, workspace, args, on_ci()))
}

/// Whether a machine that should be able to do everything runs this.
pub fn on_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// The lab binary with the arguments that run the scenarios of this repository.
pub fn scenario_command(lab: &Path, workspace: &Workspace, args: &Scenarios, must_run: bool) -> Command {
    let mut command = Command::new(lab);
    command.arg("scenario");
    if args.list {
        command.arg("--list");
    }
    if args.json {
        command.arg("--json");
    }
    if must_run {
        command.args(["--require", MUST_RUN]);
    }
    if let Some(series) = &args.vm {
        command.args(["--vm", series]).arg("--cache").arg(workspace.cache());
    }
    command.arg("--dir").arg(workspace.root.join("scenarios")).arg("--").args(&args.filters);
    command
}

/// `cargo xtask coverage`. The page is a report: the crate `reports` writes it.
pub fn coverage(workspace: &Workspace, check: bool) -> Result<u8> {
    let mut coverage = Command::new(cargo::build_static(workspace, "reports", "coverage")?);
    if check {
        coverage.arg("--check");
    }
    coverage.arg(workspace.root.join("scenarios")).arg(workspace.root.join("reports/coverage.md"));
    child::run(&mut coverage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(command: &Command) -> Vec<String> {
        command.get_args().map(|a| a.to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn filters_follow_a_double_dash_so_that_none_is_taken_for_an_option() {
        let args = Scenarios { filters: vec!["--udp".into()], list: true, json: false, vm: None };
        let command = scenario_command(Path::new("lab"), &workspace(), &args, false);
        assert_eq!(arguments(&command), ["scenario", "--list", "--dir", "/r/scenarios", "--", "--udp"]);
    }

    #[test]
    fn a_virtual_machine_is_told_where_kernels_are_kept() {
        let args = Scenarios { filters: vec![], list: false, json: false, vm: Some("6.1".into()) };
        let command = scenario_command(Path::new("lab"), &workspace(), &args, false);
        assert!(arguments(&command).windows(4).any(|w| w == ["--vm", "6.1", "--cache", "/t/lab/cache"]));
    }

    fn workspace() -> Workspace {
        Workspace { root: "/r".into(), target: "/t".into(), packages: Vec::new() }
    }

    #[test]
    fn under_ci_the_subjects_of_every_kernel_are_required() {
        let args = Scenarios { filters: vec![], list: false, json: false, vm: None };
        let command = scenario_command(Path::new("lab"), &workspace(), &args, true);
        assert!(arguments(&command).windows(2).any(|w| w == ["--require", MUST_RUN]));
    }
}
