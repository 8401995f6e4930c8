// SPDX-License-Identifier: Apache-2.0
//! The order of services' writes.
//!
//! After any single one, each frontend's slots from 1 to its count are there and name backends that are there, and its row
//! in the reverse table is there; and who is kept out before and after is kept out in between. So what a frontend will need comes before it, and what it needed goes after it. A
//! frontend keeps its id and its slots are changed in place: connections meet old and new backends in between, never none.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use controlplane::Deltas;
use ipnet::IpNet;
use loadbalancer::{BackendAddress, Frontend, Scope, ServiceRow};
use maps::{LbFrontend, lb_flags};

use super::Write;

/// What is there of services before.
pub trait PresentServices {
    /// The row of a frontend.
    fn frontend(&self, frontend: &Frontend) -> Option<LbFrontend>;
    /// The frontend that has this id.
    fn owner(&self, id: u16) -> Option<Frontend>;
    /// The backends in the slots of a frontend's id, from slot 1; 0 where a slot is not there.
    fn slots(&self, id: u16) -> &[u32];
    /// The address that answers carry, of one family.
    fn reverse_nat(&self, id: u16, ipv6: bool) -> Option<SocketAddr>;
    /// The clients that may use the frontend of an id, of whatever family, if its row asks for them.
    fn source_ranges(&self, id: u16) -> Option<&BTreeSet<IpNet>>;
    /// Where the backend of an id is.
    fn backend(&self, id: u32) -> Option<BackendAddress>;
    /// How many frontends of the network programs have been told of.
    fn external_frontends(&self) -> u32;
}

/// Whether what comes from the network is translated. What comes for a loopback address is forged.
fn is_external(frontend: &Frontend, row: &ServiceRow) -> bool {
    row.kind.is_external() && !frontend.address.is_loopback()
}

/// The row that a frontend is to have, with so many slots.
fn frontend_row(frontend: &Frontend, row: &ServiceRow, slots: usize) -> LbFrontend {
    let flag = |on: bool, bit: u16| if on { bit } else { 0 };
    LbFrontend {
        id: row.id,
        flags: flag(is_external(frontend, row), lb_flags::EXTERNAL)
            | flag(row.two_scopes, lb_flags::TWO_SCOPES)
            | flag(row.kind.is_of_node(), lb_flags::NODE_PORT)
            | flag(row.source_ranges.is_some(), lb_flags::SOURCE_RANGES),
        // No more than `SLOTS_MAX`.
        count: slots as u32,
        affinity_timeout_s: row.affinity_timeout_s.unwrap_or(0),
        pad: 0,
    }
}

/// A slot's number has 16 bits.
const SLOTS_MAX: usize = u16::MAX as usize;

/// The slots that a frontend can have: those of its backends that are there, and of its family.
pub fn possible_slots(
    frontend: &Frontend,
    row: &ServiceRow,
    backend: impl Fn(u32) -> Option<BackendAddress>,
) -> Vec<u32> {
    let fits = |id: &u32| {
        backend(*id).is_some_and(|backend| backend.address.is_ipv6() == frontend.address.is_ipv6())
    };
    row.slots.iter().copied().filter(fits).take(SLOTS_MAX).collect()
}

/// The slots that differ: number and backend.
pub fn changed_slots<'a>(wanted: &'a [u32], there: &'a [u32]) -> impl Iterator<Item = (u16, u32)> + 'a {
    let differs = |(index, backend): &(usize, &u32)| there.get(*index) != Some(*backend);
    wanted.iter().enumerate().filter(differs).map(|(index, backend)| (number(index), *backend))
}

/// The number of the slot at an index below `SLOTS_MAX`.
fn number(index: usize) -> u16 {
    index as u16 + 1
}

/// Slots beyond a count that are there.
fn surplus(there: &[u32], count: usize) -> impl Iterator<Item = u16> {
    let beyond = there.iter().enumerate().skip(count).filter(|(_, backend)| **backend != 0);
    beyond.map(|(index, _)| number(index))
}

/// The ids that are somebody's from now on, and whether that is of IPv6.
type Ids = BTreeMap<u16, bool>;

