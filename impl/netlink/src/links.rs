// SPDX-License-Identifier: Apache-2.0
//! Links that are there: looking them up, changing and deleting them.

use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::link::{InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkMessage};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use crate::{MacAddr, NetNs, Netlink, NetlinkError};

/// A link as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Interface index in its namespace.
    pub index: u32,
    /// Name.
    pub name: String,
    /// Kind (`veth`, `bridge`, …); `None` for loopback and hardware.
    pub kind: Option<String>,
    /// Ethernet address, for links that have one.
    pub mac: Option<MacAddr>,
    /// MTU, bytes.
    pub mtu: u32,
    /// Administratively up.
    pub up: bool,
    /// Whether it resolves neighbours (ARP, neighbour discovery).
    pub arp: bool,
    /// Interface index of the other end or the parent device, in *its* namespace.
    pub peer: Option<u32>,
    /// Interface index of the bridge (or bond) that it is a port of.
    pub controller: Option<u32>,
    /// What somebody wrote on it (`ip link set … alias`).
    pub alias: Option<String>,
}

impl From<LinkMessage> for Link {
    fn from(message: LinkMessage) -> Self {
        let mut link = Self {
            index: message.header.index,
            name: String::new(),
            kind: None,
            mac: None,
            mtu: 0,
            up: message.header.flags.contains(LinkFlags::Up),
            arp: !message.header.flags.contains(LinkFlags::Noarp),
            peer: None,
            controller: None,
            alias: None,
        };
        for attribute in message.attributes {
            match attribute {
                LinkAttribute::IfName(name) => link.name = name,
                LinkAttribute::Mtu(mtu) => link.mtu = mtu,
                LinkAttribute::Address(bytes) => link.mac = MacAddr::from_bytes(&bytes),
                LinkAttribute::Link(index) => link.peer = Some(index),
                LinkAttribute::Controller(index) => link.controller = Some(index),
                LinkAttribute::IfAlias(alias) => link.alias = Some(alias),
                LinkAttribute::LinkInfo(infos) => link.kind = infos.iter().find_map(kind),
                _ => {}
            }
        }
        link
    }
}

fn kind(info: &LinkInfo) -> Option<String> {
    match info {
        LinkInfo::Kind(InfoKind::Other(kind)) => Some(kind.clone()),
        LinkInfo::Kind(kind) => Some(kind.to_string()),
        _ => None,
    }
}

impl Netlink {
    /// All links of the namespace, by interface index.
    ///
    /// # Errors
    /// [`NetlinkError`] of the dump.
    pub fn links(&self) -> Result<Vec<Link>, NetlinkError> {
        let messages = self.collect("list the links of", self.handle.link().get().execute())?;
        Ok(messages.into_iter().map(Link::from).collect())
    }

    /// The link of this name.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] when there is none.
    pub fn link(&self, name: &str) -> Result<Link, NetlinkError> {
        let request = self.handle.link().get().match_name(name).execute();
        let action = "look up link";
        let found = self.wait(action, name, async {
            futures_util::TryStreamExt::try_next(&mut std::pin::pin!(request)).await
        })?;
        found.map(Link::from).ok_or_else(|| NetlinkError::Missing { action, object: name.into() })
    }

    pub(crate) fn index(&self, name: &str) -> Result<u32, NetlinkError> {
        Ok(self.link(name)?.index)
    }

    fn change(
        &self,
        action: &'static str,
        name: &str,
        what: impl FnOnce(LinkMessageBuilder<LinkUnspec>) -> LinkMessageBuilder<LinkUnspec>,
    ) -> Result<(), NetlinkError> {
        let message = what(LinkUnspec::new_with_index(self.index(name)?)).build();
        self.wait(action, name, self.handle.link().change(message).execute())
    }

    /// Brings a link up.
    ///
    /// # Errors
    /// [`NetlinkError`]; [`NetlinkError::Missing`] when there is no such link (so for all changes below).
    pub fn set_up(&self, name: &str) -> Result<(), NetlinkError> {
        self.change("bring up link", name, |link| link.up())
    }

    /// Takes a link down.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn set_down(&self, name: &str) -> Result<(), NetlinkError> {
        self.change("take down link", name, |link| link.down())
    }

    /// Lets a link resolve neighbours, or not: without, packets leave with the link's own address as destination.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn set_arp(&self, name: &str, on: bool) -> Result<(), NetlinkError> {
        self.change("set whether to resolve neighbours on link", name, |link| link.arp(on))
    }

    /// Sets the MTU, bytes.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn set_mtu(&self, name: &str, mtu: u32) -> Result<(), NetlinkError> {
        self.change("set the MTU of link", name, |link| link.mtu(mtu))
    }

    /// Sets the Ethernet address.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn set_mac(&self, name: &str, mac: MacAddr) -> Result<(), NetlinkError> {
        self.change("set the address of link", name, |link| link.address(mac.0.to_vec()))
    }

    /// Renames a link (old kernels: only while it is down).
    ///
    /// # Errors
    /// [`NetlinkError::Exists`] when the new name is taken.
    pub fn rename(&self, name: &str, new: &str) -> Result<(), NetlinkError> {
        self.change("rename link", name, |link| link.name(new))
    }

    /// Moves a link into another namespace; it arrives there down and without addresses.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn move_to(&self, name: &str, netns: &NetNs) -> Result<(), NetlinkError> {
        self.change("move link", name, |link| link.setns_by_fd(netns.as_fd().as_raw_fd()))
    }

    /// Makes a link a port of a bridge.
    ///
    /// # Errors
    /// [`NetlinkError`].
    pub fn enslave(&self, name: &str, bridge: &str) -> Result<(), NetlinkError> {
        let bridge = self.index(bridge)?;
        self.change("enslave link", name, |link| link.controller(bridge))
    }

    /// Deletes a link, and with it its other end.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] when it is not there.
    pub fn delete_link(&self, name: &str) -> Result<(), NetlinkError> {
        let index = self.index(name)?;
        self.wait("delete link", name, self.handle.link().del(index).execute())
    }
}
