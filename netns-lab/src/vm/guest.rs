// SPDX-License-Identifier: Apache-2.0
//! Process 1 of the guest: makes a kernel that has just booted into a place where the lab can run, starts the runner,
//! looks after orphans, and switches the machine off with a last word on the console.

use std::fmt::Display;
use std::fs::{self, File};
use std::io::{self, BufRead};
use std::os::fd::AsRawFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use netlink::{NetNs, Netlink};
use nix::errno::Errno;
use nix::kmod::{ModuleInitFlags, finit_module};
use nix::mount::{MsFlags, mount};
use nix::sys::reboot::{RebootMode, reboot};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::tcdrain;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

use super::guest_port::GuestPort;
use super::message::{DONE_PREFIX, MODULES_DIR, Message, ORDERS_PATH, Orders, RUNNER_ARGV0, STOP_WORD, Task};
use super::programs::PROGRAM_DIRS;
use crate::record::Clock;

/// After boot, work that the kernel has put off (deferred probes, RCU, timers) still runs; figures taken within the first
/// seconds are off by up to a factor of two. Virtual time in which nothing happens costs next to nothing.
const SETTLE: Duration = Duration::from_secs(8);

/// Bits that are credited to the kernel's random number generator: more than it asks for.
const ENTROPY_BYTES: usize = 512;

/// Real-time priority of the kernel's `ksoftirqd` threads: above that of both ends of a workload.
const KSOFTIRQD_PRIORITY: i32 = 60;

/// Exit status of the machine when process 1 itself has failed.
const INIT_FAILED: i32 = 125;

/// What process 1 could not do.
#[derive(Debug, thiserror::Error)]
#[error("{action}: {source}")]
struct GuestError {
    action: String,
    source: io::Error,
}

fn failed<E: Into<io::Error>>(action: impl Into<String>) -> impl FnOnce(E) -> GuestError {
    move |source| GuestError { action: action.into(), source: source.into() }
}

/// Runs as process 1 and ends with the machine.
pub fn init() -> ! {
    let rc = match bring_up().and_then(|orders| carry_out(&orders)) {
        Ok(rc) => rc,
        Err(e) => {
            report_failure(&e.to_string());
            INIT_FAILED
        }
    };
    // The last word must be out before the machine is.
    println!("\n{DONE_PREFIX}{rc}");
    let _ = tcdrain(io::stdout());
    nix::unistd::sync();
    let _ = reboot(RebootMode::RB_AUTOBOOT);
    // Not reached: a kernel without reboot support ends in a panic, which the host takes for what it is.
    std::process::exit(rc)
}

/// Tells the host by the port where there is one, and in any case on the console.
fn report_failure(error: &str) {
    eprintln!("lab guest: {error}");
    if let Ok(mut port) = GuestPort::open() {
        let _ = port.send(&Message::Error(error.to_owned()));
    }
}

fn bring_up() -> Result<Orders, GuestError> {
    mount_file_systems()?;
    let orders = fs::read(ORDERS_PATH).map_err(failed(format!("read {ORDERS_PATH}")))?;
    let orders: Orders = serde_json::from_slice(&orders).map_err(failed(format!("parse {ORDERS_PATH}")))?;
    if orders.clock == Clock::Virtual {
        credit_fixed_entropy(orders.seed)?;
    }
    for module in &orders.modules {
        load_module(module)?;
    }
    // Nothing more is loaded on demand: there is no modprobe here for the kernel to run.
    write_file("/proc/sys/kernel/modprobe", "")?;
    nix::unistd::sethostname("ciliate-lab").map_err(failed("set the host name"))?;
    bring_up_loopback()?;
    raise_ksoftirqd()?;
    if orders.clock == Clock::Virtual {
        thread::sleep(SETTLE);
    }
    Ok(orders)
}

fn mount_file_systems() -> Result<(), GuestError> {
    for (kind, target) in [
        ("devtmpfs", "/dev"),
        ("proc", "/proc"),
        ("sysfs", "/sys"),
        ("tmpfs", "/run"),
        ("tmpfs", "/tmp"),
        ("cgroup2", "/sys/fs/cgroup"),
        ("bpf", "/sys/fs/bpf"),
    ] {
        let mounted = fs::create_dir_all(target)
            .and_then(|()| Ok(mount(Some(kind), target, Some(kind), MsFlags::MS_NOSUID, None::<&str>)?));
        match mounted {
            // The kernel has mounted devtmpfs itself.
            Err(e) if e.raw_os_error() == Some(Errno::EBUSY as i32) => {}
            mounted => mounted.map_err(failed(format!("mount {kind} on {target}")))?,
        }
    }
    Ok(())
}

