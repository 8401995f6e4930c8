// SPDX-License-Identifier: Apache-2.0
//! The tables of services in the kernel: what is written, what stays when they are full, what the next agent finds.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use addr::{Port, Protocol};
use controlplane::{Delta, Deltas, Desired, Failure, Row};
use datapath::{Datapath, DatapathConfig, Pins, ServicesConfig};
use loadbalancer::{BackendAddress, BackendRow, BackendState, Frontend, FrontendKind, Scope, ServiceRow};
use maps::{
    LbBackend4, LbFrontend, LbKey4, LbReverse4, LbSlotKey, LbSourceKey4, RuntimeConfig, lb_flags, names,
};

use crate::bench::{Bench, Cgroup};

/// A configuration with services, at the sockets of a control group if there is one.
pub fn config(bench: &Bench, cgroup: Option<&Cgroup>) -> DatapathConfig {
    DatapathConfig {
        services: Some(ServicesConfig {
            maglev: false,
            node_ports: (30_000, 32_767),
            dsr: false,
            loopback_ip4: [169, 254, 42, 1].into(),
            loopback_ip6: "fd00:a9fe:2a01::1".parse().unwrap(),
            cgroup: cgroup.map(|cgroup| cgroup.path().into()),
            frontends_max: 256,
            slots_max: 1024,
            backends_max: 256,
            source_ranges_max: 256,
        }),
        ..bench.config()
    }
}

/// What connects to this address and port.
pub fn frontend(address: IpAddr, port: u16, protocol: Protocol) -> Frontend {
    Frontend { address, port: Port::new(port).unwrap(), protocol, scope: Scope::External }
}

/// A service of this id with these backends, by id.
pub fn service(id: u16, slots: &[u32]) -> ServiceRow {
    ServiceRow {
        id,
        kind: FrontendKind::ClusterIp,
        affinity_timeout_s: None,
        source_ranges: None,
        two_scopes: false,
        slots: slots.to_vec(),
        owner: "default/web:http".into(),
    }
}

/// A backend.
pub fn backend(socket: SocketAddr, protocol: Protocol) -> BackendRow {
    let port = Port::new(socket.port()).unwrap();
    let address = BackendAddress { address: socket.ip(), port, protocol };
    BackendRow { address, state: BackendState::Active }
}

/// Changes that make services.
pub fn services(services: Vec<(Frontend, ServiceRow)>, backends: Vec<(u32, BackendRow)>) -> Deltas {
    Deltas {
        services: Delta { upserts: services, removals: Vec::new() },
        backends: Delta { upserts: backends, removals: Vec::new() },
        ..Deltas::default()
    }
}

/// Changes that take services away.
pub fn gone(services: Vec<Frontend>, backends: Vec<u32>) -> Deltas {
    Deltas {
        services: Delta { upserts: Vec::new(), removals: services },
        backends: Delta { upserts: Vec::new(), removals: backends },
        ..Deltas::default()
    }
}

/// The frontend of a number.
fn cluster_ip(number: u16) -> Frontend {
    let [high, low] = number.to_be_bytes();
    frontend(Ipv4Addr::new(172, 30, high, low).into(), 80, Protocol::Tcp)
}

/// The backend of a number.
fn endpoint(number: u32) -> BackendRow {
    let [_, high, middle, low] = number.to_be_bytes();
    backend(SocketAddr::new(Ipv4Addr::new(10, high, middle, low).into(), 8080), Protocol::Tcp)
}

/// What programs find in the maps.
struct Found {
    frontends: BTreeMap<Frontend, LbFrontend>,
    slots: BTreeMap<(u16, u16), u32>,
    backends: BTreeMap<u32, SocketAddr>,
}

