// SPDX-License-Identifier: Apache-2.0
//! What the datapath is to have: a row for each frontend and for each backend.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use addr::{Port, Protocol};
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

/// Where a connection comes from, for services whose external traffic stays on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Scope {
    /// From outside; from everywhere, if the frontend has no row of the other scope.
    External,
    /// From pods and from the node.
    Internal,
}

/// What clients connect to: the key of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Frontend {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: Port,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
    /// Whose connections.
    pub scope: Scope,
}

impl Frontend {
    /// Address and port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.get())
    }
}

impl fmt::Display for Frontend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.socket(), self.protocol)?;
        match self.scope {
            Scope::External => Ok(()),
            Scope::Internal => f.write_str("/internal"),
        }
    }
}

/// Why a frontend is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FrontendKind {
    /// `spec.clusterIPs`.
    ClusterIp,
    /// `spec.ports[].nodePort`, at each address of the node.
    NodePort,
    /// `spec.externalIPs`.
    ExternalIps,
    /// `status.loadBalancer.ingress[].ip`.
    LoadBalancer,
    /// `spec.containers[].ports[].hostPort` of a pod, at each address of the node or at `hostIP`.
    HostPort,
    /// `PUT /service/{id}`.
    Api,
}

impl FrontendKind {
    /// The word for lists.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ClusterIp => "ClusterIP",
            Self::NodePort => "NodePort",
            Self::ExternalIps => "ExternalIPs",
            Self::LoadBalancer => "LoadBalancer",
            Self::HostPort => "HostPort",
            Self::Api => "API",
        }
    }

    /// Of two that want a frontend, the lesser has it: an address that the cluster gave before one that a user wrote into the
    /// object.
    pub(crate) const fn precedence(self) -> u8 {
        match self {
            Self::Api => 0,
            Self::ClusterIp => 1,
            Self::NodePort => 2,
            Self::LoadBalancer => 3,
            Self::ExternalIps => 4,
            Self::HostPort => 5,
        }
    }

    /// Whether what comes from the network is translated too.
    pub const fn is_external(self) -> bool {
        !matches!(self, Self::ClusterIp | Self::Api)
    }

    /// Whether the address is the node's own.
    pub const fn is_of_node(self) -> bool {
        matches!(self, Self::NodePort | Self::HostPort)
    }
}

/// The last id of a frontend. The programs have the next one, 65535, for frontends of other nodes (`CT_DSR_INDEX`).
pub const FRONTEND_ID_MAX: u16 = 65_534;

/// The row of a frontend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceRow {
    /// From 1 to [`FRONTEND_ID_MAX`]; each row has its own, and answers are told by it whose address they carry.
    pub id: u16,
    /// Why it is there.
    pub kind: FrontendKind,
    /// How long a client keeps its backend, seconds.
    pub affinity_timeout_s: Option<u32>,
    /// Whose connections are let in, by ranges of the frontend's family, sorted; an empty list: nobody's. None: everybody's.
    pub source_ranges: Option<Arc<[IpNet]>>,
    /// Whether there is a row of [`Scope::Internal`] beside this one of [`Scope::External`].
    pub two_scopes: bool,
    /// The ids of backends by slot, from slot 1: each once, or a Maglev table. Empty: connections are refused.
    pub slots: Vec<u32>,
    /// Whose it is, readable: `namespace/name:port` of a service, `pod namespace/name`, `api`.
    pub owner: String,
}

/// Where a backend listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BackendAddress {
    /// The address.
    pub address: IpAddr,
    /// The port.
    pub port: Port,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

impl BackendAddress {
    /// Address and port.
    pub fn socket(&self) -> SocketAddr {
        SocketAddr::new(self.address, self.port.get())
    }
}

impl fmt::Display for BackendAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.socket(), self.protocol)
    }
}

/// Whether a backend takes new connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendState {
    /// It takes new connections.
    Active,
    /// It ends, and keeps the connections that it has. It is given new ones only where nobody else is there
    /// (Kubernetes' KEP 1669).
    Terminating,
    /// It does not end, and keeps the connections that it has. It is given no new ones until it is ready.
    NotReady,
}

/// The row of a backend. While it is there, connections to it go on, whichever slots name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackendRow {
    /// Where it listens.
    pub address: BackendAddress,
    /// Whether it takes new connections.
    pub state: BackendState,
}

/// The ids that an earlier run gave, as the kernel's tables have them: connections know their frontends and backends by
/// them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restored {
    /// Of frontends.
    pub frontends: BTreeMap<Frontend, u16>,
    /// Those of them that have no slots: who has some comes first where there is not room for all.
    pub without_slots: BTreeSet<Frontend>,
    /// Of backends.
    pub backends: BTreeMap<BackendAddress, u32>,
}
