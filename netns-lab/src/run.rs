// SPDX-License-Identifier: Apache-2.0
//! A plan from beginning to end on the kernel it is run on: subjects built, phases measured, everything taken down.

mod progress;
mod validate;
mod write;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::agent;
use crate::environment;
use crate::lab::{Lab, LabError};
use crate::netperf;
use crate::plan::{BASELINE, Plan, WorkloadKind};
use crate::probe::Capability;
use crate::record::{
    AgentRecord, Cell, Clock, Environment, Executor, NotRun, RunRecord, SelfCheck, SubjectInfo, VmEnvironment,
};
use crate::subject::{BuildError, Built, Handicapped, build, catalogue, handicap};
use crate::workload::{Close, Measured, Outcome, PhaseError, PhaseOptions, STALL, Scheduler, measure};

pub use progress::{Estimate, Event, Progress};
pub use validate::{PlanError, validate};
pub use write::{WriteError, write_record};

/// Descriptors that a process needs beside its connections.
const OTHER_DESCRIPTORS: u64 = 256;

/// Built into every kernel and permitted in every namespace, which the kernel's usual default, cubic, is not.
const CONGESTION_CONTROL: &str = "reno";

/// What the caller knows and the plan does not.
pub struct Options<'a> {
    /// What runs the plan.
    pub executor: Executor,
    /// What its nanoseconds are.
    pub clock: Clock,
    /// The virtual machine, if there is one.
    pub vm: Option<VmEnvironment>,
    /// The program that is run with the argument `serve`.
    pub server_program: PathBuf,
    /// Set it to end after the current slice with what there is.
    pub stop: &'a AtomicBool,
    /// Told what is going on, between slices, up to hundreds of times a second.
    pub progress: &'a mut dyn FnMut(&Event),
}

impl<'a> Options<'a> {
    /// On this machine's own kernel, with this program as the server.
    pub fn host(stop: &'a AtomicBool, progress: &'a mut dyn FnMut(&Event)) -> Self {
        Self {
            executor: Executor::Host,
            clock: Clock::Wall,
            vm: None,
            server_program: "/proc/self/exe".into(),
            stop,
            progress,
        }
    }
}

/// Why there is no record.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The plan cannot be run as it is.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no lab.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Without the baseline there are no ratios.
    #[error("the baseline {BASELINE}: {0}")]
    Baseline(BuildError),
    /// The subject could not be slowed.
    #[error("slow down {subject}: {reason}")]
    Handicap {
        /// The subject.
        subject: String,
        /// Why not.
        reason: String,
    },
    /// Too few descriptors for the connections.
    #[error(
        "{needed} open files are needed for these connections, {allowed} are allowed: raise `ulimit -Hn` or ask for fewer connections"
    )]
    Descriptors {
        /// For the plan.
        needed: u64,
        /// The hard limit.
        allowed: u64,
    },
    /// A whole phase failed.
    #[error("{workload}, {placement}: {source}")]
    Phase {
        /// The phase's traffic.
        workload: WorkloadKind,
        /// Where its ends should run.
        placement: crate::plan::Placement,
        /// Why.
        source: PhaseError,
    },
}

/// Runs a plan. Everything that was built is taken down again, whatever happens. The server process dies with the
/// calling thread.
///
/// # Errors
/// [`RunError`]. A subject that cannot be built or fails is none: it is in [`RunRecord::not_run`].
pub fn execute(plan: &Plan, options: Options<'_>) -> Result<RunRecord, RunError> {
    let known: Vec<String> = catalogue().into_iter().map(|spec| spec.name).collect();
    validate(plan, &known)?;
    if options.clock == Clock::Wall && plan.seeds > 1 {
        let problem = "real time has no two runs alike anyway, only virtual time has seeds: use 1".into();
        return Err(PlanError { field: "seeds".into(), problem }.into());
    }
    allow_descriptors(plan)?;
    let lab = Lab::create()?;
    let mut run =
        Run { plan, options, built: Vec::new(), not_run: Vec::new(), cells: Vec::new(), interrupted: false };
    run.build(&lab)?;
    let _handicapped = run.handicap()?;
    let scheduler = Scheduler::permitted();
    // Before the measurement: it starts programs, and the subjects stand.
    let environment = run.environment(scheduler);
    run.measure(scheduler)?;
    let self_check = run.self_check(&lab, scheduler);
    let agent = run.agent(&lab);
    Ok(run.finish(environment, self_check, agent))
}

struct Run<'p, 'a> {
    plan: &'p Plan,
    options: Options<'a>,
    built: Vec<Built>,
    not_run: Vec<NotRun>,
    cells: Vec<Cell>,
    interrupted: bool,
}

