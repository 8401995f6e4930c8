// SPDX-License-Identifier: Apache-2.0
//! Ports that the kernel gives to connections of the node's own processes. An answer to one that has the port of a NodePort
//! would be taken for a client of that service.

use std::fs;
use std::ops::RangeInclusive;

use addr::PortRange;

/// From which ports the kernel chooses, in the calling thread's network namespace.
const CHOSEN_FROM: &str = "/proc/sys/net/ipv4/ip_local_port_range";
/// Which of them it leaves out.
const LEFT_OUT: &str = "/proc/sys/net/ipv4/ip_local_reserved_ports";

/// Says once, with the remedy, that the kernel may give ports of services away.
pub fn warn_of_overlap(node_ports: PortRange) {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    if let Some(port) = given_away(node_ports, &read(CHOSEN_FROM), &read(LEFT_OUT)) {
        tracing::warn!(
            %node_ports,
            port,
            "the kernel gives ports for NodePorts to the node's own connections, whose answers a service may take: add them \
             to the sysctl net.ipv4.ip_local_reserved_ports, or set another --node-port-range"
        );
    }
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
    use addr::Port;

    use super::*;

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
