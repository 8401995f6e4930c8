// SPDX-License-Identifier: Apache-2.0
//! Our agent on a node of the lab: a real process with a state directory, a bpffs, a socket and a directory of manifests
//! of its own, and pods that are attached by its CNI plugin.

mod binary;
mod fabric;
mod ground;
mod http;
mod manifests;
mod measure;
mod pods;
mod process;
mod services;

pub(crate) use binary::place;
use std::fmt::Display;
use std::fs;
use std::io;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use ipnet::{Ipv4Net, Ipv6Net};
use netlink::NetNs;
use serde_json::Value;

pub use binary::{BINARY_VARIABLE, NotBuilt, find as find_binary};
pub use fabric::{Fabric, MAX_NODES, Member, NodeAddresses, PodRanges};
pub use ground::{Ground, NEIGHBOUR, NEIGHBOUR6, NODE, NODE6, UPLINK};
pub use http::{Api, ApiError};
pub use manifests::{LabelMap, Manifest, ManifestError, PodName, Writer};
pub(crate) use manifests::{PodPort, documents, namespace as namespace_manifest, pod as pod_manifest};
pub use measure::{MeasureError, measure};
pub(crate) use services::{ServiceManifest, services_elsewhere};

use crate::cni::CniError;
use crate::lab::{BpfFs, ControlGroup, Lab, LabError, Node, Seat};
use process::{Lifetime, Process};

/// How long an agent may take until it answers that all is well. In an emulated machine it is slow.
const READY: Duration = Duration::from_secs(60);
/// How long it may take to end when it is asked to.
const END: Duration = Duration::from_secs(10);
/// How long a change may take until every endpoint has it.
const REALIZED: Duration = Duration::from_secs(60);
/// Pause between two looks.
const POLL: Duration = Duration::from_millis(2);

/// Connections that an agent tracks, per table: more than a client can have open or closing with one port of a server,
/// so that no entry is thrown out while something is measured. At the default sizes (a million TCP connections and a
/// quarter of a million others) each agent would take 200 MiB of memory per family.
const CONNTRACK_ENTRIES: u32 = 1 << 16;

/// Pods of a node that runs an agent.
pub const POD_RANGE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 24);
/// The same for IPv6, within the prefix that all nodes' pods share when nothing else is said.
pub const POD_RANGE6: Ipv6Net =
    Ipv6Net::new_assert(std::net::Ipv6Addr::new(0xf00d, 0, 0, 0, 0x0a, 0xf4, 0, 0), 96);

/// What went wrong with an agent.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its program is not there.
    #[error(transparent)]
    NotBuilt(#[from] NotBuilt),
    /// A file, directory or process of it.
    #[error("{action} {path}: {source}", path = path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// It ended by itself.
    #[error("the agent does not run: {0}")]
    Ended(String),
    /// It does not say that all is well.
    #[error("the agent was not ready within {} s: {reason}; {said}", READY.as_secs())]
    NotReady {
        /// Its last answer, or why there was none.
        reason: String,
        /// The end of its log.
        said: String,
    },
    /// It did not end when it was asked to.
    #[error("the agent did not end within {} s of SIGTERM and was killed; {said}", END.as_secs())]
    Stuck {
        /// The end of its log.
        said: String,
    },
    /// A change did not come about.
    #[error("within {} s {what}: {last}; {said}", REALIZED.as_secs())]
    NotRealized {
        /// What was waited for, as it did not come: `no endpoint had …`.
        what: String,
        /// What was seen last.
        last: String,
        /// The end of its log.
        said: String,
    },
    /// It does not understand a manifest.
    #[error("the agent refuses the manifest {name:?}: {said}")]
    Refused {
        /// The manifest.
        name: String,
        /// The agent's words.
        said: String,
    },
    /// A policy map has fewer entries than it should.
    #[error("the policy map of endpoint {endpoint} has {found} entries, and should have {wanted} at least")]
    TooFewEntries {
        /// The endpoint.
        endpoint: u64,
        /// What the kernel's map has.
        found: usize,
        /// What it should have.
        wanted: u32,
    },
    /// It has fewer services than it should.
    #[error("the agent has {found} frontends of services, and should have {wanted} at least")]
    TooFewServices {
        /// What `GET /service` tells of.
        found: usize,
        /// What it should.
        wanted: u32,
    },
    /// The kernel has fewer backends than it should.
    #[error("the table of backends has {found} rows, and should have {wanted} at least")]
    TooFewBackends {
        /// What the kernel's map has.
        found: usize,
        /// What it should.
        wanted: u64,
    },
    /// Its REST interface.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// Its CNI plugin.
    #[error(transparent)]
    Cni(#[from] CniError),
    /// Its CNI plugin gave no address.
    #[error("the CNI plugin gave pod {0} no address")]
    NoAddress(String),
    /// Namespaces, mounts and state.
    #[error(transparent)]
    Lab(#[from] LabError),
    /// Links, addresses, routes, sysctls.
    #[error(transparent)]
    Netlink(#[from] netlink::NetlinkError),
    /// A namespace's handle.
    #[error(transparent)]
    NetNs(#[from] netlink::NetNsError),
}

impl AgentError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.into(), source }
    }
}

/// How an agent is to run.
#[derive(Clone, Debug, Default)]
pub struct AgentOptions {
    /// IPv6 beside IPv4.
    pub ipv6: bool,
    /// Flags besides those that the lab gives every agent.
    pub flags: Vec<String>,
    /// Its pods' addresses.
    pub pods: PodRanges,
}

/// An agent on a node. Dropping it kills it and unmounts its bpffs, unless its lab is kept.
#[derive(Debug)]
pub struct Agent {
    process: Option<Process>,
    bpffs: Option<BpfFs>,
    group: ControlGroup,
    node: NetNs,
    directory: PathBuf,
    binary: PathBuf,
    options: AgentOptions,
    lab: Lab,
}

/// How a running agent is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// SIGKILL: it learns nothing of it.
    Kill,
    /// SIGTERM: it may tidy up.
    Terminate,
}