impl Found {
    fn read(datapath: &Datapath) -> Self {
        let frontends = datapath.map::<LbKey4, LbFrontend>(names::LB4_SERVICES).unwrap().rows().unwrap();
        let slots = datapath.map::<LbSlotKey, u32>(names::LB_SLOTS).unwrap().rows().unwrap();
        let backends = datapath.map::<u32, LbBackend4>(names::LB4_BACKENDS).unwrap().rows().unwrap();
        let key = |key: &LbKey4| {
            let protocol = Protocol::from_number(key.protocol).unwrap();
            let scope = if key.scope == 0 { Scope::External } else { Scope::Internal };
            Frontend { scope, ..frontend(key.socket().ip(), key.socket().port(), protocol) }
        };
        Self {
            frontends: frontends.iter().map(|(of, row)| (key(of), *row)).collect(),
            slots: slots.iter().map(|(key, backend)| ((key.id, key.slot), *backend)).collect(),
            backends: backends.iter().map(|(id, row)| (*id, row.socket())).collect(),
        }
    }

    /// The backends of a frontend.
    fn of(&self, frontend: &Frontend) -> Option<Vec<u32>> {
        let row = self.frontends.get(frontend)?;
        Some((1..=row.count).map(|slot| self.slots[&(row.id, u16::try_from(slot).unwrap())]).collect())
    }

    /// Every frontend's slots are there and name backends that are, answers carry its address, and nothing else is there.
    fn check(&self, datapath: &Datapath) {
        let reverse = datapath.map::<u32, LbReverse4>(names::LB4_REVERSE_NAT).unwrap();
        let mut counted = BTreeSet::new();
        for (frontend, row) in &self.frontends {
            for backend in self.of(frontend).unwrap() {
                assert!(self.backends.contains_key(&backend), "{frontend} names backend {backend}");
            }
            counted.extend((1..=row.count).map(|slot| (row.id, u16::try_from(slot).unwrap())));
            assert_eq!(reverse.lookup(&row.id.into()).unwrap().unwrap().socket(), Some(frontend.socket()));
        }
        assert_eq!(self.slots.keys().copied().collect::<BTreeSet<_>>(), counted);
    }
}

fn runtime(datapath: &Datapath) -> RuntimeConfig {
    datapath.map::<u32, RuntimeConfig>(names::RUNTIME).unwrap().lookup(&0).unwrap().unwrap()
}

#[test]
fn services_come_change_and_go_in_the_tables() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&config(&bench, None)).unwrap();
        assert!(datapath.socket_translation().is_err());
        let external = ServiceRow {
            kind: FrontendKind::NodePort,
            affinity_timeout_s: Some(9),
            two_scopes: true,
            ..service(1, &[1])
        };
        let internal = Frontend { scope: Scope::Internal, ..cluster_ip(1) };
        let rows = vec![
            (cluster_ip(1), external),
            (internal, service(2, &[1, 2])),
            (cluster_ip(3), service(3, &[])),
        ];
        let backends = vec![(1, endpoint(1)), (2, endpoint(2))];
        let before = runtime(&datapath);
        assert_eq!(datapath.apply(&services(rows, backends)), []);
        let found = Found::read(&datapath);
        found.check(&datapath);
        let flags = lb_flags::EXTERNAL | lb_flags::TWO_SCOPES | lb_flags::NODE_PORT;
        let row = LbFrontend { id: 1, flags, count: 1, affinity_timeout_s: 9, pad: 0 };
        assert_eq!(found.frontends[&cluster_ip(1)], row);
        assert_eq!(found.of(&internal), Some(vec![1, 2]));
        assert_eq!(found.of(&cluster_ip(3)), Some(vec![]));
        let after = runtime(&datapath);
        assert_eq!((after.epoch, after.lb_epoch, after.lb_external), (before.epoch, before.lb_epoch, 1));
        let status = |name: &str| {
            let map = datapath.maps().unwrap().into_iter().find(|map| map.name == name).unwrap();
            (map.entries, map.capacity)
        };
        assert_eq!(status(names::LB4_SERVICES), (Some(3), 256));
        assert_eq!(status(names::LB_SLOTS), (Some(3), 1024));
        assert_eq!(status(names::LB4_BACKENDS), (Some(2), 256));
        assert_eq!(status(names::LB4_REVERSE_NAT).0, Some(3));
        // The last backend takes the place of the one that went.
        let mut change = services(vec![(internal, service(2, &[2]))], Vec::new());
        change.services.removals = vec![cluster_ip(1), cluster_ip(3)];
        change.backends.removals = vec![1];
        assert_eq!(datapath.apply(&change), []);
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!((found.frontends.len(), found.of(&internal)), (1, Some(vec![2])));
        assert_eq!(found.backends.len(), 1);
        let last = runtime(&datapath);
        assert_eq!((last.epoch, last.lb_epoch, last.lb_external), (after.epoch, after.lb_epoch + 1, 0));
        let reverse = datapath.map::<u32, LbReverse4>(names::LB4_REVERSE_NAT).unwrap();
        assert_eq!(reverse.lookup(&1).unwrap(), Some(LbReverse4::default()));
    });
}

