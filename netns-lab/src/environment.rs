// SPDX-License-Identifier: Apache-2.0
//! The machine and kernel that figures depend on, as they state themselves. What cannot be read is said to be
//! `unknown`; nothing is guessed.

mod offloads;
pub(crate) mod programs;

use std::collections::BTreeMap;
use std::fs;

use nix::sys::utsname::uname;

use crate::pair::Pair;
use crate::plan::SelfCheckPlan;
use crate::record::Environment;

pub use offloads::{OffloadError, read_offloads};

/// What is said of what cannot be read.
const UNKNOWN: &str = "unknown";

/// Sysctls that change what a packet costs, or how TCP sends.
const SYSCTLS: [&str; 18] = [
    "net.core.default_qdisc",
    "net.core.netdev_budget",
    "net.core.netdev_max_backlog",
    "net.core.rmem_default",
    "net.core.rmem_max",
    "net.core.wmem_default",
    "net.core.wmem_max",
    "net.ipv4.ip_forward",
    "net.ipv4.ip_early_demux",
    "net.ipv4.tcp_autocorking",
    "net.ipv4.tcp_congestion_control",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_sack",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_timestamps",
    "net.ipv4.tcp_tw_reuse",
    "net.ipv4.tcp_window_scaling",
    "net.ipv4.tcp_wmem",
];

const CONGESTION: &str = "net.ipv4.tcp_congestion_control";

/// Reads all but the scheduling class and the virtual machine, which the caller knows. Sysctls and offloads are those
/// of the pair's client.
pub fn read(pair: Option<&Pair>, self_check: Option<&SelfCheckPlan>) -> Environment {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let (kernel, kernel_build) = match uname() {
        Ok(name) => {
            (name.release().to_string_lossy().into_owned(), name.version().to_string_lossy().into_owned())
        }
        Err(_) => (UNKNOWN.into(), UNKNOWN.into()),
    };
    Environment {
        kernel,
        kernel_build,
        cpu: field(&cpuinfo, "model name").unwrap_or_else(|| UNKNOWN.into()),
        cpus: online_cpus(),
        memory_mib: memory_mib(),
        governor: first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .unwrap_or_else(|| "none".into()),
        clocksource: first_line("/sys/devices/system/clocksource/clocksource0/current_clocksource")
            .unwrap_or_else(|| UNKNOWN.into()),
        hypervisor: hypervisor(&cpuinfo),
        scheduler: UNKNOWN.into(),
        mitigations: mitigations(),
        sysctls: pair.map(sysctls).unwrap_or_default(),
        offloads: pair.map(offloads).unwrap_or_default(),
        tools: programs::versions(self_check),
        vm: None,
    }
}

/// The first `name : value` of /proc/cpuinfo.
fn field(cpuinfo: &str, name: &str) -> Option<String> {
    cpuinfo.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    })
}

fn first_line(path: &str) -> Option<String> {
    Some(fs::read_to_string(path).ok()?.lines().next()?.trim().to_owned())
}

/// CPUs that are online on the machine, whether or not this process may run on them.
fn online_cpus() -> u32 {
    first_line("/sys/devices/system/cpu/online").and_then(|list| count_cpus(&list)).unwrap_or_else(|| {
        std::thread::available_parallelism().map_or(0, |count| count.get().try_into().unwrap_or(u32::MAX))
    })
}

/// How many a list as `0-3,8` holds.
fn count_cpus(list: &str) -> Option<u32> {
    list.split(',')
        .map(|part| {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = (first.parse().ok()?, last.parse().ok()?);
            last.checked_sub(first)?.checked_add(1)
        })
        .try_fold(0_u32, |sum, count| sum.checked_add(count?))
}

fn memory_mib() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = field(&text, "MemTotal").and_then(|value| value.split(' ').next()?.parse::<u64>().ok());
    kib.unwrap_or(0) / 1024
}

/// `none` when the CPU does not state that it is virtual; else its vendor leaf.
fn hypervisor(cpuinfo: &str) -> String {
    let virtual_cpu =
        field(cpuinfo, "flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor"));
    if virtual_cpu { vendor().unwrap_or_else(|| UNKNOWN.into()) } else { "none".into() }
}

/// The twelve characters of CPUID leaf 0x4000_0000, without padding.
#[cfg(target_arch = "x86_64")]
fn vendor() -> Option<String> {
    let leaf = std::arch::x86_64::__cpuid(0x4000_0000);
    let bytes: Vec<u8> = [leaf.ebx, leaf.ecx, leaf.edx].into_iter().flat_map(u32::to_le_bytes).collect();
    let text: String = bytes.into_iter().filter(u8::is_ascii_graphic).map(char::from).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(not(target_arch = "x86_64"))]
fn vendor() -> Option<String> {
    None
}

fn mitigations() -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir("/sys/devices/system/cpu/vulnerabilities") else { return BTreeMap::new() };
    entries
        .flatten()
        .filter_map(|entry| {
            let state = fs::read_to_string(entry.path()).ok()?;
            Some((entry.file_name().to_string_lossy().into_owned(), state.trim().to_owned()))
        })
        .collect()
}

/// Those of [`SYSCTLS`] that a pod's namespace shows; some exist in the first namespace only, and are read there.
fn sysctls(pair: &Pair) -> BTreeMap<String, String> {
    let read = |name: &&str| -> Option<(String, String)> {
        let value = fs::read_to_string(format!("/proc/sys/{}", name.replace('.', "/"))).ok()?;
        Some(((*name).to_owned(), value.split_whitespace().collect::<Vec<_>>().join(" ")))
    };
    let mut values: BTreeMap<String, String> = SYSCTLS.iter().filter_map(read).collect();
    // The pods are given one; what the host itself uses is part of the truth.
    if let Some(host) = values.get(CONGESTION).cloned() {
        values.insert(format!("{CONGESTION} (host)"), host);
    }
    // What the pod has of its own replaces what the first namespace says.
    if let Ok(own) = pair.client.run(|| SYSCTLS.iter().filter_map(read).collect::<BTreeMap<_, _>>()) {
        values.extend(own);
    }
    values
}

fn offloads(pair: &Pair) -> BTreeMap<String, String> {
    match pair.client.run(|| read_offloads(&pair.client_interface)) {
        Ok(Ok(offloads)) => offloads,
        Ok(Err(error)) => BTreeMap::from([("unknown".into(), error.to_string())]),
        Err(error) => BTreeMap::from([("unknown".into(), error.to_string())]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_lists_are_counted() {
        assert_eq!(count_cpus("0"), Some(1));
        assert_eq!(count_cpus("0-3,8,10-11"), Some(7));
        assert_eq!(count_cpus("3-1"), None);
        assert_eq!(count_cpus(""), None);
    }

    #[test]
    fn this_machine_states_its_kernel_and_cpus() {
        let environment = read(None, None);
        assert_eq!(environment.kernel, fs::read_to_string("/proc/sys/kernel/osrelease").unwrap().trim());
        assert_eq!(environment.kernel_build, fs::read_to_string("/proc/sys/kernel/version").unwrap().trim());
        assert!(environment.cpus >= 1);
        assert!(environment.memory_mib > 0);
        assert_ne!(environment.cpu, UNKNOWN);
        let flagged = fs::read_to_string("/proc/cpuinfo").unwrap().contains(" hypervisor");
        assert_eq!(environment.hypervisor != "none", flagged);
    }
}
