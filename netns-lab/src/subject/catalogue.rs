// SPDX-License-Identifier: Apache-2.0
//! The list of subjects, with what each passes and needs.

use super::{Builder, SubjectSpec, calico, ciliate, direct, ipvs, kube_proxy, plugins, routed, vxlan};
use crate::plan::{BASELINE, BASELINE_AGAIN, WorkloadKind};
use crate::probe::{Capability, Extension, Table};
use crate::record::Scale;

/// Policies that select the server, in the points of the series `calico-like`.
const POLICIES: [u32; 3] = [0, 100, 1000];
/// Services, in the points of the series `kube-proxy-like`.
const KUBE_PROXY_SERVICES: [u32; 5] = [1, 100, 1000, 5000, 10_000];
/// Services, in the points of our own series.
const SERVICES: [u32; 4] = [1, 100, 1000, 10_000];

const FLANNEL: [Capability; 9] = [
    Capability::Veth,
    Capability::Bridge,
    Capability::Plugin("bridge"),
    Capability::Plugin("host-local"),
    Capability::Table(Table::Filter),
    Capability::Table(Table::Nat),
    Capability::Extension(Extension::Comment),
    Capability::Extension(Extension::Mark),
    Capability::Extension(Extension::Masquerade),
];

const IPVLAN: [Capability; 4] =
    [Capability::Ipvlan, Capability::Veth, Capability::Plugin("ipvlan"), Capability::Plugin("host-local")];

const CILIATE: [Capability; 4] =
    [Capability::Agent, Capability::Veth, Capability::Classifier, Capability::ControlGroup];

const CALICO: [Capability; 13] = [
    Capability::Veth,
    Capability::IpSet,
    Capability::Table(Table::Filter),
    Capability::Table(Table::Nat),
    Capability::Table(Table::Mangle),
    Capability::Table(Table::Raw),
    Capability::Extension(Extension::Comment),
    Capability::Extension(Extension::Conntrack),
    Capability::Extension(Extension::Mark),
    Capability::Extension(Extension::SetMark),
    Capability::Extension(Extension::SetMatch),
    Capability::Extension(Extension::RpFilter),
    Capability::Extension(Extension::Masquerade),
];

const KUBE_PROXY_IPVS: [Capability; 12] = [
    Capability::Veth,
    Capability::Ipvs,
    Capability::IpSet,
    Capability::Table(Table::Filter),
    Capability::Table(Table::Nat),
    Capability::Extension(Extension::Comment),
    Capability::Extension(Extension::Conntrack),
    Capability::Extension(Extension::Mark),
    Capability::Extension(Extension::SetMark),
    Capability::Extension(Extension::SetMatch),
    Capability::Extension(Extension::AddrType),
    Capability::Extension(Extension::Masquerade),
];

const KUBE_PROXY: [Capability; 10] = [
    Capability::Veth,
    Capability::Table(Table::Filter),
    Capability::Table(Table::Nat),
    Capability::Extension(Extension::Comment),
    Capability::Extension(Extension::Conntrack),
    Capability::Extension(Extension::Mark),
    Capability::Extension(Extension::SetMark),
    Capability::Extension(Extension::AddrType),
    Capability::Extension(Extension::Masquerade),
    Capability::Extension(Extension::Dnat),
];

/// All subjects, in the order of the report.
pub fn catalogue() -> Vec<SubjectSpec> {
    let mut specs = vec![
        plain("loopback", "One pod, 127.0.0.1: the limit of what sockets can do.", &[], direct::loopback),
        plain(
            "veth",
            "Two pods joined by a veth pair, no node in between.",
            &[Capability::Veth],
            direct::veth,
        ),
        plain(
            BASELINE,
            "Two veths routed through the node, no netfilter.",
            &[Capability::Veth],
            routed::routed,
        ),
        plain(
            BASELINE_AGAIN,
            "A second instance of routed: what differs between the two is noise.",
            &[Capability::Veth],
            routed::routed,
        ),
        plain(
            "bridge",
            "Reference bridge plugin as flannel delegates to it, flannel's masquerade rules, bridged past iptables.",
            &FLANNEL,
            plugins::bridge,
        ),
        plain(
            "bridge-nf",
            "As bridge, with bridge-nf-call-iptables=1 as Kubernetes asks for: bridged packets pass iptables and conntrack.",
            &[&FLANNEL[..], &[Capability::BridgeNetfilter]].concat(),
            plugins::bridge_nf,
        ),
        plain(
            "ptp",
            "Reference ptp plugin: two veths routed through the node, a gateway address on each.",
            &[Capability::Veth, Capability::Plugin("ptp"), Capability::Plugin("host-local")],
            plugins::ptp,
        ),
        plain(
            "ipvlan-l2",
            "Reference ipvlan plugin, mode l2: switched by the parent device.",
            &IPVLAN,
            plugins::ipvlan_l2,
        ),
        plain(
            "ipvlan-l3",
            "Reference ipvlan plugin, mode l3: routed by the parent device.",
            &IPVLAN,
            plugins::ipvlan_l3,
        ),
        plain(
            "netkit",
            "Two pods joined by a netkit pair in L3 mode, no program attached.",
            &[Capability::Netkit],
            direct::netkit,
        ),
        plain(
            "vxlan",
            "Pods on two nodes, routed into a VXLAN tunnel as flannel's vxlan backend sets it up.",
            &[Capability::Veth, Capability::Vxlan],
            vxlan::vxlan,
        ),
    ];
    specs.extend([
        plain(
            "ciliate-veth",
            "Our agent: pods attached by its CNI plugin, its eBPF programs on the node's ends of their veths; no policy.",
            &CILIATE,
            ciliate::veth,
        ),
        plain(
            "ciliate-veth-policy",
            "As ciliate-veth, with policies by which client and server may do nothing but what the workloads do.",
            &CILIATE,
            ciliate::veth_policy,
        ),
        plain(
            "ciliate-veth-policy-10000",
            "As ciliate-veth-policy, with 10 000 more entries in either pod's policy map.",
            &CILIATE,
            ciliate::veth_policy_10000,
        ),
    ]);
    specs.extend(POLICIES.map(calico_like));
    specs.extend(SERVICES.map(ciliate_service));
    specs.extend(SERVICES.map(ciliate_service_packet));
    specs.extend(KUBE_PROXY_SERVICES.map(kube_proxy_like));
    specs.extend(SERVICES.map(kube_proxy_ipvs_like));
    specs
}

