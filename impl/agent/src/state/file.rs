// SPDX-License-Identifier: Apache-2.0
//! Files that are replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::StateError;

/// Puts a file in the place of the one before, so that it outlasts a power cut.
///
/// # Errors
/// [`StateError::System`].
pub fn replace(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    swap(path, bytes)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Puts a file in the place of the one before: whoever reads sees one or the other. After a power cut it may be either.
pub fn swap(path: &Path, bytes: &[u8]) -> Result<(), StateError> {
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".tmp");
    let temporary = std::path::PathBuf::from(temporary);
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o660)
        .open(&temporary)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .map_err(StateError::system("write", &temporary))?;
    fs::rename(&temporary, path).map_err(StateError::system("replace", path))
}

/// Makes what was created, renamed or removed in a directory outlast a power cut.
fn sync_directory(path: &Path) -> Result<(), StateError> {
    File::open(path).and_then(|dir| dir.sync_all()).map_err(StateError::system("sync directory", path))
}

/// A whole file of at most so many bytes; `None` if it is not there.
pub fn read(path: &Path, limit: u64) -> Result<Option<Vec<u8>>, StateError> {
    let too_large =
        || StateError::Corrupt { path: path.into(), problem: format!("larger than {limit} bytes") };
    let file = match File::open(path) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened.map_err(StateError::system("open", path))?,
    };
    if file.metadata().map_err(StateError::system("read", path))?.len() > limit {
        return Err(too_large());
    }
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes).map_err(StateError::system("read", path))?;
    if bytes.len() as u64 > limit { Err(too_large()) } else { Ok(Some(bytes)) }
}
