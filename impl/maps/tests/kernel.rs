// SPDX-License-Identifier: Apache-2.0
//! Typed maps on this machine's kernel. Needs root.

use std::collections::BTreeMap;

use addr::Be32;
use libbpf_rs::{MapHandle, MapType, libbpf_sys};
use maps::{BpfMap, Cursor, IpcacheEntry, IpcacheKey, MapError, WriteMode, copy_rows};

fn create(kind: MapType, key: u32, value: u32, capacity: u32) -> MapHandle {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: if kind == MapType::LpmTrie { libbpf_sys::BPF_F_NO_PREALLOC } else { 0 },
        ..Default::default()
    };
    MapHandle::create(kind, Some("test"), key, value, capacity, &options).expect("these tests need root")
}

fn table(capacity: u32) -> BpfMap<u32, u64> {
    BpfMap::new("table", create(MapType::Hash, 4, 8, capacity)).unwrap()
}

/// Keys and values are interface indices: of the map types whose rows can be walked, this one has no batches.
fn without_batches(capacity: u32) -> BpfMap<u32, u32> {
    BpfMap::new("devices", create(MapType::DevmapHash, 4, 4, capacity)).unwrap()
}

const LOOPBACK: u32 = 1;

#[test]
fn rows_are_written_read_and_deleted() {
    let table = table(8);
    assert_eq!(table.lookup(&1).unwrap(), None);
    table.insert(&1, &10).unwrap();
    table.insert(&1, &11).unwrap();
    assert_eq!(table.lookup(&1).unwrap(), Some(11));
    assert!(table.write(&1, &12, WriteMode::New).is_err());
    assert!(table.write(&2, &12, WriteMode::Existing).is_err());
    table.write(&1, &13, WriteMode::Existing).unwrap();
    table.write(&2, &14, WriteMode::New).unwrap();
    assert_eq!(BTreeMap::from_iter(table.rows().unwrap()), BTreeMap::from([(1, 13), (2, 14)]));
    assert!(table.remove(&1).unwrap());
    assert!(!table.remove(&1).unwrap());
}

#[test]
fn many_rows_are_written_read_and_deleted_at_once() {
    let table = table(10_000);
    let rows: Vec<(u32, u64)> = (0..5_000).map(|n| (n, u64::from(n) * 3)).collect();
    assert!(table.insert_all(&rows).is_empty());
    let found = BTreeMap::from_iter(table.rows().unwrap());
    assert_eq!(found, rows.iter().copied().collect());
    // Also those that are not there.
    let odd: Vec<u32> = (0..6_000).filter(|n| n % 2 == 1).collect();
    assert!(table.remove_all(&odd).is_empty());
    let found = BTreeMap::from_iter(table.rows().unwrap());
    assert_eq!(found, rows.iter().copied().filter(|(n, _)| n % 2 == 0).collect());
    assert!(table.insert_all(&[]).is_empty() && table.remove_all(&[]).is_empty());
}

#[test]
fn a_map_that_has_no_batches_is_served_one_by_one() {
    let devices = without_batches(2_000);
    let rows: Vec<(u32, u32)> = (0..1_500).map(|n| (n, LOOPBACK)).collect();
    assert!(devices.insert_all(&rows).is_empty());
    let mut found: Vec<u32> = devices.rows().unwrap().into_iter().map(|(key, _)| key).collect();
    found.sort_unstable();
    assert_eq!(found, (0..1_500).collect::<Vec<_>>());
    assert!(devices.remove_all(&(500..3_000).collect::<Vec<_>>()).is_empty());
    assert_eq!(devices.rows().unwrap().len(), 500);
    // A row that the kernel refuses is told, the others are written.
    let refused = devices.insert_all(&[(7_000, LOOPBACK), (7_001, u32::MAX), (7_002, LOOPBACK)]);
    assert_eq!(refused.iter().map(|(key, _)| *key).collect::<Vec<_>>(), [7_001]);
    assert!(devices.lookup(&7_002).unwrap().is_some());
}

#[test]
fn rows_for_which_there_is_no_room_are_told_and_the_others_written() {
    let table = table(100);
    table.insert(&50, &0).unwrap();
    let rows: Vec<(u32, u64)> = (0..130).map(|n| (n, 1)).collect();
    let refused = table.insert_all(&rows);
    assert_eq!(refused.len(), 30);
    assert!(refused.iter().all(|(_, error)| error.is_full()));
    assert_eq!(refused[0].1.to_string(), "write to map table: it is full, with 100 rows");
    assert_eq!(table.rows().unwrap().len(), 100);
    assert_eq!(table.lookup(&50).unwrap(), Some(1), "a row that is there needs no room");
}

