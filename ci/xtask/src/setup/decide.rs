// SPDX-License-Identifier: Apache-2.0
//! From what is needed and what is there to what is to be done: a function without effects.

use std::collections::BTreeSet;

use anyhow::{Result, bail};

use super::facts::{Facts, Family};
use super::need::{Need, Tool};

/// One thing that will be done to this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Mount a file system of the kernel.
    Mount {
        /// Its type.
        kind: &'static str,
        /// Where.
        at: &'static str,
    },
    /// Install packages by apt.
    Install(Vec<&'static str>),
    /// Fetch netperf into the build directory.
    FetchNetperf,
}

/// What will be done, and what is said besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// In this order.
    pub actions: Vec<Action>,
    /// For a person.
    pub notes: Vec<String>,
}

/// Decides.
///
/// # Errors
/// One line that says what is missing and what to do, when this program cannot do it itself.
pub fn decide(needs: &[Need], facts: &Facts) -> Result<Plan> {
    let mut plan = Plan::default();
    let root_needed = needs.iter().any(|need| need.needs_root());
    if root_needed && !facts.root {
        bail!("this needs root (network namespaces): run it again as root, for example in `sudo -s`");
    }
    if root_needed {
        plan.actions.extend(mounts(facts));
    }
    let missing = missing(needs, facts);
    if !missing.is_empty() {
        if facts.family != Family::Debian || !facts.apt || !facts.root {
            bail!(refusal(&missing, facts));
        }
        plan.actions.push(Action::Install(packages(&missing, Family::Debian)));
    }
    if needs.contains(&Need::Netperf) && facts.netperf.is_none() {
        if facts.family == Family::Debian && facts.apt {
            plan.actions.push(Action::FetchNetperf);
        } else {
            plan.notes.push("netperf is not installed: the comparison with it is left out".into());
        }
    }
    Ok(plan)
}

/// After everything is done: is it all there now?
///
/// # Errors
/// One line that names what is still missing.
pub fn still_missing(needs: &[Need], facts: &Facts) -> Result<()> {
    let missing = missing(needs, facts);
    if !missing.is_empty() {
        let names: Vec<_> = missing.iter().map(|tool| tool.name()).collect();
        bail!("still missing after the set-up: {}; install it by hand", names.join(", "));
    }
    Ok(())
}

fn mounts(facts: &Facts) -> impl Iterator<Item = Action> {
    let bpffs = (!facts.bpffs).then_some(Action::Mount { kind: "bpf", at: "/sys/fs/bpf" });
    let at = if facts.cgroup1 { "/sys/fs/cgroup/unified" } else { "/sys/fs/cgroup" };
    let cgroup2 = (!facts.cgroup2).then_some(Action::Mount { kind: "cgroup2", at });
    bpffs.into_iter().chain(cgroup2)
}

fn missing(needs: &[Need], facts: &Facts) -> BTreeSet<Tool> {
    needs.iter().flat_map(|need| need.tools()).copied().filter(|tool| !facts.tools.contains(tool)).collect()
}

fn packages(missing: &BTreeSet<Tool>, family: Family) -> Vec<&'static str> {
    let names: BTreeSet<_> = missing.iter().filter_map(|tool| tool.package(family)).collect();
    names.into_iter().collect()
}

