// SPDX-License-Identifier: Apache-2.0
//! Veth pairs between two namespaces of a lab.

use netlink::{LinkEnd, MacAddr, NetlinkError};

use super::Namespace;

/// One side of a veth pair that is to be made.
#[derive(Clone, Copy, Debug)]
pub struct LinkSide<'a> {
    /// Where.
    pub namespace: &'a Namespace,
    /// Name of the interface there, at most 15 bytes.
    pub interface: &'a str,
    /// Ethernet address; `None` for a random one.
    pub mac: Option<MacAddr>,
}

impl<'a> LinkSide<'a> {
    /// A side with a random Ethernet address.
    pub fn new(namespace: &'a Namespace, interface: &'a str) -> Self {
        Self { namespace, interface, mac: None }
    }

    fn end(&self, mtu: u32) -> LinkEnd<'a> {
        LinkEnd { mac: self.mac, ..LinkEnd::new(self.interface, self.namespace.netns()).mtu(mtu) }
    }
}

/// Joins two namespaces by a veth pair, both ends up. It is made in place, never seen in any other namespace, and ends
/// with the first of the two. Returns the Ethernet addresses of `a` and `b`.
///
/// # Errors
/// [`NetlinkError`]; [`NetlinkError::Exists`] when an interface name is taken.
pub fn connect(a: LinkSide<'_>, b: LinkSide<'_>, mtu: u32) -> Result<(MacAddr, MacAddr), NetlinkError> {
    let netlink = a.namespace.netlink();
    netlink.add_veth(&a.end(mtu), &b.end(mtu))?;
    for side in [a, b] {
        side.namespace.netlink().set_up(side.interface)?;
    }
    let mac = |side: LinkSide<'_>| {
        let link = side.namespace.netlink().link(side.interface)?;
        link.mac.ok_or_else(|| NetlinkError::Missing {
            action: "read the Ethernet address of",
            object: side.interface.into(),
        })
    };
    Ok((mac(a)?, mac(b)?))
}
