// SPDX-License-Identifier: Apache-2.0
//! What goes wrong with the state directory.

use std::io;
use std::path::{Path, PathBuf};

/// What could not be done with which file.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// Another agent runs on this directory.
    #[error(
        "--state-dir {path:?} belongs to the agent with process id {pid}: stop that one, or give this one another directory"
    )]
    Taken {
        /// The directory.
        path: PathBuf,
        /// What the other wrote as its process id.
        pid: String,
    },
    /// A system call failed.
    #[error("{action} {path:?}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// More than is read again.
    #[error(
        "{path:?} would have {bytes} bytes, of which {limit} are allowed: remove rules or services that came through the API"
    )]
    TooLarge {
        /// The file, which is as it was.
        path: PathBuf,
        /// What it would have.
        bytes: usize,
        /// What it may have.
        limit: u64,
    },
    /// A file is not what was written.
    #[error("{path:?} is not usable: {problem}")]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Why.
        problem: String,
    },
}

impl StateError {
    /// Turns the kernel's answer into an error about a file.
    pub(super) fn system(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::System { action, path: path.into(), source }
    }
}
