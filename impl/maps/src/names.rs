// SPDX-License-Identifier: Apache-2.0
//! The maps' names, by which they are pinned: Cilium 1.4's where it had the map.

/// Endpoints by address.
pub const LXC: &str = "cilium_lxc";
/// Endpoints by number.
pub const LXC_BY_ID: &str = "cilium_lxc_by_id";
/// What the endpoints' program must know, by device.
pub const EP_CONFIG: &str = "cilium_ep_config";
/// Policy maps by number of endpoint.
pub const EP_TO_POLICY: &str = "cilium_ep_to_policy";
/// What the name of each policy map begins with.
pub const POLICY_PREFIX: &str = "cilium_policy_";
/// Identities by prefix.
pub const IPCACHE: &str = "cilium_ipcache";
/// TCP connections over IPv4.
pub const CT4_GLOBAL: &str = "cilium_ct4_global";
/// TCP connections over IPv6.
pub const CT6_GLOBAL: &str = "cilium_ct6_global";
/// Other connections over IPv4.
pub const CT_ANY4_GLOBAL: &str = "cilium_ct_any4_global";
/// Other connections over IPv6.
pub const CT_ANY6_GLOBAL: &str = "cilium_ct_any6_global";
/// Ports of fragmented datagrams over IPv4.
pub const FRAG4: &str = "cilium_frag4";
/// Ports of fragmented datagrams over IPv6.
pub const FRAG6: &str = "cilium_frag6";
/// What changes while programs run.
pub const RUNTIME: &str = "cilium_runtime";
/// Packets by reason.
pub const METRICS: &str = "cilium_metrics";
/// What programs tell.
pub const EVENTS: &str = "cilium_events";
/// Masqueraded connections over IPv4.
pub const SNAT_V4: &str = "cilium_snat_v4_external";
/// Masqueraded connections over IPv6.
pub const SNAT_V6: &str = "cilium_snat_v6_external";
/// Frontends of services over IPv4.
pub const LB4_SERVICES: &str = "cilium_lb4_services_v2";
/// Frontends of services over IPv6.
pub const LB6_SERVICES: &str = "cilium_lb6_services_v2";
/// Backends by the frontend's id and the slot.
pub const LB_SLOTS: &str = "cilium_lb_slots";
/// Backends over IPv4, by id.
pub const LB4_BACKENDS: &str = "cilium_lb4_backends";
/// Backends over IPv6, by id.
pub const LB6_BACKENDS: &str = "cilium_lb6_backends";
/// Frontends over IPv4 by id: the address that answers carry.
pub const LB4_REVERSE_NAT: &str = "cilium_lb4_reverse_nat_v2";
/// Frontends over IPv6 by id.
pub const LB6_REVERSE_NAT: &str = "cilium_lb6_reverse_nat_v2";
/// Ranges of clients over IPv4 that may use frontends, by the frontend's id.
pub const LB4_SOURCE_RANGE: &str = "cilium_lb4_source_range";
/// Ranges of clients over IPv6 that may use frontends.
pub const LB6_SOURCE_RANGE: &str = "cilium_lb6_source_range";
/// Which backend a client had last.
pub const LB_AFFINITY: &str = "cilium_lb_affinity";
/// Which frontend a socket over IPv4 was connected to.
pub const LB4_REVERSE_SK: &str = "cilium_lb4_reverse_sk";
/// Which frontend a socket over IPv6 was connected to.
pub const LB6_REVERSE_SK: &str = "cilium_lb6_reverse_sk";

/// The policy map of an endpoint.
pub fn policy(lxc_id: u16) -> String {
    format!("{POLICY_PREFIX}{lxc_id:05}")
}

/// The endpoint whose policy map has this name.
pub fn policy_endpoint(name: &str) -> Option<u16> {
    let digits = name.strip_prefix(POLICY_PREFIX)?;
    let endpoint = digits.parse().ok()?;
    (policy(endpoint) == name).then_some(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_a_policy_map_says_whose_it_is() {
        for id in [1, 42, 9_999, u16::MAX] {
            assert_eq!(policy_endpoint(&policy(id)), Some(id));
        }
        assert_eq!(policy(42), "cilium_policy_00042");
        for other in ["cilium_policy_42", "cilium_policy_99999", "cilium_policy_", "cilium_lxc"] {
            assert_eq!(policy_endpoint(other), None, "{other}");
        }
    }
}
