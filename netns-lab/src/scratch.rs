// SPDX-License-Identifier: Apache-2.0
//! Temporary directories beside what is kept. They go away with their value; those of a process that was killed go away
//! when the next one comes.

use std::fs;
use std::io;
use std::path::Path;

use tempfile::TempDir;

/// All names begin with this and the process's id: `.tmp-4711-a8Xk2f`.
const PREFIX: &str = ".tmp-";

/// Makes a temporary directory in `parent` after removing those of processes that are gone.
///
/// # Errors
/// When it cannot be made. A leftover that cannot be removed is no error; it is tried again the next time.
pub fn directory(parent: &Path) -> io::Result<TempDir> {
    for entry in fs::read_dir(parent)? {
        let entry = entry?;
        if entry.file_name().to_str().and_then(owner).is_some_and(|pid| !is_alive(pid)) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    tempfile::Builder::new().prefix(&format!("{PREFIX}{}-", std::process::id())).tempdir_in(parent)
}

fn owner(name: &str) -> Option<u32> {
    name.strip_prefix(PREFIX)?.split_once('-')?.0.parse().ok()
}

fn is_alive(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leftovers_of_processes_that_are_gone_are_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let mut gone = std::process::Command::new("true").spawn().unwrap();
        gone.wait().unwrap();
        let leftover = parent.path().join(format!("{PREFIX}{}-abc", gone.id()));
        let others =
            [parent.path().join(".tmp-x"), parent.path().join("kernel"), parent.path().join(".tmp-1-live")];
        for dir in others.iter().chain([&leftover]) {
            fs::create_dir(dir).unwrap();
        }
        let own = directory(parent.path()).unwrap();
        let second = directory(parent.path()).unwrap();
        assert!(!leftover.exists());
        assert!(others.iter().all(|dir| dir.exists()) && own.path().exists() && second.path().exists());
    }
}
