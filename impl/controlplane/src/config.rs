// SPDX-License-Identifier: Apache-2.0
//! What the control plane is told once, when the agent starts.

use std::collections::BTreeSet;
use std::net::IpAddr;

use identity::{FixedIdentities, LabelFilter};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::event::SourceName;
use crate::options::EndpointOptions;

/// Why the agent cannot start so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Both families are off.
    #[error("neither IPv4 nor IPv6 is enabled: set --enable-ipv4 or --enable-ipv6")]
    NoFamily,
    /// The range of pods is too small to give any address.
    #[error("{0} has no address for pods: it must leave one beside its first, its last and the router's")]
    TooSmall(IpNet),
    /// The router is outside of the range of pods.
    #[error("the router {router} is not an address for hosts in {range}")]
    Router {
        /// The address.
        router: IpAddr,
        /// The range of pods.
        range: IpNet,
    },
}

/// The addresses of pods of one family on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PodRange<N, A> {
    /// From which pods get addresses.
    pub range: N,
    /// The address of `cilium_host`, their gateway; of this range.
    pub router: A,
}

/// What the control plane is told once.
#[derive(Debug, Clone)]
pub struct Config {
    /// `--cluster-name`.
    pub cluster_name: String,
    /// `--cluster-id`.
    pub cluster_id: u8,
    /// Identities with fixed numbers.
    pub fixed_identities: FixedIdentities,
    /// Which labels make an identity.
    pub label_filter: LabelFilter,
    /// IPv4 addresses of pods; none: IPv4 is off.
    pub ipv4: Option<PodRange<Ipv4Net, std::net::Ipv4Addr>>,
    /// IPv6 addresses of pods; none: IPv6 is off.
    pub ipv6: Option<PodRange<Ipv6Net, std::net::Ipv6Addr>>,
    /// Never given to pods: local subnets and other addresses inside the ranges.
    pub reserved: Vec<IpNet>,
    /// `--enable-policy`.
    pub enforcement: policy::EnforcementMode,
    /// Whether the node itself may always reach pods: `--allow-localhost=always`.
    pub allow_localhost: bool,
    /// Options of endpoints that have none of their own.
    pub options: EndpointOptions,
    /// Load balancing.
    pub services: loadbalancer::Config,
    /// Nothing is written before each of these said [`crate::Event::SourceSynced`].
    pub sources: BTreeSet<SourceName>,
}
