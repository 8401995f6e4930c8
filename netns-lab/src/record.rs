// SPDX-License-Identifier: Apache-2.0
//! What a run has measured: the raw samples, from which every number of a report can be computed again.
//! All times are nanoseconds on the executor's clock: wall time on the host, instruction count in virtual time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::plan::{Placement, Plan, WorkloadKind};

/// The file `samples.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Samples {
    /// [`crate::plan::SCHEMA`].
    pub schema: u32,
    /// The command that made these samples, as it can be typed again.
    pub command: String,
    /// When the run began, seconds since 1970.
    pub started_unix_s: u64,
    /// One record per executor and kernel.
    pub runs: Vec<RunRecord>,
}

/// What ran the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Executor {
    /// This machine's own kernel.
    Host,
    /// A stock distribution kernel under QEMU.
    Vm,
}

/// What a nanosecond is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Real time.
    Wall,
    /// Executed instructions under `-icount`: path length, blind to caches.
    Virtual,
}

/// The result of one plan on one executor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// What ran it.
    pub executor: Executor,
    /// What its nanoseconds are.
    pub clock: Clock,
    /// What was asked for.
    pub plan: Plan,
    /// Where it ran.
    pub environment: Environment,
    /// The subjects that were measured, in the plan's order.
    pub subjects: Vec<SubjectInfo>,
    /// The subjects that could not be, and why.
    pub not_run: Vec<NotRun>,
    /// The measurements.
    pub cells: Vec<Cell>,
    /// Our generator against netperf.
    pub self_check: SelfCheck,
    /// Our agent besides packets, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentRecord>,
    /// The run was stopped early (Ctrl-C): all that is here is valid, some is missing.
    pub interrupted: bool,
}

/// What our agent costs besides packets. Without a reason in `not_run`, all of it was measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AgentRecord {
    /// Pods that it had in the end.
    pub endpoints: u32,
    /// Each call of the CNI plugin's ADD, in order: the pod is attached and enforced when it ends.
    pub pod_add_ns: Vec<u64>,
    /// Resident memory of the agent with one endpoint.
    pub resident_bytes_one: u64,
    /// Resident memory of the agent with all of them.
    pub resident_bytes_all: u64,
    /// From the moment that a policy which selects every endpoint is there to the moment that all enforce it.
    pub policy_ns: Vec<u64>,
    /// The agent killed and started again with all endpoints.
    pub restarts: Vec<RestartRecord>,
    /// Services of another one, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub services: Option<ServicesRecord>,
    /// Why it was not measured.
    pub not_run: Option<String>,
}

/// What services cost our agent besides packets.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServicesRecord {
    /// How many it got.
    pub services: u32,
    /// Backends of each.
    pub backends: u32,
    /// Each time: from the first file of their manifests to the moment that all are realized.
    pub program_ns: Vec<u64>,
    /// From the file of a slice to the first new connection that its new backend answers, with one service.
    pub change_one_ns: Vec<u64>,
    /// The same with all of them.
    pub change_all_ns: Vec<u64>,
    /// Resident memory of the agent with all of them.
    pub resident_bytes: u64,
}

/// One restart of the agent after SIGKILL, with datagrams going there and back meanwhile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartRecord {
    /// From its start to the moment that it says it is ready.
    pub ready_ns: u64,
    /// Datagrams that came back.
    pub answered: u64,
    /// Datagrams that did not within a second.
    pub lost: u64,
    /// Longest time between two answers, a millisecond of pause between two requests included.
    pub longest_gap_ns: u64,
}

/// What a reader of the report must know of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SubjectInfo {
    /// The name, as in a plan.
    pub name: String,
    /// One sentence: what the packet passes.
    pub description: String,
    /// The rule sets or links imitate another product; that product itself did not run.
    pub emulation: bool,
    /// The traffic that it is for; it takes part in no other.
    pub workloads: Vec<WorkloadKind>,
    /// The series that this subject is a point of, if it is one of several sizes of the same thing.
    pub scale: Option<Scale>,
    /// MTU of the client's interface, bytes.
    pub mtu: u32,
}

