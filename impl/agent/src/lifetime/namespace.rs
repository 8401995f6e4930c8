// SPDX-License-Identifier: Apache-2.0
//! One agent in a network namespace: its devices and routes are there once. The name of an abstract unix socket belongs
//! to the namespace, and the kernel frees it when the process ends, however it ends: unix(7).

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The name that the agent of a namespace has.
const NAME: &[u8] = b"ciliate-agent";

/// Why the namespace cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum NamespaceError {
    /// Another agent has it.
    #[error("another agent runs in this network namespace, with another --state-dir: stop it")]
    Taken,
    /// The kernel refused.
    #[error("take the network namespace: {0}")]
    System(#[from] io::Error),
}

/// The namespace of the calling thread, held until this is dropped.
#[derive(Debug)]
pub struct NamespaceLock {
    _socket: UnixDatagram,
}

impl NamespaceLock {
    /// Takes it.
    ///
    /// # Errors
    /// [`NamespaceError::Taken`].
    pub fn take() -> Result<Self, NamespaceError> {
        match UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(NAME)?) {
            Ok(socket) => Ok(Self { _socket: socket }),
            Err(e) if e.kind() == io::ErrorKind::AddrInUse => Err(NamespaceError::Taken),
            Err(e) => Err(e.into()),
        }
    }
}
