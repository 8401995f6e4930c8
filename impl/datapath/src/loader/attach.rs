// SPDX-License-Identifier: Apache-2.0
//! Programs at their hooks: by TCX links where the kernel has them, otherwise by filters of a clsact qdisc.
//! Either way a program is replaced atomically, and stays when this process ends.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use libbpf_rs::query::LinkTypeInfo;
use libbpf_rs::{ErrorKind, Link, ProgramHandle, TC_EGRESS, TC_INGRESS, TcAttachPoint, TcHook, libbpf_sys};
use netlink::NetNs;

use super::log;
use super::map_set::remove_if_there;
use crate::DatapathError;

/// The filter's handle and priority: those of Cilium 1.4, at which nobody else puts one.
const FILTER: u32 = 1;
/// The interface index of `lo` in every namespace.
const LOOPBACK: u32 = 1;

const ENOENT: i32 = 2;
const ENODEV: i32 = 19;
const EINVAL: i32 = 22;
const EOPNOTSUPP: i32 = 95;

/// Which packets of a device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Side {
    /// Those that come in by it.
    Ingress,
    /// Those that go out by it.
    Egress,
}

impl Side {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ingress => "ingress",
            Self::Egress => "egress",
        }
    }

    const fn attach_point(self) -> TcAttachPoint {
        match self {
            Self::Ingress => TC_INGRESS,
            Self::Egress => TC_EGRESS,
        }
    }
}

/// Where a program is attached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hook {
    /// The device, in the calling thread's network namespace.
    pub ifindex: u32,
    /// Which of its packets.
    pub side: Side,
    /// Where the link is pinned, if it is one.
    pub pin: PathBuf,
}

impl Hook {
    fn fail(&self, action: &'static str) -> impl Fn((libbpf_rs::Error, String)) -> DatapathError {
        let hook = format!("{} of interface {}", self.side.as_str(), self.ifindex);
        move |(source, log)| DatapathError::Attach { action, hook: hook.clone(), source, log }
    }
}

/// By what a program is attached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttachMethod {
    /// A pinned TCX link (Linux 6.6).
    Tcx,
    /// A direct-action filter of a clsact qdisc.
    Clsact,
}

impl AttachMethod {
    /// The best that this kernel has, found by trying in a network namespace of its own.
    ///
    /// # Errors
    /// [`DatapathError::Netlink`] if no namespace can be made, [`DatapathError::Load`] if no program can be loaded.
    pub fn probe() -> Result<Self, DatapathError> {
        let netns = NetNs::create_unnamed().map_err(netlink::NetlinkError::from)?;
        netns.run(probe_here).map_err(netlink::NetlinkError::from)?
    }

    /// Attaches a program, or puts it in the place of the one before.
    ///
    /// # Errors
    /// [`DatapathError::Attach`].
    pub fn attach(self, program: BorrowedFd<'_>, hook: &Hook) -> Result<(), DatapathError> {
        match self {
            Self::Tcx => attach_link(program, hook),
            Self::Clsact => attach_filter(program, hook),
        }
    }

    /// Detaches. A hook that has no program, or whose device is gone, is no error.
    ///
    /// # Errors
    /// [`DatapathError::Attach`], [`DatapathError::File`].
    pub fn detach(self, hook: &Hook) -> Result<(), DatapathError> {
        match self {
            Self::Tcx => detach_link(hook),
            Self::Clsact => detach_filter(hook),
        }
    }
}

fn attach_link(program: BorrowedFd<'_>, hook: &Hook) -> Result<(), DatapathError> {
    let replaced = log::listen(|| replace_link(program, hook));
    match replaced {
        (Ok(true), _) => return Ok(()),
        (Ok(false), _) => {}
        (Err(error), said) => return Err(hook.fail("replace the program at")((error, said))),
    }
    // What is pinned there holds a link to a device that is gone.
    remove_if_there(&hook.pin)?;
    let link = create_link(program, hook.ifindex, hook.side)
        .map_err(|e| hook.fail("attach a program to")((e.into(), String::new())))?;
    pin(link.as_fd(), &hook.pin).map_err(|e| hook.fail("pin the link at")((e.into(), String::new())))
}

