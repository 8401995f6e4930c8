// SPDX-License-Identifier: Apache-2.0
//! Scenarios: a behaviour told as data (`scenarios/<area>/<behaviour>.yaml`) and shown with real packets over every
//! subject that it names. A probe is sent from inside the client's namespace and is allowed, refused or dropped; what
//! is none of these (no route, half an answer) fails a scenario whatever it expects.

mod answer;
mod cluster;
mod datagram;
mod ends;
mod file;
mod load;
mod probe;
mod report;
mod run;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

pub use answer::{AnswerError, Answering};
pub use ends::Ends;
pub use file::{
    CLUSTER_SUBJECT, Cluster, End, Expectation, Family, HOST, Kind, Listen, Load, LoadExpectation, LoadKind,
    NamedPort, PodSpec, Policy, Probe, Scenario, ScenarioError, SetLabels, Step, StopLoad, Target, WORLD,
};
pub(crate) use load::Running;
pub use probe::{Outcome, ProbeError, Shot, send};
pub use report::{Order, Report, VerdictName};
pub use run::{RunResult, Verdict, run};
pub use tree::{TreeError, load, select, text};
