// SPDX-License-Identifier: Apache-2.0
//! A node: a network namespace with a way out, a bpffs that only this test sees, and the agent.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use api::{Client, StatusState};
use ipnet::IpNet;
use netlink::{LinkEnd, NetNs, Netlink, Route};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// How long the agent may take until it says that it works.
const READY: Duration = Duration::from_secs(60);
/// How long it may take to end.
const END: Duration = Duration::from_secs(20);

const NODE: [&str; 2] = ["198.51.100.1/24", "2001:db8:1::1/64"];
const WORLD: [&str; 2] = ["198.51.100.2/24", "2001:db8:1::2/64"];

/// A node and its agent. Dropping it ends the agent.
pub struct Node {
    pub netns: NetNs,
    pub directory: TempDir,
    _world: NetNs,
    agent: Option<Child>,
    /// Whose sockets the agent translates: nobody's, for the machine's are not the test's.
    cgroup: Option<PathBuf>,
    /// Further flags of the agent, for its next start.
    pub flags: Vec<String>,
}

impl Node {
    /// Makes a node and starts its agent.
    pub fn start() -> Self {
        let netns = || NetNs::create_unnamed().expect("this test needs root: it makes network namespaces");
        let (node, world) = (netns(), netns());
        wire(&node, &world);
        let directory = tempfile::tempdir().expect("temporary directory");
        let bpf = directory.path().join("bpf");
        for name in ["bpf", "state", "policy"] {
            fs::create_dir(directory.path().join(name)).expect("create");
        }
        // The mount is seen by this thread and what it starts, and goes with the last of them.
        unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace");
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).expect("mounts of its own");
        mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), None::<&str>).expect("a bpffs");
        let cgroup = cgroup(&directory);
        let mut node = Self { netns: node, directory, _world: world, agent: None, cgroup, flags: Vec::new() };
        node.start_agent();
        node
    }

    /// The agent's process, while there is one.
    pub fn pid(&self) -> Option<u32> {
        self.agent.as_ref().map(Child::id)
    }

    /// What is in its directory.
    pub fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The agent's socket.
    pub fn socket(&self) -> PathBuf {
        self.path("cilium.sock")
    }

    /// The agent, to be asked.
    pub fn client(&self) -> Client {
        Client::new(self.socket())
    }

    /// The addresses that are given, the router's among them.
    pub fn given(&self) -> usize {
        let ipam =
            self.client().status().expect("the agent answers").ipam.expect("the agent gives addresses");
        ipam.ipv4.len() + ipam.ipv6.len()
    }

    /// Starts the agent, and waits until it says that it works. It also works when it warns: of an endpoint whose interface
    /// went while there was no agent.
    pub fn start_agent(&mut self) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ciliate"));
        command.arg("agent").args([
            flag("state-dir", &self.path("state")),
            flag("socket-path", &self.socket()),
            flag("bpf-root", &self.path("bpf")),
            flag("policy-dir", &self.path("policy")),
        ]);
        command.args([
            "--ipv4-range=10.244.0.0/24",
            "--ipv6-range=f00d::a:f4:0:0/96",
            "--enable-ipv4=true",
            "--enable-ipv6=true",
            "--tunnel=disabled",
            "--container-runtime=none",
            "--bpf-ct-global-tcp-max=65536",
            "--bpf-ct-global-any-max=65536",
        ]);
        command.arg(match &self.cgroup {
            Some(cgroup) => flag("cgroup-root", cgroup),
            None => "--bpf-lb-sock=false".into(),
        });
        command.args(&self.flags);
        let log = File::options().create(true).append(true).open(self.path("log")).expect("a log");
        command.stdin(Stdio::null()).stdout(log.try_clone().expect("a handle")).stderr(log);
        let netns = self.netns.try_clone().expect("a handle");
        // SAFETY: between fork and exec only system calls are made: setns and prctl.
        unsafe {
            command.pre_exec(move || {
                netns.enter().map_err(std::io::Error::other)?;
                Ok(set_pdeathsig(Signal::SIGKILL)?)
            });
        }
        self.agent = Some(command.spawn().expect("start the agent"));
        let end = Instant::now() + READY;
        loop {
            let status = self.client().status();
            let own = status.as_ref().ok().and_then(|status| status.cilium.as_ref());
            if own.is_some_and(|own| matches!(own.state, StatusState::Ok | StatusState::Warning)) {
                return;
            }
            let ended = self.agent.as_mut().and_then(|agent| agent.try_wait().expect("wait"));
            assert!(
                ended.is_none() && Instant::now() < end,
                "the agent is not ready ({ended:?}): {status:?}\n{}",
                self.log()
            );
            std::thread::yield_now();
        }
    }

    /// What a command line prints, in the node's namespace and with its maps.
    pub fn cilium(&self, words: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_ciliate"));
        command.arg("-H").arg(self.socket()).args(words).env("CILIUM_BPF_ROOT", self.path("bpf"));
        let output = command.output().expect("run the command line");
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{words:?}: {error}\n{}", self.log());
        String::from_utf8(output.stdout).expect("text")
    }

    /// Whether sockets can be translated on this machine.
    pub fn has_cgroup(&self) -> bool {
        self.cgroup.is_some()
    }

    /// What the agent said.
    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Ends the agent by a signal.
    pub fn end_agent(&mut self, signal: Signal) {
        let Some(mut agent) = self.agent.take() else { return };
        kill(Pid::from_raw(agent.id().cast_signed()), signal).expect("signal the agent");
        let end = Instant::now() + END;
        while agent.try_wait().expect("wait").is_none() {
            if Instant::now() >= end {
                agent.kill().expect("kill");
                agent.wait().expect("wait");
                panic!("the agent did not end:\n{}", self.log());
            }
            std::thread::yield_now();
        }
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Some(mut agent) = self.agent.take() {
            let _ = agent.kill().and_then(|()| agent.wait());
        }
        let _ = umount2(&self.path("bpf"), MntFlags::MNT_DETACH);
        if let Some(cgroup) = &self.cgroup {
            let _ = fs::remove_dir(cgroup);
        }
        if std::thread::panicking() {
            eprintln!("the agent said:\n{}", self.log());
        }
    }
}

/// A control group without processes, where the machine has a cgroup2 hierarchy.
fn cgroup(directory: &TempDir) -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    let mount = mounts.lines().find(|line| line.contains(" - cgroup2 "))?;
    let root = Path::new(mount.split(' ').nth(4)?);
    let name = directory.path().file_name()?.to_string_lossy();
    let cgroup = root.join(format!("ciliate-test-{}-{}", std::process::id(), name.trim_start_matches('.')));
    fs::create_dir(&cgroup).expect("a control group");
    Some(cgroup)
}

fn flag(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// The node's device, with a default route of each family.
fn wire(node: &NetNs, world: &NetNs) {
    let (near, far) = (Netlink::open(node).unwrap(), Netlink::open(world).unwrap());
    near.add_veth(&LinkEnd::new("uplink0", node), &LinkEnd::new("eth0", world)).unwrap();
    near.set_up("lo").unwrap();
    for (netlink, device, addresses) in [(&near, "uplink0", NODE), (&far, "eth0", WORLD)] {
        netlink.set_up(device).unwrap();
        for address in addresses {
            netlink.add_address(device, address.parse().unwrap()).unwrap();
        }
    }
    for (any, via) in [("0.0.0.0/0", WORLD[0]), ("::/0", WORLD[1])] {
        let via = via.parse::<IpNet>().unwrap().addr();
        near.add_route(&Route::onlink(any.parse().unwrap(), via, "uplink0")).unwrap();
    }
}