impl Run<'_, '_> {
    fn stopped(&mut self) -> bool {
        self.interrupted |= self.options.stop.load(Ordering::Relaxed);
        self.interrupted
    }

    fn build(&mut self, lab: &Lab) -> Result<(), RunError> {
        let count = self.plan.subjects.len() as u32;
        for (index, name) in (1..).zip(&self.plan.subjects) {
            if self.stopped() {
                break;
            }
            (self.options.progress)(&Event::Building { subject: name.clone(), index, count });
            match build(lab, name) {
                Ok(built) => {
                    fix_congestion_control(&built);
                    self.built.push(built);
                }
                Err(error) if name == BASELINE => return Err(RunError::Baseline(error)),
                Err(BuildError::NotRun(reason)) => {
                    self.not_run.push(NotRun { subject: name.clone(), reason });
                }
                Err(error) => {
                    self.not_run.push(NotRun { subject: name.clone(), reason: error.to_string() });
                }
            }
        }
        Ok(())
    }

    fn handicap(&self) -> Result<Option<Handicapped>, RunError> {
        let Some(asked) = &self.plan.handicap else { return Ok(None) };
        let error = |reason: String| RunError::Handicap { subject: asked.subject.clone(), reason };
        match self.built.iter().find(|built| built.info().name == asked.subject) {
            Some(built) => handicap(built, asked.amount).map(Some).map_err(|e| error(e.to_string())),
            // A run that is being stopped measures nothing of it anyway.
            None if self.interrupted => Ok(None),
            None => Err(error("it could not be built".into())),
        }
    }

    fn environment(&self, scheduler: Scheduler) -> Environment {
        let baseline = self.built.iter().find(|built| built.info().name == BASELINE);
        let mut environment = environment::read(baseline.map(Built::pair), self.plan.self_check.as_ref());
        environment.scheduler = scheduler.name().into();
        environment.vm.clone_from(&self.options.vm);
        environment
    }

    fn measure(&mut self, scheduler: Scheduler) -> Result<(), RunError> {
        let rounds = |phase: &crate::plan::Phase| u64::from(phase.rounds) + u64::from(phase.warmup_rounds);
        let mut estimate = Estimate::new(self.plan.phases.iter().map(rounds).collect());
        for index in 0..self.plan.phases.len() {
            if self.stopped() {
                break;
            }
            estimate.begin(index);
            let outcome = self.phase(index, scheduler, &estimate)?;
            self.cells.extend(outcome.cells);
            self.not_run.extend(outcome.failed);
            self.interrupted |= outcome.interrupted;
        }
        Ok(())
    }

    fn phase(
        &mut self,
        index: usize,
        scheduler: Scheduler,
        estimate: &Estimate,
    ) -> Result<Outcome, RunError> {
        let phase = &self.plan.phases[index];
        let (workload, placement) = (phase.workload.kind, phase.placement);
        let takes_part = |built: &&Built| built.workloads().contains(&workload);
        let taking_part: Vec<(String, &Built)> =
            self.built.iter().filter(takes_part).map(|built| (built.info().name, built)).collect();
        let subjects: Vec<Measured<'_>> =
            taking_part.iter().map(|(name, built)| Measured { name, pair: built.pair() }).collect();
        let phase_options = PhaseOptions {
            server_program: &self.options.server_program,
            scheduler,
            close: Close::Reset,
            stall: STALL,
            stop: self.options.stop,
        };
        let (progress, phases) = (&mut self.options.progress, self.plan.phases.len() as u32);
        measure(phase, &subjects, phase_options, &mut |turn| {
            let (elapsed_s, left_s) = estimate.seconds(u64::from(turn.round) + 1);
            progress(&Event::Progress(Progress {
                phase: index as u32 + 1,
                phases,
                workload,
                placement,
                subject: turn.subject.into(),
                round: turn.round + 1,
                rounds: turn.rounds,
                elapsed_s,
                left_s,
            }));
        })
        .map_err(|source| RunError::Phase { workload, placement, source })
    }

    fn self_check(&mut self, lab: &Lab, scheduler: Scheduler) -> SelfCheck {
        let not_run = |reason: &str| SelfCheck { not_run: Some(reason.into()), ..SelfCheck::default() };
        let Some(check) = &self.plan.self_check else { return not_run("not asked for") };
        if self.stopped() {
            return not_run("the run was stopped before it");
        }
        let loopback = match loopback(lab) {
            Ok(loopback) => loopback,
            Err(error) => return not_run(&error),
        };
        let context = netperf::Context {
            pair: loopback.pair(),
            phases: &self.plan.phases,
            server_program: &self.options.server_program,
            scheduler,
            stop: self.options.stop,
        };
        let checked = netperf::self_check(check, context, self.options.progress);
        self.stopped();
        checked
    }

