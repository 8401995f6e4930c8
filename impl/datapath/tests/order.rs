// SPDX-License-Identifier: Apache-2.0
//! The order of writes: after every single one, what is there is consistent, whatever becomes of the rest.

#[path = "order/services.rs"]
mod services;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use controlplane::{Delta, Deltas, EndpointRow, IpcacheRow};
use datapath::{Present, PresentServices, Write, plan};
use ipnet::IpNet;
use loadbalancer::{BackendAddress, Frontend};
use maps::LbFrontend;
use policy::{Direction, MapState, PolicyDelta, PolicyEntry, PolicyKey};
use proptest::prelude::*;

/// What is desired: endpoints (with the last byte of their address), their policy, identities of prefixes.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    endpoints: BTreeMap<u16, EndpointRow>,
    policy: BTreeMap<u16, MapState>,
    ipcache: BTreeMap<IpNet, u32>,
}

/// What the kernel has.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kernel {
    policy: BTreeMap<u16, MapState>,
    published: BTreeSet<u16>,
    attached: BTreeMap<u16, u32>,
    rows: BTreeMap<u16, EndpointRow>,
    lxc: BTreeMap<IpAddr, Option<u16>>,
    ipcache: BTreeMap<IpNet, u32>,
    epoch: u32,
    lb_epoch: u32,
    /// Changed since the last epoch.
    changed: bool,
}

impl Present for Kernel {
    fn endpoint(&self, id: u16) -> Option<&EndpointRow> {
        self.rows.get(&id)
    }

    fn is_host(&self, address: IpAddr) -> bool {
        self.lxc.get(&address) == Some(&None)
    }
}

/// There are no services here.
impl PresentServices for Kernel {
    fn frontend(&self, _: &Frontend) -> Option<LbFrontend> {
        None
    }

    fn owner(&self, _: u16) -> Option<Frontend> {
        None
    }

    fn slots(&self, _: u16) -> &[u32] {
        &[]
    }

    fn source_ranges(&self, _: u16) -> Option<&BTreeSet<IpNet>> {
        None
    }

    fn reverse_nat(&self, _: u16, _: bool) -> Option<SocketAddr> {
        None
    }

    fn backend(&self, _: u32) -> Option<BackendAddress> {
        None
    }

    fn external_frontends(&self) -> u32 {
        0
    }
}

impl Kernel {
    fn write(&mut self, write: &Write, new: &World) {
        // That counts removals for services, and no verdict depends on it.
        self.changed |= *write != Write::LbEpoch;
        match write {
            Write::MakePolicyMap(id) => drop(self.policy.entry(*id).or_default()),
            Write::PolicyRow(id, key, entry) => drop(self.policy.get_mut(id).unwrap().insert(*key, *entry)),
            Write::PublishPolicyMap(id) => drop(self.published.insert(*id)),
            Write::Attach(id) => drop(self.attached.insert(*id, new.endpoints[id].ifindex)),
            Write::Row(id) => drop(new.endpoints.get(id).map(|row| self.rows.insert(*id, row.clone()))),
            Write::Address(id, address) => drop(self.lxc.insert(*address, Some(*id))),
            Write::HostAddress(address) => drop(self.lxc.insert(*address, None)),
            Write::Ipcache(prefix, row) => drop(self.ipcache.insert(*prefix, row.identity)),
            Write::RemoveIpcache(prefix) => drop(self.ipcache.remove(prefix)),
            Write::RemoveAddress(address) => drop(self.lxc.remove(address)),
            Write::RemoveRow(id) => drop(self.rows.remove(id)),
            Write::Detach(id) => drop(self.attached.remove(id)),
            Write::FlushConntrack(_) => {}
            Write::RemovePolicyRow(id, key) => drop(self.policy.get_mut(id).unwrap().remove(key)),
            Write::RemovePolicyMap(id) => {
                self.policy.remove(id);
                self.published.remove(id);
            }
            Write::Epoch => {
                self.epoch += 1;
                self.changed = false;
            }
            Write::LbEpoch => self.lb_epoch += 1,
            other => panic!("{other:?} is a write of services"),
        }
    }

