// SPDX-License-Identifier: Apache-2.0
//! In which order changes are written, so that the agent may die after any single write.
//!
//! A policy row is there before the ipcache row that makes it matter, and an endpoint's policy and program before the
//! address by which it is reached. What goes, goes the other way round. At last comes the epoch, by which every verdict
//! of before is found again. What is removed stays until all that is new is there: nothing that is allowed before and
//! after is denied in between. Services come last: they change no verdict.

mod services;

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use controlplane::{Deltas, EndpointRow, IpcacheRow};
use identity::NumericIdentity;
use ipnet::IpNet;
use loadbalancer::{BackendAddress, Frontend};
use maps::LbFrontend;
use policy::{PolicyEntry, PolicyKey};

pub use services::PresentServices;
pub(crate) use services::{changed_slots, possible_slots};

/// One write. Those next to each other that differ in their keys only may be done at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// The endpoint's policy map is made and pinned, if it is not there.
    MakePolicyMap(u16),
    /// A row of it.
    PolicyRow(u16, PolicyKey, PolicyEntry),
    /// `cilium_ep_to_policy` leads to it.
    PublishPolicyMap(u16),
    /// `cilium_ep_config`, and the program at the endpoint's device.
    Attach(u16),
    /// `cilium_lxc_by_id`, with the lengths of ports' prefixes that its policy map has.
    Row(u16),
    /// `cilium_lxc`.
    Address(u16, IpAddr),
    /// `cilium_lxc`, for an address of the node.
    HostAddress(IpAddr),
    /// `cilium_ipcache`.
    Ipcache(IpNet, IpcacheRow),
    /// `cilium_ipcache`.
    RemoveIpcache(IpNet),
    /// `cilium_lxc`: of an endpoint or of the node.
    RemoveAddress(IpAddr),
    /// `cilium_lxc_by_id`.
    RemoveRow(u16),
    /// The program, then `cilium_ep_config`.
    Detach(u16),
    /// Connections of an endpoint that is no more.
    FlushConntrack(u16),
    /// A row of a policy map that stays.
    RemovePolicyRow(u16, PolicyKey),
    /// `cilium_ep_to_policy`, then the pin.
    RemovePolicyMap(u16),
    /// `cilium_runtime`.
    Epoch,
    /// `cilium_runtime`: how many frontends the network may reach.
    LbExternal(u32),
    /// `cilium_lb4_backends` or `cilium_lb6_backends`.
    Backend(u32, BackendAddress),
    /// `cilium_lb4_reverse_nat_v2` or `cilium_lb6_reverse_nat_v2`.
    ReverseNat(u16, SocketAddr),
    /// `cilium_lb_slots`: the frontend's id, the slot, the backend's id.
    Slot(u16, u16, u32),
    /// `cilium_lb4_source_range` or `cilium_lb6_source_range`: clients that may use the frontend of an id.
    SourceRange(u16, IpNet),
    /// `cilium_lb4_source_range` or `cilium_lb6_source_range`.
    RemoveSourceRange(u16, IpNet),
    /// `cilium_lb4_services_v2` or `cilium_lb6_services_v2`.
    Frontend(Frontend, LbFrontend),
    /// `cilium_lb4_services_v2` or `cilium_lb6_services_v2`.
    RemoveFrontend(Frontend),
    /// `cilium_lb_affinity`: the clients of a frontend's id that had this backend.
    ForgetAffinity(u16, u32),
    /// `cilium_lb_slots`.
    RemoveSlot(u16, u16),
    /// Of IPv6 or IPv4.
    RemoveReverseNat(u16, bool),
    /// `cilium_lb4_backends` or `cilium_lb6_backends`, of the address's family.
    RemoveBackend(u32, BackendAddress),
    /// `cilium_runtime`: whoever remembers a backend asks whether it is still there.
    LbEpoch,
}

/// What is there before.
pub trait Present: PresentServices {
    /// The row of an endpoint.
    fn endpoint(&self, id: u16) -> Option<&EndpointRow>;
    /// Whether the address is there as one of the node.
    fn is_host(&self, address: IpAddr) -> bool;
}

/// The addresses of an endpoint.
pub fn addresses(row: &EndpointRow) -> impl Iterator<Item = IpAddr> {
    row.ipv4.map(IpAddr::V4).into_iter().chain(row.ipv6.map(IpAddr::V6))
}

/// Whether rows of this identity go before others and are never displaced by them: what is for anybody, and what has a
/// reserved identity.
pub const fn is_reserved(key: &PolicyKey) -> bool {
    key.identity < NumericIdentity::FIRST_ALLOCATED
}

