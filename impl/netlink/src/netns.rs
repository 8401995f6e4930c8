// SPDX-License-Identifier: Apache-2.0
//! Named network namespaces, as `ip netns` knows them: a bind mount under `/run/netns`.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::statfs::{NSFS_MAGIC, fstatfs};

/// Where named namespaces are bound, the same place that iproute2 uses.
const NETNS_DIR: &str = "/run/netns";

/// What could not be done with which namespace.
#[derive(Debug, thiserror::Error)]
pub enum NetNsError {
    /// A namespace of this name is there already.
    #[error("network namespace {0:?} exists already")]
    Exists(String),
    /// A system call failed.
    #[error("{action} network namespace {name:?}: {source}")]
    System {
        /// What was tried.
        action: &'static str,
        /// Name or path of the namespace.
        name: String,
        /// The kernel's answer.
        source: io::Error,
    },
}

/// A handle on a network namespace. Dropping it closes the handle; a named namespace stays until [`NetNs::delete`].
#[derive(Debug)]
pub struct NetNs {
    path: PathBuf,
    file: File,
}

impl NetNs {
    /// Creates a namespace and binds it to `/run/netns/<name>`. The caller's own namespace does not change.
    ///
    /// # Errors
    /// [`NetNsError::Exists`], or [`NetNsError::System`] (without `CAP_SYS_ADMIN`: `EPERM`).
    pub fn create(name: &str) -> Result<Self, NetNsError> {
        let err = |action| move |source: io::Error| NetNsError::System { action, name: name.into(), source };
        prepare_dir().map_err(err("prepare the directory of"))?;
        let path = Path::new(NETNS_DIR).join(name);
        match File::create_new(&path) {
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
                return Err(NetNsError::Exists(name.into()));
            }
            Err(e) => return Err(err("create")(e)),
        }
        let made = thread::scope(|s| {
            s.spawn(|| -> io::Result<()> {
                unshare(CloneFlags::CLONE_NEWNET)?;
                mount(Some("/proc/thread-self/ns/net"), &path, None::<&str>, MsFlags::MS_BIND, None::<&str>)?;
                Ok(())
            })
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("the thread that makes it panicked")))
        });
        if let Err(e) = made {
            let _ = fs::remove_file(&path);
            return Err(err("create")(e));
        }
        Self::open(&path)
    }

    /// Creates a namespace without a name: it ends with its last handle, and with this process at the latest.
    ///
    /// # Errors
    /// [`NetNsError::System`] (without `CAP_SYS_ADMIN`: `EPERM`).
    pub fn create_unnamed() -> Result<Self, NetNsError> {
        thread::scope(|s| {
            s.spawn(|| {
                unshare(CloneFlags::CLONE_NEWNET).map_err(|e| NetNsError::System {
                    action: "create",
                    name: "(unnamed)".into(),
                    source: e.into(),
                })?;
                Ok(Self { path: "(unnamed)".into(), ..Self::current()? })
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// A second handle on the same namespace.
    ///
    /// # Errors
    /// [`NetNsError::System`] when there are no file descriptors left.
    pub fn try_clone(&self) -> Result<Self, NetNsError> {
        let file = self.file.try_clone().map_err(|source| NetNsError::System {
            action: "duplicate the handle on",
            name: self.path.display().to_string(),
            source,
        })?;
        Ok(Self { path: self.path.clone(), file })
    }

    /// Opens a namespace by its path (`/run/netns/x`, `/proc/1/ns/net`).
    ///
    /// # Errors
    /// [`NetNsError::System`] when the path cannot be opened.
    pub fn open(path: &Path) -> Result<Self, NetNsError> {
        let file = File::open(path).map_err(|source| NetNsError::System {
            action: "open",
            name: path.display().to_string(),
            source,
        })?;
        Ok(Self { path: path.into(), file })
    }

    /// The namespace that the calling thread is in.
    ///
    /// # Errors
    /// [`NetNsError::System`] when `/proc` is not mounted.
    pub fn current() -> Result<Self, NetNsError> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// Whether what was opened is a namespace at all, and not some other file.
    ///
    /// # Errors
    /// [`NetNsError::System`].
    pub fn is_namespace(&self) -> Result<bool, NetNsError> {
        let status = fstatfs(&self.file).map_err(|e| self.failed("look at", e.into()))?;
        Ok(status.filesystem_type() == NSFS_MAGIC)
    }

    /// Whether both are handles on one namespace.
    ///
    /// # Errors
    /// [`NetNsError::System`].
    pub fn is_same(&self, other: &Self) -> Result<bool, NetNsError> {
        let place = |netns: &Self| {
            let metadata = netns.file.metadata().map_err(|e| netns.failed("look at", e))?;
            Ok::<_, NetNsError>((metadata.dev(), metadata.ino()))
        };
        Ok(place(self)? == place(other)?)
    }

    fn failed(&self, action: &'static str, source: io::Error) -> NetNsError {
        NetNsError::System { action, name: self.path.display().to_string(), source }
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The last part of the path: the name that `ip netns` shows.
    pub fn name(&self) -> &str {
        self.path.file_name().and_then(|n| n.to_str()).unwrap_or_default()
    }

    /// Moves the calling thread, and only it, into the namespace.
    ///
    /// # Errors
    /// [`NetNsError::System`].
    pub fn enter(&self) -> Result<(), NetNsError> {
        setns(self.as_fd(), CloneFlags::CLONE_NEWNET).map_err(|e| NetNsError::System {
            action: "enter",
            name: self.path.display().to_string(),
            source: e.into(),
        })
    }

    /// Runs `f` in a thread of its own inside the namespace and returns what it returns.
    ///
    /// # Errors
    /// [`NetNsError::System`] when the namespace cannot be entered.
    ///
    /// # Panics
    /// When `f` panics.
    pub fn run<T: Send>(&self, f: impl FnOnce() -> T + Send) -> Result<T, NetNsError> {
        thread::scope(|s| {
            s.spawn(|| {
                self.enter()?;
                Ok(f())
            })
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Unbinds a named namespace. It ends when the last process, socket or handle in it is gone.
    /// A name that is not there is no error.
    ///
    /// # Errors
    /// [`NetNsError::System`].
    pub fn delete(name: &str) -> Result<(), NetNsError> {
        let path = Path::new(NETNS_DIR).join(name);
        // EINVAL: a file that is no mount point, left by a creation that was cut off.
        match umount2(&path, MntFlags::MNT_DETACH) {
            Ok(()) | Err(nix::errno::Errno::EINVAL | nix::errno::Errno::ENOENT) => {}
            Err(e) => {
                return Err(NetNsError::System { action: "unmount", name: name.into(), source: e.into() });
            }
        }
        match fs::remove_file(&path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(NetNsError::System { action: "remove", name: name.into(), source: e })
            }
            _ => Ok(()),
        }
    }

    /// Names of all named namespaces, sorted.
    ///
    /// # Errors
    /// [`NetNsError::System`] when the directory cannot be read; one that is not there has no names.
    pub fn names() -> Result<Vec<String>, NetNsError> {
        let read = match fs::read_dir(NETNS_DIR) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            read => read,
        };
        let mut names = read
            .and_then(|dir| {
                dir.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
                    .collect::<io::Result<Vec<_>>>()
            })
            .map_err(|source| NetNsError::System { action: "list", name: NETNS_DIR.into(), source })?;
        names.sort();
        Ok(names)
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// As `ip netns add` does: the directory is a shared mount, so that names made here are seen in other mount
/// namespaces and names deleted there go away here.
fn prepare_dir() -> io::Result<()> {
    let dir = Path::new(NETNS_DIR);
    fs::create_dir_all(dir)?;
    let shared =
        || mount(None::<&str>, dir, None::<&str>, MsFlags::MS_SHARED | MsFlags::MS_REC, None::<&str>);
    match shared() {
        Ok(()) => Ok(()),
        Err(nix::errno::Errno::EINVAL) => {
            mount(Some(dir), dir, None::<&str>, MsFlags::MS_BIND | MsFlags::MS_REC, None::<&str>)?;
            Ok(shared()?)
        }
        Err(e) => Err(e.into()),
    }
}
