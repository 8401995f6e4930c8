// SPDX-License-Identifier: Apache-2.0
//! The thread that reads what programs tell, and hands it to whoever listens.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::{io, time::Duration};

use datapath::EventReader;
use monitor::{Decoder, Hub};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::eventfd::{EfdFlags, EventFd};

/// How long to wait after the kernel refused to give events.
const PAUSE: Duration = Duration::from_secs(1);

/// Reads until it is dropped.
#[derive(Debug)]
pub struct EventThread {
    stop: Arc<EventFd>,
    thread: Option<JoinHandle<()>>,
}

impl EventThread {
    /// Starts.
    ///
    /// # Errors
    /// When the kernel gives no descriptor or thread.
    pub fn start(reader: EventReader, hub: Hub) -> io::Result<Self> {
        let stop = Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC)?);
        let stopped = stop.clone();
        let thread =
            thread::Builder::new().name("events".into()).spawn(move || run(reader, &hub, &stopped))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl EventThread {
    /// Its name, if it has ended though nobody told it to.
    pub fn dead_thread(&self) -> Option<String> {
        self.thread.as_ref().filter(|thread| thread.is_finished()).map(|_| "events".into())
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        if let Err(error) = self.stop.write(1) {
            tracing::error!(%error, "the thread of events cannot be stopped");
            return;
        }
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the thread of events had panicked");
        }
    }
}

fn run(mut reader: EventReader, hub: &Hub, stop: &EventFd) {
    let mut decoder = Decoder::new();
    let mut told = false;
    loop {
        let mut fds =
            [PollFd::new(stop.as_fd(), PollFlags::POLLIN), PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
        let polled = poll(&mut fds, PollTimeout::NONE);
        if fds[0].any().unwrap_or(false) {
            return;
        }
        let failed = match polled {
            Ok(_) | Err(Errno::EINTR) => drain(&mut reader, &mut decoder, hub).err(),
            Err(error) => Some(error.to_string()),
        };
        if let Some(reason) = failed {
            // Once: what is lost meanwhile is counted by the programs.
            if !std::mem::replace(&mut told, true) {
                tracing::error!(reason, "events cannot be read; it is tried again");
            }
            thread::sleep(PAUSE);
        }
    }
}

fn drain(reader: &mut EventReader, decoder: &mut Decoder, hub: &Hub) -> Result<(), String> {
    while let Some(event) = reader.next().map_err(|e| e.to_string())? {
        if let Err(error) = hub.publish_kernel(decoder, &event) {
            // Counted by the hub, and shown in the status.
            tracing::debug!(%error, "an event is not understood");
        }
    }
    Ok(())
}
