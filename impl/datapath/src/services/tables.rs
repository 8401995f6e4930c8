// SPDX-License-Identifier: Apache-2.0
//! The maps of services, and their rows as the control plane names them.

use std::net::{IpAddr, SocketAddr};

use addr::{Be32, Port, Protocol};
use ipnet::IpNet;
use loadbalancer::{BackendAddress, Frontend, Restored, Scope};
use maps::{
    BpfMap, Bytes, EndpointKey, LbAffinity, LbAffinityKey, LbBackend4, LbBackend6, LbFrontend, LbKey4,
    LbKey6, LbReverse4, LbReverse6, LbSlotKey, LbSourceKey4, LbSourceKey6, MapError, lb_scope, names,
};

use super::Known;
use crate::DatapathError;
use crate::loader::{MapSet, size_option};

fn words6(address: IpAddr) -> [Be32; 4] {
    EndpointKey::from(address).ip
}

const fn scope_number(scope: Scope) -> u8 {
    match scope {
        Scope::External => lb_scope::EXTERNAL,
        Scope::Internal => lb_scope::INTERNAL,
    }
}

const fn scope(number: u8) -> Option<Scope> {
    match number {
        lb_scope::EXTERNAL => Some(Scope::External),
        lb_scope::INTERNAL => Some(Scope::Internal),
        _ => None,
    }
}

/// A key of one family's frontends; `None` for a frontend of the other.
trait FrontendKey: Bytes + Eq + std::hash::Hash {
    fn of(frontend: &Frontend) -> Option<Self>;
    fn frontend(&self) -> Option<Frontend>;
}

/// A backend of one family.
trait BackendValue: Bytes {
    fn of(address: &BackendAddress) -> Option<Self>;
    fn address(&self) -> Option<BackendAddress>;
}

/// An address of one family that answers carry.
trait ReverseValue: Bytes + Default {
    fn of(socket: SocketAddr) -> Option<Self>;
    fn address(&self) -> Option<SocketAddr>;
}

macro_rules! by_family {
    ($family:ident, $key:ty, $backend:ty, $reverse:ty, $words:expr) => {
        impl FrontendKey for $key {
            fn of(frontend: &Frontend) -> Option<Self> {
                let IpAddr::$family(address) = frontend.address else { return None };
                Some(Self {
                    addr: $words(address),
                    port: frontend.port.get().into(),
                    protocol: frontend.protocol.number(),
                    scope: scope_number(frontend.scope),
                })
            }

            fn frontend(&self) -> Option<Frontend> {
                Some(Frontend {
                    address: self.socket().ip(),
                    port: Port::new(self.port.get())?,
                    protocol: Protocol::from_number(self.protocol)?,
                    scope: scope(self.scope)?,
                })
            }
        }

        impl BackendValue for $backend {
            fn of(address: &BackendAddress) -> Option<Self> {
                let IpAddr::$family(ip) = address.address else { return None };
                let protocol = address.protocol.number();
                Some(Self { addr: $words(ip), port: address.port.get().into(), protocol, flags: 0 })
            }

            fn address(&self) -> Option<BackendAddress> {
                Some(BackendAddress {
                    address: self.socket().ip(),
                    port: Port::new(self.port.get())?,
                    protocol: Protocol::from_number(self.protocol)?,
                })
            }
        }

        impl ReverseValue for $reverse {
            fn of(socket: SocketAddr) -> Option<Self> {
                let IpAddr::$family(ip) = socket.ip() else { return None };
                Some(Self { addr: $words(ip), port: socket.port().into(), pad: 0 })
            }

            fn address(&self) -> Option<SocketAddr> {
                self.socket()
            }
        }
    };
}

by_family!(V4, LbKey4, LbBackend4, LbReverse4, Be32::from);
by_family!(V6, LbKey6, LbBackend6, LbReverse6, |address| words6(IpAddr::V6(address)));

/// A key of one family's source ranges; `None` for a range of the other.
trait RangeKey: Bytes + Eq + std::hash::Hash {
    fn of(id: u16, range: IpNet) -> Option<Self>;
    fn range(&self) -> Option<(u16, IpNet)>;
}

macro_rules! range_key {
    ($key:ty) => {
        impl RangeKey for $key {
            fn of(id: u16, range: IpNet) -> Option<Self> {
                Self::new(id, range)
            }

            fn range(&self) -> Option<(u16, IpNet)> {
                Some((self.id, Self::range(self)?))
            }
        }
    };
}

