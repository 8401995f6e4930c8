// SPDX-License-Identifier: Apache-2.0
//! A control group for each node with an agent. Programs on sockets are attached to a control group, and a socket is of
//! that of the task which made it: what opens sockets for a node's pods, or for the node, must be in the node's own group,
//! and nobody else in it.
//!
//! All nodes are played by threads of one process. So their groups are threaded (`cgroup.type`), beneath a group that
//! the process moves into as a whole: a thread can move only within its process's domain. Moving one takes the kernel
//! some milliseconds (a grace period), whereas a new thread begins where the one is that starts it.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::thread;
use std::time::{Duration, Instant};

use netlink::NetNs;

use super::mounts::unescape;
use super::state::start_ticks;
use super::{Lab, LabError, PREFIX, lab_of};

/// How long a group may have somebody in it who is about to end.
const EMPTY: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(2);

/// The control group of a node. It is removed when it is dropped, unless its lab is kept.
#[derive(Debug)]
pub struct ControlGroup {
    seat: Seat,
    lab: Lab,
    // After the group beneath it.
    _domain: Arc<Domain>,
}

/// A place in a node's control group, for whoever opens sockets on its behalf.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Seat(PathBuf);

impl Seat {
    /// That of a group's directory.
    pub fn at(path: &Path) -> Self {
        Self(path.into())
    }

    /// The group's directory.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Moves the calling thread, and only it, into the group. Threads that it starts from then on are in it, too.
    ///
    /// # Errors
    /// [`LabError::Io`].
    pub fn take(&self) -> Result<(), LabError> {
        let file = self.0.join("cgroup.threads");
        fs::write(&file, "0").map_err(LabError::io("enter", &file))
    }
}

/// Where sockets are opened: a network namespace, and a control group if the node that it is of has one.
#[derive(Clone, Copy, Debug)]
pub struct Origin<'a> {
    /// The namespace.
    pub netns: &'a NetNs,
    /// The place in the control group.
    pub seat: Option<&'a Seat>,
}

impl<'a> Origin<'a> {
    /// A namespace of a node without an agent, or beyond all nodes.
    pub fn plain(netns: &'a NetNs) -> Self {
        Self { netns, seat: None }
    }

    /// Runs `f` in a thread of its own there.
    ///
    /// # Errors
    /// [`LabError::NetNs`], [`LabError::Io`] when it cannot be entered.
    pub fn run<T: Send>(self, f: impl FnOnce() -> T + Send) -> Result<T, LabError> {
        self.netns.run(|| {
            self.seat.map_or(Ok(()), Seat::take)?;
            Ok(f())
        })?
    }

    /// Moves the calling thread, and only it, there.
    ///
    /// # Errors
    /// As [`Self::run`].
    pub fn enter(self) -> Result<(), LabError> {
        self.seat.map_or(Ok(()), Seat::take)?;
        Ok(self.netns.enter()?)
    }
}

impl ControlGroup {
    /// Makes the group `<lab>-<place>`.
    ///
    /// # Errors
    /// [`LabError::NoCgroup2`], [`LabError::Io`].
    pub fn create(lab: &Lab, place: &str) -> Result<Self, LabError> {
        let domain = lab.domain()?;
        let path = domain.path.join(format!("{}-{place}", lab.name()));
        let group = Self { seat: Seat(path), lab: lab.clone(), _domain: domain };
        make(&group.seat.0)?;
        Ok(group)
    }

    /// A place in it.
    pub fn seat(&self) -> &Seat {
        &self.seat
    }

    /// Its directory.
    pub fn path(&self) -> &Path {
        self.seat.path()
    }
}

impl Drop for ControlGroup {
    fn drop(&mut self) {
        if self.lab.is_kept() {
            return;
        }
        if let Err(e) = remove(&self.seat.0) {
            eprintln!("netns-lab: {e}");
        }
    }
}

/// A threaded group.
fn make(path: &Path) -> Result<(), LabError> {
    fs::create_dir(path).map_err(LabError::io("create", path))?;
    let kind = path.join("cgroup.type");
    fs::write(&kind, "threaded").map_err(LabError::io("write", &kind)).inspect_err(|_| {
        let _ = fs::remove_dir(path);
    })
}

/// Whether a thread of this process can be in a group of its own here.
///
/// # Errors
/// What is lacking, in words.
pub(crate) fn attempt() -> Result<(), String> {
    let attempt = || {
        let domain = Domain::of_this_process()?;
        let path = domain.path.join("probe");
        make(&path)?;
        let moved = thread::scope(|scope| scope.spawn(|| Seat(path.clone()).take()).join());
        remove(&path)?;
        moved.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    };
    attempt().map_err(|e: LabError| e.to_string())
}

