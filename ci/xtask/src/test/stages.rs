// SPDX-License-Identifier: Apache-2.0
//! The stages of `cargo xtask test`, in order. A new stage is a line in [`STAGES`] and a function.

use std::fs;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use super::counts::{self, Counts};
use crate::args::{KERNELS, Scenarios};
use crate::setup::{self, Need};
use crate::workspace::Workspace;
use crate::{bench, cargo, gate_proof, lab, tidy};

/// One stage.
pub struct Stage {
    /// A word for the summary.
    pub name: &'static str,
    /// What it does, for a person.
    pub what: &'static str,
    /// It is part of `--fast`: it needs neither root (where the build's packages are there) nor a lab.
    pub fast: bool,
    /// Runs it; the second argument is whether `--fast` was given.
    pub run: fn(&Workspace, bool) -> Result<Counts>,
}

/// All stages. What is quick and fails often comes first.
pub const STAGES: &[Stage] = &[
    Stage { name: "setup", what: "what this machine lacks is installed", fast: true, run: set_up },
    Stage { name: "rustfmt", what: "every file is formatted", fast: true, run: rustfmt },
    Stage { name: "tidy", what: "arrows, licence lines, docs, names, test habits", fast: true, run: tidied },
    Stage { name: "clippy", what: "no lint warns, in code and tests", fast: true, run: clippy },
    Stage { name: "tests", what: "unit and integration tests of every crate", fast: true, run: tests },
    Stage { name: "scenarios", what: "real packets over every subject", fast: false, run: scenarios },
    Stage {
        name: "scenarios 6.1",
        what: "our agent on a kernel without TCX, in the virtual machine",
        fast: false,
        run: scenarios_vm,
    },
    Stage { name: "coverage", what: "reports/coverage.md is up to date", fast: false, run: coverage },
    Stage {
        name: "bench smoke",
        what: "the whole bench, a few slices per subject",
        fast: false,
        run: bench_smoke,
    },
    Stage {
        name: "gate proof",
        what: "virtual time repeats itself, the gate finds a slowed subject and no other",
        fast: false,
        run: gate_proof,
    },
    Stage { name: "gate", what: "no subject is slower than its baseline", fast: false, run: gate },
];

/// The shortest run of the suite that still passes through all of it.
const SMOKE: &[&str] = &["--smoke"];

/// Without root nothing is installed: what the build lacks is then an error with the packages' names.
fn set_up(workspace: &Workspace, fast: bool) -> Result<Counts> {
    let all = [&lab::HOST_SUBJECTS[..], &[Need::Qemu, Need::Kernel, Need::Containerd]].concat();
    setup::run(workspace, if fast { &[Need::AgentBuild] } else { &all })?;
    Ok(Counts::one_passed())
}

fn rustfmt(workspace: &Workspace, _: bool) -> Result<Counts> {
    component("rustfmt", "fmt")?;
    cargo_stage(workspace, &["fmt", "--all", "--check"])
}

fn tidied(workspace: &Workspace, _: bool) -> Result<Counts> {
    match tidy::run(workspace)? {
        0 => Ok(Counts::one_passed()),
        _ => bail!("see above"),
    }
}

fn clippy(workspace: &Workspace, _: bool) -> Result<Counts> {
    component("clippy", "clippy")?;
    cargo_stage(
        workspace,
        &["clippy", "--quiet", "--workspace", "--all-targets", "--no-deps", "--", "-D", "warnings"],
    )
}

fn tests(workspace: &Workspace, fast: bool) -> Result<Counts> {
    let mut command = cargo::command();
    command.args(["test", "--workspace", "--no-fail-fast"]).current_dir(&workspace.root);
    if fast {
        // Under CI a test fails where it lacks root; here that is what was asked for.
        command.env_remove("CI");
    }
    counts::run(&mut command)
}

fn scenarios(workspace: &Workspace, _: bool) -> Result<Counts> {
    run_scenarios(workspace, Scenarios { filters: Vec::new(), list: false, json: false, vm: None })
}