#[test]
fn the_next_agent_finds_the_ids_and_takes_away_what_nobody_desires() {
    let bench = Bench::new();
    bench.run(|| {
        let mut first = Datapath::start(&config(&bench, None)).unwrap();
        let rows = vec![
            (cluster_ip(1), service(7, &[40])),
            (cluster_ip(2), service(8, &[40, 41])),
            (cluster_ip(3), service(6, &[])),
        ];
        let backends = vec![(40, endpoint(1)), (41, endpoint(2))];
        assert_eq!(first.apply(&services(rows.clone(), backends.clone())), []);
        // What one that died in the middle has left: slots and a row of answers that are no frontend's.
        let slots = first.map::<LbSlotKey, u32>(names::LB_SLOTS).unwrap();
        slots.insert(&LbSlotKey { id: 9, slot: 1 }, &41).unwrap();
        slots.insert(&LbSlotKey { id: 7, slot: 2 }, &41).unwrap();
        let reverse = first.map::<u32, LbReverse4>(names::LB4_REVERSE_NAT).unwrap();
        reverse.insert(&9, &LbReverse4 { port: 80.into(), ..LbReverse4::default() }).unwrap();
        let epoch = runtime(&first).lb_epoch;
        drop(first);
        let mut second = Datapath::start(&config(&bench, None)).unwrap();
        assert_ne!(runtime(&second).lb_epoch, epoch);
        let restored = second.services().unwrap();
        assert_eq!(restored.frontends, [(cluster_ip(1), 7), (cluster_ip(2), 8), (cluster_ip(3), 6)].into());
        assert_eq!(restored.without_slots, [cluster_ip(3)].into());
        let addresses = backends.iter().map(|(id, row)| (row.address, *id));
        assert_eq!(restored.backends, addresses.collect());
        assert_eq!(second.apply(&Deltas::default()), []);
        assert_eq!(Found::read(&second).frontends.len(), 3, "nothing is removed before a resync");
        let desired = Desired {
            services: [rows[0].clone()].into(),
            backends: [backends[0]].into(),
            ..Desired::default()
        };
        assert_eq!(second.resync(&desired), []);
        let found = Found::read(&second);
        found.check(&second);
        assert_eq!(found.of(&cluster_ip(1)), Some(vec![40]));
        assert_eq!((found.frontends.len(), found.backends.len()), (1, 1));
        assert_eq!(reverse.lookup(&9).unwrap(), Some(LbReverse4::default()));
    });
}

