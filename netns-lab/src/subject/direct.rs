// SPDX-License-Identifier: Apache-2.0
//! Pods without a node between them: loopback, a bare veth pair, a bare netkit pair.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use netlink::{LinkEnd, NetkitMode};

use super::{BuildError, MTU, Parts, Site};
use crate::lab::{LinkSide, connect};

const CLIENT: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 2));
const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 244, 0, 3));
const PREFIX: u8 = 24;

pub(super) fn loopback(site: &Site<'_>) -> Result<Parts, BuildError> {
    let client = site.pod("client", "lo", IpAddr::V4(Ipv4Addr::LOCALHOST))?;
    Ok(Parts {
        client,
        server: None,
        agent: None,
        nodes: Vec::new(),
        world: None,
        service: None,
        forwards: false,
    })
}

pub(super) fn veth(site: &Site<'_>) -> Result<Parts, BuildError> {
    let client = site.pod("client", "eth0", CLIENT)?;
    let server = site.pod("server", "eth0", SERVER)?;
    let (client_mac, server_mac) =
        connect(LinkSide::new(&client, "eth0"), LinkSide::new(&server, "eth0"), MTU)?;
    for (pod, peer, mac) in [(&client, SERVER, server_mac), (&server, CLIENT, client_mac)] {
        pod.netlink().add_address("eth0", IpNet::new_assert(pod.address(), PREFIX))?;
        pod.netlink().set_neighbour("eth0", peer, mac)?;
    }
    Ok(Parts {
        client,
        server: Some(server),
        agent: None,
        nodes: Vec::new(),
        world: None,
        service: None,
        forwards: false,
    })
}

/// In L3 mode, which is netkit's default: without Ethernet addresses there are no neighbours either.
pub(super) fn netkit(site: &Site<'_>) -> Result<Parts, BuildError> {
    let client = site.pod("client", "eth0", CLIENT)?;
    let server = site.pod("server", "eth0", SERVER)?;
    let end = |pod| LinkEnd::new("eth0", pod).mtu(MTU);
    client.netlink().add_netkit(&end(client.netns()), &end(server.netns()), NetkitMode::L3)?;
    for pod in [&client, &server] {
        pod.netlink().add_address("eth0", IpNet::new_assert(pod.address(), PREFIX))?;
        pod.netlink().set_up("eth0")?;
    }
    Ok(Parts {
        client,
        server: Some(server),
        agent: None,
        nodes: Vec::new(),
        world: None,
        service: None,
        forwards: false,
    })
}
