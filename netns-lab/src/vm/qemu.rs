// SPDX-License-Identifier: Apache-2.0
//! QEMU's arguments, and what is recorded of them.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::message::PORT_NAME;
use super::programs::PROGRAM_DIRS;

/// The program; Debian's package is `qemu-system-x86`.
const PROGRAM: &str = "qemu-system-x86_64";

/// What a guest's nanoseconds are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VmTime {
    /// Emulation that counts instructions, one nanosecond each: every run gives the same figures to the last digit.
    Virtual,
    /// Hardware virtualisation and real time.
    Wall,
}

impl VmTime {
    /// QEMU's accelerator.
    pub fn accel(self) -> &'static str {
        match self {
            Self::Virtual => "tcg",
            Self::Wall => "kvm",
        }
    }

    /// The kernel's command line. In virtual time all that varies from boot to boot is fixed: address layout, timer
    /// calibration, the CPU's random numbers; and code that only spends time is left out (mitigations cost what an
    /// emulated CPU says they cost, not what a real one does). The socket tables get the size that they have on a machine
    /// with much memory: in a small one's two subjects' sockets fall into one slot too often, which costs one of them 2 %.
    pub fn cmdline(self) -> &'static str {
        match self {
            Self::Virtual => {
                "console=ttyS0 quiet panic=-1 nokaslr norandmaps random.trust_cpu=off nolapic noapic no_timer_check \
                 tsc=reliable mitigations=off cryptomgr.notests uhash_entries=65536 thash_entries=65536"
            }
            Self::Wall => "console=ttyS0 quiet panic=-1 uhash_entries=65536 thash_entries=65536",
        }
    }
}

/// QEMU is not there.
#[derive(Debug, thiserror::Error)]
pub enum QemuError {
    /// No program of that name.
    #[error("{PROGRAM} is not installed: install package qemu-system-x86")]
    Missing,
    /// It does not tell its version.
    #[error("{path} --version: {reason}")]
    Version {
        /// The program.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
}

/// A QEMU that can be run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Qemu {
    /// The program.
    pub path: PathBuf,
    /// The first line of `--version`.
    pub version: String,
}

impl Qemu {
    /// Looks for QEMU in `PATH` and in the usual directories.
    ///
    /// # Errors
    /// [`QemuError`].
    pub fn find() -> Result<Self, QemuError> {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let path = std::env::split_paths(&path)
            .chain(PROGRAM_DIRS.iter().map(PathBuf::from))
            .map(|dir| dir.join(PROGRAM))
            .find(|path| path.is_file())
            .ok_or(QemuError::Missing)?;
        let err = |reason: String| QemuError::Version { path: path.clone(), reason };
        let output = Command::new(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .map_err(|e: io::Error| err(e.to_string()))?;
        let stdout = String::from_utf8_lossy(&output.stdout);
        match stdout.lines().next() {
            Some(version) if output.status.success() => Ok(Self { version: version.to_owned(), path }),
            _ => Err(err(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
        }
    }
}

/// The files that a machine is made of.
#[derive(Clone, Copy, Debug)]
pub struct Files<'a> {
    /// The ELF kernel.
    pub kernel: &'a Path,
    /// The guest's root file system.
    pub initrd: &'a Path,
    /// Where the virtio-serial port writes.
    pub port: &'a Path,
}

/// The arguments as they are recorded: bare names in place of paths, no command line (it has its own field).
pub fn recorded_arguments(time: VmTime, memory_mib: u32) -> Vec<String> {
    let names =
        Files { kernel: Path::new("vmlinux"), initrd: Path::new("lab.cpio"), port: Path::new("port.jsonl") };
    machine_arguments(time, memory_mib, names).iter().map(|a| a.to_string_lossy().into_owned()).collect()
}

/// All arguments for one run.
pub fn arguments(time: VmTime, memory_mib: u32, files: Files<'_>) -> Vec<OsString> {
    let mut args = machine_arguments(time, memory_mib, files);
    args.extend(["-append", time.cmdline()].map(OsString::from));
    args
}

fn machine_arguments(time: VmTime, memory_mib: u32, files: Files<'_>) -> Vec<OsString> {
    let mut args: Vec<OsString> = Vec::new();
    let mut add = |words: &[&str]| args.extend(words.iter().map(OsString::from));
    match time {
        VmTime::Virtual => {
            add(&["-accel", "tcg", "-icount", "shift=0,sleep=off"]);
            add(&["-cpu", "max,rdrand=off,rdseed=off"]);
            add(&["-rtc", "base=2024-01-01T00:00:00,clock=vm", "-smp", "1"]);
        }
        VmTime::Wall => add(&["-accel", "kvm", "-cpu", "host", "-smp", "2"]),
    }
    add(&["-m", &memory_mib.to_string()]);
    add(&["-nodefaults", "-no-user-config", "-nographic", "-no-reboot", "-serial", "stdio"]);
    // Without ioeventfd a message is taken over within the guest's own instruction, not by another thread some host
    // time later: virtual time does not see the host.
    add(&["-device", "virtio-serial-pci,ioeventfd=off"]);
    add(&["-device", &format!("virtserialport,chardev=port,name={PORT_NAME}")]);
    let mut port = OsString::from("file,id=port,path=");
    // QEMU's own way to write a comma in an option's value.
    port.push(files.port.to_string_lossy().replace(',', ",,"));
    args.extend(["-chardev".into(), port]);
    args.extend(["-kernel".into(), files.kernel.into(), "-initrd".into(), files.initrd.into()]);
    args
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn virtual_time_counts_instructions_on_one_cpu_without_random_instructions() {
        let args = recorded_arguments(VmTime::Virtual, 768).join(" ");
        for expected in [
            "-accel tcg -icount shift=0,sleep=off -cpu max,rdrand=off,rdseed=off",
            "-rtc base=2024-01-01T00:00:00,clock=vm -smp 1 -m 768",
            "ioeventfd=off",
            "-kernel vmlinux -initrd lab.cpio",
        ] {
            assert!(args.contains(expected), "{args}");
        }
        assert!(VmTime::Virtual.cmdline().contains(" nokaslr norandmaps random.trust_cpu=off "));
        assert!(!VmTime::Virtual.cmdline().contains("  "));
    }

    #[test]
    fn wall_time_is_never_emulated() {
        let args = recorded_arguments(VmTime::Wall, 768).join(" ");
        assert!(args.contains("-accel kvm -cpu host -smp 2") && !args.contains("tcg"), "{args}");
    }

    #[test]
    fn paths_are_passed_whole_and_recorded_as_names() {
        let files =
            Files { kernel: Path::new("/k/vm"), initrd: Path::new("/i"), port: Path::new("/a,b/port") };
        let args = arguments(VmTime::Virtual, 512, files);
        assert!(args.contains(&"file,id=port,path=/a,,b/port".into()));
        assert_eq!(args.last().unwrap(), VmTime::Virtual.cmdline());
        assert!(recorded_arguments(VmTime::Virtual, 512).iter().all(|a| !a.contains('/')));
    }
}