#[test]
fn a_resync_that_could_not_remove_anything_is_finished_with_a_later_try() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&config(&bench, None)).unwrap();
        let rows: Vec<_> = (1..=3).map(|id| (cluster_ip(id), service(id, &[u32::from(id)]))).collect();
        let backends: Vec<_> = (1..=3).map(|id| (id, endpoint(id))).collect();
        assert_eq!(datapath.apply(&services(rows.clone(), backends.clone())), []);
        // A directory that cannot be read: a link that leads to itself.
        let links = Pins::new(bench.bpffs()).links();
        let away = links.with_file_name("away");
        std::fs::rename(&links, &away).unwrap();
        std::os::unix::fs::symlink(&links, &links).unwrap();
        let desired = Desired {
            services: rows[..2].iter().cloned().collect(),
            backends: backends[..2].iter().copied().collect(),
            ..Desired::default()
        };
        let told = |failures: &[Failure]| {
            assert_eq!(failures.len(), 1, "{failures:?}");
            assert_eq!(failures[0].row, Row::Datapath);
            assert!(failures[0].reason.starts_with("nothing was removed: "), "{failures:?}");
        };
        told(&datapath.resync(&desired));
        told(&datapath.retry());
        // What changes in the meantime counts.
        told(&datapath.apply(&gone(vec![cluster_ip(1)], vec![1])));
        assert_eq!(Found::read(&datapath).frontends.len(), 2);
        std::fs::remove_file(&links).unwrap();
        std::fs::rename(&away, &links).unwrap();
        assert_eq!(datapath.retry(), []);
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!(found.frontends.keys().copied().collect::<Vec<_>>(), [cluster_ip(2)]);
        assert_eq!(found.backends.keys().copied().collect::<Vec<_>>(), [2]);
        assert_eq!(datapath.retry(), []);
    });
}

#[test]
fn an_epoch_that_could_not_be_raised_is_said_until_it_is() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&config(&bench, None)).unwrap();
        let rows = vec![(cluster_ip(1), service(1, &[1]))];
        assert_eq!(datapath.apply(&services(rows, vec![(1, endpoint(1))])), []);
        datapath.map::<u32, RuntimeConfig>(names::RUNTIME).unwrap().handle().freeze().unwrap();
        let failures = datapath.apply(&gone(vec![cluster_ip(1)], vec![1]));
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].row, Row::Datapath);
        assert!(failures[0].reason.contains(names::RUNTIME), "{failures:?}");
        assert_eq!(datapath.retry(), failures);
        assert_eq!(datapath.apply(&Deltas::default()), failures);
    });
}

fn with_sizes(bench: &Bench, frontends_max: u32, slots_max: u32, backends_max: u32) -> DatapathConfig {
    let mut config = config(bench, None);
    if let Some(services) = &mut config.services {
        (services.frontends_max, services.slots_max, services.backends_max) =
            (frontends_max, slots_max, backends_max);
    }
    config
}

/// Ten services, each with two backends of its own.
fn ten() -> Deltas {
    let rows = (1..=10).map(|id| (cluster_ip(id), service(id, &[u32::from(id) * 2, u32::from(id) * 2 + 1])));
    services(rows.collect(), (2..=21).map(|id| (id, endpoint(id))).collect())
}

