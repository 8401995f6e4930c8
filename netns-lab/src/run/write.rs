// SPDX-License-Identifier: Apache-2.0
//! The record's file: whole or not there.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use crate::record::RunRecord;

/// Why there is no file.
#[derive(Debug, thiserror::Error)]
#[error("write {}: {source}", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What the system or the encoder said.
    pub source: io::Error,
}

/// Writes a record as JSON beside its place, then moves it there. After an error nothing is left.
///
/// # Errors
/// [`WriteError`], for example when the disk is full.
pub fn write_record(record: &RunRecord, path: &Path) -> Result<(), WriteError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.{}", std::process::id()));
    let written = write(record, &beside).and_then(|()| fs::rename(&beside, path));
    written.map_err(|source| {
        // It may not have come to be at all; the error that matters is the one returned.
        let _ = fs::remove_file(&beside);
        WriteError { path: path.into(), source }
    })
}

fn write(record: &RunRecord, path: &Path) -> io::Result<()> {
    let mut file = BufWriter::new(File::create(path)?);
    serde_json::to_writer(&mut file, record)?;
    file.write_all(b"\n")?;
    // A full disk may show only when the data leaves the page cache.
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
}
