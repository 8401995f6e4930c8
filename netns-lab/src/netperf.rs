// SPDX-License-Identifier: Apache-2.0
//! Our generator against netperf: both in turn on loopback, on the same core, in the same scheduling class, for the
//! same number of transactions. For `TCP_CRR` ours closes connections as netperf does, not by reset.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netlink::NetNs;
use nix::sched::{CloneFlags, setns};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;

use crate::environment::programs;
use crate::pair::Pair;
use crate::plan::{Phase, Placement, SelfCheckPlan, WorkloadKind, WorkloadSpec};
use crate::record::{SelfCheck, SelfCheckPair};
use crate::run::Event;
use crate::tool::{self, ToolError};
use crate::workload::{
    Close, Cores, CpuError, Measured, PhaseError, PhaseOptions, STALL, Scheduler, measure, pin,
};

/// Where netserver listens; none of our own servers does.
const PORT: u16 = 9010;
/// Transactions of one slice: long enough that a connection's start does not count.
const TRANSACTIONS: u32 = 5000;
/// A run of netperf that takes longer is ended.
const LIMIT: Duration = Duration::from_secs(60);
/// By then netserver must listen.
const READY_LIMIT: Duration = Duration::from_secs(10);

/// What a self-check is run with.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// A pod with loopback.
    pub pair: &'a Pair,
    /// The plan's phases, whose kinds and sizes are compared.
    pub phases: &'a [Phase],
    /// The program that is run with the argument `serve`.
    pub server_program: &'a Path,
    /// Scheduling class of all four ends.
    pub scheduler: Scheduler,
    /// Ends it after the current slice.
    pub stop: &'a AtomicBool,
}

