// SPDX-License-Identifier: Apache-2.0
//! What is compared with what: the arguments, or a baseline, turned into runs on executors.

use std::sync::atomic::AtomicBool;

use anyhow::{Context, Error, Result, bail};
use netns_lab::plan::{Plan, SelfCheckPlan};
use netns_lab::probe::Capability;
use netns_lab::record::{Clock, Executor, RunRecord};
use netns_lab::subject;
use netns_lab::vm::{KernelSeries, VmTime};
use reports::Baseline;

use crate::args::{Args, ExecutorChoice, VmTimeChoice};
use crate::measure::{self, Places, stopped};
use crate::output::Output;
use crate::suite::{self, Timing};

/// Pairs of slices with netperf, per workload.
const SELF_CHECK_ROUNDS: u32 = 12;

/// A comparison that can be run.
pub struct Comparison {
    on_host: Option<Plan>,
    in_vm: Option<InVm>,
    baseline: Option<Baseline>,
}

/// The part of a comparison that is run in the VM.
struct InVm {
    series: Vec<KernelSeries>,
    time: VmTime,
    /// With all subjects that may be measured there.
    plan: Plan,
    /// Measure only what the host could not, and what that is compared with.
    only_what_host_lacks: bool,
}

/// The records of a comparison, up to the failure that ended it.
pub struct Outcome {
    /// What was measured.
    pub runs: Vec<RunRecord>,
    /// What ended it early.
    pub error: Option<Error>,
}

impl Comparison {
    /// Decides what to run.
    ///
    /// # Errors
    /// What cannot be, with the option that says otherwise.
    pub fn of(args: &Args) -> Result<Self> {
        match (&args.from, &args.gate) {
            (Some(_), _) => Ok(Self { on_host: None, in_vm: None, baseline: None }),
            (None, Some(path)) => Self::of_baseline(args, Baseline::read(path)?),
            (None, None) => Self::of_arguments(args),
        }
    }

    fn of_arguments(args: &Args) -> Result<Self> {
        if args.executor == ExecutorChoice::Host && !args.vm_kernel.is_empty() {
            bail!("--vm-kernel needs --executor vm or auto");
        }
        let catalogue: Vec<String> = subject::catalogue().into_iter().map(|spec| spec.name).collect();
        let subjects = suite::subjects(&args.subjects, &catalogue)?;
        let time = match args.vm_time {
            VmTimeChoice::Virtual => VmTime::Virtual,
            VmTimeChoice::Wall => VmTime::Wall,
        };
        let timing = if time == VmTime::Virtual { Timing::Virtual } else { Timing::Wall };
        let on_host = match args.executor {
            ExecutorChoice::Vm => None,
            _ => Some(suite::plan(args, subjects.clone(), Timing::Wall, None)?),
        };
        let in_vm = match args.executor {
            ExecutorChoice::Host => None,
            ExecutorChoice::Vm => Some((subjects, false)),
            // A choice of cores that virtual time does not have is no error here: the VM is only the stand-in.
            ExecutorChoice::Auto => Some((suite::with_companions(&subjects, &catalogue), true)),
        };
        let in_vm = in_vm
            .map(|(subjects, stand_in)| -> Result<InVm> {
                let plan = if stand_in {
                    suite::stand_in_plan(args, subjects, timing)?
                } else {
                    suite::plan(args, subjects, timing, None)?
                };
                Ok(InVm { series: series(&args.vm_kernel)?, time, plan, only_what_host_lacks: stand_in })
            })
            .transpose()?;
        Ok(Self { on_host, in_vm, baseline: None })
    }

