// SPDX-License-Identifier: Apache-2.0
//! The BPF file system, and the directories in it.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use nix::mount::{MsFlags, mount};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};

use crate::DatapathError;
use crate::config::Pins;
use crate::loader::file;

/// Makes sure that a BPF file system is there: one is mounted where there is none, if the directory is missing or empty.
///
/// # Errors
/// [`DatapathError::NoBpfFs`] if something else is there, [`DatapathError::File`].
pub fn ensure(pins: &Pins) -> Result<(), DatapathError> {
    let root = pins.root();
    if !is_bpffs(root)? {
        fs::create_dir_all(root).map_err(|e| file("create", root, e))?;
        let occupied = fs::read_dir(root).map_err(|e| file("read", root, e))?.next().is_some();
        if occupied {
            return Err(DatapathError::NoBpfFs { path: root.into() });
        }
        mount(Some("bpffs"), root, Some("bpf"), MsFlags::empty(), Some("mode=0700"))
            .map_err(|e| file("mount a BPF file system on", root, e.into()))?;
    }
    for directory in [pins.maps(), pins.links()] {
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&directory)
            .map_err(|e| file("create", &directory, e))?;
    }
    Ok(())
}

/// Whether the directory is on a BPF file system. False if it is not there, but its parent is not either.
pub fn is_bpffs(root: &Path) -> Result<bool, DatapathError> {
    let mut at = Some(root);
    // A directory below the mount may be made later: what counts is the file system that it would be on.
    while let Some(path) = at {
        match statfs(path) {
            Ok(found) => return Ok(found.filesystem_type() == BPF_FS_MAGIC),
            Err(nix::errno::Errno::ENOENT) => at = path.parent(),
            Err(e) => return Err(file("look at", path, io::Error::from(e))),
        }
    }
    Ok(false)
}
