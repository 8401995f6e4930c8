// SPDX-License-Identifier: Apache-2.0
//! `bpf`: reads pinned maps, also when no agent runs.

mod conntrack;
mod endpoints;
mod ipcache;
mod lb;
mod metrics;
mod policy;
mod runtime;

use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;

use addr::Be32;
use clap::{Args, Subcommand};
use maps::{BpfMap, Bytes};

use crate::CliError;
use crate::missing::MissingBpf;
use crate::session::Session;

/// Where maps are, if no flag and no variable says otherwise.
const BPF_ROOT: &str = "/sys/fs/bpf";
/// As for the agent.
const BPF_ROOT_VARIABLE: &str = "CILIUM_BPF_ROOT";
/// Below it.
const GLOBALS: &str = "tc/globals";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// What programs read while they run
    #[command(subcommand)]
    Config(runtime::Command),
    /// Connections
    #[command(subcommand)]
    Ct(conntrack::Command),
    /// Endpoints by address
    #[command(subcommand)]
    Endpoint(endpoints::Command),
    /// Identities by prefix
    #[command(subcommand)]
    Ipcache(ipcache::Command),
    /// Services and their backends
    #[command(subcommand)]
    Lb(lb::Command),
    /// Packets by reason and direction
    #[command(subcommand)]
    Metrics(metrics::Command),
    /// Who may talk to and be talked to by an endpoint
    #[command(subcommand)]
    Policy(policy::Command),
    #[command(flatten)]
    Missing(MissingBpf),
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Config(command) => command.run(session),
            Self::Ct(command) => command.run(session),
            Self::Endpoint(command) => command.run(session),
            Self::Ipcache(command) => command.run(session),
            Self::Lb(command) => command.run(session),
            Self::Metrics(command) => command.run(session),
            Self::Policy(command) => command.run(session),
            Self::Missing(missing) => Err(missing.refusal()),
        }
    }
}

/// Where maps are.
#[derive(Debug, Args)]
pub(crate) struct Root {
    /// Where the agent pins its maps [default: $CILIUM_BPF_ROOT or /sys/fs/bpf]
    #[arg(long, value_name = "DIRECTORY")]
    bpf_root: Option<PathBuf>,
}

impl Root {
    /// The directory itself.
    pub fn directory(&self) -> PathBuf {
        let variable = std::env::var_os(BPF_ROOT_VARIABLE).filter(|value| !value.is_empty());
        self.bpf_root.clone().or(variable.map(PathBuf::from)).unwrap_or_else(|| BPF_ROOT.into())
    }

    /// Where the maps are.
    pub fn globals(&self) -> PathBuf {
        self.directory().join(GLOBALS)
    }

    fn open<K: Bytes, V: Bytes>(&self, name: &str) -> Result<BpfMap<K, V>, CliError> {
        Ok(BpfMap::open(&self.globals().join(name))?)
    }
}

/// An address out of four words; IPv4 has the first.
fn address(words: [Be32; 4], is_ipv4: bool) -> IpAddr {
    if is_ipv4 {
        return Ipv4Addr::from(words[0]).into();
    }
    let mut octets = [0; 16];
    for (place, word) in octets.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&Ipv4Addr::from(word).octets());
    }
    octets.into()
}
