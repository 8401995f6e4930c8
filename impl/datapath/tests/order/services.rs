// SPDX-License-Identifier: Apache-2.0
//! Services: what programs find after every single write, by the rules of their lookups (`bpf/lib/lb.h`).

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use addr::{Port, Protocol};
use controlplane::{Deltas, EndpointRow};
use datapath::{Present, PresentServices, Write, plan};
use ipnet::IpNet;
use loadbalancer::{BackendAddress, BackendRow, BackendState, Frontend, FrontendKind, Scope, ServiceRow};
use maps::{LbFrontend, lb_flags};
use proptest::prelude::*;

use super::delta;

/// What is desired.
#[derive(Clone, Debug, Default)]
struct World {
    services: BTreeMap<Frontend, ServiceRow>,
    backends: BTreeMap<u32, BackendRow>,
}

/// What the kernel has.
#[derive(Clone, Debug, Default, PartialEq)]
struct Kernel {
    frontends: BTreeMap<Frontend, LbFrontend>,
    /// By the frontend's id, as far as the last one that is there.
    slots: BTreeMap<u16, Vec<u32>>,
    backends: BTreeMap<(u32, bool), BackendAddress>,
    reverse: BTreeMap<(u16, bool), SocketAddr>,
    ranges: BTreeMap<u16, BTreeSet<IpNet>>,
    external: u32,
    /// Clients of a frontend's id that had a backend: every one that they could have had.
    affinity: BTreeSet<(u16, u32)>,
    epoch: u32,
    /// A backend went since the last epoch, or the address that answers carry.
    stale: bool,
}

impl Present for Kernel {
    fn endpoint(&self, _: u16) -> Option<&EndpointRow> {
        None
    }

    fn is_host(&self, _: IpAddr) -> bool {
        false
    }
}

impl PresentServices for Kernel {
    fn frontend(&self, frontend: &Frontend) -> Option<LbFrontend> {
        self.frontends.get(frontend).copied()
    }

    fn owner(&self, id: u16) -> Option<Frontend> {
        self.frontends.iter().find(|(_, row)| row.id == id).map(|(frontend, _)| *frontend)
    }

    fn slots(&self, id: u16) -> &[u32] {
        self.slots.get(&id).map_or(&[], Vec::as_slice)
    }

    fn source_ranges(&self, id: u16) -> Option<&BTreeSet<IpNet>> {
        self.ranges.get(&id)
    }

    fn reverse_nat(&self, id: u16, ipv6: bool) -> Option<SocketAddr> {
        self.reverse.get(&(id, ipv6)).copied()
    }

    fn backend(&self, id: u32) -> Option<BackendAddress> {
        [false, true].into_iter().find_map(|ipv6| self.backends.get(&(id, ipv6)).copied())
    }

    fn external_frontends(&self) -> u32 {
        self.external
    }
}

