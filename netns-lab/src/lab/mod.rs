// SPDX-License-Identifier: Apache-2.0
//! A lab: namespaces for nodes and pods that go when their values are dropped, and after a crash by [`sweep()`].
//!
//! Everything has a name that begins with the lab's own (`clab…`), which is unique on the machine, so that several labs
//! can stand side by side. What is needed to take a lab down without its owner is in its state directory.

mod cgroup;
mod link;
mod mounts;
mod namespace;
mod process;
mod state;
mod sweep;

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

pub(crate) use cgroup::attempt as attempt_cgroup;
pub use cgroup::{ControlGroup, Origin, Seat, control_groups};
pub use link::{LinkSide, connect};
pub use mounts::BpfFs;
pub use namespace::{Namespace, Node, Pod};
pub use process::ProcessState;
pub use state::{PodState, Standing, State, SubjectState};
pub use sweep::{Listed, Scope, Swept, list, remove, sweep};

use crate::probe::Probe;

/// Directory of all labs' state.
pub const STATE_DIR: &str = "/run/ciliate-lab";

/// What every name that a lab gives begins with; letters and digits that make it unique follow.
pub const PREFIX: &str = "clab";

/// What went wrong with a lab itself.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// Namespaces need root.
    #[error("a lab needs root: run it with sudo")]
    NotRoot,
    /// A file or directory of the lab's state.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On which file.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A state file does not hold what a lab writes.
    #[error("{path} is not a lab's state ({reason}); remove it by hand", path = path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A process of a lab cannot be ended.
    #[error("end process {pid}: {reason}")]
    Process {
        /// Its id.
        pid: u32,
        /// Why not.
        reason: String,
    },
    /// Control groups as programs on sockets need them.
    #[error("there is no cgroup2 hierarchy (mount -t cgroup2 none /sys/fs/cgroup)")]
    NoCgroup2,
    /// A namespace.
    #[error(transparent)]
    NetNs(#[from] netlink::NetNsError),
    /// A link, address, route or sysctl.
    #[error(transparent)]
    Netlink(#[from] netlink::NetlinkError),
}

impl LabError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }
}

/// A lab. What is built in it shares its state directory, which goes with the last of them.
#[derive(Clone, Debug)]
pub struct Lab(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    name: String,
    dir: PathBuf,
    state: Mutex<State>,
    kept: AtomicBool,
    places: Mutex<BTreeMap<String, u32>>,
    probe: Probe,
    domain: Mutex<Option<Arc<cgroup::Domain>>>,
}

impl Lab {
    /// Makes an empty lab, after taking down what dead ones have left; what that removed, and what it could not, is
    /// said on standard error.
    ///
    /// # Errors
    /// [`LabError::NotRoot`], or the state directory's [`LabError::Io`].
    pub fn create() -> Result<Self, LabError> {
        if !nix::unistd::geteuid().is_root() {
            return Err(LabError::NotRoot);
        }
        let swept = sweep(Scope::Dead);
        for lab in &swept.removed {
            eprintln!("netns-lab: removed {lab}, whose owner had died");
        }
        for error in &swept.errors {
            eprintln!("netns-lab: {error}");
        }
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let state = State::new()?;
        let all = Path::new(STATE_DIR);
        fs::create_dir_all(all).map_err(LabError::io("create", all))?;
        loop {
            let name = name(std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let dir = all.join(&name);
            if state.claim(&dir)? {
                let (state, kept) = (Mutex::new(state), AtomicBool::new(false));
                return Ok(Self(Arc::new(Shared {
                    name,
                    dir,
                    state,
                    kept,
                    places: Mutex::default(),
                    probe: Probe::default(),
                    domain: Mutex::default(),
                })));
            }
        }
    }

    /// The name, which all namespaces' names begin with.
    pub fn name(&self) -> &str {
        &self.0.name
    }

    /// The state directory.
    pub fn dir(&self) -> &Path {
        &self.0.dir
    }

    /// What this kernel can do, each capability tried once per lab.
    pub fn probe(&self) -> &Probe {
        &self.0.probe
    }

    /// The control group of this process, from its first use on as long as the lab stands.
    fn domain(&self) -> Result<Arc<cgroup::Domain>, LabError> {
        let mut domain = self.0.domain.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &*domain {
            Some(domain) => Ok(domain.clone()),
            None => Ok(domain.insert(cgroup::Domain::of_this_process()?).clone()),
        }
    }

    /// What the names of a subject's namespaces begin with in this lab: its own name, then `name.2`, ….
    pub(crate) fn place(&self, subject: &str) -> String {
        let mut places = self.0.places.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let count = places.entry(subject.into()).or_default();
        *count += 1;
        if *count == 1 { subject.into() } else { format!("{subject}.{count}") }
    }

    /// Leaves the lab standing when its values are dropped, until [`sweep()`] with [`Scope::Kept`].
    ///
    /// # Errors
    /// [`LabError::Io`] when that cannot be recorded.
    pub fn keep(&self) -> Result<(), LabError> {
        self.change(|state| state.kept = true)?;
        self.0.kept.store(true, Ordering::Relaxed);
        Ok(())
    }

    /// Records a process of this lab, so that a sweep ends it when nobody else is left to do it.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn record_process(&self, process: ProcessState) -> Result<(), LabError> {
        self.change(|state| state.processes.push(process))
    }

    pub(crate) fn is_kept(&self) -> bool {
        self.0.kept.load(Ordering::Relaxed)
    }

    /// Records what stands in the lab, for those who list labs.
    pub(crate) fn change(&self, change: impl FnOnce(&mut State)) -> Result<(), LabError> {
        let mut state = self.0.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        change(&mut state);
        state.write(&self.0.dir)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if self.kept.load(Ordering::Relaxed) {
            return;
        }
        if let Err(e) = fs::remove_dir_all(&self.dir) {
            eprintln!("netns-lab: remove {}: {e}", self.dir.display());
        }
    }
}

/// `clab`, then process id and counter to the base 36.
fn name(pid: u32, counter: u32) -> String {
    format!("{PREFIX}{}{}", base36(pid), base36(counter))
}

fn base36(mut number: u32) -> String {
    let mut digits = Vec::new();
    loop {
        digits.push(char::from_digit(number % 36, 36).unwrap_or('0'));
        number /= 36;
        if number == 0 {
            return digits.into_iter().rev().collect();
        }
    }
}

/// The lab that a namespace or link of this name is part of; `None` for names that no lab gives.
fn lab_of(name: &str) -> Option<&str> {
    let (lab, _) = name.split_once('-')?;
    is_lab(lab).then_some(lab)
}

fn is_lab(name: &str) -> bool {
    name.strip_prefix(PREFIX)
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_that_a_lab_gives_are_taken_for_a_labs() {
        assert_eq!(lab_of("clab3k9z0-routed-client"), Some("clab3k9z0"));
        // containerlab's names begin alike, and are not ours.
        for other in
            ["clab-srl01-node1", "clab", "clabx", "clab-", "clabX1-a", "clab_1-a", "xclab1-a", "cni-1"]
        {
            assert_eq!(lab_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_lab_recognises_the_names_it_gives() {
        for (pid, counter) in [(1, 0), (4_194_304, 0), (35, 36), (u32::MAX, u32::MAX)] {
            let name = name(pid, counter);
            assert!(is_lab(&name), "{name}");
            assert_eq!(lab_of(&format!("{name}-x")), Some(name.as_str()));
        }
    }
}
