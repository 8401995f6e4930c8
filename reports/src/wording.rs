// SPDX-License-Identifier: Apache-2.0
//! Sentences that Markdown, HTML and terminal share: what the numbers are, and what they are not.

use std::collections::BTreeMap;

use netns_lab::plan::{BASELINE, WorkloadKind};
use netns_lab::record::{Clock, Environment, Executor, RunRecord};

use crate::analysis::{Group, RunAnalysis, subjects};
use crate::figures;

/// How ratios are to be read.
pub fn ratio() -> String {
    format!(
        "Ratio: time per transaction relative to `{BASELINE}` (two veths routed through the node, no netfilter); \
         below 1 is faster. It is the median over pairs of slices of one round, with a 95 % block-bootstrap interval in \
         brackets. For TCP_RR, TCP_CRR and UDP_RR the time is the median latency of a slice, for TCP_STREAM the time per block. \
         Subjects share a rank where their intervals, widened by the noise floor, overlap. \
         Ranges in parentheses are the 10th to the 90th percentile over slices."
    )
}

/// How a ranking is to be read.
pub const RANKING: &str = "Fastest first: the ratio to `routed`, ± the distance to the farther end of its 95 % interval. Subjects that cannot be \
     told apart, because their intervals widened by the noise floor overlap directly or through a third, share a rank.";

/// What an emulation is.
pub const EMULATION: &str =
    "(emulation): the rule sets or links imitate another product, which itself did not run.";

/// What the nanoseconds of a record are.
pub fn clock(record: &RunRecord) -> &'static str {
    match (record.executor, record.clock) {
        (_, Clock::Virtual) => {
            "Virtual time: one executed instruction counts as one nanosecond (QEMU TCG with icount). These figures are \
             path length only. They do not see caches, memory, branch prediction or parallelism, and must not be \
             compared with wall time of any machine; ratios compare only within this section. They repeat from run to run."
        }
        (Executor::Vm, Clock::Wall) => {
            "Wall time in a virtual machine: nanoseconds of the guest's clock. They contain what the hypervisor adds, and \
             must not be compared with the host's; ratios compare only within this section."
        }
        (Executor::Host, Clock::Wall) => {
            "Wall time: real nanoseconds on this machine's own kernel. Ratios compare only within this section."
        }
    }
}

/// The same in a few words.
pub fn times(record: &RunRecord) -> &'static str {
    match (record.executor, record.clock) {
        (_, Clock::Virtual) => "virtual time: instructions, no caches",
        (Executor::Vm, Clock::Wall) => "wall time of the guest",
        (Executor::Host, Clock::Wall) => "wall time",
    }
}

/// How many subjects were measured, and how many could not be.
pub fn compared(run: &RunAnalysis<'_>) -> String {
    let names = subjects(run.record);
    let measured =
        |name: &&&str| run.groups.iter().any(|g| g.row(name).is_some_and(|r| r.figures().is_some()));
    let count = names.iter().filter(measured).count();
    match names.len() - count {
        0 => format!("{count} measured"),
        missing => format!("{count} measured, {missing} not run"),
    }
}

/// The range of the noise floors of a run's groups.
pub fn floors(run: &RunAnalysis<'_>) -> String {
    let bands = || run.groups.iter().filter_map(|g| Some(g.noise?.band()));
    let (low, high) = (bands().fold(f64::INFINITY, f64::min), bands().fold(0.0, f64::max));
    let worst = run.groups.iter().find(|g| g.noise.is_some_and(|n| n.band() == high));
    match worst {
        Some(group) if low < high => {
            format!("{} to {} ({})", figures::percent(low), figures::percent(high), group.title())
        }
        Some(_) => figures::percent(high),
        None => "not measured".to_owned(),
    }
}

/// The A/A line of a group.
pub fn noise(group: &Group) -> String {
    match &group.noise {
        Some(noise) => format!(
            "Noise floor: the A/A pair reads {}, so differences below {} mean nothing here.",
            figures::estimate(&noise.ratio),
            figures::percent(noise.band())
        ),
        None => "Noise floor: not measured, because the A/A pair has no samples.".to_owned(),
    }
}

/// Sizes of a group's traffic.
pub fn traffic(group: &Group) -> String {
    let Some(spec) = &group.spec else { return "Sizes unknown.".to_owned() };
    let shape = match spec.kind {
        WorkloadKind::TcpStream => format!(
            "{} byte blocks, each acknowledged by {} byte from the receiving application",
            spec.request_bytes, spec.response_bytes
        ),
        _ => format!("{} byte request, {} byte response", spec.request_bytes, spec.response_bytes),
    };
    format!(
        "{shape}; {} connection{}; {} transactions per connection and slice.",
        spec.connections,
        if spec.connections == 1 { "" } else { "s" },
        spec.transactions_per_slice
    )
}

