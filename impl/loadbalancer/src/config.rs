// SPDX-License-Identifier: Apache-2.0
//! What load balancing is told once.

use addr::{Port, PortRange};
use ipnet::IpNet;

/// How a backend is chosen for a new connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Algorithm {
    /// Any, each as often as the others.
    #[default]
    Random,
    /// By a hash of the connection, so that all nodes choose alike, and few connections move when backends change
    /// (Eisenbud and others, "Maglev", NSDI 2016).
    Maglev {
        /// How many slots a service has: one of [`Algorithm::TABLE_SIZES`].
        table_size: u16,
    },
}

impl Algorithm {
    /// Primes, near powers of two.
    pub const TABLE_SIZES: [u16; 8] = [251, 509, 1021, 2039, 4093, 8191, 16381, 32749];

    /// How many slots a frontend with backends has at least.
    pub(crate) const fn fewest_slots(self) -> usize {
        match self {
            Self::Maglev { table_size } if table_size > 0 => table_size as usize,
            _ => 1,
        }
    }
}

/// What load balancing is told once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Whether Kubernetes' services are taken from sources (`--disable-k8s-services`). Those of the API are in any case.
    pub kubernetes: bool,
    /// How backends are chosen.
    pub algorithm: Algorithm,
    /// `--node-port-range`.
    pub node_ports: PortRange,
    /// Addresses of pods on this node: a backend in one of these, or at an address of the node, is local.
    pub local: Vec<IpNet>,
    /// Frontends that there may be, of both families and scopes together: `--bpf-lb-map-max`.
    pub frontends_max: usize,
    /// Backends that there may be, of both families together.
    pub backends_max: usize,
    /// Slots that all frontends together may have: `--bpf-lb-slot-map-max`.
    pub slots_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        let port = |number| Port::new(number).unwrap_or(Port::MAX);
        Self {
            kubernetes: true,
            algorithm: Algorithm::Random,
            node_ports: PortRange::new(port(30_000), port(32_767))
                .unwrap_or_else(|_| unreachable!("30000 is less")),
            local: Vec::new(),
            frontends_max: 65_535,
            backends_max: 262_144,
            slots_max: 1_048_576,
        }
    }
}