    /// The run that can be compared with a baseline is the one that made it.
    fn of_baseline(args: &Args, baseline: Baseline) -> Result<Self> {
        let plan = Plan { handicap: args.handicap.clone(), ..baseline.identity.plan.clone() };
        if let Some(handicap) = &plan.handicap
            && !plan.subjects.contains(&handicap.subject)
        {
            bail!("--handicap: {:?} is not among the subjects of the baseline", handicap.subject);
        }
        let (on_host, in_vm) = match baseline.identity.executor {
            Executor::Host => (Some(plan), None),
            Executor::Vm => {
                let time = match baseline.identity.clock {
                    Clock::Virtual => VmTime::Virtual,
                    Clock::Wall => VmTime::Wall,
                };
                let series = series(std::slice::from_ref(&baseline.identity.kernel_series))?;
                (None, Some(InVm { series, time, plan, only_what_host_lacks: false }))
            }
        };
        Ok(Self { on_host, in_vm, baseline: Some(baseline) })
    }

    /// What the gate compares with.
    pub fn baseline(&self) -> Option<&Baseline> {
        self.baseline.as_ref()
    }

    /// What this needs of the machine, in the words of `cargo xtask`.
    pub fn needs(&self) -> Vec<String> {
        let mut needs: Vec<String> = Vec::new();
        if self.on_host.is_some() || self.in_vm.is_some() {
            needs.extend(["cni-plugins", "iptables", "ipset"].map(String::from));
        }
        let plans = self.on_host.iter().chain(self.in_vm.iter().map(|vm| &vm.plan));
        if plans.flat_map(|plan| &plan.subjects).any(|subject| needs_agent(subject)) {
            needs.push("agent-build".into());
        }
        if let Some(vm) = &self.in_vm
            && (!vm.only_what_host_lacks || crate::needs::host_lacks_some_of(self.on_host.as_ref()))
        {
            needs.push("qemu".into());
            needs.extend(vm.series.iter().map(|series| format!("kernel-{series}")));
        }
        if self.on_host.is_some() && self.baseline.is_none() {
            needs.push("optional:netperf".into());
        }
        needs
    }

    /// Measures. What was measured before a failure is kept.
    pub fn measure(&self, args: &Args, places: &Places, output: &Output, stop: &AtomicBool) -> Outcome {
        let mut runs = Vec::new();
        let error = self.measure_into(&mut runs, args, places, output, stop).err();
        Outcome { runs, error }
    }

    fn measure_into(
        &self,
        runs: &mut Vec<RunRecord>,
        args: &Args,
        places: &Places,
        output: &Output,
        stop: &AtomicBool,
    ) -> Result<()> {
        if let Some(plan) = &self.on_host {
            let mut plan = plan.clone();
            if plan.self_check.is_none() && self.baseline.is_none() && !args.no_netperf {
                plan.self_check = self_check(places, args.smoke)?;
            }
            runs.push(measure::on_host(places, &plan, output, stop)?);
        }
        let Some(vm) = &self.in_vm else { return Ok(()) };
        let Some(plan) = vm.plan_after(runs.first()) else { return Ok(()) };
        for series in &vm.series {
            if stopped(stop) {
                break;
            }
            runs.push(measure::in_vm(places, &plan, *series, vm.time, stop)?);
        }
        Ok(())
    }
}

impl InVm {
    /// The plan, once it is known what the host has measured; `None` when that was everything.
    fn plan_after(&self, host: Option<&RunRecord>) -> Option<Plan> {
        let mut plan = self.plan.clone();
        if let Some(host) = host.filter(|_| self.only_what_host_lacks) {
            let lacks = |name: &String| host.not_run.iter().any(|not_run| not_run.subject == *name);
            if host.interrupted || !plan.subjects.iter().any(lacks) {
                return None;
            }
            plan.subjects.retain(|name| lacks(name) || suite::VM_COMPANIONS.contains(&name.as_str()));
            if plan.handicap.as_ref().is_some_and(|handicap| !plan.subjects.contains(&handicap.subject)) {
                plan.handicap = None;
            }
        }
        Some(plan)
    }
}

/// Whether a subject is our agent.
fn needs_agent(subject: &str) -> bool {
    subject::find(subject).is_ok_and(|spec| spec.needs.contains(&Capability::Agent))
}

