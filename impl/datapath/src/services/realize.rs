// SPDX-License-Identifier: Apache-2.0
//! Bringing changes of services about. What fails is kept to one frontend or backend: a frontend counts only slots that
//! were written, and a backend that a slot still names stays.

use std::collections::{BTreeSet, HashSet};
use std::net::SocketAddr;

use controlplane::Deltas;
use ipnet::IpNet;
use loadbalancer::{BackendAddress, Frontend, Scope};
use maps::{LbFrontend, RuntimeConfig, lb_flags};

use super::Services;
use super::tables::Refused;
use crate::order::{PresentServices, Write, changed_slots, possible_slots};
use crate::round::Round;
use crate::{Datapath, DatapathError};

/// The writes of one kind, as what they say.
macro_rules! of_kind {
    ($group:expr, $pattern:pat => $value:expr) => {
        $group
            .iter()
            .filter_map(|write| match write {
                $pattern => Some($value),
                _ => None,
            })
            .collect::<Vec<_>>()
    };
}

impl Datapath {
    /// Writes of services of one kind, which may be done at once.
    pub(crate) fn write_services(&mut self, group: &[Write], round: &mut Round<'_>) {
        match group.first() {
            Some(Write::LbExternal(count)) => self.tell_external(*count, round),
            Some(Write::LbEpoch) => self.raise_lb_epoch(round),
            Some(Write::ForgetAffinity(..)) => {
                let gone = of_kind!(group, Write::ForgetAffinity(id, backend) => (*id, *backend));
                self.forget_affinity(gone.into_iter().collect(), round);
            }
            _ => {
                if let Some(services) = &mut self.services {
                    services.write(group, round);
                }
            }
        }
    }

    pub(crate) fn bump_lb_epoch(&self) -> Result<(), DatapathError> {
        self.change_runtime(|runtime| RuntimeConfig { lb_epoch: runtime.lb_epoch.wrapping_add(1), ..runtime })
    }

    fn tell_external(&mut self, count: u32, round: &mut Round<'_>) {
        match self.change_runtime(|runtime| RuntimeConfig { lb_external: count, ..runtime }) {
            Ok(()) => {
                if let Some(services) = &mut self.services {
                    services.tell_external(count);
                }
            }
            Err(error) => round.fail_all(&error),
        }
    }

    /// The plan took for granted that all can be written: programs are told what was, and of a frontend that lacks slots it
    /// is said.
    pub(crate) fn finish_services(&mut self, deltas: &Deltas, round: &mut Round<'_>) {
        let Some(services) = &self.services else { return };
        for (frontend, row) in &deltas.services.upserts {
            let there = services.known.slots(row.id).len();
            if there < row.slots.len() && !round.service_failed(row.id) {
                let reason = format!(
                    "of its {} slots {there} name a backend of its family that is there",
                    row.slots.len()
                );
                round.fail_service(frontend, &reason);
            }
        }
        let count = services.known.external();
        if count != services.known.told_external {
            self.tell_external(count, round);
        }
    }
}

impl Services {
    fn write(&mut self, group: &[Write], round: &mut Round<'_>) {
        match group.first() {
            Some(Write::Backend(..)) => {
                self.write_backends(&of_kind!(group, Write::Backend(id, address) => (*id, *address)), round);
            }
            Some(Write::ReverseNat(..)) => {
                self.write_reverse(&of_kind!(group, Write::ReverseNat(id, socket) => (*id, *socket)), round);
            }
            Some(Write::Slot(..)) => {
                let rows = of_kind!(group, Write::Slot(id, slot, backend) => (*id, *slot, *backend));
                self.write_slots(rows, round);
            }
            Some(Write::SourceRange(..)) => {
                self.write_ranges(&of_kind!(group, Write::SourceRange(id, range) => (*id, *range)), round);
            }
            Some(Write::RemoveSourceRange(..)) => {
                let rows = of_kind!(group, Write::RemoveSourceRange(id, range) => (*id, *range));
                for ((id, _), reason) in self.clear_ranges(&rows) {
                    round.fail_service_id(id, &reason);
                }
            }
            Some(Write::Frontend(..)) => {
                let (internal, external): (Vec<_>, Vec<_>) =
                    of_kind!(group, Write::Frontend(frontend, row) => (*frontend, *row))
                        .into_iter()
                        .partition(|(frontend, _)| frontend.scope == Scope::Internal);
                self.write_frontends(internal, round);
                self.write_frontends(external, round);
            }
            Some(Write::RemoveFrontend(_)) => {
                self.remove_frontends(&of_kind!(group, Write::RemoveFrontend(frontend) => *frontend), round);
            }
            Some(Write::RemoveSlot(..)) => {
                let ids: BTreeSet<u16> =
                    of_kind!(group, Write::RemoveSlot(id, _) => *id).into_iter().collect();
                self.trim_all(&ids, round);
            }
            Some(Write::RemoveReverseNat(..)) => {
                self.remove_reverse(
                    &of_kind!(group, Write::RemoveReverseNat(id, ipv6) => (*id, *ipv6)),
                    round,
                );
            }
            Some(Write::RemoveBackend(..)) => {
                let rows = of_kind!(group, Write::RemoveBackend(id, address) => (*id, *address));
                self.remove_backends(rows, round);
            }
            _ => {}
        }
    }

