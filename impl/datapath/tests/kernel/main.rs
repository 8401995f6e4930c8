// SPDX-License-Identifier: Apache-2.0
//! On this machine's kernel, each test in a network namespace and a BPF file system of its own. Needs root.

mod bench;
mod connections;
mod loader;
mod node;
mod restart;
mod services;
mod sockets;
