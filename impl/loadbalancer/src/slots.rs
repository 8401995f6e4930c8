// SPDX-License-Identifier: Apache-2.0
//! Which backend is in which slot.

use std::collections::BTreeSet;

use crate::config::Algorithm;
use crate::maglev;
use crate::row::BackendAddress;

/// How many slots a frontend may have: their numbers are 16 bits, from 1.
pub(crate) const MAX_SLOTS: usize = 65_535;

/// Why backends have fewer slots than they should.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Crowded {
    /// One frontend cannot have as many; readable.
    Number(String),
    /// All frontends together have as many as there may be.
    Room {
        /// How many it is given less,
        lacking: usize,
        /// than it wants.
        wanted: usize,
    },
}

/// The slots of a frontend that had `before`, at most `room`, for these backends, which are sorted; and what is wrong with
/// them.
pub(crate) fn slots(
    algorithm: Algorithm,
    before: &[u32],
    backends: &[(BackendAddress, u32)],
    room: usize,
) -> (Vec<u32>, Option<Crowded>) {
    match algorithm {
        Algorithm::Random => {
            let (mut slots, problem) = random(before, backends);
            let wanted = slots.len();
            slots.truncate(room);
            let lacking = wanted - slots.len();
            let problem = problem.map(Crowded::Number);
            (slots, if lacking > 0 { Some(Crowded::Room { lacking, wanted }) } else { problem })
        }
        // A part of a table would be another one: nodes would not choose alike.
        Algorithm::Maglev { table_size } if !backends.is_empty() && room < usize::from(table_size) => {
            let wanted = usize::from(table_size);
            (Vec::new(), Some(Crowded::Room { lacking: wanted, wanted }))
        }
        Algorithm::Maglev { table_size } => {
            let addresses: Vec<BackendAddress> = backends.iter().map(|(address, _)| *address).collect();
            let table = maglev::table(&addresses, table_size);
            let ids = table.into_iter().filter_map(|index| backends.get(index as usize)).map(|(_, id)| *id);
            let crowded = (backends.len() > usize::from(table_size)).then(|| {
                Crowded::Number(format!(
                    "{} backends share {table_size} slots, and some have none: raise --bpf-lb-maglev-table-size",
                    backends.len()
                ))
            });
            (ids.collect(), crowded)
        }
    }
}

/// Each once. The last one moves to where one went, and new ones come last: of a long list little is written.
fn random(before: &[u32], backends: &[(BackendAddress, u32)]) -> (Vec<u32>, Option<String>) {
    let mut missing: BTreeSet<u32> = backends.iter().map(|(_, id)| *id).collect();
    let mut slots = Vec::with_capacity(backends.len());
    let mut rest: std::collections::VecDeque<u32> = before.iter().copied().collect();
    while let Some(id) = rest.pop_front() {
        if missing.remove(&id) {
            slots.push(id);
        } else if let Some(last) = rest.pop_back() {
            // Looked at in its turn: it may have gone as well.
            rest.push_front(last);
        }
    }
    slots.extend(backends.iter().map(|(_, id)| *id).filter(|id| missing.contains(id)));
    let found = slots.len();
    slots.truncate(MAX_SLOTS);
    let crowded = (found > MAX_SLOTS)
        .then(|| format!("{found} backends: only {MAX_SLOTS} of them are given new connections"));
    (slots, crowded)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backends(ids: &[u32]) -> Vec<(BackendAddress, u32)> {
        let backend = |id: &u32| {
            let address = std::net::Ipv4Addr::from(0x0a00_0000 + id).into();
            (BackendAddress { address, port: addr::Port::MIN, protocol: addr::Protocol::Tcp }, *id)
        };
        ids.iter().map(backend).collect()
    }

    fn number(crowded: Option<Crowded>) -> String {
        match crowded {
            Some(Crowded::Number(reason)) => reason,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_last_one_fills_the_place_of_one_that_goes_and_new_ones_come_last() {
        let after = |before: &[u32], now: &[u32]| slots(Algorithm::Random, before, &backends(now), 10).0;
        assert_eq!(after(&[], &[1, 2, 3, 4]), [1, 2, 3, 4]);
        assert_eq!(after(&[1, 2, 3, 4], &[1, 3, 4]), [1, 4, 3]);
        assert_eq!(after(&[1, 2, 3, 4], &[2, 3]), [3, 2]);
        assert_eq!(after(&[1, 2, 3, 4], &[1]), [1]);
        assert_eq!(after(&[1, 4, 3], &[0, 1, 3, 4]), [1, 4, 3, 0]);
        assert_eq!(after(&[1, 2], &[3, 4]), [3, 4]);
        assert_eq!(after(&[1, 2], &[]), [0_u32; 0]);
    }

    #[test]
    fn more_backends_than_slots_are_cut_and_told() {
        let many: Vec<u32> = (1..=70_000).collect();
        let (found, why) = slots(Algorithm::Random, &[], &backends(&many), usize::MAX);
        assert_eq!(found.len(), MAX_SLOTS);
        assert_eq!(number(why), "70000 backends: only 65535 of them are given new connections");
        let maglev = Algorithm::Maglev { table_size: 251 };
        let (found, why) = slots(maglev, &[], &backends(&many[..300]), 251);
        assert_eq!(found.len(), 251);
        assert!(number(why).starts_with("300 backends share 251 slots"));
    }
}
