// SPDX-License-Identifier: Apache-2.0
//! What the kernel has of services, as far as this process wrote or read it: so that a change writes what differs alone.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use ipnet::IpNet;
use loadbalancer::{BackendAddress, Frontend};
use maps::{LbFrontend, lb_flags};

use crate::order::PresentServices;

/// What the kernel has of services.
#[derive(Debug, Default)]
pub struct Known {
    frontends: HashMap<Frontend, LbFrontend>,
    owners: HashMap<u16, Frontend>,
    /// By the frontend's id; 0 where a slot is not there. The last one is.
    slots: HashMap<u16, Vec<u32>>,
    /// How many slots name a backend.
    uses: HashMap<u32, u32>,
    reverse: [HashMap<u16, SocketAddr>; 2],
    /// By the frontend's id.
    ranges: HashMap<u16, BTreeSet<IpNet>>,
    backends: HashMap<u32, BackendAddress>,
    by_address: HashMap<BackendAddress, u32>,
    /// Frontends with [`lb_flags::EXTERNAL`].
    external: u32,
    /// How many of these programs have been told of.
    pub told_external: u32,
}

impl Known {
    /// A frontend's row was written.
    pub fn set_frontend(&mut self, frontend: Frontend, row: LbFrontend) {
        self.remove_frontend(&frontend);
        self.external += u32::from(row.flags & lb_flags::EXTERNAL != 0);
        self.owners.insert(row.id, frontend);
        self.frontends.insert(frontend, row);
    }

    /// A frontend's row was removed.
    pub fn remove_frontend(&mut self, frontend: &Frontend) {
        let Some(row) = self.frontends.remove(frontend) else { return };
        self.external -= u32::from(row.flags & lb_flags::EXTERNAL != 0);
        if self.owners.get(&row.id) == Some(frontend) {
            self.owners.remove(&row.id);
        }
    }

    /// A slot was written, or, with backend 0, removed. Slots are numbered from 1.
    pub fn set_slot(&mut self, id: u16, slot: u16, backend: u32) {
        let Some(index) = usize::from(slot).checked_sub(1) else { return };
        let slots = self.slots.entry(id).or_default();
        if slots.len() <= index {
            slots.resize(index + 1, 0);
        }
        let before = std::mem::replace(&mut slots[index], backend);
        while slots.last() == Some(&0) {
            slots.pop();
        }
        if slots.is_empty() {
            self.slots.remove(&id);
        }
        if backend != 0 {
            *self.uses.entry(backend).or_default() += 1;
        }
        if let Some(count) = self.uses.get_mut(&before).filter(|_| before != 0) {
            *count -= 1;
            if *count == 0 {
                self.uses.remove(&before);
            }
        }
    }

    /// A row of the reverse table was written or removed.
    pub fn set_reverse(&mut self, id: u16, ipv6: bool, socket: Option<SocketAddr>) {
        let rows = &mut self.reverse[usize::from(ipv6)];
        match socket {
            Some(socket) => drop(rows.insert(id, socket)),
            None => drop(rows.remove(&id)),
        }
    }

    /// A source range was written.
    pub fn set_range(&mut self, id: u16, range: IpNet) {
        self.ranges.entry(id).or_default().insert(range);
    }

    /// A source range was removed.
    pub fn remove_range(&mut self, id: u16, range: &IpNet) {
        if let Some(ranges) = self.ranges.get_mut(&id) {
            ranges.remove(range);
            if ranges.is_empty() {
                self.ranges.remove(&id);
            }
        }
    }

    /// All source ranges, with the ids of their frontends.
    pub fn ranges(&self) -> impl Iterator<Item = (u16, IpNet)> + '_ {
        self.ranges.iter().flat_map(|(id, ranges)| ranges.iter().map(|range| (*id, *range)))
    }

    /// A backend was written.
    pub fn set_backend(&mut self, id: u32, address: BackendAddress) {
        self.remove_backend(id);
        self.backends.insert(id, address);
        self.by_address.insert(address, id);
    }

    /// A backend was removed.
    pub fn remove_backend(&mut self, id: u32) {
        let Some(address) = self.backends.remove(&id) else { return };
        if self.by_address.get(&address) == Some(&id) {
            self.by_address.remove(&address);
        }
    }

    /// All frontends.
    pub const fn frontends(&self) -> &HashMap<Frontend, LbFrontend> {
        &self.frontends
    }

    /// All backends.
    pub const fn backends(&self) -> &HashMap<u32, BackendAddress> {
        &self.backends
    }

    /// How many slots there are.
    pub fn slots_count(&self) -> u64 {
        self.uses.values().map(|count| u64::from(*count)).sum()
    }

    /// The ids that have slots.
    pub fn ids_with_slots(&self) -> Vec<u16> {
        self.slots.keys().copied().collect()
    }

    /// The ids that have a row in the reverse table of a family.
    pub fn ids_with_reverse(&self, ipv6: bool) -> Vec<u16> {
        self.reverse[usize::from(ipv6)].keys().copied().collect()
    }

    /// How many slots name a backend.
    pub fn uses(&self, backend: u32) -> u32 {
        self.uses.get(&backend).copied().unwrap_or(0)
    }

    /// How many frontends the network may reach.
    pub const fn external(&self) -> u32 {
        self.external
    }

    /// The id by which somebody has this address.
    pub fn backend_at(&self, address: &BackendAddress) -> Option<u32> {
        self.by_address.get(address).copied()
    }
}

impl PresentServices for Known {
    fn frontend(&self, frontend: &Frontend) -> Option<LbFrontend> {
        self.frontends.get(frontend).copied()
    }

    fn owner(&self, id: u16) -> Option<Frontend> {
        self.owners.get(&id).copied()
    }

    fn slots(&self, id: u16) -> &[u32] {
        self.slots.get(&id).map_or(&[], Vec::as_slice)
    }

    fn source_ranges(&self, id: u16) -> Option<&BTreeSet<IpNet>> {
        self.ranges.get(&id)
    }

    fn reverse_nat(&self, id: u16, ipv6: bool) -> Option<SocketAddr> {
        self.reverse[usize::from(ipv6)].get(&id).copied()
    }

    fn backend(&self, id: u32) -> Option<BackendAddress> {
        self.backends.get(&id).copied()
    }

    fn external_frontends(&self) -> u32 {
        self.told_external
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_counted_by_the_backend_that_they_name() {
        let mut known = Known::default();
        known.set_slot(1, 3, 7);
        assert_eq!(known.slots(1), [0, 0, 7]);
        known.set_slot(1, 1, 7);
        known.set_slot(2, 1, 7);
        assert_eq!((known.uses(7), known.slots_count()), (3, 3));
        known.set_slot(1, 3, 8);
        assert_eq!((known.uses(7), known.uses(8)), (2, 1));
        known.set_slot(1, 3, 0);
        assert_eq!(known.slots(1), [7]);
        known.set_slot(1, 1, 0);
        known.set_slot(2, 1, 0);
        assert_eq!((known.uses(7), known.slots_count(), known.ids_with_slots()), (0, 0, Vec::new()));
    }
}
