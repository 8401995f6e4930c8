// SPDX-License-Identifier: Apache-2.0
//! Hands events to whoever connects: two threads for each, one that writes and one that sees the other hang up.

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::sys::socket;

use crate::wire::{Reply, Request, line, read_line};
use crate::{Hub, Subscription};

/// How long a client may take for its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long to wait after the kernel refused a connection, for want of file descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The monitor's socket, served until it is dropped.
pub struct Server {
    listener: UnixListener,
    open: Arc<Open>,
    acceptor: Option<JoinHandle<()>>,
}

/// The connections that are open, so that the server can end them.
#[derive(Default)]
struct Open {
    state: Mutex<OpenState>,
}

#[derive(Default)]
struct OpenState {
    stopped: bool,
    next: u64,
    streams: HashMap<u64, UnixStream>,
}

impl Server {
    /// Serves a socket that already listens.
    ///
    /// # Errors
    /// When the kernel gives no second descriptor or no thread.
    pub fn start(listener: UnixListener, hub: Hub) -> io::Result<Self> {
        let open = Arc::new(Open::default());
        let acceptor = thread::Builder::new().name("monitor-accept".into()).spawn({
            let (listener, open) = (listener.try_clone()?, Arc::clone(&open));
            move || accept(&listener, &open, &hub)
        })?;
        Ok(Self { listener, open, acceptor: Some(acceptor) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.open.stop();
        // Wakes the thread that accepts. Should that fail, the process is ending anyway, and it is not waited for.
        let woken = socket::shutdown(self.listener.as_raw_fd(), socket::Shutdown::Both);
        if let (Ok(()), Some(acceptor)) = (woken, self.acceptor.take()) {
            let _ = acceptor.join();
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Open {
    /// Remembers a connection; `None` when the server has stopped.
    fn add(&self, stream: &UnixStream) -> Option<u64> {
        let mut state = self.lock();
        let id = state.next;
        if state.stopped {
            return None;
        }
        state.streams.insert(id, stream.try_clone().ok()?);
        state.next += 1;
        Some(id)
    }

    fn remove(&self, id: u64) {
        self.lock().streams.remove(&id);
    }

    fn stop(&self) {
        let mut state = self.lock();
        state.stopped = true;
        for stream in state.streams.values() {
            // One that is closed already has what it should have.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn lock(&self) -> MutexGuard<'_, OpenState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn accept(listener: &UnixListener, open: &Arc<Open>, hub: &Hub) {
    loop {
        let accepted = listener.accept();
        if open.lock().stopped {
            return;
        }
        let Ok((stream, _)) = accepted else {
            hub.count_refused();
            thread::sleep(ACCEPT_PAUSE);
            continue;
        };
        let Some(id) = open.add(&stream) else {
            hub.count_refused();
            continue;
        };
        let spawned = thread::Builder::new().name("monitor-client".into()).spawn({
            let (open, hub) = (Arc::clone(open), hub.clone());
            move || {
                // A client that went away while it was served is no fault of the agent.
                let _ = serve(&stream, &hub);
                open.remove(id);
            }
        });
        if spawned.is_err() {
            // The connection closes: the client sees that nothing is told.
            hub.count_refused();
            open.remove(id);
        }
    }
}

/// Until the client or the server hangs up.
fn serve(stream: &UnixStream, hub: &Hub) -> io::Result<()> {
    stream.set_read_timeout(Some(REQUEST_TIMEOUT))?;
    stream.set_write_timeout(None)?;
    let mut reader = BufReader::new(stream);
    let (request, subscription) = match subscribe(&mut reader, hub) {
        Ok(subscribed) => subscribed,
        Err(message) => return write(stream, &line(&Reply::Refused { message })?),
    };
    stream.set_read_timeout(None)?;
    write(stream, &line(&Reply::Subscribed)?)?;
    let close = subscription.closer();
    thread::scope(|scope| {
        thread::Builder::new().name("monitor-hangup".into()).spawn_scoped(scope, move || {
            // What a client says after its request is not looked at.
            // The copy ends when the client hangs up, in whichever way.
            let _ = io::copy(&mut reader, &mut io::sink());
            close();
        })?;
        let told = tell(stream, &request, &subscription);
        // Wakes the other thread.
        let _ = stream.shutdown(Shutdown::Both);
        told
    })
}

fn subscribe(reader: &mut BufReader<&UnixStream>, hub: &Hub) -> Result<(Request, Subscription), String> {
    let line = read_line(reader).map_err(|error| format!("the request cannot be read: {error}"))?;
    let line = line.ok_or("there is no request")?;
    let request: Request =
        serde_json::from_slice(&line).map_err(|error| format!("the request is not understood: {error}"))?;
    let subscription = hub.subscribe(request.filter()).map_err(|error| error.to_string())?;
    Ok((request, subscription))
}

fn tell(stream: &UnixStream, request: &Request, subscription: &Subscription) -> io::Result<()> {
    while let Some(event) = subscription.next() {
        let line = match (request.payload, event.payload()) {
            (false, Some(_)) => line(&(*event).clone().without_payload())?,
            _ => line(&*event)?,
        };
        write(stream, &line)?;
    }
    Ok(())
}

fn write(mut stream: &UnixStream, bytes: &[u8]) -> io::Result<()> {
    stream.write_all(bytes)
}
