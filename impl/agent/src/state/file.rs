// SPDX-License-Identifier: Apache-2.0
//! Files that are replaced as a whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::error::StateError;

/// Largest file that is read, bytes. An endpoint with a hundred labels takes ten thousand.
const LIMIT: u64 = 1 << 20;

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

/// A whole file; `None` if it is not there.
pub fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    let mut bytes = Vec::new();
    match File::open(path).and_then(|file| file.take(LIMIT + 1).read_to_end(&mut bytes)) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StateError::system("read", path)(e)),
        Ok(_) if bytes.len() as u64 > LIMIT => {
            Err(StateError::Corrupt { path: path.into(), problem: format!("larger than {LIMIT} bytes") })
        }
        Ok(_) => Ok(Some(bytes)),
    }
}
