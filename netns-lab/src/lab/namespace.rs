// SPDX-License-Identifier: Apache-2.0
//! Nodes and pods: namespaces that go when they are dropped.

use std::net::IpAddr;

use netlink::{NetNs, Netlink, NetlinkError, set_sysctl};

use super::{Lab, LabError};
use crate::cni::Attachment;

/// A named network namespace that is deleted when it is dropped, unless its lab is kept.
#[derive(Debug)]
pub struct Namespace {
    netns: NetNs,
    netlink: Netlink,
    lab: Lab,
}

impl Namespace {
    /// Makes the namespace `<lab>-<name>` with loopback up. IPv6 is off and reverse path filtering too, so that neither
    /// router solicitations nor this machine's defaults show in what is measured.
    ///
    /// # Errors
    /// [`LabError::NetNs`], [`LabError::Netlink`].
    pub fn create(lab: &Lab, name: &str) -> Result<Self, LabError> {
        let netns = NetNs::create(&format!("{}-{name}", lab.name()))?;
        let netlink = match Netlink::open(&netns) {
            Ok(netlink) => netlink,
            Err(e) => {
                // Nobody owns it yet.
                NetNs::delete(netns.name())?;
                return Err(e.into());
            }
        };
        let namespace = Self { netns, netlink, lab: lab.clone() };
        namespace.netlink.set_up("lo")?;
        for scope in ["all", "default"] {
            namespace.set_sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "0")?;
            match namespace.set_sysctl(&format!("net/ipv6/conf/{scope}/disable_ipv6"), "1") {
                // A kernel without IPv6.
                Ok(()) | Err(NetlinkError::Missing { .. }) => {}
                Err(e) => return Err(e.into()),
            }
        }
        Ok(namespace)
    }

    /// The namespace.
    pub fn netns(&self) -> &NetNs {
        &self.netns
    }

    /// A netlink socket in it.
    pub fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    /// The lab that it is part of.
    pub fn lab(&self) -> &Lab {
        &self.lab
    }

    /// Turns IPv6 on, without what would show in packets that nobody sent: router solicitations, and the second that a
    /// new address waits for a duplicate of itself.
    ///
    /// # Errors
    /// As [`netlink::set_sysctl`].
    pub fn enable_ipv6(&self) -> Result<(), NetlinkError> {
        for scope in ["all", "default"] {
            for (name, value) in [("accept_dad", "0"), ("accept_ra", "0"), ("disable_ipv6", "0")] {
                self.set_sysctl(&format!("net/ipv6/conf/{scope}/{name}"), value)?;
            }
        }
        // Loopback has lost its address when IPv6 was turned off.
        self.set_sysctl("net/ipv6/conf/lo/disable_ipv6", "0")
    }

    /// Writes a sysctl in it; `name` with slashes.
    ///
    /// # Errors
    /// As [`netlink::set_sysctl`].
    pub fn set_sysctl(&self, name: &str, value: &str) -> Result<(), NetlinkError> {
        set_sysctl(&self.netns, name, value)
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        if self.lab.is_kept() {
            return;
        }
        if let Err(e) = NetNs::delete(self.netns.name()) {
            eprintln!("netns-lab: {e}");
        }
    }
}

/// A namespace that forwards between its links, as a Kubernetes node does.
#[derive(Debug)]
pub struct Node(Namespace);

impl Node {
    /// Makes a node.
    ///
    /// # Errors
    /// As [`Namespace::create`].
    pub fn create(lab: &Lab, name: &str) -> Result<Self, LabError> {
        let namespace = Namespace::create(lab, name)?;
        namespace.set_sysctl("net/ipv4/ip_forward", "1")?;
        Ok(Self(namespace))
    }
}

impl std::ops::Deref for Node {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.0
    }
}

/// A namespace with one interface to the outside.
#[derive(Debug)]
pub struct Pod {
    attachment: Option<Attachment>,
    namespace: Namespace,
    interface: String,
    address: IpAddr,
}

impl Pod {
    /// Makes a pod with nothing but loopback, whose interface and address are to be these.
    ///
    /// # Errors
    /// As [`Namespace::create`].
    pub fn create(lab: &Lab, name: &str, interface: &str, address: IpAddr) -> Result<Self, LabError> {
        let namespace = Namespace::create(lab, name)?;
        Ok(Self { attachment: None, namespace, interface: interface.into(), address })
    }

    /// Makes a pod of a namespace that a CNI plugin has attached.
    pub fn attached(namespace: Namespace, attachment: Attachment, interface: &str, address: IpAddr) -> Self {
        Self { attachment: Some(attachment), namespace, interface: interface.into(), address }
    }

    /// Name of its interface.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Its address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// All its addresses, the first being [`Self::address`].
    pub fn addresses(&self) -> Vec<IpAddr> {
        let given = self.attachment.iter().flat_map(|made| made.result.addresses_of(&self.interface));
        let others = given.filter(|address| *address != self.address);
        std::iter::once(self.address).chain(others).collect()
    }

    /// What the CNI plugin has made, if one has.
    pub fn attachment(&self) -> Option<&Attachment> {
        self.attachment.as_ref()
    }
}

impl std::ops::Deref for Pod {
    type Target = Namespace;

    fn deref(&self) -> &Namespace {
        &self.namespace
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        if self.namespace.lab.is_kept() {
            return;
        }
        // Before the namespace goes: the plugin looks into it.
        if let Some(attachment) = &self.attachment
            && let Err(e) = attachment.delete()
        {
            eprintln!("netns-lab: {e}");
        }
    }
}
