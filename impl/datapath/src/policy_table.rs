// SPDX-License-Identifier: Apache-2.0
//! One endpoint's policy map.

use std::path::Path;

use libbpf_rs::libbpf_sys::{BPF_F_NO_PREALLOC, bpf_map_create_opts, size_t};
use libbpf_rs::{MapCore, MapHandle, MapType};
use maps::{BpfMap, MapError, PolicyMaps, WriteMode, copy_rows, names};
use policy::{Direction, PolicyEntry, PolicyKey};

use crate::DatapathError;
use crate::loader::{pin_in_place, remove_if_there};
use crate::order::is_reserved;

/// From how many rows on the map is read as a whole before it is written.
const BULK: usize = 32;

/// A row's key in the kernel.
pub fn kernel_key(key: &PolicyKey) -> maps::PolicyKey {
    maps::PolicyKey {
        sec_label: key.identity,
        dport: key.port.into(),
        protocol: key.protocol,
        egress: u8::from(key.direction == Direction::Egress),
        port_prefix: key.port_prefix,
        pad: [0; 3],
    }
}

/// What a key in the kernel stands for.
pub fn policy_key(key: &maps::PolicyKey) -> PolicyKey {
    PolicyKey {
        identity: key.sec_label,
        protocol: key.protocol,
        port: key.dport.get(),
        port_prefix: key.port_prefix,
        direction: if key.egress == 0 { Direction::Ingress } else { Direction::Egress },
    }
}

/// The bit of `lxc_row`'s masks by which programs know that they must look for such a row; none where they look anyway.
const fn prefix_bit(key: &PolicyKey) -> Option<usize> {
    if key.port_prefix > 0 {
        Some(key.port_prefix as usize)
    } else if key.protocol != 0 {
        Some(0)
    } else {
        None
    }
}

/// A policy map, and what is in it by length of ports' prefixes.
#[derive(Debug)]
pub struct PolicyTable {
    id: u16,
    map: BpfMap<maps::PolicyKey, maps::PolicyEntry>,
    rows: usize,
    lengths: [[u32; 17]; 2],
}

impl PolicyTable {
    /// The map of an endpoint that is pinned in the directory, or a new one.
    ///
    /// # Errors
    /// [`DatapathError::Map`], [`DatapathError::Layout`].
    pub fn open(directory: &Path, id: u16, capacity: u32) -> Result<Self, DatapathError> {
        let name = names::policy(id);
        let pin = directory.join(&name);
        let handle = match MapHandle::from_pinned_path(&pin) {
            Ok(old) => same_or_copy(&name, &pin, old, capacity)?,
            Err(e) if e.kind() == libbpf_rs::ErrorKind::NotFound => make(&name, &pin, capacity, None)?,
            Err(source) => return Err(MapError::Open { path: pin, source }.into()),
        };
        let map = BpfMap::new(name, handle)?;
        let mut table = Self { id, map, rows: 0, lengths: [[0; 17]; 2] };
        for (key, _) in table.map.rows()? {
            table.count(&policy_key(&key), true);
        }
        Ok(table)
    }

    fn count(&mut self, key: &PolicyKey, added: bool) {
        let direction = &mut self.lengths[usize::from(key.direction == Direction::Egress)];
        let length = prefix_bit(key).and_then(|bit| direction.get_mut(bit));
        if added {
            self.rows += 1;
            length.into_iter().for_each(|count| *count += 1);
        } else {
            self.rows = self.rows.saturating_sub(1);
            length.into_iter().for_each(|count| *count = count.saturating_sub(1));
        }
    }

    /// How many rows it has.
    pub const fn rows(&self) -> usize {
        self.rows
    }

    /// The map.
    pub const fn map(&self) -> &BpfMap<maps::PolicyKey, maps::PolicyEntry> {
        &self.map
    }

    /// `ingress_prefixes` and `egress_prefixes` of `struct lxc_row`.
    pub fn prefixes(&self) -> [u32; 2] {
        self.lengths.map(|lengths| {
            (0..).zip(lengths).filter(|(_, count)| *count > 0).fold(0, |bits, (bit, _)| bits | 1_u32 << bit)
        })
    }

    /// Lets programs of other endpoints find it, if they do not yet.
    ///
    /// # Errors
    /// [`DatapathError::Map`].
    pub fn publish(&self, outer: &PolicyMaps) -> Result<(), DatapathError> {
        Ok(outer.publish(self.id, &self.map)?)
    }

