// SPDX-License-Identifier: Apache-2.0
//! The server process: told by one line of JSON what to serve, it says in one line when all is ready, and ends with
//! its standard input.

use std::io::{self, BufRead, Write};
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use netlink::NetNs;
use nix::errno::Errno;
use serde::{Deserialize, Serialize};

use super::client::sequence_bytes;
use super::cpu::{Scheduler, pin};
use super::socket::{self, Received};
use crate::lab::{Origin, Seat};
use crate::plan::{WorkloadKind, WorkloadSpec};

/// What a server process is to serve.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Order {
    /// The traffic; one thread per connection and endpoint.
    pub workload: WorkloadSpec,
    /// The CPU of all threads.
    pub cpu: usize,
    /// Their scheduling class.
    pub scheduler: Scheduler,
    /// Where to listen.
    pub endpoints: Vec<Endpoint>,
}

/// One subject's server.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Path of the namespace, valid for the server process.
    pub netns: PathBuf,
    /// The control group that it is served from, if there is one.
    pub cgroup: Option<PathBuf>,
    /// Where to listen within it.
    pub listen: SocketAddr,
}

/// What a server process says, one line each.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// All endpoints listen, or have failed: thread ids of each, or why it does not listen.
    Ready(Vec<Result<Vec<i32>, String>>),
    /// An endpoint has failed after it was ready.
    Failed {
        /// Its place in [`Order::endpoints`].
        endpoint: usize,
        /// Why.
        reason: String,
    },
}

/// Why the server process cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Standard input or output failed.
    #[error("speak with the client: {0}")]
    Pipe(io::Error),
    /// The order is not one.
    #[error("the server's order on standard input: {0}")]
    Order(serde_json::Error),
}

/// Serves as told on `input` until that ends.
///
/// # Errors
/// [`ServeError`]. What fails at one endpoint is told on `output` and ends that endpoint only.
pub fn serve(mut input: impl BufRead, output: impl Write + Send + 'static) -> Result<(), ServeError> {
    let mut line = String::new();
    input.read_line(&mut line).map_err(ServeError::Pipe)?;
    let order: Order = serde_json::from_str(&line).map_err(ServeError::Order)?;
    let (say, replies) = channel();
    let ready = order
        .endpoints
        .iter()
        .enumerate()
        .map(|(index, endpoint)| start(&order, index, endpoint, &say))
        .collect();
    say.send(Reply::Ready(ready)).map_err(|e| ServeError::Pipe(io::Error::other(e.to_string())))?;
    thread::spawn(move || speak(&replies, output));
    // Nothing more is expected: whatever ends the client also ends this.
    io::copy(&mut input, &mut io::sink()).map_err(ServeError::Pipe)?;
    Ok(())
}

/// Writes the replies. A client that no longer reads has gone: its end of our input ends the process.
fn speak(replies: &Receiver<Reply>, mut output: impl Write) {
    for reply in replies {
        let Ok(mut line) = serde_json::to_vec(&reply) else { return };
        line.push(b'\n');
        if output.write_all(&line).and_then(|()| output.flush()).is_err() {
            return;
        }
    }
}

/// Listens in the endpoint's namespace and starts its threads there; returns their ids once all are in place.
fn start(order: &Order, index: usize, endpoint: &Endpoint, say: &Sender<Reply>) -> Result<Vec<i32>, String> {
    let namespace = NetNs::open(&endpoint.netns).map_err(|e| e.to_string())?;
    let seat = endpoint.cgroup.as_deref().map(Seat::at);
    let started = (Origin { netns: &namespace, seat: seat.as_ref() }).run(|| -> Result<Vec<i32>, String> {
        let listen =
            if order.workload.kind == WorkloadKind::UdpRr { socket::bound_udp } else { socket::listening };
        let socket = listen(endpoint.listen).map_err(|e| format!("listen at {}: {e}", endpoint.listen))?;
        let socket = Arc::new(socket);
        (0..order.workload.connections).map(|_| start_thread(order, index, &socket, say)).collect()
    });
    started.map_err(|e| e.to_string())?
}

/// One thread; it inherits the namespace and the control group of the one that starts it.
fn start_thread(
    order: &Order,
    endpoint: usize,
    socket: &Arc<OwnedFd>,
    say: &Sender<Reply>,
) -> Result<i32, String> {
    let (placed, ready) = channel();
    let (workload, cpu, scheduler) = (order.workload.clone(), order.cpu, order.scheduler);
    let (socket, say) = (socket.clone(), say.clone());
    thread::Builder::new()
        .name("server".into())
        .stack_size(256 * 1024)
        .spawn(move || {
            let place = pin(cpu).and_then(|()| scheduler.apply());
            let place = place.map(|()| nix::unistd::gettid().as_raw()).map_err(|e| e.to_string());
            let failed = place.is_err();
            if placed.send(place).is_err() || failed {
                return;
            }
            let Err(error) = answer(&workload, &socket);
            // The receiver goes only with the process.
            let _ = say.send(Reply::Failed { endpoint, reason: error.to_string() });
        })
        .map_err(|e| format!("start a server thread: {e}"))?;
    ready.recv().map_err(|_| "a server thread has died".to_owned())?
}

/// Answers until something fails that is not a client's going.
fn answer(workload: &WorkloadSpec, socket: &OwnedFd) -> nix::Result<std::convert::Infallible> {
    let (request, response) = (workload.request_bytes as usize, workload.response_bytes as usize);
    if workload.kind == WorkloadKind::UdpRr {
        return answer_datagrams(socket, request, response);
    }
    let mut incoming = vec![0; request.min(socket::BLOCK)];
    let outgoing = vec![0; response.min(socket::BLOCK)];
    loop {
        let connection = socket::accept(socket)?;
        let fd = connection.as_raw_fd();
        loop {
            let exchanged = match socket::receive_all(fd, &mut incoming, request) {
                Ok(Received::Whole) => socket::send_all(fd, &outgoing, response),
                Ok(Received::End) => break,
                Err(e) => Err(e),
            };
            match exchanged {
                Ok(()) if workload.kind == WorkloadKind::TcpCrr => break,
                Ok(()) => {}
                Err(Errno::ECONNRESET | Errno::EPIPE | Errno::ETIMEDOUT) => break,
                Err(e) => return Err(e),
            }
        }
    }
}

fn answer_datagrams(
    socket: &OwnedFd,
    request: usize,
    response: usize,
) -> nix::Result<std::convert::Infallible> {
    let marked = sequence_bytes(request, response);
    let mut incoming = vec![0; request];
    let mut outgoing = vec![0; response];
    loop {
        let (size, peer) = socket::receive_from(socket.as_raw_fd(), &mut incoming)?;
        let Some(peer) = peer else { continue };
        if size < marked {
            continue;
        }
        outgoing[..marked].copy_from_slice(&incoming[..marked]);
        match socket::send_to(socket.as_raw_fd(), &outgoing, &peer) {
            // A client or a rule on the way that refuses an answer: the client counts it as lost.
            Ok(()) | Err(Errno::ECONNREFUSED | Errno::EPERM | Errno::EHOSTUNREACH | Errno::ENETUNREACH) => {}
            Err(e) => return Err(e),
        }
    }
}
