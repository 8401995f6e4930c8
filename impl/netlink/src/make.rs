// SPDX-License-Identifier: Apache-2.0
//! Links that are made: veth and netkit pairs, bridges, VXLAN and ipvlan devices.

use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};

use rtnetlink::packet_route::link::{
    InfoData, InfoNetkit, InfoVeth, IpVlanMode, LinkMessage, NetkitMode as KernelNetkitMode, NetkitPolicy,
};
use rtnetlink::{LinkBridge, LinkIpVlan, LinkMessageBuilder, LinkNetkit, LinkUnspec, LinkVeth, LinkVxlan};

use crate::{MacAddr, NetNs, Netlink, NetlinkError};

/// One end of a pair of links.
#[derive(Clone, Copy, Debug)]
pub struct LinkEnd<'a> {
    /// Name, at most 15 bytes.
    pub name: &'a str,
    /// The namespace in which it is made; it is never seen in another one.
    pub netns: &'a NetNs,
    /// MTU, bytes; `None` for the kernel's own choice.
    pub mtu: Option<u32>,
    /// Ethernet address; `None` for a random one.
    pub mac: Option<MacAddr>,
}

impl<'a> LinkEnd<'a> {
    /// An end with the kernel's own choice of MTU and address.
    pub fn new(name: &'a str, netns: &'a NetNs) -> Self {
        Self { name, netns, mtu: None, mac: None }
    }

    /// With this MTU, bytes.
    pub fn mtu(self, mtu: u32) -> Self {
        Self { mtu: Some(mtu), ..self }
    }

    /// With this Ethernet address.
    pub fn mac(self, mac: MacAddr) -> Self {
        Self { mac: Some(mac), ..self }
    }

    fn apply<T>(&self, mut link: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
        link = link.setns_by_fd(self.netns.as_fd().as_raw_fd());
        if let Some(mtu) = self.mtu {
            link = link.mtu(mtu);
        }
        if let Some(mac) = self.mac {
            link = link.address(mac.0.to_vec());
        }
        link
    }

    fn message(&self) -> LinkMessage {
        self.apply(LinkUnspec::new_with_name(self.name)).build()
    }
}

/// How ipvlan hands packets between a parent and its children.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IpvlanMode {
    /// By Ethernet address; broadcasts pass.
    L2,
    /// By IP address, past the parent's namespace and its netfilter hooks.
    L3,
    /// As L3, with the parent's netfilter hooks.
    L3s,
}

/// Whether packets on a netkit pair have Ethernet headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NetkitMode {
    /// With Ethernet addresses and ARP.
    L2,
    /// IP only.
    L3,
}

/// A VXLAN device.
#[derive(Clone, Debug)]
pub struct Vxlan<'a> {
    /// Name, at most 15 bytes.
    pub name: &'a str,
    /// VXLAN network identifier.
    pub vni: u32,
    /// UDP port.
    pub port: u16,
    /// Source address of the outer packets.
    pub local: Ipv4Addr,
    /// The device that outer packets leave by.
    pub device: &'a str,
    /// Whether it learns remote addresses from packets that come in.
    pub learning: bool,
}

/// The message that makes a veth pair.
pub(crate) fn veth(end: &LinkEnd<'_>, peer: &LinkEnd<'_>) -> LinkMessage {
    end.apply(LinkVeth::new(end.name, peer.name))
        .set_info_data(InfoData::Veth(InfoVeth::Peer(peer.message())))
        .build()
}

impl Netlink {
    fn create(&self, action: &'static str, name: &str, message: LinkMessage) -> Result<(), NetlinkError> {
        self.wait(action, name, self.handle.link().add(message).execute())
    }

    /// Makes a veth pair with each end in its own namespace. Both ends are down.
    ///
    /// # Errors
    /// [`NetlinkError::Exists`] when either name is taken.
    pub fn add_veth(&self, end: &LinkEnd<'_>, peer: &LinkEnd<'_>) -> Result<(), NetlinkError> {
        let message = veth(end, peer);
        self.create("create veth pair", &format!("{} and {}", end.name, peer.name), message)
    }

    /// Makes a netkit pair that passes packets when no program is attached (policy `forward` at both ends), each end
    /// in its own namespace. Both ends are down. In [`NetkitMode::L3`] an Ethernet address is refused by the kernel.
    ///
    /// # Errors
    /// [`NetlinkError::Unsupported`] before Linux 6.7 or without `CONFIG_NETKIT`.
    pub fn add_netkit(
        &self,
        end: &LinkEnd<'_>,
        peer: &LinkEnd<'_>,
        mode: NetkitMode,
    ) -> Result<(), NetlinkError> {
        let mode = match mode {
            NetkitMode::L2 => KernelNetkitMode::L2,
            NetkitMode::L3 => KernelNetkitMode::L3,
        };
        let message = end
            .apply(LinkNetkit::new(end.name, peer.name, mode))
            .set_info_data(InfoData::Netkit(vec![
                InfoNetkit::Mode(mode),
                InfoNetkit::Policy(NetkitPolicy::Pass),
                InfoNetkit::PeerPolicy(NetkitPolicy::Pass),
                InfoNetkit::Peer(peer.message()),
            ]))
            .build();
        self.create("create netkit pair", &format!("{} and {}", end.name, peer.name), message)
    }

    /// Makes a bridge, up.
    ///
    /// # Errors
    /// [`NetlinkError::Exists`], [`NetlinkError::Unsupported`].
    pub fn add_bridge(&self, name: &str) -> Result<(), NetlinkError> {
        self.create("create bridge", name, LinkBridge::new(name).build())
    }

    /// Makes a VXLAN device, down.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] without its device, [`NetlinkError::Unsupported`].
    pub fn add_vxlan(&self, vxlan: &Vxlan<'_>) -> Result<(), NetlinkError> {
        let message = LinkVxlan::new(vxlan.name, vxlan.vni)
            .dev(self.index(vxlan.device)?)
            .local(vxlan.local)
            .port(vxlan.port)
            .learning(vxlan.learning)
            .build();
        self.create("create vxlan device", vxlan.name, message)
    }

    /// Makes an ipvlan device over `parent`, in the namespace of `end`. It is down. It has its parent's Ethernet
    /// address, so `end.mac` must be `None`.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] without its parent, [`NetlinkError::Unsupported`] without `CONFIG_IPVLAN`.
    pub fn add_ipvlan(&self, end: &LinkEnd<'_>, parent: &str, mode: IpvlanMode) -> Result<(), NetlinkError> {
        let mode = match mode {
            IpvlanMode::L2 => IpVlanMode::L2,
            IpvlanMode::L3 => IpVlanMode::L3,
            IpvlanMode::L3s => IpVlanMode::L3S,
        };
        let message = end.apply(LinkIpVlan::new(end.name, self.index(parent)?, mode)).build();
        self.create("create ipvlan device", end.name, message)
    }
}
