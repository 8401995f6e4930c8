// SPDX-License-Identifier: Apache-2.0
//! What concerns no row alone and could not be done: it is done with the next try, and said until then.

use std::collections::HashSet;

use controlplane::{Deltas, Desired, Failure, Row};

use crate::Datapath;
use crate::round::Round;

/// Pairs of frontend and backend that are remembered. With more, all clients are forgotten: each chooses anew.
const AFFINITY_MAX: usize = 65_536;

/// What could not be done.
#[derive(Debug, Default)]
pub(crate) struct Owed {
    /// To have verdicts found again.
    pub epoch: bool,
    /// To have backends looked for again.
    pub lb_epoch: bool,
    /// To take away slots and rows of answers that are no frontend's.
    pub strays: bool,
    /// To forget which clients of these frontends' ids had these backends.
    pub affinity: HashSet<(u16, u32)>,
    /// To forget it of all.
    pub all_affinity: bool,
}

/// A resync that did not remove all that nobody desires.
#[derive(Debug)]
pub(crate) struct Unfinished {
    /// What is desired by now.
    desired: Desired,
    reason: String,
}

impl Unfinished {
    /// For these reasons, if there are any.
    pub fn for_reasons(desired: &Desired, reasons: &[String]) -> Option<Self> {
        (!reasons.is_empty()).then(|| Self { desired: desired.clone(), reason: reasons.join("; ") })
    }

    fn failure(&self) -> Failure {
        Failure { row: Row::Datapath, reason: self.reason.clone() }
    }
}

impl Datapath {
    /// Does what earlier rounds owe, after the writes of this one.
    pub(crate) fn settle(&mut self, owed: Owed, round: &mut Round<'_>) {
        if owed.epoch {
            self.raise_epoch(round);
        }
        if owed.lb_epoch {
            self.raise_lb_epoch(round);
        }
        if owed.strays
            && let Err(error) = self.remove_stray_services()
        {
            round.fail_strays(&error);
        }
        if owed.all_affinity {
            self.forget_all_affinity(round);
        } else if !owed.affinity.is_empty() {
            self.forget_affinity(owed.affinity, round);
        }
        self.owed.strays |= round.has_strays();
    }

    pub(crate) fn raise_epoch(&mut self, round: &mut Round<'_>) {
        if let Err(error) = self.bump_epoch() {
            self.owed.epoch = true;
            round.fail_all(&error);
        }
    }

    pub(crate) fn raise_lb_epoch(&mut self, round: &mut Round<'_>) {
        if let Err(error) = self.bump_lb_epoch() {
            self.owed.lb_epoch = true;
            round.fail_all(&error);
        }
    }

    pub(crate) fn forget_affinity(&mut self, gone: HashSet<(u16, u32)>, round: &mut Round<'_>) {
        let Some(services) = &self.services else { return };
        let Err(error) = services.forget_affinity(|of| gone.contains(&of)) else { return };
        round.fail_all(&error);
        if self.owed.affinity.len() + gone.len() > AFFINITY_MAX {
            self.owed.affinity.clear();
            self.owed.all_affinity = true;
        } else {
            self.owed.affinity.extend(gone);
        }
    }

    fn forget_all_affinity(&mut self, round: &mut Round<'_>) {
        let Some(services) = &self.services else { return };
        if let Err(error) = services.forget_affinity(|_| true) {
            self.owed.all_affinity = true;
            round.fail_all(&error);
        }
    }

    /// The failures, and that a resync is not finished, if it is not; what is desired changed so since.
    pub(crate) fn with_unfinished(&mut self, later: &Deltas, mut failures: Vec<Failure>) -> Vec<Failure> {
        if let Some(unfinished) = &mut self.unfinished {
            unfinished.desired.apply(later);
            failures.push(unfinished.failure());
        }
        failures
    }

    /// Tries a resync again that is not finished.
    pub(crate) fn finish_resync(&mut self) -> Option<Vec<Failure>> {
        let Unfinished { desired, .. } = self.unfinished.take()?;
        Some(self.resync(&desired))
    }
}
