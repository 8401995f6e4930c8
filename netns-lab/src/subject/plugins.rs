// SPDX-License-Identifier: Apache-2.0
//! Pods attached by the reference CNI plugins: bridge as flannel delegates to it, ptp, ipvlan.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use netlink::NetlinkError;
use serde_json::{Value, json};

use super::{BuildError, Failure, MTU, Parts, Site};
use crate::cni::{self, Container, NetworkConfig, PluginPath, Runtime};
use crate::lab::{LinkSide, Namespace, Node, Pod, connect};
use crate::rules::flannel;

/// All pods of the cluster.
pub(super) const NETWORK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 16);
/// The pods of this node.
const NODE: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(10, 244, 0, 0), 24);

pub(super) fn bridge(site: &Site<'_>) -> Result<Parts, BuildError> {
    flannel_bridge(site, false)
}

pub(super) fn bridge_nf(site: &Site<'_>) -> Result<Parts, BuildError> {
    flannel_bridge(site, true)
}

fn flannel_bridge(site: &Site<'_>, through_iptables: bool) -> Result<Parts, BuildError> {
    let node = site.node("node")?;
    let value = if through_iptables { "1" } else { "0" };
    match node.set_sysctl("net/bridge/bridge-nf-call-iptables", value) {
        Ok(()) => {}
        // Without br_netfilter, bridged packets do not see iptables anyway.
        Err(NetlinkError::Missing { .. }) if !through_iptables => {}
        Err(e) => return Err(e.into()),
    }
    site.restore(&node, &flannel::rules(NETWORK, NODE))?;
    // As flannel's own plugin delegates, host-gw backend (whose MTU is the wire's).
    let config = NetworkConfig::new(
        "cbr0",
        "bridge",
        json!({
            "bridge": "cni0",
            "hairpinMode": true,
            "isGateway": true,
            "isDefaultGateway": true,
            "ipMasq": false,
            "mtu": MTU,
            "ipam": ipam(site, &[&NETWORK.to_string()]),
        }),
    );
    two_pods(site, node, &config, through_iptables)
}

pub(super) fn ptp(site: &Site<'_>) -> Result<Parts, BuildError> {
    let settings = json!({ "ipMasq": false, "mtu": MTU, "ipam": ipam(site, &["0.0.0.0/0"]) });
    two_pods(site, site.node("node")?, &NetworkConfig::new("ptp", "ptp", settings), true)
}

pub(super) fn ipvlan_l2(site: &Site<'_>) -> Result<Parts, BuildError> {
    ipvlan(site, "l2")
}

pub(super) fn ipvlan_l3(site: &Site<'_>) -> Result<Parts, BuildError> {
    ipvlan(site, "l3")
}

/// The parent is one end of a veth, as not every kernel has dummy devices; nothing is sent by it.
fn ipvlan(site: &Site<'_>, mode: &str) -> Result<Parts, BuildError> {
    let node = site.node("node")?;
    connect(LinkSide::new(&node, "uplink0"), LinkSide::new(&node, "uplink1"), MTU)?;
    let settings = json!({ "master": "uplink0", "mode": mode, "mtu": MTU, "ipam": ipam(site, &[]) });
    two_pods(site, node, &NetworkConfig::new("ipvlan", "ipvlan", settings), false)
}

/// Addresses are kept in the lab's own directory, so that they go with it.
fn ipam(site: &Site<'_>, routes: &[&str]) -> Value {
    cni::host_local(&site.lab.dir().join("ipam").join(&site.place), NODE, routes)
}

fn two_pods(
    site: &Site<'_>,
    node: Node,
    config: &NetworkConfig,
    forwards: bool,
) -> Result<Parts, BuildError> {
    let client = attach(site, &node, "client", config)?;
    let server = attach(site, &node, "server", config)?;
    Ok(Parts {
        client,
        server: Some(server),
        agent: None,
        nodes: vec![node],
        world: None,
        service: None,
        forwards,
    })
}

fn attach(site: &Site<'_>, node: &Node, role: &str, config: &NetworkConfig) -> Result<Pod, BuildError> {
    let namespace = Namespace::create(site.lab, &site.name(role))?;
    let container = Container {
        id: namespace.netns().name().into(),
        netns: namespace.netns().path().into(),
        interface: "eth0".into(),
        args: vec![
            ("IgnoreUnknown".into(), "1".into()),
            ("K8S_POD_NAMESPACE".into(), "default".into()),
            ("K8S_POD_NAME".into(), role.into()),
        ],
    };
    let runtime = Runtime::new(PluginPath::from_environment(), node.netns().try_clone()?);
    let attachment = runtime.add(config.clone(), container)?;
    match attachment.result.address_of("eth0") {
        Some(address) => Ok(Pod::attached(namespace, attachment, "eth0", address)),
        None => {
            attachment.delete()?;
            Err(Failure::NoAddress { pod: role.into() }.into())
        }
    }
}