/// A point on a curve of cost against size.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scale {
    /// The series, for example `kube-proxy-like`.
    pub series: String,
    /// What is counted, for example `services`.
    pub unit: String,
    /// How many.
    pub count: u32,
}

/// A subject without figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NotRun {
    /// The name, as in a plan.
    pub subject: String,
    /// Why, for example `kernel lacks CONFIG_IPVLAN`.
    pub reason: String,
}

/// One subject under one workload at one placement.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cell {
    /// The subject.
    pub subject: String,
    /// The workload.
    pub workload: WorkloadKind,
    /// Where its ends ran.
    pub placement: Placement,
    /// One per recorded round.
    pub slices: Vec<Slice>,
    /// Latency of every recorded transaction: `(upper bound of the bucket in ns, count)`, ascending,
    /// three significant digits (an HDR histogram).
    pub histogram: Vec<(u64, u64)>,
    /// Context switches of client and server threads, voluntary and not, warm-up left out.
    pub context_switches: u64,
    /// TCP segments sent again by either end during the phase (`RetransSegs` of the two namespaces).
    pub retransmits: u64,
    /// Requests that got no answer within a second and were sent again (UDP) or failed (TCP).
    pub lost: u64,
}

/// A few hundred transactions of one subject, without another subject in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slice {
    /// The round; slices of different subjects with the same number are a pair.
    pub round: u32,
    /// Transactions of all connections.
    pub transactions: u32,
    /// From the first request to the last response.
    pub elapsed_ns: u64,
    /// Fastest transaction.
    pub min_ns: u64,
    /// 10th percentile of the transactions' latency.
    pub p10_ns: u64,
    /// Median of the transactions' latency.
    pub p50_ns: u64,
    /// CPU time of the client's and the server's process together. Interrupt work counts where it happened.
    pub cpu_ns: u64,
}

/// Our generator and netperf in turn on loopback, same core.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfCheck {
    /// The version netperf states; `None` when it was not run.
    pub netperf_version: Option<String>,
    /// Why it was not run.
    pub not_run: Option<String>,
    /// Pairs of slices.
    pub pairs: Vec<SelfCheckPair>,
}

/// Mean time per transaction of two neighbouring slices.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SelfCheckPair {
    /// The workload.
    pub workload: WorkloadKind,
    /// By our generator.
    pub ours_ns: f64,
    /// By netperf.
    pub netperf_ns: f64,
}

/// The machine and kernel that a record is from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// `uname -r`.
    pub kernel: String,
    /// `uname -v`.
    pub kernel_build: String,
    /// Model name of the first CPU.
    pub cpu: String,
    /// CPUs that are online.
    pub cpus: u32,
    /// Memory, MiB.
    pub memory_mib: u64,
    /// Frequency governor of the first CPU, or `none`.
    pub governor: String,
    /// Clock source in use.
    pub clocksource: String,
    /// Hypervisor as the CPU states it, or `none`.
    pub hypervisor: String,
    /// Scheduling class of both ends, for example `SCHED_FIFO 50`.
    pub scheduler: String,
    /// Contents of `/sys/devices/system/cpu/vulnerabilities`.
    pub mitigations: BTreeMap<String, String>,
    /// Network sysctls that change the figures, as set in the pods (`net.ipv4.tcp_congestion_control`, …).
    pub sysctls: BTreeMap<String, String>,
    /// Offloads of a pod's interface (`tso`, `gso`, `gro`, `tx-checksum`, …): `on` or `off`.
    pub offloads: BTreeMap<String, String>,
    /// Versions of the programs that took part (CNI plugins, iptables, ipset, netperf).
    pub tools: BTreeMap<String, String>,
    /// The virtual machine, if there is one.
    pub vm: Option<VmEnvironment>,
}

/// What a virtual machine's figures depend on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VmEnvironment {
    /// Series, for example `6.12`.
    pub kernel_series: String,
    /// The distribution's package and version.
    pub kernel_package: String,
    /// `qemu-system-x86_64 --version`, first line.
    pub qemu: String,
    /// QEMU's arguments, without paths.
    pub qemu_args: Vec<String>,
    /// The kernel's command line.
    pub cmdline: String,
    /// `kvm` or `tcg`.
    pub accel: String,
}