/// Gives the random number generator a seed that is the same in every run, of full credit (`RNDADDENTROPY`, `random(4)`). Otherwise it seeds itself
/// from timing some time later, in the middle of the measurements.
fn credit_fixed_entropy(seed: u32) -> Result<(), GuestError> {
    #[repr(C)]
    struct Pool {
        entropy_bits: libc::c_int,
        size: libc::c_int,
        bytes: [u8; ENTROPY_BYTES],
    }
    /// `_IOW('R', 0x03, int [2])`.
    const RNDADDENTROPY: libc::Ioctl = 0x4008_5203;
    let pool = Pool {
        entropy_bits: 8 * ENTROPY_BYTES as libc::c_int,
        size: ENTROPY_BYTES as libc::c_int,
        bytes: entropy(seed),
    };
    let device = File::options().write(true).open("/dev/random").map_err(failed("open /dev/random"))?;
    // SAFETY: the request reads a `rand_pool_info`, which `pool` is, with `size` bytes after its two integers.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), RNDADDENTROPY, &raw const pool) };
    Errno::result(result).map(drop).map_err(failed("credit entropy"))
}

/// As good as any other bytes; another seed's are others in their first four.
fn entropy(seed: u32) -> [u8; ENTROPY_BYTES] {
    let mut bytes = std::array::from_fn(|i| (i as u8).wrapping_mul(151) ^ 0x5a);
    for (byte, seed) in bytes.iter_mut().zip(seed.to_le_bytes()) {
        *byte ^= seed;
    }
    bytes
}

fn load_module(file: &str) -> Result<(), GuestError> {
    let path = Path::new(MODULES_DIR).join(file);
    let module = File::open(&path).map_err(failed(format!("open module {file}")))?;
    match finit_module(&module, c"", ModuleInitFlags::empty()) {
        Ok(()) | Err(Errno::EEXIST) => Ok(()),
        // Drivers for hardware that is not there. What a subject lacks, its probe tells.
        Err(e @ (Errno::ENODEV | Errno::ENOENT | Errno::EOPNOTSUPP)) => {
            eprintln!("lab guest: module {file}: {e}");
            Ok(())
        }
        Err(e) => Err(failed(format!("load module {file}"))(e)),
    }
}

fn bring_up_loopback() -> Result<(), GuestError> {
    let error = |e: &dyn Display| failed("bring up lo")(io::Error::other(e.to_string()));
    let own = NetNs::current().map_err(|e| error(&e))?;
    Netlink::open(&own).and_then(|netlink| netlink.set_up("lo")).map_err(|e| error(&e))
}

/// Once `ksoftirqd` is woken, kernels before 6.4 leave all packets to it until it has slept again. In the normal class it
/// does not get to sleep beside two busy real-time ends: a slice then has one of two costs, 8 % apart, by chance. Above
/// them it works and sleeps at once.
fn raise_ksoftirqd() -> Result<(), GuestError> {
    let action = "raise the priority of ksoftirqd";
    for process in fs::read_dir("/proc").map_err(failed(action))? {
        let process = process.map_err(failed(action))?;
        let Some(pid) = process.file_name().to_str().and_then(|name| name.parse::<i32>().ok()) else {
            continue;
        };
        // A process may have ended meanwhile; these threads never do.
        if !fs::read_to_string(process.path().join("comm")).is_ok_and(|comm| comm.starts_with("ksoftirqd/")) {
            continue;
        }
        let parameter = libc::sched_param { sched_priority: KSOFTIRQD_PRIORITY };
        // SAFETY: the pointer is to a live sched_param.
        let result = unsafe { libc::sched_setscheduler(pid, libc::SCHED_FIFO, &raw const parameter) };
        Errno::result(result).map(drop).map_err(failed(action))?;
    }
    Ok(())
}

fn write_file(path: &str, contents: &str) -> Result<(), GuestError> {
    fs::write(path, contents).map_err(failed(format!("write {path}")))
}

fn carry_out(orders: &Orders) -> Result<i32, GuestError> {
    match orders.task {
        Task::Hello => {
            let mut port = GuestPort::open().map_err(failed("open the port to the host"))?;
            let release =
                fs::read_to_string("/proc/sys/kernel/osrelease").map_err(failed("read the release"))?;
            port.send(&Message::Up(release.trim().to_owned())).map_err(failed("write to the port"))?;
            Ok(0)
        }
        Task::Run(_) | Task::Scenarios(_) => run_runner(),
    }
}

/// Starts the runner and waits for it, collecting every other process that ends meanwhile.
fn run_runner() -> Result<i32, GuestError> {
    let child = Command::new("/init")
        .arg0(RUNNER_ARGV0)
        .env_clear()
        .env("PATH", PROGRAM_DIRS.join(":"))
        .env("HOME", "/")
        .current_dir("/")
        .spawn()
        .map_err(failed("start the runner"))?;
    let runner = Pid::from_raw(child.id().cast_signed());
    thread::spawn(move || forward_stop(runner));
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, rc)) if pid == runner => return Ok(rc),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == runner => {
                report_failure(&format!("the runner was killed by {signal}"));
                return Ok(128 + signal as i32);
            }
            Ok(_) | Err(Errno::EINTR) => {}
            Err(e) => return Err(failed("wait for the runner")(e)),
        }
    }
}

/// Waits for the host's word on the console and passes it on as what Ctrl-C sends.
fn forward_stop(runner: Pid) {
    for line in io::stdin().lock().lines() {
        match line {
            Ok(line) if line.trim() == STOP_WORD => {
                // It fails only when the runner has just ended.
                let _ = kill(runner, Signal::SIGINT);
            }
            Ok(_) => {}
            Err(_) => return,
        }
    }
}
