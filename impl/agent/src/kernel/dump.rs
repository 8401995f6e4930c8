// SPDX-License-Identifier: Apache-2.0
//! A map's rows, read from the kernel.

use datapath::{Datapath, Pins};
use maps::{BpfMap, Bytes, Cursor, names};

use super::text::Text;
use crate::realize::MapDump;

/// A map by its name; `None` if there is none.
pub fn dump(datapath: &Datapath, pins: &Pins, name: &str, limit: usize) -> Option<Result<MapDump, String>> {
    use maps::{
        ConntrackEntry, ConntrackKey4, ConntrackKey6, EndpointInfo, EndpointKey, FragmentKey4, FragmentKey6,
        FragmentPorts, IpcacheEntry, IpcacheKey, LbAffinity, LbAffinityKey, LbBackend4, LbBackend6,
        LbFrontend, LbKey4, LbKey6, LbReverse4, LbReverse6, LbSlotKey, LbSocket4, LbSocket6, LbSocketKey4,
        LbSocketKey6, LbSourceKey4, LbSourceKey6, LxcRow, RuntimeConfig, SnatEntry, SnatKey4, SnatKey6,
    };
    let read = Read { datapath, pins, name, limit };
    Some(match name {
        names::LXC => read.shared::<EndpointKey, EndpointInfo>(),
        names::LXC_BY_ID => read.shared::<u32, LxcRow>(),
        names::IPCACHE => read.shared::<IpcacheKey, IpcacheEntry>(),
        names::CT4_GLOBAL | names::CT_ANY4_GLOBAL => read.shared::<ConntrackKey4, ConntrackEntry>(),
        names::CT6_GLOBAL | names::CT_ANY6_GLOBAL => read.shared::<ConntrackKey6, ConntrackEntry>(),
        names::FRAG4 => read.shared::<FragmentKey4, FragmentPorts>(),
        names::FRAG6 => read.shared::<FragmentKey6, FragmentPorts>(),
        names::RUNTIME => read.shared::<u32, RuntimeConfig>(),
        names::SNAT_V4 => read.shared::<SnatKey4, SnatEntry>(),
        names::SNAT_V6 => read.shared::<SnatKey6, SnatEntry>(),
        names::LB4_SERVICES => read.shared::<LbKey4, LbFrontend>(),
        names::LB6_SERVICES => read.shared::<LbKey6, LbFrontend>(),
        names::LB_SLOTS => read.shared::<LbSlotKey, u32>(),
        names::LB4_SOURCE_RANGE => read.shared::<LbSourceKey4, u32>(),
        names::LB6_SOURCE_RANGE => read.shared::<LbSourceKey6, u32>(),
        names::LB4_BACKENDS => read.shared::<u32, LbBackend4>(),
        names::LB6_BACKENDS => read.shared::<u32, LbBackend6>(),
        names::LB4_REVERSE_NAT => read.shared::<u32, LbReverse4>(),
        names::LB6_REVERSE_NAT => read.shared::<u32, LbReverse6>(),
        names::LB_AFFINITY => read.shared::<LbAffinityKey, LbAffinity>(),
        names::LB4_REVERSE_SK => read.shared::<LbSocketKey4, LbSocket4>(),
        names::LB6_REVERSE_SK => read.shared::<LbSocketKey6, LbSocket6>(),
        names::METRICS => read.packets(),
        _ => match names::policy_endpoint(name) {
            Some(id) => read.rows(datapath.policy_map(id)?),
            None => {
                let known = datapath.maps().is_ok_and(|maps| maps.iter().any(|map| map.name == name));
                if !known {
                    return None;
                }
                Err("its rows cannot be shown".into())
            }
        },
    })
}

struct Read<'a> {
    datapath: &'a Datapath,
    pins: &'a Pins,
    name: &'a str,
    limit: usize,
}

impl Read<'_> {
    fn found(&self, entries: Vec<(String, String)>, left_out: u64) -> MapDump {
        let path = self.pins.maps().join(self.name);
        MapDump { path: path.display().to_string(), entries, left_out }
    }

    fn shared<K: Bytes + Text, V: Bytes + Text>(&self) -> Result<MapDump, String> {
        let map = self.datapath.map::<K, V>(self.name).map_err(|e| e.to_string())?;
        self.rows(&map)
    }

    fn rows<K: Bytes + Text, V: Bytes + Text>(&self, map: &BpfMap<K, V>) -> Result<MapDump, String> {
        let mut cursor = Cursor::new();
        let mut entries = Vec::new();
        let mut left_out = 0;
        while !cursor.is_finished() {
            for (key, value) in map.step(&mut cursor).map_err(|e| e.to_string())? {
                let Some(row) = key.text().zip(value.text()) else { continue };
                if entries.len() < self.limit {
                    entries.push(row);
                } else {
                    left_out += 1;
                }
            }
        }
        Ok(self.found(entries, left_out))
    }

    fn packets(&self) -> Result<MapDump, String> {
        let counts = self.datapath.packets().map_err(|e| e.to_string())?;
        let row = |count: datapath::PacketCount| {
            let key = format!("{} {}", maps::reason_name(count.reason), count.direction.as_str());
            (key, format!("packets={} bytes={}", count.value.count, count.value.bytes))
        };
        Ok(self.found(counts.into_iter().map(row).collect(), 0))
    }
}
