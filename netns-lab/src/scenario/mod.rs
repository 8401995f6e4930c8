// SPDX-License-Identifier: Apache-2.0
//! Scenarios: a behaviour told as data (`scenarios/<area>/<behaviour>.yaml`) and shown with real packets over every
//! subject that it names. A probe is sent from inside the client's namespace and is allowed, refused or dropped; what
//! is none of these (no route, half an answer) fails a scenario whatever it expects.

mod answer;
mod datagram;
mod file;
mod probe;
mod run;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

pub use answer::{AnswerError, Answering};
pub use file::{End, Expectation, Kind, Listen, Probe, Scenario, ScenarioError, Target};
pub use probe::{Outcome, ProbeError};
pub use run::{Ends, RunResult, Verdict, probe_all, run};
pub use tree::{TreeError, load, select};
