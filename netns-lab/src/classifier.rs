// SPDX-License-Identifier: Apache-2.0
//! Programs of the kind that our datapath is made of, attached to a link: by TCX, or, on kernels before 6.6, by the clsact
//! queueing discipline. By system calls, since nothing of the product takes part in it.

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use netlink::NetNs;
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType};
use nix::sys::socket::{recv, sendto, socket};

// <linux/bpf.h>
const BPF_PROG_LOAD: libc::c_long = 5;
const BPF_LINK_CREATE: libc::c_long = 28;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;
const BPF_TCX_INGRESS: u32 = 46;
// <linux/rtnetlink.h>, <linux/pkt_sched.h>, <linux/pkt_cls.h>
const RTM_NEWQDISC: u16 = 36;
const RTM_NEWTFILTER: u16 = 44;
const TC_H_CLSACT: u32 = 0xffff_fff1;
const CLSACT_HANDLE: u32 = 0xffff_0000;
const CLSACT_INGRESS: u32 = 0xffff_fff2;
const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_BPF_FD: u16 = 6;
const TCA_BPF_NAME: u16 = 7;
const TCA_BPF_FLAGS: u16 = 8;
/// What the program returns is what becomes of the packet.
const TCA_BPF_FLAG_ACT_DIRECT: u32 = 1;
/// In front of all that are attached.
const BPF_F_BEFORE: u32 = 1 << 3;
/// Priority 1, any protocol (`ETH_P_ALL` in network order).
const FILTER_INFO: u32 = 1 << 16 | 0x0300;

/// The link that every namespace has.
const LOOPBACK: u32 = 1;

/// How programs are attached to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// By a link of their own.
    Tcx,
    /// As filters of a queueing discipline.
    Clsact,
}

/// A program in front of all others at a link's ingress. By TCX it goes when this is dropped, by clsact with the link.
#[derive(Debug)]
pub struct Attached(#[expect(dead_code, reason = "holds the link of TCX")] Option<OwnedFd>);

/// Lets every packet that comes in by a link of the calling thread's namespace pass after so many instructions, before any
/// program that is attached there sees it.
///
/// # Errors
/// The kernel's, for either way of attaching where TCX is not there.
pub fn delay(ifindex: u32, instructions: u32) -> io::Result<Attached> {
    let program = load(instructions)?;
    match attach_tcx(&program, ifindex) {
        Ok(link) => Ok(Attached(Some(link))),
        Err(tcx) => match attach_clsact(&program, ifindex) {
            Ok(()) => Ok(Attached(None)),
            Err(clsact) => Err(io::Error::new(clsact.kind(), format!("by TCX: {tcx}; by clsact: {clsact}"))),
        },
    }
}

/// The way that this kernel has, tried in a namespace: TCX where it is there.
///
/// # Errors
/// What it lacks.
pub fn hook(scratch: &NetNs) -> Result<Hook, String> {
    let program = load(1).map_err(|e| match e.raw_os_error() {
        Some(libc::ENOSYS) => "kernel lacks CONFIG_BPF_SYSCALL".into(),
        Some(libc::EPERM) => "programs may not be loaded (CAP_BPF, CAP_NET_ADMIN)".into(),
        _ => format!("a classifier cannot be loaded: {e}"),
    })?;
    let attach = || match attach_tcx(&program, LOOPBACK) {
        Ok(_) => Ok(Hook::Tcx),
        Err(tcx) => attach_clsact(&program, LOOPBACK).map(|()| Hook::Clsact).map_err(|clsact| {
            format!(
                "kernel lacks both TCX ({tcx}) and CONFIG_NET_SCH_INGRESS with CONFIG_NET_CLS_BPF ({clsact})"
            )
        }),
    };
    scratch.run(attach).map_err(|e| e.to_string())?
}

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    rest: [u64; 12],
}

#[repr(C)]
struct LinkCreate {
    prog_fd: i32,
    target_ifindex: u32,
    attach_type: u32,
    flags: u32,
    rest: [u64; 6],
}

