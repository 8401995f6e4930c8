// SPDX-License-Identifier: Apache-2.0
//! The directory as it is now against what was told of it before.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use controlplane::{Event, Objects};

use policy::kubernetes::MAX_DOCUMENTS_BYTES;

use super::copies::Copies;
use super::objects::{Found, objects};

/// Largest file that is read, bytes.
pub const FILE_LIMIT: u64 = MAX_DOCUMENTS_BYTES as u64;
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
    /// Whether services and endpoints are wanted.
    services: bool,
    /// Whether it was said that they are left out.
    told_left_out: bool,
}

/// What came of looking at a file.
#[derive(Default)]
pub struct Looked {
    /// What is to be told.
    pub events: Vec<Event>,
    /// The file's text, if it is good and new: to be kept once the events are told, for that waits for the disk.
    pub good: Option<String>,
}

impl Looked {
    fn told(events: Vec<Event>) -> Self {
        Self { events, good: None }
    }
}

impl Directory {
    /// Of which nothing was told.
    pub fn new(path: &Path, copies: Copies, services: bool) -> Self {
        Self {
            path: path.into(),
            known: BTreeMap::new(),
            hasher: RandomState::new(),
            copies,
            services,
            told_left_out: false,
        }
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
        for name in gone.iter().chain(&names) {
            let Looked { events: looked, good } = self.look(name);
            events.extend(looked);
            self.keep(name, good);
        }
        self.copies.retain(|name| names.iter().any(|known| known == name));
        Ok(events)
    }

    /// Keeps a good text of a file.
    pub fn keep(&self, name: &OsStr, good: Option<String>) {
        if let Some(text) = good {
            self.copies.keep(name, &text);
        }
    }

    /// Looks at one file; nothing if it is as it was told.
    pub fn look(&mut self, name: &OsStr) -> Looked {
        let path = self.path.join(name);
        let file = path.display().to_string();
        let text = match read(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                self.copies.forget(name);
                let gone =
                    self.known.remove(name).map(|_| Event::Source { file, objects: Objects::default() });
                return Looked::told(gone.into_iter().collect());
            }
            Err(e) => return Looked::told(self.failed(name, file, e.to_string())),
            Ok(text) => text,
        };
        if !self.known.contains_key(name) && self.known.len() >= FILES_LIMIT {
            let reason = format!("not read: the directory has more than {FILES_LIMIT} files");
            return Looked::told(vec![Event::SourceFailed { file, reason }]);
        }
        let hash = self.hasher.hash_one(&text);
        if self.known.get(name) == Some(&Known::Text(hash)) {
            return Looked::default();
        }
        match objects(&text, self.services) {
            Err(e) => Looked::told(self.failed(name, file, e.to_string())),
            Ok(Found { objects, warnings, left_out }) => {
                for warning in warnings {
                    tracing::warn!(file, warning, "a policy means less than it says");
                }
                if left_out > 0 && !std::mem::replace(&mut self.told_left_out, true) {
                    tracing::info!(
                        file,
                        objects = left_out,
                        "services and endpoints are left alone: --disable-k8s-services"
                    );
                }
                self.known.insert(name.into(), Known::Text(hash));
                Looked { events: vec![Event::Source { file, objects }], good: Some(text) }
            }
        }
    }

    /// What cannot be read is told once. If it was never read by this agent, what an earlier one read last holds.
    fn failed(&mut self, name: &OsStr, file: String, reason: String) -> Vec<Event> {
        let known = Known::Unreadable(self.hasher.hash_one(&reason));
        let before = self.known.insert(name.into(), known);
        let kept = || self.copies.kept(name).and_then(|text| objects(&text, self.services).ok());
        let kept = if before.is_none() { kept() } else { None };
        let mut events = Vec::new();
        if let Some(Found { objects, .. }) = kept {
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
