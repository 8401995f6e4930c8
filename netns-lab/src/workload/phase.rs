// SPDX-License-Identifier: Apache-2.0
//! One phase: all subjects take turns under one workload at one placement.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use netlink::NetNs;

use super::client::{Client, Close};
use super::clients::{Clients, ClientsError};
use super::counters::{CounterError, network_id, retransmitted_segments};
use super::cpu::{Cores, CpuError, Scheduler};
use super::serve::{Endpoint, Order};
use super::server::{Server, ServerError};
use super::tally::Tally;
use super::turns;
use crate::lab::Seat;
use crate::pair::Pair;
use crate::plan::Phase;
use crate::record::{Cell, NotRun};

/// After a slice both ends rest for this part of its length. Real-time work then takes at most 89 % of a CPU: below
/// the 95 % at which the kernel's throttling, and the server for starved tasks, step in for 50 ms.
const REST: f64 = 0.12;

/// A connection that gets no further for so long has failed: longer than the retransmission of a lost SYN takes, twice, and
/// than a datagram is sent again and again.
pub const STALL: Duration = Duration::from_secs(6);

/// A subject as a phase needs it.
#[derive(Clone, Copy, Debug)]
pub struct Measured<'a> {
    /// Name in the record.
    pub name: &'a str,
    /// Its two ends.
    pub pair: &'a Pair,
}

/// How a phase is run.
#[derive(Clone, Copy, Debug)]
pub struct PhaseOptions<'a> {
    /// The program that is run with the argument `serve`.
    pub server_program: &'a Path,
    /// Scheduling class of both ends.
    pub scheduler: Scheduler,
    /// How connections of `TCP_CRR` are closed.
    pub close: Close,
    /// A connection that gets no further for so long has failed: [`STALL`], but for tests.
    pub stall: Duration,
    /// Set from outside to end after the current slice.
    pub stop: &'a AtomicBool,
}

/// Where a phase stands, told after each slice.
#[derive(Clone, Copy, Debug)]
pub struct Turn<'a> {
    /// The subject that has had its turn.
    pub subject: &'a str,
    /// The round, warm-up rounds counted, from 0.
    pub round: u32,
    /// All rounds, those for warming up included.
    pub rounds: u32,
}

/// What a phase has measured.
#[derive(Debug, Default)]
pub struct Outcome {
    /// One per subject that went through to the end, or to the stop.
    pub cells: Vec<Cell>,
    /// Subjects that failed in this phase, and how.
    pub failed: Vec<NotRun>,
    /// It was stopped from outside.
    pub interrupted: bool,
}