/// A system call of `bpf(2)` that returns a descriptor.
fn bpf<T>(command: libc::c_long, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the kernel reads `size_of::<T>()` bytes of it; the commands used here write nothing back.
    let fd = unsafe { libc::syscall(libc::SYS_bpf, command, &raw const *attributes, size_of::<T>()) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a descriptor that the kernel has just made for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// `r0 = -1` so many times, and `exit`: the next program decides (`TCX_NEXT`, `TC_ACT_UNSPEC`).
fn load(instructions: u32) -> io::Result<OwnedFd> {
    let code = code(instructions);
    let license = c"Dual BSD/GPL";
    bpf(
        BPF_PROG_LOAD,
        &ProgLoad {
            prog_type: BPF_PROG_TYPE_SCHED_CLS,
            insn_cnt: code.len() as u32,
            insns: code.as_ptr() as u64,
            license: license.as_ptr() as u64,
            rest: [0; 12],
        },
    )
}

fn code(instructions: u32) -> Vec<u64> {
    const RETURN_NEXT: u64 = 0xffff_ffff_0000_00b7;
    const EXIT: u64 = 0x0000_0000_0000_0095;
    let mut code = vec![RETURN_NEXT; instructions.max(1) as usize];
    code.push(EXIT);
    code
}

/// The link goes with its descriptor.
fn attach_tcx(program: &OwnedFd, ifindex: u32) -> io::Result<OwnedFd> {
    let link = LinkCreate {
        prog_fd: program.as_raw_fd(),
        target_ifindex: ifindex,
        attach_type: BPF_TCX_INGRESS,
        flags: BPF_F_BEFORE,
        rest: [0; 6],
    };
    bpf(BPF_LINK_CREATE, &link)
}

/// The discipline goes with the link. Of filters of one priority the newest comes first.
fn attach_clsact(program: &OwnedFd, ifindex: u32) -> io::Result<()> {
    let fd =
        socket(AddressFamily::Netlink, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::NetlinkRoute)?;
    let kind = attribute(TCA_KIND, b"clsact\0");
    let qdisc = message(RTM_NEWQDISC, ifindex, [CLSACT_HANDLE, TC_H_CLSACT, 0], &kind);
    match ask(&fd, &qdisc) {
        Err(e) if e.kind() != io::ErrorKind::AlreadyExists => return Err(e),
        _ => {}
    }
    let options = [
        attribute(TCA_BPF_FD, &program.as_raw_fd().to_ne_bytes()),
        attribute(TCA_BPF_NAME, b"lab\0"),
        attribute(TCA_BPF_FLAGS, &TCA_BPF_FLAG_ACT_DIRECT.to_ne_bytes()),
    ]
    .concat();
    let attributes = [attribute(TCA_KIND, b"bpf\0"), attribute(TCA_OPTIONS, &options)].concat();
    ask(&fd, &message(RTM_NEWTFILTER, ifindex, [0, CLSACT_INGRESS, FILTER_INFO], &attributes))
}

/// A type-length-value of rtnetlink, padded to four bytes.
fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend_from_slice(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A request about a link's traffic control that is to be acknowledged: `nlmsghdr`, `tcmsg` (ending with handle, parent and
/// info), attributes.
fn message(kind: u16, ifindex: u32, [handle, parent, info]: [u32; 3], attributes: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_REQUEST | libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    let length = u32::try_from(16 + 20 + attributes.len()).unwrap_or(u32::MAX);
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend([kind.to_ne_bytes(), flags.to_ne_bytes()].concat());
    bytes.extend([1_u32, 0, 0, ifindex, handle, parent, info].map(u32::to_ne_bytes).concat());
    bytes.extend_from_slice(attributes);
    bytes
}

/// Sends a request and reads the answer, which carries an error number, 0 for none.
fn ask(fd: &OwnedFd, request: &[u8]) -> io::Result<()> {
    sendto(fd.as_raw_fd(), request, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    let mut answer = [0; 4096];
    let length = recv(fd.as_raw_fd(), &mut answer, MsgFlags::empty())?;
    let error = answer[..length].get(16..20).and_then(|bytes| bytes.try_into().ok()).map(i32::from_ne_bytes);
    match error {
        Some(0) => Ok(()),
        Some(negative) => Err(io::Error::from_raw_os_error(negative.wrapping_neg())),
        None => Err(io::Error::other("the kernel's answer is cut off")),
    }
}

#[cfg(test)]
mod tests {
    use netlink::Netlink;

    use super::*;

    #[test]
    fn attributes_are_padded_and_say_their_own_length() {
        assert_eq!(attribute(1, b"ab\0"), [[7, 0, 1, 0], [b'a', b'b', 0, 0]].concat());
        assert_eq!(message(36, 1, [1, 2, 3], b"").len(), 36);
    }

    /// As root: like every test of this crate that makes namespaces.
    #[test]
    fn a_delay_stands_beside_another_and_packets_pass_both() {
        let netns = NetNs::create_unnamed().unwrap();
        Netlink::open(&netns).unwrap().set_up("lo").unwrap();
        let echoed = netns
            .run(|| {
                let _first = delay(LOOPBACK, 1).unwrap();
                let _second = delay(LOOPBACK, 10_000).unwrap();
                let server = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                let client = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
                server.set_read_timeout(Some(std::time::Duration::from_secs(5))).unwrap();
                client.send_to(b"through", server.local_addr().unwrap()).unwrap();
                let mut buffer = [0; 16];
                let length = server.recv(&mut buffer).unwrap();
                buffer[..length].to_vec()
            })
            .unwrap();
        assert_eq!(echoed, b"through");
    }

    /// On the way that kernels before 6.6 have, whatever this one has.
    #[test]
    fn a_filter_is_added_beside_one_that_is_there() {
        let netns = NetNs::create_unnamed().unwrap();
        let netlink = Netlink::open(&netns).unwrap();
        let attach = || attach_clsact(&load(5).unwrap(), LOOPBACK).unwrap();
        netns.run(attach).unwrap();
        netns.run(attach).unwrap();
        assert_eq!(netlink.clsact_filters(&netlink.link("lo").unwrap()).unwrap(), 2);
    }

    #[test]
    fn a_program_has_as_many_instructions_as_asked_for_and_its_end() {
        assert_eq!(code(0).len(), 2);
        assert_eq!(code(1000).len(), 1001);
    }
}
