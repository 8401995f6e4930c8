// SPDX-License-Identifier: Apache-2.0
//! kube-proxy in IPVS mode on one node, imitated: routed pods, and a virtual server in front of the server.

use std::net::SocketAddrV4;

use ipnet::Ipv4Net;

use super::plugins::NETWORK;
use super::routed::{CLIENT, SERVER, attach};
use super::{BuildError, MTU, Parts, Site};
use crate::plan::WorkloadKind;
use crate::rules::ipvs::{add, ipsets, rules, virtual_servers};
use crate::rules::kube_proxy::{SERVICE_PORT, cluster_ip, measured};
use crate::rules::restore_ipsets;

pub(super) fn kube_proxy_ipvs_like(site: &Site<'_>) -> Result<Parts, BuildError> {
    let services = site.count();
    let node = site.node("node")?;
    let client = site.pod("client", "eth0", CLIENT.into())?;
    attach(&node, &client, "veth-client", None, MTU)?;
    let server = site.pod("server", "eth0", SERVER.into())?;
    attach(&node, &server, "veth-server", None, MTU)?;
    let servers = virtual_servers(services, SocketAddrV4::new(SERVER, WorkloadKind::TcpCrr.port()));
    restore_ipsets(node.netns(), &ipsets(&servers))?;
    site.restore(&node, &rules(NETWORK))?;
    add(node.netns(), &servers)?;
    for (name, value) in [("conntrack", "1"), ("expire_nodest_conn", "1"), ("expire_quiescent_template", "1")]
    {
        node.set_sysctl(&format!("net/ipv4/vs/{name}"), value)?;
    }
    // So that packets to them come to the node itself. kube-proxy has a dummy link for this.
    for one in &servers {
        node.netlink().add_address("lo", Ipv4Net::from(*one.service.ip()).into())?;
    }
    let service = Some((cluster_ip(measured(services)).into(), Some(SERVICE_PORT)));
    Ok(Parts {
        client,
        server: Some(server),
        agent: None,
        nodes: vec![node],
        world: None,
        service,
        forwards: true,
    })
}
