// SPDX-License-Identifier: Apache-2.0
//! Keys and values of maps as people read them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::{Be32, Protocol};
use maps::{
    ConntrackEntry, ConntrackKey4, ConntrackKey6, EndpointInfo, EndpointKey, FragmentKey4, FragmentKey6,
    FragmentPorts, IpcacheEntry, IpcacheKey, LxcRow, PolicyEntry, PolicyKey, RuntimeConfig, SnatEntry,
    SnatKey4, SnatKey6, conntrack_flags, endpoint_flags,
};
use netlink::MacAddr;

/// What can be shown.
pub trait Text {
    /// In a line; `None` for a row that says that there is nothing.
    fn text(&self) -> Option<String>;
}

/// An address over IPv6.
pub fn ip6(words: [Be32; 4]) -> Ipv6Addr {
    let mut octets = [0; 16];
    for (place, word) in octets.chunks_exact_mut(4).zip(words) {
        place.copy_from_slice(&Ipv4Addr::from(word).octets());
    }
    octets.into()
}

/// An address of either family: IPv4 is alone in the first word.
pub fn address(words: [Be32; 4]) -> IpAddr {
    let rest: u32 = words[1..].iter().map(|word| u32::from(Ipv4Addr::from(*word))).fold(0, |a, b| a | b);
    if rest == 0 { Ipv4Addr::from(words[0]).into() } else { ip6(words).into() }
}

/// By its name, if it has one.
pub fn protocol(number: u8) -> String {
    Protocol::from_number(number).map_or_else(|| number.to_string(), |protocol| protocol.to_string())
}

fn socket(ip: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(ip, port).to_string()
}

impl Text for u32 {
    fn text(&self) -> Option<String> {
        Some(self.to_string())
    }
}

impl Text for EndpointKey {
    fn text(&self) -> Option<String> {
        Some(self.address().map_or_else(|| format!("family {}", self.family), |address| address.to_string()))
    }
}

impl Text for EndpointInfo {
    fn text(&self) -> Option<String> {
        let host = if self.flags & endpoint_flags::HOST != 0 { " host" } else { "" };
        Some(format!("id={} ifindex={} identity={}{host}", self.lxc_id, self.ifindex, self.sec_id))
    }
}

impl Text for LxcRow {
    fn text(&self) -> Option<String> {
        let (mac, node) = (MacAddr(self.mac), MacAddr(self.node_mac));
        (self.ifindex != 0).then(|| {
            format!(
                "ifindex={} identity={} mac={mac} nodemac={node} options={:#x}",
                self.ifindex, self.sec_id, self.options
            )
        })
    }
}

impl Text for IpcacheKey {
    fn text(&self) -> Option<String> {
        Some(self.prefix().map_or_else(|error| error.to_string(), |prefix| prefix.to_string()))
    }
}

impl Text for IpcacheEntry {
    fn text(&self) -> Option<String> {
        let tunnel = self.tunnel_endpoint().map(|node| format!(" tunnel={node}")).unwrap_or_default();
        Some(format!("identity={}{tunnel}", self.sec_label))
    }
}

impl Text for PolicyKey {
    fn text(&self) -> Option<String> {
        let direction = if self.egress == 0 { "ingress" } else { "egress" };
        let (port, bits) = (self.dport.get(), self.port_prefix);
        Some(format!(
            "{direction} identity={} port={port}/{bits} protocol={}",
            self.sec_label,
            protocol(self.protocol)
        ))
    }
}

impl Text for PolicyEntry {
    fn text(&self) -> Option<String> {
        let proxy = self.proxy_port.get();
        Some(format!("proxy={proxy} rule={} packets={} bytes={}", self.rule, self.packets, self.bytes))
    }
}

impl Text for RuntimeConfig {
    fn text(&self) -> Option<String> {
        Some(format!(
            "epoch={} monitor={} lb_epoch={} lb_external={}",
            self.epoch, self.monitor, self.lb_epoch, self.lb_external
        ))
    }
}

fn connection(ends: [IpAddr; 2], ports: [u16; 2], number: u8) -> String {
    format!("{} {} <-> {}", protocol(number), socket(ends[0], ports[0]), socket(ends[1], ports[1]))
}

impl Text for ConntrackKey4 {
    fn text(&self) -> Option<String> {
        Some(connection(self.addresses(), self.port.map(|port| port.get()), self.protocol))
    }
}

impl Text for ConntrackKey6 {
    fn text(&self) -> Option<String> {
        Some(connection(self.addresses(), self.port.map(|port| port.get()), self.protocol))
    }
}

impl Text for ConntrackEntry {
    fn text(&self) -> Option<String> {
        let initiator =
            if self.flags & conntrack_flags::INITIATOR_IS_SECOND != 0 { "second" } else { "first" };
        if let Some(service) = self.service() {
            return Some(format!(
                "initiator={initiator} service={} backend={} => {} lifetime={} flags={:#x}",
                self.rev_nat_index,
                service.backend,
                socket(address(service.addr), service.port.get()),
                self.lifetime,
                self.flags
            ));
        }
        Some(format!(
            "initiator={initiator} identity={}->{} tx_packets={} tx_bytes={} rx_packets={} rx_bytes={} lifetime={} \
             flags={:#x} service={}",
            self.src_sec_id,
            self.dst_sec_id,
            self.tx_packets,
            self.tx_bytes,
            self.rx_packets,
            self.rx_bytes,
            self.lifetime,
            self.flags,
            self.rev_nat_index
        ))
    }
}

fn masqueraded(source: String, destination: String, number: u8, direction: u8) -> String {
    let direction = if direction == maps::snat_direction::OUT { "out" } else { "in" };
    format!("{} {source} -> {destination} {direction}", protocol(number))
}

impl Text for SnatKey4 {
    fn text(&self) -> Option<String> {
        let source = socket(Ipv4Addr::from(self.saddr).into(), self.sport.get());
        let destination = socket(Ipv4Addr::from(self.daddr).into(), self.dport.get());
        Some(masqueraded(source, destination, self.protocol, self.direction))
    }
}

impl Text for SnatKey6 {
    fn text(&self) -> Option<String> {
        let source = socket(ip6(self.saddr).into(), self.sport.get());
        let destination = socket(ip6(self.daddr).into(), self.dport.get());
        Some(masqueraded(source, destination, self.protocol, self.direction))
    }
}

impl Text for SnatEntry {
    fn text(&self) -> Option<String> {
        Some(format!("{} lifetime={}", socket(address(self.addr), self.port.get()), self.lifetime))
    }
}

impl Text for FragmentKey4 {
    fn text(&self) -> Option<String> {
        let (source, destination) = (Ipv4Addr::from(self.saddr), Ipv4Addr::from(self.daddr));
        Some(format!("{} {source} -> {destination} id={}", protocol(self.protocol), self.id.get()))
    }
}

impl Text for FragmentKey6 {
    fn text(&self) -> Option<String> {
        let (source, destination) = (ip6(self.saddr), ip6(self.daddr));
        Some(format!("{} {source} -> {destination} id={}", protocol(self.protocol), self.id.get()))
    }
}

impl Text for FragmentPorts {
    fn text(&self) -> Option<String> {
        Some(format!("ports={}->{}", self.sport.get(), self.dport.get()))
    }
}