/// Why a whole phase failed.
#[derive(Debug, thiserror::Error)]
pub enum PhaseError {
    /// The ends cannot be placed.
    #[error(transparent)]
    Cpu(#[from] CpuError),
    /// There is no server process, or it has died.
    #[error(transparent)]
    Server(#[from] ServerError),
    /// The client's threads failed.
    #[error(transparent)]
    Clients(#[from] ClientsError),
    /// A kernel counter cannot be read.
    #[error(transparent)]
    Counter(#[from] CounterError),
    /// The histogram cannot be made.
    #[error("make the histogram: {0}")]
    Histogram(#[from] hdrhistogram::CreationError),
}

/// A subject in the midst of a phase.
struct Runner<'a> {
    subject: Measured<'a>,
    tally: Tally,
    /// Counters at the start of the recorded rounds: context switches of the server, retransmissions.
    before: (u64, u64),
    failed: Option<String>,
}

/// Runs a phase. A subject that fails is left out from then on; the others go on.
///
/// # Errors
/// [`PhaseError`]: what concerns all subjects.
pub fn measure(
    phase: &Phase,
    subjects: &[Measured<'_>],
    options: PhaseOptions<'_>,
    progress: &mut dyn FnMut(Turn<'_>),
) -> Result<Outcome, PhaseError> {
    if subjects.is_empty() {
        return Ok(Outcome::default());
    }
    let spec = &phase.workload;
    let cores = Cores::of(phase.placement)?;
    let order = Order {
        workload: spec.clone(),
        cpu: cores.server,
        scheduler: options.scheduler,
        endpoints: subjects
            .iter()
            .map(|subject| Endpoint {
                netns: shared_path(&subject.pair.server),
                cgroup: subject.pair.seat.as_ref().map(|seat| seat.path().into()),
                listen: subject.pair.listen_address(spec.kind),
            })
            .collect(),
    };
    let server = Server::start(options.server_program, &order)?;
    let per_slice = spec.transactions_per_slice as usize * usize::from(spec.connections);
    let mut runners = Vec::with_capacity(subjects.len());
    for &subject in subjects {
        let tally = Tally::new(phase.rounds, per_slice)?;
        runners.push(Runner { subject, tally, before: (0, 0), failed: None });
    }
    thread::scope(|scope| {
        let connections = (0..spec.connections)
            .map(|_| {
                subjects
                    .iter()
                    .map(|s| Client::new(spec, &s.pair.client, s.pair.dial_address(spec.kind), options.close))
                    .collect()
            })
            .collect();
        let seats: Vec<Option<Seat>> = subjects.iter().map(|subject| subject.pair.seat.clone()).collect();
        let place = (cores.client, options.scheduler);
        let clients = Clients::start(scope, spec, place, options.stall, &seats, connections)?;
        let mut engine = Engine { phase, options, server, clients, runners };
        let interrupted = engine.connect().and_then(|()| engine.rounds(progress));
        engine.finish(interrupted)
    })
}

/// A path to the namespace that another process can open: by way of our own descriptor, however it was named here.
fn shared_path(namespace: &NetNs) -> std::path::PathBuf {
    use std::os::fd::{AsFd, AsRawFd};
    format!("/proc/{}/fd/{}", std::process::id(), namespace.as_fd().as_raw_fd()).into()
}

struct Engine<'a, 'scope> {
    phase: &'a Phase,
    options: PhaseOptions<'a>,
    server: Server,
    clients: Clients<'scope>,
    runners: Vec<Runner<'a>>,
}

impl Engine<'_, '_> {
    fn connect(&mut self) -> Result<(), PhaseError> {
        for index in 0..self.runners.len() {
            if let Err(reason) = self.server.endpoint(index) {
                self.runners[index].failed = Some(reason);
            } else if let Err(error) = self.clients.connect(index)? {
                self.fail(index, &error.to_string())?;
            }
        }
        Ok(())
    }

    /// All rounds; true when stopped from outside.
    fn rounds(&mut self, progress: &mut dyn FnMut(Turn<'_>)) -> Result<bool, PhaseError> {
        let rounds = self.phase.warmup_rounds + self.phase.rounds;
        for round in 0..rounds {
            if round == self.phase.warmup_rounds {
                for index in 0..self.runners.len() {
                    self.runners[index].before = self.counters(index)?;
                }
            }
            for index in turns::order(round, self.runners.len()) {
                if self.options.stop.load(Ordering::Relaxed) {
                    return Ok(true);
                }
                if self.runners[index].failed.is_none() {
                    self.slice(index, round)?;
                    progress(Turn { subject: self.runners[index].subject.name, round, rounds });
                }
            }
        }
        Ok(false)
    }

    fn slice(&mut self, index: usize, round: u32) -> Result<(), PhaseError> {
        let cpu = self.server.cpu_ns()?;
        match self.clients.slice(index)? {
            Ok(reports) => {
                let cpu = self.server.cpu_ns()?.saturating_sub(cpu);
                let start = reports.iter().map(|r| r.span.start_ns).min().unwrap_or(0);
                let end = reports.iter().map(|r| r.span.end_ns).max().unwrap_or(start);
                if let Some(recorded) = round.checked_sub(self.phase.warmup_rounds) {
                    self.runners[index].tally.add(recorded, &reports, cpu);
                }
                self.clients.recycle(reports);
                // Not for a condition to come true: this is the rest that the two ends are due.
                thread::sleep(Duration::from_nanos(((end - start) as f64 * REST) as u64));
                Ok(())
            }
            Err(error) => self.fail(index, &error.to_string()),
        }
    }

    /// Leaves a subject out from now on; an error when it failed because the server process is gone.
    fn fail(&mut self, index: usize, reason: &str) -> Result<(), PhaseError> {
        self.server.check_connection_lost()?;
        let runner = &mut self.runners[index];
        let mut reason = match runner.tally.len() {
            0 => reason.to_owned(),
            rounds => format!("{reason} (after {rounds} rounds)"),
        };
        if let Some(server) = self.server.failure(index) {
            reason = format!("{reason}; the server: {server}");
        }
        runner.failed = Some(reason);
        Ok(())
    }

    /// Context switches of the server's threads and retransmissions of both ends, since they began.
    fn counters(&self, index: usize) -> Result<(u64, u64), PhaseError> {
        let pair = self.runners[index].subject.pair;
        let mut retransmitted = retransmitted_segments(&pair.client)?;
        if network_id(&pair.client)? != network_id(&pair.server)? {
            retransmitted += retransmitted_segments(&pair.server)?;
        }
        Ok((self.server.switches(index).unwrap_or(0), retransmitted))
    }

    fn finish(mut self, ended: Result<bool, PhaseError>) -> Result<Outcome, PhaseError> {
        let after = (0..self.runners.len()).map(|index| self.counters(index)).collect::<Result<Vec<_>, _>>();
        self.clients.finish();
        let mut outcome = Outcome { interrupted: ended?, ..Outcome::default() };
        self.server.check()?;
        for (runner, after) in self.runners.into_iter().zip(after?) {
            let subject = runner.subject.name.to_owned();
            let (kind, placement) = (self.phase.workload.kind, self.phase.placement);
            if let Some(reason) = runner.failed {
                outcome.failed.push(NotRun { subject, reason: format!("{kind}, {placement}: {reason}") });
            } else if !runner.tally.is_empty() {
                let (switches, lost) = (runner.tally.switches, runner.tally.lost);
                let (slices, histogram) = runner.tally.finish();
                outcome.cells.push(Cell {
                    subject,
                    workload: kind,
                    placement,
                    slices,
                    histogram,
                    context_switches: switches + after.0.saturating_sub(runner.before.0),
                    retransmits: after.1.saturating_sub(runner.before.1),
                    lost,
                });
            }
        }
        Ok(outcome)
    }
}
