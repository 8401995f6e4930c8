// SPDX-License-Identifier: Apache-2.0
//! The directory that a run writes to, tried before anything is measured.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use netns_lab::record::Samples;
use netns_lab::scratch;
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
        let work = scratch::directory(dir).with_context(remedy)?;
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

    /// Writes `samples.json`, whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written; an older file is then as it was.
    pub fn write_samples(&self, samples: &Samples) -> Result<()> {
        let path = self.dir.join("samples.json");
        let new = self.work.path().join("samples.json");
        let write = || -> Result<()> {
            let mut file = BufWriter::new(File::create(&new)?);
            serde_json::to_writer(&mut file, samples)?;
            file.write_all(b"\n")?;
            file.into_inner()?.sync_all()?;
            Ok(std::fs::rename(&new, &path)?)
        };
        write().with_context(|| format!("write {}", path.display()))
    }

    /// Makes a directory for the time of the run.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work_dir(&self, name: &str) -> Result<PathBuf> {
        let dir = self.work.path().join(name);
        std::fs::create_dir(&dir).with_context(|| format!("make {}", dir.display()))?;
        Ok(dir)
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
        std::fs::write(output.work_dir("host").unwrap().join("plan.json"), "{}").unwrap();
        drop(output);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