    /// All of this identity's rows of a policy are there.
    fn has(&self, id: u16, identity: u32, rows: &MapState) -> bool {
        let there = &self.policy[&id];
        rows.keys().filter(|key| key.identity == identity).all(|key| there.contains_key(key))
    }

    fn check(&self, old: &World, new: &World) {
        // An address leads to an endpoint only while all that polices the endpoint is there.
        for (address, id) in self.lxc.iter().filter_map(|(address, id)| Some((address, (*id)?))) {
            assert!(self.rows.contains_key(&id), "{address} leads to no row");
            assert!(self.attached.contains_key(&id), "{address} leads to an endpoint without program");
            assert!(self.published.contains(&id), "{address} leads to an endpoint without policy");
        }
        // A row of the ipcache that comes finds the policy rows of its identity that shall be, and one that goes leaves
        // those behind that were.
        for (prefix, identity) in &self.ipcache {
            let in_old = old.ipcache.get(prefix) == Some(identity);
            let in_new = new.ipcache.get(prefix) == Some(identity);
            assert!(in_old || in_new);
            if in_old && in_new {
                continue;
            }
            for (id, rows) in if in_new { &new.policy } else { &old.policy } {
                if self.published.contains(id) && new.endpoints.contains_key(id) {
                    assert!(
                        self.has(*id, *identity, rows),
                        "{prefix} is {identity} before endpoint {id} knows"
                    );
                }
            }
        }
        // What was allowed before and shall be is allowed all the time.
        for (id, before) in old.policy.iter().filter(|(id, _)| new.endpoints.contains_key(id)) {
            let kept = before.keys().filter(|key| new.policy[id].contains_key(key));
            assert!(kept.clone().all(|key| self.policy[id].contains_key(key)));
        }
    }
}

fn row(id: u16, byte: u8) -> EndpointRow {
    EndpointRow {
        id,
        ifindex: u32::from(id) * 10,
        interface: format!("lxc{id}"),
        ipv4: Some(Ipv4Addr::new(10, 0, 0, byte)),
        ipv6: None,
        mac: [2; 6],
        node_mac: [4; 6],
        identity: 1000 + u32::from(id),
        options: 0,
    }
}

fn delta<K: Ord + Clone, V: Clone + PartialEq>(old: &BTreeMap<K, V>, new: &BTreeMap<K, V>) -> Delta<K, V> {
    let changed = new.iter().filter(|(key, value)| old.get(key) != Some(value));
    Delta {
        upserts: changed.map(|(key, value)| (key.clone(), value.clone())).collect(),
        removals: old.keys().filter(|key| !new.contains_key(key)).cloned().collect(),
    }
}

/// What the control plane would tell.
fn deltas(old: &World, new: &World) -> Deltas {
    let ipcache = |world: &World| -> BTreeMap<IpNet, IpcacheRow> {
        let row = |identity| IpcacheRow { identity, tunnel_endpoint: None };
        world.ipcache.iter().map(|(prefix, identity)| (*prefix, row(*identity))).collect()
    };
    let nothing = MapState::new();
    let policy = new.policy.iter().map(|(id, rows)| {
        let delta = delta(old.policy.get(id).unwrap_or(&nothing), rows);
        PolicyDelta {
            endpoint: *id,
            upserts: delta.upserts,
            removals: delta.removals,
            enforcing_ingress: true,
            enforcing_egress: true,
        }
    });
    Deltas {
        revision: 1,
        endpoints: delta(&old.endpoints, &new.endpoints),
        policy: policy.filter(|delta| !delta.upserts.is_empty() || !delta.removals.is_empty()).collect(),
        ipcache: delta(&ipcache(old), &ipcache(new)),
        ..Deltas::default()
    }
}

fn realized(old: &World) -> Kernel {
    let mut kernel = Kernel::default();
    for write in plan(&deltas(&World::default(), old), &Kernel::default()) {
        kernel.write(&write, old);
    }
    kernel
}

