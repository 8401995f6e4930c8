// SPDX-License-Identifier: Apache-2.0
//! Services as the agent writes them.

use std::net::IpAddr;

use addr::{Be16, Be32};
use ipnet::IpNet;
use maps::*;

use crate::setting::{word4, words6};
use crate::{Family, Node};

/// A frontend.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// Its id.
    pub id: u16,
    /// Protocol number.
    pub protocol: u8,
    /// Address and port.
    pub at: (IpAddr, u16),
    /// [`lb_scope`].
    pub scope: u8,
    /// [`lb_flags`].
    pub flags: u16,
    /// Seconds; 0: none.
    pub affinity_s: u32,
}

impl Service {
    /// A frontend that only pods and the node may use.
    pub fn new(id: u16, protocol: u8, at: (IpAddr, u16)) -> Self {
        Self { id, protocol, at, scope: lb_scope::EXTERNAL, flags: 0, affinity_s: 0 }
    }

    /// Which the network may use too.
    pub fn external(self) -> Self {
        Self { flags: self.flags | lb_flags::EXTERNAL, ..self }
    }
}

/// An address in four words.
fn words(address: IpAddr) -> [Be32; 4] {
    match address {
        IpAddr::V4(v4) => [v4.into(), Be32::default(), Be32::default(), Be32::default()],
        IpAddr::V6(_) => words6(address),
    }
}

impl Node {
    fn table<K: Bytes, V: Bytes>(&self, name: &str) -> BpfMap<K, V> {
        self.maps.typed(name).unwrap()
    }

    /// Writes a backend.
    pub fn set_backend(&self, id: u32, protocol: u8, at: (IpAddr, u16)) {
        let port = Be16::new(at.1);
        if at.0.is_ipv4() {
            let row = LbBackend4 { addr: word4(at.0), port, protocol, flags: 0 };
            self.table(names::LB4_BACKENDS).insert(&id, &row).unwrap();
        } else {
            let row = LbBackend6 { addr: words6(at.0), port, protocol, flags: 0 };
            self.table(names::LB6_BACKENDS).insert(&id, &row).unwrap();
        }
    }

    /// Takes a backend away, which is a new epoch of services.
    pub fn remove_backend(&self, id: u32, family: Family) {
        let gone = match family {
            Family::V4 => self.table::<u32, LbBackend4>(names::LB4_BACKENDS).remove(&id),
            Family::V6 => self.table::<u32, LbBackend6>(names::LB6_BACKENDS).remove(&id),
        };
        assert!(gone.unwrap(), "backend {id} was not there");
        self.next_lb_epoch();
    }

    fn next_lb_epoch(&self) {
        let mut runtime = self.runtime.lookup(&0).unwrap().unwrap();
        runtime.lb_epoch += 1;
        self.runtime.insert(&0, &runtime).unwrap();
    }

    /// Writes a frontend with these backends, which are there already, in its slots.
    pub fn set_service(&self, service: &Service, backends: &[u32]) {
        let Service { id, protocol, at: (address, port), scope, flags, affinity_s } = *service;
        let port = Be16::new(port);
        for (slot, backend) in (1..).zip(backends) {
            self.table(names::LB_SLOTS).insert(&LbSlotKey { id, slot }, backend).unwrap();
        }
        let row = LbFrontend {
            id,
            flags,
            count: u32::try_from(backends.len()).unwrap(),
            affinity_timeout_s: affinity_s,
            pad: 0,
        };
        if address.is_ipv4() {
            let addr = word4(address);
            self.table(names::LB4_REVERSE_NAT)
                .insert(&u32::from(id), &LbReverse4 { addr, port, pad: 0 })
                .unwrap();
            self.table(names::LB4_SERVICES).insert(&LbKey4 { addr, port, protocol, scope }, &row).unwrap();
        } else {
            let addr = words6(address);
            self.table(names::LB6_REVERSE_NAT)
                .insert(&u32::from(id), &LbReverse6 { addr, port, pad: 0 })
                .unwrap();
            self.table(names::LB6_SERVICES).insert(&LbKey6 { addr, port, protocol, scope }, &row).unwrap();
        }
        if flags & lb_flags::EXTERNAL != 0 {
            let mut runtime = self.runtime.lookup(&0).unwrap().unwrap();
            runtime.lb_external = 1;
            self.runtime.insert(&0, &runtime).unwrap();
        }
    }

    /// Takes a frontend away, which is a new epoch of services.
    pub fn remove_service(&self, service: &Service) {
        let Service { id, protocol, at: (address, port), scope, .. } = *service;
        let port = Be16::new(port);
        let index = u32::from(id);
        let gone = if address.is_ipv4() {
            self.table(names::LB4_REVERSE_NAT).insert(&index, &LbReverse4::default()).unwrap();
            let key = LbKey4 { addr: word4(address), port, protocol, scope };
            self.table::<_, LbFrontend>(names::LB4_SERVICES).remove(&key)
        } else {
            self.table(names::LB6_REVERSE_NAT).insert(&index, &LbReverse6::default()).unwrap();
            let key = LbKey6 { addr: words6(address), port, protocol, scope };
            self.table::<_, LbFrontend>(names::LB6_SERVICES).remove(&key)
        };
        assert!(gone.unwrap(), "{service:?} was not there");
        self.next_lb_epoch();
    }

    /// Lets clients in a range use a frontend that asks for it.
    pub fn set_source_range(&self, id: u16, range: IpNet) {
        match (LbSourceKey4::new(id, range), LbSourceKey6::new(id, range)) {
            (Some(key), _) => self.table(names::LB4_SOURCE_RANGE).insert(&key, &1_u32).unwrap(),
            (_, Some(key)) => self.table(names::LB6_SOURCE_RANGE).insert(&key, &1_u32).unwrap(),
            _ => unreachable!("a range has a family"),
        }
    }

    /// Does so no more.
    pub fn remove_source_range(&self, id: u16, range: IpNet) {
        let gone = match (LbSourceKey4::new(id, range), LbSourceKey6::new(id, range)) {
            (Some(key), _) => self.table::<_, u32>(names::LB4_SOURCE_RANGE).remove(&key),
            (_, Some(key)) => self.table::<_, u32>(names::LB6_SOURCE_RANGE).remove(&key),
            _ => unreachable!("a range has a family"),
        };
        assert!(gone.unwrap(), "{range} was not there");
    }

    /// Which backend a client of a service had last.
    pub fn affinity(&self, service: u16, client: IpAddr) -> Option<LbAffinity> {
        self.table(names::LB_AFFINITY).lookup(&affinity_key(service, client)).unwrap()
    }

    /// Changes it.
    pub fn set_affinity(&self, service: u16, client: IpAddr, affinity: LbAffinity) {
        self.table(names::LB_AFFINITY).insert(&affinity_key(service, client), &affinity).unwrap();
    }
}

fn affinity_key(id: u16, client: IpAddr) -> LbAffinityKey {
    LbAffinityKey { client: words(client), id, by_netns: 0, pad: 0 }
}