impl Kernel {
    fn set_slot(&mut self, id: u16, slot: u16, backend: u32) {
        let slots = self.slots.entry(id).or_default();
        let index = usize::from(slot) - 1;
        slots.resize(slots.len().max(index + 1), 0);
        slots[index] = backend;
        while slots.last() == Some(&0) {
            slots.pop();
        }
        if slots.is_empty() {
            self.slots.remove(&id);
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::LbExternal(count) => self.external = *count,
            Write::Backend(id, address) => {
                let before = self.backends.insert((*id, address.address.is_ipv6()), *address);
                self.stale |= before.is_some_and(|before| before != *address);
            }
            Write::ReverseNat(id, socket) => {
                let before = self.reverse.insert((*id, socket.is_ipv6()), *socket);
                self.stale |= before.is_some_and(|before| before != *socket);
            }
            Write::SourceRange(id, range) => {
                self.ranges.entry(*id).or_default().insert(*range);
            }
            Write::RemoveSourceRange(id, range) => {
                self.ranges.get_mut(id).unwrap().remove(range);
                self.ranges.retain(|_, ranges| !ranges.is_empty());
            }
            Write::Slot(id, slot, backend) => self.set_slot(*id, *slot, *backend),
            Write::Frontend(frontend, row) => drop(self.frontends.insert(*frontend, *row)),
            Write::RemoveFrontend(frontend) => drop(self.frontends.remove(frontend)),
            Write::ForgetAffinity(id, backend) => drop(self.affinity.remove(&(*id, *backend))),
            Write::RemoveSlot(id, slot) => self.set_slot(*id, *slot, 0),
            Write::RemoveReverseNat(id, ipv6) => {
                self.stale |= self.reverse.remove(&(*id, *ipv6)).is_some();
            }
            Write::RemoveBackend(id, address) => {
                self.stale |= self.backends.remove(&(*id, address.address.is_ipv6())).is_some();
            }
            Write::LbEpoch => {
                self.epoch += 1;
                self.stale = false;
            }
            other => panic!("{other:?} is no write of services"),
        }
        let rows: Vec<LbFrontend> = self.frontends.values().copied().collect();
        for row in rows.iter().filter(|row| row.affinity_timeout_s != 0) {
            let chosen = self.slots(row.id).iter().take(row.count as usize);
            let chosen: Vec<_> = chosen.map(|backend| (row.id, *backend)).collect();
            self.affinity.extend(chosen);
        }
    }

    /// The row that a connection meets, as `lb4_find` and `lb6_find` have it.
    fn find(&self, frontend: &Frontend, scope: Scope) -> Option<LbFrontend> {
        let external = self.frontends.get(&Frontend { scope: Scope::External, ..*frontend })?;
        if scope == Scope::External || external.flags & lb_flags::TWO_SCOPES == 0 {
            return Some(*external);
        }
        self.frontends.get(&Frontend { scope, ..*frontend }).copied()
    }

    /// The backends that a connection may get, as `lb_slot` has it.
    fn choices(&self, frontend: &Frontend, scope: Scope) -> BTreeSet<u32> {
        let row = self.find(frontend, scope);
        row.map(|row| self.slots(row.id).iter().take(row.count as usize).copied().collect())
            .unwrap_or_default()
    }

    /// Who is let in: nobody in particular (none), or who is in these ranges, as `lb_admits` has it.
    fn admitted(&self, row: &LbFrontend) -> Option<BTreeSet<IpNet>> {
        let restricted = row.flags & lb_flags::SOURCE_RANGES != 0;
        restricted.then(|| self.ranges.get(&row.id).cloned().unwrap_or_default())
    }

    /// Nobody is let in that neither world lets in, and nobody kept out whom both let in.
    fn check_admitted(&self, frontend: &Frontend, scope: Scope, before: &Self, after: &Self) {
        let of = |kernel: &Self| kernel.find(frontend, scope).map(|row| kernel.admitted(&row));
        let (Some(old), Some(new), Some(now)) = (of(before), of(after), of(self)) else { return };
        match (old, new) {
            (Some(old), Some(new)) => {
                let now = now.expect("who is restricted before and after is so in between");
                assert!(now.is_subset(&old.union(&new).copied().collect()), "{frontend} lets in {now:?}");
                assert!(
                    old.intersection(&new).all(|range| now.contains(range)),
                    "{frontend} lets in {now:?}"
                );
            }
            // It has one of them.
            (old, new) => {
                assert!(now == old || now == new, "{frontend}: {now:?} is neither {old:?} nor {new:?}")
            }
        }
    }

    /// Invariant 5.
    fn check(&self) {
        for (frontend, row) in &self.frontends {
            let (slots, ipv6) = (self.slots(row.id), frontend.address.is_ipv6());
            for index in 0..row.count as usize {
                let backend = slots.get(index).copied().unwrap_or(0);
                assert_ne!(backend, 0, "{frontend} counts slot {} of {slots:?}", index + 1);
                assert!(self.backends.contains_key(&(backend, ipv6)), "{frontend} names backend {backend}");
            }
            let reverse = self.reverse.get(&(row.id, ipv6));
            assert_eq!(reverse, Some(&frontend.socket()), "what answers of {frontend} carry");
        }
        assert!(
            self.external > 0 || self.count_external() == 0,
            "the network's packets are not asked for services"
        );
    }

