// SPDX-License-Identifier: Apache-2.0
//! One agent after another: what is taken over, replaced and removed, and what traffic sees of it.

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use datapath::loader::{AttachMethod, Side};
use datapath::{Datapath, DatapathConfig};
use maps::{EndpointConfigs, EndpointInfo, EndpointKey, IpcacheEntry, IpcacheKey, LxcRow, names};
use policy::{Direction, PolicyKey};

use crate::bench::Bench;
use crate::node::{desired, made, started};

#[test]
fn no_packet_is_lost_while_agents_come_and_go() {
    for method in [AttachMethod::probe().unwrap(), AttachMethod::Clsact] {
        let bench = Bench::new();
        bench.run(|| {
            let mut first = Datapath::start_with(&bench.config(), method).unwrap();
            let (one, two) = (bench.add_pod(1), bench.add_pod(2));
            assert_eq!(first.apply(&made(&[&one, &two])), []);
            drop(first);
            let stop = AtomicBool::new(false);
            let (sent, lost) = thread::scope(|scope| {
                let traffic = scope.spawn(|| one.datagrams(&two, two.addresses()[0], &stop));
                for _ in 0..5 {
                    let mut next = Datapath::start_with(&bench.config(), method).unwrap();
                    assert_eq!(next.resync(&desired(&[&one, &two])), []);
                }
                stop.store(true, Ordering::Relaxed);
                traffic.join().unwrap()
            });
            assert!(sent > 100, "{method:?}: only {sent} datagrams");
            assert_eq!(lost, 0, "{method:?}: of {sent} datagrams");
        });
    }
}

#[test]
fn traffic_goes_on_when_the_agent_dies_and_the_next_one_takes_over() {
    let bench = Bench::new();
    bench.run(|| {
        let mut first = started(&bench);
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        assert_eq!(first.apply(&made(&[&one, &two])), []);
        let open = one.connect(&two, two.addresses()[0]).unwrap();
        let programs = bench.attached(one.row.ifindex, Side::Ingress, first.method());
        drop(first);
        assert!(open.echoes() && one.reaches(&two, two.addresses()[1]));
        let mut second = started(&bench);
        assert!(open.echoes());
        assert_eq!(second.resync(&desired(&[&one, &two])), []);
        let replaced = bench.attached(one.row.ifindex, Side::Ingress, second.method());
        assert!(programs.len() == 1 && replaced.len() == 1 && programs != replaced);
        assert!(open.echoes() && two.reaches(&one, one.addresses()[0]));
    });
}

#[test]
fn a_restart_keeps_counters_of_policy_rows_and_removes_what_nobody_desires() {
    let bench = Bench::new();
    bench.run(|| {
        let mut first = started(&bench);
        let (one, two, gone) = (bench.add_pod(1), bench.add_pod(2), bench.add_pod(3));
        assert_eq!(first.apply(&made(&[&one, &two, &gone])), []);
        assert!(one.reaches(&two, two.addresses()[0]));
        let counted = |datapath: &Datapath| {
            let rows = datapath.policy_map(2).unwrap().rows().unwrap();
            rows.iter().map(|(_, entry)| entry.packets).sum::<u64>()
        };
        let before = counted(&first);
        assert!(before > 0);
        drop(first);
        let mut second = started(&bench);
        let mut wanted = desired(&[&one, &two]);
        // Also of an endpoint that stays: an address, and a policy row.
        wanted.endpoints.get_mut(&1).unwrap().ipv6 = None;
        wanted.policy.get_mut(&1).unwrap().remove(&PolicyKey::any(Direction::Ingress));
        assert_eq!(second.resync(&wanted), []);
        assert!(counted(&second) >= before);
        let lxc = second.map::<EndpointKey, EndpointInfo>(names::LXC).unwrap().rows().unwrap();
        let mut addresses: Vec<IpAddr> = lxc.iter().filter_map(|(key, _)| key.address()).collect();
        addresses.sort();
        let mut expected = [bench.routers(), two.addresses(), vec![one.addresses()[0]]].concat();
        expected.sort();
        assert_eq!(addresses, expected);
        let ipcache = second.map::<IpcacheKey, IpcacheEntry>(names::IPCACHE).unwrap().rows().unwrap();
        assert_eq!(ipcache.len(), 4);
        let configs = EndpointConfigs::new(second.map(names::EP_CONFIG).unwrap());
        assert_eq!(configs.rows().unwrap().len(), 2);
        let by_id = second.map::<u32, LxcRow>(names::LXC_BY_ID).unwrap();
        assert_eq!(by_id.lookup(&3).unwrap(), Some(LxcRow::default()));
        assert_eq!(second.policy_map(1).unwrap().rows().unwrap().len(), 1);
        assert!(bench.attached(gone.row.ifindex, Side::Ingress, second.method()).is_empty());
        assert!(!bench.map_pins().contains(&names::policy(3)), "{:?}", bench.map_pins());
    });
}

#[test]
fn without_a_resync_nothing_is_removed() {
    let bench = Bench::new();
    bench.run(|| {
        let mut first = started(&bench);
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        assert_eq!(first.apply(&made(&[&one, &two])), []);
        drop(first);
        let mut second = started(&bench);
        assert_eq!(second.apply(&made(&[&one])), []);
        assert!(one.reaches(&two, two.addresses()[0]));
    });
}

#[test]
fn another_configuration_takes_the_place_of_the_one_before() {
    for method in [AttachMethod::probe().unwrap(), AttachMethod::Clsact] {
        let bench = Bench::new();
        bench.run(|| {
            let before = DatapathConfig {
                native_devices: vec!["eth0".into()],
                router_ip4: Some([10, 200, 255, 1].into()),
                ..bench.config()
            };
            let native = bench.add_veth("eth0");
            let mut datapath = Datapath::start_with(&before, method).unwrap();
            let (one, two) = (bench.add_pod(1), bench.add_pod(2));
            assert_eq!(datapath.apply(&made(&[&one, &two])), []);
            assert_eq!(bench.attached(native, Side::Ingress, method).len(), 1);
            drop(datapath);
            let after = DatapathConfig { policy_map_max: 512, ct_tcp_max: 8192, ..bench.config() };
            let mut datapath = Datapath::start_with(&after, method).unwrap();
            assert!(bench.attached(native, Side::Ingress, method).is_empty());
            assert!(one.reaches(&two, two.addresses()[1]), "the pods' own rows are still those of before");
            assert_eq!(datapath.resync(&desired(&[&one, &two])), []);
            assert_eq!(datapath.policy_map(1).unwrap().capacity(), 512);
            assert!(one.reaches(&two, two.addresses()[0]) && bench.node_reaches(&one, one.addresses()[0]));
            let lxc = datapath.map::<EndpointKey, EndpointInfo>(names::LXC).unwrap();
            assert_eq!(lxc.lookup(&IpAddr::from([10, 200, 255, 1]).into()).unwrap(), None);
        });
    }
}
