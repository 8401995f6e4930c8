// SPDX-License-Identifier: Apache-2.0
//! Blocking sockets. A client thread's waits are ended by its watchdog. The functions on the timed path make one system call per step, as
//! netperf does, and allocate nothing.

use std::net::SocketAddr;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrStorage, accept4, bind,
    connect, listen, recv, recvfrom, send, sendto, setsockopt, socket, sockopt,
};
use nix::sys::time::TimeVal;

use super::watchdog;

/// The largest write or read of bulk data, bytes.
pub const BLOCK: usize = 64 * 1024;

/// How a message over TCP ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// All bytes came.
    Whole,
    /// The peer closed the connection before that.
    End,
}

fn open(address: SocketAddr, kind: SockType) -> nix::Result<OwnedFd> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    socket(family, kind, SockFlag::SOCK_CLOEXEC, None::<SockProtocol>)
}

/// A TCP socket that is connected to nothing yet.
pub fn tcp(address: SocketAddr) -> nix::Result<OwnedFd> {
    open(address, SockType::Stream)
}

/// A UDP socket that is connected to nothing yet.
pub fn udp(address: SocketAddr) -> nix::Result<OwnedFd> {
    open(address, SockType::Datagram)
}

/// A listening TCP socket. What it accepts inherits `TCP_NODELAY`.
pub fn listening(address: SocketAddr) -> nix::Result<OwnedFd> {
    let fd = tcp(address)?;
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    listen(&fd, Backlog::new(4096)?)?;
    Ok(fd)
}

/// A bound UDP socket.
pub fn bound_udp(address: SocketAddr) -> nix::Result<OwnedFd> {
    let fd = udp(address)?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

/// After an interrupted system call: go on, unless the watchdog has ended the wait.
fn interrupted() -> nix::Result<()> {
    if watchdog::stalled() { Err(Errno::ETIMEDOUT) } else { Ok(()) }
}

/// Connects, and waits for it.
pub fn connect_to(fd: &OwnedFd, address: &SockaddrStorage) -> nix::Result<()> {
    match connect(fd.as_raw_fd(), address) {
        Err(Errno::EINTR) => {}
        other => return other,
    }
    // The handshake goes on after a signal: asking again waits for it.
    loop {
        interrupted()?;
        match connect(fd.as_raw_fd(), address) {
            Ok(()) | Err(Errno::EISCONN) => return Ok(()),
            Err(Errno::EINTR | Errno::EALREADY) => {}
            Err(e) => return Err(e),
        }
    }
}

/// No receive on this socket waits longer than `seconds`.
pub fn limit_receive(fd: &OwnedFd, seconds: i64) -> nix::Result<()> {
    setsockopt(fd, sockopt::ReceiveTimeout, &TimeVal::new(seconds, 0))
}

/// Sends small segments at once.
pub fn no_delay(fd: &OwnedFd) -> nix::Result<()> {
    setsockopt(fd, sockopt::TcpNoDelay, &true)
}

/// Closing the socket resets the connection: no `TIME_WAIT` is left.
pub fn reset_on_close(fd: &OwnedFd) -> nix::Result<()> {
    setsockopt(fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })
}

/// Binds the local port, as netperf does for each connection of TCP_CRR.
pub fn bind_port(fd: &OwnedFd, local: &SockaddrStorage) -> nix::Result<()> {
    setsockopt(fd, sockopt::ReuseAddr, &true)?;
    bind(fd.as_raw_fd(), local)
}

/// The next connection of a listening socket.
pub fn accept(listener: &OwnedFd) -> nix::Result<OwnedFd> {
    loop {
        match accept4(listener.as_raw_fd(), SockFlag::SOCK_CLOEXEC) {
            // SAFETY: accept4 has just returned this descriptor; nobody else owns it.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            // A peer that has gone again while it was in the queue.
            Err(Errno::EINTR | Errno::ECONNABORTED) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Sends `total` bytes in writes of at most `block.len()` bytes (the block again and again).
pub fn send_all(fd: RawFd, block: &[u8], total: usize) -> nix::Result<()> {
    let mut left = total;
    while left > 0 {
        match send(fd, &block[..left.min(block.len())], MsgFlags::MSG_NOSIGNAL) {
            Ok(sent) => left -= sent,
            Err(Errno::EINTR) => interrupted()?,
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Receives `total` bytes into `block`, over and over.
pub fn receive_all(fd: RawFd, block: &mut [u8], total: usize) -> nix::Result<Received> {
    let mut left = total;
    while left > 0 {
        let size = left.min(block.len());
        match recv(fd, &mut block[..size], MsgFlags::empty()) {
            Ok(0) => return Ok(Received::End),
            Ok(received) => left -= received,
            Err(Errno::EINTR) => interrupted()?,
            Err(e) => return Err(e),
        }
    }
    Ok(Received::Whole)
}

/// One datagram or piece of a stream; `EAGAIN` when the socket's time limit is over.
pub fn receive(fd: RawFd, buffer: &mut [u8]) -> nix::Result<usize> {
    loop {
        match recv(fd, buffer, MsgFlags::empty()) {
            Err(Errno::EINTR) => interrupted()?,
            other => return other,
        }
    }
}

/// One datagram with its sender.
pub fn receive_from(fd: RawFd, buffer: &mut [u8]) -> nix::Result<(usize, Option<SockaddrStorage>)> {
    loop {
        match recvfrom::<SockaddrStorage>(fd, buffer) {
            Err(Errno::EINTR) => interrupted()?,
            other => return other,
        }
    }
}

/// Sends one datagram to `peer`.
pub fn send_to(fd: RawFd, datagram: &[u8], peer: &SockaddrStorage) -> nix::Result<()> {
    loop {
        match sendto(fd, datagram, peer, MsgFlags::empty()) {
            Err(Errno::EINTR) => interrupted()?,
            other => return other.map(drop),
        }
    }
}
