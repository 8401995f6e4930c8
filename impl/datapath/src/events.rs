// SPDX-License-Identifier: Apache-2.0
//! Reading what programs tell.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use libbpf_rs::{MapHandle, RingBuffer, RingBufferBuilder};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::{DatapathError, loader};

/// Events that are taken out of the ring at a time.
const AT_ONCE: usize = 256;

type Queue = Arc<Mutex<VecDeque<Vec<u8>>>>;

/// Reads the ring of events. One at a time may: what it has read is gone.
#[derive(Debug)]
pub struct EventReader {
    ring: RingBuffer<'static>,
    queue: Queue,
}

impl EventReader {
    pub(crate) fn new(handle: &MapHandle) -> Result<Self, DatapathError> {
        let queue = Queue::default();
        let kept = queue.clone();
        let mut builder = RingBufferBuilder::new();
        let (ring, log) = loader::listen(|| {
            builder.add(handle, move |event: &[u8]| {
                kept.lock().unwrap_or_else(PoisonError::into_inner).push_back(event.to_vec());
                0
            })?;
            builder.build()
        });
        let ring = ring.map_err(|source| DatapathError::Attach {
            action: "read",
            hook: maps::names::EVENTS.into(),
            source,
            log,
        })?;
        Ok(Self { ring, queue })
    }

    /// Readable while there are events: to be waited for together with other things.
    pub fn fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the descriptor belongs to the ring, which lives as long as the reader that is borrowed.
        unsafe { BorrowedFd::borrow_raw(self.ring.epoll_fd()) }
    }

    /// Waits until there is an event, or the time is over.
    ///
    /// # Errors
    /// [`DatapathError::Attach`] when the kernel refuses.
    pub fn wait(&self, timeout: Duration) -> Result<(), DatapathError> {
        if !self.lock().is_empty() {
            return Ok(());
        }
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        match poll(&mut [PollFd::new(self.fd(), PollFlags::POLLIN)], timeout) {
            // A signal is no reason to end.
            Ok(_) | Err(Errno::EINTR) => Ok(()),
            Err(error) => Err(refused(error as i32)),
        }
    }

    /// The next event, if there is one: a [`maps::EventHeader`] and what follows.
    ///
    /// # Errors
    /// [`DatapathError::Attach`] when the kernel refuses.
    #[expect(clippy::should_implement_trait, reason = "none now does not mean none later")]
    pub fn next(&mut self) -> Result<Option<Vec<u8>>, DatapathError> {
        if let Some(event) = self.lock().pop_front() {
            return Ok(Some(event));
        }
        match self.ring.consume_raw_n(AT_ONCE) {
            answer if answer < 0 => Err(refused(-answer)),
            _ => Ok(self.lock().pop_front()),
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, VecDeque<Vec<u8>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl AsFd for EventReader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

fn refused(number: i32) -> DatapathError {
    DatapathError::Attach {
        action: "read",
        hook: maps::names::EVENTS.into(),
        source: libbpf_rs::Error::from_raw_os_error(number),
        log: String::new(),
    }
}
