// SPDX-License-Identifier: Apache-2.0
//! Numbers, given in turn.

use std::collections::BTreeMap;

/// Numbers from 1. One that is given back is given again as late as possible: who still knows it as the old one's, as an
/// entry of connection tracking does, has time to forget.
#[derive(Debug, Clone)]
pub(crate) struct Ids {
    /// Free ranges: first to last, both inclusive, with a gap between each two.
    free: BTreeMap<u32, u32>,
    /// The one given last.
    last: u32,
}

impl Ids {
    /// All of 1 to `max`.
    pub(crate) fn up_to(max: u32) -> Self {
        Self { free: BTreeMap::from([(1, max)]), last: 0 }
    }

    /// Whether none is left.
    pub(crate) fn is_exhausted(&self) -> bool {
        self.free.is_empty()
    }

    /// The next, if any is free.
    pub(crate) fn give(&mut self) -> Option<u32> {
        let after = self.last.checked_add(1).and_then(|next| self.free_from(next));
        let id = after.or_else(|| self.free.keys().next().copied())?;
        self.take(id);
        self.last = id;
        Some(id)
    }

    /// Takes this one. Whether it was free.
    pub(crate) fn take(&mut self, id: u32) -> bool {
        let Some((&first, &last)) = self.free.range(..=id).next_back().filter(|(_, last)| **last >= id)
        else {
            return false;
        };
        self.free.remove(&first);
        if first < id {
            self.free.insert(first, id - 1);
        }
        if id < last {
            self.free.insert(id + 1, last);
        }
        true
    }

    /// Takes one that an earlier run gave: it counts as given before anything of this run.
    pub(crate) fn take_restored(&mut self, id: u32) -> bool {
        let taken = self.take(id);
        if taken {
            self.last = self.last.max(id);
        }
        taken
    }

    /// Takes one back that was given.
    pub(crate) fn release(&mut self, id: u32) {
        let (mut first, mut last) = (id, id);
        if let Some((&before, &end)) = self.free.range(..id).next_back()
            && end + 1 == id
        {
            self.free.remove(&before);
            first = before;
        }
        if let Some(end) = id.checked_add(1).and_then(|next| self.free.remove(&next)) {
            last = end;
        }
        self.free.insert(first, last);
    }

    /// The first free one that is not less.
    fn free_from(&self, id: u32) -> Option<u32> {
        let around = self.free.range(..=id).next_back().filter(|(_, last)| **last >= id).map(|_| id);
        around.or_else(|| self.free.range(id..).next().map(|(first, _)| *first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_given_in_turn_and_each_to_one_only() {
        let mut ids = Ids::up_to(4);
        assert_eq!([ids.give(), ids.give(), ids.give()], [Some(1), Some(2), Some(3)]);
        ids.release(2);
        assert_eq!([ids.give(), ids.give(), ids.give()], [Some(4), Some(2), None]);
        assert!(ids.is_exhausted());
        ids.release(3);
        ids.release(1);
        ids.release(2);
        assert_eq!(ids.free, BTreeMap::from([(1, 3)]));
        assert!(ids.take(2) && !ids.take(2) && !ids.take(4));
        assert_eq!([ids.give(), ids.give(), ids.give()], [Some(3), Some(1), None]);
    }

    #[test]
    fn numbers_of_an_earlier_run_count_as_given_before() {
        let mut ids = Ids::up_to(u32::MAX);
        assert!(ids.take_restored(7) && ids.take_restored(u32::MAX) && !ids.take_restored(0));
        assert_eq!(ids.give(), Some(1));
        let mut ids = Ids::up_to(u32::MAX);
        ids.take_restored(7);
        assert_eq!(ids.give(), Some(8));
    }
}
