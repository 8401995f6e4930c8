// SPDX-License-Identifier: Apache-2.0
//! Samples as a run of both executors would leave them, made from a seed: correlated machine noise that all subjects of a round share, noise
//! of each slice, a heavy tail.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::collections::BTreeMap;

use netns_lab::plan::*;
use netns_lab::record::*;
use reports::statistics::SplitMix64;

/// Name, emulation, TCP_RR and TCP_CRR ratio to routed.
pub const SUBJECTS: [(&str, bool, f64, f64); 20] = [
    ("loopback", false, 0.84, 0.82),
    ("veth", false, 0.85, 0.87),
    ("routed", false, 1.0, 1.0),
    ("routed-again", false, 1.0, 1.0),
    ("bridge", false, 0.95, 0.98),
    ("bridge-masquerade", false, 1.09, 1.21),
    ("ptp", false, 1.02, 1.03),
    ("calico-like-0", true, 1.19, 1.36),
    ("calico-like-100", true, 1.2, 1.39),
    ("calico-like-1000", true, 1.21, 1.47),
    ("kube-proxy-like-1", true, 1.08, 1.2),
    ("kube-proxy-like-100", true, 1.08, 1.24),
    ("kube-proxy-like-1000", true, 1.085, 1.62),
    ("kube-proxy-like-5000", true, 1.09, 3.3),
    ("vxlan", false, 1.38, 1.49),
    ("ipvlan-l2", false, 0.8, 0.81),
    ("ipvlan-l3", false, 0.81, 0.815),
    ("ipvlan-l3s", false, 0.82, 0.83),
    ("netkit", false, 0.79, 0.8),
    ("macvlan", false, 0.83, 0.84),
];

/// Subjects of services, beside those: only some tests have them.
pub const SERVICES: [(&str, bool, f64, f64); 5] = [
    ("ciliate-veth", false, 0.88, 0.9),
    ("ciliate-service-1", false, 0.88, 0.909),
    ("ciliate-service-10000", false, 0.88, 0.911),
    ("ciliate-service-packet-1", false, 0.9, 0.94),
    ("ciliate-service-packet-10000", false, 0.9, 1.0),
];

/// How the synthetic machine behaves.
#[derive(Clone, Copy)]
pub struct Machine {
    pub seed: u64,
    /// Standard deviation of one slice around the machine's state, fraction.
    pub noise: f64,
    pub rounds: u32,
}

/// About normal (Irwin and Hall), mean 0, deviation 1.
pub fn normal(random: &mut SplitMix64) -> f64 {
    (0..12).map(|_| random.bits() as f64 / u64::MAX as f64).sum::<f64>() - 6.0
}

pub fn phase(kind: WorkloadKind, placement: Placement, rounds: u32) -> Phase {
    let (request_bytes, transactions_per_slice) =
        if kind == WorkloadKind::TcpStream { (65_536, 50) } else { (1, 100) };
    let workload =
        WorkloadSpec { kind, request_bytes, response_bytes: 1, connections: 1, transactions_per_slice };
    Phase { workload, placement, rounds, warmup_rounds: 2 }
}

pub fn plan(subjects: &[&str], rounds: u32) -> Plan {
    let places = [Placement::OneCore, Placement::TwoCores];
    Plan {
        schema: SCHEMA,
        subjects: subjects.iter().map(|s| (*s).to_owned()).collect(),
        phases: WorkloadKind::ALL
            .into_iter()
            .flat_map(|kind| places.map(|placement| phase(kind, placement, rounds)))
            .collect(),
        self_check: None,
        handicap: None,
        agent: None,
        seeds: 1,
    }
}

fn base_ns(kind: WorkloadKind, placement: Placement) -> f64 {
    let one = match kind {
        WorkloadKind::TcpRr => 13_400.0,
        WorkloadKind::TcpCrr => 61_000.0,
        WorkloadKind::TcpStream => 38_000.0,
        WorkloadKind::UdpRr => 11_900.0,
    };
    if placement == Placement::TwoCores { one * 1.7 } else { one }
}

fn ratio(subject: &str, kind: WorkloadKind) -> f64 {
    let found = SUBJECTS.iter().chain(&SERVICES).find(|s| s.0 == subject);
    let (rr, crr) = found.map_or((1.0, 1.0), |s| (s.2, s.3));
    match kind {
        WorkloadKind::TcpRr => rr,
        WorkloadKind::TcpCrr => crr,
        WorkloadKind::TcpStream => 0.3 + 0.7 * rr,
        WorkloadKind::UdpRr => 0.05 + 0.95 * rr,
    }
}