    fn count_external(&self) -> u32 {
        let external = self.frontends.values().filter(|row| row.flags & lb_flags::EXTERNAL != 0);
        external.count().try_into().unwrap()
    }

    /// What connections meet on the way from one world to another, neither of which gives an id to somebody else.
    fn check_way(&self, before: &Self, after: &Self) {
        for frontend in before.frontends.keys().filter(|key| after.frontends.contains_key(key)) {
            let every = |kernel: &Self| {
                let scopes = [Scope::External, Scope::Internal].into_iter();
                scopes.flat_map(|scope| kernel.choices(frontend, scope)).collect::<BTreeSet<_>>()
            };
            let known: BTreeSet<u32> = every(before).union(&every(after)).copied().collect();
            for scope in [Scope::External, Scope::Internal] {
                let (old, new) = (before.choices(frontend, scope), after.choices(frontend, scope));
                let now = self.choices(frontend, scope);
                if !old.is_disjoint(&new) {
                    assert!(!now.is_empty(), "{frontend} refuses connections of {scope:?}");
                }
                self.check_admitted(frontend, scope, before, after);
                assert!(now.is_subset(&known), "{frontend} leads to {now:?}, not to one of {known:?}");
            }
        }
    }
}

fn deltas(old: &World, new: &World) -> Deltas {
    Deltas {
        revision: 1,
        services: delta(&old.services, &new.services),
        backends: delta(&old.backends, &new.backends),
        ..Deltas::default()
    }
}

fn realized(world: &World) -> Kernel {
    let mut kernel = Kernel::default();
    for write in plan(&deltas(&World::default(), world), &Kernel::default()) {
        kernel.write(&write);
        kernel.check();
    }
    kernel
}

fn ip(ipv6: bool, byte: u8) -> IpAddr {
    if ipv6 {
        Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, byte.into()).into()
    } else {
        Ipv4Addr::new(10, 0, 0, byte).into()
    }
}

/// Backends 1 to 6 are of IPv4 and 7 to 9 of IPv6.
fn backend(id: u32, moved: bool) -> BackendRow {
    let byte = u8::try_from(id).unwrap() + if moved { 100 } else { 0 };
    let port = Port::new(80).unwrap();
    BackendRow {
        address: BackendAddress { address: ip(id > 6, byte), port, protocol: Protocol::Tcp },
        state: BackendState::Active,
    }
}

/// Of a frontend: kind, affinity, two scopes, slots (each with the number of a backend of its family), another id, source ranges
/// (by number).
type Drawn = (bool, bool, bool, Vec<u32>, Vec<u32>, bool, Option<BTreeSet<u8>>);

fn frontends() -> Vec<Frontend> {
    let port = Port::new(80).unwrap();
    let frontend = |ipv6, byte| Frontend {
        address: ip(ipv6, byte),
        port,
        protocol: Protocol::Tcp,
        scope: Scope::External,
    };
    vec![frontend(false, 201), frontend(false, 202), frontend(false, 203), frontend(true, 201)]
}

