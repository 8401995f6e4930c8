// SPDX-License-Identifier: Apache-2.0
//! The loader on this machine's kernel: private maps, pinned maps, both ways to attach. Needs root.

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::AsFd;

use crate::bench::Bench;
use datapath::loader::{AttachMethod, Hook, MapSet, MapSizes, Side, load_host, load_lxc};
use maps::{BpfMap, ConntrackEntry, ConntrackKey4, EndpointInfo, EndpointKey, HostConfig, LbConfig, names};
use zerocopy::FromZeros;

const SIZES: MapSizes =
    MapSizes { ct_tcp_max: 1024, ct_any_max: 1024, policy_map_max: 64, preallocate: false, services: None };

fn key(port: u16) -> ConntrackKey4 {
    ConntrackKey4 { protocol: 6, port: [port.into(), 80.into()], ..ConntrackKey4::new_zeroed() }
}

#[test]
fn programs_load_on_private_maps_and_pin_nothing() {
    let bench = Bench::new();
    bench.run(|| {
        let maps = MapSet::private(SIZES).unwrap();
        let lxc = load_lxc(&maps, &LbConfig::default()).unwrap();
        assert!(lxc.program("from_container").unwrap().as_fd().try_clone_to_owned().is_ok());
        let missing = lxc.program("from_nowhere").unwrap_err();
        assert_eq!(missing.to_string(), "bpf_lxc.o has no program from_nowhere");
        load_host(
            &maps,
            &HostConfig { enable_ipv4: 1, ..Default::default() },
            &LbConfig::default(),
            &["from_host"],
        )
        .unwrap();
        let lxc_map: BpfMap<EndpointKey, EndpointInfo> = maps.typed(names::LXC).unwrap();
        let address = EndpointKey::from(std::net::IpAddr::from([10, 0, 0, 7]));
        let info = EndpointInfo { lxc_id: 7, sec_id: 300, ..Default::default() };
        lxc_map.insert(&address, &info).unwrap();
        assert_eq!(lxc_map.lookup(&address).unwrap(), Some(info));
        assert_eq!(bench.pins(), Vec::<String>::new());
    });
}

#[test]
fn pinned_maps_are_found_again_with_their_rows() {
    let bench = Bench::new();
    bench.run(|| {
        let first = MapSet::pinned(bench.bpffs(), SIZES).unwrap();
        assert!(first.created().iter().any(|name| name == names::CT4_GLOBAL));
        let ct: BpfMap<ConntrackKey4, ConntrackEntry> = first.typed(names::CT4_GLOBAL).unwrap();
        ct.insert(&key(1), &ConntrackEntry { lifetime: 9, ..Default::default() }).unwrap();
        drop((first, ct));
        let second = MapSet::pinned(bench.bpffs(), SIZES).unwrap();
        assert!(second.created().is_empty(), "{:?}", second.created());
        let ct: BpfMap<ConntrackKey4, ConntrackEntry> = second.typed(names::CT4_GLOBAL).unwrap();
        assert_eq!(ct.lookup(&key(1)).unwrap().map(|entry| entry.lifetime), Some(9));
    });
}

#[test]
fn a_map_of_another_size_is_replaced_by_a_copy_and_what_was_written_meanwhile_is_fetched() {
    let bench = Bench::new();
    bench.run(|| {
        let old = MapSet::pinned(bench.bpffs(), SIZES).unwrap();
        let old_ct: BpfMap<ConntrackKey4, ConntrackEntry> = old.typed(names::CT4_GLOBAL).unwrap();
        let entry = ConntrackEntry { lifetime: 9, ..Default::default() };
        let rows: Vec<_> = (0..700).map(|port| (key(port), entry)).collect();
        assert!(old_ct.insert_all(&rows).is_empty());
        let mut new = MapSet::pinned(bench.bpffs(), MapSizes { ct_tcp_max: 4096, ..SIZES }).unwrap();
        let resized = BTreeSet::from([names::CT4_GLOBAL, names::CT6_GLOBAL, names::SNAT_V4, names::SNAT_V6]);
        let created: BTreeSet<&str> = new.created().iter().map(String::as_str).collect();
        assert_eq!(created, resized);
        let pinned: BpfMap<ConntrackKey4, ConntrackEntry> =
            BpfMap::open(&bench.bpffs().join(names::CT4_GLOBAL)).unwrap();
        assert_eq!((pinned.capacity(), pinned.rows().unwrap().len()), (4096, 700));
        old_ct.insert(&key(9_000), &entry).unwrap();
        pinned.insert(&key(1), &ConntrackEntry { lifetime: 10, ..entry }).unwrap();
        assert_eq!(new.finish_migration().unwrap(), 1);
        assert_eq!(pinned.rows().unwrap().len(), 701);
        assert_eq!(pinned.lookup(&key(1)).unwrap().map(|entry| entry.lifetime), Some(10));
        assert!(bench.pins().iter().all(|name| !name.ends_with("_next")), "{:?}", bench.pins());
    });
}