    fn write_backends(&mut self, rows: &[(u32, BackendAddress)], round: &mut Round<'_>) {
        for (id, reason) in self.tables.insert_backends(rows) {
            round.fail_backend(id, &reason);
        }
        for (id, address) in rows.iter().filter(|(id, _)| !round.backend_failed(*id)) {
            self.known.set_backend(*id, *address);
            self.gone.remove(address);
            if let Some(terminator) = &self.terminator {
                terminator.backend_came(address);
            }
        }
    }

    fn write_reverse(&mut self, rows: &[(u16, SocketAddr)], round: &mut Round<'_>) {
        for (id, reason) in self.tables.insert_reverse(rows) {
            round.fail_service_id(id, &reason);
        }
        for (id, socket) in rows.iter().filter(|(id, _)| !round.service_failed(*id)) {
            self.known.set_reverse(*id, socket.is_ipv6(), Some(*socket));
        }
    }

    /// Clients in a range that has no room are kept out, and the frontend is said to be not as desired.
    fn write_ranges(&mut self, rows: &[(u16, IpNet)], round: &mut Round<'_>) {
        let refused = self.tables.insert_ranges(rows);
        let failed: HashSet<(u16, IpNet)> = refused.iter().map(|(row, _)| *row).collect();
        for (id, range) in rows.iter().filter(|row| !failed.contains(row)) {
            self.known.set_range(*id, *range);
        }
        for ((id, range), reason) in refused {
            round.fail_service_id(id, &format!("clients in {range} are kept out: {reason}"));
        }
    }

    /// Removes source ranges. Returns what was refused.
    pub(super) fn clear_ranges(&mut self, rows: &[(u16, IpNet)]) -> Refused<(u16, IpNet)> {
        let refused = self.tables.remove_ranges(rows);
        for (id, range) in rows.iter().filter(|row| refused.iter().all(|(failed, _)| failed != *row)) {
            self.known.remove_range(*id, range);
        }
        refused
    }

    fn write_slots(&mut self, mut rows: Vec<(u16, u16, u32)>, round: &mut Round<'_>) {
        // Backends that could not be written leave no gap: those behind them move up.
        let incomplete: BTreeSet<u16> = rows
            .iter()
            .filter(|(_, _, backend)| self.known.backend(*backend).is_none())
            .map(|(id, ..)| *id)
            .collect();
        rows.retain(|(id, ..)| !incomplete.contains(id));
        for id in &incomplete {
            let wanted = self.wanted(*id, round);
            rows.extend(
                changed_slots(&wanted, self.known.slots(*id)).map(|(slot, backend)| (*id, slot, backend)),
            );
            round.fail_service_id(*id, &"not all of its backends could be written");
        }
        let refused = self.tables.insert_slots(&rows);
        let failed: HashSet<(u16, u16)> = refused.iter().map(|(key, _)| *key).collect();
        for (id, slot, backend) in rows {
            if !failed.contains(&(id, slot)) {
                self.known.set_slot(id, slot, backend);
            }
        }
        for ((id, _), reason) in refused {
            round.fail_service_id(id, &reason);
        }
        self.shorten(&incomplete, round);
    }