/// All cells of a plan.
pub fn cells(plan: &Plan, subjects: &[&str], machine: Machine) -> Vec<Cell> {
    let mut cells = Vec::new();
    for (number, phase) in plan.phases.iter().enumerate() {
        let taking_part = |(_, name): &(usize, &&str)| takes_part(name, phase.workload.kind);
        for (index, subject) in subjects.iter().enumerate().filter(taking_part) {
            // Every subject of a phase sees the same machine, and noise of its own.
            let mut shared = SplitMix64(machine.seed ^ (number as u64) << 8);
            let mut own = SplitMix64(machine.seed ^ 0xabcd ^ (number as u64) << 16 ^ (index as u64) << 24);
            cells.push(cell(phase, subject, machine, &mut shared, &mut own));
        }
    }
    cells
}

fn cell(
    phase: &Phase,
    subject: &str,
    machine: Machine,
    shared: &mut SplitMix64,
    own: &mut SplitMix64,
) -> Cell {
    let kind = phase.workload.kind;
    let base = base_ns(kind, phase.placement) * ratio(subject, kind);
    let transactions = phase.workload.transactions_per_slice;
    let (mut state, mut histogram) = (0.0, BTreeMap::new());
    let slices = (0..phase.rounds)
        .map(|round| {
            state = 0.9 * state + 6.0 * machine.noise * normal(shared);
            let p50 = base * (1.0 + state) * (1.0 + machine.noise * normal(own));
            for n in 0..transactions {
                let u = own.bits() as f64 / u64::MAX as f64;
                let tail = if machine.noise == 0.0 {
                    1.0 + 0.1 * f64::from(n) / f64::from(transactions)
                } else {
                    0.96 + 0.05 * -(1.0 - u).max(1e-6).ln()
                };
                let slow = if own.bits().is_multiple_of(3000) && machine.noise > 0.0 { 8.0 } else { 1.0 };
                let ns = p50 * tail * slow;
                let digits = 10_f64.powf(ns.log10().floor() - 2.0);
                *histogram.entry(((ns / digits).ceil() * digits) as u64).or_insert(0) += 1;
            }
            Slice {
                round,
                transactions,
                elapsed_ns: (p50 * 1.03 * f64::from(transactions)) as u64,
                min_ns: (p50 * 0.96) as u64,
                p10_ns: (p50 * 0.98) as u64,
                p50_ns: p50 as u64,
                cpu_ns: (p50 * 0.97 * f64::from(transactions)) as u64,
            }
        })
        .collect();
    Cell {
        subject: subject.to_owned(),
        workload: kind,
        placement: phase.placement,
        slices,
        histogram: histogram.into_iter().collect(),
        context_switches: u64::from(phase.rounds * transactions) * 2,
        retransmits: 0,
        lost: 0,
    }
}

fn of_services(subject: &str) -> bool {
    subject.starts_with("kube-proxy-like") || subject.starts_with("ciliate-service")
}

/// Services are for new connections only.
pub fn takes_part(subject: &str, kind: WorkloadKind) -> bool {
    kind == WorkloadKind::TcpCrr || !of_services(subject)
}

pub fn info(name: &str) -> SubjectInfo {
    let emulation = SUBJECTS.iter().any(|s| s.0 == name && s.1);
    let scale = name.rsplit_once('-').and_then(|(series, count)| {
        let unit = if of_services(series) { "services" } else { "policies" };
        Some(Scale { series: series.to_owned(), unit: unit.to_owned(), count: count.parse().ok()? })
    });
    SubjectInfo {
        name: name.to_owned(),
        description: format!("Packets of `{name}` pass what its name says, and return the same way."),
        emulation,
        workloads: WorkloadKind::ALL.into_iter().filter(|kind| takes_part(name, *kind)).collect(),
        scale,
        mtu: if name == "loopback" { 65_536 } else { 1500 },
    }
}

