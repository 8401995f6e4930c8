// SPDX-License-Identifier: Apache-2.0
//! What a run is to measure. A plan is data: the host executor and the VM executor are given the same one.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Version of the plan and of the samples; a reader refuses any other.
pub const SCHEMA: u32 = 1;

/// The subject that every ratio is taken to: two veths routed through the node, no netfilter.
pub const BASELINE: &str = "routed";

/// A second instance of [`BASELINE`], built and measured as any other subject: the A/A pair of a run.
pub const BASELINE_AGAIN: &str = "routed-again";

/// Kinds of traffic, named as netperf names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum WorkloadKind {
    /// One request and one response at a time over an established TCP connection.
    #[serde(rename = "TCP_RR")]
    TcpRr,
    /// Connect, request, response, close: one TCP connection per transaction.
    #[serde(rename = "TCP_CRR")]
    TcpCrr,
    /// Bulk data in one direction; each block of `request_bytes` is acknowledged by the receiving application.
    #[serde(rename = "TCP_STREAM")]
    TcpStream,
    /// One request and one response at a time in UDP datagrams over a connected socket.
    #[serde(rename = "UDP_RR")]
    UdpRr,
}

impl WorkloadKind {
    /// All kinds, in the order in which they are measured and reported.
    pub const ALL: [Self; 4] = [Self::TcpRr, Self::TcpCrr, Self::TcpStream, Self::UdpRr];

    /// The name that netperf gives this kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::TcpRr => "TCP_RR",
            Self::TcpCrr => "TCP_CRR",
            Self::TcpStream => "TCP_STREAM",
            Self::UdpRr => "UDP_RR",
        }
    }

    /// The port on which the server of this kind listens, in every subject.
    pub fn port(self) -> u16 {
        match self {
            Self::TcpRr => 9001,
            Self::TcpCrr => 9002,
            Self::TcpStream => 9003,
            Self::UdpRr => 9004,
        }
    }
}

impl fmt::Display for WorkloadKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Where client and server run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Placement {
    /// Both pinned to the same core: a round trip is then pure CPU cost.
    OneCore,
    /// Client and server pinned to two different cores.
    TwoCores,
}

impl Placement {
    /// Number of cores in use.
    pub fn cores(self) -> u8 {
        match self {
            Self::OneCore => 1,
            Self::TwoCores => 2,
        }
    }
}

impl fmt::Display for Placement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::OneCore => "1 core",
            Self::TwoCores => "2 cores",
        })
    }
}

/// One kind of traffic with its sizes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    /// The kind of traffic.
    pub kind: WorkloadKind,
    /// Bytes that the client sends per transaction (for [`WorkloadKind::TcpStream`]: per block).
    pub request_bytes: u32,
    /// Bytes that the server answers per transaction.
    pub response_bytes: u32,
    /// Connections that are driven at the same time, each by a thread of its own at either end.
    pub connections: u16,
    /// Transactions per connection in one slice.
    pub transactions_per_slice: u32,
}

/// One workload at one placement: the unit within which subjects take turns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The traffic.
    pub workload: WorkloadSpec,
    /// Where its two ends run.
    pub placement: Placement,
    /// Rounds that are recorded; in each, every subject gets one slice.
    pub rounds: u32,
    /// Rounds before those, measured and thrown away.
    pub warmup_rounds: u32,
}

/// A comparison of our generator with netperf itself on loopback.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfCheckPlan {
    /// The `netperf` program.
    pub netperf: String,
    /// The `netserver` program.
    pub netserver: String,
    /// Pairs of slices (netperf, ours) per workload.
    pub rounds: u32,
}

/// Something that is put in the way of one subject's packets, to show that the regression gate notices.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handicap {
    /// The subject that is slowed.
    pub subject: String,
    /// With our agent: instructions before its program, for each packet. Otherwise: never-matching iptables rules in its
    /// node's FORWARD chain.
    pub amount: u32,
}

/// What our agent is measured at besides packets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentPlan {
    /// Pods that it gets.
    pub endpoints: u32,
    /// How often a policy is changed each way, and how often it is killed.
    pub repetitions: u32,
    /// Services that another one gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesPlan>,
}

/// What is measured of our agent's services besides packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesPlan {
    /// How many services it gets.
    pub services: u32,
    /// Backends of each.
    pub backends: u32,
    /// How often the backend of one more service is changed, before and after that.
    pub changes: u32,
    /// How often it gets them.
    pub repetitions: u32,
}

/// Everything that one executor needs to know for one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`SCHEMA`].
    pub schema: u32,
    /// Names of the subjects, in the order of the report; [`BASELINE`] is always among them.
    pub subjects: Vec<String>,
    /// The phases, one after the other.
    pub phases: Vec<Phase>,
    /// Comparison with netperf, where it is installed.
    pub self_check: Option<SelfCheckPlan>,
    /// A subject that is slowed on purpose.
    pub handicap: Option<Handicap>,
    /// Measures of our agent besides packets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentPlan>,
    /// How often the machine of virtual time is booted, each time with other random numbers of its kernel's. The slices of
    /// all boots are one run's. 1 in real time, where no two runs are the same anyway.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub seeds: u32,
}

fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_one(seeds: &u32) -> bool {
    *seeds == 1
}