    /// Frontends that cannot have all slots that they have had count fewer: the backends in the others may be about to go.
    fn shorten(&mut self, ids: &BTreeSet<u16>, round: &mut Round<'_>) {
        let rows = ids.iter().filter_map(|id| {
            let owner = self.known.owner(*id)?;
            let row = self.known.frontend(&owner)?;
            let wanted = self.wanted(*id, round).len();
            // Less than a count that is there.
            ((row.count as usize) > wanted).then_some((owner, LbFrontend { count: wanted as u32, ..row }))
        });
        let rows: Vec<(Frontend, LbFrontend)> = rows.collect();
        // Of the others, slots beyond the count are those by which they are about to grow.
        let shortened: BTreeSet<u16> = rows.iter().map(|(_, row)| row.id).collect();
        self.write_frontends(rows, round);
        self.trim_all(&shortened, round);
    }

    /// The backends that are to be in an id's slots, as far as they are there.
    fn wanted(&self, id: u16, round: &Round<'_>) -> Vec<u32> {
        let service = round.service(id);
        service
            .map(|(frontend, row)| possible_slots(&frontend, row, |backend| self.known.backend(backend)))
            .unwrap_or_default()
    }

    /// How many slots a frontend may count: of those that it is to have, the first that are there.
    fn usable(&self, wanted: usize, id: u16) -> usize {
        let named = |backend: &u32| self.known.backend(*backend).is_some();
        self.known.slots(id).iter().take(wanted).take_while(|backend| named(backend)).count()
    }

    fn write_frontends(&mut self, rows: Vec<(Frontend, LbFrontend)>, round: &mut Round<'_>) {
        let (mut writes, mut short) = (Vec::new(), BTreeSet::new());
        for (frontend, row) in rows {
            let Some(row) = self.possible_row(&frontend, row, &mut short, round) else { continue };
            writes.push((frontend, row));
        }
        let refused = self.tables.insert_frontends(&writes);
        let failed: HashSet<Frontend> = refused.iter().map(|(frontend, _)| *frontend).collect();
        for (frontend, row) in writes {
            if failed.contains(&frontend) {
                // What was written for it takes no room from others.
                short.insert(row.id);
            } else {
                self.known.set_frontend(frontend, row);
            }
        }
        for (frontend, reason) in refused {
            round.fail_service(&frontend, &reason);
        }
        self.trim_all(&short, round);
    }

    /// The row that a frontend may have, after what was written of it; none if it must stay as it is.
    fn possible_row(
        &self,
        frontend: &Frontend,
        row: LbFrontend,
        short: &mut BTreeSet<u16>,
        round: &mut Round<'_>,
    ) -> Option<LbFrontend> {
        // Written or found there; without it answers would carry the backend's address.
        self.known
            .reverse_nat(row.id, frontend.address.is_ipv6())
            .filter(|socket| *socket == frontend.socket())?;
        if row.flags & lb_flags::SOURCE_RANGES != 0 && self.lets_in_strangers(frontend, &row, round) {
            round.fail_service(frontend, &"ranges of another service could not be removed");
            return None;
        }
        let failed = round.service_failed(row.id);
        let wanted = if failed { self.wanted(row.id, round).len() } else { row.count as usize };
        let count = self.usable(wanted, row.id);
        if count < wanted {
            short.insert(row.id);
            round.fail_service(frontend, &"some of its backends could not be written");
        }
        let mut flags = row.flags;
        let internal = Frontend { scope: Scope::Internal, ..*frontend };
        if flags & lb_flags::TWO_SCOPES != 0 && self.known.frontend(&internal).is_none() {
            // Better all its connections by the one row than those of pods by none.
            flags &= !lb_flags::TWO_SCOPES;
            round.fail_service(frontend, &format!("{internal} could not be written"));
        }
        // No more than `wanted`, which is a count of slots.
        Some(LbFrontend { count: count as u32, flags, ..row })
    }

