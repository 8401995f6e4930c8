// SPDX-License-Identifier: Apache-2.0
//! Two nodes joined by a wire and a VXLAN tunnel, as flannel's vxlan backend sets it up.

use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};
use netlink::{MacAddr, NetlinkError, Route, Vxlan};

use super::routed::attach;
use super::{BuildError, MTU, Parts, Site};
use crate::lab::{LinkSide, Node, connect};

/// Outer IP, UDP and VXLAN headers and the inner Ethernet header, bytes.
const OVERHEAD: u32 = 50;
const WIRE: &str = "wire0";
const TUNNEL: &str = "flannel.1";

/// One node's addresses.
#[derive(Clone, Copy)]
struct Side {
    wire: Ipv4Addr,
    /// Its pods; the first address is the tunnel device's own.
    pods: Ipv4Net,
    mac: MacAddr,
}

const CLIENT: Side = Side {
    wire: Ipv4Addr::new(192, 168, 77, 1),
    pods: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 1, 0), 24),
    mac: MacAddr([0x02, 0x00, 0x5e, 0x00, 0x01, 0x01]),
};
const SERVER: Side = Side {
    wire: Ipv4Addr::new(192, 168, 77, 2),
    pods: Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 2, 0), 24),
    mac: MacAddr([0x02, 0x00, 0x5e, 0x00, 0x01, 0x02]),
};

pub(super) fn vxlan(site: &Site<'_>) -> Result<Parts, BuildError> {
    let (client_node, server_node) = (site.node("node1")?, site.node("node2")?);
    let (client_wire, server_wire) =
        connect(LinkSide::new(&client_node, WIRE), LinkSide::new(&server_node, WIRE), MTU)?;
    tunnel(&client_node, CLIENT, SERVER, server_wire)?;
    tunnel(&server_node, SERVER, CLIENT, client_wire)?;
    let client = site.pod("client", "eth0", Ipv4Addr::new(10, 244, 1, 2).into())?;
    attach(&client_node, &client, "veth-client", None, MTU - OVERHEAD)?;
    let server = site.pod("server", "eth0", Ipv4Addr::new(10, 244, 2, 2).into())?;
    attach(&server_node, &server, "veth-server", None, MTU - OVERHEAD)?;
    let nodes = vec![client_node, server_node];
    Ok(Parts { client, server: Some(server), agent: None, nodes, world: None, service: None, forwards: true })
}

/// Wire and tunnel of one node: everything is entered by hand, nothing is learnt or asked for.
fn tunnel(node: &Node, own: Side, other: Side, other_wire: MacAddr) -> Result<(), NetlinkError> {
    let netlink = node.netlink();
    netlink.add_address(WIRE, IpNet::new_assert(own.wire.into(), 24))?;
    netlink.set_neighbour(WIRE, other.wire.into(), other_wire)?;
    netlink.add_vxlan(&Vxlan {
        name: TUNNEL,
        vni: 1,
        port: 8472,
        local: own.wire,
        device: WIRE,
        learning: false,
    })?;
    netlink.set_mac(TUNNEL, own.mac)?;
    netlink.set_mtu(TUNNEL, MTU - OVERHEAD)?;
    netlink.add_address(TUNNEL, IpNet::from(std::net::IpAddr::from(own.pods.network())))?;
    netlink.set_up(TUNNEL)?;
    let gateway = other.pods.network();
    netlink.add_route(&Route::onlink(other.pods.into(), gateway.into(), TUNNEL))?;
    netlink.set_neighbour(TUNNEL, gateway.into(), other.mac)?;
    netlink.set_fdb(TUNNEL, other.mac, other.wire.into())
}
