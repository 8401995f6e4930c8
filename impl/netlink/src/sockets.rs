// SPDX-License-Identifier: Apache-2.0
//! Sockets of a network namespace: those that are connected, and how a connection is ended from outside (`sock_diag(7)`).

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use nix::libc::{AF_INET, AF_INET6, NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR};
use rtnetlink::sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

use crate::{NetNs, NetlinkError};

/// Requests, from `linux/sock_diag.h`.
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;

/// `struct nlmsghdr`.
const HEADER_BYTES: usize = 16;
/// `struct inet_diag_sockid`.
const ID_BYTES: usize = 48;
/// Where the id is in `struct inet_diag_req_v2`, and, of another meaning, four bytes into `struct inet_diag_msg`.
const ID_IN_REQUEST: usize = 8;
const ID_IN_ANSWER: usize = 4;

/// States, from `net/tcp_states.h`: all but those of sockets that speak to nobody, and of connections that have ended.
const TIME_WAIT: u32 = 6;
const CLOSE: u32 = 7;
const LISTEN: u32 = 10;
const CONNECTED: u32 = 0xfff & !(1 << TIME_WAIT | 1 << CLOSE | 1 << LISTEN);

/// The kernel fills 32 KiB at most.
const ANSWER_BYTES: usize = 64 * 1024;

/// A protocol that has connected sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SocketProtocol {
    /// TCP.
    Tcp = 6,
    /// UDP.
    Udp = 17,
}

/// A socket that is connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectedSocket {
    /// Its protocol.
    pub protocol: SocketProtocol,
    /// Its own end.
    pub local: SocketAddr,
    /// The other end. IPv4 also of an IPv6 socket that speaks IPv4.
    pub remote: SocketAddr,
    /// By which BPF programs know it.
    pub cookie: u64,
    family: u8,
    id: [u8; ID_BYTES],
}

/// A `sock_diag` socket in one network namespace.
pub struct SocketDiag {
    socket: Socket,
    namespace: String,
    sequence: u32,
}

impl fmt::Debug for SocketDiag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SocketDiag").field("namespace", &self.namespace).finish_non_exhaustive()
    }
}

impl SocketDiag {
    /// Opens one in `netns`. The calling thread stays where it is.
    ///
    /// # Errors
    /// [`NetlinkError::NetNs`] when the namespace cannot be entered, otherwise the socket's error.
    pub fn open(netns: &NetNs) -> Result<Self, NetlinkError> {
        let namespace = netns.path().display().to_string();
        let open = || -> io::Result<Socket> {
            let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
            socket.bind_auto()?;
            socket.connect(&NetlinkAddr::new(0, 0))?;
            Ok(socket)
        };
        let socket = netns
            .run(open)?
            .map_err(|e| NetlinkError::from_io("open a sock_diag socket in", &namespace, e))?;
        Ok(Self { socket, namespace, sequence: 0 })
    }

    /// The sockets of a family that are connected, to this port if one is given.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] if the kernel has no `sock_diag` for the protocol; [`NetlinkError`] of the dump.
    pub fn connected(
        &mut self,
        protocol: SocketProtocol,
        ipv6: bool,
        remote_port: Option<u16>,
    ) -> Result<Vec<ConnectedSocket>, NetlinkError> {
        let family = if ipv6 { AF_INET6 } else { AF_INET };
        let mut id = [0; ID_BYTES];
        id[2..4].copy_from_slice(&remote_port.unwrap_or(0).to_be_bytes());
        // The constant is 10 at most.
        let request = request(family as u8, protocol, CONNECTED, &id);
        let mut found = Vec::new();
        self.exchange("list the sockets of", SOCK_DIAG_BY_FAMILY, NLM_F_DUMP, &request, |payload| {
            found.extend(connected(protocol, payload));
        })?;
        Ok(found)
    }

