// SPDX-License-Identifier: Apache-2.0
//! The tree of commands.

use std::ffi::OsString;
use std::path::Path;

use clap::{Args, Parser, Subcommand};

use crate::missing::Missing;
use crate::session::Session;
use crate::{
    CliError, bpf, cleanup, completion, config, debuginfo, endpoint, identities, map, metrics, monitoring,
    policies, service, status, version,
};

/// Asks and steers the agent of this node.
#[derive(Debug, Parser)]
#[command(
    name = "cilium",
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
pub struct Cilium {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What each command has.
#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// The agent's socket: a path or unix://PATH [default: $CILIUM_SOCK or /var/run/cilium/cilium.sock]
    #[arg(short = 'H', long, global = true, value_name = "SOCKET")]
    pub host: Option<String>,
    /// Print on standard error what is asked of the agent, and what comes back
    #[arg(short = 'D', long, global = true)]
    pub debug: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Read the datapath's maps
    #[command(subcommand)]
    Bpf(bpf::Command),
    /// Remove what the agent leaves in the kernel and on disk
    Cleanup(cleanup::Arguments),
    /// Print a script that completes commands
    Completion(completion::Arguments),
    /// Show or change the agent's configuration
    Config(config::Arguments),
    /// Collect what a bug report needs
    Debuginfo(debuginfo::Arguments),
    /// Show and change endpoints
    #[command(subcommand)]
    Endpoint(endpoint::Command),
    /// Show security identities
    #[command(subcommand)]
    Identity(identities::Command),
    /// Show the agent's open maps
    #[command(subcommand)]
    Map(map::Command),
    /// Show metrics
    #[command(subcommand)]
    Metrics(metrics::Command),
    /// Print what the datapath and the agent tell
    Monitor(monitoring::Arguments),
    /// Check, load and question policies
    #[command(subcommand)]
    Policy(policies::Command),
    /// Show and change services
    #[command(subcommand)]
    Service(service::Command),
    /// Show how the agent is
    Status(status::Arguments),
    /// Print versions
    Version(version::Arguments),
    #[command(flatten)]
    Missing(Missing),
}

impl Command {
    pub fn run(self, session: &mut Session<'_>) -> Result<(), CliError> {
        match self {
            Self::Bpf(command) => command.run(session),
            Self::Cleanup(arguments) => cleanup::run(&arguments, session),
            Self::Completion(arguments) => completion::run(&arguments, session),
            Self::Config(arguments) => config::run(&arguments, session),
            Self::Debuginfo(arguments) => debuginfo::run(&arguments, session),
            Self::Endpoint(command) => command.run(session),
            Self::Identity(command) => command.run(session),
            Self::Map(command) => command.run(session),
            Self::Metrics(command) => command.run(session),
            Self::Monitor(arguments) => monitoring::run(&arguments, session),
            Self::Policy(command) => command.run(session),
            Self::Service(command) => command.run(session),
            Self::Status(arguments) => status::run(&arguments, session),
            Self::Version(arguments) => version::run(&arguments, session),
            Self::Missing(missing) => Err(missing.refusal()),
        }
    }
}

/// The name by which it was called, if that is one of its names.
pub(crate) fn program(first: Option<&OsString>) -> &'static str {
    let name = first.and_then(|path| Path::new(path).file_name()?.to_str());
    match name {
        Some("ciliate") => "ciliate",
        _ => "cilium",
    }
}