fn series(names: &[String]) -> Result<Vec<KernelSeries>> {
    let names = if names.is_empty() { vec!["6.12".to_owned()] } else { names.to_vec() };
    names
        .iter()
        .map(|name| {
            KernelSeries::ALL
                .into_iter()
                .find(|series| series.name() == name)
                .with_context(|| format!("--vm-kernel: there is no series {name:?}; it is 6.1 or 6.12"))
        })
        .collect()
}

/// netperf and netserver, if `cargo xtask bench` has them.
fn self_check(places: &Places, smoke: bool) -> Result<Option<SelfCheckPlan>> {
    let Some(dir) = &places.netperf_dir else { return Ok(None) };
    let path = |name: &str| -> Result<String> {
        let path = dir.join(name);
        path.to_str().map(String::from).with_context(|| format!("{} is not UTF-8", path.display()))
    };
    let rounds = if smoke { 2 } else { SELF_CHECK_ROUNDS };
    Ok(Some(SelfCheckPlan { netperf: path("netperf")?, netserver: path("netserver")?, rounds }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use netns_lab::plan::{BASELINE, BASELINE_AGAIN, SCHEMA};
    use netns_lab::record::{Environment, NotRun, SelfCheck};

    use super::*;

    fn comparison(words: &[&str]) -> Result<Comparison> {
        Comparison::of(&Args::try_parse_from([&["bench"], words].concat()).unwrap())
    }

    fn host_record(not_run: &[&str]) -> RunRecord {
        let not_run =
            not_run.iter().map(|name| NotRun { subject: (*name).into(), reason: "kernel lacks it".into() });
        RunRecord {
            executor: Executor::Host,
            clock: Clock::Wall,
            plan: Plan {
                schema: SCHEMA,
                subjects: Vec::new(),
                phases: Vec::new(),
                self_check: None,
                handicap: None,
                agent: None,
                seeds: 1,
            },
            environment: Environment::default(),
            subjects: Vec::new(),
            not_run: not_run.collect(),
            cells: Vec::new(),
            self_check: SelfCheck::default(),
            agent: None,
            interrupted: false,
        }
    }

    #[test]
    fn the_vm_runs_what_the_host_lacks_with_its_own_baselines() {
        let auto = comparison(&[]).unwrap();
        let plan = auto.in_vm.as_ref().unwrap().plan_after(Some(&host_record(&["netkit"]))).unwrap();
        let mut subjects = plan.subjects.clone();
        subjects.sort();
        assert_eq!(subjects, ["bridge", "netkit", BASELINE, BASELINE_AGAIN, "veth"]);
    }

    #[test]
    fn the_vm_stays_off_when_the_host_ran_everything() {
        let auto = comparison(&[]).unwrap();
        assert!(auto.in_vm.as_ref().unwrap().plan_after(Some(&host_record(&[]))).is_none());
    }

    #[test]
    fn asking_for_the_vm_measures_everything_there() {
        let vm = comparison(&["--executor", "vm", "--vm-kernel", "6.1,6.12"]).unwrap();
        assert!(vm.on_host.is_none());
        let in_vm = vm.in_vm.as_ref().unwrap();
        assert_eq!(in_vm.series, KernelSeries::ALL);
        assert_eq!(in_vm.plan_after(None).unwrap().subjects.len(), subject::catalogue().len());
        assert!(vm.needs().contains(&"kernel-6.1".to_owned()));
    }

    #[test]
    fn rendering_again_needs_nothing() {
        assert!(comparison(&["--from", "samples.json"]).unwrap().needs().is_empty());
    }

    #[test]
    fn a_kernel_for_the_vm_makes_no_sense_on_the_host() {
        let error = comparison(&["--executor", "host", "--vm-kernel", "6.1"]).err().unwrap();
        assert!(error.to_string().starts_with("--vm-kernel"), "{error}");
    }
}
