// SPDX-License-Identifier: Apache-2.0
//! Rows of the tables as the kernel has them.

use std::net::{IpAddr, Ipv6Addr};

use addr::Be32;
use controlplane::EndpointRow;
use identity::NumericIdentity;
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use maps::{EndpointInfo, EndpointKey, HostConfig, IpcacheKey, LbConfig, LxcConfig, LxcRow, endpoint_flags};

use crate::{DatapathConfig, ServicesConfig};

/// The words of an address, or of no address.
fn words6(address: Option<Ipv6Addr>) -> [Be32; 4] {
    EndpointKey::from(IpAddr::V6(address.unwrap_or(Ipv6Addr::UNSPECIFIED))).ip
}

/// `cilium_ep_config`.
pub fn lxc_config(row: &EndpointRow, config: &DatapathConfig, host_ifindex: u32) -> LxcConfig {
    LxcConfig {
        lxc_id: row.id.into(),
        ifindex: row.ifindex,
        ipv4: row.ipv4.map(Be32::from).unwrap_or_default(),
        ipv6: words6(row.ipv6),
        enable_ipv4: config.enable_ipv4.into(),
        enable_ipv6: config.enable_ipv6.into(),
        router_ipv4: config.router_ip4.map(Be32::from).unwrap_or_default(),
        router_ipv6: words6(config.router_ip6),
        mac: row.mac,
        node_mac: row.node_mac,
        host_ifindex,
    }
}

/// `cilium_lxc_by_id`.
pub fn lxc_row(row: &EndpointRow, [ingress_prefixes, egress_prefixes]: [u32; 2]) -> LxcRow {
    LxcRow {
        ifindex: row.ifindex,
        sec_id: row.identity,
        ingress_prefixes,
        egress_prefixes,
        options: row.options,
        mac: row.mac,
        node_mac: row.node_mac,
        pad: [0; 2],
    }
}

/// `cilium_lxc`, of an endpoint.
pub fn endpoint_info(row: &EndpointRow) -> EndpointInfo {
    EndpointInfo { ifindex: row.ifindex, lxc_id: row.id, flags: 0, sec_id: row.identity, pad: 0 }
}

/// `cilium_lxc`, of the node.
pub fn host_info() -> EndpointInfo {
    EndpointInfo {
        flags: endpoint_flags::HOST,
        sec_id: NumericIdentity::HOST.as_u32(),
        ..EndpointInfo::default()
    }
}

fn network4(network: Option<Ipv4Net>) -> (Be32, Be32) {
    network.map(|net| (net.network().into(), net.netmask().into())).unwrap_or_default()
}

fn network6(network: Option<Ipv6Net>) -> ([Be32; 4], [Be32; 4]) {
    (words6(network.map(|net| net.network())), words6(network.map(|net| net.netmask())))
}

/// `host_config`, with the addresses that masqueraded packets get.
pub fn host_config(config: &DatapathConfig, masquerade: &[IpNet], host_ifindex: u32) -> HostConfig {
    let (native_cidr4, native_mask4) = network4(config.native_cidr4);
    let (native_cidr6, native_mask6) = network6(config.native_cidr6);
    let (pod_cidr4, pod_mask4) = network4(config.pod_cidr4);
    let (pod_cidr6, pod_mask6) = network6(config.pod_cidr6);
    let first = |v6: bool| masquerade.iter().map(IpNet::addr).find(|address| address.is_ipv6() == v6);
    HostConfig {
        enable_ipv4: config.enable_ipv4.into(),
        enable_ipv6: config.enable_ipv6.into(),
        enable_masquerade: config.masquerade.into(),
        masq_ipv4: match first(false) {
            Some(IpAddr::V4(v4)) => v4.into(),
            _ => Be32::default(),
        },
        masq_ipv6: match first(true) {
            Some(IpAddr::V6(v6)) => words6(Some(v6)),
            _ => words6(None),
        },
        native_cidr4,
        native_mask4,
        native_cidr6,
        native_mask6,
        pod_cidr4,
        pod_mask4,
        pod_cidr6,
        pod_mask6,
        host_ifindex,
    }
}

/// The key of a prefix in `cilium_ipcache`.
pub fn ipcache_key(prefix: IpNet) -> IpcacheKey {
    prefix.into()
}

/// What programs must know of load balancing; `node`: addresses of the node, of which the first of each family is whom its
/// processes come from.
pub fn lb_config(services: &ServicesConfig, host_netns_cookie: u64, node: &[IpNet]) -> LbConfig {
    let first = |v6: bool| node.iter().map(IpNet::addr).find(|address| address.is_ipv6() == v6);
    LbConfig {
        host_netns_cookie,
        enabled: 1,
        maglev: services.maglev.into(),
        node_port_min: services.node_ports.0.into(),
        node_port_max: services.node_ports.1.into(),
        dsr: services.dsr.into(),
        loopback4: services.loopback_ip4.into(),
        loopback6: words6(Some(services.loopback_ip6)),
        node4: match first(false) {
            Some(IpAddr::V4(v4)) => v4.into(),
            _ => Be32::default(),
        },
        node6: match first(true) {
            Some(IpAddr::V6(v6)) => words6(Some(v6)),
            _ => words6(None),
        },
        pad: 0,
    }
}
