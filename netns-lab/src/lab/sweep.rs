// SPDX-License-Identifier: Apache-2.0
//! Labs on this machine: listing them, and taking down those that nobody answers for.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use netlink::{NetNs, Netlink, NetlinkError};

use super::cgroup;
use super::mounts::unmount_below;
use super::state::{Standing, State, start_ticks, unfinished_by};
use super::{LabError, STATE_DIR, is_lab, lab_of};

/// Which labs are to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those whose owner has died.
    Dead,
    /// Also those that were left standing on purpose.
    Kept,
    /// All, even those in use.
    All,
}

impl Scope {
    fn covers(self, standing: Standing) -> bool {
        match self {
            Self::Dead => standing == Standing::Dead,
            Self::Kept => standing != Standing::Alive,
            Self::All => true,
        }
    }
}

/// What a sweep has done.
#[derive(Debug, Default)]
pub struct Swept {
    /// What is gone: `lab clab…`, `namespace …`, `link …`.
    pub removed: Vec<String>,
    /// Names of the labs that were left alone.
    pub left: Vec<String>,
    /// What could not be removed.
    pub errors: Vec<LabError>,
}

/// A lab on this machine.
#[derive(Clone, Debug)]
pub struct Listed {
    /// Its name.
    pub name: String,
    /// Whether somebody answers for it.
    pub standing: Standing,
    /// Its state; `None` when only namespaces or a damaged state are left of it.
    pub state: Option<State>,
    /// Its namespaces.
    pub namespaces: Vec<String>,
}

/// All labs on this machine, by name.
///
/// # Errors
/// [`LabError`] when the state directory or the namespaces cannot be listed.
pub fn list() -> Result<Vec<Listed>, LabError> {
    let mut labs = BTreeMap::new();
    let dead = |name: String| Listed { name, standing: Standing::Dead, state: None, namespaces: Vec::new() };
    // Namespaces first: a lab that is made in between then shows without them, and not as one without a state.
    let namespaces = NetNs::names()?;
    for name in entries()? {
        if is_lab(&name) {
            let state = State::read(&Path::new(STATE_DIR).join(&name)).ok();
            let standing = state.as_ref().map_or(Standing::Dead, State::standing);
            labs.insert(name.clone(), Listed { standing, state, ..dead(name) });
        }
    }
    for namespace in namespaces {
        if let Some(lab) = lab_of(&namespace) {
            let listed = labs.entry(lab.to_owned()).or_insert_with(|| dead(lab.to_owned()));
            listed.namespaces.push(namespace);
        }
    }
    // Gone between the two looks: its owner took it down in the meantime.
    labs.retain(|_, lab| lab.state.is_some() || still_there(lab));
    Ok(labs.into_values().collect())
}

fn still_there(lab: &Listed) -> bool {
    Path::new(STATE_DIR).join(&lab.name).exists()
        || lab.namespaces.iter().any(|name| Path::new("/run/netns").join(name).exists())
}

fn entries() -> Result<Vec<String>, LabError> {
    let dir = Path::new(STATE_DIR);
    let read = match fs::read_dir(dir) {
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        read => read.map_err(LabError::io("list", dir))?,
    };
    read.map(|entry| entry.map(|e| e.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(LabError::io("list", dir))
}

/// Takes labs down: their processes, mounts, control groups and namespaces, their links in the caller's namespace, their state. Only names that a lab gives
/// are touched. What is gone already is no error.
pub fn sweep(scope: Scope) -> Swept {
    let mut swept = Swept::default();
    let labs = match list() {
        Ok(labs) => labs,
        Err(e) => {
            swept.errors.push(e);
            return swept;
        }
    };
    for lab in labs {
        if !scope.covers(lab.standing) {
            swept.left.push(lab.name);
            continue;
        }
        match take_down(&lab) {
            Ok(()) => swept.removed.push(format!("lab {}", lab.name)),
            Err(e) => swept.errors.push(e),
        }
    }
    if let Err(e) = sweep_links(&mut swept) {
        swept.errors.push(e);
    }
    if let Err(e) = sweep_unfinished() {
        swept.errors.push(e);
    }
    if let Err(e) = cgroup::sweep(&swept.left) {
        swept.errors.push(e);
    }
    swept
}

/// Takes one lab down, whoever answers for it. Returns `false` when there is none of that name.
///
/// # Errors
/// [`LabError`] when something of it cannot be removed.
pub fn remove(name: &str) -> Result<bool, LabError> {
    match list()?.iter().find(|lab| lab.name == name) {
        Some(lab) => take_down(lab).map(|()| true),
        None => Ok(false),
    }
}

fn take_down(lab: &Listed) -> Result<(), LabError> {
    let directory = Path::new(STATE_DIR).join(&lab.name);
    // Processes first: they would go on making things.
    for process in lab.state.iter().flat_map(|state| &state.processes) {
        process.end()?;
    }
    // With a bpffs goes what is pinned in it.
    unmount_below(&directory)?;
    cgroup::take_down(&lab.name)?;
    for namespace in &lab.namespaces {
        NetNs::delete(namespace)?;
    }
    // The state last: as long as anything is left, the next sweep finds it.
    remove_dir(directory)
}

fn remove_dir(dir: PathBuf) -> Result<(), LabError> {
    match fs::remove_dir_all(&dir) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(LabError::io("remove", &dir)(e)),
        _ => Ok(()),
    }
}

/// Links in the caller's namespace with a name of a lab that is not there (any more).
fn sweep_links(swept: &mut Swept) -> Result<(), LabError> {
    let netlink = Netlink::open(&NetNs::current()?)?;
    for link in netlink.links()? {
        let Some(lab) = lab_of(&link.name) else { continue };
        if swept.left.iter().any(|name| name == lab) || Path::new(STATE_DIR).join(lab).exists() {
            continue;
        }
        match netlink.delete_link(&link.name) {
            Ok(()) => swept.removed.push(format!("link {}", link.name)),
            // The other end of one that has just been deleted.
            Err(NetlinkError::Missing { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(())
}

/// Directories of labs whose owner died before they had begun.
fn sweep_unfinished() -> Result<(), LabError> {
    for name in entries()? {
        if unfinished_by(&name).is_some_and(|pid| start_ticks(pid).is_none()) {
            remove_dir(Path::new(STATE_DIR).join(name))?;
        }
    }
    Ok(())
}
