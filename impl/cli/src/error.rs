// SPDX-License-Identifier: Apache-2.0
//! Why a command failed, in one line with the remedy.

use std::io;
use std::path::PathBuf;

use api::ClientError;
use maps::MapError;
use monitor::MonitorError;
use policy::ParseError;

/// Why a command failed.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    /// The command line is not understood, or asks for help.
    #[error(transparent)]
    Usage(#[from] clap::Error),
    /// An argument cannot be used.
    #[error("{argument}: {reason}")]
    Argument {
        /// Which one.
        argument: String,
        /// Why, and what can.
        reason: String,
    },
    /// 1.4 has it.
    #[error("not supported yet: {0}")]
    NotSupported(&'static str),
    /// The agent did not do it.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The agent does not tell.
    #[error(transparent)]
    Monitor(#[from] MonitorError),
    /// A map cannot be read.
    #[error("{source}; {remedy}", remedy = map_remedy(.source))]
    Map {
        /// Which one, and why.
        #[from]
        source: MapError,
    },
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file cannot be written or removed.
    #[error("{action} {}: {source}", path.display())]
    Change {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file holds what is no policy.
    #[error("{}: {source}", path.display())]
    Policy {
        /// The file.
        path: PathBuf,
        /// The field, and what is wrong with it.
        source: ParseError,
    },
    /// The answer says that something is wrong, and it has been printed.
    #[error("{0}")]
    Told(&'static str),
    /// It could not be done.
    #[error("{0}")]
    Failed(String),
    /// Standard output cannot be written.
    #[error("write the output: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// An argument that cannot be used.
    pub fn argument(argument: impl Into<String>, reason: impl ToString) -> Self {
        Self::Argument { argument: argument.into(), reason: reason.to_string() }
    }

    /// Whether the user has read it already.
    pub const fn is_told(&self) -> bool {
        matches!(self, Self::Told(_))
    }

    /// How the process should end: 2 for what is not understood or not there, otherwise 1.
    pub const fn exit_code(&self) -> u8 {
        match self {
            Self::Usage(_) | Self::Argument { .. } | Self::NotSupported(_) => 2,
            _ => 1,
        }
    }
}

fn map_remedy(source: &MapError) -> &'static str {
    match source {
        _ if source.is_absent() => "has an agent run here with this --bpf-root?",
        MapError::Layout { .. } => "are client and agent of one version?",
        _ => "run as root",
    }
}
