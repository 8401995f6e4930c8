// SPDX-License-Identifier: Apache-2.0
//! Gives plans to executors and collects their records.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use netns_lab::host;
use netns_lab::plan::Plan;
use netns_lab::record::RunRecord;
use netns_lab::run::Event;
use netns_lab::vm::{self, KernelSeries, KernelSource, VmEvent, VmOptions, VmTime};

use crate::output::Output;
use crate::progress::Display;

/// Limit for one boot of the VM with its plan: a full suite takes some minutes on a slow machine.
const VM_DEADLINE: Duration = Duration::from_secs(40 * 60);

/// Where the programs are, as `cargo xtask` tells it.
#[derive(Debug)]
pub struct Places {
    /// The static lab program.
    pub lab_binary: PathBuf,
    /// Where kernels are kept.
    pub cache_dir: PathBuf,
    /// Where netperf and netserver are, if they are.
    pub netperf_dir: Option<PathBuf>,
}

impl Places {
    /// Reads what `cargo xtask bench` has set.
    ///
    /// # Errors
    /// When this program was started by hand without it.
    pub fn from_environment() -> Result<Self> {
        let place = |name: &str| std::env::var_os(name).map(PathBuf::from);
        let needed = |name: &str| {
            place(name).with_context(|| format!("{name} is not set: start this with `cargo xtask bench`"))
        };
        Ok(Self {
            lab_binary: needed("CILIATE_LAB_BINARY")?,
            cache_dir: needed("CILIATE_LAB_CACHE")?,
            netperf_dir: place("CILIATE_NETPERF_DIR"),
        })
    }
}

/// Runs a plan on this kernel.
///
/// # Errors
/// What the lab says.
pub fn on_host(places: &Places, plan: &Plan, output: &Output, stop: &AtomicBool) -> Result<RunRecord> {
    let mut display = Display::new("host");
    let work_dir = output.work_dir("host")?;
    host::execute(&places.lab_binary, plan, &work_dir, &mut |event| show(&mut display, &event), stop)
        .context("on the host")
}

/// Runs a plan in the VM.
///
/// # Errors
/// What is missing, or what the guest says.
pub fn in_vm(
    places: &Places,
    plan: &Plan,
    series: KernelSeries,
    time: VmTime,
    stop: &AtomicBool,
) -> Result<RunRecord> {
    let title = format!("vm {series}");
    let mut display = Display::new(&title);
    let options = VmOptions {
        kernel: KernelSource::Apt(series),
        time,
        lab_binary: places.lab_binary.clone(),
        cache_dir: places.cache_dir.clone(),
        deadline: VM_DEADLINE,
    };
    let mut on_event = |event| match event {
        VmEvent::Step(step) => display.update(0.0, &step, None),
        VmEvent::Note(note) => display.note(&note),
        VmEvent::Run(event) => show(&mut display, &event),
    };
    vm::execute(&options, plan, &mut on_event, stop)
        .with_context(|| format!("in the virtual machine ({series})"))
}

fn show(display: &mut Display, event: &Event) {
    match event {
        Event::Building { subject, index, count } => {
            display.update(0.0, &format!("building {subject} ({index} of {count})"), None);
        }
        Event::Progress(p) => {
            let done = p.elapsed_s / (p.elapsed_s + p.left_s).max(f64::MIN_POSITIVE);
            let now =
                format!("{}, {}: {}, round {}/{}", p.workload, p.placement, p.subject, p.round, p.rounds);
            display.update(done, &now, Duration::try_from_secs_f64(p.left_s).ok());
        }
        Event::Agent { step } => display.update(1.0, &format!("the agent: {step}"), None),
        Event::SelfCheck { workload, round, rounds } => {
            display.update(1.0, &format!("against netperf: {workload}, round {round}/{rounds}"), None);
        }
    }
}

/// Whether the user has asked to stop.
pub fn stopped(stop: &AtomicBool) -> bool {
    stop.load(Ordering::Relaxed)
}