/// Worlds of eight frontends at most, few backends. An id belongs to one frontend, except where `swapped` gives all of them
/// to others.
fn worlds(swapped: bool) -> impl Strategy<Value = World> {
    let slots = || prop::collection::vec(0_u32..8, 0..5);
    let ranges = prop::option::of(prop::collection::btree_set(0_u8..4, 0..4));
    let drawn = prop::option::of((
        any::<bool>(),
        any::<bool>(),
        any::<bool>(),
        slots(),
        slots(),
        any::<bool>(),
        ranges,
    ));
    let there = prop::collection::btree_set(1_u32..10, 0..10);
    let moved = prop::collection::btree_set(1_u32..10, if swapped { 0..3 } else { 0..1 });
    (prop::collection::vec(drawn, 4), there, moved, 0_u16..8).prop_map(move |(drawn, there, moved, turn)| {
        let backends = there.iter().map(|id| (*id, backend(*id, moved.contains(id)))).collect();
        let mut services = BTreeMap::new();
        for (index, (frontend, drawn)) in (0_u16..).zip(frontends().into_iter().zip(drawn)) {
            let Some(drawn) = drawn else { continue };
            let turn = if swapped { turn } else { 0 };
            add(&mut services, frontend, drawn, |internal, other| {
                1 + (2 * index + u16::from(internal) + turn) % 8 + if other { 8 } else { 0 }
            });
        }
        // The control plane names no backend that is none.
        for row in services.values_mut() {
            row.slots.retain(|id| there.contains(id));
        }
        World { services, backends }
    })
}

/// One of four of the frontend's family.
fn range(frontend: Frontend, number: u8) -> IpNet {
    ip(frontend.address.is_ipv6(), number).into()
}

fn add(
    services: &mut BTreeMap<Frontend, ServiceRow>,
    frontend: Frontend,
    (external, affinity, two_scopes, slots, internal, other, ranges): Drawn,
    id: impl Fn(bool, bool) -> u16,
) {
    let of_family = |number: &u32| if frontend.address.is_ipv6() { 7 + number % 3 } else { 1 + number % 6 };
    let row = |internal: bool, slots: &[u32]| ServiceRow {
        id: id(internal, other),
        kind: if external { FrontendKind::NodePort } else { FrontendKind::ClusterIp },
        affinity_timeout_s: affinity.then_some(60),
        source_ranges: ranges.as_ref().map(|ranges| ranges.iter().map(|n| range(frontend, *n)).collect()),
        two_scopes: two_scopes && !internal,
        slots: slots.iter().map(of_family).collect(),
        owner: "default/web:http".into(),
    };
    services.insert(frontend, row(false, &slots));
    if two_scopes {
        services.insert(Frontend { scope: Scope::Internal, ..frontend }, row(true, &internal));
    }
}

