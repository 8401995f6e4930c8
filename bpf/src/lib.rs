// SPDX-License-Identifier: Apache-2.0
//! The eBPF datapath's objects.
//!
//! The C files beside this crate are compiled by clang when the project is built; a node runs no compiler. Each object
//! holds its programs and its maps with their pinned names. What an endpoint's program must know is in a map; what the
//! node's must, in a constant in `.rodata` that the loader fills (`host_config`). `impl/adr/0003` says why C and which toolchain.

/// `bpf_lxc.o`: `from_container`, at the ingress of a pod's host-side device. One load for all
/// endpoints.
pub static LXC: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bpf_lxc.o"));

/// `bpf_host.o`: `from_host` at the egress of `cilium_host`; `from_netdev` and `to_netdev` at the native devices.
pub static HOST: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bpf_host.o"));

/// `bpf_sock.o`: `sock_connect4` and its kin, at a control group: services for the sockets of its processes.
pub static SOCK: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/bpf_sock.o"));

/// `abi.o`: no programs, but the types of structs that the other objects use only inside of functions. For tests.
pub static ABI: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/abi.o"));