/// False if nothing is pinned, or what is pinned is at another hook.
fn replace_link(program: BorrowedFd<'_>, hook: &Hook) -> libbpf_rs::Result<bool> {
    let link = match Link::open(&hook.pin) {
        Ok(link) => link,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e),
    };
    match link.info()?.info {
        LinkTypeInfo::Tcx(info) if info.ifindex == hook.ifindex => {}
        _ => return Ok(false),
    }
    update(&link, program).map(|()| true)
}

/// Puts a program in the place of the link's, atomically.
pub(super) fn update(link: &Link, program: BorrowedFd<'_>) -> libbpf_rs::Result<()> {
    let (link, program) = (link.as_fd().as_raw_fd(), program.as_raw_fd());
    // SAFETY: both are open; without options the kernel replaces whatever program the link has.
    let returned = unsafe { libbpf_sys::bpf_link_update(link, program, ptr::null()) };
    if returned < 0 { Err(io::Error::from_raw_os_error(-returned).into()) } else { Ok(()) }
}

/// Not by libbpf's own function, which attaches to the side that the program's section names.
fn create_link(program: BorrowedFd<'_>, ifindex: u32, side: Side) -> io::Result<OwnedFd> {
    let side = match side {
        Side::Ingress => libbpf_sys::BPF_TCX_INGRESS,
        Side::Egress => libbpf_sys::BPF_TCX_EGRESS,
    };
    let index = i32::try_from(ifindex).map_err(|_| io::Error::from_raw_os_error(ENODEV))?;
    // SAFETY: the program is open; without options the kernel appends it to those that are attached.
    let link = unsafe { libbpf_sys::bpf_link_create(program.as_raw_fd(), index, side, ptr::null()) };
    owned(link)
}

/// The descriptor that a function of libbpf 1.x returns, or the error number below zero.
pub(super) fn owned(returned: i32) -> io::Result<OwnedFd> {
    if returned < 0 {
        return Err(io::Error::from_raw_os_error(-returned));
    }
    // SAFETY: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(returned) })
}

pub(super) fn pin(link: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: the path is a C string that lives during the call.
    let returned = unsafe { libbpf_sys::bpf_obj_pin(link.as_raw_fd(), path.as_ptr()) };
    if returned < 0 { Err(io::Error::from_raw_os_error(-returned)) } else { Ok(()) }
}

fn detach_link(hook: &Hook) -> Result<(), DatapathError> {
    detach_pinned(&hook.pin)
}

/// Takes away a link and its pin. One that is not there is no error.
pub(super) fn detach_pinned(pin: &Path) -> Result<(), DatapathError> {
    let failed =
        |action, source, log| DatapathError::Attach { action, hook: pin.display().to_string(), source, log };
    let (link, said) = log::listen(|| Link::open(pin));
    match link {
        // Detached at once, even if somebody else has it open too.
        Ok(link) => link.detach().map_err(|e| failed("detach the program of", e, said))?,
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed("open the link", e, said)),
    }
    remove_if_there(pin).map(drop)
}

fn filter(program: BorrowedFd<'_>, hook: &Hook) -> TcHook {
    let mut filter = TcHook::new(program);
    // A number that is no interface's is refused by the kernel.
    filter.ifindex(i32::try_from(hook.ifindex).unwrap_or(-1));
    filter.attach_point(hook.side.attach_point()).handle(FILTER).priority(FILTER).replace(true);
    filter
}

