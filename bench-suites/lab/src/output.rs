// SPDX-License-Identifier: Apache-2.0
//! The directory that a run writes to, tried before anything is measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use tempfile::TempDir;

/// Room that a report may need: the samples of a long run are some tens of megabytes.
const ROOM_BYTES: u64 = 200 << 20;

/// The directory of the report, with a work directory in it that goes away when this is dropped.
pub struct Output {
    dir: PathBuf,
    work: TempDir,
}

impl Output {
    /// Makes the directory and proves that it can be written and has room.
    ///
    /// # Errors
    /// What is wrong with the directory, with the option that names another.
    pub fn prepare(dir: &Path) -> Result<Self> {
        let remedy = || format!("--out {}: cannot be written; name another directory", dir.display());
        std::fs::create_dir_all(dir).with_context(remedy)?;
        let work = tempfile::Builder::new().prefix(".run-").tempdir_in(dir).with_context(remedy)?;
        let room = nix::sys::statvfs::statvfs(dir).with_context(remedy)?;
        let free = room.blocks_available() as u64 * room.fragment_size() as u64;
        if free < ROOM_BYTES {
            anyhow::bail!(
                "--out {}: only {} MiB are free there, a run needs {} MiB; make room or name another directory",
                dir.display(),
                free >> 20,
                ROOM_BYTES >> 20
            );
        }
        Ok(Self { dir: dir.into(), work })
    }

    /// Where the report goes.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// A file for the time of the run.
    pub fn work_file(&self, name: &str) -> PathBuf {
        self.work.path().join(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_cannot_be_made_is_refused_by_its_option() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Output::prepare(&file.join("report")).err().unwrap();
        assert!(error.to_string().starts_with("--out "), "{error}");
    }

    #[test]
    fn the_work_directory_goes_away() {
        let dir = tempfile::tempdir().unwrap();
        let output = Output::prepare(dir.path()).unwrap();
        std::fs::write(output.work_file("plan.json"), "{}").unwrap();
        drop(output);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
