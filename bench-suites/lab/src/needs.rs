// SPDX-License-Identifier: Apache-2.0
//! Whether the VM will be needed, found out before anything is installed.

use netns_lab::plan::Plan;
use netns_lab::probe::{Capability, Probe};

/// Whether this kernel lacks a link type that the plan's subjects are made of. Only link types are tried: what is
/// lacking because a program is not installed yet will be installed.
pub fn host_lacks_some_of(plan: Option<&Plan>) -> bool {
    let probe = Probe::default();
    plan.is_some_and(|plan| {
        plan.subjects.iter().any(|name| link_type(name).is_some_and(|needed| probe.check(&[needed]).is_err()))
    })
}

fn link_type(subject: &str) -> Option<Capability> {
    match subject {
        "bridge" => Some(Capability::Bridge),
        "bridge-nf" => Some(Capability::BridgeNetfilter),
        "ipvlan-l2" | "ipvlan-l3" => Some(Capability::Ipvlan),
        "netkit" => Some(Capability::Netkit),
        "vxlan" => Some(Capability::Vxlan),
        _ => None,
    }
}
