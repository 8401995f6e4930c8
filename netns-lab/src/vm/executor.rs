// SPDX-License-Identifier: Apache-2.0
//! The host side of the VM executor, from a plan to a record.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::apt;
use super::boot::{Boot, BootError};
use super::elf::{self, ElfError};
use super::initramfs::{Entry, Initramfs};
use super::kernel::{self, Kernel, KernelError, KernelSource};
use super::message::{MODULES_DIR, Message, ORDERS_PATH, Orders, RunOrders, Task};
use super::modules::{self, ModulesError};
use super::pool::pool;
use super::programs::{self, ProgramsError};
use super::qemu::{self, Files, Qemu, QemuError, VmTime};
use crate::agent;
use crate::plan::{Phase, Placement, Plan};
use crate::probe::Capability;
use crate::record::{Clock, RunRecord, VmEnvironment};
use crate::run::{Estimate, Event};
use crate::scenario::{Order, Report};
use crate::scratch;
use crate::subject::{SubjectSpec, catalogue};

/// Memory of the guest, MiB.
pub const MEMORY_MIB: u32 = 768;
/// The same where our agent has thousands of services, each of several agents with tables of its own.
const MEMORY_SERVICES_MIB: u32 = 3072;

/// Within this time a guest under a working KVM is up; one that hangs is not.
const KVM_PROBE: Duration = Duration::from_secs(10);

/// What to boot, and how.
#[derive(Clone, Debug)]
pub struct VmOptions {
    /// The kernel.
    pub kernel: KernelSource,
    /// What the guest's nanoseconds are.
    pub time: VmTime,
    /// The static lab program, which becomes the guest's `/init`.
    pub lab_binary: PathBuf,
    /// Where kernels are kept (`<cache_dir>/kernels`) and a run has its files while it lasts.
    pub cache_dir: PathBuf,
    /// Limit for one boot with its plan, wall-clock time.
    pub deadline: Duration,
}

/// What happens on the way.
#[derive(Clone, Debug, PartialEq)]
pub enum VmEvent {
    /// What is being done before and after the guest runs, for a person.
    Step(String),
    /// Something that the user should know.
    Note(String),
    /// What the run in the guest says, with this machine's seconds in place of the guest's.
    Run(Event),
}

