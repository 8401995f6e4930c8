// SPDX-License-Identifier: Apache-2.0
//! Everything as desired: what the kernel has and nobody desires goes. Done when asked for, which is when every source is
//! known, and at no other time.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use controlplane::{Delta, Deltas, Desired, EndpointRow, Failure, IpcacheRow};
use identity::NumericIdentity;
use ipnet::IpNet;
use maps::{EndpointKey, IpcacheEntry, LxcRow, endpoint_flags, names};
use policy::PolicyDelta;

use crate::cleanup::pins_in;
use crate::config::Pins;
use crate::datapath::Endpoint;
use crate::order::addresses;
use crate::owed::Unfinished;
use crate::policy_table::{PolicyTable, policy_key};
use crate::services::Services;
use crate::{Datapath, DatapathError};

impl Datapath {
    /// Makes everything as desired, and removes what nobody desires.
    pub fn resync(&mut self, desired: &Desired) -> Vec<Failure> {
        self.unfinished = None;
        let deltas = match self.difference(desired) {
            Ok(deltas) => deltas,
            // Without knowing what is there, nothing is removed; what is desired is written all the same.
            Err(error) => {
                let failures = self.run(&everything(desired));
                let reason = format!("nothing was removed: {error}");
                self.unfinished = Unfinished::for_reasons(desired, &[reason]);
                return self
                    .with_unfinished(&Deltas { revision: desired.revision, ..Deltas::default() }, failures);
            }
        };
        // All that is desired is in there, also what failed before.
        self.pending = Deltas::default();
        // Before backends go that nothing but these names.
        let services = self.remove_stray_services();
        let failures = self.run(&deltas);
        let results = [services, self.remove_strays(desired), self.finish_migration()];
        let reasons: Vec<String> =
            results.into_iter().filter_map(Result::err).map(|error| error.to_string()).collect();
        self.unfinished = Unfinished::for_reasons(desired, &reasons);
        self.with_unfinished(&Deltas { revision: desired.revision, ..Deltas::default() }, failures)
    }

    /// Takes away rows of services that are nobody's, and has flows look again for what they remember of them.
    pub(crate) fn remove_stray_services(&mut self) -> Result<(), DatapathError> {
        let removed = self.services.as_mut().map_or(Ok(false), Services::remove_strays);
        // Some may have gone also when one was refused.
        if !matches!(removed, Ok(false))
            && let Err(error) = self.bump_lb_epoch()
        {
            self.owed.lb_epoch = true;
            return removed.and(Err(error));
        }
        removed.map(drop)
    }

    /// Programs of the agent before, which wrote to maps that were replaced, have all been replaced by now.
    fn finish_migration(&mut self) -> Result<(), DatapathError> {
        self.maps.finish_migration().map(drop)
    }

    /// What must change in the kernel for everything to be as desired.
    fn difference(&mut self, desired: &Desired) -> Result<Deltas, DatapathError> {
        self.adopt(desired)?;
        let mut deltas = everything(desired);
        deltas.endpoints.removals =
            self.endpoints.keys().copied().filter(|id| !desired.endpoints.contains_key(id)).collect();
        for delta in &mut deltas.policy {
            delta.removals = self.undesired_policy(delta.endpoint, desired)?;
        }
        deltas.ipcache = self.ipcache_difference(desired)?;
        if let Some(services) = &self.services {
            services.add_removals(&mut deltas, desired);
        }
        Ok(deltas)
    }

    fn undesired_policy(
        &mut self,
        id: u16,
        desired: &Desired,
    ) -> Result<Vec<policy::PolicyKey>, DatapathError> {
        if !self.policies.contains_key(&id) {
            let table = PolicyTable::open(&self.pins.maps(), id, self.config.policy_map_max)?;
            self.policies.insert(id, table);
        }
        let (Some(table), Some(wanted)) = (self.policies.get(&id), desired.policy.get(&id)) else {
            return Ok(Vec::new());
        };
        let rows = table.map().rows()?;
        Ok(rows.iter().map(|(key, _)| policy_key(key)).filter(|key| !wanted.contains_key(key)).collect())
    }

    fn ipcache_difference(&mut self, desired: &Desired) -> Result<Delta<IpNet, IpcacheRow>, DatapathError> {
        let mut there: BTreeMap<IpNet, IpcacheEntry> = BTreeMap::new();
        for (key, entry) in self.tables.ipcache.rows()? {
            match key.prefix() {
                Ok(prefix) => drop(there.insert(prefix, entry)),
                // No row of ours, and no packet's address matches it.
                Err(_) => drop(self.tables.ipcache.remove(&key)?),
            }
        }
        let same = |prefix: &IpNet, row: &IpcacheRow| {
            there.get(prefix) == Some(&IpcacheEntry::new(row.identity, row.tunnel_endpoint))
                // The node's addresses are in another table too.
                && row.identity != NumericIdentity::HOST.as_u32()
        };
        let upserts = desired.ipcache.iter().filter(|(prefix, row)| !same(prefix, row));
        let delta = Delta {
            upserts: upserts.map(|(prefix, row)| (*prefix, *row)).collect(),
            removals: there.keys().copied().filter(|prefix| !desired.ipcache.contains_key(prefix)).collect(),
        };
        self.ipcache = Some(there.into_keys().collect());
        Ok(delta)
    }