    /// Whether ranges under its id are of a service that had the id before.
    fn lets_in_strangers(&self, frontend: &Frontend, row: &LbFrontend, round: &Round<'_>) -> bool {
        let asked = |before: LbFrontend| before.id == row.id && before.flags & lb_flags::SOURCE_RANGES != 0;
        if self.known.frontend(frontend).is_some_and(asked) {
            return false;
        }
        let wanted = round.service(row.id).and_then(|(_, service)| service.source_ranges.as_deref());
        let is_strange = |range: &IpNet| !wanted.is_some_and(|wanted| wanted.contains(range));
        self.known.source_ranges(row.id).into_iter().flatten().any(is_strange)
    }

    fn remove_frontends(&mut self, frontends: &[Frontend], round: &mut Round<'_>) {
        for (frontend, reason) in self.tables.remove_frontends(frontends) {
            round.fail_service_removal(&frontend, &reason);
        }
        for frontend in frontends.iter().filter(|frontend| !round.service_removal_failed(frontend)) {
            self.known.remove_frontend(frontend);
        }
    }

    fn trim_all(&mut self, ids: &BTreeSet<u16>, round: &mut Round<'_>) {
        for (id, reason) in self.trim(ids) {
            round.fail_service_id(id, &reason);
        }
    }

    /// Takes away the slots that no frontend counts. Returns what was refused.
    pub(super) fn trim(&mut self, ids: &BTreeSet<u16>) -> Refused<u16> {
        let mut surplus = Vec::new();
        for id in ids {
            let owner = self.known.owner(*id).and_then(|owner| self.known.frontend(&owner));
            let count = owner.map_or(0, |row| row.count as usize);
            let slots = (1..=u16::MAX).zip(self.known.slots(*id)).skip(count);
            surplus.extend(slots.filter(|(_, backend)| **backend != 0).map(|(slot, _)| (*id, slot)));
        }
        let refused = self.tables.remove_slots(&surplus);
        let failed: HashSet<(u16, u16)> = refused.iter().map(|(key, _)| *key).collect();
        // From the last one on, so that the list gets shorter.
        for (id, slot) in surplus.iter().rev().filter(|key| !failed.contains(key)) {
            self.known.set_slot(*id, *slot, 0);
        }
        refused.into_iter().map(|((id, _), reason)| (id, reason)).collect()
    }

    fn remove_reverse(&mut self, rows: &[(u16, bool)], round: &mut Round<'_>) {
        for family in [false, true] {
            let ids = rows.iter().filter(|(_, ipv6)| *ipv6 == family).map(|(id, _)| *id);
            for (_, reason) in self.clear_reverse(ids.collect(), family) {
                round.fail_strays(&reason);
            }
        }
    }

    /// Empties rows of the reverse table that are no frontend's. Returns what was refused.
    pub(super) fn clear_reverse(&mut self, mut ids: Vec<u16>, ipv6: bool) -> Refused<u16> {
        ids.retain(|id| {
            let owner = self.known.owner(*id);
            owner.is_none_or(|owner| owner.address.is_ipv6() != ipv6)
        });
        let refused = self.tables.clear_reverse(&ids, ipv6);
        for id in ids.iter().filter(|id| refused.iter().all(|(failed, _)| failed != *id)) {
            self.known.set_reverse(*id, ipv6, None);
        }
        refused
    }

    fn remove_backends(&mut self, mut rows: Vec<(u32, BackendAddress)>, round: &mut Round<'_>) {
        rows.retain(|(id, address)| {
            // Under an id that has come to another family, the row of the old one is nobody's.
            let uses = if self.known.backend(*id) == Some(*address) { self.known.uses(*id) } else { 0 };
            if uses > 0 {
                round.fail_backend_removal(*id, &format!("{uses} slots of frontends name it still"));
            }
            uses == 0
        });
        for (id, reason) in self.tables.remove_backends(&rows) {
            round.fail_backend_removal(id, &reason);
        }
        rows.retain(|(id, _)| !round.backend_removal_failed(*id));
        for (id, address) in &rows {
            if self.known.backend(*id) == Some(*address) {
                self.known.remove_backend(*id);
            }
        }
        // One that has got another id is there all the same.
        let gone = rows.iter().map(|(_, address)| *address);
        self.gone.extend(gone.filter(|address| self.known.backend_at(address).is_none()));
    }
}
