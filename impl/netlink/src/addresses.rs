// SPDX-License-Identifier: Apache-2.0
//! Addresses of links.

use std::net::IpAddr;

use ipnet::IpNet;
use rtnetlink::packet_route::address::{AddressAttribute, AddressHeaderFlags, AddressMessage};

use crate::{Netlink, NetlinkError};

impl Netlink {
    /// Adds an address with its prefix length. IPv6: without duplicate address detection, usable at once.
    ///
    /// # Errors
    /// [`NetlinkError::Exists`]; [`NetlinkError::Missing`] without the device.
    pub fn add_address(&self, device: &str, address: IpNet) -> Result<(), NetlinkError> {
        let mut request =
            self.handle.address().add(self.index(device)?, address.addr(), address.prefix_len());
        if address.addr().is_ipv6() {
            request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
        }
        self.wait("add address", &format!("{address} to {device}"), request.execute())
    }

    /// The addresses of a link, both families.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] without the device.
    pub fn addresses(&self, device: &str) -> Result<Vec<IpNet>, NetlinkError> {
        let request = self.handle.address().get().set_link_index_filter(self.index(device)?);
        let messages = self.collect("list the addresses of", request.execute())?;
        Ok(messages.iter().filter_map(address).collect())
    }
}

/// The interface's own address: `IFA_LOCAL` where there is one (on a point-to-point link `IFA_ADDRESS` is the peer's).
fn address(message: &AddressMessage) -> Option<IpNet> {
    let find = |local: bool| {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Local(address) if local => Some(*address),
            AddressAttribute::Address(address) if !local => Some(*address),
            _ => None,
        })
    };
    let own: IpAddr = find(true).or_else(|| find(false))?;
    IpNet::new(own, message.header.prefix_len).ok()
}
