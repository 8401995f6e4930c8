// SPDX-License-Identifier: Apache-2.0
//! Runs apt without questions, its talk going to a log that is shown when something fails.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};

/// After this the lists of packages are fetched again first: mirrors drop what a newer version has replaced.
const LISTS_ARE_OLD_AFTER: Duration = Duration::from_secs(7 * 24 * 3600);
/// Another apt may be at work, an unattended upgrade for example: wait for its end, seconds.
const LOCK_TIMEOUT: &str = "DPkg::Lock::Timeout=300";

/// Installs packages of the configured sources.
///
/// # Errors
/// With the last lines of apt's own words.
pub fn install(packages: &[&str], log: &File, path: &Path) -> Result<()> {
    let mut fresh = false;
    if lists_are_old(Path::new("/var/lib/apt/lists"), SystemTime::now()) {
        update(log);
        fresh = true;
    }
    loop {
        let mut command = apt_get(log)?;
        command.args(["install", "-y", "--no-install-recommends", "-o", LOCK_TIMEOUT]).args(packages);
        if command.status().context("run apt-get")?.success() {
            return Ok(());
        }
        if fresh {
            bail!("apt-get cannot install {}: {}", packages.join(" "), last_lines(path));
        }
        // A package that is not known, or no longer there in this version.
        update(log);
        fresh = true;
    }
}

/// Fetches the lists. Whether that was enough is shown by what is done with them: one broken source of many is
/// no reason to stop.
fn update(log: &File) {
    eprintln!("setup: apt-get update");
    let status = apt_get(log).and_then(|mut apt| Ok(apt.args(["update", "-o", LOCK_TIMEOUT]).status()?));
    match status {
        Ok(status) if status.success() => {}
        Ok(status) => eprintln!("note: apt-get update ended with {status}"),
        Err(e) => eprintln!("note: apt-get update: {e:#}"),
    }
}

/// `apt-get` that asks nothing and writes to the log.
pub fn apt_get(log: &File) -> Result<Command> {
    let mut command = Command::new("apt-get");
    command
        .env("DEBIAN_FRONTEND", "noninteractive")
        .env("LC_ALL", "C.UTF-8")
        .arg("-q")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?);
    Ok(command)
}

/// What the log says of the last failure, in one line with the place of the rest.
pub fn last_lines(log: &Path) -> String {
    let bytes = fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes);
    let told: Vec<_> = text.lines().rev().filter(|l| l.starts_with("E: ")).take(1).collect();
    let told = told.first().or(text.lines().next_back().as_ref()).map_or("no word of it", |line| *line);
    format!("{told} (all of it: {})", log.display())
}

fn lists_are_old(directory: &Path, now: SystemTime) -> bool {
    let newest = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .filter(|entry| {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            name.contains("_Packages") || name.ends_with("InRelease")
        })
        .filter_map(|entry| entry.metadata().ok()?.modified().ok())
        .max();
    // A time in the future is a clock that was set: take the lists for fresh.
    newest.is_none_or(|time| now.duration_since(time).is_ok_and(|age| age > LISTS_ARE_OLD_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_old_when_missing_or_a_week_past() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let now = SystemTime::now();
        assert!(lists_are_old(directory.path(), now));
        assert!(lists_are_old(&directory.path().join("none"), now));
        fs::write(directory.path().join("lock"), "").expect("write");
        assert!(lists_are_old(directory.path(), now));
        fs::write(directory.path().join("mirror_dists_x_main_binary-amd64_Packages.lz4"), "").expect("write");
        assert!(!lists_are_old(directory.path(), now));
        assert!(lists_are_old(directory.path(), now + Duration::from_secs(8 * 24 * 3600)));
        assert!(!lists_are_old(directory.path(), now - Duration::from_secs(3600)));
    }

    #[test]
    fn a_failure_is_told_by_apts_own_error_line() {
        let directory = tempfile::tempdir().expect("temporary directory");
        let log = directory.path().join("log");
        fs::write(&log, "Reading…\nE: old\nE: Unable to locate package x\nDone\n").expect("write");
        assert!(last_lines(&log).starts_with("E: Unable to locate package x (all of it: "));
        fs::write(&log, "").expect("write");
        assert!(last_lines(&log).starts_with("no word of it"));
    }
}
