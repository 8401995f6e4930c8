// SPDX-License-Identifier: Apache-2.0
//! The last good text of each file, so that a file that is malformed when the agent starts still has its rules: without
//! them what they forbid would be open.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use super::directory::read;
use crate::state::replace;

/// Where the copies are.
#[derive(Debug)]
pub struct Copies(PathBuf);

impl Copies {
    /// In this directory, which is made if it is not there.
    ///
    /// # Errors
    /// That of the system.
    pub fn open(path: &Path) -> io::Result<Self> {
        DirBuilder::new().recursive(true).mode(0o770).create(path)?;
        Ok(Self(path.into()))
    }

    /// Keeps a good text. A file name has no slash, so it is a name here too.
    pub fn keep(&self, name: &OsStr, text: &str) {
        let path = self.0.join(name);
        if read(&path).is_ok_and(|kept| kept == text) {
            return;
        }
        if let Err(error) = replace(&path, text.as_bytes()) {
            tracing::warn!(%error, "if the file is malformed when the agent starts again, its rules are lost");
        }
    }

    /// The last good text.
    pub fn kept(&self, name: &OsStr) -> Option<String> {
        read(&self.0.join(name)).ok()
    }

    /// Forgets a file that is gone.
    pub fn forget(&self, name: &OsStr) {
        match fs::remove_file(self.0.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(%error, file = %name.display(), "the copy of a file that is gone stays");
            }
            _ => {}
        }
    }

    /// Forgets all but these.
    pub fn retain(&self, wanted: impl Fn(&OsStr) -> bool) {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        for name in entries.map(|entry| entry.file_name()).filter(|name| !wanted(name)) {
            self.forget(&name);
        }
    }
}
