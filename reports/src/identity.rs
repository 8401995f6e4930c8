// SPDX-License-Identifier: Apache-2.0
//! What a baseline is valid for, and how far a run's environment may be from it.

use std::collections::BTreeMap;

use netns_lab::plan::{Phase, Plan, WorkloadSpec};
use netns_lab::record::{Clock, Executor, RunRecord};
use serde::{Deserialize, Serialize};

/// The part of an environment and a plan on which ratios depend.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// What ran it.
    pub executor: Executor,
    /// What its nanoseconds are.
    pub clock: Clock,
    /// Major and minor version of the kernel, for example `6.12`.
    pub kernel_series: String,
    /// The whole version: the guest's package, or `uname -r` on a host.
    pub kernel: String,
    /// CPU model.
    pub cpu: String,
    /// QEMU's version line; empty on a host.
    pub qemu: String,
    /// QEMU's arguments; empty on a host.
    pub qemu_args: Vec<String>,
    /// `kvm` or `tcg`; empty on a host.
    pub accel: String,
    /// The guest's command line; empty on a host.
    pub cmdline: String,
    /// Versions of the programs that took part.
    pub tools: BTreeMap<String, String>,
    /// Scheduling, governor, mitigations, sysctls, offloads.
    pub settings: BTreeMap<String, String>,
    /// What was run: a gate runs the same again.
    pub plan: Plan,
}

/// How a run's environment differs from a baseline's.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Differences {
    /// Figures of the two cannot be compared.
    pub hard: Vec<String>,
    /// They can, with doubled bands.
    pub soft: Vec<String>,
}

impl Identity {
    /// The identity of a run.
    pub fn of(run: &RunRecord) -> Self {
        let e = &run.environment;
        let vm = e.vm.clone().unwrap_or_default();
        let on_host = e.vm.is_none();
        let mut settings = BTreeMap::from([
            ("scheduler".to_owned(), e.scheduler.clone()),
            ("governor".to_owned(), e.governor.clone()),
            ("clocksource".to_owned(), e.clocksource.clone()),
        ]);
        for (prefix, map) in
            [("mitigation", &e.mitigations), ("sysctl", &e.sysctls), ("offload", &e.offloads)]
        {
            settings.extend(map.iter().map(|(name, value)| (format!("{prefix} {name}"), value.clone())));
        }
        Self {
            executor: run.executor,
            clock: run.clock,
            kernel_series: if on_host { series(&e.kernel) } else { vm.kernel_series },
            kernel: if on_host { e.kernel.clone() } else { vm.kernel_package },
            cpu: e.cpu.clone(),
            qemu: vm.qemu,
            qemu_args: vm.qemu_args,
            accel: vm.accel,
            cmdline: vm.cmdline,
            tools: e.tools.clone(),
            settings,
            // Of this machine, and not of what is compared.
            plan: Plan { self_check: None, agent: None, ..run.plan.clone() },
        }
    }

    /// How `now` differs from this baseline.
    pub fn differences(&self, now: &Self) -> Differences {
        let mut differences = Differences::default();
        let hard = [
            ("executor", plain(&self.executor), plain(&now.executor)),
            ("clock", plain(&self.clock), plain(&now.clock)),
            ("kernel series", self.kernel_series.clone(), now.kernel_series.clone()),
            ("accelerator", self.accel.clone(), now.accel.clone()),
            ("QEMU arguments", self.qemu_args.join(" "), now.qemu_args.join(" ")),
            ("seeds", self.plan.seeds.to_string(), now.plan.seeds.to_string()),
            ("kernel command line", self.cmdline.clone(), now.cmdline.clone()),
        ];
        let soft = [
            ("kernel", self.kernel.clone(), now.kernel.clone()),
            ("CPU", self.cpu.clone(), now.cpu.clone()),
            ("QEMU", self.qemu.clone(), now.qemu.clone()),
        ];
        differences.hard.extend(hard.into_iter().filter_map(|(what, was, is)| differs(what, &was, &is)));
        differences.hard.extend(self.other_workloads(now));
        differences.soft.extend(soft.into_iter().filter_map(|(what, was, is)| differs(what, &was, &is)));
        differences.soft.extend(other_values("version of", &self.tools, &now.tools));
        differences.soft.extend(other_values("setting", &self.settings, &now.settings));
        differences
    }

    /// A phase of the baseline with other sizes now, or without any. Phases that are only in the run do no harm.
    fn other_workloads(&self, now: &Self) -> Vec<String> {
        let find = |was: &Phase| {
            let same = |is: &&Phase| is.workload.kind == was.workload.kind && is.placement == was.placement;
            now.plan.phases.iter().find(same)
        };
        self.plan
            .phases
            .iter()
            .filter_map(|was| {
                let what = format!("{} at {}", was.workload.kind, was.placement);
                match find(was) {
                    None => Some(format!("{what}: in the baseline, not in this run")),
                    Some(is) => differs(&what, &sizes(&was.workload), &sizes(&is.workload)),
                }
            })
            .collect()
    }
}

fn sizes(spec: &WorkloadSpec) -> String {
    format!(
        "{} byte requests, {} byte responses, {} connections, {} transactions per slice",
        spec.request_bytes, spec.response_bytes, spec.connections, spec.transactions_per_slice
    )
}

fn other_values(what: &str, was: &BTreeMap<String, String>, is: &BTreeMap<String, String>) -> Vec<String> {
    let absent = String::from("absent");
    let names: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let pair = |name: &String| {
        let (was, is) = (was.get(name).unwrap_or(&absent), is.get(name).unwrap_or(&absent));
        differs(&format!("{what} {name}"), was, is)
    };
    names.into_iter().filter_map(pair).collect()
}

fn differs(what: &str, was: &str, is: &str) -> Option<String> {
    (was != is).then(|| format!("{what}: baseline `{was}`, this run `{is}`"))
}

/// An enum's name as it is in the files.
fn plain<T: Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        other => format!("{other:?}"),
    }
}

/// `6.12` of `6.12.9-cloud-amd64`.
fn series(kernel: &str) -> String {
    kernel.split('.').take(2).collect::<Vec<_>>().join(".")
}