range_key!(LbSourceKey4);
range_key!(LbSourceKey6);

/// The value of a source range says nothing.
const ADMITTED: u32 = 1;

fn load_ranges<K: RangeKey>(map: &BpfMap<K, u32>, known: &mut Known) -> Result<(), MapError> {
    let ranges = map.rows()?;
    ranges.iter().filter_map(|(key, _)| key.range()).for_each(|(id, range)| known.set_range(id, range));
    Ok(())
}

fn insert_ranges<K: RangeKey>(map: &BpfMap<K, u32>, rows: &[(u16, IpNet)]) -> Refused<(u16, IpNet)> {
    let rows = rows.iter().filter_map(|(id, range)| Some(((*id, *range), K::of(*id, *range)?, ADMITTED)));
    insert(map, &rows.collect::<Vec<_>>())
}

fn remove_ranges<K: RangeKey>(map: &BpfMap<K, u32>, rows: &[(u16, IpNet)]) -> Refused<(u16, IpNet)> {
    let rows = rows.iter().filter_map(|(id, range)| Some(((*id, *range), K::of(*id, *range)?)));
    remove(map, &rows.collect::<Vec<_>>())
}

/// Rows under keys that no version of ours writes.
fn remove_strange_ranges<K: RangeKey>(map: &BpfMap<K, u32>) -> Result<(), MapError> {
    let rows = map.rows()?;
    let strange: Vec<K> = rows.iter().map(|(key, _)| *key).filter(|key| key.range().is_none()).collect();
    map.remove_all(&strange).into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
}

/// What was refused, and why.
pub type Refused<K> = Vec<(K, String)>;

/// The maps of one family.
#[derive(Debug)]
struct FamilyTables<K, B, R> {
    frontends: BpfMap<K, LbFrontend>,
    backends: BpfMap<u32, B>,
    reverse: BpfMap<u32, R>,
}

/// What went wrong with a map of services: when it is full, the option that makes it larger.
fn reason(error: &MapError) -> String {
    match error {
        MapError::Full { map, .. } => match size_option(map) {
            Some(option) => format!("{error}: raise {option}"),
            None => error.to_string(),
        },
        _ => error.to_string(),
    }
}

/// Writes rows, and returns the names of those that were refused.
fn insert<N: Copy, K: Bytes + Eq + std::hash::Hash, V: Bytes>(
    map: &BpfMap<K, V>,
    rows: &[(N, K, V)],
) -> Refused<N> {
    let mut errors: std::collections::HashMap<K, MapError> = map
        .insert_all(&rows.iter().map(|(_, key, value)| (*key, *value)).collect::<Vec<_>>())
        .into_iter()
        .collect();
    let refused = rows.iter().filter_map(|(name, key, _)| Some((*name, reason(&errors.remove(key)?))));
    refused.collect()
}

fn remove<N: Copy, K: Bytes + Eq + std::hash::Hash, V: Bytes>(
    map: &BpfMap<K, V>,
    rows: &[(N, K)],
) -> Refused<N> {
    let mut errors: std::collections::HashMap<K, MapError> =
        map.remove_all(&rows.iter().map(|(_, key)| *key).collect::<Vec<_>>()).into_iter().collect();
    rows.iter().filter_map(|(name, key)| Some((*name, reason(&errors.remove(key)?)))).collect()
}

impl<K: FrontendKey, B: BackendValue, R: ReverseValue> FamilyTables<K, B, R> {
    fn open(maps: &MapSet, [frontends, backends, reverse]: [&str; 3]) -> Result<Self, DatapathError> {
        Ok(Self {
            frontends: maps.typed(frontends)?,
            backends: maps.typed(backends)?,
            reverse: maps.typed(reverse)?,
        })
    }

    fn load(&self, known: &mut Known, ipv6: bool) -> Result<(), MapError> {
        for (key, row) in self.frontends.rows()? {
            if let Some(frontend) = key.frontend() {
                known.set_frontend(frontend, row);
            }
        }
        for (id, backend) in self.backends.rows()? {
            if let Some(address) = backend.address() {
                known.set_backend(id, address);
            }
        }
        for (id, reverse) in self.reverse.rows()? {
            if let (Ok(id), Some(socket)) = (u16::try_from(id), reverse.address()) {
                known.set_reverse(id, ipv6, Some(socket));
            }
        }
        Ok(())
    }

