// SPDX-License-Identifier: Apache-2.0
//! The node's devices, and what its programs are told of them.

use std::net::{IpAddr, Ipv4Addr};

use addr::Be32;
use ipnet::IpNet;
use maps::{HostConfig, LbConfig, LxcConfig};
use netlink::{LinkEnd, MacAddr, NetNs, Netlink, Route, set_sysctls};

use crate::Family;

/// The node's native device.
pub const UPLINK_MAC: [u8; 6] = [2, 0, 0, 0, 1, 1];

/// A pod of the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its number.
    pub id: u16,
    /// Its identity.
    pub identity: u32,
    /// The Ethernet address of its own end.
    pub mac: [u8; 6],
    /// That of the node's end.
    pub node_mac: [u8; 6],
    /// The device on the node.
    pub ifindex: u32,
    pub(crate) number: u8,
}

impl Pod {
    /// Its address.
    pub fn ip(&self, family: Family) -> IpAddr {
        family.pod(self.number)
    }
}

/// The pod with this number, as the last part of its address.
pub fn pod(id: u16, ifindex: u32, number: u8) -> Pod {
    Pod {
        id,
        identity: 1000 + u32::from(id),
        number,
        mac: [2, 0, 0, 0, 0, number],
        node_mac: [2, 0, 0, 0, 9, number],
        ifindex,
    }
}

/// An IPv4 address as maps have it.
pub fn word4(address: IpAddr) -> Be32 {
    match address {
        IpAddr::V4(v4) => v4.into(),
        IpAddr::V6(_) => panic!("{address} is no IPv4 address"),
    }
}

/// An IPv6 address as maps have it.
pub fn words6(address: IpAddr) -> [Be32; 4] {
    match address {
        IpAddr::V6(v6) => zerocopy::transmute!(v6.octets()),
        IpAddr::V4(_) => panic!("{address} is no IPv6 address"),
    }
}

/// What the endpoints' program is told of a pod.
pub fn lxc_config(pod: &Pod, host_ifindex: u32) -> LxcConfig {
    LxcConfig {
        lxc_id: u32::from(pod.id),
        ifindex: pod.ifindex,
        ipv4: word4(pod.ip(Family::V4)),
        ipv6: words6(pod.ip(Family::V6)),
        enable_ipv4: 1,
        enable_ipv6: 1,
        router_ipv4: word4(Family::V4.router()),
        router_ipv6: words6(Family::V6.router()),
        mac: pod.mac,
        node_mac: pod.node_mac,
        host_ifindex,
    }
}

/// What the node's programs are told.
pub fn host_config(host_ifindex: u32) -> HostConfig {
    let full = u32::MAX;
    HostConfig {
        enable_ipv4: 1,
        enable_ipv6: 1,
        enable_masquerade: 1,
        masq_ipv4: word4(Family::V4.node()),
        masq_ipv6: words6(Family::V6.node()),
        native_cidr4: Be32::new(0xac10_0000),
        native_mask4: Be32::new(0xffff_0000),
        native_cidr6: [0x2001_0db8, 0x0016_0000, 0, 0].map(Be32::new),
        native_mask6: [full, full, full, 0].map(Be32::new),
        pod_cidr4: Be32::new(0x0a01_0000),
        pod_mask4: Be32::new(0xffff_0000),
        pod_cidr6: [0xfd00_0000, 0, 0, 0].map(Be32::new),
        pod_mask6: [full, full, 0, 0].map(Be32::new),
        host_ifindex,
    }
}

/// What programs are told of services.
pub fn lb_config() -> LbConfig {
    LbConfig {
        enabled: 1,
        node_port_min: 30_000,
        node_port_max: 32_767,
        loopback4: word4(Family::V4.loopback()),
        loopback6: words6(Family::V6.loopback()),
        ..LbConfig::default()
    }
}

/// Devices, of which only indices and Ethernet addresses matter: no packet leaves `BPF_PROG_TEST_RUN`.
pub fn devices(netns: &NetNs) -> [u32; 4] {
    let netlink = Netlink::open(netns).unwrap();
    let add = |name: &str, mac: [u8; 6]| {
        let peer = format!("{name}p");
        netlink.add_veth(&LinkEnd::new(name, netns).mac(MacAddr(mac)), &LinkEnd::new(&peer, netns)).unwrap();
        netlink.set_up(name).unwrap();
        netlink.link(name).unwrap().index
    };
    let all = [
        add("lxca", [2, 0, 0, 0, 9, 11]),
        add("lxcb", [2, 0, 0, 0, 9, 12]),
        add("uplink", UPLINK_MAC),
        add("cilium_host", [2, 0, 0, 0, 1, 3]),
    ];
    // Programs that forward ask the node's routes.
    let forwarding = [("net/ipv4/ip_forward", "1"), ("net/ipv6/conf/all/forwarding", "1")];
    set_sysctls(netns, &forwarding).unwrap();
    netlink.set_up("uplinkp").unwrap();
    for (address, everywhere, gateway) in
        [(Family::V4.node(), "0.0.0.0/0", "192.0.2.254"), (Family::V6.node(), "::/0", "2001:db8::fe")]
    {
        let bits = if address.is_ipv4() { 24 } else { 64 };
        netlink.add_address("uplink", IpNet::new(address, bits).unwrap()).unwrap();
        let (everywhere, gateway) = (everywhere.parse().unwrap(), gateway.parse().unwrap());
        netlink.add_route(&Route::onlink(everywhere, gateway, "uplink")).unwrap();
    }
    all
}

/// An IPv4 address of what must be one.
pub fn ipv4(address: IpAddr) -> Ipv4Addr {
    word4(address).into()
}
