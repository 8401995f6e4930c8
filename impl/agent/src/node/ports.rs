// SPDX-License-Identifier: Apache-2.0
//! Ports that the kernel gives to connections of the node's own processes. An answer to one that has the port of a service
//! at the node's own address would be taken for a client of that service.

use std::collections::BTreeSet;
use std::fs;
use std::ops::RangeInclusive;

use addr::{Port, PortRange};
use loadbalancer::{Frontend, FrontendKind, ServiceRow};

/// From which ports the kernel chooses, in the calling thread's network namespace.
const CHOSEN_FROM: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Which of them it leaves out.
const LEFT_OUT: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// The texts of the two settings; empty where the kernel does not tell.
fn settings() -> [String; 2] {
    [CHOSEN_FROM, LEFT_OUT].map(|path| fs::read_to_string(path).unwrap_or_default())
}

/// Says once, with the remedy, that the kernel may give ports of services away.
pub fn warn_of_overlap(node_ports: PortRange) {
    let [chosen_from, left_out] = settings();
    if let Some(port) = given_away(node_ports, &chosen_from, &left_out) {
        tracing::warn!(
            %node_ports,
            port,
            "the kernel gives ports for NodePorts to the node's own connections, whose answers a service may take: add them \
             to the sysctl net.ipv4.ip_local_reserved_ports, or set another --node-port-range"
        );
    }
}

/// Ports of services at the node's own addresses outside of `--node-port-range`: those of `hostPort`s and of external addresses that are the
/// node's.
#[derive(Debug, Default)]
pub struct PortWatch {
    seen: BTreeSet<Port>,
}

impl PortWatch {
    /// A frontend is new: warns, once for a port, if the kernel may give it away. `is_of_node`: whether its address is the node's.
    pub fn see(&mut self, frontend: &Frontend, row: &ServiceRow, is_of_node: bool) {
        if !self.is_news(frontend.port, row.kind, is_of_node) {
            return;
        }
        let [chosen_from, left_out] = settings();
        if is_given_away(frontend.port, &chosen_from, &left_out) {
            tracing::warn!(
                %frontend,
                owner = row.owner,
                "the kernel gives this port to the node's own connections, whose answers the service may take: add it to the \
                 sysctl net.ipv4.ip_local_reserved_ports, or choose another port"
            );
        }
    }

    /// Whether this is the first frontend with this port that answers to the node's own connections could be taken for.
    fn is_news(&mut self, port: Port, kind: FrontendKind, is_of_node: bool) -> bool {
        let concerns = match kind {
            FrontendKind::HostPort => true,
            FrontendKind::ExternalIps | FrontendKind::LoadBalancer => is_of_node,
            // The network cannot reach the first and the last; the whole range of the second was looked at.
            FrontendKind::ClusterIp | FrontendKind::NodePort | FrontendKind::Api => false,
        };
        concerns && self.seen.insert(port)
    }
}

fn is_given_away(port: Port, chosen_from: &str, left_out: &str) -> bool {
    PortRange::new(port, port).is_ok_and(|ports| given_away(ports, chosen_from, left_out).is_some())
}

/// The first port for NodePorts that the kernel may choose, by the texts of its two settings.
fn given_away(node_ports: PortRange, chosen_from: &str, left_out: &str) -> Option<u16> {
    let mut bounds = chosen_from.split_whitespace().map(str::parse);
    let (Some(Ok(first)), Some(Ok(last))) = (bounds.next(), bounds.next()) else { return None };
    let chosen_from: RangeInclusive<u16> = first..=last;
    let left_out: Vec<RangeInclusive<u16>> = left_out.trim().split(',').filter_map(range).collect();
    let mut ports = node_ports.first().get()..=node_ports.last().get();
    ports.find(|port| chosen_from.contains(port) && !left_out.iter().any(|range| range.contains(port)))
}

/// `80` or `80-90`.
fn range(text: &str) -> Option<RangeInclusive<u16>> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some(first.parse().ok()?..=last.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_at_the_nodes_addresses_are_looked_at_once_whoever_has_them() {
        let port = |number| Port::new(number).unwrap();
        let mut watch = PortWatch::default();
        for (number, kind, is_of_node, news) in [
            (40_000, FrontendKind::ClusterIp, false, false),
            (40_000, FrontendKind::Api, true, false),
            (40_000, FrontendKind::NodePort, true, false),
            (40_000, FrontendKind::LoadBalancer, false, false),
            (40_000, FrontendKind::HostPort, false, true),
            (40_000, FrontendKind::HostPort, true, false),
            (40_001, FrontendKind::ExternalIps, false, false),
            (40_001, FrontendKind::ExternalIps, true, true),
            (40_002, FrontendKind::LoadBalancer, true, true),
        ] {
            assert_eq!(watch.is_news(port(number), kind, is_of_node), news, "{number} {kind:?} {is_of_node}");
        }
        for (number, left_out, given) in
            [(8080, "\n", false), (40_000, "\n", true), (40_000, "30000-32767,40000\n", false)]
        {
            assert_eq!(is_given_away(port(number), "32768\t60999\n", left_out), given, "{number} {left_out}");
        }
    }

    #[test]
    fn the_kernels_own_choice_of_ports_must_leave_those_of_services_out() {
        let port = |number| Port::new(number).unwrap();
        let node_ports = PortRange::new(port(30_000), port(32_767)).unwrap();
        for (chosen_from, left_out, first) in [
            ("32768\t60999\n", "\n", None),
            ("1024\t65535\n", "\n", Some(30_000)),
            ("1024\t65535\n", "30000-32767\n", None),
            ("1024\t65535\n", "8080,30000-30009,30011-32767\n", Some(30_010)),
            ("32000 32010", "", Some(32_000)),
            // A kernel that does not tell.
            ("", "", None),
        ] {
            assert_eq!(given_away(node_ports, chosen_from, left_out), first, "{chosen_from} {left_out}");
        }
    }
}
