// SPDX-License-Identifier: Apache-2.0
//! The client's threads: one per connection, each of which holds that connection of every subject.

use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier};
use std::thread::{Scope, ScopedJoinHandle};
use std::time::Duration;

use nix::sys::resource::{UsageWho, getrusage};

use super::client::{Buffers, Client, ClientError, Span};
use super::cpu::{Scheduler, pin, thread_cpu_ns};
use super::watchdog::{Watched, watch_this_thread};
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
    workers: Vec<Worker<'scope>>,
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
    /// A thread ended on its own.
    #[error("a client thread has died")]
    Died,
}

impl<'scope> Clients<'scope> {
    /// Starts a thread for each row of `connections`; a row holds one client per subject. A connection that gets no further
    /// for `stall` has failed.
    ///
    /// # Errors
    /// [`ClientsError`].
    pub fn start<'env: 'scope>(
        scope: &'scope Scope<'scope, 'env>,
        spec: &WorkloadSpec,
        cpu: usize,
        scheduler: Scheduler,
        stall: Duration,
        connections: Vec<Vec<Client<'env>>>,
    ) -> Result<Self, ClientsError> {
        let barrier = Arc::new(Barrier::new(connections.len()));
        let transactions = spec.transactions_per_slice;
        let mut clients = Self { workers: Vec::new(), spare: Vec::new(), transactions, stall };
        for row in connections {
            let (commands, inbox) = channel();
            let (outbox, reports) = channel();
            let (ready, placed) = channel();
            let mut buffers = Buffers::new(spec);
            let barrier = barrier.clone();
            let thread = std::thread::Builder::new()
                .name("client".into())
                .stack_size(256 * 1024)
                .spawn_scoped(scope, move || {
                    let place = pin(cpu).and_then(|()| scheduler.apply()).map(|()| watch_this_thread());
                    let watched = place.as_ref().ok().cloned();
                    if let (Ok(()), Some(watched)) = (ready.send(place), watched) {
                        work(row, &inbox, &outbox, &barrier, transactions, &mut buffers, &watched);
                    }
                })
                .map_err(ClientsError::Thread)?;
            let watched = placed.recv().map_err(|_| ClientsError::Died)??;
            clients.workers.push(Worker { watched, commands, reports, thread });
            clients.spare.push(Vec::with_capacity(transactions as usize));
        }
        Ok(clients)
    }

    /// Connects all connections of a subject; the first failure is returned.
    ///
    /// # Errors
    /// [`ClientsError::Died`]; the inner result is the subject's own failure.
    pub fn connect(&mut self, subject: usize) -> Result<Result<(), ClientError>, ClientsError> {
        let mut result = Ok(());
        for worker in &self.workers {
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
        for worker in &self.workers {
            let latencies =
                self.spare.pop().unwrap_or_else(|| Vec::with_capacity(self.transactions as usize));
            worker.commands.send(Command::Slice { subject, latencies }).map_err(|_| ClientsError::Died)?;
        }
        let mut result = Ok(Vec::with_capacity(self.workers.len()));
        for worker in &self.workers {
            match worker.report(self.stall)? {
                Ok(report) => {
                    if let Ok(reports) = &mut result {
                        reports.push(report);
                    }
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
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
        for worker in self.workers {
            drop(worker.commands);
            // A panic has been printed already, and has been reported as `Died`.
            let _ = worker.thread.join();
        }
    }
}

fn work(
    mut row: Vec<Client<'_>>,
    inbox: &Receiver<Command>,
    outbox: &Sender<Result<SliceReport, ClientError>>,
    barrier: &Barrier,
    transactions: u32,
    buffers: &mut Buffers,
    watched: &Watched,
) {
    while let Ok(command) = inbox.recv() {
        let report = match command {
            Command::Connect { subject } => row[subject].connect().map(|()| SliceReport::default()),
            Command::Slice { subject, latencies } => {
                let client = &mut row[subject];
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
