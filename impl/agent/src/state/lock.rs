// SPDX-License-Identifier: Apache-2.0
//! One agent at a time: a lock on the file with the process id, which the kernel releases when the process ends.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::StateError;

/// The name that 1.4 gives it.
const NAME: &str = "cilium.pid";

/// The lock; it ends with this value, or with the process.
#[derive(Debug)]
pub struct Lock {
    path: PathBuf,
    file: Flock<File>,
}

impl Lock {
    /// Takes a directory.
    pub fn take(dir: &Path) -> Result<Self, StateError> {
        let path = dir.join(NAME);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(StateError::system("open", &path))?;
        let mut before = String::new();
        // Only for the message; a file that is no text has no process id.
        let _ = (&mut file).take(32).read_to_string(&mut before);
        let mut file =
            Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| match errno {
                Errno::EWOULDBLOCK => {
                    let pid = before.trim();
                    let pid = if pid.is_empty() { "unknown" } else { pid }.to_owned();
                    StateError::Taken { path: dir.into(), pid }
                }
                other => StateError::system("lock", &path)(other.into()),
            })?;
        let written = file
            .set_len(0)
            .and_then(|()| std::io::Seek::rewind(&mut *file))
            .and_then(|()| writeln!(file, "{}", std::process::id()));
        written.map_err(StateError::system("write", &path))?;
        Ok(Self { path, file })
    }

    /// The file.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    /// The file stays, empty: removing it would race with an agent that has just opened it.
    fn drop(&mut self) {
        if let Err(error) = self.file.set_len(0) {
            tracing::warn!(path = %self.path.display(), %error, "the process id stays in the file");
        }
    }
}
