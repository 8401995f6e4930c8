// SPDX-License-Identifier: Apache-2.0
//! The lookup table of Maglev: Eisenbud and others, "Maglev: A Fast and Reliable Software Network Load Balancer", NSDI
//! 2016, section 3.4.

use std::net::IpAddr;

use crate::row::BackendAddress;

const FNV_OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const FNV_PRIME: u64 = 0x0000_0100_0000_01b3;

/// Which backend has each of `size` slots, by its place in `backends`, which must be sorted: nodes that know the same
/// backends then have the same table, whichever ids they gave.
///
/// Each backend has a permutation of the slots of its own, from two hashes of its address. They take turns, and each takes
/// the first slot of its permutation that is free: none has more than one slot more than another, and when one goes, most
/// slots of the others stay. `size` must be a prime, so that every step width goes through all slots.
pub(crate) fn table(backends: &[BackendAddress], size: u16) -> Vec<u32> {
    const FREE: u32 = u32::MAX;
    let slots = usize::from(size);
    if backends.is_empty() || slots == 0 {
        return Vec::new();
    }
    let mut next: Vec<(usize, usize)> = backends.iter().map(|backend| permutation(backend, slots)).collect();
    let mut table = vec![FREE; slots];
    let mut left = slots;
    loop {
        for (index, (at, step)) in (0_u32..).zip(&mut next) {
            while table[*at] != FREE {
                *at = (*at + *step) % slots;
            }
            table[*at] = index;
            left -= 1;
            if left == 0 {
                return table;
            }
        }
    }
}

/// The first slot, and the step to each next one.
fn permutation(backend: &BackendAddress, slots: usize) -> (usize, usize) {
    let below = |hash: u64, end: usize| (hash % end.max(1) as u64) as usize;
    (below(hash(FNV_OFFSET, backend), slots), 1 + below(hash(!FNV_OFFSET, backend), slots - 1))
}

/// FNV-1a over the address as it stands in packets, and then a round of mixing, without which neighbours stay neighbours.
fn hash(seed: u64, backend: &BackendAddress) -> u64 {
    let eat = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(FNV_PRIME);
    let hash = match backend.address {
        IpAddr::V4(address) => address.octets().iter().fold(seed, eat),
        IpAddr::V6(address) => address.octets().iter().fold(seed, eat),
    };
    let hash = backend.port.get().to_be_bytes().iter().fold(hash, eat);
    mixed(eat(hash, &backend.protocol.number()))
}

/// The finalizer of MurmurHash3.
fn mixed(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use addr::{Port, Protocol};
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;
    use crate::config::Algorithm;

    fn backends(numbers: &BTreeSet<u32>) -> Vec<BackendAddress> {
        let port = Port::new(8080).unwrap_or(Port::MIN);
        let backend = |number: &u32| BackendAddress {
            address: std::net::Ipv4Addr::from(0x0a00_0000 + number).into(),
            port,
            protocol: Protocol::Tcp,
        };
        numbers.iter().map(backend).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig {
            rng_seed: RngSeed::Fixed(5), failure_persistence: None, ..ProptestConfig::default()
        })]

        #[test]
        fn slots_are_shared_evenly_and_stay_when_another_goes(
            numbers in proptest::collection::btree_set(0_u32..65_536, 2..60),
            goes in any::<proptest::sample::Index>()
        ) {
            let all = backends(&numbers);
            let size = 2039;
            let before = table(&all, size);
            let mut counts = BTreeMap::new();
            before.iter().for_each(|index| *counts.entry(*index).or_insert(0_usize) += 1);
            let fair = usize::from(size) / all.len();
            prop_assert_eq!(counts.len(), all.len());
            prop_assert!(counts.values().all(|count| (fair..=fair + 1).contains(count)), "{:?}", counts);

            let gone = goes.index(all.len());
            let mut rest = all.clone();
            rest.remove(gone);
            let after = table(&rest, size);
            let moved = before.iter().zip(&after).filter(|(was, is)| {
                let was = **was as usize;
                was != gone && all[was] != rest[**is as usize]
            });
            // The paper's own figures: a few percent beyond the slots that must move.
            let moved = moved.count();
            prop_assert!(moved * 100 <= usize::from(size) * 15, "{} of {} slots moved", moved, size);
        }
    }

    #[test]
    fn sizes_are_primes_so_that_every_step_goes_through_all_slots() {
        for size in Algorithm::TABLE_SIZES {
            assert!((2..size).take_while(|n| u32::from(*n).pow(2) <= size.into()).all(|n| size % n != 0));
        }
    }

    #[test]
    fn more_backends_than_slots_fill_the_table_and_no_more() {
        let many = backends(&(0..300).collect());
        let found = table(&many, 251);
        assert_eq!(found.iter().collect::<BTreeSet<_>>().len(), 251);
        assert!(table(&[], 251).is_empty());
        assert_eq!(table(&many[..1], 251), [0; 251]);
    }
}
