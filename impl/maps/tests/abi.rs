// SPDX-License-Identifier: Apache-2.0
//! Every twin is as the compiler laid its C struct out: its size, and the name and offset of each member, from the types
//! (BTF) of the embedded objects. Neither side has hidden padding, so the sizes of members follow.

use std::collections::BTreeMap;

use libbpf_rs::HasSize;
use libbpf_rs::btf::Btf;
use libbpf_rs::btf::types::{MemberAttr, Struct};
use maps::*;
use zerocopy::FromZeros;

/// A struct as one side sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Layout {
    size: usize,
    members: Vec<(String, usize)>,
}

/// The layout of a twin. The pattern names every field: one that is missing here does not compile.
macro_rules! twin {
    ($c:literal, $rust:ident { $($field:ident),+ $(,)? }) => {{
        let $rust { $($field: _),+ } = $rust::new_zeroed();
        let members = vec![$((stringify!($field).to_owned(), std::mem::offset_of!($rust, $field))),+];
        ($c, Layout { size: size_of::<$rust>(), members })
    }};
}

fn twins() -> Vec<(&'static str, Layout)> {
    vec![
        twin!("endpoint_key", EndpointKey { ip, family, pad5 }),
        twin!("endpoint_info", EndpointInfo { ifindex, lxc_id, flags, sec_id, pad }),
        twin!(
            "lxc_row",
            LxcRow { ifindex, sec_id, ingress_prefixes, egress_prefixes, options, mac, node_mac, pad }
        ),
        twin!("policy_key", PolicyKey { sec_label, dport, protocol, egress, port_prefix, pad }),
        twin!("policy_entry", PolicyEntry { proxy_port, pad, rule, packets, bytes }),
        twin!("ipcache_key", IpcacheKey { prefixlen, pad1, pad2, family, ip }),
        twin!("ipcache_entry", IpcacheEntry { sec_label, tunnel_endpoint }),
        twin!("ct_key4", ConntrackKey4 { addr, port, protocol, pad }),
        twin!("ct_key6", ConntrackKey6 { addr, port, protocol, pad }),
        twin!(
            "ct_entry",
            ConntrackEntry {
                tx_packets,
                tx_bytes,
                rx_packets,
                rx_bytes,
                lifetime,
                epoch,
                src_sec_id,
                dst_sec_id,
                src_lxc_id,
                dst_lxc_id,
                rev_nat_index,
                flags,
                tx_flags_seen,
                rx_flags_seen,
                pad,
                last_report,
                tick,
                pad2,
            }
        ),
        twin!("frag_key4", FragmentKey4 { saddr, daddr, id, protocol, pad }),
        twin!("frag_key6", FragmentKey6 { saddr, daddr, id, protocol, pad }),
        twin!("frag_ports", FragmentPorts { sport, dport }),
        twin!("runtime_config", RuntimeConfig { epoch, monitor, lb_epoch, lb_external }),
        twin!("ct_service", ConntrackService { addr, port, pad, backend, pad2 }),
        twin!(
            "lb_config",
            LbConfig {
                host_netns_cookie,
                enabled,
                maglev,
                node_port_min,
                node_port_max,
                dsr,
                loopback4,
                loopback6,
                node4,
                node6,
                pad,
            }
        ),
        twin!("lb4_key", LbKey4 { addr, port, protocol, scope }),
        twin!("lb6_key", LbKey6 { addr, port, protocol, scope }),
        twin!("lb_frontend", LbFrontend { id, flags, count, affinity_timeout_s, pad }),
        twin!("lb_slot_key", LbSlotKey { id, slot }),
        twin!("lb4_backend", LbBackend4 { addr, port, protocol, flags }),
        twin!("lb6_backend", LbBackend6 { addr, port, protocol, flags }),
        twin!("lb4_reverse", LbReverse4 { addr, port, pad }),
        twin!("lb6_reverse", LbReverse6 { addr, port, pad }),
        twin!("lb4_source_key", LbSourceKey4 { prefixlen, id, pad, addr }),
        twin!("lb6_source_key", LbSourceKey6 { prefixlen, id, pad, addr }),
        twin!("lb_affinity_key", LbAffinityKey { client, id, by_netns, pad }),
        twin!("lb_affinity", LbAffinity { last_used_s, backend }),
        twin!("lb4_socket_key", LbSocketKey4 { cookie, addr, port, pad }),
        twin!("lb6_socket_key", LbSocketKey6 { cookie, addr, port, pad, pad2 }),
        twin!("lb4_socket", LbSocket4 { addr, port, id }),
        twin!("lb6_socket", LbSocket6 { addr, port, id }),
        twin!("metrics_value", MetricsValue { count, bytes }),
        twin!("snat_key4", SnatKey4 { saddr, daddr, sport, dport, protocol, direction, pad }),
        twin!("snat_key6", SnatKey6 { saddr, daddr, sport, dport, protocol, direction, pad }),
        twin!("snat_entry", SnatEntry { addr, port, pad, lifetime, tick, pad2 }),
        twin!("event_header", EventHeader { kind, subtype, source, hash }),
        twin!(
            "drop_event",
            DropEvent {
                header,
                len_orig,
                len_cap,
                src_label,
                dst_label,
                dst_id,
                ifindex,
                direction,
                pad,
                rule,
                data,
            }
        ),
        twin!(
            "trace_event",
            TraceEvent {
                header,
                len_orig,
                len_cap,
                src_label,
                dst_label,
                dst_id,
                reason,
                direction,
                ifindex,
                data,
            }
        ),
        twin!(
            "verdict_event",
            VerdictEvent {
                header,
                len_orig,
                len_cap,
                src_label,
                dst_label,
                dst_id,
                direction,
                matched,
                pad,
                rule,
                pad2,
                data,
            }
        ),
        twin!("debug_event", DebugEvent { header, arg1, arg2, arg3, pad }),
        twin!(
            "lxc_config",
            LxcConfig {
                lxc_id,
                ifindex,
                ipv4,
                ipv6,
                enable_ipv4,
                enable_ipv6,
                router_ipv4,
                router_ipv6,
                mac,
                node_mac,
                host_ifindex,
            }
        ),
        twin!(
            "host_config",
            HostConfig {
                enable_ipv4,
                enable_ipv6,
                enable_masquerade,
                masq_ipv4,
                masq_ipv6,
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
        ),
    ]
}

/// What a member is called in Rust: words of the language have another name, and a union without one is an address.
fn rust_name(c_name: Option<&str>) -> String {
    match c_name {
        Some("type") => "kind".into(),
        Some("match") => "matched".into(),
        Some(name) if !name.is_empty() => name.into(),
        _ => "ip".into(),
    }
}

/// The structs of an object, by name.
fn structs(image: &[u8], wanted: &[&str], found: &mut BTreeMap<String, Layout>) {
    let btf = Btf::from_raw("object", image).unwrap().expect("objects are built with BTF");
    for structure in btf.type_by_kind::<Struct<'_>>() {
        let Some(name) = structure.name().and_then(|name| name.to_str()) else { continue };
        if !wanted.contains(&name) {
            continue;
        }
        let members = structure.iter().map(|member| {
            let MemberAttr::Normal { offset } = member.attr else { panic!("{name} has a bit field") };
            (rust_name(member.name.and_then(|name| name.to_str())), offset as usize / 8)
        });
        let layout = Layout { size: structure.size(), members: members.collect() };
        if let Some(before) = found.insert(name.to_owned(), layout.clone()) {
            assert_eq!(before, layout, "the objects disagree about {name}");
        }
    }
}

#[test]
fn every_twin_lies_in_memory_as_its_c_struct_does() {
    let twins = twins();
    let names: Vec<_> = twins.iter().map(|(name, _)| *name).collect();
    let mut found = BTreeMap::new();
    for image in [bpf::LXC, bpf::HOST, bpf::SOCK, bpf::ABI] {
        structs(image, &names, &mut found);
    }
    let missing: Vec<_> = names.iter().filter(|name| !found.contains_key(**name)).collect();
    assert!(missing.is_empty(), "no object has the types of {missing:?}");
    for (name, twin) in twins {
        assert_eq!(found[name], twin, "{name}");
    }
}
