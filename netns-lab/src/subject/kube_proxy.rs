// SPDX-License-Identifier: Apache-2.0
//! kube-proxy in iptables mode on one node, imitated: routed pods, and a service in front of the server.

use std::net::Ipv4Addr;

use super::plugins::NETWORK;
use super::routed::{CLIENT, SERVER, attach};
use super::{BuildError, MTU, Parts, Site};
use crate::plan::WorkloadKind;
use crate::rules::kube_proxy::{SERVICE_PORT, cluster_ip, measured, rules};

pub(super) fn kube_proxy_like(site: &Site<'_>) -> Result<Parts, BuildError> {
    let services = site.count();
    let node = site.node("node")?;
    let client = site.pod("client", "eth0", CLIENT.into())?;
    attach(&node, &client, "veth-client", None, MTU)?;
    let server = site.pod("server", "eth0", SERVER.into())?;
    attach(&node, &server, "veth-server", None, MTU)?;
    site.restore(&node, &rules(services, NETWORK, SERVER, WorkloadKind::TcpCrr.port()))?;
    let service: Ipv4Addr = cluster_ip(measured(services));
    let service = Some((service.into(), Some(SERVICE_PORT)));
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
