// SPDX-License-Identifier: Apache-2.0
//! The UDP and ICMP probes: one datagram there and back. Both sockets are connected and ask for ICMP errors, so that
//! the kernel hands over at once what any router on the way says of them.

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use nix::sys::socket::{
    AddressFamily, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, setsockopt, socket, sockopt,
};

use super::answer::{Answer, QUESTION};
use super::probe::{Outcome, ProbeError, Seen, Shot, check_peer, is_refusal, is_timeout};
use super::stream::left;

/// Room for the longest datagram.
const MAX: usize = 65_536;

/// One UDP datagram there and back.
pub(super) fn udp(shot: &Shot, payload: &[u8]) -> Result<Seen, ProbeError> {
    let socket = UdpSocket::bind(shot.from()).map_err(ProbeError::client("bind a UDP socket"))?;
    let carrier = if shot.manner.unconnected {
        ask_for_errors(&socket, shot.dialled())?;
        Carrier::Unconnected(&socket, shot)
    } else {
        match connect(&socket, shot.dialled()) {
            // Where sockets are translated, a service without a backend refuses here, and one that is not for this client.
            Err(ProbeError::NoRoute { source, .. })
                if matches!(source.raw_os_error(), Some(libc::ECONNREFUSED | libc::EPERM)) =>
            {
                return Ok(Outcome::Refused.into());
            }
            connected => connected?,
        }
        check_peer(shot, socket.peer_addr())?;
        Carrier::Connected(&socket)
    };
    let outcome = exchange(&carrier, payload, payload, shot.within, |datagram| Some(datagram))?;
    if outcome != Outcome::Allowed || !shot.manner.ask {
        return Ok(outcome.into());
    }
    let answer = ask(&carrier, shot.within)?;
    Ok(Seen { outcome, answer: Some(answer) })
}

/// Asks who is at the other end. Whatever else comes was sent before and is passed over.
fn ask(carrier: &Carrier<'_>, within: Duration) -> Result<Answer, ProbeError> {
    let deadline = Instant::now() + within;
    let mut buffer = vec![0; MAX];
    let failed = || ProbeError::client("ask who answers");
    carrier.send(QUESTION).map_err(failed())?;
    loop {
        let length = carrier.receive(&mut buffer, deadline)?.map_err(failed())?;
        if let Some(answer) = Answer::parse(&buffer[..length]) {
            return Ok(answer);
        }
    }
}

/// How datagrams are sent and received.
enum Carrier<'a> {
    /// By a socket that has a peer.
    Connected(&'a UdpSocket),
    /// By a socket that has none: where to is said with each, and who it came from is looked at.
    Unconnected(&'a UdpSocket, &'a Shot),
}

impl Carrier<'_> {
    fn send(&self, datagram: &[u8]) -> io::Result<usize> {
        match self {
            Self::Connected(socket) => socket.send(datagram),
            Self::Unconnected(socket, shot) => socket.send_to(datagram, shot.dialled()),
        }
    }

    /// The inner result is the kernel's.
    fn receive(&self, buffer: &mut [u8], deadline: Instant) -> Result<io::Result<usize>, ProbeError> {
        let (Self::Connected(socket) | Self::Unconnected(socket, _)) = self;
        let received = left(deadline)
            .and_then(|left| socket.set_read_timeout(Some(left)))
            .and_then(|()| socket.recv_from(buffer));
        match (self, received) {
            (Self::Unconnected(_, shot), Ok((length, peer))) => {
                check_peer(shot, Ok(peer))?;
                Ok(Ok(length))
            }
            (_, received) => Ok(received.map(|(length, _)| length)),
        }
    }
}

/// One ICMP or ICMPv6 echo request and its reply.
pub(super) fn icmp(shot: &Shot, payload: &[u8]) -> Result<Seen, ProbeError> {
    let (family, protocol) = match shot.to {
        SocketAddr::V4(_) => (AddressFamily::Inet, SockProtocol::Icmp),
        SocketAddr::V6(_) => (AddressFamily::Inet6, SockProtocol::IcmpV6),
    };
    let fd = socket(family, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol)
        .map_err(|e| ProbeError::client("open a raw ICMP socket")(e.into()))?;
    bind(fd.as_raw_fd(), &SockaddrStorage::from(shot.from()))
        .map_err(|e| ProbeError::client("bind a raw ICMP socket")(e.into()))?;
    // To the standard library a socket is a socket: connect, send and receive are the same calls.
    let socket = UdpSocket::from(fd);
    connect(&socket, SocketAddr::new(shot.to.ip(), 0))?;
    let echo = Echo::new(shot.to.is_ipv6());
    let (carrier, request) = (Carrier::Connected(&socket), echo.request(payload));
    Ok(exchange(&carrier, &request, payload, shot.within, |packet| echo.payload_of_reply(packet))?.into())
}