    /// Gets to know what an agent before has left: endpoints that nobody desires, and addresses of the node.
    fn adopt(&mut self, desired: &Desired) -> Result<(), DatapathError> {
        let mut left = Left { desired, rows: BTreeMap::new() };
        for (key, info) in self.tables.lxc.rows()? {
            let Some(address) = key.address() else { continue };
            if info.flags & endpoint_flags::HOST != 0 {
                self.hosts.insert(address);
                continue;
            }
            left.note(info.lxc_id, |row| {
                row.ifindex = info.ifindex;
                match address {
                    IpAddr::V4(v4) => row.ipv4 = Some(v4),
                    IpAddr::V6(v6) => row.ipv6 = Some(v6),
                }
            });
        }
        for config in self.tables.ep_config.rows()? {
            left.note(u16::try_from(config.lxc_id).unwrap_or(0), |row| row.ifindex = config.ifindex);
        }
        for (id, _) in self.tables.lxc_by_id.rows()?.iter().filter(|(_, lxc)| *lxc != LxcRow::default()) {
            left.note(u16::try_from(*id).unwrap_or(0), |_| {});
        }
        for pin in pins_in(&self.pins.links())?.iter().chain(&pins_in(&self.pins.maps())?) {
            let name = pin.file_name().unwrap_or_default().to_string_lossy();
            let id = Pins::link_endpoint(&name).or_else(|| names::policy_endpoint(&name));
            left.note(id.unwrap_or(0), |_| {});
        }
        for (id, row) in left.rows {
            self.endpoints.entry(id).or_insert(Endpoint { row, written: None });
        }
        Ok(())
    }

    /// Rows under keys that nobody desires, of endpoints that somebody does: an address or device that one has had.
    fn remove_strays(&mut self, desired: &Desired) -> Result<(), DatapathError> {
        let own: BTreeSet<IpAddr> =
            desired.endpoints.values().flat_map(addresses).chain(self.routers()).collect();
        let host = |address: &IpAddr| {
            let row = desired.ipcache.get(&IpNet::from(*address));
            row.is_some_and(|row| row.identity == NumericIdentity::HOST.as_u32())
        };
        let mut stray = Vec::new();
        for (key, _) in self.tables.lxc.rows()? {
            match key.address() {
                Some(address) if own.contains(&address) || host(&address) => {}
                _ => stray.push(key),
            }
        }
        let devices: BTreeSet<u32> = self.endpoints.values().map(|endpoint| endpoint.row.ifindex).collect();
        let configs = self.tables.ep_config.rows()?;
        let strange: Vec<u32> = configs
            .iter()
            .map(|config| config.ifindex)
            .filter(|ifindex| !devices.contains(ifindex))
            .collect();
        if stray.is_empty() && strange.is_empty() {
            return Ok(());
        }
        for address in stray.iter().filter_map(EndpointKey::address) {
            self.hosts.remove(&address);
        }
        let refused = self.tables.lxc.remove_all(&stray).into_iter().map(|(_, error)| error);
        let refused: Vec<_> = refused
            .chain(strange.iter().filter_map(|ifindex| self.tables.ep_config.remove(*ifindex).err()))
            .collect();
        self.bump_epoch()?;
        refused.into_iter().next().map_or(Ok(()), |error| Err(error.into()))
    }
}

/// Endpoints of which something is there though nobody desires them.
struct Left<'a> {
    desired: &'a Desired,
    rows: BTreeMap<u16, EndpointRow>,
}

impl Left<'_> {
    /// Something of this endpoint is there. Zero is none.
    fn note(&mut self, id: u16, learn: impl FnOnce(&mut EndpointRow)) {
        if id != 0 && !self.desired.endpoints.contains_key(&id) {
            learn(self.rows.entry(id).or_insert_with(|| unknown(id)));
        }
    }
}

/// All that is desired, as changes.
fn everything(desired: &Desired) -> Deltas {
    let policy = desired.policy.iter().map(|(id, rows)| PolicyDelta {
        endpoint: *id,
        upserts: rows.iter().map(|(key, entry)| (*key, *entry)).collect(),
        removals: Vec::new(),
        // Of the rows alone depends what passes.
        enforcing_ingress: false,
        enforcing_egress: false,
    });
    Deltas {
        revision: desired.revision,
        endpoints: Delta {
            upserts: desired.endpoints.iter().map(|(id, row)| (*id, row.clone())).collect(),
            removals: Vec::new(),
        },
        policy: policy.filter(|delta| desired.endpoints.contains_key(&delta.endpoint)).collect(),
        ipcache: Delta {
            upserts: desired.ipcache.iter().map(|(prefix, row)| (*prefix, *row)).collect(),
            removals: Vec::new(),
        },
        services: Delta {
            upserts: desired.services.iter().map(|(frontend, row)| (*frontend, row.clone())).collect(),
            removals: Vec::new(),
        },
        backends: Delta {
            upserts: desired.backends.iter().map(|(id, row)| (*id, *row)).collect(),
            removals: Vec::new(),
        },
        ..Deltas::default()
    }
}

/// An endpoint of which no more than its number is known.
fn unknown(id: u16) -> EndpointRow {
    EndpointRow {
        id,
        ifindex: 0,
        interface: String::new(),
        ipv4: None,
        ipv6: None,
        mac: [0; 6],
        node_mac: [0; 6],
        identity: 0,
        options: 0,
    }
}
