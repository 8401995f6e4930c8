// SPDX-License-Identifier: Apache-2.0
//! How others reach the control thread.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use controlplane::{ControlPlane, Event, Reply, Ticket};
use tokio::sync::oneshot;

/// Messages that wait for the thread. When it is full, sources wait and requests are refused.
pub const CONTROL_QUEUE: usize = 1024;

/// The thread cannot be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Gone {
    /// Its queue is full.
    #[error("the agent is busy: {CONTROL_QUEUE} requests wait already; try again")]
    Busy,
    /// It has ended.
    #[error("the agent is ending")]
    Ending,
}

/// What happened so far.
#[derive(Debug, Default)]
pub struct Statistics {
    /// Events that were handled.
    pub handled: AtomicU64,
    /// Times that a source found the queue full and waited.
    pub waited: AtomicU64,
    /// Requests that were refused since the queue was full.
    pub refused: AtomicU64,
}

pub(super) type Question = Box<dyn FnOnce(&ControlPlane) + Send>;
pub(super) type Make = Box<dyn FnOnce(Ticket) -> Event + Send>;

pub(super) enum Message {
    /// A fact.
    Tell(Box<Event>),
    /// A request, made once its ticket is known.
    Request(Make, oneshot::Sender<Reply>),
    /// A question.
    Ask(Question),
    /// The realizing thread has something to say.
    Look,
    /// It is over.
    Stop,
}

/// The handle. Clones reach the same thread.
#[derive(Clone, Debug)]
pub struct Control {
    sender: SyncSender<Message>,
    statistics: Arc<Statistics>,
}

impl Control {
    pub(super) fn new() -> (Self, Receiver<Message>) {
        let (sender, receiver) = sync_channel(CONTROL_QUEUE);
        (Self { sender, statistics: Arc::default() }, receiver)
    }

    /// Tells a fact, and waits while the queue is full. For sources, on threads of their own.
    pub fn tell(&self, event: Event) {
        let message = Message::Tell(Box::new(event));
        if let Err(TrySendError::Full(message)) = self.sender.try_send(message) {
            self.statistics.waited.fetch_add(1, Ordering::Relaxed);
            if self.sender.send(message).is_err() {
                tracing::debug!("a source told something after the end");
            }
        }
    }

    /// Asks for something to be done. The reply may come much later, when it is realized.
    ///
    /// # Errors
    /// [`Gone`], at once.
    pub fn request(
        &self,
        make: impl FnOnce(Ticket) -> Event + Send + 'static,
    ) -> Result<oneshot::Receiver<Reply>, Gone> {
        let (sender, receiver) = oneshot::channel();
        self.send(Message::Request(Box::new(make), sender))?;
        Ok(receiver)
    }

    /// Asks a question.
    ///
    /// # Errors
    /// [`Gone`], at once.
    pub fn ask<R: Send + 'static>(
        &self,
        question: impl FnOnce(&ControlPlane) -> R + Send + 'static,
    ) -> Result<oneshot::Receiver<R>, Gone> {
        let (sender, receiver) = oneshot::channel();
        // Whoever asked may have gone away meanwhile.
        self.send(Message::Ask(Box::new(move |plane| drop(sender.send(question(plane))))))?;
        Ok(receiver)
    }

    /// Wakes the thread to hear what the realizing thread has to say. With a full queue it is awake anyway.
    pub fn look(&self) {
        let _ = self.sender.try_send(Message::Look);
    }

    /// Ends the thread after what it was told.
    pub fn stop(&self) {
        // Only an error if it has ended.
        let _ = self.sender.send(Message::Stop);
    }

    /// What happened so far.
    pub fn statistics(&self) -> &Statistics {
        &self.statistics
    }

    fn send(&self, message: Message) -> Result<(), Gone> {
        self.sender.try_send(message).map_err(|error| match error {
            TrySendError::Full(_) => {
                self.statistics.refused.fetch_add(1, Ordering::Relaxed);
                Gone::Busy
            }
            TrySendError::Disconnected(_) => Gone::Ending,
        })
    }
}