/// Writes by the phase that they belong to.
#[derive(Default)]
struct Plan {
    /// Frontends whose id somebody else gets.
    displaced: Vec<Write>,
    /// Ranges of an id that is to let in others, and lets in nobody by them now.
    stale_ranges: Vec<Write>,
    backends: Vec<Write>,
    reverse: Vec<Write>,
    slots: Vec<Write>,
    ranges: Vec<Write>,
    frontends: Vec<Write>,
    gone_frontends: Vec<Write>,
    affinity: Vec<Write>,
    gone_ranges: Vec<Write>,
    gone_slots: Vec<Write>,
    gone_reverse: Vec<Write>,
    gone_backends: Vec<Write>,
    /// An id stands for another address now.
    moved: bool,
}

/// The writes that bring the changes of services about.
pub fn plan_services(deltas: &Deltas, present: &impl PresentServices, writes: &mut Vec<Write>) {
    if deltas.services.is_empty() && deltas.backends.is_empty() {
        return;
    }
    let mut plan = Plan::default();
    let coming: BTreeMap<u32, BackendAddress> =
        deltas.backends.upserts.iter().map(|(id, row)| (*id, row.address)).collect();
    plan.backends(deltas, &coming, present);
    let going: BTreeSet<u32> = deltas.backends.removals.iter().copied().collect();
    let backend = |id: u32| {
        let stays = || present.backend(id).filter(|_| !going.contains(&id));
        coming.get(&id).copied().or_else(stays)
    };
    let ids: Ids = deltas.services.upserts.iter().map(|(key, row)| (row.id, key.address.is_ipv6())).collect();
    for (frontend, row) in &deltas.services.upserts {
        plan.upsert(frontend, row, &possible_slots(frontend, row, backend), &ids, present);
    }
    for frontend in &deltas.services.removals {
        plan.remove(frontend, &ids, present);
    }
    // Whoever finds the external row and its flag finds the internal one.
    plan.frontends
        .sort_by_key(|write| matches!(write, Write::Frontend(key, _) if key.scope == Scope::External));
    let before = present.external_frontends();
    let after = external_after(deltas, present);
    if after > before {
        writes.push(Write::LbExternal(after));
    }
    let gone = !plan.gone_backends.is_empty() || !plan.gone_reverse.is_empty() || plan.moved;
    for phase in [
        plan.displaced,
        plan.stale_ranges,
        plan.backends,
        plan.reverse,
        plan.slots,
        plan.ranges,
        plan.frontends,
        plan.gone_frontends,
        plan.affinity,
        plan.gone_ranges,
        plan.gone_slots,
        plan.gone_reverse,
        plan.gone_backends,
    ] {
        writes.extend(phase);
    }
    if gone {
        writes.push(Write::LbEpoch);
    }
    if after < before {
        writes.push(Write::LbExternal(after));
    }
}

/// How many frontends of the network there will be.
fn external_after(deltas: &Deltas, present: &impl PresentServices) -> u32 {
    let was = |frontend: &Frontend| {
        present.frontend(frontend).is_some_and(|row| row.flags & lb_flags::EXTERNAL != 0)
    };
    let upserts = deltas.services.upserts.iter();
    let more = upserts.clone().filter(|(key, row)| is_external(key, row) && !was(key)).count();
    let fewer = upserts.filter(|(key, row)| !is_external(key, row) && was(key)).count()
        + deltas.services.removals.iter().filter(|key| was(key)).count();
    // Ids of frontends have 16 bits.
    (present.external_frontends() + more as u32).saturating_sub(fewer as u32)
}

impl Plan {
    fn backends(
        &mut self,
        deltas: &Deltas,
        coming: &BTreeMap<u32, BackendAddress>,
        present: &impl PresentServices,
    ) {
        for (id, address) in coming {
            let before = present.backend(*id);
            if before == Some(*address) {
                continue;
            }
            self.backends.push(Write::Backend(*id, *address));
            let Some(before) = before else { continue };
            self.moved = true;
            if before.address.is_ipv4() != address.address.is_ipv4() {
                self.gone_backends.push(Write::RemoveBackend(*id, before));
            }
        }
        for id in deltas.backends.removals.iter().filter(|id| !coming.contains_key(id)) {
            self.gone_backends.extend(present.backend(*id).map(|address| Write::RemoveBackend(*id, address)));
        }
    }