pub fn environment(kernel: &str) -> Environment {
    let map =
        |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Environment {
        kernel: kernel.to_owned(),
        kernel_build: "#1 SMP PREEMPT_DYNAMIC".to_owned(),
        cpu: "Example Processor 9000 @ 3.40GHz".to_owned(),
        cpus: 2,
        memory_mib: 24_000,
        governor: "none".to_owned(),
        clocksource: "tsc".to_owned(),
        hypervisor: "none".to_owned(),
        scheduler: "SCHED_FIFO 50".to_owned(),
        mitigations: map(&[
            ("meltdown", "Not affected"),
            ("spectre_v2", "Mitigation: Enhanced / Automatic IBRS"),
        ]),
        sysctls: map(&[("net.ipv4.tcp_congestion_control", "cubic")]),
        offloads: map(&[("tso", "on"), ("gso", "on"), ("gro", "on")]),
        tools: map(&[("bridge", "1.1.1"), ("iptables-restore", "1.8.9 (legacy)"), ("netperf", "2.7.0")]),
        vm: None,
    }
}

/// A record of `measured`, with `not_run` beside them.
pub fn record(measured: &[&str], not_run: &[(&str, &str)], machine: Machine) -> RunRecord {
    let all: Vec<&str> = measured.iter().copied().chain(not_run.iter().map(|n| n.0)).collect();
    let plan = plan(&all, machine.rounds);
    let mut random = SplitMix64(machine.seed);
    let pairs = [WorkloadKind::TcpRr, WorkloadKind::TcpCrr]
        .into_iter()
        .flat_map(|workload| (0..20).map(move |_| workload))
        .map(|workload| SelfCheckPair {
            workload,
            ours_ns: 1e4 * (1.0 + 0.01 * normal(&mut random)),
            netperf_ns: 1e4,
        })
        .collect();
    RunRecord {
        executor: Executor::Host,
        clock: Clock::Wall,
        cells: cells(&plan, measured, machine),
        plan,
        environment: environment("6.18.5"),
        subjects: measured.iter().map(|s| info(s)).collect(),
        not_run: not_run
            .iter()
            .map(|(subject, reason)| NotRun { subject: (*subject).to_owned(), reason: (*reason).to_owned() })
            .collect(),
        self_check: SelfCheck { netperf_version: Some("2.7.0".to_owned()), not_run: None, pairs },
        agent: None,
        interrupted: false,
    }
}

/// The same in a virtual machine's virtual time: no noise.
pub fn virtual_record(measured: &[&str], not_run: &[(&str, &str)]) -> RunRecord {
    let mut run = record(measured, not_run, Machine { seed: 7, noise: 0.0, rounds: 12 });
    run.executor = Executor::Vm;
    run.clock = Clock::Virtual;
    run.environment = environment("6.12.9-cloud-amd64");
    run.environment.vm = Some(VmEnvironment {
        kernel_series: "6.12".to_owned(),
        kernel_package: "linux-image-6.12.9-cloud-amd64 6.12.9-1".to_owned(),
        qemu: "QEMU emulator version 7.2.17".to_owned(),
        qemu_args: vec!["-accel".to_owned(), "tcg".to_owned(), "-cpu".to_owned(), "max".to_owned()],
        cmdline: "console=ttyS0 quiet nokaslr".to_owned(),
        accel: "tcg".to_owned(),
    });
    run.self_check =
        SelfCheck { not_run: Some("netperf does not run in the guest".to_owned()), ..SelfCheck::default() };
    run
}

/// About twenty subjects, the host first and then the virtual machine for what the host lacks.
pub fn samples() -> Samples {
    let lacks = [
        ("ipvlan-l2", "kernel lacks CONFIG_IPVLAN"),
        ("ipvlan-l3", "kernel lacks CONFIG_IPVLAN"),
        ("ipvlan-l3s", "kernel lacks CONFIG_IPVLAN"),
        ("netkit", "kernel lacks CONFIG_NETKIT"),
    ];
    let host: Vec<&str> =
        SUBJECTS.iter().map(|s| s.0).filter(|s| !lacks.iter().any(|(name, _)| name == s)).collect();
    let vm = ["loopback", "veth", "routed", "routed-again", "ipvlan-l2", "ipvlan-l3", "ipvlan-l3s", "netkit"];
    let host = record(&host, &lacks, Machine { seed: 1, noise: 0.01, rounds: 60 });
    Samples {
        schema: SCHEMA,
        command: "cargo xtask bench --quick --out bench-out".to_owned(),
        started_unix_s: 1_767_225_600,
        runs: vec![host, virtual_record(&vm, &[])],
    }
}
