// SPDX-License-Identifier: Apache-2.0
//! Before a subject is handed out: does a connection come about, and do bytes go both ways?

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

use crate::lab::Origin;
use crate::pair::Pair;
use crate::plan::WorkloadKind;

/// How long connecting, and each byte, may take.
const DEADLINE: Duration = Duration::from_secs(5);

/// Client and server do not reach each other.
#[derive(Debug, thiserror::Error)]
#[error("{subject} was built, but {step} failed: {source}")]
pub struct Unreachable {
    subject: String,
    step: String,
    source: io::Error,
}

/// Connects as the client would and sends one byte there and back.
pub(super) fn check(pair: &Pair, subject: &str) -> Result<(), Unreachable> {
    let kind = WorkloadKind::TcpCrr;
    let (listen, dial) = (pair.listen_address(kind), pair.dial_address(kind));
    let fail = |step: String| {
        let subject = subject.to_owned();
        move |source| Unreachable { subject, step, source }
    };
    let listener =
        inside(pair.server_origin(), || listener(listen)).map_err(fail(format!("listening on {listen}")))?;
    std::thread::scope(|s| {
        let server = s.spawn(|| echo(&listener));
        let client = inside(pair.client_origin(), || exchange(dial));
        let server = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        client.map_err(fail(format!("a connection from client to server ({dial})")))?;
        server.map_err(fail(format!("answering at {listen}")))
    })
}

fn inside<T: Send>(origin: Origin<'_>, f: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    origin.run(f).unwrap_or_else(|e| Err(io::Error::other(e)))
}

fn listener(address: SocketAddr) -> io::Result<TcpListener> {
    let listener = TcpListener::bind(address)?;
    // accept() keeps this deadline, too.
    let seconds = i64::try_from(DEADLINE.as_secs()).unwrap_or(i64::MAX);
    setsockopt(&listener, sockopt::ReceiveTimeout, &TimeVal::seconds(seconds))?;
    Ok(listener)
}

fn echo(listener: &TcpListener) -> io::Result<()> {
    let (mut stream, _) = listener.accept().map_err(timed_out)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut byte = [0];
    stream.read_exact(&mut byte).map_err(timed_out)?;
    stream.write_all(&byte)?;
    // Until the client has read it and closed; how it closes does not matter.
    let _ = stream.read(&mut byte);
    Ok(())
}

fn exchange(address: SocketAddr) -> io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, DEADLINE)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    // Closed by a reset: no TIME_WAIT stays behind.
    setsockopt(&stream, sockopt::Linger, &libc::linger { l_onoff: 1, l_linger: 0 })?;
    stream.write_all(&[42])?;
    let mut byte = [0];
    stream.read_exact(&mut byte).map_err(timed_out)?;
    if byte == [42] { Ok(()) } else { Err(io::Error::other("another byte came back than was sent")) }
}

/// A deadline that passes is EAGAIN, which reads as "try again".
fn timed_out(error: io::Error) -> io::Error {
    if error.kind() == io::ErrorKind::WouldBlock {
        io::Error::new(io::ErrorKind::TimedOut, format!("nothing came within {} s", DEADLINE.as_secs()))
    } else {
        error
    }
}
