// SPDX-License-Identifier: Apache-2.0
//! Pods on a node that routes between them: the baseline, and the ground that the emulations stand on.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};
use netlink::{MacAddr, NetlinkError, Route};

use super::{BuildError, MTU, Parts, Site};
use crate::lab::{LinkSide, Node, Pod, connect};

pub(super) const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);
pub(super) const SERVER: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 3);

/// The next hop of pods whose node has no address on their link; nobody has it, the node's Ethernet address is entered.
const GATEWAY: IpAddr = IpAddr::V4(Ipv4Addr::new(169, 254, 1, 1));

pub(super) fn routed(site: &Site<'_>) -> Result<Parts, BuildError> {
    let node = site.node("node")?;
    let client = site.pod("client", "eth0", CLIENT.into())?;
    attach(&node, &client, "veth-client", None, MTU)?;
    let server = site.pod("server", "eth0", SERVER.into())?;
    attach(&node, &server, "veth-server", None, MTU)?;
    Ok(Parts {
        client,
        server: Some(server),
        agent: None,
        nodes: vec![node],
        world: None,
        service: None,
        forwards: true,
    })
}

/// Joins a pod to its node by a veth: the pod has a /32 and a default route on the link, the node a /32 route.
pub(super) fn attach(
    node: &Node,
    pod: &Pod,
    node_interface: &str,
    node_mac: Option<MacAddr>,
    mtu: u32,
) -> Result<(), NetlinkError> {
    let node_side = LinkSide { mac: node_mac, ..LinkSide::new(node, node_interface) };
    let (node_mac, pod_mac) = connect(node_side, LinkSide::new(pod, pod.interface()), mtu)?;
    let host = IpNet::from(pod.address());
    let inside = pod.netlink();
    inside.add_address(pod.interface(), host)?;
    inside.add_route(&Route::onlink(Ipv4Net::default().into(), GATEWAY, pod.interface()))?;
    inside.set_neighbour(pod.interface(), GATEWAY, node_mac)?;
    node.netlink().add_route(&Route::link(host, node_interface))?;
    node.netlink().set_neighbour(node_interface, pod.address(), pod_mac)
}
