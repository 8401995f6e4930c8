// SPDX-License-Identifier: Apache-2.0
//! Probes over the loopback of whatever namespace the test runs in: no root is needed.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;
use std::time::Duration;

use crate::scenario::probe::{Shot, send};
use crate::scenario::{Kind, Manner, Outcome, ProbeError};

fn shot(kind: Kind, to: SocketAddr) -> Shot {
    Shot { kind, source: None, to, size: 20_000, within: Duration::from_secs(5), manner: Manner::default() }
}

/// A port at which nobody listens: one that was just given back.
fn closed(kind: Kind) -> SocketAddr {
    match kind {
        Kind::Tcp => TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()),
        _ => UdpSocket::bind("127.0.0.1:0").and_then(|s| s.local_addr()),
    }
    .expect("a port")
}

/// A server of one connection.
fn serve(answer: impl FnOnce(TcpStream) + Send + 'static) -> (SocketAddr, thread::JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let thread = thread::spawn(move || answer(listener.accept().expect("a connection").0));
    (address, thread)
}

#[test]
fn a_closed_port_refuses_tcp_and_udp() {
    for kind in [Kind::Tcp, Kind::Udp] {
        assert_eq!(
            send(&shot(kind, closed(kind))).expect("an outcome").outcome,
            Outcome::Refused,
            "{kind:?}"
        );
    }
}

#[test]
fn a_udp_server_that_never_answers_is_a_drop() {
    let silent = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = silent.local_addr().expect("its address");
    let shot = Shot { within: Duration::from_millis(50), ..shot(Kind::Udp, to) };
    assert_eq!(send(&shot).expect("an outcome").outcome, Outcome::Dropped);
}

#[test]
fn a_tcp_server_whose_queue_is_full_is_a_drop() {
    use nix::sys::socket::{
        AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, getsockname, listen, socket,
    };
    use std::os::fd::AsRawFd;
    let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).expect("a socket");
    bind(fd.as_raw_fd(), &SockaddrIn::new(127, 0, 0, 1, 0)).expect("bound");
    listen(&fd, Backlog::new(0).expect("a backlog")).expect("listening");
    let to: SockaddrIn = getsockname(fd.as_raw_fd()).expect("its address");
    let to = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), to.port());
    // A backlog of 0 takes one connection that nobody accepts.
    let _first = TcpStream::connect(to).expect("the first is taken");
    let shot = Shot { within: Duration::from_millis(50), ..shot(Kind::Tcp, to) };
    assert_eq!(send(&shot).expect("an outcome").outcome, Outcome::Dropped);
}

#[test]
fn a_server_that_echoes_every_byte_allows() {
    let (to, server) = serve(|mut stream| {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..length]).expect("sent back");
        }
    });
    assert_eq!(send(&shot(Kind::Tcp, to)).expect("an outcome").outcome, Outcome::Allowed);
    server.join().expect("the server ended");
}

#[test]
fn a_connection_that_ends_half_way_has_no_outcome_to_expect() {
    let (to, server) = serve(|mut stream| {
        let mut buffer = [0; 100];
        stream.read_exact(&mut buffer).expect("read");
        stream.write_all(&buffer).expect("sent back");
    });
    let error = send(&shot(Kind::Tcp, to)).expect_err("an outcome");
    assert!(matches!(error, ProbeError::Partial { got: 0..=100, sent: 20_000, .. }), "{error}");
    server.join().expect("the server ended");
}

#[test]
fn other_bytes_than_were_sent_have_no_outcome_to_expect() {
    let server = UdpSocket::bind("127.0.0.1:0").expect("a port");
    let to = server.local_addr().expect("its address");
    let thread = thread::spawn(move || {
        let mut buffer = vec![0; 65_536];
        for change in [0, 1] {
            let (length, client) = server.recv_from(&mut buffer).expect("a datagram");
            buffer[0] ^= 1;
            server.send_to(&buffer[..length - change], client).expect("sent back");
        }
    });
    for _ in 0..2 {
        let error = send(&shot(Kind::Udp, to)).expect_err("an outcome");
        assert!(matches!(error, ProbeError::Altered), "{error}");
    }
    thread.join().expect("the server ended");
}

#[test]
fn a_source_that_is_not_the_clients_own_is_an_error_not_a_refusal() {
    let mut shot = shot(Kind::Udp, closed(Kind::Udp));
    shot.source = Some(IpAddr::from([192, 0, 2, 1]));
    assert!(matches!(send(&shot).expect_err("an outcome"), ProbeError::Client { .. }));
}
