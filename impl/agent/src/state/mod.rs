// SPDX-License-Identifier: Apache-2.0
//! What the agent must find again after it died: a file per endpoint, and one of the node.
//!
//! `<state-dir>/state/<id>/ep_config.json` and `<state-dir>/state/node.json`. Each file is replaced as a whole, so
//! that a crash leaves the one before or the one after. One agent at a time holds the directory.

mod error;
mod file;
mod lock;
#[cfg(test)]
mod tests;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

pub use error::StateError;
use lock::Lock;

/// The layout of the files. Another number is not read.
const VERSION: u32 = 1;
/// The file of an endpoint.
const ENDPOINT_FILE: &str = "ep_config.json";
/// The file of the node.
const NODE_FILE: &str = "node.json";
/// Mode of the directories: the state names workloads and their labels. 1.4 has the same.
const MODE: u32 = 0o770;

/// A file with the layout that it has.
#[derive(Serialize, Deserialize)]
struct Document<T> {
    version: u32,
    content: T,
}

/// What was found of endpoints.
#[derive(Debug)]
pub struct Found<T> {
    /// Each endpoint's state, in the order of their ids.
    pub endpoints: Vec<(u16, T)>,
    /// Files that could not be used; they stay where they are.
    pub skipped: Vec<StateError>,
}

/// The state directory, held by this agent alone.
#[derive(Debug)]
pub struct StateDir {
    state: PathBuf,
    lock: Lock,
}

impl StateDir {
    /// Makes the directory if it is not there, and takes it.
    ///
    /// # Errors
    /// [`StateError::Taken`] when another agent runs on it.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let state = path.join("state");
        DirBuilder::new()
            .recursive(true)
            .mode(MODE)
            .create(&state)
            .map_err(StateError::system("create directory", &state))?;
        Ok(Self { lock: Lock::take(path)?, state })
    }

    /// The file with the agent's process id.
    pub fn pid_file(&self) -> &Path {
        self.lock.path()
    }

    fn endpoint_dir(&self, id: u16) -> PathBuf {
        self.state.join(id.to_string())
    }

    /// Keeps an endpoint's state.
    ///
    /// # Errors
    /// [`StateError::System`]: the state before is still there.
    pub fn write<T: Serialize>(&self, id: u16, content: &T) -> Result<(), StateError> {
        let dir = self.endpoint_dir(id);
        match DirBuilder::new().mode(MODE).create(&dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StateError::system("create directory", &dir)(e));
            }
            Ok(()) => file::sync_directory(&self.state)?,
            Err(_) => {}
        }
        self.put(&dir.join(ENDPOINT_FILE), content)
    }

    /// Forgets an endpoint. It may be forgotten already.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn remove(&self, id: u16) -> Result<(), StateError> {
        let dir = self.endpoint_dir(id);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(e) => Err(StateError::system("remove", &dir)(e)),
            Ok(()) => file::sync_directory(&self.state),
        }
    }

    /// The endpoints of the agent that ran before.
    ///
    /// # Errors
    /// [`StateError::System`] when the directory itself cannot be read; a file that cannot is among the skipped.
    pub fn endpoints<T: DeserializeOwned>(&self) -> Result<Found<T>, StateError> {
        let mut found = Found { endpoints: Vec::new(), skipped: Vec::new() };
        let entries = fs::read_dir(&self.state).map_err(StateError::system("read", &self.state))?;
        for entry in entries {
            let entry = entry.map_err(StateError::system("read", &self.state))?;
            // Only the canonical name, so that no two directories are the same endpoint.
            let name = entry.file_name();
            let id =
                name.to_str().and_then(|name| name.parse::<u16>().ok().filter(|id| id.to_string() == name));
            let Some(id) = id.filter(|id| *id != 0) else { continue };
            match self.take(&entry.path().join(ENDPOINT_FILE)) {
                Ok(Some(content)) => found.endpoints.push((id, content)),
                // The directory was made and the agent died before it wrote the file: the endpoint never was.
                Ok(None) => self.remove(id)?,
                Err(e) => found.skipped.push(e),
            }
        }
        found.endpoints.sort_by_key(|(id, _)| *id);
        Ok(found)
    }

    /// Keeps what the node must find again.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn write_node<T: Serialize>(&self, content: &T) -> Result<(), StateError> {
        self.put(&self.state.join(NODE_FILE), content)
    }

    /// What the node kept.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what was written.
    pub fn node<T: DeserializeOwned>(&self) -> Result<Option<T>, StateError> {
        self.take(&self.state.join(NODE_FILE))
    }

    fn put<T: Serialize>(&self, path: &Path, content: &T) -> Result<(), StateError> {
        let bytes = serde_json::to_vec(&Document { version: VERSION, content })
            .map_err(|e| StateError::system("describe", path)(e.into()))?;
        file::replace(path, &bytes)
    }

    fn take<T: DeserializeOwned>(&self, path: &Path) -> Result<Option<T>, StateError> {
        let Some(bytes) = file::read(path)? else { return Ok(None) };
        let corrupt = |problem: String| StateError::Corrupt { path: path.into(), problem };
        // The layout first: the rest of another layout would only confuse the message.
        let document: Document<serde_json::Value> =
            serde_json::from_slice(&bytes).map_err(|e| corrupt(e.to_string()))?;
        if document.version != VERSION {
            return Err(corrupt(format!("version {} is not {VERSION}", document.version)));
        }
        serde_json::from_value(document.content).map(Some).map_err(|e| corrupt(e.to_string()))
    }
}
