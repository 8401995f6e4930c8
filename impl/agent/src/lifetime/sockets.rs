// SPDX-License-Identifier: Apache-2.0
//! Unix sockets that replace what a dead agent left, and never what a living one has.

use std::fs::{self, DirBuilder, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

/// For the owner and the group, as 1.4's: whoever may use the API may do anything to the node's network.
const MODE: u32 = 0o660;

/// Why a socket cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another process serves it.
    #[error("{flag} {path:?}: another agent answers there: stop it, or give another path")]
    Taken {
        /// The flag that names it.
        flag: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// Something else has the name.
    #[error("{flag} {path:?}: is there already and is no socket: remove it, or give another path")]
    NoSocket {
        /// The flag that names it.
        flag: &'static str,
        /// Where.
        path: PathBuf,
    },
    /// A system call failed.
    #[error("{flag} {path:?}: {action}: {source}")]
    System {
        /// The flag that names it.
        flag: &'static str,
        /// Where.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// Listens on a path. The path is removed by whoever ends.
///
/// # Errors
/// [`SocketError`].
pub fn listen_unix(flag: &'static str, path: &Path) -> Result<UnixListener, SocketError> {
    let system = |action| move |source| SocketError::System { flag, path: path.into(), action, source };
    if let Some(parent) = path.parent() {
        DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(system("make its directory"))?;
    }
    match fs::symlink_metadata(path) {
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(SocketError::NoSocket { flag, path: path.into() });
        }
        Ok(_) if UnixStream::connect(path).is_ok() => {
            return Err(SocketError::Taken { flag, path: path.into() });
        }
        Ok(_) => fs::remove_file(path).map_err(system("remove what a dead agent left"))?,
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(e) => return Err(system("look")(e)),
    }
    let listener = UnixListener::bind(path).map_err(system("listen"))?;
    fs::set_permissions(path, Permissions::from_mode(MODE)).map_err(system("set its mode"))?;
    Ok(listener)
}
