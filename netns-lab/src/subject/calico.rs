// SPDX-License-Identifier: Apache-2.0
//! Calico's datapath on one node, imitated: routed pods, and the chains and sets of its agent.

use netlink::MacAddr;

use super::plugins::NETWORK;
use super::routed::{CLIENT, SERVER, attach};
use super::{BuildError, MTU, Parts, Site};
use crate::rules::calico::{Endpoint, ipsets, rules};
use crate::rules::restore_ipsets;

/// Calico names the node's end of a veth after a hash of the pod.
const CLIENT_INTERFACE: &str = "cali12ab34cd56e";
const SERVER_INTERFACE: &str = "cali98fe76dc54b";
/// All of them have this address.
const MAC: MacAddr = MacAddr([0xee; 6]);

pub(super) fn calico_like(site: &Site<'_>) -> Result<Parts, BuildError> {
    let policies = site.count();
    let node = site.node("node")?;
    let client = site.pod("client", "eth0", CLIENT.into())?;
    attach(&node, &client, CLIENT_INTERFACE, Some(MAC), MTU)?;
    let server = site.pod("server", "eth0", SERVER.into())?;
    attach(&node, &server, SERVER_INTERFACE, Some(MAC), MTU)?;
    for interface in [CLIENT_INTERFACE, SERVER_INTERFACE] {
        node.set_sysctl(&format!("net/ipv4/conf/{interface}/proxy_arp"), "1")?;
    }
    restore_ipsets(node.netns(), &ipsets(policies, NETWORK, CLIENT))?;
    let endpoints = [
        Endpoint { interface: CLIENT_INTERFACE, policies: 0 },
        Endpoint { interface: SERVER_INTERFACE, policies },
    ];
    site.restore(&node, &rules(&endpoints))?;
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