    /// Our agent besides packets. A failure is a reason in the record.
    fn agent(&mut self, lab: &Lab) -> Option<AgentRecord> {
        let plan = self.plan.agent.as_ref()?;
        let not_run = |reason: String| Some(AgentRecord { not_run: Some(reason), ..AgentRecord::default() });
        if self.stopped() {
            return not_run("the run was stopped before it".into());
        }
        let needs = [Capability::Agent, Capability::Veth, Capability::Classifier, Capability::ControlGroup];
        if let Err(reason) = lab.probe().check(&needs) {
            return not_run(reason);
        }
        let (progress, stop) = (&mut self.options.progress, self.options.stop);
        let measured = agent::measure(lab, plan, &mut |step| {
            progress(&Event::Agent { step });
            !stop.load(Ordering::Relaxed)
        });
        self.stopped();
        measured.map_or_else(|e| not_run(e.to_string()), Some)
    }

    fn finish(
        mut self,
        environment: Environment,
        self_check: SelfCheck,
        agent: Option<AgentRecord>,
    ) -> RunRecord {
        let has_cell = |name: &str| self.cells.iter().any(|cell| cell.subject == name);
        let subjects: Vec<SubjectInfo> =
            self.built.iter().map(Built::info).filter(|info| has_cell(&info.name)).collect();
        // Nothing vanishes: who has neither a figure nor a reason was never reached, or had no traffic of its kind.
        for name in &self.plan.subjects {
            if !has_cell(name) && self.not_run.iter().all(|not_run| not_run.subject != *name) {
                let reason = if self.interrupted {
                    "the run was stopped before its turn"
                } else {
                    "no phase has traffic for it"
                };
                self.not_run.push(NotRun { subject: name.clone(), reason: reason.into() });
            }
        }
        RunRecord {
            executor: self.options.executor,
            clock: self.options.clock,
            plan: self.plan.clone(),
            environment,
            subjects,
            not_run: self.not_run,
            cells: self.cells,
            self_check,
            agent,
            interrupted: self.interrupted,
        }
    }
}

/// Gives the pods the congestion control that the figures are comparable with. BBR, where a host has chosen it, models
/// each connection's rate on its own: on one path two connections settle a third apart for a whole phase, and the paired
/// intervals, narrow as they are, then tell connections apart instead of paths. A kernel without it keeps its own: the
/// environment in the record is read from the pods afterwards and says which it was.
fn fix_congestion_control(built: &Built) {
    for pod in built.pods() {
        if let Err(error) = pod.set_sysctl("net/ipv4/tcp_congestion_control", CONGESTION_CONTROL) {
            eprintln!("netns-lab: {}: keeps the host's congestion control: {error}", built.info().name);
        }
    }
}

/// A loopback of its own for the self-check. netperf asks the resolver for addresses of configured families only, and
/// the resolver does not count 127.0.0.1: with a second address it finds IPv4 configured.
fn loopback(lab: &Lab) -> Result<Built, String> {
    let built = build(lab, "loopback").map_err(|e| format!("loopback: {e}"))?;
    fix_congestion_control(&built);
    let second = ipnet::Ipv4Net::from(Ipv4Addr::new(127, 0, 0, 2));
    for pod in built.pods() {
        pod.netlink().add_address("lo", second.into()).map_err(|e| format!("loopback: {e}"))?;
    }
    Ok(built)
}

/// Raises this process's limit of open files, which the server inherits, as far as the plan needs.
fn allow_descriptors(plan: &Plan) -> Result<(), RunError> {
    let connections =
        plan.phases.iter().map(|phase| u64::from(phase.workload.connections)).max().unwrap_or(1);
    let needed =
        connections * plan.subjects.len() as u64 + 16 * plan.subjects.len() as u64 + OTHER_DESCRIPTORS;
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return Ok(()) };
    if soft >= needed {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, needed, hard)
        .map_err(|_| RunError::Descriptors { needed, allowed: hard })
}

/// Reads a plan's file.
///
/// # Errors
/// What is wrong with the file, with its path.
pub fn read_plan(path: &Path) -> Result<Plan, ReadError> {
    let error = |problem: String| ReadError { path: path.into(), problem };
    let text = std::fs::read_to_string(path).map_err(|e| error(e.to_string()))?;
    serde_json::from_str(&text).map_err(|e| error(e.to_string()))
}

/// Why a plan could not be read.
#[derive(Debug, thiserror::Error)]
#[error("read the plan {}: {problem}", path.display())]
pub struct ReadError {
    /// The file.
    pub path: PathBuf,
    /// What is wrong.
    pub problem: String,
}
