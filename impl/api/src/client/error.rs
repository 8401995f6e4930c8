// SPDX-License-Identifier: Apache-2.0
//! Why a request failed, and what to do.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::ErrorBody;

/// Why a request to the agent failed.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The address of the agent cannot be used.
    #[error("{host:?} is no address of the agent: write the path of its socket, or unix://PATH")]
    Host {
        /// As it was given.
        host: String,
    },
    /// Nobody answers on the socket.
    #[error("cannot reach the agent at {}: {source}; {}", path.display(), remedy(.source))]
    Connect {
        /// The socket.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The agent did not answer in time.
    #[error("{method} {target} at {}: no answer within {} s; is the agent busy or stopped?", path.display(), after.as_secs())]
    Timeout {
        /// The method.
        method: String,
        /// The path of the request.
        target: String,
        /// The socket.
        path: PathBuf,
        /// How long the client waited.
        after: Duration,
    },
    /// The agent refused.
    #[error("{method} {target}: {}", refusal(*status, .body))]
    Refused {
        /// The method.
        method: String,
        /// The path of the request.
        target: String,
        /// The HTTP status.
        status: u16,
        /// What it said.
        body: ErrorBody,
    },
    /// The connection broke, or what came back is not HTTP.
    #[error("{method} {target} at {}: {reason}", path.display())]
    Protocol {
        /// The method.
        method: String,
        /// The path of the request.
        target: String,
        /// The socket.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The reply is not what the contract says.
    #[error("{method} {target}: the reply cannot be read: {source}; are client and agent of one version?")]
    Decode {
        /// The method.
        method: String,
        /// The path of the request.
        target: String,
        /// Where in the reply.
        source: serde_json::Error,
    },
}

impl ClientError {
    /// The HTTP status, if the agent answered with one that is not a success.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the agent could not be reached at all.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Connect { .. })
    }
}

fn remedy(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::PermissionDenied => "run as root or as a user of the socket's group",
        _ => "is the agent running?",
    }
}

fn refusal(status: u16, body: &ErrorBody) -> String {
    match (body.message.is_empty(), status) {
        (false, _) => body.to_string(),
        (true, 404) => "not found".to_owned(),
        (true, _) => format!("refused with HTTP status {status}"),
    }
}
