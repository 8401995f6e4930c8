// SPDX-License-Identifier: Apache-2.0
//! What a lab records of itself: enough to list it and to tell whether its owner lives.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{LabError, ProcessState};

const FILE: &str = "lab.json";

/// The state file of a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// Process that made it.
    pub owner_pid: u32,
    /// When that process started, clock ticks since boot: a process id alone may be another one's by now.
    pub owner_start_ticks: u64,
    /// Seconds since 1970.
    pub created_unix_s: u64,
    /// Meant to outlive its owner.
    pub kept: bool,
    /// What stands in it.
    pub subjects: Vec<SubjectState>,
    /// The processes that run in it.
    #[serde(default)]
    pub processes: Vec<ProcessState>,
}

/// A subject that stands in a lab.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubjectState {
    /// Its name.
    pub name: String,
    /// Its pods, the client first.
    pub pods: Vec<PodState>,
}

/// A pod of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodState {
    /// Name of the namespace.
    pub netns: String,
    /// Its address.
    pub address: IpAddr,
}

/// Whether somebody still answers for a lab.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Its owner runs.
    Alive,
    /// It was left standing on purpose.
    Kept,
    /// Its owner has died without taking it down.
    Dead,
}

impl State {
    pub(super) fn new() -> Result<Self, LabError> {
        let owner_pid = std::process::id();
        let stat = Path::new("/proc/self/stat");
        let owner_start_ticks = start_ticks(owner_pid)
            .ok_or_else(|| LabError::io("read", stat)(io::Error::other("no start time in it")))?;
        let created_unix_s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        Ok(Self {
            owner_pid,
            owner_start_ticks,
            created_unix_s,
            kept: false,
            subjects: Vec::new(),
            processes: Vec::new(),
        })
    }

    /// Makes the directory with this state in it, in one step: a lab without a state would be taken for a dead one.
    /// Returns `false` when the directory is taken.
    pub(super) fn claim(&self, dir: &Path) -> Result<bool, LabError> {
        let fresh = unfinished(dir);
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir(&fresh).map_err(LabError::io("create", &fresh))?;
        let claimed = self.write(&fresh).and_then(|()| match fs::rename(&fresh, dir) {
            Ok(()) => Ok(true),
            Err(e) => match e.kind() {
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists => Ok(false),
                _ => Err(LabError::io("create", dir)(e)),
            },
        });
        if !matches!(claimed, Ok(true)) {
            // Should this fail, too, a sweep finds it after this process has ended.
            let _ = fs::remove_dir_all(&fresh);
        }
        claimed
    }

    pub(super) fn write(&self, dir: &Path) -> Result<(), LabError> {
        let (new, file) = (dir.join("lab.json.new"), dir.join(FILE));
        let text = serde_json::to_vec(self).map_err(|e| LabError::io("write", &file)(e.into()))?;
        fs::write(&new, text).map_err(LabError::io("write", &new))?;
        fs::rename(&new, &file).map_err(LabError::io("write", &file))
    }

    /// Reads the state of the lab in `dir`.
    pub(super) fn read(dir: &Path) -> Result<Self, LabError> {
        let file = dir.join(FILE);
        let text = fs::read(&file).map_err(LabError::io("read", &file))?;
        serde_json::from_slice(&text).map_err(|e| LabError::Malformed { path: file, reason: e.to_string() })
    }

    /// Whether somebody still answers for it.
    pub fn standing(&self) -> Standing {
        if self.kept {
            Standing::Kept
        } else if start_ticks(self.owner_pid) == Some(self.owner_start_ticks) {
            Standing::Alive
        } else {
            Standing::Dead
        }
    }
}

/// Where a state directory is prepared: the process id tells whose it is if that process dies on the way.
fn unfinished(dir: &Path) -> std::path::PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.{}", std::process::id()))
}

/// The process that prepared a directory which [`State::claim`] did not finish.
pub(super) fn unfinished_by(name: &str) -> Option<u32> {
    let (lab, pid) = name.strip_prefix('.')?.split_once('.')?;
    super::is_lab(lab).then(|| pid.parse().ok())?
}

/// When a process started, clock ticks since boot; `None` when it is gone (a zombie is, too).
pub(super) fn start_ticks(pid: u32) -> Option<u64> {
    parse_start_ticks(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_start_ticks(stat: &str) -> Option<u64> {
    // The second field is the program's name in parentheses, which may itself hold spaces and parentheses.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ');
    let state = fields.next()?;
    if matches!(state, "Z" | "X") {
        return None;
    }
    // starttime is field 22, state is field 3.
    fields.nth(18)?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "12 (a) b (c) S 1 12 12 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 98765 1000 2";

    #[test]
    fn start_time_is_found_behind_a_program_name_with_parentheses() {
        assert_eq!(parse_start_ticks(STAT), Some(98765));
    }

    #[test]
    fn a_zombie_and_a_cut_off_line_have_no_start_time() {
        assert_eq!(parse_start_ticks(&STAT.replace(") S", ") Z")), None);
        assert_eq!(parse_start_ticks("12 (a) S 1 12"), None);
        assert_eq!(parse_start_ticks(""), None);
    }

    #[test]
    fn an_owner_with_another_start_time_is_dead() {
        let mut state = State::new().unwrap();
        assert_eq!(state.standing(), Standing::Alive);
        state.owner_start_ticks += 1;
        assert_eq!(state.standing(), Standing::Dead);
        state.kept = true;
        assert_eq!(state.standing(), Standing::Kept);
    }

    #[test]
    fn an_unfinished_directory_names_its_process() {
        assert_eq!(unfinished_by(".clab1x0.123"), Some(123));
        for other in ["clab1x0", ".clab1x0", ".clab1x0.x", ".other.12", ".clab-a.12"] {
            assert_eq!(unfinished_by(other), None, "{other}");
        }
    }
}