/// Only those of our agent: on the host its programs are attached by TCX where the kernel has that.
fn scenarios_vm(workspace: &Workspace, _: bool) -> Result<Counts> {
    let filters = vec!["ciliate".into()];
    run_scenarios(workspace, Scenarios { filters, list: false, json: false, vm: Some(KERNELS[0].into()) })
}

fn run_scenarios(workspace: &Workspace, which: Scenarios) -> Result<Counts> {
    let binary = cargo::build_lab(workspace)?;
    counts::run(&mut lab::scenario_command(&binary, workspace, &which, lab::on_ci()))
}

fn coverage(workspace: &Workspace, _: bool) -> Result<Counts> {
    match lab::coverage(workspace, true)? {
        0 => Ok(Counts::one_passed()),
        _ => bail!("see above"),
    }
}

fn bench_smoke(workspace: &Workspace, _: bool) -> Result<Counts> {
    let out = workspace.lab_directory().join("smoke");
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove the last {}", out.display()))?;
    }
    let mut args: Vec<_> = SMOKE.iter().map(std::ffi::OsString::from).collect();
    args.extend(["--out".into(), out.clone().into_os_string()]);
    let code = bench::run(workspace, &args)?;
    if code != 0 {
        bail!("the bench ended with code {code}");
    }
    for file in ["samples.json", "summary.json", "report.md", "report.html"] {
        let path = out.join(file);
        let length = fs::metadata(&path).with_context(|| format!("the bench has not written {file}"))?.len();
        if length == 0 {
            bail!("{} is empty", path.display());
        }
    }
    Ok(Counts::one_passed())
}

fn gate_proof(workspace: &Workspace, _: bool) -> Result<Counts> {
    gate_proof::run(workspace, &KERNELS.map(String::from), 1)?;
    Ok(Counts { passed: KERNELS.len() as u64, ..Counts::default() })
}

/// Every committed baseline of the virtual machine: those of a host are for that host. Our agent's subjects have one of
/// their own: their machine is larger and is booted several times.
fn gate(workspace: &Workspace, _: bool) -> Result<Counts> {
    let mut counts = Counts::default();
    for (kernel, of) in KERNELS.into_iter().flat_map(|kernel| ["", "-ciliate"].map(|of| (kernel, of))) {
        let baseline = workspace.root.join(format!("reports/baselines/vm-{kernel}-virtual{of}.json"));
        let out = workspace.lab_directory().join("gate");
        let code = bench::run(
            workspace,
            &["--gate".as_ref(), baseline.as_os_str(), "--out".as_ref(), out.as_os_str()],
        )?;
        if code != 0 {
            bail!("{}: the bench ended with code {code}", baseline.display());
        }
        counts += Counts::one_passed();
    }
    Ok(counts)
}

fn cargo_stage(workspace: &Workspace, args: &[&str]) -> Result<Counts> {
    let status = cargo::command().args(args).current_dir(&workspace.root).status().context("run cargo")?;
    if !status.success() {
        bail!("cargo {}: see above", args.first().copied().unwrap_or_default());
    }
    Ok(Counts::one_passed())
}

/// A toolchain of rustup's minimal profile lacks these two; rustup itself can add them.
fn component(name: &str, subcommand: &str) -> Result<()> {
    let works = || {
        cargo::command()
            .args([subcommand, "--version"])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if works() {
        return Ok(());
    }
    eprintln!("setup: rustup component add {name}");
    let added = Command::new("rustup").args(["component", "add", name]).status();
    if !added.is_ok_and(|status| status.success()) || !works() {
        bail!("{name} is missing: install it with `rustup component add {name}`");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_stage_has_a_name_of_its_own_and_the_set_up_comes_first() {
        let mut names: Vec<_> = STAGES.iter().map(|s| s.name).collect();
        assert_eq!(names[0], "setup");
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), STAGES.len());
    }

    #[test]
    fn what_needs_root_is_not_fast() {
        for name in ["scenarios", "bench smoke", "gate"] {
            assert!(STAGES.iter().any(|s| s.name == name && !s.fast), "{name}");
        }
    }
}
