// SPDX-License-Identifier: Apache-2.0
//! A datapath in memory, for tests without a kernel's.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use controlplane::{Deltas, Desired, EndpointRow, Failure, Row};

use crate::realize::{Cleaning, EndedSockets, MapDump, MapSummary, PacketCount, Sockets, Target};

/// The one map that it shows: endpoints.
pub const MAP: &str = "cilium_lxc";

/// Keeps what it is told, and refuses endpoints that it is told to refuse.
#[derive(Default)]
pub struct Memory {
    pub endpoints: BTreeMap<u16, EndpointRow>,
    pub refused: BTreeMap<u16, EndpointRow>,
    pub refuse: bool,
    pub policy: BTreeMap<u16, policy::MapState>,
    pub ipcache: BTreeMap<ipnet::IpNet, controlplane::IpcacheRow>,
    pub services: BTreeMap<loadbalancer::Frontend, loadbalancer::ServiceRow>,
    pub backends: BTreeMap<u32, loadbalancer::BackendRow>,
    pub listening: Option<u32>,
    pub packets: Vec<PacketCount>,
}

impl Memory {
    fn failures(&self) -> Vec<Failure> {
        let failure = |id: &u16| Failure { row: Row::Endpoint(*id), reason: "refused".into() };
        self.refused.keys().map(failure).collect()
    }
}

impl Target for Memory {
    fn apply(&mut self, deltas: &Deltas) -> Vec<Failure> {
        for delta in &deltas.policy {
            let map = self.policy.entry(delta.endpoint).or_default();
            map.retain(|key, _| !delta.removals.contains(key));
            map.extend(delta.upserts.iter().copied());
        }
        for (id, row) in &deltas.endpoints.upserts {
            let table = if self.refuse { &mut self.refused } else { &mut self.endpoints };
            table.insert(*id, row.clone());
        }
        self.ipcache.extend(deltas.ipcache.upserts.iter().copied());
        for id in &deltas.endpoints.removals {
            self.endpoints.remove(id);
            self.refused.remove(id);
            self.policy.remove(id);
        }
        self.services.extend(deltas.services.upserts.iter().cloned());
        self.backends.extend(deltas.backends.upserts.iter().copied());
        self.services.retain(|frontend, _| !deltas.services.removals.contains(frontend));
        self.backends.retain(|id, _| !deltas.backends.removals.contains(id));
        self.ipcache.retain(|prefix, _| !deltas.ipcache.removals.contains(prefix));
        self.failures()
    }

    fn resync(&mut self, desired: &Desired) -> Vec<Failure> {
        self.endpoints.clone_from(&desired.endpoints);
        self.policy.clone_from(&desired.policy);
        self.ipcache.clone_from(&desired.ipcache);
        self.services.clone_from(&desired.services);
        self.backends.clone_from(&desired.backends);
        self.failures()
    }

    fn retry(&mut self) -> Vec<Failure> {
        if !self.refuse {
            self.endpoints.append(&mut self.refused);
        }
        self.failures()
    }

    fn listen(&mut self, level: Option<u32>) -> Result<(), String> {
        self.listening = level;
        Ok(())
    }

    fn clean(&mut self, _: Instant) -> Duration {
        Duration::from_secs(60)
    }

    fn cleaning(&self) -> Cleaning {
        Cleaning::default()
    }

    fn services(&self) -> Result<loadbalancer::Restored, String> {
        Ok(loadbalancer::Restored {
            frontends: self.services.iter().map(|(frontend, row)| (*frontend, row.id)).collect(),
            without_slots: self
                .services
                .iter()
                .filter(|(_, row)| row.slots.is_empty())
                .map(|(frontend, _)| *frontend)
                .collect(),
            backends: self.backends.iter().map(|(id, row)| (row.address, *id)).collect(),
        })
    }

    fn sockets(&self) -> Sockets {
        Sockets::Not("it is in memory".into())
    }

    fn ended_sockets(&self) -> EndedSockets {
        EndedSockets::default()
    }

    fn maps(&self) -> Vec<MapSummary> {
        let entries = Some(self.endpoints.len() as u64);
        vec![MapSummary { name: MAP.into(), path: format!("/memory/{MAP}"), max_entries: 100, entries }]
    }

    fn dump(&self, name: &str, limit: usize) -> Option<Result<MapDump, String>> {
        let entries: Vec<_> = self
            .endpoints
            .iter()
            .take(limit)
            .map(|(id, row)| (id.to_string(), row.interface.clone()))
            .collect();
        let left_out = (self.endpoints.len() - entries.len()) as u64;
        (name == MAP).then(|| Ok(MapDump { path: format!("/memory/{MAP}"), entries, left_out }))
    }

    fn packets(&self) -> Result<Vec<PacketCount>, String> {
        Ok(self.packets.clone())
    }
}
