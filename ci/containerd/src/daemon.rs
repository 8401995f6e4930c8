// SPDX-License-Identifier: Apache-2.0
//! The daemon, and everything that it would otherwise leave on the machine.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use netlink::NetNs;
use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::client::{Client, ClientError};
use crate::image;

/// How long the daemon may take until it is ready.
const READY: Duration = Duration::from_secs(60);
/// Directories whose place is compiled into the daemon or its libraries: the sockets of its shims, the results of CNI.
const COMPILED_IN: [&str; 2] = ["/run/containerd", "/var/lib/cni"];
/// Where distributions put programs, for a test that runs with a short `PATH`.
const PROGRAMS: [&str; 4] = ["/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin"];

/// What went wrong with the daemon.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// A program is not installed.
    #[error("{0} is not installed (apt install containerd runc)")]
    NotInstalled(&'static str),
    /// A file, directory or process.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It did not get ready.
    #[error("containerd was not ready within {} s: {reason}; its log ends with: {log}", READY.as_secs())]
    NotReady {
        /// What was missing.
        reason: String,
        /// Its last words.
        log: String,
    },
    /// The image was not taken.
    #[error("ctr images import: {0}")]
    Image(String),
    /// A request.
    #[error(transparent)]
    Client(#[from] ClientError),
}

fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> DaemonError {
    move |source| DaemonError::Io { action, path: path.into(), source }
}

/// The programs that are needed.
#[derive(Clone, Debug)]
pub struct Installed {
    containerd: PathBuf,
    ctr: PathBuf,
    unshare: PathBuf,
}

impl Installed {
    /// Looks for them.
    ///
    /// # Errors
    /// [`DaemonError::NotInstalled`] with the name of the first that is missing.
    pub fn find() -> Result<Self, DaemonError> {
        let find = |name: &'static str| {
            let path = PROGRAMS.iter().map(|dir| Path::new(dir).join(name)).find(|path| path.is_file());
            path.ok_or(DaemonError::NotInstalled(name))
        };
        find("runc")?;
        find("containerd-shim-runc-v2")?;
        Ok(Self { containerd: find("containerd")?, ctr: find("ctr")?, unshare: find("unshare")? })
    }
}

/// A daemon. Dropping it ends it and everything that it started, and removes its files.
#[derive(Debug)]
pub struct Containerd {
    child: Child,
    directory: TempDir,
    cgroup: String,
    client: Option<Client>,
}

impl Containerd {
    /// Starts a daemon in the node's network namespace, with the CNI plugins of a directory and one network configuration
    /// (the text of a `.conf` file), and waits until it is ready.
    ///
    /// # Errors
    /// [`DaemonError`]; nothing is left behind.
    pub fn start(
        installed: &Installed,
        node: &NetNs,
        plugins: &Path,
        network: &str,
    ) -> Result<Self, DaemonError> {
        let directory = tempfile::Builder::new()
            .prefix("ciliate-containerd-")
            .tempdir()
            .map_err(io("create a directory in", Path::new("/tmp")))?;
        let write = |name: &str, text: &[u8]| {
            let path = directory.path().join(name);
            fs::write(&path, text).map_err(io("write", &path))
        };
        let networks = directory.path().join("net.d");
        fs::create_dir(&networks).map_err(io("create", &networks))?;
        write("net.d/05-cilium.conf", network.as_bytes())?;
        write("config.toml", config(directory.path(), plugins).as_bytes())?;
        write("pause.tar", &image::archive())?;
        for path in COMPILED_IN {
            fs::create_dir_all(path).map_err(io("create", Path::new(path)))?;
        }
        let child = spawn(installed, node, directory.path())?;
        let cgroup = format!("/ciliate-containerd-{}", child.id());
        let mut daemon = Self { child, directory, cgroup, client: None };
        daemon.wait_ready()?;
        daemon.import(installed)?;
        Ok(daemon)
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("containerd.sock")
    }

    /// The kubelet's side.
    ///
    /// # Panics
    /// Never: a daemon that has started has a client.
    pub fn client(&self) -> &Client {
        self.client.as_ref().expect("it is connected when it is ready")
    }

    /// The cgroup below which pods are to be made, so that they can be cleaned up.
    pub fn cgroup(&self) -> &str {
        &self.cgroup
    }

    /// Opens a namespace by a path of the daemon's, whose mounts nobody else sees.
    ///
    /// # Errors
    /// [`netlink::NetNsError`].
    pub fn namespace(&self, path: &Path) -> Result<NetNs, netlink::NetNsError> {
        let root = PathBuf::from(format!("/proc/{}/root", self.child.id()));
        NetNs::open(&root.join(path.strip_prefix("/").unwrap_or(path)))
    }

    fn wait_ready(&mut self) -> Result<(), DaemonError> {
        let end = Instant::now() + READY;
        loop {
            let reason = match Client::connect(&self.socket()) {
                Ok(client) => match client.not_ready() {
                    Ok(missing) if missing.is_empty() => {
                        self.client = Some(client);
                        return Ok(());
                    }
                    Ok(missing) => missing.join(", "),
                    Err(e) => e.to_string(),
                },
                Err(e) => e.to_string(),
            };
            let ended = self.child.try_wait().map_err(io("wait for", &self.socket()))?;
            if ended.is_some() || Instant::now() >= end {
                return Err(DaemonError::NotReady { reason, log: self.log() });
            }
            std::thread::yield_now();
        }
    }

