// SPDX-License-Identifier: Apache-2.0
//! What the datapath could not do.

use std::io;
use std::path::PathBuf;

use maps::MapError;
use netlink::NetlinkError;

/// Why an operation of the datapath failed.
#[derive(Debug, thiserror::Error)]
pub enum DatapathError {
    /// The kernel refused a program, or libbpf an object.
    #[error("{action} {object}: {source:#}{}", remark(log))]
    Load {
        /// What was tried.
        action: &'static str,
        /// Which object.
        object: &'static str,
        /// The kernel's answer.
        source: libbpf_rs::Error,
        /// What libbpf and the verifier said.
        log: String,
    },
    /// An embedded object lacks something that this version needs: the project was built wrongly.
    #[error("{object} has no {what}")]
    Object {
        /// Which object.
        object: &'static str,
        /// What it lacks.
        what: String,
    },
    /// A program could not be attached, replaced or detached.
    #[error("{action} {hook}: {source:#}{}", remark(log))]
    Attach {
        /// What was tried.
        action: &'static str,
        /// Where.
        hook: String,
        /// The kernel's answer.
        source: libbpf_rs::Error,
        /// What libbpf said.
        log: String,
    },
    /// A pinned map was made by another version and its rows cannot be carried over.
    #[error(
        "map {path} has another layout ({found}) than this version's ({expected}): \
         take the node's pods away and run `cilium cleanup --force`, then start again"
    )]
    Layout {
        /// The pin.
        path: PathBuf,
        /// What it is.
        found: String,
        /// What it should be.
        expected: String,
    },
    /// A table of services is to become smaller than what is in it.
    #[error(
        "map {map} has more rows than it is to hold: raise {option}, or run `cilium cleanup --force` first"
    )]
    TooSmall {
        /// Its name.
        map: String,
        /// What says its size.
        option: &'static str,
    },
    /// A file, directory or mount.
    #[error("{action} {path}: {source}")]
    File {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The directory for pins is of another file system.
    #[error("{path} is not on a BPF file system: mount one there, or choose another --bpf-root")]
    NoBpfFs {
        /// `--bpf-root`.
        path: PathBuf,
    },
    /// The directory of control groups is of another file system.
    #[error("{path} is no control group of a cgroup2 hierarchy: choose another --cgroup-root")]
    NoCgroup2 {
        /// `--cgroup-root`.
        path: PathBuf,
    },
    /// The configuration contradicts itself.
    #[error("{field}: {message}")]
    Config {
        /// The field of the configuration.
        field: &'static str,
        /// What is wrong with it.
        message: String,
    },
    /// What a service has left could not be removed.
    #[error("remove what the service of id {id} has left: {reason}")]
    Services {
        /// Its frontend's id.
        id: u16,
        /// Why.
        reason: String,
    },
    /// A map.
    #[error(transparent)]
    Map(#[from] MapError),
    /// A device, address, route or sysctl.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
}

/// What libbpf said, on lines of its own.
fn remark(log: &str) -> String {
    let log = log.trim_end();
    if log.is_empty() { String::new() } else { format!("\n{log}") }
}
