// SPDX-License-Identifier: Apache-2.0
//! Everything that can go wrong, with the code by which the runtime understands it.

use std::fmt;
use std::io;

use api::ClientError;
use netlink::{NetNsError, NetlinkError};
use serde_json::{Value, json};

use crate::version::Version;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The configuration is of a version that this plugin does not speak.
    #[error("cniVersion {found:?} is not supported")]
    Version {
        /// What it says.
        found: String,
    },
    /// The command is newer than the version of the configuration.
    #[error("{command} needs cniVersion {since} or newer, the configuration says {found}")]
    TooOld {
        /// The command.
        command: &'static str,
        /// Its first version.
        since: Version,
        /// That of the configuration.
        found: Version,
    },
    /// The configuration asks for what is not there.
    #[error("{field}: {reason}")]
    Unsupported {
        /// Where in the configuration.
        field: String,
        /// Why not.
        reason: String,
    },
    /// There is no such namespace.
    #[error("CNI_NETNS: {0}")]
    UnknownContainer(NetNsError),
    /// A variable of the environment.
    #[error("{name}: {reason}")]
    Environment {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Standard input or output.
    #[error("{what}: {source}")]
    Io {
        /// Which, and what was tried.
        what: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
    /// Standard input is not the JSON that it should be.
    #[error("network configuration: {0}")]
    Decode(String),
    /// The configuration says something that cannot be.
    #[error("{field}: {reason}")]
    Config {
        /// Where in the configuration.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// `CNI_NETNS` is the namespace of the node.
    #[error("CNI_NETNS: {0} is the namespace that the plugin itself runs in")]
    OwnNamespace(String),
    /// The agent does not answer, or has nothing to give at the moment.
    #[error("{during}: {source}")]
    Later {
        /// What was tried.
        during: &'static str,
        /// The agent's answer, or that there was none.
        source: Box<ClientError>,
    },
    /// STATUS: the agent cannot serve ADD.
    #[error("{0}")]
    NotAvailable(String),
    /// The agent refused.
    #[error("{during}: {source}")]
    Agent {
        /// What was tried.
        during: &'static str,
        /// Its answer.
        source: Box<ClientError>,
    },
    /// The agent answered something that makes no sense.
    #[error("the agent's answer: {field}: {reason}")]
    Answer {
        /// Where in the answer.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// The container is attached already.
    #[error("container {container} has interface {interface} already ({what}): call DEL first")]
    Attached {
        /// The container.
        container: String,
        /// The interface.
        interface: String,
        /// What was found.
        what: String,
    },
    /// The kernel refused.
    #[error("{0}")]
    Network(#[from] NetlinkError),
    /// CHECK: something is not as ADD left it.
    #[error("{what}: {found}")]
    Check {
        /// Which part.
        what: String,
        /// What it is, and what it should be.
        found: String,
    },
    /// GC: some attachments could not be removed.
    #[error("{} of {} stale attachments could not be removed: {}", failures.len(), of, failures.join("; "))]
    Garbage {
        /// How many there were.
        of: usize,
        /// Why each of these could not be removed.
        failures: Vec<String>,
    },
}

/// What an answer of the agent means for the runtime.
pub fn from_agent(during: &'static str, source: ClientError) -> Error {
    let later = source.is_unreachable()
        || matches!(source, ClientError::Timeout { .. } | ClientError::Protocol { .. })
        // No free address, too many requests, the agent is starting: 1.4 says 502 for an exhausted range.
        || source.status().is_some_and(|status| matches!(status, 429 | 502..=504));
    let source = Box::new(source);
    if later { Error::Later { during, source } } else { Error::Agent { during, source } }
}

impl Error {
    /// 1 to 99 are the specification's ("Error", table of error codes), 100 and more are this plugin's own.
    pub fn code(&self) -> u32 {
        match self {
            Self::Version { .. } | Self::TooOld { .. } => 1,
            Self::Unsupported { .. } => 2,
            Self::UnknownContainer(_) => 3,
            Self::Environment { .. } => 4,
            Self::Io { .. } => 5,
            Self::Decode(_) => 6,
            Self::Config { .. } => 7,
            // Not in the specification's table; libcni knows it as ErrInvalidNetNS.
            Self::OwnNamespace(_) => 8,
            Self::Later { .. } => 11,
            Self::NotAvailable(_) => 50,
            Self::Agent { .. } | Self::Answer { .. } => 100,
            Self::Attached { .. } => 101,
            Self::Network(_) => 102,
            Self::Check { .. } => 103,
            Self::Garbage { .. } => 104,
        }
    }

    /// What to do about it, where that is not obvious.
    pub fn details(&self) -> String {
        match self {
            Self::Version { .. } => format!("supported versions: {}", Version::list()),
            Self::Later { source, .. } if source.is_unreachable() => {
                "start the agent (ciliate agent), or set \"socket-path\" in the network configuration to its socket".into()
            }
            _ => String::new(),
        }
    }
}

/// An error as the runtime gets it.
#[derive(Debug)]
pub struct Failure {
    /// The version of the answer.
    pub version: Version,
    /// What went wrong.
    pub error: Error,
    /// What could not be undone after it, if anything.
    pub left: Vec<String>,
}

impl Failure {
    /// The error of the specification.
    pub fn json(&self) -> Value {
        let mut details = self.error.details();
        for left in &self.left {
            if !details.is_empty() {
                details.push_str("; ");
            }
            details.push_str("not undone: ");
            details.push_str(left);
        }
        json!({
            "cniVersion": self.version.as_str(),
            "code": self.error.code(),
            "msg": self.error.to_string(),
            "details": details,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.json())
    }
}
