// SPDX-License-Identifier: Apache-2.0
//! Neighbours (ARP, NDP) and forwarding entries of VXLAN devices.

use std::net::IpAddr;

use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};

use crate::{MacAddr, Netlink, NetlinkError};

/// An entry of the neighbour table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// Name of the link.
    pub device: String,
    /// The neighbour's address.
    pub address: IpAddr,
    /// Its Ethernet address; `None` while it is being looked for, after that failed, and on links without any.
    pub mac: Option<MacAddr>,
    /// Set by hand: never asked for again.
    pub permanent: bool,
    /// On a link without address resolution (`NOARP`).
    pub noarp: bool,
}

impl Netlink {
    /// Sets a permanent neighbour, in place of whatever is known of that address.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] without the device.
    pub fn set_neighbour(&self, device: &str, address: IpAddr, mac: MacAddr) -> Result<(), NetlinkError> {
        let request = self
            .handle
            .neighbours()
            .add(self.index(device)?, address)
            .link_layer_address(&mac.0)
            .state(NeighbourState::Permanent)
            .replace();
        self.wait("set neighbour", &format!("{address} at {mac} on {device}"), request.execute())
    }

    /// All neighbours, both families.
    ///
    /// # Errors
    /// [`NetlinkError`] of the dump.
    pub fn neighbours(&self) -> Result<Vec<Neighbour>, NetlinkError> {
        let links = self.links()?;
        let name = |index: u32| links.iter().find(|l| l.index == index).map(|l| l.name.clone());
        let messages = self.collect("list the neighbours of", self.handle.neighbours().get().execute())?;
        Ok(messages.into_iter().filter_map(|message| neighbour(message, &name)).collect())
    }

    /// Tells a VXLAN device that `mac` is behind the tunnel endpoint `destination`.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] without the device.
    pub fn set_fdb(&self, device: &str, mac: MacAddr, destination: IpAddr) -> Result<(), NetlinkError> {
        let request = self
            .handle
            .neighbours()
            .add_bridge(self.index(device)?, &mac.0)
            .destination(destination)
            .state(NeighbourState::Permanent)
            .flags(NeighbourFlags::Own)
            .replace();
        self.wait("set forwarding entry", &format!("{mac} to {destination} on {device}"), request.execute())
    }
}

fn neighbour(message: NeighbourMessage, name: &impl Fn(u32) -> Option<String>) -> Option<Neighbour> {
    if !matches!(message.header.family, AddressFamily::Inet | AddressFamily::Inet6) {
        return None;
    }
    let (mut address, mut mac) = (None, None);
    for attribute in message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => address = Some(v4.into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => address = Some(v6.into()),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = MacAddr::from_bytes(&bytes),
            _ => {}
        }
    }
    Some(Neighbour {
        device: name(message.header.ifindex)?,
        address: address?,
        mac,
        permanent: message.header.state == NeighbourState::Permanent,
        noarp: message.header.state == NeighbourState::Noarp,
    })
}
