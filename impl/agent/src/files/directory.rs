// SPDX-License-Identifier: Apache-2.0
//! The directory as it is now against what was told of it before.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use controlplane::{Event, Objects};

use super::copies::Copies;
use super::objects;

/// Largest file that is read, bytes.
pub const FILE_LIMIT: u64 = 4 << 20;
/// Files that are read.
pub const FILES_LIMIT: usize = 4096;

/// What is known of a file.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Known {
    /// Its text had this hash.
    Text(u64),
    /// It could not be read. Told again only when that changes.
    Unreadable(u64),
}

/// A directory, and what was told of its files.
pub struct Directory {
    path: PathBuf,
    known: BTreeMap<OsString, Known>,
    hasher: RandomState,
    copies: Copies,
}

impl Directory {
    /// Of which nothing was told.
    pub fn new(path: &Path, copies: Copies) -> Self {
        Self { path: path.into(), known: BTreeMap::new(), hasher: RandomState::new(), copies }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a file of this name is looked at.
    pub fn looks_at(name: &OsStr) -> bool {
        let hidden = name.as_encoded_bytes().starts_with(b".");
        let extension = Path::new(name).extension().and_then(OsStr::to_str);
        !hidden && matches!(extension, Some("yaml" | "yml" | "json"))
    }

    /// Looks at every file, and at those that are gone.
    ///
    /// # Errors
    /// When the directory cannot be read.
    pub fn scan(&mut self) -> io::Result<Vec<Event>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            if Self::looks_at(&name) {
                names.push(name);
            }
        }
        names.sort();
        let mut events = Vec::new();
        let here = self.path.display().to_string();
        if names.len() > FILES_LIMIT {
            let reason = format!(
                "has more than {FILES_LIMIT} files: those after {:?} are not read",
                names[FILES_LIMIT - 1]
            );
            events.push(Event::SourceFailed { file: here, reason });
            names.truncate(FILES_LIMIT);
        } else {
            // Also takes back that the directory was gone.
            events.push(Event::Source { file: here, objects: Objects::default() });
        }
        let gone: Vec<_> = self.known.keys().filter(|name| !names.contains(name)).cloned().collect();
        events.extend(gone.iter().chain(&names).flat_map(|name| self.look(name)));
        self.copies.retain(|name| names.iter().any(|known| known == name));
        Ok(events)
    }

    /// Looks at one file; nothing if it is as it was told.
    pub fn look(&mut self, name: &OsStr) -> Vec<Event> {
        let path = self.path.join(name);
        let file = path.display().to_string();
        let text = match read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.copies.forget(name);
                let gone =
                    self.known.remove(name).map(|_| Event::Source { file, objects: Objects::default() });
                return gone.into_iter().collect();
            }
            Err(e) => return self.failed(name, file, e.to_string()),
            Ok(text) => text,
        };
        if !self.known.contains_key(name) && self.known.len() >= FILES_LIMIT {
            let reason = format!("not read: the directory has more than {FILES_LIMIT} files");
            return vec![Event::SourceFailed { file, reason }];
        }
        let hash = self.hasher.hash_one(&text);
        if self.known.get(name) == Some(&Known::Text(hash)) {
            return Vec::new();
        }
        match objects(&text) {
            Err(e) => self.failed(name, file, e.to_string()),
            Ok((objects, warnings)) => {
                for warning in warnings {
                    tracing::warn!(file, warning, "a policy means less than it says");
                }
                self.copies.keep(name, &text);
                self.known.insert(name.into(), Known::Text(hash));
                vec![Event::Source { file, objects }]
            }
        }
    }

    /// What cannot be read is told once. If it was never read by this agent, what an earlier one read last holds.
    fn failed(&mut self, name: &OsStr, file: String, reason: String) -> Vec<Event> {
        let known = Known::Unreadable(self.hasher.hash_one(&reason));
        let before = self.known.insert(name.into(), known);
        let kept = || self.copies.kept(name).and_then(|text| objects(&text).ok());
        let kept = if before.is_none() { kept() } else { None };
        let mut events = Vec::new();
        if let Some((objects, _)) = kept {
            tracing::warn!(file, "what it held when it was last read holds");
            events.push(Event::Source { file: file.clone(), objects });
        }
        if before != Some(known) {
            events.push(Event::SourceFailed { file, reason });
        }
        events
    }
}

/// A regular file as text.
pub fn read(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let file = File::open(path)?;
    // A pipe or device would be waited for.
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no regular file"));
    }
    file.take(FILE_LIMIT + 1).read_to_string(&mut text)?;
    if text.len() as u64 > FILE_LIMIT {
        return Err(io::Error::other(format!("is larger than {FILE_LIMIT} bytes")));
    }
    Ok(text)
}
