// SPDX-License-Identifier: Apache-2.0
//! Listens to an agent.

use std::io::{self, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Event;
use crate::wire::{Reply, Request, line, read_line};

/// How long an agent may take to say whether it will tell.
const REPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why nothing is told, or nothing any more.
#[derive(Debug, thiserror::Error)]
pub enum MonitorError {
    /// Nobody answers on the socket.
    #[error("cannot reach the agent's monitor at {}: {source}; {}", path.display(), remedy(.source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent refused.
    #[error("the agent's monitor at {} refuses: {message}", path.display())]
    Refused {
        /// The socket.
        path: PathBuf,
        /// Why.
        message: String,
    },
    /// The connection broke.
    #[error("the connection to the agent's monitor at {} broke: {source}", path.display())]
    Broken {
        /// The socket.
        path: PathBuf,
        /// How.
        source: io::Error,
    },
    /// A line is no event.
    #[error("the agent's monitor at {} said what cannot be read: {source}; are both of one version?", path.display())]
    Decode {
        /// The socket.
        path: PathBuf,
        /// Where in the line.
        source: serde_json::Error,
    },
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "run as root or as a user of the socket's group",
        _ => "is the agent running?",
    }
}

/// What an agent tells, one by one, until it stops.
#[derive(Debug)]
pub struct Events {
    path: PathBuf,
    reader: BufReader<UnixStream>,
}

impl Events {
    /// Begins to listen: everything that happens after it returns is told.
    ///
    /// # Errors
    /// [`MonitorError`] when the agent is not there or refuses.
    pub fn open(path: impl AsRef<Path>, request: &Request) -> Result<Self, MonitorError> {
        let path = path.as_ref().to_owned();
        let stream = UnixStream::connect(&path)
            .map_err(|source| MonitorError::Connect { path: path.clone(), source })?;
        let mut events = Self { path, reader: BufReader::new(stream) };
        let sent = line(request).and_then(|line| {
            events.reader.get_mut().set_read_timeout(Some(REPLY_TIMEOUT))?;
            events.reader.get_mut().write_all(&line)
        });
        sent.map_err(|source| events.broken(source))?;
        match events.read()? {
            Some(Reply::Subscribed) => {
                // Events may be long in coming.
                let patient = events.reader.get_mut().set_read_timeout(None);
                patient.map_err(|source| events.broken(source))?;
                Ok(events)
            }
            Some(Reply::Refused { message }) => Err(MonitorError::Refused { path: events.path, message }),
            None => Err(events.broken(io::ErrorKind::UnexpectedEof.into())),
        }
    }

    fn read<T: serde::de::DeserializeOwned>(&mut self) -> Result<Option<T>, MonitorError> {
        let line = read_line(&mut self.reader).map_err(|source| self.broken(source))?;
        line.map(|line| serde_json::from_slice(&line))
            .transpose()
            .map_err(|source| MonitorError::Decode { path: self.path.clone(), source })
    }

    fn broken(&self, source: io::Error) -> MonitorError {
        MonitorError::Broken { path: self.path.clone(), source }
    }
}

impl Iterator for Events {
    type Item = Result<Event, MonitorError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.read().transpose()
    }
}
