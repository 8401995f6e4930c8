// SPDX-License-Identifier: Apache-2.0
//! A node with two pods, as far as programs know it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::net::IpAddr;

use datapath::loader::{Loaded, MapSet, MapSizes, load_host, load_lxc};
use ipnet::IpNet;
use libbpf_rs::{MapCore, MapHandle, MapType, RingBufferBuilder, libbpf_sys};
use maps::*;
use netlink::NetNs;
use zerocopy::IntoBytes;

use crate::keys::{any_key, key4, key6};
use crate::packet::Packet;
use crate::run::{test_run, test_run_segments, test_run_summed, work};
use crate::setting::{Pod, UPLINK_MAC, devices, host_config, lb_config, lxc_config, pod};
use crate::world::CIDR_IDENTITY;
use crate::{Event, Family, Outcome, Verdict};

/// Connections that a test's node has room for.
const FEW: u32 = 4096;
/// And a measurement's.
const MANY: u32 = 1 << 17;
const ONE_MAC: [u8; 6] = UPLINK_MAC;
const REMOTE_MAC: [u8; 6] = [2, 0, 0, 0, 1, 2];

/// Where a packet is given to the datapath.
#[derive(Clone, Copy, Debug)]
pub enum Hook<'a> {
    /// A pod's device on the node, by which its packets come.
    Pod(&'a Pod),
    /// `cilium_host`, by which the node's stack sends to pods.
    Host,
    /// The native device, from the network.
    FromNetdev,
    /// The native device, to the network.
    ToNetdev,
}

/// What a test does to the configuration of the node's programs before they are loaded.
type Change<'a> = &'a (dyn Fn(&mut HostConfig, &mut LbConfig) + Sync);

/// A pod's policy in the kernel, and the keys that it has.
type Policy = (BpfMap<PolicyKey, PolicyEntry>, RefCell<Vec<PolicyKey>>);

/// What a test works with.
pub struct Node {
    /// The pod with the smaller address.
    pub a: Pod,
    /// The other.
    pub b: Pod,
    /// Connections over IPv4: TCP, others.
    pub ct4: [BpfMap<ConntrackKey4, ConntrackEntry>; 2],
    /// Connections over IPv6.
    pub ct6: [BpfMap<ConntrackKey6, ConntrackEntry>; 2],
    /// Masqueraded connections.
    pub snat4: BpfMap<SnatKey4, SnatEntry>,
    /// Masqueraded connections.
    pub snat6: BpfMap<SnatKey6, SnatEntry>,
    uplink: u32,
    host_device: u32,
    pub(crate) maps: MapSet,
    programs: [Loaded; 2],
    policies: BTreeMap<u16, Policy>,
    rows: BpfMap<u32, LxcRow>,
    pub(crate) runtime: BpfMap<u32, RuntimeConfig>,
}

/// Runs a test on a node of its own, in a network namespace that ends with it. Both pods' policies are empty: everything is
/// denied.
pub fn on_node(test: impl FnOnce(&Node) + Send) {
    on_node_configured(&|_, _| (), test);
}

/// As [`on_node`], with changes to the configuration of the node's devices.
pub fn on_node_with(change: &(dyn Fn(&mut HostConfig) + Sync), test: impl FnOnce(&Node) + Send) {
    on_node_configured(&|host, _| change(host), test);
}

/// As [`on_node`], with changes to all that its programs are told.
pub fn on_node_configured(change: Change<'_>, test: impl FnOnce(&Node) + Send) {
    let netns = NetNs::create_unnamed().expect("these tests need root");
    netns.run(|| test(&Node::new(&netns, FEW, change, pod))).expect("the namespace is there");
}

/// As [`on_node`], but every Ethernet address of a pod and of its link is one and the same: a packet that a program has
/// forwarded can be given to it again.
pub fn on_node_of_one_mac(test: impl FnOnce(&Node) + Send) {
    let netns = NetNs::create_unnamed().expect("this needs root");
    let pod = |id, ifindex, number| Pod { mac: ONE_MAC, node_mac: ONE_MAC, ..pod(id, ifindex, number) };
    netns.run(|| test(&Node::new(&netns, MANY, &|_, _| (), pod))).expect("the namespace is there");
}