/// Why a comparison could not be made.
#[derive(Debug, thiserror::Error)]
enum CheckError {
    #[error(transparent)]
    Cpu(#[from] CpuError),
    #[error("start {program}: {source}")]
    Start { program: String, source: io::Error },
    #[error("netserver does not listen after {} s", READY_LIMIT.as_secs())]
    NotReady,
    #[error("netserver has ended: {0}")]
    Ended(std::process::ExitStatus),
    #[error(transparent)]
    Tool(#[from] ToolError),
    #[error("netperf: {0}")]
    Failed(String),
    #[error("our own slice: {0}")]
    Ours(#[from] PhaseError),
    #[error("our own slice: {0}")]
    OursFailed(String),
}

/// Compares the two for each kind of request and response in the plan. Where that fails, the record says why, and
/// keeps the pairs before it.
pub fn self_check(plan: &SelfCheckPlan, context: Context<'_>, progress: &mut dyn FnMut(&Event)) -> SelfCheck {
    let Some(version) = programs::netperf(&plan.netperf) else {
        let not_run = Some(format!("{} does not run: is netperf installed?", plan.netperf));
        return SelfCheck { not_run, ..SelfCheck::default() };
    };
    let mut check = SelfCheck { netperf_version: Some(version), ..SelfCheck::default() };
    if let Err(error) = compare(plan, context, &mut check.pairs, progress) {
        check.not_run = Some(error.to_string());
    }
    check
}

fn compare(
    plan: &SelfCheckPlan,
    context: Context<'_>,
    pairs: &mut Vec<SelfCheckPair>,
    progress: &mut dyn FnMut(&Event),
) -> Result<(), CheckError> {
    let cpu = Cores::of(Placement::OneCore)?.client;
    let mut netserver = Netserver::start(&plan.netserver, context, cpu)?;
    netserver.wait_until_ready(context.pair)?;
    for spec in compared(context.phases) {
        // In each round the other one begins: whoever comes second finds warm caches.
        for round in 0..=plan.rounds {
            if context.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            let (ours_ns, netperf_ns) = if round % 2 == 0 {
                let ours = ours_ns(&spec, context)?;
                (ours, netperf_ns(&plan.netperf, &spec, context, cpu)?)
            } else {
                let netperf = netperf_ns(&plan.netperf, &spec, context, cpu)?;
                (ours_ns(&spec, context)?, netperf)
            };
            // The first pair warms up.
            if round > 0 {
                pairs.push(SelfCheckPair { workload: spec.kind, ours_ns, netperf_ns });
                let (workload, rounds) = (spec.kind, plan.rounds);
                progress(&Event::SelfCheck { workload, round, rounds });
            }
        }
    }
    Ok(())
}

/// Request and response workloads of the plan with their sizes. netperf has none that is like our `TCP_STREAM`.
fn compared(phases: &[Phase]) -> Vec<WorkloadSpec> {
    WorkloadKind::ALL
        .into_iter()
        .filter(|&kind| kind != WorkloadKind::TcpStream)
        .filter_map(|kind| phases.iter().find(|phase| phase.workload.kind == kind))
        .map(|phase| WorkloadSpec {
            connections: 1,
            transactions_per_slice: TRANSACTIONS,
            ..phase.workload.clone()
        })
        .collect()
}

fn ours_ns(spec: &WorkloadSpec, context: Context<'_>) -> Result<f64, CheckError> {
    let phase = Phase { workload: spec.clone(), placement: Placement::OneCore, rounds: 1, warmup_rounds: 0 };
    let options = PhaseOptions {
        server_program: context.server_program,
        scheduler: context.scheduler,
        close: Close::AsNetperf,
        stall: STALL,
        // Decided between pairs: half a pair is of no use.
        stop: &AtomicBool::new(false),
    };
    let subject = Measured { name: "loopback", pair: context.pair };
    let outcome = measure(&phase, &[subject], options, &mut |_| {})?;
    match (outcome.cells.first().and_then(|cell| cell.slices.first()), outcome.failed.first()) {
        (Some(slice), _) => Ok(slice.elapsed_ns as f64 / f64::from(slice.transactions.max(1))),
        (None, Some(failed)) => Err(CheckError::OursFailed(failed.reason.clone())),
        (None, None) => Err(CheckError::OursFailed("nothing was measured".into())),
    }
}

/// Mean time of a transaction as netperf states it: elapsed time of its own loop by the transactions in it.
fn netperf_ns(
    program: &str,
    spec: &WorkloadSpec,
    context: Context<'_>,
    cpu: usize,
) -> Result<f64, CheckError> {
    let mut command = Command::new(program);
    command.args(arguments(spec, &context.pair.listen.to_string()));
    placed(&mut command, context, cpu);
    let said = tool::run(&mut command, b"", LIMIT)?;
    let text = String::from_utf8_lossy(&said.stdout);
    let rate = parse_rate(&text).filter(|_| said.status.success()).ok_or_else(|| {
        CheckError::Failed(tool::one_line(if said.stderr.is_empty() { &said.stdout } else { &said.stderr }))
    })?;
    // netperf keeps its CPU as ours does: the rest that the core is due.
    thread::sleep(Duration::from_secs_f64((0.12 * f64::from(TRANSACTIONS) / rate).min(1.0)));
    Ok(1e9 / rate)
}

fn arguments(spec: &WorkloadSpec, address: &str) -> Vec<String> {
    let sizes = format!("{},{}", spec.request_bytes, spec.response_bytes);
    let count = format!("-{}", spec.transactions_per_slice);
    let mut arguments: Vec<String> =
        ["-t", spec.kind.name(), "-H", address, "-p", &PORT.to_string(), "-l", &count, "-P", "0", "--"]
            .map(Into::into)
            .into();
    arguments.extend(["-r".into(), sizes]);
    if spec.kind != WorkloadKind::UdpRr {
        arguments.push("-D".into());
    }
    arguments.extend(["-k", "TRANSACTION_RATE"].map(Into::into));
    arguments
}

fn parse_rate(output: &str) -> Option<f64> {
    let value = output.lines().find_map(|line| line.trim().strip_prefix("TRANSACTION_RATE="))?;
    value.trim().parse().ok().filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
}

/// Makes a child start in the pair's namespace, on the CPU and in the class of our own ends, and die with this thread.
fn placed(command: &mut Command, context: Context<'_>, cpu: usize) {
    let namespace = context.pair.server.as_fd().as_raw_fd();
    let scheduler = context.scheduler;
    // SAFETY: between fork and exec only prctl, setns, sched_setaffinity and sched_setscheduler are called, which are
    // plain system calls. The descriptor is that of the pair, which outlives the spawning.
    unsafe {
        command.pre_exec(move || {
            set_pdeathsig(Signal::SIGKILL)?;
            setns(std::os::fd::BorrowedFd::borrow_raw(namespace), CloneFlags::CLONE_NEWNET)?;
            pin(cpu).and_then(|()| scheduler.apply()).map_err(|_| io::Error::last_os_error())
        });
    }
}

/// netserver, as our own child. Dropping it ends it.
struct Netserver(Child);

impl Netserver {
    fn start(program: &str, context: Context<'_>, cpu: usize) -> Result<Self, CheckError> {
        let mut command = Command::new(program);
        // -f: no child per test; -N: no debugging file in /tmp.
        command.args(["-D", "-f", "-N", "-L", &context.pair.listen.to_string(), "-p", &PORT.to_string()]);
        command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        placed(&mut command, context, cpu);
        let child =
            command.spawn().map_err(|source| CheckError::Start { program: program.into(), source })?;
        Ok(Self(child))
    }

    /// Until the port is in the namespace's list of listening sockets: a connection to try would be taken for a test.
    fn wait_until_ready(&mut self, pair: &Pair) -> Result<(), CheckError> {
        let deadline = Instant::now() + READY_LIMIT;
        while !listens(&pair.server, PORT) {
            if let Ok(Some(status)) = self.0.try_wait() {
                return Err(CheckError::Ended(status));
            }
            if Instant::now() > deadline {
                return Err(CheckError::NotReady);
            }
            thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }
}

impl Drop for Netserver {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn listens(namespace: &NetNs, port: u16) -> bool {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let tables = namespace.run(|| read("/proc/thread-self/net/tcp") + &read("/proc/thread-self/net/tcp6"));
    tables.is_ok_and(|tables| has_listener(&tables, port))
}

/// State 0A is LISTEN; the local address is the second column.
fn has_listener(table: &str, port: u16) -> bool {
    let suffix = format!(":{port:04X}");
    table.lines().any(|line| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        columns.get(1).is_some_and(|local| local.ends_with(&suffix)) && columns.get(3) == Some(&"0A")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn netperfs_rate_is_read_and_nonsense_refused() {
        assert_eq!(parse_rate("TRANSACTION_RATE=50876.086\n"), Some(50876.086));
        assert_eq!(parse_rate("TRANSACTION_RATE=inf\n"), None);
        assert_eq!(parse_rate("TRANSACTION_RATE=0\n"), None);
        assert_eq!(parse_rate("establish control: are you sure there is a netserver?\n"), None);
    }

    #[test]
    fn a_listener_is_found_among_sockets() {
        let table = "  sl  local_address rem_address   st\n   0: 0100007F:2332 00000000:0000 0A 0:0\n   1: 0100007F:2333 0100007F:1 01 0:0\n";
        assert!(has_listener(table, 0x2332));
        assert!(!has_listener(table, 0x2333));
    }
}
