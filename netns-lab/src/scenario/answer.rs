// SPDX-License-Identifier: Apache-2.0
//! What sends back, at the ports that a scenario says, every byte and datagram it is sent. ICMP the kernel answers.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use netlink::{NetNs, NetNsError};
use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use super::file::Listen;

/// How often a waiting thread looks whether it is to end.
const LOOK: Duration = Duration::from_millis(20);

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
    /// The namespace.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

/// Answers until it is dropped.
#[derive(Debug)]
pub struct Answering {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Answering {
    /// Listens at an address in a namespace. When this returns, every port is open.
    ///
    /// # Errors
    /// [`AnswerError`].
    pub fn start(netns: &NetNs, address: IpAddr, listen: &Listen) -> Result<Self, AnswerError> {
        let (listeners, sockets) = netns.run(|| bind(address, listen))??;
        let stop = Arc::new(AtomicBool::new(false));
        let mut threads = Vec::new();
        for listener in listeners {
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || accept(&listener, &stop)));
        }
        for socket in sockets {
            let stop = Arc::clone(&stop);
            threads.push(thread::spawn(move || echo_datagrams(&socket, &stop)));
        }
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
fn accept(listener: &TcpListener, stop: &AtomicBool) {
    thread::scope(|scope| {
        while !stop.load(Ordering::Relaxed) {
            if let Ok((stream, _)) = listener.accept() {
                scope.spawn(move || echo_bytes(stream, stop));
            }
        }
    });
}

/// Errors end the connection: the probe at its other end sees that, and tells it.
fn echo_bytes(mut stream: TcpStream, stop: &AtomicBool) {
    if stream.set_read_timeout(Some(LOOK)).is_err() {
        return;
    }
    let mut buffer = vec![0; 16_384];
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut buffer) {
            Ok(0) => return,
            Ok(length) if stream.write_all(&buffer[..length]).is_err() => return,
            Ok(_) => {}
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Err(_) => return,
        }
    }
}

/// An error here is one of an earlier answer (its client has gone): the next datagram may come nevertheless.
fn echo_datagrams(socket: &UdpSocket, stop: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !stop.load(Ordering::Relaxed) {
        if let Ok((length, client)) = socket.recv_from(&mut buffer) {
            let _ = socket.send_to(&buffer[..length], client);
        }
    }
}
