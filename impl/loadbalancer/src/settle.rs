// SPDX-License-Identifier: Apache-2.0
//! From wishes to rows: who has which frontend, with which id, and which backends in its slots.

use std::collections::{BTreeMap, BTreeSet};

use crate::balancer::LoadBalancer;
use crate::owner::{Claim, Owner, Translated, Wanted, internal};
use crate::refused::Subject;
use crate::row::{BackendAddress, FRONTEND_ID_MAX, Frontend, FrontendKind, Scope, ServiceRow};
use crate::slots::{Crowded, slots};

impl LoadBalancer {
    /// Makes rows of what changed; [`LoadBalancer::changes`] does so too. With the first time the ids of an earlier run are
    /// given back to who had them, and so is the room: where it is not enough for all, others wait.
    pub fn decide(&mut self) {
        let mut touched = BTreeSet::new();
        while let Some(owner) = self.dirty.pop_first() {
            self.take_wishes(owner, &mut touched);
        }
        if self.decided {
            self.refresh_all(touched, &mut BTreeSet::new());
        } else {
            self.decide_first(touched);
        }
        self.decide_health();
    }

    fn decide_first(&mut self, touched: BTreeSet<Frontend>) {
        let (had, mut touched) = self.split_off(touched, |this, one| this.restored.contains_key(one));
        let (without, with) = self.split_off(had, |this, one| this.without_slots.contains(one));
        // With the backends that the kernel has: others have no ids so far, unless there is room for all.
        self.refresh_all(with, &mut BTreeSet::new());
        self.refresh_all(without, &mut BTreeSet::new());
        self.decided = true;
        for id in std::mem::take(&mut self.restored).into_values() {
            self.ids.release(id.into());
        }
        self.without_slots.clear();
        self.backends.forget_restored();
        touched.append(&mut self.short);
        self.refresh_all(touched, &mut BTreeSet::new());
    }

    /// Those for which this holds, and the others.
    fn split_off(
        &self,
        frontends: BTreeSet<Frontend>,
        holds: impl Fn(&Self, &Frontend) -> bool,
    ) -> (BTreeSet<Frontend>, BTreeSet<Frontend>) {
        frontends.into_iter().partition(|one| holds(self, one))
    }

    /// Notes what an owner wants now. The frontends with which something may be different.
    fn take_wishes(&mut self, owner: Owner, touched: &mut BTreeSet<Frontend>) {
        let now = self.translated(&owner).unwrap_or_default();
        let before = self.wishes.remove(&owner).unwrap_or_default();
        for (address, was, is) in differences(&before.backends, &now.backends) {
            self.backends.change(address, was.copied(), is.copied());
        }
        for (frontend, was, is) in differences(&before.frontends, &now.frontends) {
            touched.insert(frontend);
            let claim =
                |wanted: &Wanted| Claim { precedence: wanted.kind.precedence(), owner: owner.clone() };
            let (was, is) = (was.map(claim), is.map(claim));
            if was == is {
                continue;
            }
            let claims = self.claims.entry(frontend).or_default();
            claims.retain(|claim| Some(claim) != was.as_ref());
            if let Some(claim) = is {
                let at = claims.partition_point(|other| *other < claim);
                claims.insert(at, claim);
            }
            if claims.is_empty() {
                self.claims.remove(&frontend);
            }
        }
        let refused = now.refused.iter();
        let refused =
            refused.map(|(part, why)| (Subject::Part(owner.clone(), part.clone()), why.clone())).collect();
        let concerns = |subject: &Subject| matches!(subject, Subject::Part(of, _) if *of == owner);
        self.reasons.replace(Subject::Part(owner.clone(), String::new()), concerns, refused);
        self.health.change(&owner, before.health, now.health);
        let Translated { frontends, backends, health, refused } = &now;
        if !(frontends.is_empty() && backends.is_empty() && health.is_none() && refused.is_empty()) {
            self.wishes.insert(owner, now);
        }
    }

