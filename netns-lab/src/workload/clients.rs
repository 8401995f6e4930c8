// SPDX-License-Identifier: Apache-2.0
//! The client's threads: one per connection and control group, each of which holds that connection of every subject whose
//! client is in that group. Most subjects' clients are in none. One that had to move for each slice would be in its way.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use super::client::{Buffers, Client, ClientError, Span};
use super::cpu::{Scheduler, pin, thread_cpu_ns};
use super::watchdog::{Watched, watch_this_thread};
use crate::lab::Seat;
use crate::plan::WorkloadSpec;

/// What one connection did in one slice.
#[derive(Debug, Default)]
pub struct SliceReport {
    /// When it began and ended, and what was lost.
    pub span: Span,
    /// CPU time of the thread within the slice, ns.
    pub cpu_ns: u64,
    /// Context switches of the thread within the slice.
    pub switches: u64,
    /// Latency of each transaction, ns.
    pub latencies: Vec<u64>,
}

enum Command {
    Connect { subject: usize },
    Slice { subject: usize, latencies: Vec<u64> },
}

struct Worker<'scope> {
    watched: Watched,
    commands: Sender<Command>,
    reports: Receiver<Result<SliceReport, ClientError>>,
    thread: ScopedJoinHandle<'scope, ()>,
}

impl Worker<'_> {
    fn report(&self, stall: Duration) -> Result<Result<SliceReport, ClientError>, ClientsError> {
        self.watched.report(&self.reports, stall).ok_or(ClientsError::Died)
    }
}

/// The threads of a phase. They end when this is dropped.
pub struct Clients<'scope> {
    /// One per connection, for each control group.
    teams: Vec<Vec<Worker<'scope>>>,
    /// Which of them each subject has.
    team_of: Vec<usize>,
    spare: Vec<Vec<u64>>,
    transactions: u32,
    stall: Duration,
}