impl Agent {
    /// Starts an agent on a node and waits until it says that all is well. `place` tells it from others of its lab.
    ///
    /// # Errors
    /// [`AgentError`]; nothing is left behind.
    pub fn start(lab: &Lab, node: &Node, place: &str, options: AgentOptions) -> Result<Self, AgentError> {
        let binary = binary::find()?;
        let directory = lab.dir().join(place);
        let mut agent = Self {
            process: None,
            bpffs: None,
            group: ControlGroup::create(lab, place)?,
            node: node.netns().try_clone()?,
            directory,
            binary,
            options,
            lab: lab.clone(),
        };
        for path in [agent.state_dir(), agent.policy_dir(), agent.plugin_dir(), agent.staging_dir()] {
            fs::create_dir_all(&path).map_err(AgentError::io("create", &path))?;
        }
        // One program: it is the plugin when it is called so.
        let plugin = agent.plugin_dir().join(pods::PLUGIN);
        std::os::unix::fs::symlink(&agent.binary, &plugin).map_err(AgentError::io("create", &plugin))?;
        agent.bpffs = Some(BpfFs::mount(&agent.bpf_root())?);
        agent.run(Lifetime::Ours)?;
        agent.wait_ready()?;
        Ok(agent)
    }

    /// A place in the control group of its node. Whoever opens sockets for a pod or for the node must take it.
    pub fn seat(&self) -> &Seat {
        self.group.seat()
    }

    /// Where its REST interface listens.
    pub fn socket(&self) -> PathBuf {
        self.directory.join("cilium.sock")
    }

    /// Its REST interface.
    pub fn api(&self) -> Api {
        Api::new(&self.socket())
    }

    /// The program.
    pub fn binary(&self) -> &Path {
        &self.binary
    }

