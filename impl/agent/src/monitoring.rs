// SPDX-License-Identifier: Apache-2.0
//! Whether programs need to make trace events: only while somebody listens to them, and how many.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use monitor::Listening;

use crate::config::Aggregation;

/// Who listens, and how much they are told.
pub struct Monitoring {
    state: Mutex<State>,
    tell: Box<dyn Fn(Option<u32>) + Send + Sync>,
}

#[derive(Clone, Copy, Debug)]
struct State {
    aggregation: Aggregation,
    listening: Listening,
}

impl State {
    /// What the kernel is told; drops come whether somebody listens or not.
    fn level(self) -> Option<u32> {
        let Listening { trace, policy_verdict, debug, .. } = self.listening;
        (trace || policy_verdict || debug).then(|| self.aggregation.level())
    }
}

impl Monitoring {
    /// Nobody listens yet. `tell` must not wait.
    pub fn new(aggregation: Aggregation, tell: impl Fn(Option<u32>) + Send + Sync + 'static) -> Self {
        let state = State { aggregation, listening: Listening::default() };
        Self { state: Mutex::new(state), tell: Box::new(tell) }
    }

    /// What listeners together want has changed.
    pub fn heard(&self, listening: Listening) {
        self.change(|state| state.listening = listening);
    }

    /// How many trace events are left out from now on.
    pub fn set_aggregation(&self, aggregation: Aggregation) {
        self.change(|state| state.aggregation = aggregation);
    }

    /// How many trace events are left out.
    pub fn aggregation(&self) -> Aggregation {
        self.lock().aggregation
    }

    /// Who listens.
    pub fn listening(&self) -> Listening {
        self.lock().listening
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        let before = state.level();
        change(&mut state);
        if state.level() != before {
            // Under the lock, so that of two changes the later is told last.
            (self.tell)(state.level());
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Monitoring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monitoring").field("state", &*self.lock()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn programs_make_traces_only_while_somebody_wants_them() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let sink = told.clone();
        let monitoring = Monitoring::new(Aggregation::None, move |level| sink.lock().unwrap().push(level));
        let drops_only = Listening { subscribers: 1, ..Listening::default() };
        monitoring.heard(drops_only);
        monitoring.heard(Listening { trace: true, ..drops_only });
        monitoring.heard(Listening { debug: true, ..drops_only });
        monitoring.set_aggregation(Aggregation::Medium);
        monitoring.heard(Listening::default());
        assert_eq!(*told.lock().unwrap(), [Some(0), Some(3), None]);
    }
}
