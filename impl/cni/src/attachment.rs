// SPDX-License-Identifier: Apache-2.0
//! What follows from the names of a container and its interface: the same at every call, so that no call needs state.

use netlink::MacAddr;
use sha2::{Digest, Sha256};

/// The interface whose endpoint is named by the container alone, as in 1.4.
const FIRST_INTERFACE: &str = "eth0";

/// One interface of one container. A container is named by letters, digits and `_.-` (checked where it comes in), so
/// that `:` separates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attachment {
    /// The container.
    pub container: String,
    /// Its interface.
    pub interface: String,
}

impl Attachment {
    /// Of these names.
    pub fn new(container: impl Into<String>, interface: impl Into<String>) -> Self {
        Self { container: container.into(), interface: interface.into() }
    }

    /// The agent's `container-id`: the container, and the interface unless it is `eth0`.
    pub fn container_id(&self) -> String {
        match self.interface.as_str() {
            FIRST_INTERFACE => self.container.clone(),
            interface => format!("{}:{interface}", self.container),
        }
    }

    /// The attachment of a `container-id`.
    pub fn of_container_id(id: &str) -> Self {
        match id.split_once(':') {
            Some((container, interface)) => Self::new(container, interface),
            None => Self::new(id, FIRST_INTERFACE),
        }
    }

    /// The name by which the agent's API finds the endpoint.
    pub fn endpoint(&self) -> String {
        format!("container-id:{}", self.container_id())
    }

    /// The name of the node's end of the veth pair, as in 1.4: `lxc` and the first twelve digits of a hash.
    pub fn node_interface(&self) -> String {
        let hex: String = self.hash("").iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        format!("lxc{hex}")
    }

    /// The Ethernet address of the pod's end.
    pub fn pod_mac(&self) -> MacAddr {
        self.mac("pod")
    }

    /// The Ethernet address of the node's end.
    pub fn node_mac(&self) -> MacAddr {
        self.mac("node")
    }

    /// Locally administered, unicast. Nobody else is on that link, so a hash is unique enough.
    fn mac(&self, end: &str) -> MacAddr {
        let [a, b, c, d, e, f, ..] = self.hash(end);
        MacAddr([a & 0xfe | 0x02, b, c, d, e, f])
    }

    fn hash(&self, salt: &str) -> [u8; 32] {
        let mut text = self.container_id();
        if !salt.is_empty() {
            text.push('/');
            text.push_str(salt);
        }
        Sha256::digest(text).into()
    }
}

/// What is written on the node's end of each veth pair, so that GC knows whose it is, also when the agent has lost it
/// or is another one. The kernel keeps 255 bytes; the limits of the three names leave room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alias {
    /// The network.
    pub network: String,
    /// The attachment.
    pub attachment: Attachment,
}

const ALIAS_PREFIX: &str = "cni";

impl Alias {
    /// As it is written. None of the names holds a space.
    pub fn text(&self) -> String {
        format!("{ALIAS_PREFIX} {} {} {}", self.network, self.attachment.container, self.attachment.interface)
    }

    /// What an alias says, if it is one of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let (prefix, network, container, interface) =
            (words.next()?, words.next()?, words.next()?, words.next()?);
        let ours = prefix == ALIAS_PREFIX && words.next().is_none();
        let full = ![network, container, interface].contains(&"");
        (ours && full)
            .then(|| Self { network: network.into(), attachment: Attachment::new(container, interface) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{conf, invocation};

    #[test]
    fn names_are_those_of_1_4() {
        // printf c1 | sha256sum
        let attachment = Attachment::new("c1", "eth0");
        assert_eq!(attachment.node_interface(), "lxcd0f631ca1ddb");
        assert_eq!(attachment.endpoint(), "container-id:c1");
    }

    #[test]
    fn a_second_interface_of_a_container_has_names_of_its_own() {
        let (first, second) = (Attachment::new("c1", "eth0"), Attachment::new("c1", "net1"));
        assert_ne!(first.node_interface(), second.node_interface());
        assert_eq!(second.endpoint(), "container-id:c1:net1");
        for attachment in [first, second] {
            assert_eq!(Attachment::of_container_id(&attachment.container_id()), attachment);
            assert_eq!(attachment.node_interface().len(), 15);
        }
    }

    #[test]
    fn addresses_are_unicast_and_locally_administered_and_differ() {
        let attachment = Attachment::new("c1", "eth0");
        let (pod, node) = (attachment.pod_mac(), attachment.node_mac());
        assert_ne!(pod, node);
        for mac in [pod, node, Attachment::new("c2", "eth0").pod_mac()] {
            assert_eq!(mac.0[0] & 0x03, 0x02, "{mac}");
        }
    }

    #[test]
    fn an_alias_of_the_longest_names_fits_into_the_kernel() {
        let alias = Alias {
            network: "n".repeat(conf::MAX_NAME),
            attachment: Attachment::new("c".repeat(invocation::MAX_CONTAINER_ID), "i".repeat(15)),
        };
        assert!(alias.text().len() < 256, "{}", alias.text().len());
        assert_eq!(Alias::parse(&alias.text()), Some(alias));
        for other in ["", "cni", "cni a b", "cni a b c d", "cni  b c", "x a b c"] {
            assert_eq!(Alias::parse(other), None, "{other:?}");
        }
    }
}
