// SPDX-License-Identifier: Apache-2.0
//! The VM executor: a stock distribution kernel under QEMU with this same program as process 1.
//!
//! The host side puts together a kernel ([`kernel`]), a root file system ([`initramfs`], [`modules`], [`programs`]) and a
//! machine ([`qemu`]), and boots it ([`boot`]). The guest side ([`guest`]) runs the plan and sends the record back.
//! In virtual time (instructions counted by the emulator) every run of the same inputs gives the same bytes.

mod apt;
mod boot;
mod bzimage;
mod compression;
mod elf;
mod executor;
mod guest;
mod guest_port;
mod guest_runner;
mod initramfs;
mod kernel;
mod message;
mod modules;
mod pool;
mod programs;
mod qemu;

pub use boot::BootError;
pub use executor::{VmError, VmEvent, VmOptions, check, execute, execute_scenarios};
pub use kernel::{KernelError, KernelSeries, KernelSource};
pub use qemu::{QemuError, VmTime};

/// Takes over when this process is one of the guest's: process 1, or the runner that it starts. Otherwise returns at once.
/// To be called first in `main`, before arguments are looked at.
pub fn dispatch_guest() {
    let argv0 = std::env::args_os().next().unwrap_or_default();
    if std::process::id() == 1 && argv0 == "/init" {
        guest::init();
    }
    if argv0 == message::RUNNER_ARGV0 {
        guest_runner::main();
    }
}
