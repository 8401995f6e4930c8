// SPDX-License-Identifier: Apache-2.0
//! One probe: an exchange with an address, and what became of it.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::Duration;

use super::answer::Answer;
use super::file::{Expectation, Kind, Manner};
use super::{datagram, stream};

/// What became of a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// Its answer came back whole.
    Allowed,
    /// Somebody said no: a TCP reset, or an ICMP error.
    Refused,
    /// Nothing came back in time.
    Dropped,
}

impl Outcome {
    /// As a person says it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
        }
    }
}

/// What a probe has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// What became of it.
    pub outcome: Outcome,
    /// Who answered, if that was asked.
    pub answer: Option<Answer>,
}

impl From<Outcome> for Seen {
    fn from(outcome: Outcome) -> Self {
        Self { outcome, answer: None }
    }
}

impl From<Expectation> for Outcome {
    fn from(expectation: Expectation) -> Self {
        match expectation {
            Expectation::Allowed => Self::Allowed,
            Expectation::Refused => Self::Refused,
            Expectation::Dropped => Self::Dropped,
        }
    }
}

/// A probe had no outcome that a scenario can expect.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The client's own routes do not lead there: nothing was sent.
    #[error("the client has no route to {address}: {source}")]
    NoRoute {
        /// Where to.
        address: IpAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The client itself failed.
    #[error("{action}: {source}")]
    Client {
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// It was let through, and then was not.
    #[error("{got} of {sent} bytes came back, then {end}")]
    Partial {
        /// Bytes that came back.
        got: usize,
        /// Bytes that were to come back.
        sent: usize,
        /// How it ended.
        end: String,
    },
    /// Other bytes came back than were sent.
    #[error("other bytes came back than were sent")]
    Altered,
    /// Another address than it was sent to says that it is the other end.
    #[error("it went to {to}, and the other end calls itself {peer}")]
    Peer {
        /// Where it went.
        to: SocketAddr,
        /// The peer that the socket has, or that a datagram came from.
        peer: SocketAddr,
    },
    /// Whoever answered did not say who he is.
    #[error("the other end did not say who it is")]
    NoName,
    /// The client's namespace or control group.
    #[error(transparent)]
    Lab(#[from] crate::lab::LabError),
}

impl ProbeError {
    pub(super) fn client(action: &'static str) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Client { action, source }
    }
}

/// What is sent where.
#[derive(Clone, Copy, Debug)]
pub struct Shot {
    /// What is sent.
    pub kind: Kind,
    /// From which address; `None`: the one that the kernel takes.
    pub source: Option<IpAddr>,
    /// Where to; ICMP does not look at the port.
    pub to: SocketAddr,
    /// Payload, bytes.
    pub size: u32,
    /// Until when; after that it counts as dropped.
    pub within: Duration,
    /// How.
    pub manner: Manner,
}

/// Sends one probe from the calling thread's namespace.
///
/// # Errors
/// [`ProbeError`] when it was neither allowed, refused nor dropped.
pub fn send(shot: &Shot) -> Result<Seen, ProbeError> {
    route(shot)?;
    let payload = payload(shot.size);
    match shot.kind {
        Kind::Tcp => stream::exchange(shot, &payload),
        Kind::Udp => datagram::udp(shot, &payload),
        Kind::Icmp => datagram::icmp(shot, &payload),
    }
}

impl Shot {
    /// The address to bind to before anything is sent.
    pub(super) fn from(&self) -> SocketAddr {
        let any: IpAddr = if self.dialled().is_ipv4() { [0; 4].into() } else { [0; 16].into() };
        SocketAddr::new(self.source.unwrap_or(any), 0)
    }

    /// The address as the system call is given it.
    pub(super) fn dialled(&self) -> SocketAddr {
        match self.to {
            SocketAddr::V4(to) if self.manner.mapped => {
                SocketAddr::new(to.ip().to_ipv6_mapped().into(), to.port())
            }
            to => to,
        }
    }
}

/// A socket's peer must be who it was connected to, whoever stands behind that address.
pub(super) fn check_peer(shot: &Shot, peer: io::Result<SocketAddr>) -> Result<(), ProbeError> {
    let peer = peer.map_err(ProbeError::client("ask for the peer's address"))?;
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    if peer == shot.to { Ok(()) } else { Err(ProbeError::Peer { to: shot.to, peer }) }
}

/// Bytes that a reflection of anything else does not have in this order.
fn payload(size: u32) -> Vec<u8> {
    (0..size).map(|n| (n.wrapping_mul(31) >> 3).to_le_bytes()[0] ^ 0xc1).collect()
}

/// Connecting a UDP socket sends nothing, it only looks the route up. So an error that comes later is another's word.
fn route(shot: &Shot) -> Result<(), ProbeError> {
    let socket = UdpSocket::bind(shot.from()).map_err(ProbeError::client("bind to the source address"))?;
    // Port 0 is none to connect to; the route does not depend on it.
    let to = SocketAddr::new(shot.dialled().ip(), shot.to.port().max(1));
    match socket.connect(to) {
        // A service without a backend, or not for this client, where sockets are translated: the word of somebody.
        Err(e) if matches!(e.raw_os_error(), Some(libc::ECONNREFUSED | libc::EPERM)) => Ok(()),
        connected => connected.map_err(|source| ProbeError::NoRoute { address: shot.to.ip(), source }),
    }
}

/// Whether an error is the word of an ICMP message or a reset, or of a program that says no to the system call. That a packet
/// is too long is such a word too.
pub(super) fn is_refusal(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused | io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable
    ) || matches!(
        error.raw_os_error(),
        Some(
            libc::EPERM | libc::EACCES | libc::ENOPROTOOPT | libc::EHOSTDOWN | libc::ENONET | libc::EMSGSIZE
        )
    )
}

/// Whether an error is that of a deadline which passed.
pub(super) fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut)
}
