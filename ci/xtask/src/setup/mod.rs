// SPDX-License-Identifier: Apache-2.0
//! Finds out what this machine lacks for a command, says what it will do about it, and does it: by apt as root on
//! Debian and Ubuntu; elsewhere it prints the names of the packages and stops.

mod apt;
mod decide;
mod facts;
mod need;
mod netperf;
mod sources;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MsFlags, mount};

use crate::workspace::Workspace;
use decide::{Action, Plan};
use facts::Facts;
pub use facts::{find_library, libelf_wants_zstd};
pub use need::Need;

/// What was found or made, that a program has to be told of.
#[derive(Debug, Default)]
pub struct Found {
    /// The directory that holds the programs `netperf` and `netserver`.
    pub netperf: Option<PathBuf>,
}

/// Makes sure that everything in `needs` is there.
///
/// # Errors
/// One line that says what is missing and what to do. Of an optional need a note on stderr is all.
pub fn run(workspace: &Workspace, needs: &[Need]) -> Result<Found> {
    let directory = workspace.lab_directory();
    let facts = Facts::gather(&directory)?;
    let Plan { actions, notes } = decide::decide(needs, &facts)?;
    for note in notes {
        eprintln!("note: {note}");
    }
    fs::create_dir_all(&directory).with_context(|| format!("create {}", directory.display()))?;
    let log = directory.join("setup.log");
    for action in &actions {
        perform(action, &directory, &log)?;
    }
    // What an action has made is found the same way as what was there.
    let after = if actions.is_empty() { facts } else { Facts::gather(&directory)? };
    decide::still_missing(needs, &after)?;
    Ok(Found { netperf: after.netperf })
}

fn perform(action: &Action, directory: &Path, log: &Path) -> Result<()> {
    match action {
        Action::Mount { kind, at } => {
            // A container may forbid it. Nothing measured so far lives there: say it and go on.
            match mount_at(kind, at) {
                Ok(()) => eprintln!("setup: mounted {kind} at {at}"),
                Err(e) => eprintln!("note: {kind} cannot be mounted at {at}: {e:#}"),
            }
            Ok(())
        }
        Action::Install(packages) => {
            eprintln!("setup: apt will install {} (log: {})", packages.join(" "), log.display());
            apt::install(packages, &open_log(log)?, log)
        }
        Action::FetchNetperf => {
            eprintln!(
                "setup: netperf is fetched into {} for the comparison with it; it is not installed. It is not free \
                 software: use is permitted, redistribution only for non-commercial purposes (see \
                 usr/share/doc/netperf/copyright there)",
                netperf::directory(directory).display()
            );
            if let Err(e) = netperf::fetch(directory, &open_log(log)?, log) {
                eprintln!("note: netperf cannot be had, the comparison with it is left out: {e:#}");
            }
            Ok(())
        }
    }
}

fn mount_at(kind: &str, at: &str) -> Result<()> {
    fs::create_dir_all(at).with_context(|| format!("create {at}"))?;
    Ok(mount(Some(kind), at, Some(kind), MsFlags::empty(), None::<&str>)?)
}

fn open_log(log: &Path) -> Result<File> {
    File::options()
        .create(true)
        .append(true)
        .open(log)
        .with_context(|| format!("open the log {}", log.display()))
}