    fn restore(&self, restored: &mut Restored) -> Result<(), MapError> {
        let frontends = self.frontends.rows()?;
        let frontends = frontends.iter().filter_map(|(key, row)| Some((key.frontend()?, row)));
        for (frontend, row) in frontends {
            restored.frontends.insert(frontend, row.id);
            if row.count == 0 {
                restored.without_slots.insert(frontend);
            }
        }
        let backends = self.backends.rows()?;
        restored.backends.extend(backends.iter().filter_map(|(id, row)| Some((row.address()?, *id))));
        Ok(())
    }

    fn insert_frontends(&self, rows: &[(Frontend, LbFrontend)]) -> Refused<Frontend> {
        let rows = rows.iter().filter_map(|(name, row)| Some((*name, K::of(name)?, *row)));
        insert(&self.frontends, &rows.collect::<Vec<_>>())
    }

    fn remove_frontends(&self, frontends: &[Frontend]) -> Refused<Frontend> {
        let rows = frontends.iter().filter_map(|name| Some((*name, K::of(name)?)));
        remove(&self.frontends, &rows.collect::<Vec<_>>())
    }

    fn insert_backends(&self, rows: &[(u32, BackendAddress)]) -> Refused<u32> {
        let rows = rows.iter().filter_map(|(id, address)| Some((*id, *id, B::of(address)?)));
        insert(&self.backends, &rows.collect::<Vec<_>>())
    }

    fn remove_backends(&self, rows: &[(u32, BackendAddress)]) -> Refused<u32> {
        let ids = rows.iter().filter(|(_, address)| B::of(address).is_some()).map(|(id, _)| (*id, *id));
        remove(&self.backends, &ids.collect::<Vec<_>>())
    }

    fn insert_reverse(&self, rows: &[(u16, SocketAddr)]) -> Refused<u16> {
        let rows = rows.iter().filter_map(|(id, socket)| Some((*id, u32::from(*id), R::of(*socket)?)));
        insert(&self.reverse, &rows.collect::<Vec<_>>())
    }

    fn clear_reverse(&self, ids: &[u16]) -> Refused<u16> {
        let rows = ids.iter().map(|id| (*id, u32::from(*id), R::default()));
        insert(&self.reverse, &rows.collect::<Vec<_>>())
    }

    /// Rows under keys that no version of ours writes, or whose values none does.
    fn remove_strangers(&self) -> Result<(), MapError> {
        let frontends = self.frontends.rows()?;
        let strange: Vec<K> =
            frontends.iter().map(|(key, _)| *key).filter(|key| key.frontend().is_none()).collect();
        let backends = self.backends.rows()?;
        let nowhere: Vec<u32> =
            backends.iter().filter(|(_, row)| row.address().is_none()).map(|(id, _)| *id).collect();
        let refused = self.frontends.remove_all(&strange).into_iter().map(|(_, error)| error);
        refused
            .chain(self.backends.remove_all(&nowhere).into_iter().map(|(_, error)| error))
            .next()
            .map_or(Ok(()), Err)
    }
}

/// The maps of services.
#[derive(Debug)]
pub struct ServiceTables {
    v4: FamilyTables<LbKey4, LbBackend4, LbReverse4>,
    v6: FamilyTables<LbKey6, LbBackend6, LbReverse6>,
    slots: BpfMap<LbSlotKey, u32>,
    ranges4: BpfMap<LbSourceKey4, u32>,
    ranges6: BpfMap<LbSourceKey6, u32>,
    affinity: BpfMap<LbAffinityKey, LbAffinity>,
}

impl ServiceTables {
    pub fn open(maps: &MapSet) -> Result<Self, DatapathError> {
        Ok(Self {
            v4: FamilyTables::open(maps, [names::LB4_SERVICES, names::LB4_BACKENDS, names::LB4_REVERSE_NAT])?,
            v6: FamilyTables::open(maps, [names::LB6_SERVICES, names::LB6_BACKENDS, names::LB6_REVERSE_NAT])?,
            slots: maps.typed(names::LB_SLOTS)?,
            ranges4: maps.typed(names::LB4_SOURCE_RANGE)?,
            ranges6: maps.typed(names::LB6_SOURCE_RANGE)?,
            affinity: maps.typed(names::LB_AFFINITY)?,
        })
    }