/// The comparison with netperf: one line per workload, or why there is none.
pub fn self_check(run: &RunAnalysis<'_>) -> Vec<String> {
    let check = &run.record.self_check;
    if let Some(reason) = &check.not_run {
        return vec![format!("Generator against netperf: not run: {reason}")];
    }
    if run.self_check.is_empty() {
        return vec!["Generator against netperf: not run: the record holds no pairs".to_owned()];
    }
    let version = check.netperf_version.as_deref().map_or("of unknown version", |v| own_words("netperf", v));
    run.self_check
        .iter()
        .map(|(kind, ratio)| {
            let agree = ratio.interval.low <= 1.0 && ratio.interval.high >= 1.0;
            let closes = match kind {
                WorkloadKind::TcpCrr => {
                    ". Here ours closes connections as netperf does; in the measured phases it closes by reset"
                }
                _ => "",
            };
            format!(
                "Generator against netperf {version} on loopback, {kind}: ours / netperf = {} over {} pairs: {}{closes}.",
                figures::estimate(ratio),
                ratio.pairs,
                if agree { "no difference beyond the noise" } else { "the interval does not contain 1" }
            )
        })
        .collect()
}

/// The environment as rows of name and value; empty facts are left out.
pub fn environment(environment: &Environment) -> Vec<(String, String)> {
    let e = environment;
    let joined = |map: &BTreeMap<String, String>| {
        map.iter().map(|(k, v)| format!("{k}: {v}")).collect::<Vec<_>>().join("; ")
    };
    let mut rows = vec![
        ("kernel", format!("{} {}", e.kernel, e.kernel_build)),
        ("CPU", e.cpu.clone()),
        ("CPUs online", e.cpus.to_string()),
        ("memory", format!("{} MiB", e.memory_mib)),
        ("frequency governor", e.governor.clone()),
        ("clock source", e.clocksource.clone()),
        ("hypervisor", e.hypervisor.clone()),
        ("scheduling", e.scheduler.clone()),
        ("mitigations", joined(&e.mitigations)),
        ("sysctls in the pods", joined(&e.sysctls)),
        ("offloads of a pod's interface", joined(&e.offloads)),
        ("tools", tools(&e.tools)),
    ];
    if let Some(vm) = &e.vm {
        rows.extend([
            ("guest kernel package", vm.kernel_package.clone()),
            ("kernel series", vm.kernel_series.clone()),
            ("QEMU", vm.qemu.clone()),
            ("accelerator", vm.accel.clone()),
            ("QEMU arguments", vm.qemu_args.join(" ")),
            ("kernel command line", vm.cmdline.clone()),
        ]);
    }
    rows.into_iter()
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .filter(|(_, value)| !value.is_empty())
        .collect()
}

/// Versions in the tools' own words, of which most begin with the tool's name.
fn tools(versions: &BTreeMap<String, String>) -> String {
    let told = versions.iter().map(|(tool, words)| format!("{tool}: {}", own_words(tool, words)));
    told.collect::<Vec<_>>().join("; ")
}

/// `words` without the name that they repeat: `CNI bridge plugin version unknown` of `CNI bridge` is `version unknown`.
fn own_words<'a>(tool: &str, words: &'a str) -> &'a str {
    let named = words.get(..tool.len()).is_some_and(|start| start.eq_ignore_ascii_case(tool));
    let rest = match words.get(tool.len()..) {
        Some(rest) if named && rest.starts_with(' ') => rest.trim_start(),
        _ => words,
    };
    let rest = rest.strip_prefix("plugin ").unwrap_or(rest);
    if rest.is_empty() { words } else { rest }
}

/// How many slices the figures rest on, over all subjects of a group.
pub fn slices(group: &Group) -> String {
    let counts = || group.rows.iter().filter_map(|r| r.figures()).map(|f| f.slices);
    match (counts().min(), counts().max()) {
        (Some(low), Some(high)) if low == high => format!("{low} slices per subject."),
        (Some(low), Some(high)) => format!("{low} to {high} slices per subject."),
        _ => "No slices.".to_owned(),
    }
}

/// The MTU of the pods' interfaces, by value.
pub fn mtu(record: &RunRecord) -> String {
    let mut by_mtu: BTreeMap<u32, Vec<&str>> = BTreeMap::new();
    for subject in &record.subjects {
        by_mtu.entry(subject.mtu).or_default().push(&subject.name);
    }
    by_mtu.iter().map(|(mtu, names)| format!("{mtu}: {}", names.join(", "))).collect::<Vec<_>>().join("; ")
}