#[test]
fn full_tables_keep_what_fits_and_name_the_option() {
    let bench = Bench::new();
    for (sizes, option, map) in [
        ((6, 64, 64), "--bpf-lb-map-max", names::LB4_SERVICES),
        ((64, 13, 64), "--bpf-lb-slot-map-max", names::LB_SLOTS),
        ((64, 64, 13), "--bpf-lb-backend-map-max", names::LB4_BACKENDS),
    ] {
        let bench = &bench;
        bench.run(|| {
            let mut datapath = Datapath::start(&with_sizes(bench, sizes.0, sizes.1, sizes.2)).unwrap();
            let failures = datapath.apply(&ten());
            let named = |reason: &str| reason.contains(map) && reason.contains(option);
            assert!(failures.iter().any(|failure| named(&failure.reason)), "{option}: {failures:?}");
            let found = Found::read(&datapath);
            found.check(&datapath);
            let whole =
                (1..=10).filter(|id| found.of(&cluster_ip(*id)).is_some_and(|slots| slots.len() == 2));
            let whole: Vec<u16> = whole.collect();
            assert!(whole.len() >= 6, "{option}: only {whole:?}");
            let failed =
                |id: &u16| failures.iter().any(|failure| failure.row == Row::Service(cluster_ip(*id)));
            assert!((1..=10).all(|id| whole.contains(&id) != failed(&id)), "{option}: {failures:?}");
            // The same again fails again, and takes nothing from those that work.
            assert_eq!(datapath.retry().len(), failures.len(), "{option}");
            let again = Found::read(&datapath);
            again.check(&datapath);
            assert!(whole.iter().all(|id| again.of(&cluster_ip(*id)).is_some_and(|slots| slots.len() == 2)));
            // With others gone there is room.
            let leave = gone(
                whole[..4].iter().map(|id| cluster_ip(*id)).collect(),
                whole[..4].iter().flat_map(|id| [u32::from(*id) * 2, u32::from(*id) * 2 + 1]).collect(),
            );
            let mut left = datapath.apply(&leave);
            for _ in 0..3 {
                left = datapath.retry();
            }
            assert_eq!(left, [], "{option}");
            let found = Found::read(&datapath);
            found.check(&datapath);
            assert_eq!(found.frontends.len(), 6);
            assert!(found.frontends.values().all(|row| row.count == 2));
            drop(datapath);
            datapath::cleanup(bench.bpffs()).unwrap();
        });
    }
}

/// For clients in these ranges alone.
fn ranged(id: u16, ranges: &[&str]) -> ServiceRow {
    let mut ranges: Vec<ipnet::IpNet> = ranges.iter().map(|range| range.parse().unwrap()).collect();
    ranges.sort_unstable();
    ServiceRow { source_ranges: Some(ranges.into()), ..service(id, &[1]) }
}

/// What is in the map of source ranges over IPv4.
fn ranges(datapath: &Datapath) -> Vec<(u16, String)> {
    let map = datapath.map::<LbSourceKey4, u32>(names::LB4_SOURCE_RANGE).unwrap();
    let mut found: Vec<_> =
        map.rows().unwrap().iter().map(|(key, _)| (key.id, key.range().unwrap().to_string())).collect();
    found.sort();
    found
}

#[test]
fn source_ranges_that_do_not_fit_keep_clients_out_and_are_told() {
    let bench = Bench::new();
    bench.run(|| {
        let mut config = with_sizes(&bench, 64, 64, 64);
        config.services.as_mut().unwrap().source_ranges_max = 2;
        let mut datapath = Datapath::start(&config).unwrap();
        let key = cluster_ip(1);
        let three = ranged(1, &["10.0.0.0/8", "192.0.2.0/24", "198.51.100.0/24"]);
        let failures = datapath.apply(&services(vec![(key, three)], vec![(1, endpoint(1))]));
        let rows: Vec<Row> = failures.iter().map(|failure| failure.row).collect();
        assert_eq!(rows, [Row::Service(key)]);
        let reason = &failures[0].reason;
        assert!(
            reason.contains("are kept out") && reason.contains("--bpf-lb-source-range-map-max"),
            "{reason}"
        );
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!(found.frontends[&key].flags & lb_flags::SOURCE_RANGES, lb_flags::SOURCE_RANGES);
        assert_eq!(ranges(&datapath).len(), 2);
        assert_eq!(datapath.retry().len(), 1);
        // Those that are let in no more make room for others.
        let two = ranged(1, &["10.0.0.0/8", "203.0.113.0/24"]);
        let mut left = datapath.apply(&services(vec![(key, two)], vec![]));
        for _ in 0..2 {
            left = datapath.retry();
        }
        assert_eq!(left, []);
        assert_eq!(ranges(&datapath), [(1, "10.0.0.0/8".to_owned()), (1, "203.0.113.0/24".to_owned())]);
        assert_eq!(datapath.apply(&services(vec![(key, service(1, &[1]))], vec![])), []);
        assert_eq!((ranges(&datapath), Found::read(&datapath).frontends[&key].flags), (vec![], 0));
    });
}

