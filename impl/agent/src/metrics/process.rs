// SPDX-License-Identifier: Apache-2.0
//! The agent's process, as Prometheus' client libraries show it: `cilium_process_…`.

use std::fs;

use nix::sys::resource::{Resource, getrlimit};
use nix::unistd::{SysconfVar, sysconf};
use prometheus::proto::MetricFamily;

use super::family::{alone, counter, gauge};

/// What proc(5) tells of the process; none where it is not mounted.
pub fn families() -> Vec<MetricFamily> {
    let mut families = Vec::new();
    if let Some(stat) = fs::read_to_string("/proc/self/stat").ok().as_deref().and_then(Stat::parse) {
        families.extend([
            counter("process_cpu_seconds_total", "Processor time, user and system", alone(stat.cpu_s)),
            gauge("process_virtual_memory_bytes", "Virtual memory", alone(stat.virtual_bytes)),
            gauge("process_resident_memory_bytes", "Resident memory", alone(stat.resident_bytes)),
            gauge("process_start_time_seconds", "Start, since 1970", alone(stat.start_s)),
        ]);
    }
    if let Ok(open) = fs::read_dir("/proc/self/fd") {
        // One of them is that of the directory itself.
        let open = open.count().saturating_sub(1) as f64;
        families.push(gauge("process_open_fds", "Open file descriptors", alone(open)));
    }
    if let Ok((soft, _)) = getrlimit(Resource::RLIMIT_NOFILE) {
        families.push(gauge("process_max_fds", "File descriptors that may be open", alone(soft as f64)));
    }
    families
}

/// `/proc/self/stat`, as much of it as is wanted.
struct Stat {
    cpu_s: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
    start_s: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the name, in brackets, and may hold anything; fields are numbered from 1 in proc(5).
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = sysconf(SysconfVar::CLK_TCK).ok()?? as f64;
        let page = sysconf(SysconfVar::PAGE_SIZE).ok()?? as f64;
        Some(Self {
            cpu_s: (field(14)? + field(15)?) / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page,
            start_s: boot_s()? + field(22)? / ticks,
        })
    }
}

/// When the machine started, seconds since 1970.
fn boot_s() -> Option<f64> {
    let stat = fs::read_to_string("/proc/stat").ok()?;
    stat.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()
}