fn policy_map(id: u16) -> BpfMap<PolicyKey, PolicyEntry> {
    let options = libbpf_sys::bpf_map_create_opts {
        sz: size_of::<libbpf_sys::bpf_map_create_opts>() as libbpf_sys::size_t,
        map_flags: libbpf_sys::BPF_F_NO_PREALLOC,
        ..Default::default()
    };
    let (key, value) = (size_of::<PolicyKey>() as u32, size_of::<PolicyEntry>() as u32);
    let handle = MapHandle::create(MapType::Hash, Some("policy"), key, value, 16_384, &options).unwrap();
    BpfMap::new(names::policy(id), handle).unwrap()
}

impl Node {
    fn new(netns: &NetNs, connections: u32, change: Change<'_>, pod: impl Fn(u16, u32, u8) -> Pod) -> Self {
        let [lxc_a, lxc_b, uplink, host_device] = devices(netns);
        let (a, b) = (pod(101, lxc_a, 11), pod(102, lxc_b, 12));
        let sizes = MapSizes {
            ct_tcp_max: connections,
            ct_any_max: connections,
            policy_map_max: 16_384,
            preallocate: false,
            services: None,
        };
        let maps = MapSet::private(sizes).unwrap();
        let (mut host, mut services) = (host_config(host_device), lb_config());
        change(&mut host, &mut services);
        let programs = [
            load_lxc(&maps, &services).unwrap(),
            load_host(&maps, &host, &services, &["from_host", "from_netdev", "to_netdev"]).unwrap(),
        ];
        let node = Self {
            a,
            b,
            ct4: [maps.typed(names::CT4_GLOBAL).unwrap(), maps.typed(names::CT_ANY4_GLOBAL).unwrap()],
            ct6: [maps.typed(names::CT6_GLOBAL).unwrap(), maps.typed(names::CT_ANY6_GLOBAL).unwrap()],
            snat4: maps.typed(names::SNAT_V4).unwrap(),
            snat6: maps.typed(names::SNAT_V6).unwrap(),
            uplink,
            host_device,
            rows: maps.typed(names::LXC_BY_ID).unwrap(),
            runtime: maps.typed(names::RUNTIME).unwrap(),
            policies: [a, b].map(|pod| (pod.id, (policy_map(pod.id), RefCell::default()))).into(),
            programs,
            maps,
        };
        node.fill();
        node
    }

    fn fill(&self) {
        let outer =
            PolicyMaps::new(MapHandle::try_from(self.maps.handle(names::EP_TO_POLICY).unwrap()).unwrap());
        let configs = EndpointConfigs::new(self.maps.typed(names::EP_CONFIG).unwrap());
        for pod in [self.a, self.b] {
            configs.insert(&lxc_config(&pod, self.host_device)).unwrap();
            outer.set(pod.id, &self.policies[&pod.id].0).unwrap();
            self.set_options(&pod, lxc_options::DROP_NOTIFICATION);
            for family in crate::BOTH {
                let info = EndpointInfo {
                    ifindex: pod.ifindex,
                    lxc_id: pod.id,
                    sec_id: pod.identity,
                    ..Default::default()
                };
                self.set_endpoint(pod.ip(family), info);
            }
        }
        for family in crate::BOTH {
            let host = EndpointInfo { flags: endpoint_flags::HOST, sec_id: 1, ..Default::default() };
            self.set_endpoint(family.node(), host);
            self.set_endpoint(family.router(), host);
            let bits = if family == Family::V4 { 15 } else { 48 };
            self.set_identity(IpNet::new(family.known(), bits).unwrap(), CIDR_IDENTITY);
        }
    }