/// The group that this process is in while it has groups for nodes: the domain of their threads.
#[derive(Debug)]
pub(super) struct Domain {
    path: PathBuf,
    home: PathBuf,
}

impl Domain {
    /// That of this process, which all its labs share.
    pub(super) fn of_this_process() -> Result<Arc<Self>, LabError> {
        let mut this = Self::this();
        if let Some(domain) = this.upgrade() {
            return Ok(domain);
        }
        let domain = Arc::new(Self::create()?);
        *this = Arc::downgrade(&domain);
        Ok(domain)
    }

    fn this() -> MutexGuard<'static, Weak<Self>> {
        static THIS: Mutex<Weak<Domain>> = Mutex::new(Weak::new());
        THIS.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn create() -> Result<Self, LabError> {
        let root = root()?;
        let own = Path::new("/proc/self/cgroup");
        let text = fs::read_to_string(own).map_err(LabError::io("read", own))?;
        let home = home(&root, &text).ok_or(LabError::NoCgroup2)?;
        let pid = std::process::id();
        let path = root.join(format!("{PREFIX}.{pid}.{}", start_ticks(pid).unwrap_or(0)));
        match fs::create_dir(&path) {
            // One that the last of the labs before is about to leave.
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            made => made.map_err(LabError::io("create", &path))?,
        }
        move_process(&path).inspect_err(|_| {
            let _ = fs::remove_dir(&path);
        })?;
        // Where it is when that is the domain before: it goes back to where that came from.
        let home = if home == path { root } else { home };
        Ok(Self { path, home })
    }
}

impl Drop for Domain {
    fn drop(&mut self) {
        let this = Self::this();
        if this.strong_count() > 0 {
            // The next one has been made meanwhile, of the same name.
            return;
        }
        let left = move_process(&self.home).and_then(|()| match children(&self.path) {
            // A lab that is kept.
            Ok(children) if !children.is_empty() => Ok(()),
            _ => remove(&self.path),
        });
        if let Err(e) = left {
            eprintln!("netns-lab: {e}");
        }
    }
}

/// All threads of this process.
fn move_process(to: &Path) -> Result<(), LabError> {
    let file = to.join("cgroup.procs");
    fs::write(&file, "0").map_err(LabError::io("enter", &file))
}

/// Removes a group, which is empty as soon as the kernel is done with who was in it.
fn remove(path: &Path) -> Result<(), LabError> {
    let end = Instant::now() + EMPTY;
    loop {
        match fs::remove_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < end => thread::sleep(POLL),
            removed => return removed.map_err(LabError::io("remove", path)),
        }
    }
}

/// The groups beneath one.
fn children(path: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir(path)?.flatten();
    Ok(entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()).collect())
}

/// Where the hierarchy is mounted whose groups programs can be attached to.
fn root() -> Result<PathBuf, LabError> {
    let table = Path::new("/proc/self/mountinfo");
    let text = fs::read(table).map_err(LabError::io("read", table))?;
    mount_of(&text).ok_or(LabError::NoCgroup2)
}

/// The first mount of the whole hierarchy in `/proc/self/mountinfo` (`proc(5)`).
fn mount_of(table: &[u8]) -> Option<PathBuf> {
    table.split(|byte| *byte == b'\n').find_map(|line| {
        let fields: Vec<&[u8]> = line.split(|byte| *byte == b' ').collect();
        let kind = fields.iter().position(|field| *field == b"-")? + 1;
        let whole = *fields.get(3)? == b"/" && *fields.get(kind)? == b"cgroup2";
        whole.then(|| std::ffi::OsString::from_vec(unescape(fields[4])).into())
    })
}

/// The directory of this process's group, from `/proc/self/cgroup` (`cgroups(7)`).
fn home(root: &Path, own: &str) -> Option<PathBuf> {
    let path = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
    Some(if path.is_empty() { root.into() } else { root.join(path) })
}

/// Removes the groups of a lab, and that of its process if it has died and nothing else is in it.
pub(super) fn take_down(lab: &str) -> Result<(), LabError> {
    for domain in domains() {
        let of_lab = |group: &PathBuf| group.file_name().and_then(|name| lab_of(name.to_str()?)) == Some(lab);
        let (go, stay): (Vec<PathBuf>, _) =
            children(&domain).unwrap_or_default().into_iter().partition(of_lab);
        go.iter().try_for_each(|group| remove(group))?;
        if !go.is_empty() && stay.is_empty() && is_left(&domain) {
            remove(&domain)?;
        }
    }
    Ok(())
}