/// Why the threads could not be made or are gone.
#[derive(Debug, thiserror::Error)]
pub enum ClientsError {
    /// A thread could not be started.
    #[error("start a client thread: {0}")]
    Thread(std::io::Error),
    /// A thread could not be placed.
    #[error(transparent)]
    Cpu(#[from] super::CpuError),
    /// A thread could not enter its control group.
    #[error(transparent)]
    Seat(#[from] crate::lab::LabError),
    /// A thread ended on its own.
    #[error("a client thread has died")]
    Died,
}

impl<'scope> Clients<'scope> {
    /// Starts threads for each row of `connections`; a row holds one client per subject. `seats` are the control groups of
    /// the subjects, `place` is where and how the threads run. A connection that gets no further for `stall` has failed.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub fn start<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        spec: &WorkloadSpec,
        place: (usize, Scheduler),
        stall: Duration,
        seats: &[Option<Seat>],
        connections: Vec<Vec<Client<'env>>>,
    ) -> Result<Self, ClientsError> {
        let mut groups: Vec<&Option<Seat>> = Vec::new();
        let mut team_of = Vec::with_capacity(seats.len());
        for seat in seats {
            let known = groups.iter().position(|group| *group == seat);
            team_of.push(known.unwrap_or(groups.len()));
            if known.is_none() {
                groups.push(seat);
            }
        }
        let transactions = spec.transactions_per_slice;
        let barriers: Vec<_> = groups.iter().map(|_| Arc::new(Barrier::new(connections.len()))).collect();
        let teams = groups.iter().map(|_| Vec::with_capacity(connections.len())).collect();
        let mut clients = Self { teams, team_of, spare: Vec::new(), transactions, stall };
        for row in connections {
            // Each thread has the clients of its group, at the places that they have among all subjects.
            let mut shares: Vec<Vec<Option<Client<'env>>>> = groups.iter().map(|_| Vec::new()).collect();
            for (client, team) in row.into_iter().zip(&clients.team_of) {
                shares.iter_mut().for_each(|share| share.push(None));
                if let Some(place) = shares[*team].last_mut() {
                    *place = Some(client);
                }
            }
            for (team, share) in shares.into_iter().enumerate() {
                let worker = worker(scope, spec, place, groups[team].clone(), &barriers[team], share)?;
                clients.teams[team].push(worker);
            }
            clients.spare.push(Vec::with_capacity(transactions as usize));
        }
        Ok(clients)
    }

    /// The threads that have the connections of a subject.
    fn workers(&self, subject: usize) -> &[Worker<'scope>] {
        self.team_of.get(subject).and_then(|team| self.teams.get(*team)).map_or(&[], Vec::as_slice)
    }

    /// Connects all connections of a subject; the first failure is returned.
    ///
    /// # Errors
    /// [`ClientsError::Died`]; the inner result is the subject's own failure.
    pub fn connect(&mut self, subject: usize) -> Result<Result<(), ClientError>, ClientsError> {
        let mut result = Ok(());
        for worker in self.workers(subject) {
            worker.commands.send(Command::Connect { subject }).map_err(|_| ClientsError::Died)?;
            // One after the other: a thousand SYNs at once would overflow queues that are not under test.
            if let Err(error) = worker.report(self.stall)? {
                result = result.and(Err(error));
            }
        }
        Ok(result)
    }

    /// One slice of a subject over all its connections, which start together.
    ///
    /// # Errors
    /// [`ClientsError::Died`]; the inner result is the subject's own failure.
    pub fn slice(&mut self, subject: usize) -> Result<Result<Vec<SliceReport>, ClientError>, ClientsError> {
        let mut spare = std::mem::take(&mut self.spare);
        let workers = self.workers(subject);
        for worker in workers {
            let latencies = spare.pop().unwrap_or_else(|| Vec::with_capacity(self.transactions as usize));
            worker.commands.send(Command::Slice { subject, latencies }).map_err(|_| ClientsError::Died)?;
        }
        let mut result = Ok(Vec::with_capacity(workers.len()));
        for worker in workers {
            match worker.report(self.stall)? {
                Ok(report) => {
                    if let Ok(reports) = &mut result {
                        reports.push(report);
                    }
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        self.spare = spare;
        Ok(result)
    }

    /// Takes the reports' memory back, for the next slice.
    pub fn recycle(&mut self, reports: Vec<SliceReport>) {
        self.spare.extend(reports.into_iter().map(|mut report| {
            report.latencies.clear();
            report.latencies
        }));
    }

    /// Ends the threads and waits for them; their connections close.
    pub fn finish(self) {
        for worker in self.teams.into_iter().flatten() {
            drop(worker.commands);
            // A panic has been printed already, and has been reported as `Died`.
            let _ = worker.thread.join();
        }
    }
}

/// Starts a thread, and waits until it is where it belongs.
fn worker<'scope, 'env: 'scope>(
    scope: &'scope Scope<'scope, 'env>,
    spec: &WorkloadSpec,
    (cpu, scheduler): (usize, Scheduler),
    seat: Option<Seat>,
    barrier: &Arc<Barrier>,
    row: Vec<Option<Client<'env>>>,
) -> Result<Worker<'scope>, ClientsError> {
    let (commands, inbox) = channel();
    let (outbox, reports) = channel();
    let (ready, placed) = channel();
    let mut buffers = Buffers::new(spec);
    let (barrier, transactions) = (barrier.clone(), spec.transactions_per_slice);
    let thread = std::thread::Builder::new()
        .name("client".into())
        .stack_size(256 * 1024)
        .spawn_scoped(scope, move || {
            let place = || {
                seat.as_ref().map_or(Ok(()), Seat::take)?;
                pin(cpu)?;
                scheduler.apply()?;
                Ok::<_, ClientsError>(watch_this_thread())
            };
            let place = place();
            let watched = place.as_ref().ok().cloned();
            if let (Ok(()), Some(watched)) = (ready.send(place), watched) {
                work(row, &inbox, &outbox, &barrier, transactions, &mut buffers, &watched);
            }
        })
        .map_err(ClientsError::Thread)?;
    let watched = placed.recv().map_err(|_| ClientsError::Died)??;
    Ok(Worker { watched, commands, reports, thread })
}

fn work(
    mut row: Vec<Option<Client<'_>>>,
    inbox: &Receiver<Command>,
    outbox: &Sender<Result<SliceReport, ClientError>>,
    barrier: &Barrier,
    transactions: u32,
    buffers: &mut Buffers,
    watched: &Watched,
) {
    while let Ok(command) = inbox.recv() {
        let (Command::Connect { subject } | Command::Slice { subject, .. }) = command;
        // Of another thread: asked for by nobody.
        let Some(client) = row.get_mut(subject).and_then(Option::as_mut) else { return };
        let report = match command {
            Command::Connect { .. } => client.connect().map(|()| SliceReport::default()),
            Command::Slice { latencies, .. } => {
                let prepared = client.prepare();
                // Every thread comes here, also one that has failed: the others wait for it.
                barrier.wait();
                prepared.and_then(|()| slice(client, transactions, buffers, latencies, watched))
            }
        };
        if outbox.send(report).is_err() {
            return;
        }
    }
}

fn slice(
    client: &mut Client<'_>,
    transactions: u32,
    buffers: &mut Buffers,
    mut latencies: Vec<u64>,
    watched: &Watched,
) -> Result<SliceReport, ClientError> {
    let (switches, cpu) = (switches(), thread_cpu_ns());
    let span = client.slice(transactions, buffers, &mut latencies, watched)?;
    Ok(SliceReport {
        span,
        cpu_ns: thread_cpu_ns().saturating_sub(cpu),
        switches: self::switches().saturating_sub(switches),
        latencies,
    })
}

/// Context switches of the calling thread since it began, voluntary and not.
fn switches() -> u64 {
    getrusage(UsageWho::RUSAGE_THREAD).map_or(0, |usage| {
        (usage.voluntary_context_switches() + usage.involuntary_context_switches()).try_into().unwrap_or(0)
    })
}
