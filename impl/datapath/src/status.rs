// SPDX-License-Identifier: Apache-2.0
//! What is to be seen of the datapath: how full its maps are, and what became of packets.

use std::collections::BTreeMap;
use std::path::PathBuf;

use libbpf_rs::{MapCore, MapFlags};
use maps::{Direction, METRICS_ROWS, MapError, MetricsValue, names};
use zerocopy::{FromBytes, IntoBytes};

use crate::{Datapath, DatapathError};

/// A map.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MapStatus {
    /// Its name.
    pub name: String,
    /// Where it is pinned.
    pub path: PathBuf,
    /// How many rows it can hold.
    pub capacity: u32,
    /// How many it holds, if that is known: of connections, as they were last gone through.
    pub entries: Option<u64>,
}

impl MapStatus {
    /// How full it is, from 0 to 1.
    pub fn pressure(&self) -> Option<f64> {
        self.entries.filter(|_| self.capacity > 0).map(|entries| entries as f64 / f64::from(self.capacity))
    }
}

/// Packets with the same fate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketCount {
    /// Why they were dropped; [`maps::FORWARDED`].
    pub reason: u8,
    /// Where to.
    pub direction: Direction,
    /// Packets and bytes.
    pub value: MetricsValue,
}

impl Datapath {
    /// All maps, the endpoints' policy maps too.
    ///
    /// # Errors
    /// [`DatapathError::Map`].
    pub fn maps(&self) -> Result<Vec<MapStatus>, DatapathError> {
        let directory = self.pins.maps();
        let mut found: BTreeMap<String, (u32, Option<u64>)> = BTreeMap::new();
        for (name, handle) in self.maps.iter() {
            let entries = match name {
                names::LXC => Some(self.tables.lxc.rows()?.len() as u64),
                names::EP_CONFIG | names::LXC_BY_ID | names::EP_TO_POLICY => {
                    Some(self.endpoints.len() as u64)
                }
                names::IPCACHE => self.ipcache.as_ref().map(|known| known.len() as u64),
                _ => self.service_entries(name).or_else(|| self.collector.entries(name)),
            };
            found.insert(name.into(), (handle.max_entries(), entries));
        }
        for (id, table) in &self.policies {
            found.insert(names::policy(*id), (table.map().capacity(), Some(table.rows() as u64)));
        }
        let status = |(name, (capacity, entries)): (String, _)| MapStatus {
            path: directory.join(&name),
            name,
            capacity,
            entries,
        };
        Ok(found.into_iter().map(status).collect())
    }

    /// Packets by fate since the map was made, those of which there were any.
    ///
    /// # Errors
    /// [`DatapathError::Map`].
    pub fn packets(&self) -> Result<Vec<PacketCount>, DatapathError> {
        let handle = self.maps.handle(names::METRICS)?;
        let mut counts = Vec::new();
        for index in 0..METRICS_ROWS {
            let values = handle
                .lookup_percpu(index.as_bytes(), MapFlags::ANY)
                .map_err(|source| MapError::Open { path: names::METRICS.into(), source })?;
            let values: Vec<MetricsValue> = values
                .unwrap_or_default()
                .iter()
                .filter_map(|bytes| MetricsValue::read_from_bytes(bytes).ok())
                .collect();
            let value = MetricsValue::sum(&values);
            if let Some((reason, direction)) = MetricsValue::of_index(index).filter(|_| value.count > 0) {
                counts.push(PacketCount { reason, direction, value });
            }
        }
        Ok(counts)
    }
}
