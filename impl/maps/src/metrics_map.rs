// SPDX-License-Identifier: Apache-2.0
//! `cilium_metrics` as it is in the kernel: its rows have one value for each CPU, so it is no [`crate::BpfMap`].

use std::io;
use std::path::Path;

use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};
use zerocopy::{FromBytes, IntoBytes};

use crate::bpf_map::open_handle;
use crate::{Direction, METRICS_ROWS, MapError, MetricsValue, names};

/// The counters of packets.
#[derive(Debug)]
pub struct MetricsMap {
    handle: MapHandle,
}

impl MetricsMap {
    /// The map that is pinned there.
    ///
    /// # Errors
    /// [`MapError::Open`], [`MapError::Layout`].
    pub fn open(pin: &Path) -> Result<Self, MapError> {
        let handle = open_handle(pin)?;
        let (key, value) = (size_of::<u32>() as u32, size_of::<MetricsValue>() as u32);
        if handle.map_type() != MapType::PercpuArray
            || (handle.key_size(), handle.value_size()) != (key, value)
        {
            return Err(MapError::Layout {
                map: names::METRICS.to_owned(),
                key,
                value,
                found_key: handle.key_size(),
                found_value: handle.value_size(),
            });
        }
        Ok(Self { handle })
    }

    /// Reason, direction and the sum over all CPUs of each row that has counted something.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn rows(&self) -> Result<Vec<(u8, Direction, MetricsValue)>, MapError> {
        let mut rows = Vec::new();
        for index in 0..METRICS_ROWS.min(self.handle.max_entries()) {
            let values = self.handle.lookup_percpu(index.as_bytes(), MapFlags::ANY);
            let values = values.map_err(|error| {
                MapError::new("read", names::METRICS, self.handle.max_entries(), io::Error::other(error))
            })?;
            let values: Vec<MetricsValue> = values
                .unwrap_or_default()
                .iter()
                .filter_map(|bytes| MetricsValue::read_from_bytes(bytes).ok())
                .collect();
            let sum = MetricsValue::sum(&values);
            if sum.count > 0
                && let Some((reason, direction)) = MetricsValue::of_index(index)
            {
                rows.push((reason, direction, sum));
            }
        }
        Ok(rows)
    }
}