    fn upsert(
        &mut self,
        frontend: &Frontend,
        row: &ServiceRow,
        wanted: &[u32],
        ids: &Ids,
        present: &impl PresentServices,
    ) {
        let id = row.id;
        if let Some(other) = present.owner(id).filter(|other| other != frontend) {
            // Its connections must not meet our backends.
            self.displaced.push(Write::RemoveFrontend(other));
        }
        let before = present.frontend(frontend);
        if let Some(before) = before.filter(|before| before.id != id) {
            self.abandon(frontend, before, ids, present);
        }
        let there = present.slots(id);
        let answers = present.reverse_nat(id, frontend.address.is_ipv6());
        if answers != Some(frontend.socket()) {
            self.moved |= answers.is_some();
            self.reverse.push(Write::ReverseNat(id, frontend.socket()));
        }
        self.slots.extend(changed_slots(wanted, there).map(|(slot, backend)| Write::Slot(id, slot, backend)));
        let value = frontend_row(frontend, row, wanted.len());
        self.source_ranges(id, row, before, present);
        if before != Some(value) {
            self.frontends.push(Write::Frontend(*frontend, value));
        }
        if before.is_some_and(|before| before.id == id && before.affinity_timeout_s != 0) {
            // Without affinity none is kept: it would be found when affinity comes back.
            let kept: BTreeSet<u32> =
                wanted.iter().copied().filter(|_| value.affinity_timeout_s != 0).collect();
            let had = there.iter().chain(wanted).copied();
            self.forget(id, had.filter(|backend| !kept.contains(backend)));
        }
        self.gone_slots.extend(surplus(there, wanted.len()).map(|slot| Write::RemoveSlot(id, slot)));
    }

    /// New ranges come before the row that asks for them. Old ones go after it if they let clients in by now; if the id was
    /// somebody else's, before.
    fn source_ranges(
        &mut self,
        id: u16,
        row: &ServiceRow,
        before: Option<LbFrontend>,
        present: &impl PresentServices,
    ) {
        let wanted = row.source_ranges.as_deref().unwrap_or_default();
        let there = present.source_ranges(id);
        let is_there = |range: &IpNet| there.is_some_and(|there| there.contains(range));
        let new = wanted.iter().filter(|range| !is_there(range));
        self.ranges.extend(new.map(|range| Write::SourceRange(id, *range)));
        let asked = before.is_some_and(|row| row.id == id && row.flags & lb_flags::SOURCE_RANGES != 0);
        let old = there.into_iter().flatten().filter(|range| wanted.binary_search(range).is_err());
        let phase = if asked { &mut self.gone_ranges } else { &mut self.stale_ranges };
        phase.extend(old.map(|range| Write::RemoveSourceRange(id, *range)));
    }

    fn remove(&mut self, frontend: &Frontend, ids: &Ids, present: &impl PresentServices) {
        let Some(before) = present.frontend(frontend) else { return };
        self.gone_frontends.push(Write::RemoveFrontend(*frontend));
        self.abandon(frontend, before, ids, present);
    }

    /// What belongs to an id that its frontend has no longer, unless another has it from now on.
    fn abandon(
        &mut self,
        frontend: &Frontend,
        before: LbFrontend,
        ids: &Ids,
        present: &impl PresentServices,
    ) {
        let id = before.id;
        let there = present.slots(id);
        if before.affinity_timeout_s != 0 {
            self.forget(id, there.iter().copied());
        }
        if !ids.contains_key(&id) {
            self.gone_slots.extend(surplus(there, 0).map(|slot| Write::RemoveSlot(id, slot)));
            let ranges = present.source_ranges(id).into_iter().flatten();
            self.gone_ranges.extend(ranges.map(|range| Write::RemoveSourceRange(id, *range)));
        }
        let ipv6 = frontend.address.is_ipv6();
        if ids.get(&id) != Some(&ipv6) && present.reverse_nat(id, ipv6).is_some() {
            self.gone_reverse.push(Write::RemoveReverseNat(id, ipv6));
        }
    }

    fn forget(&mut self, id: u16, backends: impl Iterator<Item = u32>) {
        let backends: BTreeSet<u32> = backends.filter(|backend| *backend != 0).collect();
        self.affinity.extend(backends.into_iter().map(|backend| Write::ForgetAffinity(id, backend)));
    }
}