    /// Makes the rows of these, and of those for which there is room now; each of the latter is tried once.
    fn refresh_all(&mut self, mut touched: BTreeSet<Frontend>, tried: &mut BTreeSet<Frontend>) {
        loop {
            while let Some(frontend) = touched.pop_first() {
                self.refresh(frontend);
            }
            let (gone, admitted) = self.backends.settle();
            for address in gone.iter().chain(&admitted) {
                self.reasons.set(Subject::Backend(*address), None);
            }
            if !admitted.is_empty() {
                touched.append(&mut self.short);
            }
            let room = if self.ids.is_exhausted() && self.restored.is_empty() { 0 } else { self.room() };
            let next: Vec<Frontend> = self.waiting.difference(tried).take(room).copied().collect();
            tried.extend(next.iter().copied());
            touched.extend(next);
            // Each is given one at least.
            let room = self.slots_room() / self.node.config.algorithm.fewest_slots();
            let next: Vec<Frontend> = self.crowded.difference(tried).take(room).copied().collect();
            tried.extend(next.iter().copied());
            touched.extend(next);
            if touched.is_empty() {
                break;
            }
        }
        let max = self.node.config.backends_max;
        for address in self.backends.take_refused() {
            let reason = format!("all {max} backends are in use: raise --bpf-lb-backend-map-max");
            self.reasons.set(Subject::Backend(address), Some(reason));
        }
    }

    /// How many more frontends there may be.
    pub(crate) fn room(&self) -> usize {
        self.node.config.frontends_max.saturating_sub(self.rows.rows().len())
    }

    /// How many more slots there may be.
    fn slots_room(&self) -> usize {
        self.node.config.slots_max.saturating_sub(self.slots_count)
    }

    /// The rows of a frontend as they should be.
    fn refresh(&mut self, frontend: Frontend) {
        self.waiting.remove(&frontend);
        self.short.remove(&frontend);
        self.crowded.remove(&frontend);
        let claims = self.claims.get(&frontend).cloned().unwrap_or_default();
        let mut refused = BTreeMap::new();
        if let Some((winner, losers)) = claims.split_first() {
            let winner = &winner.owner;
            let reason = format!("{} has it already", self.name(&frontend, winner));
            for loser in losers {
                refused.insert(Subject::Frontend(frontend, loser.owner.clone()), reason.clone());
            }
            if let Some(reason) = self.write(frontend, winner) {
                refused.insert(Subject::Frontend(frontend, winner.clone()), reason);
            }
        } else {
            self.withdraw(&frontend);
            self.withdraw(&internal(frontend));
        }
        let concerns = |subject: &Subject| matches!(subject, Subject::Frontend(of, _) if *of == frontend);
        self.reasons.replace(Subject::Frontend(frontend, Owner::Api(0)), concerns, refused);
        self.health.frontend_changed(&frontend);
    }

    /// Writes the rows of a frontend for who has it. What could not be done.
    fn write(&mut self, frontend: Frontend, owner: &Owner) -> Option<String> {
        let wanted = self.wishes.get(owner)?.find(&frontend)?.clone();
        let other = internal(frontend);
        let id = match self.id_for(&frontend, owner) {
            Ok(id) => id,
            Err(reason) => {
                self.withdraw(&frontend);
                self.withdraw(&other);
                self.waiting.insert(frontend);
                return Some(reason);
            }
        };
        let mut problems = Vec::new();
        let outside = self.slots(&frontend, &wanted.external, &mut problems);
        self.set(frontend, row(id, &wanted, false, outside.clone()));
        match wanted.internal.as_ref().map(|backends| (backends, self.id_for(&other, owner))) {
            None => self.withdraw(&other),
            Some((backends, Ok(id_of_other))) => {
                let slots = self.slots(&other, backends, &mut problems);
                self.set(other, row(id_of_other, &wanted, true, slots));
                self.set(frontend, row(id, &wanted, true, outside));
            }
            Some((_, Err(reason))) => {
                self.withdraw(&other);
                self.waiting.insert(frontend);
                problems.push(format!("connections from inside have local backends only: {reason}"));
            }
        }
        problems.dedup();
        (!problems.is_empty()).then(|| problems.join("; "))
    }

