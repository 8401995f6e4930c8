// SPDX-License-Identifier: Apache-2.0
//! A containerd of its own for tests: our CNI plugin as a container runtime calls it.
//!
//! The daemon runs in the network namespace of a node, in a mount and a process namespace of its own. When it ends, by
//! whatever way, the kernel ends every process that it started, and its mounts go.

mod client;
mod cri;
mod daemon;
mod image;

pub use client::{Client, ClientError, Sandbox};
pub use cri::{LinuxPodSandboxConfig, PodSandboxConfig, PodSandboxMetadata};
pub use daemon::{Containerd, DaemonError, Installed};