fn ask_for_errors(socket: &UdpSocket, to: SocketAddr) -> Result<(), ProbeError> {
    let v4 = to.ip().to_canonical().is_ipv4();
    let v6 = || setsockopt(socket, sockopt::Ipv6RecvErr, &true);
    let asked = match (to, v4) {
        (SocketAddr::V4(_), _) => setsockopt(socket, sockopt::Ipv4RecvErr, &true),
        (SocketAddr::V6(_), false) => v6(),
        // What comes back is of the one family, the socket of the other.
        (SocketAddr::V6(_), true) => v6().and_then(|()| setsockopt(socket, sockopt::Ipv4RecvErr, &true)),
    };
    asked.map_err(|e| ProbeError::client("ask for ICMP errors")(e.into()))
}

fn connect(socket: &UdpSocket, to: SocketAddr) -> Result<(), ProbeError> {
    ask_for_errors(socket, to)?;
    socket.connect(to).map_err(|source| ProbeError::NoRoute { address: to.ip(), source })
}

/// Sends, and waits for what `payload_of` takes for an answer; anything else that comes in is passed over.
fn exchange(
    carrier: &Carrier<'_>,
    request: &[u8],
    expected: &[u8],
    within: Duration,
    payload_of: impl Fn(&[u8]) -> Option<&[u8]>,
) -> Result<Outcome, ProbeError> {
    let deadline = Instant::now() + within;
    let mut buffer = vec![0; MAX];
    let mut received = carrier.send(request).map(|_| 0);
    loop {
        match received {
            Ok(length) => match payload_of(&buffer[..length]).filter(|_| length > 0) {
                Some(back) if back == expected => return Ok(Outcome::Allowed),
                Some(back) if expected.starts_with(back) => {
                    let end = "the datagram ended".into();
                    return Err(ProbeError::Partial { got: back.len(), sent: expected.len(), end });
                }
                Some(_) => return Err(ProbeError::Altered),
                None => {}
            },
            Err(e) if is_timeout(&e) => return Ok(Outcome::Dropped),
            Err(e) if is_refusal(&e) => return Ok(Outcome::Refused),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(ProbeError::client("send and receive")(e)),
        }
        received = carrier.receive(&mut buffer, deadline)?;
    }
}

/// One echo request, told from others by its identifier.
struct Echo {
    v6: bool,
    id: u16,
}

impl Echo {
    fn new(v6: bool) -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(1);
        Self { v6, id: NEXT.fetch_add(1, Ordering::Relaxed) }
    }

    /// Types of request and reply, RFC 792 and RFC 4443.
    fn types(&self) -> (u8, u8) {
        if self.v6 { (128, 129) } else { (8, 0) }
    }

    fn request(&self, payload: &[u8]) -> Vec<u8> {
        let [high, low] = self.id.to_be_bytes();
        let mut packet = vec![self.types().0, 0, 0, 0, high, low, 0, 1];
        packet.extend_from_slice(payload);
        // For ICMPv6 the kernel does it: the sum covers addresses that only it knows yet.
        if !self.v6 {
            let sum = checksum(&packet).to_be_bytes();
            packet[2..4].copy_from_slice(&sum);
        }
        packet
    }

    /// The payload of our own reply; `None` for any other packet. A raw IPv4 socket gives the IP header, too.
    fn payload_of_reply<'a>(&self, packet: &'a [u8]) -> Option<&'a [u8]> {
        let header = if self.v6 { 0 } else { usize::from(packet.first()? & 0xf) * 4 };
        let message = packet.get(header..)?;
        let (fixed, payload) = message.split_at_checked(8)?;
        let ours = fixed[0] == self.types().1 && fixed[1] == 0 && fixed[4..6] == self.id.to_be_bytes();
        ours.then_some(payload)
    }
}

/// The Internet checksum, RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)])))
        .sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    let [_, _, high, low] = sum.to_be_bytes();
    !u16::from_be_bytes([high, low])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_of_a_packet_with_its_checksum_is_zero() {
        let request = Echo { v6: false, id: 0x1234 }.request(b"odd number");
        assert_eq!(checksum(&request), 0);
        assert_eq!(checksum(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7]), !0xddf2);
    }

    #[test]
    fn only_our_own_reply_is_taken_and_torn_packets_are_passed_over() {
        let echo = Echo { v6: false, id: 7 };
        let mut reply = vec![0x45; 20];
        reply.extend([0, 0, 0, 0, 0, 7, 0, 1]);
        reply.extend(b"abc");
        assert_eq!(echo.payload_of_reply(&reply), Some(&b"abc"[..]));
        assert_eq!(Echo { v6: false, id: 8 }.payload_of_reply(&reply), None);
        for end in 0..28 {
            assert_eq!(echo.payload_of_reply(&reply[..end]), None, "{end}");
        }
        reply[20] = 8;
        assert_eq!(echo.payload_of_reply(&reply), None, "a request is no reply");
    }
}