fn attach_filter(program: BorrowedFd<'_>, hook: &Hook) -> Result<(), DatapathError> {
    let (attached, said) = log::listen(|| {
        let mut filter = filter(program, hook);
        // The qdisc may be there, with filters of others.
        match filter.create() {
            Ok(_) => {}
            Err(e) if e.kind() == ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
        filter.attach()
    });
    attached.map(drop).map_err(|e| hook.fail("attach a program to")((e, said)))
}

/// The filter's place, for libbpf's own functions: libbpf-rs wants a program also where none is needed, and hides error
/// numbers.
fn filter_place(hook: &Hook) -> (libbpf_sys::bpf_tc_hook, libbpf_sys::bpf_tc_opts) {
    let place = libbpf_sys::bpf_tc_hook {
        sz: size_of::<libbpf_sys::bpf_tc_hook>() as libbpf_sys::size_t,
        ifindex: i32::try_from(hook.ifindex).unwrap_or(-1),
        attach_point: hook.side.attach_point(),
        ..Default::default()
    };
    let options = libbpf_sys::bpf_tc_opts {
        sz: size_of::<libbpf_sys::bpf_tc_opts>() as libbpf_sys::size_t,
        handle: FILTER,
        priority: FILTER,
        ..Default::default()
    };
    (place, options)
}

fn detach_filter(hook: &Hook) -> Result<(), DatapathError> {
    let (place, options) = filter_place(hook);
    // SAFETY: both structs say their sizes and live during the call.
    let (returned, said) =
        log::listen(|| unsafe { libbpf_sys::bpf_tc_detach(&raw const place, &raw const options) });
    match -returned {
        // Without filter, qdisc or device there is nothing to detach.
        0 | ENOENT | EINVAL | ENODEV => Ok(()),
        number => {
            let error = io::Error::from_raw_os_error(number);
            Err(hook.fail("detach the program from")((error.into(), said)))
        }
    }
}

/// Whether a filter with one of these programs is there.
pub(crate) fn has_filter(hook: &Hook, programs: &[&str]) -> bool {
    let (place, mut options) = filter_place(hook);
    // SAFETY: both structs say their sizes and live during the call.
    let (returned, _) =
        log::listen(|| unsafe { libbpf_sys::bpf_tc_query(&raw const place, &raw mut options) });
    if returned != 0 {
        return false;
    }
    let program = ProgramHandle::from_prog_id(options.prog_id);
    program.is_ok_and(|program| {
        let name = program.name().to_string_lossy();
        // The kernel keeps 15 bytes of a name.
        programs.iter().any(|own| own.get(..15).unwrap_or(own) == name)
    })
}

/// Attaches a program that passes every packet to the loopback device of the namespace that the thread is in.
fn probe_here() -> Result<AttachMethod, DatapathError> {
    let refused = |source: io::Error| DatapathError::Load {
        action: "load",
        object: "the program that finds out how to attach",
        source: source.into(),
        log: String::new(),
    };
    let program = pass_all().map_err(refused)?;
    match create_link(program.as_fd(), LOOPBACK, Side::Ingress) {
        Ok(_) => Ok(AttachMethod::Tcx),
        // EINVAL: the kernel knows no such hook. EOPNOTSUPP: it was built without it.
        Err(e) if matches!(e.raw_os_error(), Some(EINVAL | EOPNOTSUPP)) => Ok(AttachMethod::Clsact),
        Err(e) => Err(refused(e)),
    }
}

/// `return TCX_NEXT`.
fn pass_all() -> io::Result<OwnedFd> {
    const MOVE_IMMEDIATE: u8 = 0xb7;
    const EXIT: u8 = 0x95;
    let instruction = |code, imm| libbpf_sys::bpf_insn { code, imm, ..Default::default() };
    let program = [instruction(MOVE_IMMEDIATE, -1), instruction(EXIT, 0)];
    // SAFETY: the name and licence are C strings, the instructions as many as said; all live during the call.
    owned(unsafe {
        libbpf_sys::bpf_prog_load(
            libbpf_sys::BPF_PROG_TYPE_SCHED_CLS,
            c"ciliate_probe".as_ptr(),
            c"Dual BSD/GPL".as_ptr(),
            program.as_ptr(),
            program.len() as libbpf_sys::size_t,
            ptr::null_mut(),
        )
    })
}
