// SPDX-License-Identifier: Apache-2.0
//! Scenarios: a behaviour told as data (`scenarios/<area>/<behaviour>.yaml`) and shown with real packets over every
//! subject that it names. A probe is sent from inside the client's namespace and is allowed, refused or dropped; what
//! is none of these (no route, half an answer) fails a scenario whatever it expects.

mod answer;
mod churn;
mod cluster;
mod datagram;
mod ends;
mod file;
mod http;
mod load;
mod probe;
mod report;
mod run;
mod stream;
#[cfg(test)]
mod tests;
mod tree;

pub use answer::{Answer, AnswerError, Answering};
pub use ends::Ends;
pub use file::{
    Answered, CLUSTER_SUBJECT, Churn, Cluster, End, Expectation, Family, HOST, Kind, Listen, Load,
    LoadExpectation, LoadKind, Manner, NamedPort, PodSpec, Policy, Probe, Scenario, ScenarioError, SetLabels,
    Step, StopChurn, StopLoad, Target, WORLD,
};
pub(crate) use load::Running;
pub use probe::{Outcome, ProbeError, Seen, Shot, send};
pub use report::{Order, Report, VerdictName};
pub use run::{RunResult, Verdict, run};
pub use tree::{TreeError, load, select, text};
