// SPDX-License-Identifier: Apache-2.0
//! The veth pair between node and pod.

use std::net::IpAddr;

use netlink::{Batch, BatchSocket, LinkEnd, NetNs, NetlinkError, Route, set_sysctls};

use crate::attachment::Attachment;
use crate::error::Error;
use crate::result::{End, PodAddress};

/// A pair that is made.
pub struct Pair<'a> {
    attachment: &'a Attachment,
    name: String,
    node: BatchSocket,
}

/// A pair that has been made.
#[derive(Debug)]
pub struct Ends {
    /// The node's end.
    pub node: End,
    /// Its interface index.
    pub node_index: u32,
    /// The pod's end.
    pub pod: End,
}

impl<'a> Pair<'a> {
    /// Opens a socket in the node's namespace, which is the plugin's own; makes nothing yet.
    ///
    /// # Errors
    /// [`Error::Network`].
    pub fn open(attachment: &'a Attachment) -> Result<Self, Error> {
        Ok(Self { attachment, name: attachment.node_interface(), node: BatchSocket::here()? })
    }

    /// Refuses a container that is attached already, before the agent is asked for anything.
    ///
    /// # Errors
    /// [`Error::Attached`], [`Error::Network`].
    pub fn must_be_absent(&mut self) -> Result<(), Error> {
        match self.node.link(&self.name) {
            Err(NetlinkError::Missing { .. }) => Ok(()),
            Ok(_) => Err(self.attached(format!("the node has its other end, {}", self.name))),
            Err(e) => Err(e.into()),
        }
    }

    fn attached(&self, what: String) -> Error {
        let Attachment { container, interface } = self.attachment.clone();
        Error::Attached { container, interface, what }
    }

    /// Makes both ends, each where it belongs: the pod's end is never seen on the node, under no name, so that nothing
    /// there (a network manager, `udev`) lays hands on it, and no rename is needed.
    ///
    /// # Errors
    /// [`Error::Attached`] when the pod has an interface of that name, [`Error::Network`].
    pub fn create(&mut self, node: &NetNs, pod: &NetNs, mtu: u32) -> Result<(), Error> {
        let near = LinkEnd::new(&self.name, node).mtu(mtu).mac(self.attachment.node_mac());
        let far = LinkEnd::new(&self.attachment.interface, pod).mtu(mtu).mac(self.attachment.pod_mac());
        let mut batch = Batch::new();
        batch.add_veth(&near, &far);
        self.node.send(&batch).map_err(|e| match e {
            NetlinkError::Exists { .. } => self.attached(e.to_string()),
            e => e.into(),
        })
    }

    /// Brings both ends up, with all that belongs to them.
    ///
    /// # Errors
    /// [`Error::Network`].
    pub fn configure(
        &mut self,
        node: &NetNs,
        pod: &NetNs,
        alias: &str,
        addresses: &[PodAddress],
        route_mtu: u32,
    ) -> Result<Ends, Error> {
        let interface = &self.attachment.interface;
        node_settings(node, &self.name)?;
        let mut batch = Batch::new();
        batch.set_up_with_alias(&self.name, alias);
        self.node.send(&batch)?;

        if addresses.iter().any(|address| address.gateway.is_ipv6()) {
            pod_ipv6_settings(pod, interface)?;
        }
        let mut there = BatchSocket::open(pod)?;
        let link = there.link(interface)?;
        let mut batch = Batch::new();
        batch.set_up(interface);
        for address in addresses {
            self.add(&mut batch, link.index, address, route_mtu)?;
        }
        there.send(&batch)?;
        let node_index = link.peer.ok_or_else(|| NetlinkError::Missing {
            action: "look up the other end of",
            object: interface.clone(),
        })?;
        Ok(Ends {
            node: End { name: self.name.clone(), mac: self.attachment.node_mac() },
            node_index,
            pod: End { name: interface.clone(), mac: self.attachment.pod_mac() },
        })
    }

    /// An address, the router on the link, and everything else by way of it. The router's Ethernet address is known:
    /// the first packet need not ask for it.
    fn add(&self, batch: &mut Batch, index: u32, pod: &PodAddress, mtu: u32) -> Result<(), Error> {
        let router: IpAddr = pod.gateway;
        let link = Route { mtu: Some(mtu), ..Route::link(router.into(), &self.attachment.interface) };
        let default =
            Route { destination: pod.anywhere(), via: Some(router), scope_link: false, ..link.clone() };
        batch.add_address(index, pod.address);
        batch.set_neighbour(index, router, self.attachment.node_mac());
        batch.add_route(index, &link)?.add_route(index, &default)?;
        Ok(())
    }
}

/// Settings of the node's end.
fn node_settings(node: &NetNs, name: &str) -> Result<(), Error> {
    let ipv4 = |key: &str| format!("net/ipv4/conf/{name}/{key}");
    // The pod's source address is checked by the program on this interface, which knows it; the kernel's own check
    // would look for a route back by this interface, and there is none. Redirects would name hosts that are not on the link.
    let names = [ipv4("rp_filter"), ipv4("send_redirects")];
    set_sysctls(node, &[(&names[0], "0"), (&names[1], "0")])?;
    let ipv6 = |key: &str| format!("net/ipv6/conf/{name}/{key}");
    // No link-local address (1: none) and no router solicitations: nobody is there to hear them.
    let names = [ipv6("addr_gen_mode"), ipv6("accept_ra")];
    match set_sysctls(node, &[(&names[0], "1"), (&names[1], "0")]) {
        // Without IPv6 in the kernel there is nothing to turn off.
        Err(NetlinkError::Missing { .. }) | Ok(()) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// IPv6 in the pod: on, also where the runtime turned it off; no duplicate address detection, for nobody else is on
/// the link, and it would delay the first packet by a second; no router advertisements.
fn pod_ipv6_settings(pod: &NetNs, interface: &str) -> Result<(), Error> {
    let name = |key: &str| format!("net/ipv6/conf/{interface}/{key}");
    let names = [name("disable_ipv6"), name("accept_dad"), name("accept_ra")];
    set_sysctls(pod, &[(&names[0], "0"), (&names[1], "0"), (&names[2], "0")])?;
    Ok(())
}