fn refusal(missing: &BTreeSet<Tool>, facts: &Facts) -> String {
    let tools: Vec<_> = missing.iter().map(|tool| tool.name()).collect();
    let tools = tools.join(", ");
    let names = packages(missing, facts.family).join(" ");
    match facts.family {
        Family::Debian if facts.apt => {
            format!("missing: {tools}; run this again as root, or: apt-get install {names}")
        }
        Family::Debian => format!("missing: {tools}; install the packages {names}"),
        Family::Fedora => format!("missing: {tools}; install them: dnf install {names}"),
        Family::Arch => format!("missing: {tools}; install them: pacman -S {names}"),
        Family::Other => format!(
            "missing: {tools}; install what holds them (Debian's packages are named {})",
            packages(missing, Family::Debian).join(" ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with nothing: root, Debian, apt.
    fn bare() -> Facts {
        Facts {
            root: true,
            family: Family::Debian,
            apt: true,
            tools: BTreeSet::new(),
            netperf: None,
            bpffs: true,
            cgroup2: true,
            cgroup1: false,
        }
    }

    fn refused(needs: &[Need], facts: &Facts) -> String {
        let text = format!("{:#}", decide(needs, facts).expect_err("accepted"));
        assert!(!text.contains('\n'), "more than one line: {text}");
        text
    }

    #[test]
    fn each_missing_package_is_installed_once() {
        let plan = decide(&[Need::CniPlugins, Need::Ipset, Need::Ipset], &bare()).expect("a plan");
        assert_eq!(plan.actions, [Action::Install(vec!["containernetworking-plugins", "ipset"])]);
    }

    #[test]
    fn what_is_there_is_left_alone() {
        let mut facts = bare();
        facts.tools = [Tool::Program("ipset"), Tool::Program("iptables-restore")].into();
        assert_eq!(
            decide(&[Need::Root, Need::Ipset, Need::Iptables], &facts).expect("a plan"),
            Plan::default()
        );
        still_missing(&[Need::Ipset], &facts).expect("nothing is missing");
    }

    #[test]
    fn a_package_of_plugins_that_lacks_one_is_missing() {
        let mut facts = bare();
        facts.tools = [Tool::CniPlugin("bridge"), Tool::CniPlugin("host-local")].into();
        let plan = decide(&[Need::CniPlugins], &facts).expect("a plan");
        assert_eq!(plan.actions, [Action::Install(vec!["containernetworking-plugins"])]);
        assert!(
            still_missing(&[Need::CniPlugins], &facts)
                .expect_err("it is missing")
                .to_string()
                .contains("ptp")
        );
    }

    #[test]
    fn file_systems_are_mounted_where_they_are_absent() {
        let absent = Facts { bpffs: false, cgroup2: false, ..bare() };
        let mount = |kind, at| Action::Mount { kind, at };
        assert_eq!(
            decide(&[Need::Root], &absent).expect("a plan").actions,
            [mount("bpf", "/sys/fs/bpf"), mount("cgroup2", "/sys/fs/cgroup")]
        );
        let beside = Facts { cgroup1: true, bpffs: true, ..absent };
        assert_eq!(
            decide(&[Need::Root], &beside).expect("a plan").actions,
            [mount("cgroup2", "/sys/fs/cgroup/unified")]
        );
    }

    #[test]
    fn without_root_namespaces_are_refused_in_one_line() {
        assert!(refused(&[Need::Iptables], &Facts { root: false, ..bare() }).contains("root"));
    }

    #[test]
    fn without_root_a_virtual_machine_needs_no_root_but_its_packages_do() {
        let mut facts = Facts { root: false, ..bare() };
        assert!(refused(&[Need::Qemu], &facts).contains("apt-get install qemu-system-x86"));
        facts.tools = [Tool::Program("qemu-system-x86_64")].into();
        assert_eq!(decide(&[Need::Qemu], &facts).expect("a plan"), Plan::default());
    }

    #[test]
    fn elsewhere_the_exact_packages_are_named() {
        let needs = [Need::CniPlugins, Need::Qemu];
        let fedora = refused(&needs, &Facts { family: Family::Fedora, apt: false, ..bare() });
        assert!(fedora.contains("dnf install containernetworking-plugins qemu-system-x86-core"), "{fedora}");
        let arch = refused(&needs, &Facts { family: Family::Arch, apt: false, ..bare() });
        assert!(arch.contains("pacman -S cni-plugins qemu-system-x86"), "{arch}");
        let other = refused(&needs, &Facts { family: Family::Other, apt: false, ..bare() });
        assert!(other.contains("containernetworking-plugins qemu-system-x86"), "{other}");
    }

    #[test]
    fn what_the_agent_is_built_with_needs_no_root_once_it_is_there() {
        let facts = Facts { root: false, ..bare() };
        let refusal = refused(&[Need::AgentBuild], &facts);
        assert!(refusal.contains("clang-19") && refusal.contains("apt-get install"), "{refusal}");
        let there = Facts { tools: Need::AgentBuild.tools().iter().copied().collect(), ..facts };
        assert_eq!(decide(&[Need::AgentBuild], &there).expect("a plan"), Plan::default());
        let plan = decide(&[Need::AgentBuild], &bare()).expect("a plan");
        let [Action::Install(packages)] = &plan.actions[..] else { panic!("{plan:?}") };
        for package in ["clang-19", "gcc", "libelf-dev", "linux-libc-dev", "make", "pkg-config", "zlib1g-dev"]
        {
            assert!(packages.contains(&package), "{package}: {packages:?}");
        }
    }

    #[test]
    fn netperf_is_fetched_where_apt_is_and_is_nowhere_a_reason_to_stop() {
        let plan = decide(&[Need::Netperf], &bare()).expect("a plan");
        assert_eq!(plan.actions, [Action::FetchNetperf]);
        let there = Facts { netperf: Some("/usr/bin".into()), ..bare() };
        assert_eq!(decide(&[Need::Netperf], &there).expect("a plan"), Plan::default());
        let plan =
            decide(&[Need::Netperf], &Facts { family: Family::Other, apt: false, ..bare() }).expect("a plan");
        assert!(plan.actions.is_empty() && plan.notes[0].contains("netperf"));
    }
}
