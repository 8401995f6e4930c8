// SPDX-License-Identifier: Apache-2.0
//! Commands of 1.4 whose feature is not there: refused by name, and not in the help.

use clap::{Args, Subcommand};

use crate::CliError;

/// Whatever follows.
#[derive(Debug, Clone, Args)]
pub(crate) struct Rest {
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Missing {
    /// DNS cache of toFQDNs
    #[command(hide = true)]
    Fqdn(Rest),
    /// Keys of the key-value store
    #[command(hide = true)]
    Kvstore(Rest),
    /// Nodes of the cluster
    #[command(hide = true)]
    Node(Rest),
    /// CIDR filter on devices
    #[command(hide = true)]
    Prefilter(Rest),
}

impl Missing {
    pub fn refusal(&self) -> CliError {
        CliError::NotSupported(match self {
            Self::Fqdn(_) => "DNS-aware policy (fqdn)",
            Self::Kvstore(_) => "a key-value store (kvstore)",
            Self::Node(_) => "several nodes (node)",
            Self::Prefilter(_) => "the prefilter (prefilter)",
        })
    }
}

/// The same below `bpf`.
#[derive(Debug, Subcommand)]
pub(crate) enum MissingBpf {
    /// Connections through the proxy
    #[command(hide = true)]
    Proxy(Rest),
    /// Nodes behind tunnels
    #[command(hide = true)]
    Tunnel(Rest),
}

impl MissingBpf {
    pub fn refusal(&self) -> CliError {
        CliError::NotSupported(match self {
            Self::Proxy(_) => "the L7 proxy (bpf proxy)",
            Self::Tunnel(_) => "tunnels (bpf tunnel)",
        })
    }
}