    /// Ends a connection: whoever has the socket is told `ECONNABORTED`. False if it is there no more.
    ///
    /// # Errors
    /// [`NetlinkError::Unsupported`] if the kernel was built without `INET_DIAG_DESTROY`, otherwise its answer.
    pub fn destroy(&mut self, socket: &ConnectedSocket) -> Result<bool, NetlinkError> {
        let request = request(socket.family, socket.protocol, CONNECTED, &socket.id);
        match self.exchange("destroy a socket in", SOCK_DESTROY, NLM_F_ACK, &request, |_| {}) {
            Ok(()) => Ok(true),
            Err(NetlinkError::Missing { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Sends one request and reads its answers to the last.
    fn exchange(
        &mut self,
        action: &'static str,
        kind: u16,
        flags: i32,
        request: &[u8],
        mut take: impl FnMut(&[u8]),
    ) -> Result<(), NetlinkError> {
        let fail = |e| NetlinkError::from_io(action, &self.namespace, e);
        self.sequence = self.sequence.wrapping_add(1);
        let length = (HEADER_BYTES + request.len()) as u32;
        // The flags have 16 bits in the header.
        let flags = (NLM_F_REQUEST | flags) as u16;
        let mut message = Vec::with_capacity(length as usize);
        message.extend_from_slice(&length.to_ne_bytes());
        message.extend_from_slice(&kind.to_ne_bytes());
        message.extend_from_slice(&flags.to_ne_bytes());
        message.extend_from_slice(&self.sequence.to_ne_bytes());
        message.extend_from_slice(&0_u32.to_ne_bytes());
        message.extend_from_slice(request);
        self.socket.send(&message, 0).map_err(fail)?;
        let mut buffer = Vec::with_capacity(ANSWER_BYTES);
        loop {
            buffer.clear();
            self.socket.recv(&mut buffer, 0).map_err(fail)?;
            let mut rest = buffer.as_slice();
            while let Some((kind, sequence, payload, after)) = next_message(rest) {
                rest = after;
                // Of a request that was given up.
                if sequence != self.sequence {
                    continue;
                }
                match i32::from(kind) {
                    NLMSG_DONE => return Ok(()),
                    NLMSG_ERROR => {
                        let number = payload.first_chunk().map_or(0, |bytes| i32::from_ne_bytes(*bytes));
                        return match number {
                            0 => Ok(()),
                            number => Err(fail(io::Error::from_raw_os_error(-number))),
                        };
                    }
                    _ => take(payload),
                }
            }
        }
    }
}

/// `struct inet_diag_req_v2`.
fn request(family: u8, protocol: SocketProtocol, states: u32, id: &[u8; ID_BYTES]) -> Vec<u8> {
    let mut bytes = vec![family, protocol as u8, 0, 0];
    bytes.extend_from_slice(&states.to_ne_bytes());
    debug_assert_eq!(bytes.len(), ID_IN_REQUEST);
    bytes.extend_from_slice(id);
    bytes
}

/// The first message: its type, its number, what is in it, and what comes after it.
fn next_message(bytes: &[u8]) -> Option<(u16, u32, &[u8], &[u8])> {
    let header: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
    let kind = u16::from_ne_bytes([header[4], header[5]]);
    let sequence = u32::from_ne_bytes([header[8], header[9], header[10], header[11]]);
    let payload = bytes.get(HEADER_BYTES..length)?;
    let after = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, sequence, payload, after))
}

/// `struct inet_diag_msg`.
fn connected(protocol: SocketProtocol, message: &[u8]) -> Option<ConnectedSocket> {
    let family = *message.first()?;
    let id: &[u8; ID_BYTES] = message.get(ID_IN_ANSWER..)?.first_chunk()?;
    let port = |at: usize| u16::from_be_bytes([id[at], id[at + 1]]);
    let word = |at: usize| u32::from_ne_bytes([id[at], id[at + 1], id[at + 2], id[at + 3]]);
    Some(ConnectedSocket {
        protocol,
        local: SocketAddr::new(address(family, &id[4..20])?, port(0)),
        remote: SocketAddr::new(address(family, &id[20..36])?, port(2)),
        cookie: u64::from(word(40)) | u64::from(word(44)) << 32,
        family,
        id: *id,
    })
}

fn address(family: u8, bytes: &[u8]) -> Option<IpAddr> {
    match i32::from(family) {
        AF_INET => bytes.first_chunk::<4>().map(|bytes| Ipv4Addr::from(*bytes).into()),
        AF_INET6 => bytes.first_chunk::<16>().map(|bytes| Ipv6Addr::from(*bytes).to_canonical()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_that_are_cut_off_are_none() {
        let mut bytes = vec![0; 20];
        bytes[0] = 20;
        bytes[4] = 3;
        bytes[8] = 7;
        assert_eq!(next_message(&bytes), Some((3, 7, [0; 4].as_slice(), [].as_slice())));
        for length in 0..20 {
            assert_eq!(next_message(&bytes[..length]), None);
        }
        bytes[0] = 3;
        assert_eq!(next_message(&bytes), None);
        for length in 0..ID_IN_ANSWER + ID_BYTES {
            assert_eq!(connected(SocketProtocol::Tcp, &vec![2; length]), None);
        }
    }

    #[test]
    fn an_ipv6_socket_that_speaks_ipv4_has_ipv4_ends() {
        let mut message = vec![0; ID_IN_ANSWER + ID_BYTES];
        message[0] = 10;
        message[ID_IN_ANSWER + 2..ID_IN_ANSWER + 4].copy_from_slice(&80_u16.to_be_bytes());
        let mapped = Ipv4Addr::new(10, 0, 0, 1).to_ipv6_mapped().octets();
        message[ID_IN_ANSWER + 20..ID_IN_ANSWER + 36].copy_from_slice(&mapped);
        let socket = connected(SocketProtocol::Tcp, &message).unwrap();
        assert_eq!(socket.remote, "10.0.0.1:80".parse().unwrap());
    }
}
