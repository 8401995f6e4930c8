// SPDX-License-Identifier: Apache-2.0
//! The client's end of one connection of one subject: a slice of transactions, timed one by one.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use netlink::{NetNs, NetNsError};
use nix::errno::Errno;
use nix::sys::socket::SockaddrStorage;

use super::cpu::now_ns;
use super::socket::{self, Received};
use super::watchdog::Watched;
use crate::plan::{WorkloadKind, WorkloadSpec};

/// A datagram without an answer within this is lost, and sent again.
const UDP_LIMIT_S: i64 = 1;
/// So many lost one after the other are a dead path.
const UDP_TRIES: u32 = 5;
/// A slice that takes longer is a failure, however slowly it goes on.
const SLICE_LIMIT_NS: u64 = 30_000_000_000;
/// Bytes of the sequence number in a datagram, where both directions have room for them.
const SEQUENCE_BYTES: usize = 8;

/// Why a connection is of no more use.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The namespace could not be entered.
    #[error(transparent)]
    Namespace(#[from] NetNsError),
    /// A system call failed.
    #[error("{action} {to}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// The server's address.
        to: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Nothing came, and the watchdog, or the kernel, ended the wait.
    #[error("{action} {to}: no answer in time")]
    TimedOut {
        /// What was tried.
        action: &'static str,
        /// The server's address.
        to: SocketAddr,
    },
    /// The server closed the connection in the middle of a transaction.
    #[error("{0} closed the connection before its answer was complete")]
    Closed(SocketAddr),
    /// The path is dead for datagrams.
    #[error("{UDP_TRIES} datagrams to {0} one after the other got no answer within {UDP_LIMIT_S} s each")]
    AllLost(SocketAddr),
    /// The path works, but far too slowly.
    #[error("a slice of transactions with {0} took more than 30 s")]
    Slow(SocketAddr),
    /// [`Client::slice`] was called before [`Client::connect`].
    #[error("no connection to {0}: connect first")]
    NotConnected(SocketAddr),
}

/// How a connection of `TCP_CRR` ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Close {
    /// With a reset: nothing stays behind in either namespace.
    Reset,
    /// As in netperf: the client binds each port itself, waits until the server has closed, then closes.
    AsNetperf,
}

/// When a slice began and ended, and what it lost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Before the first request, ns on `CLOCK_MONOTONIC`.
    pub start_ns: u64,
    /// After the last response.
    pub end_ns: u64,
    /// Datagrams that were sent again.
    pub lost: u64,
}

/// What a slice sends from and receives into; one per thread, the subjects of a thread share it.
#[derive(Debug)]
pub struct Buffers {
    request: Vec<u8>,
    response: Vec<u8>,
}

impl Buffers {
    /// Large enough for the traffic.
    pub fn new(spec: &WorkloadSpec) -> Self {
        let size = |bytes: u32| match spec.kind {
            WorkloadKind::UdpRr => bytes as usize,
            _ => (bytes as usize).min(socket::BLOCK),
        };
        Self { request: vec![0; size(spec.request_bytes)], response: vec![0; size(spec.response_bytes)] }
    }
}

/// One connection of one subject.
#[derive(Debug)]
pub struct Client<'a> {
    kind: WorkloadKind,
    namespace: &'a NetNs,
    to: SocketAddr,
    peer: SockaddrStorage,
    request: usize,
    response: usize,
    close: Close,
    connection: Option<OwnedFd>,
    sequence: u64,
}

impl<'a> Client<'a> {
    /// A client in `namespace` that sends to `to`.
    pub fn new(spec: &WorkloadSpec, namespace: &'a NetNs, to: SocketAddr, close: Close) -> Self {
        Self {
            kind: spec.kind,
            namespace,
            to,
            peer: SockaddrStorage::from(to),
            request: spec.request_bytes as usize,
            response: spec.response_bytes as usize,
            close,
            connection: None,
            sequence: 0,
        }
    }

    /// Opens the connection that the phase keeps (none for `TCP_CRR`). Leaves the thread in the namespace.
    ///
    /// # Errors
    /// Any [`ClientError`].
    pub fn connect(&mut self) -> Result<(), ClientError> {
        self.namespace.enter()?;
        let fd = match self.kind {
            WorkloadKind::TcpCrr => return Ok(()),
            WorkloadKind::TcpRr | WorkloadKind::TcpStream => {
                let fd = self.at("open a TCP socket to", socket::tcp(self.to))?;
                self.at("set TCP_NODELAY to", socket::no_delay(&fd))?;
                self.at("set reset on close to", socket::reset_on_close(&fd))?;
                fd
            }
            WorkloadKind::UdpRr => {
                let fd = self.at("open a UDP socket to", socket::udp(self.to))?;
                self.at("limit the waits for", socket::limit_receive(&fd, UDP_LIMIT_S))?;
                fd
            }
        };
        self.at("connect to", socket::connect_to(&fd, &self.peer))?;
        self.connection = Some(fd);
        Ok(())
    }

    /// Prepares the thread for a slice, outside of what is timed.
    ///
    /// # Errors
    /// [`ClientError::Namespace`].
    pub fn prepare(&self) -> Result<(), ClientError> {
        if self.kind == WorkloadKind::TcpCrr {
            self.namespace.enter()?;
        }
        Ok(())
    }

