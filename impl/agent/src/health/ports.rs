// SPDX-License-Identifier: Apache-2.0
//! The ports as a target: opened, closed and tried again as the control plane says.

use std::collections::BTreeMap;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use addr::Port;
use controlplane::{Delta, Failure, Row};
use loadbalancer::HealthCheck;
use nix::sys::socket::{
    AddressFamily, Backlog, Shutdown, SockFlag, SockType, SockaddrIn, SockaddrIn6, SockaddrLike, bind,
    listen, setsockopt, shutdown, socket, sockopt,
};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::task::AbortHandle;

use super::serve::serve;
use crate::rest::CONNECTIONS;

/// Ports at once; each takes two sockets, one of each family.
pub const HEALTH_PORTS: usize = 1024;

/// Ports at which load balancers ask. What cannot be opened is a failure, and tried again.
#[derive(Debug)]
pub struct HealthPorts {
    runtime: Handle,
    /// Whether IPv4 is on, and whether IPv6 is.
    families: (bool, bool),
    open: BTreeMap<Port, Listening>,
    pending: BTreeMap<Port, (HealthCheck, String)>,
    /// Of all connections.
    connections: Arc<Semaphore>,
}

impl HealthPorts {
    /// Answers on this runtime, for these families.
    pub fn new(runtime: Handle, ipv4: bool, ipv6: bool) -> Self {
        let connections = Arc::new(Semaphore::new(CONNECTIONS));
        let families = (ipv4, ipv6);
        Self { runtime, families, open: BTreeMap::new(), pending: BTreeMap::new(), connections }
    }

    /// Opens, closes, and answers what is the case now.
    pub fn apply(&mut self, changes: &Delta<Port, HealthCheck>) {
        for port in &changes.removals {
            self.pending.remove(port);
            self.open.remove(port);
        }
        for (port, check) in &changes.upserts {
            self.set(*port, check.clone());
        }
    }

    /// Makes the ports as desired.
    pub fn resync(&mut self, desired: &BTreeMap<Port, HealthCheck>) {
        self.open.retain(|port, _| desired.contains_key(port));
        self.pending.clear();
        for (port, check) in desired {
            self.set(*port, check.clone());
        }
    }

    /// Tries again what failed.
    pub fn retry(&mut self) {
        for (port, (check, _)) in std::mem::take(&mut self.pending) {
            self.set(port, check);
        }
    }

    /// What is not as desired.
    pub fn failures(&self) -> impl Iterator<Item = Failure> {
        let failure = |(port, (check, reason)): (&Port, &(HealthCheck, String))| Failure {
            row: Row::HealthCheck(*port),
            reason: format!("load balancers cannot ask for {}: {reason}", check.service),
        };
        self.pending.iter().map(failure)
    }

    fn set(&mut self, port: Port, check: HealthCheck) {
        if let Some(listening) = self.open.get(&port) {
            listening.check.send_replace(check);
            return;
        }
        let opened = match self.open.len() < HEALTH_PORTS {
            true => self.listen(port, &check).map_err(|error| error.to_string()),
            false => Err(format!("all {HEALTH_PORTS} ports of this kind are open")),
        };
        match opened {
            Ok(listening) => {
                self.pending.remove(&port);
                self.open.insert(port, listening);
            }
            Err(reason) => {
                self.pending.insert(port, (check, reason));
            }
        }
    }

    /// Listens at every address, as kube-proxy does; one socket for each family.
    fn listen(&self, port: Port, check: &HealthCheck) -> io::Result<Listening> {
        // Those that are open already are closed when another cannot be.
        let mut listening = Listening { check: watch::Sender::new(check.clone()), sockets: Vec::new() };
        let ipv4 = self.families.0.then_some(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port.get())));
        let ipv6 = self.families.1.then_some(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port.get())));
        for address in ipv4.into_iter().chain(ipv6) {
            let told =
                |error: io::Error| io::Error::new(error.kind(), format!("listen on {address}: {error}"));
            let listener = open(address).map_err(told)?;
            let socket = OwnedFd::from(listener.try_clone()?);
            let listener = {
                let _reactor = self.runtime.enter();
                tokio::net::TcpListener::from_std(listener)?
            };
            let serving = serve(listener, listening.check.subscribe(), self.connections.clone());
            let task = self.runtime.spawn(serving).abort_handle();
            listening.sockets.push((socket, task));
        }
        Ok(listening)
    }
}

/// A listener that does not take the other family's connections: that has a listener of its own, which fails alone.
fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let socket = socket(family, SockType::Stream, flags, None)?;
    // Connections of an earlier listener may be ending.
    setsockopt(&socket, sockopt::ReuseAddr, &true)?;
    let bound: Box<dyn SockaddrLike> = match address {
        SocketAddr::V4(address) => Box::new(SockaddrIn::from(address)),
        SocketAddr::V6(address) => {
            setsockopt(&socket, sockopt::Ipv6V6Only, &true)?;
            Box::new(SockaddrIn6::from(address))
        }
    };
    bind(socket.as_raw_fd(), &*bound)?;
    listen(&socket, Backlog::new(64)?)?;
    Ok(TcpListener::from(socket))
}

/// A port that is open; closed when this is dropped.
#[derive(Debug)]
struct Listening {
    check: watch::Sender<HealthCheck>,
    sockets: Vec<(OwnedFd, AbortHandle)>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        for (socket, task) in &self.sockets {
            task.abort();
            // The task has the socket until it is run the next time: the port is free at once.
            if let Err(error) = shutdown(socket.as_raw_fd(), Shutdown::Both) {
                tracing::debug!(%error, "close a healthCheckNodePort");
            }
        }
    }
}
