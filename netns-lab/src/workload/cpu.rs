// SPDX-License-Identifier: Apache-2.0
//! Where the two ends run, in which scheduling class, and the clocks that they are timed by.

use std::fs;
use std::io;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::time::{ClockId, clock_gettime};
use nix::unistd::Pid;
use serde::{Deserialize, Serialize};

use crate::plan::Placement;

/// The real-time priority of both ends: above all normal work, below the kernel's own 99.
const FIFO_PRIORITY: i32 = 50;

/// Why the ends cannot be placed.
#[derive(Debug, thiserror::Error)]
pub enum CpuError {
    /// There are too few CPUs for the placement.
    #[error(
        "2 cores are asked for, but only CPU {0} may be used here: give the process two CPUs (taskset, cpuset) or ask for 1 core"
    )]
    OnlyOne(usize),
    /// The kernel states no CPU at all.
    #[error("this process may run on no online CPU: check its cpuset")]
    NoCpu,
    /// The CPU list could not be read.
    #[error("ask for the CPUs that may be used: {0}")]
    Affinity(io::Error),
    /// A thread could not be bound to its CPU.
    #[error("bind a thread to CPU {cpu}: {source}")]
    Pin {
        /// The CPU.
        cpu: usize,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The scheduling class could not be set.
    #[error("set scheduling class {0}: {1}")]
    Class(&'static str, io::Error),
}

/// CPUs that this process may run on (its affinity, which holds no offline CPU), ascending.
///
/// # Errors
/// [`CpuError::Affinity`], [`CpuError::NoCpu`].
pub fn online() -> Result<Vec<usize>, CpuError> {
    let set = sched_getaffinity(Pid::from_raw(0)).map_err(|e| CpuError::Affinity(e.into()))?;
    let cpus: Vec<usize> = (0..CpuSet::count()).filter(|&cpu| set.is_set(cpu).unwrap_or(false)).collect();
    if cpus.is_empty() { Err(CpuError::NoCpu) } else { Ok(cpus) }
}

/// The CPUs of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cores {
    /// CPU of the client's threads.
    pub client: usize,
    /// CPU of the server's threads.
    pub server: usize,
}

impl Cores {
    /// The last usable CPU is the client's: the first ones serve most interrupts. With two cores the server takes
    /// the highest other CPU that is not a hyperthread of the client's core, or, if all are, the highest other.
    ///
    /// # Errors
    /// [`CpuError::OnlyOne`] and those of [`online`].
    pub fn of(placement: Placement) -> Result<Self, CpuError> {
        Self::choose(placement, &online()?, &siblings)
    }

    fn choose(
        placement: Placement,
        cpus: &[usize],
        siblings: &dyn Fn(usize) -> String,
    ) -> Result<Self, CpuError> {
        let (&client, others) = cpus.split_last().ok_or(CpuError::NoCpu)?;
        if placement == Placement::OneCore {
            return Ok(Self { client, server: client });
        }
        let core = siblings(client);
        let apart = others.iter().rev().find(|&&cpu| core.is_empty() || siblings(cpu) != core);
        let server = apart.or(others.last()).copied().ok_or(CpuError::OnlyOne(client))?;
        Ok(Self { client, server })
    }
}

/// The hyperthreads of a CPU's core as sysfs lists them; empty where it does not tell.
fn siblings(cpu: usize) -> String {
    let path = format!("/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list");
    fs::read_to_string(path).unwrap_or_default()
}

/// Binds the calling thread to one CPU.
///
/// # Errors
/// [`CpuError::Pin`].
pub fn pin(cpu: usize) -> Result<(), CpuError> {
    let mut set = CpuSet::new();
    set.set(cpu)
        .and_then(|()| sched_setaffinity(Pid::from_raw(0), &set))
        .map_err(|e| CpuError::Pin { cpu, source: e.into() })
}

/// Scheduling class of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scheduler {
    /// Real time: nothing else interrupts a round trip.
    Fifo,
    /// The normal class, where real time is not permitted.
    Other,
}

impl Scheduler {
    /// The best class that this process may use, found out by a thread that tries.
    pub fn permitted() -> Self {
        let tried = std::thread::spawn(|| Self::Fifo.apply().is_ok()).join();
        if tried.unwrap_or(false) { Self::Fifo } else { Self::Other }
    }

    /// The name for a report.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fifo => "SCHED_FIFO 50",
            Self::Other => "SCHED_OTHER",
        }
    }

    /// Puts the calling thread into the class. Async-signal-safe but for the error's text.
    ///
    /// # Errors
    /// [`CpuError::Class`].
    pub fn apply(self) -> Result<(), CpuError> {
        let (policy, priority) = match self {
            Self::Fifo => (libc::SCHED_FIFO, FIFO_PRIORITY),
            Self::Other => (libc::SCHED_OTHER, 0),
        };
        let parameter = libc::sched_param { sched_priority: priority };
        // SAFETY: the pointer is to a live sched_param; pid 0 is the calling thread.
        let rc = unsafe { libc::sched_setscheduler(0, policy, &raw const parameter) };
        if rc == 0 { Ok(()) } else { Err(CpuError::Class(self.name(), io::Error::last_os_error())) }
    }
}

/// Nanoseconds on `CLOCK_MONOTONIC`.
pub fn now_ns() -> u64 {
    read_ns(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC is there on every Linux")
}

/// CPU time that the calling thread has used, ns.
pub fn thread_cpu_ns() -> u64 {
    read_ns(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has a CPU clock")
}

/// A clock's value in ns; an error when the clock's process is gone.
pub fn read_ns(clock: ClockId) -> nix::Result<u64> {
    let t = clock_gettime(clock)?;
    Ok((t.tv_sec() as u64).wrapping_mul(1_000_000_000).wrapping_add(t.tv_nsec() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_core_is_the_last_cpu_for_both_ends() {
        let cores = Cores::choose(Placement::OneCore, &[0, 2, 5], &|_| String::new()).unwrap();
        assert_eq!(cores, Cores { client: 5, server: 5 });
    }

    #[test]
    fn two_cores_avoid_hyperthreads_of_one_core_when_there_is_a_choice() {
        let pairs = |cpu: usize| if cpu < 2 { "0-1".to_owned() } else { "2-3".to_owned() };
        let cores = Cores::choose(Placement::TwoCores, &[0, 1, 2, 3], &pairs).unwrap();
        assert_eq!(cores, Cores { client: 3, server: 1 });
        let cores = Cores::choose(Placement::TwoCores, &[2, 3], &pairs).unwrap();
        assert_eq!(cores, Cores { client: 3, server: 2 });
    }

    #[test]
    fn two_cores_on_one_cpu_is_an_error_that_names_the_remedy() {
        let error = Cores::choose(Placement::TwoCores, &[0], &|_| String::new()).unwrap_err();
        assert!(error.to_string().contains("ask for 1 core"), "{error}");
    }
}