    /// Gives an address to an endpoint.
    pub fn set_endpoint(&self, address: IpAddr, info: EndpointInfo) {
        let endpoints: BpfMap<EndpointKey, EndpointInfo> = self.maps.typed(names::LXC).unwrap();
        endpoints.insert(&address.into(), &info).unwrap();
    }

    /// An address is no endpoint's any more. Whose it was.
    pub fn remove_endpoint(&self, address: IpAddr) -> EndpointInfo {
        let endpoints: BpfMap<EndpointKey, EndpointInfo> = self.maps.typed(names::LXC).unwrap();
        let info = endpoints.lookup(&address.into()).unwrap().expect("it is somebody's");
        endpoints.remove(&address.into()).unwrap();
        info
    }

    /// Gives an identity to a prefix.
    pub fn set_identity(&self, prefix: IpNet, identity: u32) {
        let ipcache: BpfMap<IpcacheKey, IpcacheEntry> = self.maps.typed(names::IPCACHE).unwrap();
        ipcache.insert(&prefix.into(), &IpcacheEntry::new(identity, None)).unwrap();
    }

    /// Sets a pod's options; its policy's prefixes follow from its entries.
    pub fn set_options(&self, pod: &Pod, options: u32) {
        let (mut ingress_prefixes, mut egress_prefixes) = (0, 0);
        for key in self.policies[&pod.id].1.borrow().iter().filter(|key| key.protocol != 0) {
            let prefixes = if key.egress == 1 { &mut egress_prefixes } else { &mut ingress_prefixes };
            *prefixes |= 1 << key.port_prefix;
        }
        let row = LxcRow {
            ifindex: pod.ifindex,
            sec_id: pod.identity,
            ingress_prefixes,
            egress_prefixes,
            options,
            mac: pod.mac,
            node_mac: pod.node_mac,
            pad: [0; 2],
        };
        self.rows.insert(&u32::from(pod.id), &row).unwrap();
    }

    fn options(&self, pod: &Pod) -> u32 {
        self.rows.lookup(&u32::from(pod.id)).unwrap().unwrap().options
    }

    /// Forgets a pod's row, as when it is deleted.
    pub fn remove_row(&self, pod: &Pod) {
        self.rows.insert(&u32::from(pod.id), &LxcRow::default()).unwrap();
    }

    /// Adds a policy entry, with the rule that it comes from, and a new epoch.
    pub fn allow(&self, pod: &Pod, key: PolicyKey, rule: u32) {
        self.allow_entry(pod, key, PolicyEntry { rule, ..Default::default() });
    }

    /// As [`Node::allow`], with all that an entry says.
    pub fn allow_entry(&self, pod: &Pod, key: PolicyKey, entry: PolicyEntry) {
        let (map, keys) = &self.policies[&pod.id];
        map.insert(&key, &entry).unwrap();
        keys.borrow_mut().push(key);
        self.set_options(pod, self.options(pod));
        self.next_epoch();
    }

    /// Takes an entry away, with a new epoch.
    pub fn forbid(&self, pod: &Pod, key: PolicyKey) {
        let (map, keys) = &self.policies[&pod.id];
        assert!(map.remove(&key).unwrap(), "{key:?} was not there");
        keys.borrow_mut().retain(|other| *other != key);
        self.set_options(pod, self.options(pod));
        self.next_epoch();
    }

    /// Whether a pod's policy has an entry.
    pub fn has(&self, pod: &Pod, key: PolicyKey) -> bool {
        self.policies[&pod.id].1.borrow().contains(&key)
    }

    /// A policy entry as it is counted.
    pub fn policy_entry(&self, pod: &Pod, key: &PolicyKey) -> PolicyEntry {
        self.policies[&pod.id].0.lookup(key).unwrap().expect("the entry is there")
    }

    /// Allows a pod everything in both directions.
    pub fn allow_all(&self, pod: &Pod) {
        for egress in [0, 1] {
            self.allow(pod, any_key(egress), 0);
        }
    }

    /// Both pods may do everything.
    pub fn open(&self) {
        self.allow_all(&self.a);
        self.allow_all(&self.b);
    }