/// Why the VM gave no record.
#[derive(Debug, thiserror::Error)]
pub enum VmError {
    /// QEMU.
    #[error(transparent)]
    Qemu(#[from] QemuError),
    /// The kernel.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// Its modules.
    #[error(transparent)]
    Modules(#[from] ModulesError),
    /// This machine's programs for the guest.
    #[error(transparent)]
    Programs(#[from] ProgramsError),
    /// The boot.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// A file of the run.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// A program of ours cannot run in the guest.
    #[error("{path}: {reason}")]
    Program {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The plan asks for what this machine cannot do.
    #[error("virtual time has one core: placement \"{0}\" of {1} cannot be measured in it")]
    Placement(Placement, crate::plan::WorkloadKind),
    /// The plan asks for several boots, which is for virtual time.
    #[error("seeds: real time has no two runs alike anyway, only virtual time has seeds: use 1")]
    Seeds,
    /// KVM does not work here, and an emulated wall clock is no clock.
    #[error(
        "--vm-time wall needs working hardware virtualisation, use --vm-time virtual: a probe of KVM failed: {0}"
    )]
    NoKvm(String),
    /// The guest says why it has no record.
    #[error("in the guest: {0}")]
    Guest(String),
    /// The guest ended well but sent nothing.
    #[error("the guest ended without a record")]
    NoRecord,
}

/// Says whether a run can start, before anything is built or downloaded: QEMU is there and a kernel is at hand or can be
/// fetched. Returns what will be done first, for a person.
///
/// # Errors
/// [`VmError::Qemu`], [`VmError::Kernel`]: their texts name the package that is missing.
pub fn check(kernel: &KernelSource, cache_dir: &Path) -> Result<Vec<String>, VmError> {
    Qemu::find()?;
    match kernel {
        KernelSource::Apt(series) if apt::needs_download(*series, cache_dir)? => Ok(vec![format!(
            "download a {series} kernel package (about 30 MB) by apt-get; nothing is installed"
        )]),
        KernelSource::Apt(_) => Ok(Vec::new()),
        KernelSource::Deb(path) | KernelSource::Directory(path) => match path.metadata() {
            Ok(_) => Ok(Vec::new()),
            Err(source) => Err(VmError::File { action: "open", path: path.clone(), source }),
        },
    }
}

/// Boots a guest, runs the plan in it and returns its record. When `stop` is set, the guest is asked for what it has.
///
/// # Errors
/// [`VmError`].
pub fn execute(
    options: &VmOptions,
    plan: &Plan,
    on_event: &mut dyn FnMut(VmEvent),
    stop: &AtomicBool,
) -> Result<RunRecord, VmError> {
    validate(options.time, plan)?;
    let subjects: Vec<&str> = plan.subjects.iter().map(String::as_str).collect();
    let mut machine = MachineParts::prepare(options, &subjects, on_event)?;
    if options.time == VmTime::Wall {
        machine.probe_kvm(stop)?;
    }
    let mut records: Vec<RunRecord> = Vec::new();
    for seed in 0..plan.seeds {
        if plan.seeds > 1 {
            on_event(VmEvent::Note(format!("boot {} of {}", seed + 1, plan.seeds)));
        }
        records.push(boot_with(&mut machine, options, plan, seed, on_event, stop)?);
        if records.iter().any(|record| record.interrupted) {
            break;
        }
    }
    pool(records).ok_or(VmError::NoRecord)
}

/// One boot with one seed.
fn boot_with(
    machine: &mut MachineParts,
    options: &VmOptions,
    plan: &Plan,
    seed: u32,
    on_event: &mut dyn FnMut(VmEvent),
    stop: &AtomicBool,
) -> Result<RunRecord, VmError> {
    let environment = machine.environment(options.time);
    let task = Task::Run(Box::new(RunOrders { plan: plan.clone(), environment }));
    let (mut record, mut error) = (None, None);
    let mut progress = None;
    let boot = Start { time: options.time, task, seed, deadline: options.deadline };
    let booted = machine.boot(boot, stop, &mut |message| match message {
        Message::Up(release) => {
            progress = Some(WallProgress::new(plan));
            on_event(VmEvent::Step(format!("guest is up on {release}")));
        }
        Message::Note(note) => on_event(VmEvent::Note(note)),
        Message::Run(event) => {
            let progress = progress.get_or_insert_with(|| WallProgress::new(plan));
            on_event(VmEvent::Run(progress.in_wall_time(event)));
        }
        // Of a task that this is not.
        Message::Scenario(_) => {}
        Message::Record(sent) => record = Some(sent),
        Message::Error(sent) => error = Some(sent),
    });
    match (error, booted, record) {
        (Some(error), ..) => Err(VmError::Guest(error)),
        (None, Err(e), _) => Err(e),
        (None, Ok(()), Some(record)) => Ok(*record),
        (None, Ok(()), None) => Err(VmError::NoRecord),
    }
}

/// Boots a guest in virtual time and runs scenarios in it, one after the other. What became of each is handed on as it
/// comes. When `stop` is set, the rest is left out.
///
/// # Errors
/// [`VmError`]; that a scenario fails is none.
pub fn execute_scenarios(
    options: &VmOptions,
    orders: &[Order],
    on_event: &mut dyn FnMut(VmEvent),
    on_report: &mut dyn FnMut(Report),
    stop: &AtomicBool,
) -> Result<(), VmError> {
    let subjects: Vec<&str> = orders.iter().map(|order| order.subject.as_str()).collect();
    let mut machine = MachineParts::prepare(options, &subjects, on_event)?;
    let mut error = None;
    let task = Task::Scenarios(orders.to_vec());
    let boot = Start { time: options.time, task, seed: 0, deadline: options.deadline };
    let booted = machine.boot(boot, stop, &mut |message| match message {
        Message::Up(release) => on_event(VmEvent::Step(format!("guest is up on {release}"))),
        Message::Note(note) => on_event(VmEvent::Note(note)),
        Message::Scenario(report) => on_report(*report),
        Message::Error(sent) => error = Some(sent),
        Message::Run(_) | Message::Record(_) => {}
    });
    match error {
        Some(error) => Err(VmError::Guest(error)),
        None => booted,
    }
}

fn validate(time: VmTime, plan: &Plan) -> Result<(), VmError> {
    if time == VmTime::Wall && plan.seeds > 1 {
        return Err(VmError::Seeds);
    }
    let two = plan.phases.iter().find(|phase| phase.placement == Placement::TwoCores);
    match (time, two) {
        (VmTime::Virtual, Some(phase)) => Err(VmError::Placement(phase.placement, phase.workload.kind)),
        _ => Ok(()),
    }
}

/// Tells how long a run takes in this machine's time. A guest's virtual seconds say nothing about that.
struct WallProgress {
    estimate: Estimate,
    phase: u32,
}

impl WallProgress {
    fn new(plan: &Plan) -> Self {
        let rounds = |phase: &Phase| u64::from(phase.rounds) + u64::from(phase.warmup_rounds);
        Self { estimate: Estimate::new(plan.phases.iter().map(rounds).collect()), phase: 0 }
    }

    fn in_wall_time(&mut self, event: Event) -> Event {
        let Event::Progress(mut progress) = event else { return event };
        if progress.phase != self.phase {
            self.phase = progress.phase;
            self.estimate.begin(progress.phase.saturating_sub(1) as usize);
        }
        (progress.elapsed_s, progress.left_s) = self.estimate.seconds(u64::from(progress.round));
        Event::Progress(progress)
    }
}

/// What one boot is for.
struct Start {
    time: VmTime,
    task: Task,
    /// Of the guest kernel's random numbers, in virtual time.
    seed: u32,
    deadline: Duration,
}

/// All that a boot needs but its orders.
struct MachineParts {
    qemu: Qemu,
    kernel: Kernel,
    tree: Initramfs,
    memory_mib: u32,
    modules: Vec<String>,
    scratch: tempfile::TempDir,
}

impl MachineParts {
    fn prepare(
        options: &VmOptions,
        subjects: &[&str],
        on_event: &mut dyn FnMut(VmEvent),
    ) -> Result<Self, VmError> {
        let qemu = Qemu::find()?;
        let err = |source| VmError::File { action: "create", path: options.cache_dir.clone(), source };
        fs::create_dir_all(&options.cache_dir).map_err(err)?;
        let scratch = scratch::directory(&options.cache_dir).map_err(err)?;
        if let KernelSource::Apt(series) = options.kernel
            && apt::needs_download(series, &options.cache_dir)?
        {
            on_event(VmEvent::Step(format!("downloading a {series} kernel")));
        }
        let kernel = kernel::prepare(&options.kernel, &options.cache_dir, scratch.path())?;
        if let Some(note) = &kernel.note {
            on_event(VmEvent::Note(note.clone()));
        }
        let mut tree = base_tree(&options.lab_binary)?;
        let missing = programs::add_programs(&mut tree)?;
        // Only where it takes part: what else is in a guest's memory shows in the last digits of every figure.
        let mut more = Vec::new();
        if need(subjects, Capability::Agent) {
            add_agent(&mut tree, &options.lab_binary)?;
            more.extend(modules::WANTED_BY_AGENT);
        }
        if need(subjects, Capability::Ipvs) {
            more.extend(modules::WANTED_BY_IPVS);
        }
        let set = modules::collect(&kernel.modules_dir, &more)?;
        let missing: BTreeSet<_> = missing.into_iter().collect();
        if !missing.is_empty() {
            let list = missing.into_iter().collect::<Vec<_>>().join(", ");
            on_event(VmEvent::Note(format!("not on this machine, so not in the guest either: {list}")));
        }
        if !set.absent.is_empty() {
            let list = set.absent.join(", ");
            on_event(VmEvent::Note(format!("kernel {} has no module {list}", kernel.series)));
        }
        let mut names = Vec::new();
        for module in set.load {
            let name = format!("{}.ko", module.name);
            tree.add(&format!("{MODULES_DIR}/{name}"), Entry::File { data: module.data, executable: false });
            names.push(name);
        }
        let memory_mib = memory_mib(subjects);
        Ok(Self { qemu, kernel, tree, memory_mib, modules: names, scratch })
    }

    fn environment(&self, time: VmTime) -> VmEnvironment {
        VmEnvironment {
            kernel_series: self.kernel.series.clone(),
            kernel_package: self.kernel.package.clone(),
            qemu: self.qemu.version.clone(),
            qemu_args: qemu::recorded_arguments(time, self.memory_mib),
            cmdline: time.cmdline().to_owned(),
            accel: time.accel().to_owned(),
        }
    }

    /// Boots to a greeting and no further.
    fn probe_kvm(&mut self, stop: &AtomicBool) -> Result<(), VmError> {
        if !Path::new("/dev/kvm").exists() {
            return Err(VmError::NoKvm("there is no /dev/kvm".into()));
        }
        let mut up = false;
        let mut on_message = |message| up |= matches!(message, Message::Up(_));
        let boot = Start { time: VmTime::Wall, task: Task::Hello, seed: 0, deadline: KVM_PROBE };
        match self.boot(boot, stop, &mut on_message) {
            Ok(()) if up => Ok(()),
            Ok(()) => Err(VmError::NoKvm("the guest ended without a greeting".into())),
            Err(VmError::Boot(BootError::Interrupted)) => Err(VmError::Boot(BootError::Interrupted)),
            Err(VmError::Boot(e)) => Err(VmError::NoKvm(e.brief())),
            Err(e) => Err(e),
        }
    }

    fn boot(
        &mut self,
        start: Start,
        stop: &AtomicBool,
        on_message: &mut dyn FnMut(Message),
    ) -> Result<(), VmError> {
        let Start { time, task, seed, deadline } = start;
        let dir = tempfile::tempdir_in(self.scratch.path()).map_err(|source| VmError::File {
            action: "create a directory in",
            path: self.scratch.path().to_owned(),
            source,
        })?;
        let (initrd, port) = (dir.path().join("lab.cpio"), dir.path().join("port.jsonl"));
        let clock = match time {
            VmTime::Virtual => Clock::Virtual,
            VmTime::Wall => Clock::Wall,
        };
        let orders = Orders { clock, modules: self.modules.clone(), seed, task };
        let write = |source| VmError::File { action: "write", path: initrd.clone(), source };
        let orders = serde_json::to_vec(&orders).map_err(|e| write(e.into()))?;
        self.tree.add(ORDERS_PATH, Entry::File { data: orders, executable: false });
        let mut archive = BufWriter::with_capacity(1 << 20, File::create_new(&initrd).map_err(write)?);
        self.tree.write(&mut archive).and_then(|()| archive.flush()).map_err(write)?;
        let mut command = Command::new(&self.qemu.path);
        let files = Files { kernel: &self.kernel.vmlinux, initrd: &initrd, port: &port };
        command.args(qemu::arguments(time, self.memory_mib, files));
        Ok(Boot { command, port: &port, deadline, stop }.run(on_message)?)
    }
}

/// What the subjects need: nothing more than they always had, unless our agent has many services.
fn memory_mib(subjects: &[&str]) -> u32 {
    let many = |spec: &SubjectSpec| spec.needs.contains(&Capability::Agent) && spec.scale.is_some();
    let specs = catalogue();
    let asked = |name: &&str| specs.iter().any(|spec| spec.name == *name && many(spec));
    if subjects.iter().any(asked) { MEMORY_SERVICES_MIB } else { MEMORY_MIB }
}

/// Whether one of the subjects needs this.
fn need(subjects: &[&str], capability: Capability) -> bool {
    let specs = catalogue();
    let needs = |name: &&str| specs.iter().any(|spec| spec.name == *name && spec.needs.contains(&capability));
    subjects.iter().any(needs)
}

/// Our agent beside `/init`, where the lab looks for it. Without it, its subjects say so.
fn add_agent(tree: &mut Initramfs, lab_binary: &Path) -> Result<(), VmError> {
    let path = agent::place(std::env::var_os(agent::BINARY_VARIABLE), lab_binary);
    if path.is_file() {
        tree.add("/ciliate", Entry::File { data: static_program(&path)?, executable: true });
    }
    Ok(())
}

/// The lab program as `/init` and the device that the kernel opens as its console.
fn base_tree(lab_binary: &Path) -> Result<Initramfs, VmError> {
    let mut tree = Initramfs::default();
    tree.add("/init", Entry::File { data: static_program(lab_binary)?, executable: true });
    tree.add("/dev/console", Entry::CharDevice { major: 5, minor: 1 });
    Ok(tree)
}

/// A program of ours that needs no library, without what is not loaded of it.
fn static_program(path: &Path) -> Result<Vec<u8>, VmError> {
    let wrong = |reason: String| VmError::Program { path: path.to_owned(), reason };
    let data = fs::read(path).map_err(|e| wrong(e.to_string()))?;
    let linkage = elf::linkage(&data).map_err(|e: ElfError| wrong(e.to_string()))?;
    if let Some(interpreter) = linkage.interpreter {
        return Err(wrong(format!(
            "is linked dynamically ({interpreter}): build it with -C target-feature=+crt-static for \
             x86_64-unknown-linux-gnu"
        )));
    }
    elf::loadable_part(&data).map_err(|e| wrong(e.to_string()))
}
