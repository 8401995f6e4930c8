// SPDX-License-Identifier: Apache-2.0
//! What host and guest tell each other: one file in the initramfs, lines of JSON on a virtio-serial port, and the last
//! line on the console.

use serde::{Deserialize, Serialize};

use crate::plan::Plan;
use crate::record::{Clock, RunRecord, VmEnvironment};
use crate::run::Event;
use crate::scenario::{Order, Report};

/// Where the guest finds its orders.
pub const ORDERS_PATH: &str = "/lab/orders.json";

/// Where the guest finds kernel modules.
pub const MODULES_DIR: &str = "/lab/modules";

/// Name of the virtio-serial port.
pub const PORT_NAME: &str = "ciliate.lab";

/// `argv[0]` of the process in the guest that runs the plan; process 1 only looks after it.
pub const RUNNER_ARGV0: &str = "clab-guest-runner";

/// Beginning of the last line on the console; the exit status follows. QEMU itself ends with 0 even after a panic.
pub const DONE_PREFIX: &str = "DONE rc=";

/// What the host types on the console to end a run early; the guest then sends what it has.
pub const STOP_WORD: &str = "stop";

/// What the guest is to do.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Orders {
    /// What the guest's nanoseconds are.
    pub clock: Clock,
    /// Files in [`MODULES_DIR`], in the order in which they are loaded.
    pub modules: Vec<String>,
    /// Of the kernel's random numbers, in virtual time.
    pub seed: u32,
    /// The task.
    pub task: Task,
}

/// What to do once the guest is up.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Task {
    /// Nothing but saying that it is up: a probe.
    Hello,
    /// To run a plan.
    Run(Box<RunOrders>),
    /// To run scenarios, one after the other.
    Scenarios(Vec<Order>),
}

/// A plan for the guest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunOrders {
    /// The plan.
    pub plan: Plan,
    /// What the record is to say of the machine.
    pub environment: VmEnvironment,
}

/// One line on the virtio-serial port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Message {
    /// The guest is up; `uname -r`.
    Up(String),
    /// Something that the user should know.
    Note(String),
    /// What the run says of itself. Its seconds are the guest's.
    Run(Event),
    /// What became of a scenario.
    Scenario(Box<Report>),
    /// The result.
    Record(Box<RunRecord>),
    /// Why there is no result.
    Error(String),
}