    /// Makes every verdict old.
    pub fn next_epoch(&self) {
        let mut runtime = self.runtime.lookup(&0).unwrap().unwrap();
        runtime.epoch += 1;
        self.runtime.insert(&0, &runtime).unwrap();
    }

    /// 0: nobody listens; otherwise 1 + aggregation level.
    pub fn set_monitor(&self, monitor: u32) {
        let mut runtime = self.runtime.lookup(&0).unwrap().unwrap();
        runtime.monitor = monitor;
        self.runtime.insert(&0, &runtime).unwrap();
    }

    /// From a pod's device, with the pod's and the node's Ethernet addresses.
    pub fn from_pod(&self, pod: &Pod, packet: Packet) -> Outcome {
        self.send(Hook::Pod(pod), packet)
    }

    /// From a pod's device, as it is.
    pub fn from_pod_raw(&self, pod: &Pod, frame: &[u8]) -> Outcome {
        self.run(Hook::Pod(pod), frame, 1).0
    }

    /// From the node's stack towards pods.
    pub fn from_host(&self, packet: Packet) -> Outcome {
        self.send(Hook::Host, packet)
    }

    /// From the network.
    pub fn from_netdev(&self, packet: Packet) -> Outcome {
        self.send(Hook::FromNetdev, packet)
    }

    /// From the network, as it is.
    pub fn from_netdev_raw(&self, frame: &[u8]) -> Outcome {
        self.run(Hook::FromNetdev, frame, 1).0
    }

    /// From the network, as it is, by a device that sums what it receives.
    pub fn from_netdev_summed(&self, frame: &[u8]) -> Outcome {
        test_run_summed(&self.programs[1].program("from_netdev").unwrap(), self.uplink, frame)
    }

    /// From the network, as it is, several segments of so many bytes at once.
    pub fn from_netdev_segments(&self, frame: &[u8], segment: u32) -> Outcome {
        test_run_segments(&self.programs[1].program("from_netdev").unwrap(), self.uplink, frame, segment)
    }

    /// Out to the network.
    pub fn to_netdev(&self, packet: Packet) -> Outcome {
        self.send(Hook::ToNetdev, packet)
    }

    fn send(&self, hook: Hook<'_>, packet: Packet) -> Outcome {
        let frame = self.frame(hook, packet);
        match hook {
            // Devices sum what they receive, and a wrong sum makes the receiver drop the packet.
            Hook::FromNetdev => {
                test_run_summed(&self.programs[1].program("from_netdev").unwrap(), self.uplink, &frame)
            }
            _ => self.run(hook, &frame, 1).0,
        }
    }

    /// A packet with the Ethernet addresses that it has at a hook.
    pub fn frame(&self, hook: Hook<'_>, packet: Packet) -> Vec<u8> {
        match hook {
            Hook::Pod(pod) => packet.macs(pod.mac, pod.node_mac),
            Hook::Host => packet,
            Hook::FromNetdev => packet.macs(REMOTE_MAC, UPLINK_MAC),
            Hook::ToNetdev => packet.macs(UPLINK_MAC, REMOTE_MAC),
        }
        .bytes()
    }

    /// Gives one frame to a hook's program, as it is then again, so many times. Returns the last outcome and the mean
    /// nanoseconds of a time.
    pub fn run(&self, hook: Hook<'_>, frame: &[u8], repeat: u32) -> (Outcome, u32) {
        let (loaded, name, ifindex) = match hook {
            Hook::Pod(pod) => (&self.programs[0], "from_container", pod.ifindex),
            Hook::Host => (&self.programs[1], "from_host", self.host_device),
            Hook::FromNetdev => (&self.programs[1], "from_netdev", self.uplink),
            Hook::ToNetdev => (&self.programs[1], "to_netdev", self.uplink),
        };
        test_run(&loaded.program(name).unwrap(), ifindex, 0, frame, repeat)
    }