/// Worlds of three endpoints at most, few addresses and identities: everything meets everything.
fn worlds() -> impl Strategy<Value = World> {
    let endpoints = prop::collection::btree_map(1_u16..4, 1_u8..6, 0..4);
    let policy = prop::collection::vec(prop::collection::btree_set((1_u32..5, any::<bool>()), 0..5), 3);
    let ipcache = prop::collection::btree_map(1_u8..9, 1_u32..5, 0..6);
    (endpoints, policy, ipcache).prop_map(|(endpoints, policy, ipcache)| {
        let mut taken = BTreeSet::new();
        let endpoints: BTreeMap<u16, EndpointRow> = endpoints
            .into_iter()
            .filter(|(_, byte)| taken.insert(*byte))
            .map(|(id, byte)| (id, row(id, byte)))
            .collect();
        let entry = PolicyEntry { proxy_port: 0, rule: 1 };
        let state = |id: &u16| -> MapState {
            let rows = policy[usize::from(*id) - 1].iter();
            rows.map(|(identity, ingress)| {
                let direction = if *ingress { Direction::Ingress } else { Direction::Egress };
                (PolicyKey::identity(*identity, direction), entry)
            })
            .collect()
        };
        let policy = endpoints.keys().map(|id| (*id, state(id))).collect();
        // An endpoint's address is not the node's.
        let prefix = |byte: u8| IpNet::from(IpAddr::from([10, 0, 0, byte]));
        let ipcache = ipcache
            .into_iter()
            .filter(|(byte, identity)| *identity != 1 || !taken.contains(byte))
            .map(|(byte, identity)| (prefix(byte), identity))
            .collect();
        World { endpoints, policy, ipcache }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_agent_may_die_after_every_single_write(old in worlds(), new in worlds()) {
        let mut kernel = realized(&old);
        kernel.check(&World::default(), &old);
        let epoch = kernel.epoch;
        let deltas = deltas(&old, &new);
        let writes = plan(&deltas, &kernel);
        for write in &writes {
            kernel.write(write, &new);
            kernel.check(&old, &new);
        }
        // Connections through services notice that a pod has gone, once it has.
        let pods_went = !deltas.endpoints.removals.is_empty();
        prop_assert_eq!(writes.last() == Some(&Write::LbEpoch), pods_went);
        kernel.lb_epoch = 0;
        // At the end all is as desired, and no verdict of before is used.
        prop_assert!(!kernel.changed || writes.is_empty());
        prop_assert_eq!(kernel.epoch > epoch, !writes.is_empty());
        kernel.epoch = 0;
        let mut fresh = realized(&new);
        fresh.epoch = 0;
        prop_assert_eq!(kernel, fresh);
    }

    #[test]
    fn the_same_again_brings_about_the_same(world in worlds()) {
        let mut kernel = realized(&world);
        let before = kernel.clone();
        for write in plan(&deltas(&World::default(), &world), &kernel.clone()) {
            kernel.write(&write, &world);
            kernel.check(&World::default(), &world);
        }
        kernel.epoch = before.epoch;
        prop_assert_eq!(kernel, before);
    }
}

#[test]
fn reserved_rows_of_a_policy_are_written_first() {
    let key = |identity| {
        (PolicyKey::identity(identity, Direction::Ingress), PolicyEntry { proxy_port: 0, rule: 1 })
    };
    let delta = PolicyDelta {
        endpoint: 1,
        upserts: [1000, 0, 300, 2].map(key).into(),
        removals: Vec::new(),
        enforcing_ingress: true,
        enforcing_egress: true,
    };
    let writes = plan(&Deltas { policy: vec![delta], ..Deltas::default() }, &Kernel::default());
    let identities: Vec<u32> = writes
        .iter()
        .filter_map(|write| match write {
            Write::PolicyRow(_, key, _) => Some(key.identity),
            _ => None,
        })
        .collect();
    assert_eq!(identities, [0, 2, 1000, 300]);
}

#[test]
fn nothing_to_do_is_no_new_epoch() {
    assert_eq!(plan(&Deltas::default(), &Kernel::default()), []);
}