    /// A command of the agent's own command line, told where it listens.
    pub fn command_line(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).env("CILIUM_SOCK", self.socket());
        command
    }

    /// What it says goes here.
    pub fn log(&self) -> PathBuf {
        self.directory.join("agent.log")
    }

    /// The directory of manifests that it watches.
    pub fn policy_dir(&self) -> PathBuf {
        self.directory.join("policy")
    }

    /// Its state directory.
    pub fn state_dir(&self) -> PathBuf {
        self.directory.join("state")
    }

    /// Its bpffs.
    pub fn bpf_root(&self) -> PathBuf {
        self.directory.join("bpf")
    }

    fn plugin_dir(&self) -> PathBuf {
        self.directory.join("bin")
    }

    /// Where manifests are written before they appear whole in [`Self::policy_dir`].
    fn staging_dir(&self) -> PathBuf {
        self.directory.join("new")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.binary);
        let path = |flag: &str, path: &Path| format!("--{flag}={}", path.display());
        command.arg("agent").args([
            path("state-dir", &self.state_dir()),
            path("socket-path", &self.socket()),
            path("bpf-root", &self.bpf_root()),
            path("policy-dir", &self.policy_dir()),
            path("cgroup-root", self.group.path()),
        ]);
        command.args([
            format!("--ipv4-range={}", self.options.pods.ipv4),
            "--enable-ipv4=true".into(),
            format!("--enable-ipv6={}", self.options.ipv6),
            "--tunnel=disabled".into(),
            "--container-runtime=none".into(),
        ]);
        command.args(["tcp", "any"].map(|kind| format!("--bpf-ct-global-{kind}-max={CONNTRACK_ENTRIES}")));
        if self.options.ipv6 {
            command.arg(format!("--ipv6-range={}", self.options.pods.ipv6));
        }
        command.args(&self.options.flags);
        command
    }

    fn run(&mut self, lifetime: Lifetime) -> Result<(), AgentError> {
        let process = Process::start(self.command(), &self.node, &self.log(), lifetime)
            .map_err(AgentError::io("start", &self.binary))?;
        let state = process.state();
        self.process = Some(process);
        // One that has ended already is found out by who waits for it.
        Ok(state.map_or(Ok(()), |state| self.lab.record_process(state))?)
    }

    /// Waits until `GET /healthz` says that the agent is `Ok`.
    fn wait_ready(&mut self) -> Result<(), AgentError> {
        let api = self.api();
        let end = Instant::now() + READY;
        loop {
            self.check_runs()?;
            let reason = match api.read("/healthz") {
                Ok(status) => match status.pointer("/cilium/state").and_then(Value::as_str) {
                    Some("Ok") => return Ok(()),
                    _ => crate::tool::one_line(status.to_string().as_bytes()),
                },
                Err(error) => error.to_string(),
            };
            if Instant::now() >= end {
                return Err(AgentError::NotReady { reason, said: self.said() });
            }
            thread::sleep(POLL);
        }
    }

    /// That it has not ended by itself.
    ///
    /// # Errors
    /// [`AgentError::Ended`] with its last words.
    pub fn check_runs(&mut self) -> Result<(), AgentError> {
        let Some(process) = &mut self.process else {
            return Err(AgentError::Ended("it was ended and not started again".into()));
        };
        match process.ended().map_err(AgentError::io("wait for", &self.binary))? {
            Some(status) => Err(AgentError::Ended(process.last_words(status))),
            None => Ok(()),
        }
    }

    fn said(&self) -> String {
        self.process.as_ref().map_or_else(|| "the agent does not run".into(), Process::said)
    }

    /// Ends it. Its datapath stays.
    ///
    /// # Errors
    /// [`AgentError::Ended`] when it had ended by itself, [`AgentError::Stuck`].
    pub fn end(&mut self, how: Ending) -> Result<(), AgentError> {
        self.check_runs()?;
        let Some(mut process) = self.process.take() else { return Ok(()) };
        let state = process.state();
        let ended = match how {
            Ending::Kill => process.kill().map(|()| true),
            Ending::Terminate => process.terminate(END),
        };
        let ended = ended.map_err(AgentError::io("end", &self.binary))?;
        self.lab.change(|lab| lab.processes.retain(|process| Some(*process) != state))?;
        if ended { Ok(()) } else { Err(AgentError::Stuck { said: process.said() }) }
    }

    /// Starts it again after [`Self::end`] and waits until it is ready.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn start_again(&mut self) -> Result<(), AgentError> {
        self.run(Lifetime::Ours)?;
        self.wait_ready()
    }

    /// Lets it outlive this process: it is started again, this time without being bound to it. To be called once its lab
    /// is kept.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn keep(&mut self) -> Result<(), AgentError> {
        self.end(Ending::Terminate)?;
        self.run(Lifetime::Kept)?;
        self.wait_ready()
    }

    /// Resident memory of its process, bytes.
    ///
    /// # Errors
    /// [`AgentError::Ended`], or [`AgentError::Io`] when `/proc` does not say.
    pub fn resident_bytes(&mut self) -> Result<u64, AgentError> {
        self.check_runs()?;
        let id = self.process.as_ref().map_or(0, Process::id);
        let path = PathBuf::from(format!("/proc/{id}/status"));
        let text = fs::read_to_string(&path).map_err(AgentError::io("read", &path))?;
        resident_kib(&text)
            .map(|kib| kib * 1024)
            .ok_or_else(|| AgentError::io("read", &path)(io::Error::other("it has no VmRSS")))
    }

    /// Looks again and again until `look` has something, or says what it saw instead.
    fn wait_until<T>(
        &mut self,
        what: impl Display,
        mut look: impl FnMut(&Api) -> Result<Result<T, String>, ApiError>,
    ) -> Result<T, AgentError> {
        let api = self.api();
        let end = Instant::now() + REALIZED;
        loop {
            self.check_runs()?;
            let last = match look(&api)? {
                Ok(found) => return Ok(found),
                Err(last) => last,
            };
            if Instant::now() >= end {
                return Err(AgentError::NotRealized { what: what.to_string(), last, said: self.said() });
            }
            thread::sleep(POLL);
        }
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        if self.lab.is_kept() {
            if let Some(bpffs) = self.bpffs.take() {
                bpffs.keep();
            }
            return;
        }
        if let Some(process) = &mut self.process
            && let Err(e) = process.kill()
        {
            eprintln!("netns-lab: end {}: {e}", self.binary.display());
        }
        let state = self.process.as_ref().map(|process| process.id());
        if let Err(e) = self.lab.change(|lab| lab.processes.retain(|process| Some(process.pid) != state)) {
            eprintln!("netns-lab: {e}");
        }
        drop(self.bpffs.take());
        // A second subject of this name would find the first one's state.
        if let Err(e) = fs::remove_dir_all(&self.directory) {
            eprintln!("netns-lab: remove {}: {e}", self.directory.display());
        }
    }
}

/// `VmRSS` of `/proc/<pid>/status`, KiB.
fn resident_kib(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().strip_suffix(" kB")?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read_from_the_status_of_a_process() {
        assert_eq!(resident_kib("VmPeak:\t  10 kB\nVmRSS:\t   5120 kB\nThreads:\t3\n"), Some(5120));
        assert_eq!(resident_kib("VmPeak:\t  10 kB\n"), None);
        assert_eq!(resident_kib("VmRSS:\t kB"), None);
    }
}