    /// What is in them.
    pub fn load(&self) -> Result<Known, MapError> {
        let mut known = Known::default();
        self.v4.load(&mut known, false)?;
        self.v6.load(&mut known, true)?;
        load_ranges(&self.ranges4, &mut known)?;
        load_ranges(&self.ranges6, &mut known)?;
        for (key, backend) in self.slots.rows()? {
            known.set_slot(key.id, key.slot, backend);
        }
        Ok(known)
    }

    /// The ids that are in them.
    pub fn restore(&self) -> Result<Restored, MapError> {
        let mut restored = Restored::default();
        self.v4.restore(&mut restored)?;
        self.v6.restore(&mut restored)?;
        Ok(restored)
    }

    pub fn insert_frontends(&self, rows: &[(Frontend, LbFrontend)]) -> Refused<Frontend> {
        [self.v4.insert_frontends(rows), self.v6.insert_frontends(rows)].concat()
    }

    pub fn remove_frontends(&self, frontends: &[Frontend]) -> Refused<Frontend> {
        [self.v4.remove_frontends(frontends), self.v6.remove_frontends(frontends)].concat()
    }

    pub fn insert_backends(&self, rows: &[(u32, BackendAddress)]) -> Refused<u32> {
        [self.v4.insert_backends(rows), self.v6.insert_backends(rows)].concat()
    }

    pub fn remove_backends(&self, rows: &[(u32, BackendAddress)]) -> Refused<u32> {
        [self.v4.remove_backends(rows), self.v6.remove_backends(rows)].concat()
    }

    pub fn insert_reverse(&self, rows: &[(u16, SocketAddr)]) -> Refused<u16> {
        [self.v4.insert_reverse(rows), self.v6.insert_reverse(rows)].concat()
    }

    pub fn clear_reverse(&self, ids: &[u16], ipv6: bool) -> Refused<u16> {
        if ipv6 { self.v6.clear_reverse(ids) } else { self.v4.clear_reverse(ids) }
    }

    pub fn insert_slots(&self, rows: &[(u16, u16, u32)]) -> Refused<(u16, u16)> {
        let rows = rows
            .iter()
            .map(|(id, slot, backend)| ((*id, *slot), LbSlotKey { id: *id, slot: *slot }, *backend));
        insert(&self.slots, &rows.collect::<Vec<_>>())
    }

    pub fn remove_slots(&self, slots: &[(u16, u16)]) -> Refused<(u16, u16)> {
        let rows = slots.iter().map(|(id, slot)| ((*id, *slot), LbSlotKey { id: *id, slot: *slot }));
        remove(&self.slots, &rows.collect::<Vec<_>>())
    }

    pub fn insert_ranges(&self, rows: &[(u16, IpNet)]) -> Refused<(u16, IpNet)> {
        [insert_ranges(&self.ranges4, rows), insert_ranges(&self.ranges6, rows)].concat()
    }

    pub fn remove_ranges(&self, rows: &[(u16, IpNet)]) -> Refused<(u16, IpNet)> {
        [remove_ranges(&self.ranges4, rows), remove_ranges(&self.ranges6, rows)].concat()
    }

    /// Takes away which clients of these frontends' ids had these backends.
    pub fn forget_affinity(&self, is_gone: impl Fn((u16, u32)) -> bool) -> Result<(), MapError> {
        let rows = self.affinity.rows()?;
        let stale: Vec<LbAffinityKey> =
            rows.iter().filter(|(key, row)| is_gone((key.id, row.backend))).map(|(key, _)| *key).collect();
        self.affinity.remove_all(&stale).into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }

    pub fn remove_strangers(&self) -> Result<(), MapError> {
        self.v4.remove_strangers()?;
        self.v6.remove_strangers()?;
        remove_strange_ranges(&self.ranges4)?;
        remove_strange_ranges(&self.ranges6)?;
        let slots = self.slots.rows()?;
        let strange: Vec<LbSlotKey> =
            slots.iter().map(|(key, _)| *key).filter(|key| key.id == 0 || key.slot == 0).collect();
        self.slots.remove_all(&strange).into_iter().next().map_or(Ok(()), |(_, error)| Err(error))
    }
}
