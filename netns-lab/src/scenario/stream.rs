// SPDX-License-Identifier: Apache-2.0
//! The TCP probe: a connection, then every byte there and back.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};
use nix::sys::time::{TimeVal, TimeValLike};

use super::answer::{Answer, QUESTION};
use super::probe::{Outcome, ProbeError, Seen, Shot, check_peer, is_refusal, is_timeout};

/// Bytes that are on their way at a time: fewer than any socket buffer, so that neither end waits for the other.
const BLOCK: usize = 4096;
/// Longest answer to the question who answers, bytes.
const LONGEST_ANSWER: usize = 256;

/// Connects, and sends the payload there and back.
pub(super) fn exchange(shot: &Shot, payload: &[u8]) -> Result<Seen, ProbeError> {
    let deadline = Instant::now() + shot.within;
    let mut stream = match connect(shot) {
        Ok(stream) => stream,
        Err(e) if is_timeout(&e) => return Ok(Outcome::Dropped.into()),
        Err(e) if is_refusal(&e) => return Ok(Outcome::Refused.into()),
        Err(e) => return Err(ProbeError::client("connect")(e)),
    };
    check_peer(shot, stream.peer_addr())?;
    let mut got = 0;
    for block in payload.chunks(BLOCK) {
        let mut back = vec![0; block.len()];
        let mut filled = 0;
        let sent = send(&mut stream, block, deadline);
        let done = sent.and_then(|()| receive(&mut stream, &mut back, &mut filled, deadline));
        got += filled;
        if let Err(e) = done {
            let end = if is_timeout(&e) { "nothing more".into() } else { e.to_string() };
            return Err(ProbeError::Partial { got, sent: payload.len(), end });
        }
        if back != block {
            return Err(ProbeError::Altered);
        }
    }
    let answer = if shot.manner.ask { Some(ask(&mut stream, deadline)?) } else { None };
    Ok(Seen { outcome: Outcome::Allowed, answer })
}

/// Asks who is at the other end.
fn ask(stream: &mut TcpStream, deadline: Instant) -> Result<Answer, ProbeError> {
    let failed = ProbeError::client("ask who answers");
    let mut line = Vec::new();
    let mut read = || -> io::Result<()> {
        send(stream, QUESTION, deadline)?;
        while line.last() != Some(&b'\n') && line.len() < LONGEST_ANSWER {
            let mut byte = [0];
            receive(stream, &mut byte, &mut 0, deadline)?;
            line.extend(byte);
        }
        Ok(())
    };
    read().map_err(failed)?;
    Answer::parse(&line).ok_or(ProbeError::NoName)
}

/// A connection from the probe's source address, within its time.
fn connect(shot: &Shot) -> io::Result<TcpStream> {
    let to = shot.dialled();
    let family = if to.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, SockProtocol::Tcp)?;
    // Closed by a reset: a thousand probes leave no thousand ports in TIME_WAIT.
    setsockopt(&fd, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    // connect() keeps the deadline for sending, and ends with EINPROGRESS when it passes.
    let within = i64::try_from(shot.within.as_micros()).unwrap_or(i64::MAX);
    setsockopt(&fd, sockopt::SendTimeout, &TimeVal::microseconds(within))?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(shot.from()))?;
    match socket::connect(fd.as_raw_fd(), &SockaddrStorage::from(to)) {
        Ok(()) => Ok(TcpStream::from(fd)),
        Err(Errno::EINPROGRESS) => Err(io::ErrorKind::TimedOut.into()),
        Err(e) => Err(e.into()),
    }
}

fn send(stream: &mut TcpStream, block: &[u8], deadline: Instant) -> io::Result<()> {
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(block)
}

fn receive(stream: &mut TcpStream, back: &mut [u8], filled: &mut usize, deadline: Instant) -> io::Result<()> {
    while *filled < back.len() {
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut back[*filled..])? {
            0 => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the other end closed")),
            n => *filled += n,
        }
    }
    Ok(())
}

/// The time that is left; none is an error, because a timeout of zero would mean none at all.
pub(super) fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
}