/// After the last write all is as if it had been written from nothing.
fn is_as_new(mut kernel: Kernel, world: &World) {
    assert!(!kernel.stale, "a backend or a frontend is remembered that went");
    let mut fresh = realized(world);
    assert_eq!(
        kernel.affinity.difference(&fresh.affinity).next(),
        None,
        "a client keeps a backend that is none"
    );
    for kernel in [&mut kernel, &mut fresh] {
        kernel.epoch = 0;
        kernel.affinity.clear();
    }
    assert_eq!(kernel, fresh);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn services_are_whole_after_every_single_write(old in worlds(false), new in worlds(false)) {
        let mut kernel = realized(&old);
        let (before, after) = (kernel.clone(), realized(&new));
        for write in plan(&deltas(&old, &new), &kernel.clone()) {
            kernel.write(&write);
            kernel.check();
            kernel.check_way(&before, &after);
        }
        is_as_new(kernel, &new);
    }

    #[test]
    fn an_id_that_comes_to_another_lets_in_nobody_by_the_ranges_of_before(old in worlds(true), new in worlds(true)) {
        let mut kernel = realized(&old);
        let after = realized(&new);
        for write in plan(&deltas(&old, &new), &kernel.clone()) {
            kernel.write(&write);
            for (frontend, row) in &kernel.frontends {
                // A row as it will be lets in nobody else, unless it changes its own ranges in place.
                let own = old.services.get(frontend).map(|row| row.id);
                if after.frontends.get(frontend) == Some(row) && own != Some(row.id) {
                    prop_assert_eq!(kernel.admitted(row), after.admitted(row), "{}", frontend);
                }
            }
        }
    }

    #[test]
    fn services_are_whole_also_when_ids_come_to_others(old in worlds(true), new in worlds(true)) {
        let mut kernel = realized(&old);
        for write in plan(&deltas(&old, &new), &kernel.clone()) {
            kernel.write(&write);
            kernel.check();
        }
        is_as_new(kernel, &new);
    }

    /// What the next agent finds, whose control plane tells all that is desired and what is there beyond it.
    #[test]
    fn an_agent_that_died_after_any_write_is_followed_by_one_that_ends_its_work(
        old in worlds(false),
        new in worlds(false),
        stop in any::<prop::sample::Index>(),
    ) {
        let mut kernel = realized(&old);
        let writes = plan(&deltas(&old, &new), &kernel.clone());
        for write in &writes[..stop.index(writes.len() + 1)] {
            kernel.write(write);
        }
        // A start counts them.
        kernel.external = kernel.count_external();
        let left = World {
            services: kernel.frontends.keys().filter_map(|key| Some((*key, old.services.get(key)?.clone()))).collect(),
            backends: kernel.backends.keys().filter_map(|(id, _)| Some((*id, *old.backends.get(id)?))).collect(),
        };
        let mut all = deltas(&World::default(), &new);
        let difference = deltas(&left, &new);
        all.services.removals = difference.services.removals;
        all.backends.removals = difference.backends.removals;
        for write in plan(&all, &kernel.clone()) {
            kernel.write(&write);
            kernel.check();
        }
        prop_assert_eq!(&kernel.frontends, &realized(&new).frontends);
        prop_assert_eq!(&kernel.backends, &realized(&new).backends);
        for row in kernel.frontends.values() {
            prop_assert_eq!(kernel.admitted(row), realized(&new).admitted(row));
        }
    }

    #[test]
    fn what_is_there_already_is_not_written_again(world in worlds(false)) {
        prop_assert_eq!(plan(&deltas(&World::default(), &world), &realized(&world)), []);
    }
}

#[test]
fn one_backend_more_or_less_is_a_handful_of_writes() {
    let frontend = frontends()[0];
    let world = |slots: &[u32]| {
        let mut world = World::default();
        add(&mut world.services, frontend, (false, false, false, vec![], vec![], false, None), |_, _| 1);
        world.services.get_mut(&frontend).unwrap().slots = slots.to_vec();
        world.backends = slots.iter().map(|id| (*id, backend(*id, false))).collect();
        world
    };
    let kind = |write: &Write| match write {
        Write::Backend(..) => "backend",
        Write::Slot(..) => "slot",
        Write::Frontend(..) => "frontend",
        Write::RemoveSlot(..) => "remove slot",
        Write::RemoveBackend(..) => "remove backend",
        Write::LbEpoch => "epoch",
        _ => "other",
    };
    let kinds = |old: &World, new: &World| {
        plan(&deltas(old, new), &realized(old)).iter().map(kind).collect::<Vec<_>>()
    };
    let (three, four) = (world(&[1, 2, 3]), world(&[1, 2, 3, 4]));
    assert_eq!(kinds(&three, &four), ["backend", "slot", "frontend"]);
    // The last one's takes the place of the first one's.
    let less = world(&[4, 2, 3]);
    assert_eq!(kinds(&four, &less), ["slot", "frontend", "remove slot", "remove backend", "epoch"]);
}

#[test]
fn a_backend_that_is_none_or_of_the_other_family_takes_no_slot() {
    let frontend = frontends()[0];
    let mut world = World::default();
    add(&mut world.services, frontend, (false, false, false, vec![], vec![], false, None), |_, _| 1);
    world.services.get_mut(&frontend).unwrap().slots = vec![7, 1, 8, 99, 2];
    world.backends = (1..10).map(|id| (id, backend(id, false))).collect();
    assert_eq!(realized(&world).slots(1), [1, 2]);
}
