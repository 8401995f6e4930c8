// SPDX-License-Identifier: Apache-2.0
//! Two ends between which traffic is sent: all that a workload or a probe knows of a topology.

use std::net::{IpAddr, SocketAddr};

use netlink::NetNs;

use crate::lab::{Origin, Seat};
use crate::plan::WorkloadKind;

/// A client's and a server's namespace with the addresses to use.
#[derive(Debug)]
pub struct Pair {
    /// Namespace of the client.
    pub client: NetNs,
    /// Namespace of the server; on `loopback` a second handle on the client's.
    pub server: NetNs,
    /// The control group of both, where their node has one.
    pub seat: Option<Seat>,
    /// The client's interface, whose MTU and offloads a report states.
    pub client_interface: String,
    /// The address at which the server listens.
    pub listen: IpAddr,
    /// The address that the client dials: the server's own, or a service's.
    pub dial: IpAddr,
    /// The port that the client dials when it is not the server's: a service's.
    pub dial_port: Option<u16>,
}

impl Pair {
    /// Where the client opens its sockets.
    pub fn client_origin(&self) -> Origin<'_> {
        Origin { netns: &self.client, seat: self.seat.as_ref() }
    }

    /// Where the server opens its sockets.
    pub fn server_origin(&self) -> Origin<'_> {
        Origin { netns: &self.server, seat: self.seat.as_ref() }
    }

    /// Where the server of this kind of traffic listens.
    pub fn listen_address(&self, kind: WorkloadKind) -> SocketAddr {
        SocketAddr::new(self.listen, kind.port())
    }

    /// Where the client of this kind of traffic sends to.
    pub fn dial_address(&self, kind: WorkloadKind) -> SocketAddr {
        SocketAddr::new(self.dial, self.dial_port.unwrap_or(kind.port()))
    }
}