    /// The id of a row for this owner: that which it has, or had, or the next.
    fn id_for(&mut self, frontend: &Frontend, owner: &Owner) -> Result<u16, String> {
        let current = self.rows.rows().get(frontend).map(|row| (row.id, row.kind));
        if current.is_none() && self.room() == 0 {
            let max = self.node.config.frontends_max;
            return Err(format!("all {max} frontends are in use: raise --bpf-lb-map-max"));
        }
        match (owner, current) {
            (Owner::Api(id), None) => return Ok(*id),
            (Owner::Api(id), Some((now, _))) => {
                if now != *id {
                    self.withdraw(frontend);
                }
                return Ok(*id);
            }
            // The id of a service of the API goes with it.
            (_, Some((id, kind))) if kind != FrontendKind::Api => return Ok(id),
            _ => {}
        }
        if let Some(id) = self.restored.remove(frontend) {
            return Ok(id);
        }
        let id = self.ids.give().and_then(|id| u16::try_from(id).ok());
        id.ok_or_else(|| format!("all ids of frontends, 1 to {FRONTEND_ID_MAX}, are in use"))
    }

    /// The slots of a row for these backends, as far as these have ids.
    fn slots(
        &mut self,
        frontend: &Frontend,
        backends: &[BackendAddress],
        problems: &mut Vec<String>,
    ) -> Vec<u32> {
        let known = backends.iter().filter_map(|address| Some((*address, self.backends.id(address)?)));
        let known: Vec<(BackendAddress, u32)> = known.collect();
        if known.len() < backends.len() {
            self.short.insert(Frontend { scope: Scope::External, ..*frontend });
            problems.push(format!(
                "no room for {} of {} backends",
                backends.len() - known.len(),
                backends.len()
            ));
        }
        let before = self.rows.rows().get(frontend).map_or(&[][..], |row| row.slots.as_slice());
        let room = self.slots_room() + before.len();
        let (slots, problem) = slots(self.node.config.algorithm, before, &known, room);
        problems.extend(problem.map(|problem| match problem {
            Crowded::Number(reason) => reason,
            Crowded::Room { lacking, wanted } => {
                self.crowded.insert(Frontend { scope: Scope::External, ..*frontend });
                let max = self.node.config.slots_max;
                format!(
                    "no room for {lacking} of its {wanted} slots beside those of others, {max} at most: raise --bpf-lb-slot-map-max"
                )
            }
        }));
        slots
    }

    fn set(&mut self, frontend: Frontend, row: ServiceRow) {
        let before = self.rows.rows().get(&frontend).map_or(0, |row| row.slots.len());
        self.slots_count = self.slots_count - before + row.slots.len();
        self.rows.set(frontend, row);
    }

    fn withdraw(&mut self, frontend: &Frontend) {
        let Some(row) = self.rows.remove(frontend) else { return };
        self.slots_count -= row.slots.len();
        if row.kind != FrontendKind::Api {
            self.freed.push((*frontend, row.id));
        }
    }
}

fn row(id: u16, wanted: &Wanted, two_scopes: bool, slots: Vec<u32>) -> ServiceRow {
    ServiceRow {
        id,
        kind: wanted.kind,
        affinity_timeout_s: wanted.affinity_timeout_s,
        source_ranges: wanted.source_ranges.clone(),
        two_scopes,
        slots,
        owner: wanted.name.to_string(),
    }
}

/// What is in one of two sorted lists and not in the other, or differently.
fn differences<'a, K: Ord + Copy, V: PartialEq>(
    before: &'a [(K, V)],
    now: &'a [(K, V)],
) -> Vec<(K, Option<&'a V>, Option<&'a V>)> {
    let mut found = Vec::new();
    let (mut before, mut now) = (before.iter().peekable(), now.iter().peekable());
    loop {
        let order = match (before.peek(), now.peek()) {
            (None, None) => return found,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some((was, _)), Some((is, _))) => was.cmp(is),
        };
        let was = if order.is_le() { before.next() } else { None };
        let is = if order.is_ge() { now.next() } else { None };
        let Some((key, _)) = was.or(is) else { return found };
        let (was, is) = (was.map(|(_, value)| value), is.map(|(_, value)| value));
        if was != is {
            found.push((*key, was, is));
        }
    }
}