#[test]
fn the_next_agent_finds_source_ranges_and_takes_those_away_that_are_nobodys() {
    let bench = Bench::new();
    bench.run(|| {
        let config = with_sizes(&bench, 64, 64, 64);
        let (one, two) = (cluster_ip(1), cluster_ip(2));
        let rows = vec![(one, ranged(1, &["10.0.0.0/8"])), (two, ranged(2, &["10.0.0.0/8", "192.0.2.0/24"]))];
        let backends = vec![(1, endpoint(1))];
        let mut datapath = Datapath::start(&config).unwrap();
        assert_eq!(datapath.apply(&services(rows, backends.clone())), []);
        // What an agent that died leaves: a range of a frontend that is not there.
        let map = datapath.map::<LbSourceKey4, u32>(names::LB4_SOURCE_RANGE).unwrap();
        map.insert(&LbSourceKey4::new(9, "10.0.0.0/8".parse().unwrap()).unwrap(), &1).unwrap();
        drop(datapath);
        let mut datapath = Datapath::start(&config).unwrap();
        assert_eq!(ranges(&datapath).len(), 4);
        let desired = Desired {
            revision: 1,
            services: [(two, ranged(2, &["192.0.2.0/24"]))].into(),
            backends: backends.into_iter().collect(),
            ..Desired::default()
        };
        assert_eq!(datapath.resync(&desired), []);
        assert_eq!(ranges(&datapath), [(2, "192.0.2.0/24".to_owned())]);
    });
}

#[test]
fn a_table_that_is_to_be_smaller_than_its_rows_are_many_is_refused_with_the_option() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&with_sizes(&bench, 64, 64, 64)).unwrap();
        assert_eq!(datapath.apply(&ten()), []);
        drop(datapath);
        let refused = Datapath::start(&with_sizes(&bench, 64, 8, 64)).unwrap_err().to_string();
        assert!(
            refused.contains("cilium_lb_slots") && refused.contains("--bpf-lb-slot-map-max"),
            "{refused}"
        );
        // A larger one has all of them.
        let datapath = Datapath::start(&with_sizes(&bench, 128, 128, 128)).unwrap();
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!((found.frontends.len(), found.slots.len()), (10, 20));
        let nothing = Datapath::start(&with_sizes(&bench, 64, 0, 64)).unwrap_err().to_string();
        assert!(nothing.contains("bpf-lb-slot-map-max"), "{nothing}");
    });
}

#[test]
fn a_service_whose_new_backends_do_not_fit_loses_those_that_went_all_the_same() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&with_sizes(&bench, 8, 8, 2)).unwrap();
        let key = cluster_ip(1);
        let change = services(vec![(key, service(1, &[1, 2]))], vec![(1, endpoint(1)), (2, endpoint(2))]);
        assert_eq!(datapath.apply(&change), []);
        let mut change =
            services(vec![(key, service(1, &[3, 4, 2]))], vec![(3, endpoint(3)), (4, endpoint(4))]);
        change.backends.removals = vec![1];
        let failures = datapath.apply(&change);
        let rows: BTreeSet<Row> = failures.iter().map(|failure| failure.row).collect();
        assert_eq!(rows, [Row::Service(key), Row::Backend(4)].into(), "{failures:?}");
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!(found.of(&key).map(BTreeSet::from_iter), Some([3, 2].into()));
        let rest = services(vec![(key, service(1, &[4, 2]))], Vec::new());
        let rest = Deltas { backends: Delta { removals: vec![3], ..Delta::default() }, ..rest };
        assert_eq!(datapath.apply(&rest), []);
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!(found.of(&key).map(BTreeSet::from_iter), Some([4, 2].into()));
    });
}