    /// Writes rows, and returns those for which there was no room or that were refused. Counters of rows that are there
    /// go on. A reserved row that finds the map full takes the place of another, which is then returned.
    pub fn upsert(&mut self, rows: &[(PolicyKey, PolicyEntry)]) -> Vec<(PolicyKey, PolicyEntry, MapError)> {
        let known = if rows.len() > BULK { self.map.rows().ok() } else { None };
        let known = known.map(std::collections::HashMap::<_, _>::from_iter);
        let mut refused = Vec::new();
        let mut new = Vec::new();
        for (key, entry) in rows {
            let kernel = kernel_key(key);
            let old = match &known {
                Some(known) => Ok(known.get(&kernel).copied()),
                None => self.map.lookup(&kernel),
            };
            let value = |old: maps::PolicyEntry| maps::PolicyEntry {
                proxy_port: entry.proxy_port.into(),
                rule: entry.rule,
                ..old
            };
            match old {
                Ok(Some(old)) if value(old) == old => {}
                Ok(Some(old)) => {
                    if let Err(error) = self.map.insert(&kernel, &value(old)) {
                        refused.push((*key, *entry, error));
                    }
                }
                Ok(None) => new.push((*key, *entry, (kernel, value(maps::PolicyEntry::default())))),
                Err(error) => refused.push((*key, *entry, error)),
            }
        }
        self.insert(new, &mut refused);
        refused
    }

    fn insert(
        &mut self,
        new: Vec<(PolicyKey, PolicyEntry, (maps::PolicyKey, maps::PolicyEntry))>,
        refused: &mut Vec<(PolicyKey, PolicyEntry, MapError)>,
    ) {
        let rows: Vec<_> = new.iter().map(|(_, _, row)| *row).collect();
        let mut errors: std::collections::HashMap<_, _> = self.map.insert_all(&rows).into_iter().collect();
        for (key, entry, row) in new {
            match errors.remove(&row.0) {
                None => self.count(&key, true),
                Some(error) if error.is_full() && is_reserved(&key) => {
                    refused.push(match self.displace(&row, &key) {
                        Some((other, entry)) => (other, entry, error),
                        None => (key, entry, error),
                    });
                }
                Some(error) => refused.push((key, entry, error)),
            }
        }
    }

    /// Writes a reserved row in the place of another that is not. Returns the other, or none if that cannot be done.
    fn displace(
        &mut self,
        row: &(maps::PolicyKey, maps::PolicyEntry),
        key: &PolicyKey,
    ) -> Option<(PolicyKey, PolicyEntry)> {
        let rows = self.map.rows().ok()?;
        let (victim, entry) = rows
            .into_iter()
            .filter(|(other, _)| !is_reserved(&policy_key(other)))
            .max_by_key(|(other, _)| policy_key(other))?;
        self.map.remove(&victim).ok()?;
        let victim = policy_key(&victim);
        self.count(&victim, false);
        let entry = PolicyEntry { proxy_port: entry.proxy_port.get(), rule: entry.rule };
        if self.map.insert(&row.0, &row.1).is_ok() {
            self.count(key, true);
        }
        Some((victim, entry))
    }

    /// Deletes rows, and returns those that could not be.
    pub fn remove(&mut self, keys: &[PolicyKey]) -> Vec<(PolicyKey, MapError)> {
        let mut refused = Vec::new();
        for key in keys {
            match self.map.remove(&kernel_key(key)) {
                Ok(true) => self.count(key, false),
                Ok(false) => {}
                Err(error) => refused.push((*key, error)),
            }
        }
        refused
    }

    /// Takes the map of an endpoint away, whether it is open here or not.
    ///
    /// # Errors
    /// [`DatapathError::Map`], [`DatapathError::File`].
    pub fn delete(directory: &Path, id: u16, outer: &PolicyMaps) -> Result<(), DatapathError> {
        if outer.map_id(id)?.is_some() {
            outer.clear(id)?;
        }
        remove_if_there(&directory.join(names::policy(id))).map(drop)
    }
}

const ROW: (u32, u32) = (size_of::<maps::PolicyKey>() as u32, size_of::<maps::PolicyEntry>() as u32);

/// The map if it is as it should be; otherwise a new one in its place, with its rows. Rows of another layout are not
/// understood, and what does not fit is left out: the control plane tells all rows again after a start.
fn same_or_copy(name: &str, pin: &Path, old: MapHandle, capacity: u32) -> Result<MapHandle, DatapathError> {
    let same_rows = (old.key_size(), old.value_size()) == ROW;
    if same_rows && old.max_entries() == capacity {
        return Ok(old);
    }
    make(name, pin, capacity, same_rows.then_some(&old))
}

/// Makes a policy map like the one that `cilium_ep_to_policy` was made for: it takes no memory for rows that it has not.
fn make(name: &str, pin: &Path, capacity: u32, rows: Option<&MapHandle>) -> Result<MapHandle, DatapathError> {
    let options = bpf_map_create_opts {
        sz: size_of::<bpf_map_create_opts>() as size_t,
        map_flags: BPF_F_NO_PREALLOC,
        ..Default::default()
    };
    let refused = |source| MapError::Open { path: pin.into(), source };
    let mut handle =
        MapHandle::create(MapType::Hash, Some(name), ROW.0, ROW.1, capacity, &options).map_err(refused)?;
    if let Some(rows) = rows {
        match copy_rows(name, rows, &handle, WriteMode::Any) {
            Err(error) if !error.is_full() => return Err(error.into()),
            _ => {}
        }
    }
    pin_in_place(&mut handle, pin)?;
    Ok(handle)
}
