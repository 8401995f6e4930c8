// SPDX-License-Identifier: Apache-2.0
//! Links, addresses, routes, rules, neighbours, sysctls, sockets and network namespaces, typed.
//!
//! A [`Netlink`] is a socket in one namespace. All its calls block until the kernel has answered. A [`BatchSocket`] is
//! for programs that run for milliseconds: it needs no executor, and many requests are one system call.

mod addresses;
mod batch;
mod error;
mod links;
mod mac;
mod make;
mod neighbours;
mod netns;
mod qdiscs;
mod routes;
mod rules;
mod socket;
mod sockets;
mod sysctl;

pub use batch::{Batch, BatchSocket};
pub use error::NetlinkError;
pub use links::Link;
pub use mac::{MacAddr, ParseMacError};
pub use make::{IpvlanMode, LinkEnd, NetkitMode, Vxlan};
pub use neighbours::Neighbour;
pub use netns::{NetNs, NetNsError};
pub use routes::Route;
pub use rules::Rule;
pub use socket::Netlink;
pub use sockets::{ConnectedSocket, SocketDiag, SocketProtocol};
pub use sysctl::{set_sysctl, set_sysctls, sysctl};