    /// Kills the daemon itself, the only child of `unshare`.
    fn kill_daemon(&self) -> Option<()> {
        let id = self.child.id();
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        let daemon = children.split_whitespace().next()?.parse().ok()?;
        kill(Pid::from_raw(daemon), Signal::SIGKILL).ok()
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        let text = fs::read_to_string(self.directory.path().join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(15).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }

    fn import(&self, installed: &Installed) -> Result<(), DaemonError> {
        let mut ctr = Command::new(&installed.ctr);
        ctr.arg("--address").arg(self.socket());
        ctr.args(["--namespace", "k8s.io", "images", "import", "--snapshotter", "native"]);
        ctr.arg(self.directory.path().join("pause.tar"));
        let output = ctr.stdin(Stdio::null()).output().map_err(io("run", &installed.ctr))?;
        if output.status.success() {
            return Ok(());
        }
        Err(DaemonError::Image(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
    }
}

impl Drop for Containerd {
    fn drop(&mut self) {
        // First the connection, then the daemon. It takes everything in its process namespace with it, and `unshare` ends
        // with it. Should that fail, it dies with `unshare` (`--kill-child`).
        self.client = None;
        if self.kill_daemon().is_none()
            && let Err(e) = self.child.kill()
        {
            eprintln!("end containerd: {e}");
        }
        if let Err(e) = self.child.wait() {
            eprintln!("wait for containerd: {e}");
        }
        remove_cgroups(&self.cgroup);
    }
}

/// Starts the daemon as the first process of a process namespace.
fn spawn(installed: &Installed, node: &NetNs, directory: &Path) -> Result<Child, DaemonError> {
    let path = directory.join("log");
    let log = File::create(&path).map_err(io("create", &path))?;
    let netns: OwnedFd = node.as_fd().try_clone_to_owned().map_err(io("duplicate", node.path()))?;
    let mut command = Command::new(&installed.unshare);
    command.args(["--pid", "--fork", "--kill-child", "--mount-proc", "--"]);
    command.arg(&installed.containerd).arg("--config").arg(directory.join("config.toml"));
    command.env("PATH", PROGRAMS.join(":")).current_dir("/");
    command.stdin(Stdio::null()).stdout(log.try_clone().map_err(io("duplicate", &path))?).stderr(log);
    // SAFETY: between fork and exec only system calls are made: setns, unshare, mount and prctl.
    unsafe {
        command.pre_exec(move || {
            setns(&netns, CloneFlags::CLONE_NEWNET)?;
            unshare(CloneFlags::CLONE_NEWNS)?;
            let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
            mount(None::<&str>, "/", None::<&str>, private, None::<&str>)?;
            for path in COMPILED_IN {
                mount(Some("tmpfs"), path, Some("tmpfs"), MsFlags::empty(), Some("mode=0711"))?;
            }
            Ok(set_pdeathsig(Signal::SIGKILL)?)
        });
    }
    command.spawn().map_err(io("start", &installed.containerd))
}

/// The daemon's configuration. `native` snapshots are copies: they need nothing of the file system below.
fn config(directory: &Path, plugins: &Path) -> String {
    let directory = directory.display();
    let (plugins, image) = (plugins.display(), image::NAME);
    format!(
        r#"
version = 2
root = "{directory}/root"
state = "{directory}/state"
disabled_plugins = [
    "io.containerd.internal.v1.opt", "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
    "io.containerd.snapshotter.v1.overlayfs", "io.containerd.tracing.processor.v1.otlp",
    "io.containerd.internal.v1.tracing",
]
[grpc]
address = "{directory}/containerd.sock"
[ttrpc]
address = "{directory}/containerd.sock.ttrpc"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{image}"
disable_apparmor = true
restrict_oom_score_adj = true
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
snapshotter = "native"
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{directory}/net.d"
"#
    )
}

/// The daemon would remove these with the pods; here they may have been killed. All controllers have a tree of their own
/// where cgroups are of version 1.
fn remove_cgroups(name: &str) {
    let Ok(controllers) = fs::read_dir("/sys/fs/cgroup") else { return };
    let roots = controllers.flatten().map(|entry| entry.path()).chain([PathBuf::from("/sys/fs/cgroup")]);
    for root in roots {
        let own = root.join(name.trim_start_matches('/'));
        if own.is_dir()
            && let Err(e) = remove_tree(&own)
        {
            eprintln!("remove the cgroup {}: {e}", own.display());
        }
    }
}

/// A cgroup is removed as a directory, after those below it; its files are the kernel's. It is busy until the last of its
/// processes, which were just killed, is reaped.
fn remove_tree(path: &Path) -> io::Result<()> {
    for entry in fs::read_dir(path)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_tree(&entry.path())?;
    }
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        match fs::remove_dir(path) {
            Err(e) if e.kind() == io::ErrorKind::ResourceBusy && Instant::now() < end => {
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}
