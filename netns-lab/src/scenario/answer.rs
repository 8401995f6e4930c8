// SPDX-License-Identifier: Apache-2.0
//! What sends back, at the ports that a scenario says, every byte and datagram it is sent, and says who it is when it
//! is asked. ICMP the kernel answers.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::file::Listen;
use crate::lab::{LabError, Origin};

/// How often a waiting thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

/// What is answered by a line that says who answers; no payload of a probe or load begins so.
pub(super) const QUESTION: &[u8; 16] = b"\0who answers me\n";

/// Nothing can listen there.
#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    /// A port.
    #[error("listen on {kind} {address}: {source}")]
    Listen {
        /// `TCP` or `UDP`.
        kind: &'static str,
        /// The address.
        address: SocketAddr,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The namespace, or the control group.
    #[error(transparent)]
    Lab(#[from] LabError),
}

/// Who answered, and whom he saw: the answer to a question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Name of the end.
    pub by: String,
    /// The client's address as it was there.
    pub seen: SocketAddr,
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} {}", self.by, self.seen)
    }
}

impl Answer {
    /// Of a line.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line).ok()?.strip_suffix('\n')?;
        let (by, seen) = line.split_once(' ')?;
        Some(Self { by: by.into(), seen: seen.parse().ok()? })
    }

    /// What is sent to who asks.
    fn to(name: &str, client: SocketAddr) -> Vec<u8> {
        let seen = SocketAddr::new(client.ip().to_canonical(), client.port());
        Self { by: name.into(), seen }.to_string().into_bytes()
    }
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Answering {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Answering {
    /// Listens at an address, as the end of this name. When this returns, every port is open.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn start(
        origin: Origin<'_>,
        name: &str,
        address: IpAddr,
        listen: &Listen,
    ) -> Result<Self, AnswerError> {
        let stop = Arc::new(AtomicBool::new(false));
        let name: Arc<str> = name.into();
        // Threads are in the control group of the one that starts them, and so are the connections that they accept.
        let threads = origin.run(|| -> Result<Vec<JoinHandle<()>>, AnswerError> {
            let (listeners, sockets) = bind(address, listen)?;
            let mut threads = Vec::new();
            for listener in listeners {
                let (name, stop) = (Arc::clone(&name), Arc::clone(&stop));
                threads.push(thread::spawn(move || accept(&listener, &name, &stop)));
            }
            for socket in sockets {
                let (name, stop) = (Arc::clone(&name), Arc::clone(&stop));
                threads.push(thread::spawn(move || echo_datagrams(&socket, &name, &stop)));
            }
            Ok(threads)
        })??;
        Ok(Self { stop, threads })
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                eprintln!("netns-lab: a thread that answers probes panicked");
            }
        }
    }
}

fn bind(address: IpAddr, listen: &Listen) -> Result<(Vec<TcpListener>, Vec<UdpSocket>), AnswerError> {
    let fail = |kind, address| move |source| AnswerError::Listen { kind, address, source };
    let mut listeners = Vec::new();
    for port in &listen.tcp {
        let address = SocketAddr::new(address, *port);
        listeners.push(listener(address).map_err(fail("TCP", address))?);
    }
    let mut sockets = Vec::new();
    for port in &listen.udp {
        let address = SocketAddr::new(address, *port);
        sockets.push(datagrams(address).map_err(fail("UDP", address))?);
    }
    Ok((listeners, sockets))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // accept() keeps the deadline for receiving.
    let look = i64::try_from(LOOK.as_millis()).unwrap_or(i64::MAX);
    setsockopt(&listener, sockopt::ReceiveTimeout, &TimeVal::milliseconds(look))?;
    Ok(listener)
}

fn datagrams(address: SocketAddr) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(address)?;
    socket.set_read_timeout(Some(LOOK))?;
    Ok(socket)
}

/// One thread per connection: a probe that hangs must not hold up the next.
fn accept(listener: &TcpListener, name: &str, stop: &AtomicBool) {
    thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            if let Ok((stream, client)) = listener.accept() {
                scope.spawn(move || echo_bytes(stream, &Answer::to(name, client), stop));
            }
        }
    });
}

/// Errors end the connection: the probe at its other end sees that, and tells it.
fn echo_bytes(mut stream: TcpStream, answer: &[u8], stop: &AtomicBool) {
    if stream.set_read_timeout(Some(LOOK)).is_err() {
        return;
    }
    let mut buffer = vec![0; 16_384];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) => {
                let received = &buffer[..length];
                let back = if received == QUESTION { answer } else { received };
                if stream.write_all(back).is_err() {
                    return;
                }
            }
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}

/// An error here is one of an earlier answer (its client has gone): the next datagram may come nevertheless.
fn echo_datagrams(socket: &UdpSocket, name: &str, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let received = &buffer[..length];
            let _ = if received == QUESTION {
                socket.send_to(&Answer::to(name, client), client)
            } else {
                socket.send_to(received, client)
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_as_it_is_written_and_torn_ones_are_none() {
        let line = Answer::to("server-a", "[::ffff:10.0.0.1]:4711".parse().unwrap());
        assert_eq!(line, b"server-a 10.0.0.1:4711\n");
        let answer = Answer::parse(&line).unwrap();
        assert_eq!((answer.by.as_str(), answer.seen), ("server-a", "10.0.0.1:4711".parse().unwrap()));
        for end in 0..line.len() {
            assert_eq!(Answer::parse(&line[..end]), None, "{end}");
        }
        assert_eq!(Answer::parse(b"\xff \n"), None);
    }
}