/// The writes that bring changes about.
pub fn plan(deltas: &Deltas, present: &impl Present) -> Vec<Write> {
    let mut writes = Vec::new();
    let endpoints = &deltas.endpoints;
    let filled: BTreeSet<u16> = endpoints
        .upserts
        .iter()
        .map(|(id, _)| *id)
        .chain(deltas.policy.iter().map(|delta| delta.endpoint))
        .filter(|id| !endpoints.removals.contains(id))
        .collect();
    writes.extend(filled.iter().copied().map(Write::MakePolicyMap));
    for delta in deltas.policy.iter().filter(|delta| filled.contains(&delta.endpoint)) {
        let (first, then): (Vec<_>, Vec<_>) =
            delta.upserts.iter().copied().partition(|(key, _)| is_reserved(key));
        writes.extend(
            first.into_iter().chain(then).map(|(key, entry)| Write::PolicyRow(delta.endpoint, key, entry)),
        );
    }
    writes.extend(filled.iter().copied().map(Write::PublishPolicyMap));
    writes.extend(endpoints.upserts.iter().map(|(id, _)| Write::Attach(*id)));
    writes.extend(filled.iter().copied().map(Write::Row));
    for (id, row) in &endpoints.upserts {
        writes.extend(addresses(row).map(|address| Write::Address(*id, address)));
    }
    plan_ipcache(deltas, present, &mut writes);
    plan_removals(deltas, present, &filled, &mut writes);
    if !writes.is_empty() {
        writes.push(Write::Epoch);
    }
    services::plan_services(deltas, present, &mut writes);
    // A connection to a backend that no service names any more ends with its pod.
    if !endpoints.removals.is_empty() && writes.last() != Some(&Write::LbEpoch) {
        writes.push(Write::LbEpoch);
    }
    writes
}

/// The address that a prefix is, if it is the node's from now on.
fn host_address(prefix: &IpNet, row: &IpcacheRow) -> Option<IpAddr> {
    let host = row.identity == NumericIdentity::HOST.as_u32();
    (host && prefix.prefix_len() == prefix.max_prefix_len()).then(|| prefix.addr())
}

/// The addresses that are an endpoint's or the node's from now on.
fn taken(deltas: &Deltas) -> BTreeSet<IpAddr> {
    let endpoints = deltas.endpoints.upserts.iter().flat_map(|(_, row)| addresses(row));
    let hosts = deltas.ipcache.upserts.iter().filter_map(|(prefix, row)| host_address(prefix, row));
    endpoints.chain(hosts).collect()
}

fn plan_ipcache(deltas: &Deltas, present: &impl Present, writes: &mut Vec<Write>) {
    let ipcache = &deltas.ipcache;
    let hosts = ipcache.upserts.iter().filter_map(|(prefix, row)| host_address(prefix, row));
    writes.extend(hosts.map(Write::HostAddress));
    writes.extend(ipcache.upserts.iter().map(|(prefix, row)| Write::Ipcache(*prefix, *row)));
    writes.extend(ipcache.removals.iter().copied().map(Write::RemoveIpcache));
    let taken = taken(deltas);
    let named = ipcache.upserts.iter().map(|(prefix, _)| prefix).chain(&ipcache.removals);
    let no_host = named
        .filter(|prefix| prefix.prefix_len() == prefix.max_prefix_len())
        .map(IpNet::addr)
        .filter(|address| present.is_host(*address) && !taken.contains(address));
    writes.extend(no_host.map(Write::RemoveAddress));
}

fn plan_removals(deltas: &Deltas, present: &impl Present, filled: &BTreeSet<u16>, writes: &mut Vec<Write>) {
    let endpoints = &deltas.endpoints;
    let taken = taken(deltas);
    let changed = endpoints.upserts.iter().map(|(id, _)| id).chain(&endpoints.removals);
    for row in changed.filter_map(|id| present.endpoint(*id)) {
        writes.extend(addresses(row).filter(|address| !taken.contains(address)).map(Write::RemoveAddress));
    }
    let gone = || endpoints.removals.iter().copied();
    writes.extend(gone().map(Write::RemoveRow));
    writes.extend(gone().map(Write::Detach));
    writes.extend(gone().map(Write::FlushConntrack));
    for delta in deltas.policy.iter().filter(|delta| filled.contains(&delta.endpoint)) {
        writes.extend(delta.removals.iter().map(|key| Write::RemovePolicyRow(delta.endpoint, *key)));
    }
    let shrunk = deltas.policy.iter().filter(|d| !d.removals.is_empty() && filled.contains(&d.endpoint));
    writes.extend(shrunk.map(|delta| Write::Row(delta.endpoint)));
    writes.extend(gone().map(Write::RemovePolicyMap));
}
