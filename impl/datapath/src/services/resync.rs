// SPDX-License-Identifier: Apache-2.0
//! Services as desired, whatever an agent before has left.

use std::collections::BTreeSet;

use controlplane::{Deltas, Desired};
use maps::lb_flags;

use super::Services;
use crate::DatapathError;
use crate::order::PresentServices;

impl Services {
    /// Adds what nobody desires to changes that write all that is desired.
    pub fn add_removals(&self, deltas: &mut Deltas, desired: &Desired) {
        let frontends = self.known.frontends().keys().filter(|key| !desired.services.contains_key(key));
        deltas.services.removals = frontends.copied().collect::<BTreeSet<_>>().into_iter().collect();
        let backends = self.known.backends().keys().filter(|id| !desired.backends.contains_key(id));
        deltas.backends.removals = backends.copied().collect::<BTreeSet<_>>().into_iter().collect();
    }

    /// Removes what belongs to no frontend: what an agent that died had written for one, or not yet removed. Returns whether connections may
    /// remember any of it.
    ///
    /// # Errors
    /// [`DatapathError::Services`], [`DatapathError::Map`].
    pub fn remove_strays(&mut self) -> Result<bool, DatapathError> {
        self.tables.remove_strangers()?;
        let with_slots: BTreeSet<u16> = self.known.ids_with_slots().into_iter().collect();
        let mut refused = self.trim(&with_slots);
        let mut remembered = false;
        for ipv6 in [false, true] {
            let ids = self.known.ids_with_reverse(ipv6);
            let before = ids.len();
            refused.append(&mut self.clear_reverse(ids, ipv6));
            remembered |= self.known.ids_with_reverse(ipv6).len() < before;
        }
        let asked = |id: u16| {
            let owner = self.known.owner(id).and_then(|owner| self.known.frontend(&owner));
            owner.is_some_and(|row| row.flags & lb_flags::SOURCE_RANGES != 0)
        };
        let ranges: Vec<_> = self.known.ranges().filter(|(id, _)| !asked(*id)).collect();
        refused.extend(self.clear_ranges(&ranges).into_iter().map(|((id, _), reason)| (id, reason)));
        let refused = refused.into_iter().next();
        refused.map_or(Ok(remembered), |(id, reason)| Err(DatapathError::Services { id, reason }))
    }
}
