// SPDX-License-Identifier: Apache-2.0
//! What the kernel refused, on which object.

use std::io;

use nix::errno::Errno;

use crate::NetNsError;

/// Why an operation on a link, address, route, rule, neighbour or sysctl failed.
#[derive(Debug, thiserror::Error)]
pub enum NetlinkError {
    /// `EEXIST`: it is there already.
    #[error("{action} {object}: exists already")]
    Exists {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
    },
    /// `ENOENT`, `ENODEV`, `ESRCH`, `EADDRNOTAVAIL`: it, or something that it refers to, is not there.
    #[error("{action} {object}: not found")]
    Missing {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
    },
    /// `EOPNOTSUPP`, `EAFNOSUPPORT`, `EPROTONOSUPPORT`: the kernel was built without it, or cannot load its module.
    #[error("{action} {object}: the kernel does not support it")]
    Unsupported {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
    },
    /// Any other answer.
    #[error("{action} {object}: {source}")]
    Refused {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The request cannot be expressed, or the kernel's answer was not understood.
    #[error("{action} {object}: {answer}")]
    Answer {
        /// What was tried.
        action: &'static str,
        /// On what.
        object: String,
        /// What is wrong with it.
        answer: String,
    },
    /// The namespace could not be entered.
    #[error(transparent)]
    NetNs(#[from] NetNsError),
}

impl NetlinkError {
    pub(crate) fn new(action: &'static str, object: impl Into<String>, error: rtnetlink::Error) -> Self {
        match error {
            rtnetlink::Error::NetlinkError(message) => Self::from_io(action, object, message.to_io()),
            other => Self::Answer { action, object: object.into(), answer: other.to_string() },
        }
    }

    pub(crate) fn from_io(action: &'static str, object: impl Into<String>, source: io::Error) -> Self {
        let object = object.into();
        match source.raw_os_error().map(Errno::from_raw) {
            Some(Errno::EEXIST) => Self::Exists { action, object },
            Some(Errno::ENOENT | Errno::ENODEV | Errno::ESRCH | Errno::EADDRNOTAVAIL) => {
                Self::Missing { action, object }
            }
            Some(Errno::EOPNOTSUPP | Errno::EAFNOSUPPORT | Errno::EPROTONOSUPPORT) => {
                Self::Unsupported { action, object }
            }
            _ => Self::Refused { action, object, source },
        }
    }
}