/// Whether the process of a domain has died.
fn is_left(domain: &Path) -> bool {
    let owner = domain.file_name().and_then(|name| owner_of(name.to_str()?));
    owner.is_some_and(|(pid, ticks)| start_ticks(pid) != Some(ticks))
}

/// Removes what processes that have died have left, but for the groups of these labs.
pub(super) fn sweep(left: &[String]) -> Result<(), LabError> {
    for domain in domains().into_iter().filter(|domain| is_left(domain)) {
        let (stay, go): (Vec<PathBuf>, _) =
            children(&domain).unwrap_or_default().into_iter().partition(|group| {
                let lab = group.file_name().and_then(|name| lab_of(name.to_str()?));
                lab.is_some_and(|lab| left.iter().any(|name| name == lab))
            });
        go.iter().try_for_each(|group| remove(group))?;
        if stay.is_empty() {
            remove(&domain)?;
        }
    }
    Ok(())
}

/// The directories of all control groups of labs on this machine: those of processes, and those of nodes beneath them.
pub fn control_groups() -> Vec<PathBuf> {
    let domains = domains();
    let nodes: Vec<_> = domains.iter().flat_map(|domain| children(domain).unwrap_or_default()).collect();
    [domains, nodes].concat()
}

/// The groups of processes that have or had labs. Where there is no hierarchy there are none.
fn domains() -> Vec<PathBuf> {
    let all = root().ok().and_then(|root| children(&root).ok()).unwrap_or_default();
    all.into_iter()
        .filter(|path| path.file_name().and_then(|name| owner_of(name.to_str()?)).is_some())
        .collect()
}

/// Process id and start of the owner of a domain of this name.
fn owner_of(name: &str) -> Option<(u32, u64)> {
    let (pid, ticks) = name.strip_prefix(PREFIX)?.strip_prefix('.')?.split_once('.')?;
    Some((pid.parse().ok()?, ticks.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hierarchy_is_found_among_mounts_of_the_older_kind() {
        let text = b"31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw\n\
            32 31 0:29 / /sys/fs/cgroup/cpu rw shared:7 - cgroup cgroup rw,cpu\n\
            40 31 0:38 /some/part /mnt rw - cgroup2 cgroup2 rw\n\
            41 31 0:38 / /sys/fs/cgroup/uni\\040fied rw,relatime shared:9 master:2 - cgroup2 cgroup2 rw\ntorn";
        assert_eq!(mount_of(text).unwrap(), Path::new("/sys/fs/cgroup/uni fied"));
        assert_eq!(mount_of(b"32 31 0:29 / /x rw - cgroup cgroup rw\n41 31 0:38 / /y rw -"), None);
    }

    #[test]
    fn the_group_of_a_process_is_found_beneath_the_mount() {
        let root = Path::new("/cg");
        assert_eq!(home(root, "4:memory:/a\n0::/\n").unwrap(), root);
        assert_eq!(home(root, "0::/user.slice/x.scope\n").unwrap(), Path::new("/cg/user.slice/x.scope"));
        assert_eq!(home(root, "4:memory:/a\n"), None);
    }

    #[test]
    fn only_names_that_a_lab_gives_have_an_owner() {
        assert_eq!(owner_of("clab.12.345"), Some((12, 345)));
        for other in ["clab.12", "clab12.3", "clab.x.3", "clab1x0-node", "system.slice"] {
            assert_eq!(owner_of(other), None, "{other}");
        }
    }

    /// Which group the calling thread is in.
    fn own() -> String {
        let text = fs::read_to_string("/proc/thread-self/cgroup").unwrap();
        text.lines().find_map(|line| line.strip_prefix("0::")).unwrap().to_owned()
    }

    #[test]
    fn a_thread_that_takes_its_seat_leaves_the_others_where_they_are() {
        let root = nix::unistd::geteuid().is_root();
        assert!(root || std::env::var_os("CI").is_none(), "this test needs root");
        if !root {
            eprintln!("not run: this test needs root");
            return;
        }
        let lab = Lab::create().unwrap();
        let [a, b] = ["a", "b"].map(|place| ControlGroup::create(&lab, place).unwrap());
        let before = own();
        thread::scope(|scope| {
            scope
                .spawn(|| {
                    a.seat().take().unwrap();
                    assert!(own().ends_with("-a"), "{}", own());
                    let started = thread::scope(|inner| inner.spawn(own).join().unwrap());
                    assert!(started.ends_with("-a"), "{started}");
                    b.seat().take().unwrap();
                    assert!(own().ends_with("-b"), "{}", own());
                })
                .join()
                .unwrap();
        });
        assert_eq!(own(), before);
        let paths = [&a, &b].map(|group| group.path().to_owned());
        drop((a, b));
        assert!(paths.iter().all(|path| !path.exists()));
    }
}
