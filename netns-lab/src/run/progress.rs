// SPDX-License-Identifier: Apache-2.0
//! What a run says while it goes on.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::plan::{Placement, WorkloadKind};

/// One step of a run; as JSON, an object with one key: `{"progress":{…}}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// A subject is about to be built.
    Building {
        /// The subject.
        subject: String,
        /// Its place, from 1.
        index: u32,
        /// How many there are.
        count: u32,
    },
    /// A subject has had its turn.
    Progress(Progress),
    /// A pair of slices, netperf's and ours, is done.
    SelfCheck {
        /// The traffic.
        workload: WorkloadKind,
        /// Rounds done.
        round: u32,
        /// All rounds.
        rounds: u32,
    },
    /// Our agent is being measured besides packets.
    Agent {
        /// At what, for a person.
        step: String,
    },
}

/// Where the measurement stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// The phase, from 1.
    pub phase: u32,
    /// How many there are.
    pub phases: u32,
    /// The phase's traffic.
    pub workload: WorkloadKind,
    /// Where its ends run.
    pub placement: Placement,
    /// The subject that has had its turn.
    pub subject: String,
    /// The round, from 1, those for warming up included.
    pub round: u32,
    /// All rounds of the phase, those for warming up included.
    pub rounds: u32,
    /// Since the first phase began, seconds.
    pub elapsed_s: f64,
    /// Until the last phase ends, seconds, if it goes on like this.
    pub left_s: f64,
}

/// Tells how long the rest of the phases will take.
#[derive(Debug)]
pub struct Estimate {
    start: Instant,
    phase_start: Instant,
    /// For each phase, how many transactions it has; they weigh differently, but a guess needs no more.
    rounds: Vec<u64>,
    phase: usize,
}

impl Estimate {
    /// `rounds` holds the slices of each phase.
    pub fn new(rounds: Vec<u64>) -> Self {
        let now = Instant::now();
        Self { start: now, phase_start: now, rounds, phase: 0 }
    }

    /// Phase `phase` (from 0) begins.
    pub fn begin(&mut self, phase: usize) {
        self.phase = phase;
        self.phase_start = Instant::now();
    }

    /// Elapsed and remaining seconds after `done` rounds of the current phase.
    pub fn seconds(&self, done: u64) -> (f64, f64) {
        let (elapsed, phase) = (self.start.elapsed().as_secs_f64(), self.phase_start.elapsed().as_secs_f64());
        (elapsed, left(&self.rounds, self.phase, done, elapsed, phase))
    }
}

/// The current phase goes on at its own pace, later ones at the mean pace of all so far.
fn left(rounds: &[u64], phase: usize, done: u64, elapsed_s: f64, phase_s: f64) -> f64 {
    let all = rounds.get(phase).copied().unwrap_or(0);
    let before: u64 = rounds.iter().take(phase).sum();
    let after: u64 = rounds.iter().skip(phase + 1).sum();
    let this = phase_s / done.max(1) as f64 * all.saturating_sub(done) as f64;
    this + elapsed_s / (before + done).max(1) as f64 * after as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_one_object_with_one_key() {
        let event = Event::Progress(Progress {
            phase: 1,
            phases: 4,
            workload: WorkloadKind::TcpCrr,
            placement: Placement::OneCore,
            subject: "veth".into(),
            round: 3,
            rounds: 210,
            elapsed_s: 1.5,
            left_s: 60.0,
        });
        let json = serde_json::to_string(&event).unwrap();
        let expected = r#"{"progress":{"phase":1,"phases":4,"workload":"TCP_CRR","placement":"one-core","subject":"veth","round":3,"rounds":210,"elapsed_s":1.5,"left_s":60.0}}"#;
        assert_eq!(json, expected);
        assert_eq!(serde_json::from_str::<Event>(&json).unwrap(), event);
    }

    #[test]
    fn what_is_left_is_this_phase_at_its_own_pace_and_later_ones_at_the_mean() {
        // 100 rounds took 10 s; 50 of this phase's 100 took 10 s more; 300 are to come.
        let left = left(&[100, 100, 300], 1, 50, 20.0, 10.0);
        assert!((left - (10.0 + 40.0)).abs() < 1e-9, "{left}");
    }
}
