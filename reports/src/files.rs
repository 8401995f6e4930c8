// SPDX-License-Identifier: Apache-2.0
//! Files in and out: samples are read with the name of the field that is wrong, results appear whole or not at all.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use netns_lab::plan::SCHEMA;
use netns_lab::record::Samples;
use serde::de::DeserializeOwned;

/// A file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It is not there or not readable.
    #[error("cannot read {path}: {source}", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Its JSON is not what it should be.
    #[error("{path}: field `{field}`: {reason}", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The path of the field within it, `.` for the whole.
        field: String,
        /// What is wrong with it.
        reason: String,
    },
    /// It is of another version.
    #[error("{path}: schema {found}, but this program reads schema {expected}: measure again", path = path.display())]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// Ours.
        expected: u32,
    },
    /// It could not be written: disk full, no permission, no such directory.
    #[error("cannot write {path}: {source}; free space or choose another directory", path = path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Reads `samples.json`.
///
/// # Errors
/// When it cannot be read, is not what this version writes, or is of another schema.
pub fn read_samples(path: &Path) -> Result<Samples, FileError> {
    let samples: Samples = read_json(path)?;
    let schemas = std::iter::once(samples.schema).chain(samples.runs.iter().map(|r| r.plan.schema));
    match schemas.into_iter().find(|s| *s != SCHEMA) {
        Some(found) => Err(FileError::Schema { path: path.to_owned(), found, expected: SCHEMA }),
        None => Ok(samples),
    }
}

/// Reads JSON; an error names the field.
///
/// # Errors
/// [`FileError::Read`] and [`FileError::Malformed`].
pub(crate) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T, FileError> {
    let text = fs::read(path).map_err(|source| FileError::Read { path: path.to_owned(), source })?;
    let mut json = serde_json::Deserializer::from_slice(&text);
    let malformed =
        |field: String, reason: String| FileError::Malformed { path: path.to_owned(), field, reason };
    let value = serde_path_to_error::deserialize(&mut json)
        .map_err(|e| malformed(e.path().to_string(), e.inner().to_string()))?;
    json.end().map_err(|e| malformed(".".to_owned(), e.to_string()))?;
    Ok(value)
}

/// Writes a file by way of a temporary one in the same directory and a rename: a reader sees the old or the new contents, and
/// a full disk leaves the old.
///
/// # Errors
/// [`FileError::Write`].
pub(crate) fn write_atomically(path: &Path, contents: &[u8]) -> Result<(), FileError> {
    let failed = |source| FileError::Write { path: path.to_owned(), source };
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".report-");
    // The default of 0600 is for secrets; a report is for everyone whom the umask lets read it.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = builder.tempfile_in(directory).map_err(failed)?;
    file.write_all(contents).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|e| failed(e.error))?;
    Ok(())
}
