// SPDX-License-Identifier: Apache-2.0
//! Backends: who names them, and their ids.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::ids::Ids;
use crate::row::{BackendAddress, BackendRow, BackendState};
use crate::tracked::Tracked;

/// A backend that somebody names.
#[derive(Debug, Clone, Default)]
struct Entry {
    /// None while there is no room for it.
    id: Option<u32>,
    /// How many owners name it.
    named: u32,
    /// How many of them say that it takes new connections.
    active: u32,
    /// How many of them say that it ends.
    terminating: u32,
}

/// All backends.
#[derive(Debug, Clone)]
pub(crate) struct Backends {
    max: usize,
    entries: HashMap<BackendAddress, Entry>,
    rows: Tracked<u32, BackendRow>,
    ids: Ids,
    /// Ids of an earlier run, taken and not claimed yet.
    restored: BTreeMap<BackendAddress, u32>,
    /// Named, and without room.
    waiting: BTreeSet<BackendAddress>,
    /// Those of them that were not told.
    refused: BTreeSet<BackendAddress>,
    /// Perhaps not named any more.
    left: BTreeSet<BackendAddress>,
}

impl Backends {
    pub(crate) fn new(max: usize) -> Self {
        Self {
            max,
            entries: HashMap::new(),
            rows: Tracked::default(),
            ids: Ids::up_to(u32::MAX),
            restored: BTreeMap::new(),
            waiting: BTreeSet::new(),
            refused: BTreeSet::new(),
            left: BTreeSet::new(),
        }
    }

    pub(crate) fn rows(&self) -> &BTreeMap<u32, BackendRow> {
        self.rows.rows()
    }

    pub(crate) fn drain(&mut self) -> BTreeMap<u32, Option<BackendRow>> {
        self.rows.drain()
    }

    pub(crate) fn id(&self, address: &BackendAddress) -> Option<u32> {
        self.entries.get(address)?.id
    }

    /// Those for which there was no room since it was last asked, and is none now.
    pub(crate) fn take_refused(&mut self) -> BTreeSet<BackendAddress> {
        let refused = std::mem::take(&mut self.refused);
        refused.into_iter().filter(|address| self.waiting.contains(address)).collect()
    }

    /// How many of these are not there, and how many more there may be.
    pub(crate) fn room_for<'a>(&self, addresses: impl Iterator<Item = &'a BackendAddress>) -> (usize, usize) {
        let new = addresses.filter(|address| !self.entries.contains_key(address)).count();
        (new, self.max.saturating_sub(self.entries.len()))
    }

    pub(crate) fn restore(&mut self, restored: BTreeMap<BackendAddress, u32>) {
        for (address, id) in restored {
            if !self.entries.contains_key(&address) && self.ids.take_restored(id) {
                self.restored.insert(address, id);
            }
        }
    }

    /// Ids of an earlier run that nobody claimed are free.
    pub(crate) fn forget_restored(&mut self) {
        for id in std::mem::take(&mut self.restored).into_values() {
            self.ids.release(id);
        }
    }

    /// What one owner says of a backend changed.
    pub(crate) fn change(
        &mut self,
        address: BackendAddress,
        before: Option<BackendState>,
        now: Option<BackendState>,
    ) {
        let entry = self.entries.entry(address).or_default();
        if let Some(state) = before {
            entry.named -= 1;
            entry.active -= u32::from(state == BackendState::Active);
            entry.terminating -= u32::from(state == BackendState::Terminating);
        }
        if let Some(state) = now {
            entry.named += 1;
            entry.active += u32::from(state == BackendState::Active);
            entry.terminating += u32::from(state == BackendState::Terminating);
        }
        if entry.named == 0 {
            self.left.insert(address);
        } else {
            self.update(address);
        }
    }

    /// Whether there is room for one that an earlier run did not have; those that are claimed later have theirs.
    fn has_room(&self) -> bool {
        self.rows.rows().len() + self.restored.len() < self.max
    }

    /// The row of a backend as it should be, if there is room.
    fn update(&mut self, address: BackendAddress) {
        let (room, room_for_known) = (self.has_room(), self.rows.rows().len() < self.max);
        let Some(entry) = self.entries.get_mut(&address) else { return };
        if entry.id.is_none() {
            let known = self.restored.remove(&address);
            entry.id = match known.filter(|_| room_for_known) {
                Some(id) => Some(id),
                None => room.then(|| self.ids.give()).flatten(),
            };
            if let (Some(known), None) = (known, entry.id) {
                self.ids.release(known);
            }
        }
        let Some(id) = entry.id else {
            if self.waiting.insert(address) {
                self.refused.insert(address);
            }
            return;
        };
        let state = match entry {
            Entry { active: 1.., .. } => BackendState::Active,
            Entry { terminating: 1.., .. } => BackendState::Terminating,
            _ => BackendState::NotReady,
        };
        self.rows.set(id, BackendRow { address, state });
    }

    /// Drops what nobody names any more; no slot may name it either. Gives room to those that wait. Whom.
    pub(crate) fn settle(&mut self) -> (Vec<BackendAddress>, Vec<BackendAddress>) {
        let mut gone = Vec::new();
        for address in std::mem::take(&mut self.left) {
            if self.entries.get(&address).is_some_and(|entry| entry.named > 0) {
                continue;
            }
            if let Some(id) = self.entries.remove(&address).and_then(|entry| entry.id) {
                self.rows.remove(&id);
                self.ids.release(id);
            }
            self.waiting.remove(&address);
            gone.push(address);
        }
        let mut admitted = Vec::new();
        while self.has_room()
            && let Some(address) = self.waiting.pop_first()
        {
            self.update(address);
            admitted.push(address);
        }
        (gone, admitted)
    }
}
