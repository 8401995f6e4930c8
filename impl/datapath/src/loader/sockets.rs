// SPDX-License-Identifier: Apache-2.0
//! Programs at the sockets of a control group's processes: pinned links, as those at devices.

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::ptr;

use libbpf_rs::query::LinkTypeInfo;
use libbpf_rs::{ErrorKind, Link, libbpf_sys};

use super::attach::{detach_pinned, owned, pin, update};
use super::{Loaded, file, log};
use crate::DatapathError;

/// The programs of `bpf_sock.o`, and the system calls at which they are.
const PROGRAMS: [(&str, libbpf_sys::bpf_attach_type); 10] = [
    ("sock_connect4", libbpf_sys::BPF_CGROUP_INET4_CONNECT),
    ("sock_connect6", libbpf_sys::BPF_CGROUP_INET6_CONNECT),
    ("sock_sendmsg4", libbpf_sys::BPF_CGROUP_UDP4_SENDMSG),
    ("sock_sendmsg6", libbpf_sys::BPF_CGROUP_UDP6_SENDMSG),
    ("sock_recvmsg4", libbpf_sys::BPF_CGROUP_UDP4_RECVMSG),
    ("sock_recvmsg6", libbpf_sys::BPF_CGROUP_UDP6_RECVMSG),
    ("sock_getpeername4", libbpf_sys::BPF_CGROUP_INET4_GETPEERNAME),
    ("sock_getpeername6", libbpf_sys::BPF_CGROUP_INET6_GETPEERNAME),
    ("sock_post_bind4", libbpf_sys::BPF_CGROUP_INET4_POST_BIND),
    ("sock_post_bind6", libbpf_sys::BPF_CGROUP_INET6_POST_BIND),
];

/// The links of the programs at sockets, by their pins.
pub fn socket_pins(links: &Path) -> impl Iterator<Item = PathBuf> {
    PROGRAMS.iter().map(|(program, _)| links.join(program))
}

/// Attaches the programs to a control group, or puts them in the place of those before.
///
/// # Errors
/// [`DatapathError::File`] if there is no such group, [`DatapathError::Attach`].
pub fn attach_sockets(loaded: &Loaded, cgroup: &Path, links: &Path) -> Result<(), DatapathError> {
    let directory = fs::File::open(cgroup).map_err(|e| file("open", cgroup, e))?;
    // The id of a group is the number of its directory, where numbers have 64 bits.
    let id = directory.metadata().map_err(|e| file("look at", cgroup, e))?.ino();
    for (program, kind) in PROGRAMS {
        let loaded = loaded.program(program)?;
        let hook = format!("control group {} ({program})", cgroup.display());
        attach(loaded.as_fd(), (directory.as_fd(), id), kind, &links.join(program))
            .map_err(|(action, source, log)| DatapathError::Attach { action, hook, source, log })?;
    }
    Ok(())
}

/// Takes the programs away from wherever they are.
///
/// # Errors
/// [`DatapathError::Attach`], [`DatapathError::File`].
pub fn detach_sockets(links: &Path) -> Result<(), DatapathError> {
    socket_pins(links).try_for_each(|link| detach_pinned(&link))
}

type Refused = (&'static str, libbpf_rs::Error, String);

fn attach(
    program: BorrowedFd<'_>,
    group: (BorrowedFd<'_>, u64),
    kind: libbpf_sys::bpf_attach_type,
    link: &Path,
) -> Result<(), Refused> {
    match log::listen(|| replace(program, group.1, link)) {
        (Ok(true), _) => return Ok(()),
        (Ok(false), _) => {}
        (Err(error), said) => return Err(("replace the program at", error, said)),
    }
    // Of another group, or of one that is gone.
    detach_pinned(link).map_err(|error| {
        ("take the program away from", io::Error::other(error.to_string()).into(), String::new())
    })?;
    // SAFETY: program and group are open; without options the kernel adds it to those that are attached.
    let made =
        unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), group.0.as_raw_fd(), kind, ptr::null()) };
    let made = owned(made).map_err(|e| ("attach a program to", e.into(), String::new()))?;
    pin(made.as_fd(), link).map_err(|e| ("pin the link at", e.into(), String::new()))
}

/// False if nothing is pinned, or what is pinned is at another group.
fn replace(program: BorrowedFd<'_>, group: u64, link: &Path) -> libbpf_rs::Result<bool> {
    let link = match Link::open(link) {
        Ok(link) => link,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    match link.info()?.info {
        LinkTypeInfo::Cgroup(info) if info.cgroup_id == group => update(&link, program).map(|()| true),
        _ => Ok(false),
    }
}