fn plain(name: &str, description: &str, needs: &[Capability], builder: Builder) -> SubjectSpec {
    SubjectSpec {
        name: name.into(),
        description: description.into(),
        emulation: false,
        scale: None,
        workloads: &WorkloadKind::ALL,
        needs: needs.to_vec(),
        builder,
    }
}

fn point(series: &str, unit: &str, count: u32) -> Option<Scale> {
    Some(Scale { series: series.into(), unit: unit.into(), count })
}

fn calico_like(policies: u32) -> SubjectSpec {
    let series = "calico-like";
    let selected = match policies {
        0 => "no policy: the namespace's profile accepts".into(),
        n => format!("{n} policies select the server, the last one accepts the client"),
    };
    SubjectSpec {
        emulation: true,
        scale: point(series, "policies", policies),
        ..plain(
            &format!("{series}-{policies}"),
            &format!(
                "Emulation: routed veths with the iptables chains and ipsets of Calico's Felix; {selected}."
            ),
            &CALICO,
            calico::calico_like,
        )
    }
}

fn ciliate_service(services: u32) -> SubjectSpec {
    let how = "the client's sockets are connected to the backend at once, by our agent's programs on sockets";
    ciliate_services("ciliate-service", services, how, ciliate::service)
}

fn ciliate_service_packet(services: u32) -> SubjectSpec {
    let how = "translated packet by packet (--bpf-lb-sock=false)";
    ciliate_services("ciliate-service-packet", services, how, ciliate::service_packet)
}

fn ciliate_services(series: &str, services: u32, how: &str, builder: Builder) -> SubjectSpec {
    let number = match services {
        1 => "one service".into(),
        n => format!("{n} services, the measured one in the middle"),
    };
    SubjectSpec {
        scale: point(series, "services", services),
        workloads: &[WorkloadKind::TcpCrr],
        ..plain(
            &format!("{series}-{services}"),
            &format!("As ciliate-veth, the client dials a ClusterIP: {how}; {number}."),
            &CILIATE,
            builder,
        )
    }
}

fn kube_proxy_like(services: u32) -> SubjectSpec {
    let series = "kube-proxy-like";
    let position = match services {
        1 => "one service".into(),
        n => format!("{n} services with one backend each, the measured one in the middle of KUBE-SERVICES"),
    };
    SubjectSpec {
        emulation: true,
        scale: point(series, "services", services),
        workloads: &[WorkloadKind::TcpCrr],
        ..plain(
            &format!("{series}-{services}"),
            &format!("Emulation: routed veths, a ClusterIP through kube-proxy's iptables rules; {position}."),
            &KUBE_PROXY,
            kube_proxy::kube_proxy_like,
        )
    }
}

fn kube_proxy_ipvs_like(services: u32) -> SubjectSpec {
    let series = "kube-proxy-ipvs-like";
    let number = match services {
        1 => "one service".into(),
        n => format!("{n} services with one backend each, the measured one in the middle"),
    };
    SubjectSpec {
        emulation: true,
        scale: point(series, "services", services),
        workloads: &[WorkloadKind::TcpCrr],
        ..plain(
            &format!("{series}-{services}"),
            &format!(
                "Emulation: routed veths, a ClusterIP through the virtual servers, rules and sets of kube-proxy's IPVS mode; {number}."
            ),
            &KUBE_PROXY_IPVS,
            ipvs::kube_proxy_ipvs_like,
        )
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn names_are_unique_and_the_baselines_are_there() {
        let specs = catalogue();
        let names: HashSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        assert_eq!(names.len(), specs.len());
        assert!(names.contains(BASELINE) && names.contains(BASELINE_AGAIN));
    }

    #[test]
    fn emulations_say_so_and_points_of_a_series_are_named_by_their_size() {
        for spec in catalogue() {
            assert_eq!(spec.emulation, spec.description.contains("Emulation"), "{}", spec.name);
            if let Some(scale) = &spec.scale {
                assert_eq!(spec.name, format!("{}-{}", scale.series, scale.count));
            }
        }
    }
}