#[test]
fn in_full_tables_what_goes_makes_room_for_what_comes_with_the_same_change() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&with_sizes(&bench, 2, 4, 4)).unwrap();
        let slots = |id: u16| [u32::from(id) * 2, u32::from(id) * 2 + 1];
        let some = |ids: std::ops::RangeInclusive<u16>| {
            let rows = ids.clone().map(|id| (cluster_ip(id), service(id, &slots(id)))).collect();
            services(rows, ids.flat_map(slots).map(|id| (id, endpoint(id))).collect())
        };
        assert_eq!(datapath.apply(&some(1..=2)), []);
        let mut change = some(3..=4);
        change.services.removals = vec![cluster_ip(1), cluster_ip(2)];
        change.backends.removals = (1..=2).flat_map(slots).collect();
        assert_eq!(datapath.apply(&change), []);
        assert_eq!(datapath.totals().failures, 0);
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!(found.of(&cluster_ip(3)), Some(vec![6, 7]));
        assert_eq!(found.of(&cluster_ip(4)), Some(vec![8, 9]));
        assert_eq!((found.frontends.len(), found.slots.len(), found.backends.len()), (2, 4, 4));
    });
}

#[test]
fn what_the_control_plane_should_not_say_is_told_and_does_no_harm() {
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&config(&bench, None)).unwrap();
        let other = backend("[fd00::1]:80".parse().unwrap(), Protocol::Tcp);
        let change = services(
            vec![(cluster_ip(1), service(1, &[1, 2, 77])), (cluster_ip(2), service(2, &[2]))],
            vec![(1, other), (2, endpoint(2))],
        );
        let failures = datapath.apply(&change);
        assert_eq!(failures.len(), 1, "{failures:?}");
        assert_eq!(failures[0].row, Row::Service(cluster_ip(1)));
        assert!(failures[0].reason.contains("of its 3 slots 1"), "{failures:?}");
        // A backend that a frontend still names.
        let failures = datapath.apply(&gone(Vec::new(), vec![2]));
        assert!(failures.iter().any(|failure| failure.row == Row::Backend(2)), "{failures:?}");
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!(found.of(&cluster_ip(2)), Some(vec![2]));
    });
}

#[test]
fn ten_thousand_services_are_written_and_one_change_among_them_is_a_few_writes() {
    const SERVICES: u16 = 10_000;
    let bench = Bench::new();
    bench.run(|| {
        let mut datapath = Datapath::start(&with_sizes(&bench, 65_535, 1 << 20, 262_144)).unwrap();
        let slots = |id: u16| (0..10).map(|n| u32::from(id) * 10 + n).collect::<Vec<_>>();
        let rows: Vec<_> = (1..=SERVICES).map(|id| (cluster_ip(id), service(id, &slots(id)))).collect();
        let backends = (10..u32::from(SERVICES) * 10 + 10).map(|id| (id, endpoint(id))).collect();
        let all = services(rows, backends);
        let began = Instant::now();
        assert_eq!(datapath.apply(&all), []);
        println!("10 000 services with 10 backends each: {:?}", began.elapsed());
        let began = Instant::now();
        let mut one = services(vec![(cluster_ip(77), service(77, &slots(77)[1..]))], Vec::new());
        one.backends.removals = vec![770];
        assert_eq!(datapath.apply(&one), []);
        println!("one backend less: {:?}", began.elapsed());
        let found = Found::read(&datapath);
        found.check(&datapath);
        assert_eq!(
            (found.frontends.len(), found.slots.len(), found.backends.len()),
            (10_000, 99_999, 99_999)
        );
        drop(datapath);
        let began = Instant::now();
        let datapath = Datapath::start(&with_sizes(&bench, 65_535, 1 << 20, 262_144)).unwrap();
        println!("a start with them: {:?}", began.elapsed());
        assert_eq!(datapath.services().unwrap().backends.len(), 99_999);
    });
}