#[test]
fn a_cursor_sees_each_row_that_stays_while_others_come_and_go() {
    let table = table(20_000);
    let rows: Vec<(u32, u64)> = (0..10_000).map(|n| (n, 0)).collect();
    assert!(table.insert_all(&rows).is_empty());
    let (mut cursor, mut seen, mut steps) = (Cursor::new(), Vec::new(), 0_u32);
    while !cursor.is_finished() {
        let step = table.step(&mut cursor).unwrap();
        seen.extend(step.into_iter().map(|(key, _)| key));
        table.insert(&(10_000 + steps), &1).unwrap();
        table.remove(&(9_999 - steps)).unwrap();
        steps += 1;
    }
    seen.sort_unstable();
    seen.dedup();
    let stayed: Vec<u32> = seen.iter().copied().filter(|key| *key < 10_000 - steps).collect();
    assert_eq!(stayed, (0..10_000 - steps).collect::<Vec<_>>());
    assert!(steps > 10 && table.step(&mut cursor).unwrap().is_empty());
}

#[test]
fn prefixes_of_both_families_are_rows_of_a_trie() {
    let trie: BpfMap<IpcacheKey, IpcacheEntry> =
        BpfMap::new("trie", create(MapType::LpmTrie, 24, 8, 16)).unwrap();
    let prefixes = ["0.0.0.0/0", "10.0.0.0/8", "10.1.2.3/32", "::/0", "fd00::/16"];
    let rows: Vec<_> = prefixes
        .iter()
        .zip(1..)
        .map(|(text, identity)| {
            (IpcacheKey::from(text.parse::<ipnet::IpNet>().unwrap()), IpcacheEntry::new(identity, None))
        })
        .collect();
    assert!(trie.insert_all(&rows).is_empty());
    let mut found: Vec<String> =
        trie.rows().unwrap().iter().map(|(key, _)| key.prefix().unwrap().to_string()).collect();
    found.sort();
    assert_eq!(found, prefixes);
    let longest = |text: &str| {
        let key = IpcacheKey::from(text.parse::<ipnet::IpNet>().unwrap());
        trie.lookup(&key).unwrap().unwrap().sec_label
    };
    assert_eq!((longest("10.1.2.3/32"), longest("10.9.9.9/32"), longest("11.0.0.1/32")), (3, 2, 1));
    assert_eq!((longest("fd00::1/128"), longest("fe00::1/128")), (5, 4));
    assert!(trie.remove_all(&[rows[1].0, rows[4].0]).is_empty());
    assert_eq!((longest("10.9.9.9/32"), longest("fd00::1/128")), (1, 4));
}

#[test]
fn rows_are_copied_into_a_map_of_another_size_if_they_fit() {
    let from = table(1_000);
    assert!(from.insert_all(&(0..800).map(|n| (n, 1)).collect::<Vec<_>>()).is_empty());
    let to = table(2_000);
    to.insert(&5, &2).unwrap();
    assert_eq!(copy_rows("to", from.handle(), to.handle(), WriteMode::New).unwrap(), 799);
    assert_eq!((to.lookup(&5).unwrap(), to.lookup(&6).unwrap()), (Some(2), Some(1)));
    assert_eq!(copy_rows("to", from.handle(), to.handle(), WriteMode::Any).unwrap(), 800);
    assert_eq!(to.lookup(&5).unwrap(), Some(1));
    let small = table(700);
    let refused = copy_rows("small", from.handle(), small.handle(), WriteMode::Any).unwrap_err();
    assert_eq!(refused.to_string(), "copy rows to map small: it is full, with 700 rows");
}

#[test]
fn a_map_with_rows_of_other_sizes_is_refused() {
    let refused = BpfMap::<Be32, u32>::new("other", create(MapType::Hash, 4, 8, 8)).unwrap_err();
    assert!(matches!(refused, MapError::Layout { key: 4, value: 4, found_key: 4, found_value: 8, .. }));
    let refused = BpfMap::<u32, u64>::open("/nowhere/at/all".as_ref()).unwrap_err();
    assert!(refused.to_string().starts_with("open map /nowhere/at/all: "), "{refused}");
    let refused = BpfMap::<u32, u64>::open("/a\0b".as_ref()).unwrap_err();
    assert!(matches!(refused, MapError::Open { .. }));
}