    /// Runs `count` transactions and appends their latencies (ns). Allocates nothing when `latencies` has room.
    ///
    /// # Errors
    /// Any [`ClientError`]; the transactions before it are in `latencies`.
    pub fn slice(
        &mut self,
        count: u32,
        buffers: &mut Buffers,
        latencies: &mut Vec<u64>,
        watched: &Watched,
    ) -> Result<Span, ClientError> {
        let fd = self.connection.as_ref().map(AsRawFd::as_raw_fd);
        let established = || fd.ok_or(ClientError::NotConnected(self.to));
        match self.kind {
            WorkloadKind::TcpRr | WorkloadKind::TcpStream => {
                let fd = established()?;
                self.timed(count, latencies, watched, |client| client.exchange(fd, buffers).map(|()| 0))
            }
            WorkloadKind::TcpCrr => self.timed(count, latencies, watched, |client| {
                client.connect_exchange_close(buffers).map(|()| 0)
            }),
            WorkloadKind::UdpRr => {
                let fd = established()?;
                self.timed(count, latencies, watched, |client| client.datagram(fd, buffers))
            }
        }
    }

    fn timed(
        &mut self,
        count: u32,
        latencies: &mut Vec<u64>,
        watched: &Watched,
        mut transaction: impl FnMut(&mut Self) -> Result<u64, ClientError>,
    ) -> Result<Span, ClientError> {
        let start_ns = now_ns();
        let (mut last, mut lost) = (start_ns, 0);
        for _ in 0..count {
            lost += transaction(self)?;
            // One reading of the clock per transaction: the end of one is the start of the next.
            let now = now_ns();
            latencies.push(now - last);
            last = now;
            watched.step();
            if now - start_ns > SLICE_LIMIT_NS {
                return Err(ClientError::Slow(self.to));
            }
        }
        Ok(Span { start_ns, end_ns: last, lost })
    }

    fn exchange(&self, fd: RawFd, buffers: &mut Buffers) -> Result<(), ClientError> {
        self.at("send to", socket::send_all(fd, &buffers.request, self.request))?;
        match self.at("receive from", socket::receive_all(fd, &mut buffers.response, self.response))? {
            Received::Whole => Ok(()),
            Received::End => Err(ClientError::Closed(self.to)),
        }
    }

    fn connect_exchange_close(&mut self, buffers: &mut Buffers) -> Result<(), ClientError> {
        let fd = self.at("open a TCP socket to", socket::tcp(self.to))?;
        match self.close {
            Close::Reset => self.at("set reset on close to", socket::reset_on_close(&fd))?,
            Close::AsNetperf => self.bind_next_port(&fd)?,
        }
        self.at("connect to", socket::connect_to(&fd, &self.peer))?;
        self.exchange(fd.as_raw_fd(), buffers)?;
        if self.close == Close::AsNetperf {
            self.at("await the end from", socket::receive(fd.as_raw_fd(), &mut buffers.response))?;
        }
        Ok(())
    }

    /// Walks through the ports 10000 to 60000; one that is in use is passed over.
    fn bind_next_port(&mut self, fd: &OwnedFd) -> Result<(), ClientError> {
        let any: IpAddr =
            if self.to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        loop {
            self.sequence += 1;
            let port = 10_000 + (self.sequence % 50_000) as u16;
            match socket::bind_port(fd, &SockaddrStorage::from(SocketAddr::new(any, port))) {
                Err(Errno::EADDRINUSE) if !self.sequence.is_multiple_of(50_000) => {}
                other => return self.at("bind a port for", other),
            }
        }
    }

    /// One request and its own response; returns how many requests were lost before.
    fn datagram(&mut self, fd: RawFd, buffers: &mut Buffers) -> Result<u64, ClientError> {
        self.sequence = self.sequence.wrapping_add(1);
        let mark = self.sequence.to_le_bytes();
        let marked = sequence_bytes(self.request, self.response);
        buffers.request[..marked].copy_from_slice(&mark[..marked]);
        for lost in 0..UDP_TRIES {
            self.at("send to", socket::send_all(fd, &buffers.request, self.request))?;
            let sent_ns = now_ns();
            loop {
                match socket::receive(fd, &mut buffers.response) {
                    Ok(size) if size == self.response && buffers.response[..marked] == mark[..marked] => {
                        return Ok(lost.into());
                    }
                    // A late answer to an earlier request. A stream of them must not keep us here.
                    Ok(_) if now_ns() - sent_ns < UDP_LIMIT_S as u64 * 1_000_000_000 => {}
                    Ok(_) | Err(Errno::EAGAIN) => break,
                    Err(e) => return self.at("receive from", Err(e)),
                }
            }
        }
        Err(ClientError::AllLost(self.to))
    }

    fn at<T>(&self, action: &'static str, result: nix::Result<T>) -> Result<T, ClientError> {
        result.map_err(|e| match e {
            Errno::EAGAIN | Errno::ETIMEDOUT => ClientError::TimedOut { action, to: self.to },
            e => ClientError::System { action, to: self.to, source: e.into() },
        })
    }
}

/// How many bytes of each datagram are the sequence number, which the server copies into its answer.
pub fn sequence_bytes(request: usize, response: usize) -> usize {
    request.min(response).min(SEQUENCE_BYTES)
}