#[test]
fn a_map_of_another_layout_is_refused_with_the_remedy() {
    let bench = Bench::new();
    bench.run(|| {
        bench.pin_foreign_map(names::LXC);
        let refused = MapSet::pinned(bench.bpffs(), SIZES).unwrap_err().to_string();
        assert!(refused.contains("cilium_lxc has another layout (Hash, 4 bytes to 4 bytes)"), "{refused}");
        assert!(refused.contains("cilium cleanup"), "{refused}");
        // Counters are not missed.
        fs::remove_file(bench.bpffs().join(names::LXC)).unwrap();
        bench.pin_foreign_map(names::METRICS);
        let maps = MapSet::pinned(bench.bpffs(), SIZES).unwrap();
        assert!(maps.created().iter().any(|name| name == names::METRICS));
    });
}

fn attach_replace_and_detach(method: AttachMethod) {
    let bench = Bench::new();
    bench.run(|| {
        let maps = MapSet::private(SIZES).unwrap();
        let ifindex = bench.add_veth("lxc1");
        let hook = Hook { ifindex, side: Side::Ingress, pin: bench.bpffs().join("lxc_00001") };
        let mut seen = Vec::new();
        for _agent in 0..2 {
            let loaded = load_lxc(&maps, &LbConfig::default()).unwrap();
            let program = loaded.program("from_container").unwrap();
            method.attach(program.as_fd(), &hook).unwrap();
            drop(loaded);
            seen.push(bench.attached(ifindex, Side::Ingress, method));
        }
        assert!(seen.iter().all(|programs| programs.len() == 1) && seen[0] != seen[1], "{seen:?}");
        method.detach(&hook).unwrap();
        assert!(bench.attached(ifindex, Side::Ingress, method).is_empty());
        // Nothing there, and then no device either.
        method.detach(&hook).unwrap();
        bench.delete_link("lxc1");
        method.detach(&hook).unwrap();
        assert_eq!(bench.pins(), Vec::<String>::new());
    });
}

#[test]
fn a_program_is_attached_replaced_and_detached_by_filter() {
    attach_replace_and_detach(AttachMethod::Clsact);
}

#[test]
fn a_program_is_attached_replaced_and_detached_by_the_best_way_that_the_kernel_has() {
    attach_replace_and_detach(AttachMethod::probe().unwrap());
}

#[test]
fn a_pin_of_a_device_that_is_gone_is_replaced() {
    let bench = Bench::new();
    bench.run(|| {
        let method = AttachMethod::probe().unwrap();
        let maps = MapSet::private(SIZES).unwrap();
        let pin = bench.bpffs().join("lxc_00001");
        for name in ["lxc1", "lxc2"] {
            let ifindex = bench.add_veth(name);
            let loaded = load_lxc(&maps, &LbConfig::default()).unwrap();
            let hook = Hook { ifindex, side: Side::Ingress, pin: pin.clone() };
            method.attach(loaded.program("from_container").unwrap().as_fd(), &hook).unwrap();
            assert_eq!(bench.attached(ifindex, Side::Ingress, method).len(), 1);
            bench.delete_link(name);
        }
    });
}
