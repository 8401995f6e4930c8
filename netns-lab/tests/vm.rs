// SPDX-License-Identifier: Apache-2.0
//! The VM executor with real kernels: needs qemu-system-x86, and apt for the kernels' packages unless they are cached.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use netns_lab::plan::{Phase, Placement, Plan, SCHEMA, WorkloadKind, WorkloadSpec};
use netns_lab::record::{Clock, Executor, RunRecord};
use netns_lab::run::Event;
use netns_lab::vm::{self, KernelSeries, KernelSource, VmError, VmEvent, VmOptions, VmTime};

/// Generous: an emulated boot takes 10 s on an idle core, and these tests may not be alone.
const DEADLINE: Duration = Duration::from_secs(600);

/// Cargo's target directory.
fn target_dir() -> &'static Path {
    let tmp = Path::new(env!("CARGO_TARGET_TMPDIR"));
    tmp.parent().expect("cargo puts its tmp into the target directory")
}

/// The static lab program: the one that `cargo xtask` has built, or the same built here.
fn lab_binary() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(path) = std::env::var_os("CILIATE_LAB_BINARY") {
            return path.into();
        }
        let target = "x86_64-unknown-linux-gnu";
        let status = Command::new(env!("CARGO"))
            .args(["build", "--quiet", "--release", "--package", "netns-lab", "--bin", "netns-lab"])
            .args(["--target", target, "--target-dir"])
            .arg(target_dir())
            .arg("--config")
            .arg(format!("target.{target}.rustflags=[\"-Ctarget-feature=+crt-static\"]"))
            .env_remove("RUSTFLAGS")
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .status()
            .expect("run cargo");
        assert!(status.success(), "the static lab program does not build");
        target_dir().join(target).join("release/netns-lab")
    })
}

fn options(series: KernelSeries, time: VmTime) -> VmOptions {
    let cache = std::env::var_os("CILIATE_LAB_CACHE");
    let cache = cache.map_or_else(|| target_dir().join("lab/cache"), PathBuf::from);
    VmOptions {
        kernel: KernelSource::Apt(series),
        time,
        lab_binary: lab_binary().to_owned(),
        cache_dir: cache,
        deadline: DEADLINE,
    }
}

fn plan(subjects: &[&str], placement: Placement, rounds: u32) -> Plan {
    let phase = |kind, request_bytes, transactions_per_slice| Phase {
        workload: WorkloadSpec {
            kind,
            request_bytes,
            response_bytes: 1,
            connections: 1,
            transactions_per_slice,
        },
        placement,
        rounds,
        warmup_rounds: 1,
    };
    Plan {
        schema: SCHEMA,
        subjects: subjects.iter().map(|&s| s.to_owned()).collect(),
        phases: vec![phase(WorkloadKind::TcpRr, 1, 100), phase(WorkloadKind::TcpCrr, 1, 20)],
        self_check: None,
        handicap: None,
        agent: None,
        seeds: 1,
    }
}

fn run(series: KernelSeries, plan: &Plan) -> RunRecord {
    let mut events = Vec::new();
    let record = vm::execute(
        &options(series, VmTime::Virtual),
        plan,
        &mut |event| events.push(event),
        &AtomicBool::new(false),
    );
    record.unwrap_or_else(|e| panic!("{e}\nafter {events:?}"))
}

/// Keeps a core busy while it lives.
struct Load(&'static AtomicBool);

impl Load {
    fn start(stop: &'static AtomicBool) -> Self {
        thread::spawn(move || while !stop.load(Ordering::Relaxed) {});
        Self(stop)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn repeats_to_the_last_byte(series: KernelSeries, subjects: &[&str], stop_load: &'static AtomicBool) {
    let plan = plan(subjects, Placement::OneCore, 4);
    let first = run(series, &plan);
    assert_eq!(first.not_run, [], "{series}");
    assert_eq!(first.cells.len(), subjects.len() * plan.phases.len());
    assert!(first.cells.iter().all(|cell| cell.slices.len() == 4 && cell.lost == 0));
    assert_eq!((first.executor, first.clock), (Executor::Vm, Clock::Virtual));
    let vm = first.environment.vm.as_ref().expect("a VM's record says which");
    assert_eq!((vm.kernel_series.as_str(), vm.accel.as_str()), (series.name(), "tcg"));
    assert!(first.environment.kernel.starts_with(series.name()));
    let _load = Load::start(stop_load);
    let second = run(series, &plan);
    let text = |record| serde_json::to_string(record).expect("a record is JSON");
    assert_eq!(text(&first), text(&second), "virtual time differs between two runs on {series}");
}

#[test]
fn two_runs_on_6_12_are_the_same_to_the_last_byte_with_the_other_core_busy() {
    static STOP: AtomicBool = AtomicBool::new(false);
    repeats_to_the_last_byte(KernelSeries::V6_12, &["routed", "veth", "netkit"], &STOP);
}

#[test]
fn two_runs_on_6_1_are_the_same_to_the_last_byte_with_the_other_core_busy() {
    static STOP: AtomicBool = AtomicBool::new(false);
    repeats_to_the_last_byte(KernelSeries::V6_1, &["routed", "veth", "ipvlan-l3"], &STOP);
}

#[test]
fn a_guest_that_is_stopped_sends_what_it_has() {
    let stop = AtomicBool::new(false);
    let options = options(KernelSeries::V6_12, VmTime::Virtual);
    let plan = plan(&["routed", "veth"], Placement::OneCore, 100_000);
    let mut on_event = |event| {
        if matches!(event, VmEvent::Run(Event::Progress(_))) {
            stop.store(true, Ordering::Relaxed);
        }
    };
    let record = vm::execute(&options, &plan, &mut on_event, &stop).unwrap();
    assert!(record.interrupted);
    assert!(record.cells.iter().any(|cell| !cell.slices.is_empty()));
}

#[test]
fn two_cores_in_virtual_time_are_refused_before_anything_starts() {
    let plan = plan(&["routed"], Placement::TwoCores, 1);
    let mut options = options(KernelSeries::V6_12, VmTime::Virtual);
    options.cache_dir = "/proc/nothing/can/be/made/here".into();
    let err = vm::execute(&options, &plan, &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(err, VmError::Placement(Placement::TwoCores, WorkloadKind::TcpRr)), "{err}");
}

#[test]
fn seeds_in_wall_time_are_refused_before_anything_starts() {
    let plan = Plan { seeds: 2, ..plan(&["routed"], Placement::OneCore, 1) };
    let mut options = options(KernelSeries::V6_12, VmTime::Wall);
    options.cache_dir = "/proc/nothing/can/be/made/here".into();
    let err = vm::execute(&options, &plan, &mut |_| {}, &AtomicBool::new(false)).unwrap_err();
    assert!(matches!(err, VmError::Seeds), "{err}");
}

#[test]
fn wall_time_is_measured_under_kvm_or_refused_soon() {
    let started = Instant::now();
    let plan = plan(&["routed", "veth"], Placement::TwoCores, 2);
    let options = options(KernelSeries::V6_12, VmTime::Wall);
    match vm::execute(&options, &plan, &mut |_| {}, &AtomicBool::new(false)) {
        Ok(record) => {
            assert_eq!(record.clock, Clock::Wall);
            assert_eq!(record.environment.vm.map(|vm| vm.accel).as_deref(), Some("kvm"));
        }
        Err(VmError::NoKvm(reason)) => {
            assert!(!reason.contains('\n'), "{reason}");
            assert!(started.elapsed() < Duration::from_secs(120), "refused after {:?}", started.elapsed());
        }
        Err(e) => panic!("{e}"),
    }
}