    /// Out to the network, as another program has sent it there.
    pub fn to_netdev_redirected(&self, outcome: &Outcome) -> Outcome {
        let program = self.programs[1].program("to_netdev").unwrap();
        test_run(&program, self.uplink, outcome.mark, &outcome.frame, 1).0
    }

    /// How many packets were counted with this reason, in this direction.
    pub fn counted(&self, reason: u8, direction: Direction) -> u64 {
        let handle = self.maps.handle(names::METRICS).unwrap();
        let key = metrics_index(reason, direction);
        let values = handle.lookup_percpu(key.as_bytes(), libbpf_rs::MapFlags::ANY).unwrap().unwrap();
        values.iter().map(|value| u64::from_ne_bytes(value[..8].try_into().unwrap())).sum()
    }

    /// Panics unless the program drops the packet, counts it with this reason, and tells it.
    pub fn expect_drop(&self, reason: u8, packet: impl FnOnce(&Self) -> Outcome) {
        let count =
            |node: &Self| node.counted(reason, Direction::Ingress) + node.counted(reason, Direction::Egress);
        let before = count(self);
        drop(self.events());
        let outcome = packet(self);
        let events = self.events();
        let told: Vec<u8> = events
            .iter()
            .filter_map(|event| match event {
                Event::Drop(drop) => Some(drop.header.subtype),
                _ => None,
            })
            .collect();
        assert_eq!((outcome.verdict, told), (Verdict::Drop, vec![reason]), "{events:?}");
        assert_eq!(count(self), before + 1);
    }

    /// The events since the last call.
    pub fn events(&self) -> Vec<Event> {
        let events = RefCell::new(Vec::new());
        {
            let mut builder = RingBufferBuilder::new();
            let ring = self.maps.handle(names::EVENTS).unwrap();
            builder
                .add(ring, |bytes| {
                    events.borrow_mut().push(Event::parse(bytes));
                    0
                })
                .unwrap();
            builder.build().unwrap().consume().unwrap();
        }
        events.into_inner()
    }

    /// What each program costs the verifier: instructions processed, and instructions after its rewriting.
    pub fn verifier_work(&self) -> Vec<(String, [u32; 2])> {
        let names = [
            (&self.programs[0], "from_container"),
            (&self.programs[1], "from_host"),
            (&self.programs[1], "from_netdev"),
            (&self.programs[1], "to_netdev"),
        ];
        names.map(|(loaded, name)| (name.to_owned(), work(&loaded.program(name).unwrap()))).into()
    }

    /// The connection of these ends.
    pub fn connection(
        &self,
        protocol: u8,
        one: (IpAddr, u16),
        other: (IpAddr, u16),
    ) -> Option<ConntrackEntry> {
        let which = usize::from(protocol != 6);
        if one.0.is_ipv4() {
            self.ct4[which].lookup(&key4(protocol, one, other)).unwrap()
        } else {
            self.ct6[which].lookup(&key6(protocol, one, other)).unwrap()
        }
    }

    /// Changes the connection of these ends.
    pub fn change_connection(
        &self,
        protocol: u8,
        one: (IpAddr, u16),
        other: (IpAddr, u16),
        change: impl FnOnce(&mut ConntrackEntry),
    ) {
        let mut entry = self.connection(protocol, one, other).expect("the connection is there");
        change(&mut entry);
        let which = usize::from(protocol != 6);
        if one.0.is_ipv4() {
            self.ct4[which].insert(&key4(protocol, one, other), &entry).unwrap();
        } else {
            self.ct6[which].insert(&key6(protocol, one, other), &entry).unwrap();
        }
    }

    /// Forgets the connection of these ends.
    pub fn forget(&self, protocol: u8, one: (IpAddr, u16), other: (IpAddr, u16)) {
        let which = usize::from(protocol != 6);
        let gone = if one.0.is_ipv4() {
            self.ct4[which].remove(&key4(protocol, one, other))
        } else {
            self.ct6[which].remove(&key6(protocol, one, other))
        };
        assert!(gone.unwrap(), "{one:?} to {other:?} was not known");
    }
}
