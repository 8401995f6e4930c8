// SPDX-License-Identifier: Apache-2.0
//! What the agent must find again after it died: a file per endpoint, and one of the node.
//!
//! `<state-dir>/state/<id>/ep_config.json` beside `node.json` and `addressing.json`. Each file is replaced as a whole, so
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

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use error::StateError;
pub use file::replace;
use lock::Lock;

/// The file of an endpoint.
const ENDPOINT_FILE: &str = "ep_config.json";
/// What the directory of an endpoint is called whose file cannot be used, behind its number; and a file of the node's.
const CORRUPT: &str = ".corrupt";
/// Largest file of an endpoint that is read, bytes. One with a hundred labels takes ten thousand.
const ENDPOINT_LIMIT: u64 = 1 << 20;
/// Largest file of the node, bytes: nothing larger is written, since it would not be read again. A service of the API
/// with ten backends takes 300, a rule a few thousand.
const NODE_LIMIT: u64 = 256 << 20;
/// Mode of the directories: the state names workloads and their labels. 1.4 has the same.
const MODE: u32 = 0o770;

/// A file about the node itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeFile {
    /// Its prefixes and gateways: [`crate::node::Kept`].
    Addressing,
    /// What the control plane keeps: [`controlplane::NodeState`].
    Node,
}

impl NodeFile {
    fn name(self) -> &'static str {
        match self {
            Self::Addressing => "addressing.json",
            Self::Node => "node.json",
        }
    }
}

/// What was found of endpoints.
#[derive(Debug)]
pub struct Found<T> {
    /// Each endpoint's state, in the order of their ids.
    pub endpoints: Vec<(u16, T)>,
    /// Endpoints whose files could not be used, and why. The files were put aside.
    pub skipped: Vec<(u16, StateError)>,
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

    /// Where copies of policy files are kept.
    pub fn copies(&self) -> PathBuf {
        self.state.join("files")
    }

    /// The file with the agent's process id.
    pub fn pid_file(&self) -> &Path {
        self.lock.path()
    }

    fn endpoint_dir(&self, id: u16) -> PathBuf {
        self.state.join(id.to_string())
    }

    /// Keeps an endpoint's state. It outlasts the agent, not a power cut: its pod does not outlast that either.
    ///
    /// # Errors
    /// [`StateError::System`]: the state before is still there.
    pub fn write<T: Serialize>(&self, id: u16, content: &T) -> Result<(), StateError> {
        let dir = self.endpoint_dir(id);
        match DirBuilder::new().mode(MODE).create(&dir) {
            Err(e) if e.kind() != io::ErrorKind::AlreadyExists => {
                Err(StateError::system("create directory", &dir)(e))
            }
            _ => file::swap(&dir.join(ENDPOINT_FILE), &described(&dir, content)?),
        }
    }

    /// Forgets an endpoint. It may be forgotten already.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn remove(&self, id: u16) -> Result<(), StateError> {
        let dir = self.endpoint_dir(id);
        match fs::remove_dir_all(&dir) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(StateError::system("remove", &dir)),
        }
    }

    /// The endpoints of the agent that ran before.
    ///
    /// # Errors
    /// [`StateError::System`] when the directory itself cannot be read; a file that cannot is among the skipped.
    pub fn endpoints<T: DeserializeOwned>(&self) -> Result<Found<T>, StateError> {
        let mut found = Found { endpoints: Vec::new(), skipped: Vec::new() };
        for id in self.ids()? {
            match take(&self.endpoint_dir(id).join(ENDPOINT_FILE), ENDPOINT_LIMIT) {
                Ok(Some(content)) => found.endpoints.push((id, content)),
                // The directory was made and the agent died before it wrote the file: the endpoint never was.
                Ok(None) => self.remove(id)?,
                Err(e @ StateError::Corrupt { .. }) => {
                    self.put_aside(id)?;
                    found.skipped.push((id, e));
                }
                Err(e) => found.skipped.push((id, e)),
            }
        }
        Ok(found)
    }

    /// So that an endpoint that gets the same number does not overwrite what somebody may want to look at.
    fn put_aside(&self, id: u16) -> Result<(), StateError> {
        let (dir, aside) = (self.endpoint_dir(id), self.state.join(format!("{id}{CORRUPT}")));
        match fs::remove_dir_all(&aside) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StateError::system("remove", &aside)(e)),
            _ => fs::rename(&dir, &aside).map_err(StateError::system("put aside", &dir)),
        }
    }

    /// The endpoints that there are directories of.
    ///
    /// # Errors
    /// [`StateError::System`].
    pub fn ids(&self) -> Result<Vec<u16>, StateError> {
        let mut ids = Vec::new();
        for entry in fs::read_dir(&self.state).map_err(StateError::system("read", &self.state))? {
            let name = entry.map_err(StateError::system("read", &self.state))?.file_name();
            // Only the canonical name, so that no two directories are the same endpoint.
            let id =
                name.to_str().and_then(|name| name.parse().ok().filter(|id: &u16| id.to_string() == name));
            ids.extend(id.filter(|id| *id != 0));
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Keeps what the node must find again.
    ///
    /// # Errors
    /// [`StateError::System`]; [`StateError::TooLarge`] for what would not be read again. The file before is still there.
    pub fn write_node<T: Serialize>(&self, file: NodeFile, content: &T) -> Result<(), StateError> {
        let path = self.state.join(file.name());
        let text = described(&path, content)?;
        if text.len() as u64 > NODE_LIMIT {
            return Err(StateError::TooLarge { path, bytes: text.len(), limit: NODE_LIMIT });
        }
        replace(&path, &text)
    }

    /// What the node kept. A file that is not what was written is put aside, for whoever wants to look at it.
    ///
    /// # Errors
    /// A file that cannot be read, or is not what was written.
    pub fn node<T: DeserializeOwned>(&self, file: NodeFile) -> Result<Option<T>, StateError> {
        let path = self.state.join(file.name());
        take(&path, NODE_LIMIT).inspect_err(|error| {
            let aside = self.state.join(format!("{}{CORRUPT}", file.name()));
            if matches!(error, StateError::Corrupt { .. })
                && let Err(error) = fs::rename(&path, &aside)
            {
                tracing::error!(?path, %error, "what cannot be used is not put aside, and will be overwritten");
            }
        })
    }
}

fn take<T: DeserializeOwned>(path: &Path, limit: u64) -> Result<Option<T>, StateError> {
    let Some(bytes) = file::read(path, limit)? else { return Ok(None) };
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|e| StateError::Corrupt { path: path.into(), problem: e.to_string() })
}

fn described<T: Serialize>(path: &Path, content: &T) -> Result<Vec<u8>, StateError> {
    serde_json::to_vec(content).map_err(|e| StateError::system("describe", path)(e.into()))
}
