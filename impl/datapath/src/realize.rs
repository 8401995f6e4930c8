// SPDX-License-Identifier: Apache-2.0
//! Bringing changes about: the plan, write by write, with what failed kept for another try.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Instant;

use controlplane::{Delta, Deltas, EndpointRow, Failure, IpcacheRow};
use ipnet::IpNet;
use maps::{IpcacheEntry, LxcRow, MapError};
use policy::{PolicyEntry, PolicyKey};

use crate::datapath::Endpoint;
use crate::order::{Write, addresses, plan};
use crate::policy_table::PolicyTable;
use crate::round::Round;
use crate::{Datapath, DatapathError, parallel, rows};

/// What the kernel is waited for.
enum Waiting {
    Publish(u16),
    Attach(EndpointRow),
}

impl Datapath {
    /// Brings changes about, and what failed before. Returns all rows that are not as desired afterwards.
    pub fn apply(&mut self, deltas: &Deltas) -> Vec<Failure> {
        let failures = if self.pending.is_empty() {
            self.run(deltas)
        } else {
            let mut all = std::mem::take(&mut self.pending);
            all.merge(deltas.clone());
            self.run(&all)
        };
        self.with_unfinished(deltas, failures)
    }

    /// Tries again what failed.
    pub fn retry(&mut self) -> Vec<Failure> {
        if let Some(failures) = self.finish_resync() {
            return failures;
        }
        let all = std::mem::take(&mut self.pending);
        self.run(&all)
    }

    pub(crate) fn run(&mut self, deltas: &Deltas) -> Vec<Failure> {
        if self.services.is_none() && !(deltas.services.is_empty() && deltas.backends.is_empty()) {
            // Programs would not look for them.
            let (services, backends) = (Delta::default(), Delta::default());
            return self.run(&Deltas { services, backends, ..deltas.clone() });
        }
        let (mut failures, made_room) = self.round(deltas);
        let waits =
            |delta: &Deltas| !(delta.services.upserts.is_empty() && delta.backends.upserts.is_empty());
        if made_room && waits(&self.pending) {
            // What comes is written before what it replaces goes: in a table that was full there is room only now.
            let again = std::mem::take(&mut self.pending);
            (failures, _) = self.round(&again);
        }
        self.end_connections();
        self.totals.failures += failures.len() as u64;
        failures
    }

    /// One round of writes. What failed, and whether rows of services were removed.
    fn round(&mut self, deltas: &Deltas) -> (Vec<Failure>, bool) {
        let mut round = Round::new(deltas);
        let owed = std::mem::take(&mut self.owed);
        self.find_devices(&mut round);
        let writes = plan(deltas, self);
        let mut rest = writes.as_slice();
        while let Some(first) = rest.first() {
            let count = rest.iter().take_while(|write| is_one_group(first, write)).count();
            let (group, after) = rest.split_at(count);
            self.write(group, &mut round);
            rest = after;
        }
        self.finish_services(deltas, &mut round);
        for id in &deltas.endpoints.removals {
            if !round.removal_failed(*id) {
                self.endpoints.remove(id);
            }
        }
        self.settle(owed, &mut round);
        let (pending, failures) = round.finish();
        self.pending = pending;
        self.totals.rounds += u64::from(!writes.is_empty());
        let makes_room = |write: &Write| {
            matches!(write, Write::RemoveFrontend(_) | Write::RemoveSlot(..) | Write::RemoveBackend(..))
        };
        (failures, writes.iter().any(makes_room))
    }

    /// Indices that were not known to whoever made the row.
    fn find_devices(&self, round: &mut Round<'_>) {
        let mut missing = Vec::new();
        for row in round.rows_mut().filter(|row| row.ifindex == 0) {
            match self.node.ifindex(&row.interface) {
                Ok(ifindex) => row.ifindex = ifindex,
                Err(error) => missing.push((row.id, error)),
            }
        }
        for (id, error) in missing {
            round.fail_endpoint(id, &error);
        }
    }

    /// Writes what may be written at once.
    fn write(&mut self, group: &[Write], round: &mut Round<'_>) {
        match &group[0] {
            Write::MakePolicyMap(id) => self.make_policy_map(*id, round),
            Write::PolicyRow(id, ..) => self.write_policy(*id, group, round),
            Write::PublishPolicyMap(_) | Write::Attach(_) => self.publish_and_attach(group, round),
            Write::Row(id) => self.write_row(*id, round),
            Write::Address(id, address) => self.write_address(*id, *address, round),
            Write::HostAddress(address) => self.write_host(*address, round),
            Write::Ipcache(..) => self.write_ipcache(group, round),
            Write::RemoveIpcache(_) => self.remove_ipcache(group, round),
            Write::RemoveAddress(address) => self.remove_address(*address, round),
            Write::RemoveRow(id) => {
                if let Err(error) = self.tables.lxc_by_id.insert(&(*id).into(), &LxcRow::default()) {
                    round.fail_removal(*id, &error);
                }
            }
            Write::Detach(_) => self.detach(group, round),
            Write::FlushConntrack(_) => {
                let gone = group.iter().filter_map(|write| match write {
                    Write::FlushConntrack(id) => Some(*id),
                    _ => None,
                });
                self.collector.flush(gone, Instant::now());
            }
            Write::RemovePolicyRow(id, _) => self.remove_policy(*id, group, round),
            Write::RemovePolicyMap(_) => self.remove_policy_maps(group, round),
            Write::Epoch => self.raise_epoch(round),
            _ => self.write_services(group, round),
        }
    }

    fn make_policy_map(&mut self, id: u16, round: &mut Round<'_>) {
        if self.policies.contains_key(&id) {
            return;
        }
        match PolicyTable::open(&self.pins.maps(), id, self.config.policy_map_max) {
            Ok(table) => drop(self.policies.insert(id, table)),
            Err(error) => round.fail_policy_map(id, &error),
        }
    }

    fn write_policy(&mut self, id: u16, group: &[Write], round: &mut Round<'_>) {
        let Some(table) = self.policies.get_mut(&id) else { return };
        let rows: Vec<(PolicyKey, PolicyEntry)> = group
            .iter()
            .filter_map(|write| match write {
                Write::PolicyRow(_, key, entry) => Some((*key, *entry)),
                _ => None,
            })
            .collect();
        for (key, entry, error) in table.upsert(&rows) {
            round.fail_policy_row(id, key, entry, &error);
        }
    }

    fn publish_and_attach(&mut self, group: &[Write], round: &mut Round<'_>) {
        let (mut waiting, mut configured) = (Vec::new(), BTreeSet::new());
        for write in group {
            match write {
                Write::PublishPolicyMap(id) if !round.is_broken(*id) => waiting.push(Waiting::Publish(*id)),
                Write::Attach(id) => {
                    let Some(row) = round.row(*id).cloned() else { continue };
                    match self.configure(&row, &configured) {
                        Ok(()) => {
                            configured.insert(row.ifindex);
                            waiting.push(Waiting::Attach(row));
                        }
                        Err(error) => round.fail_endpoint(*id, &error),
                    }
                }
                _ => {}
            }
        }
        let this = &*self;
        let done = parallel::each(waiting, |waiting| match waiting {
            Waiting::Publish(id) => (id, None, this.publish(id)),
            Waiting::Attach(row) => {
                let attached = this.attach(&row);
                (row.id, Some(row), attached)
            }
        });
        for (id, row, result) in done {
            match (result, row) {
                (Err(error), _) => round.fail_endpoint(id, &error),
                (Ok(()), Some(row)) => {
                    self.collector.revive(id);
                    let written = self.endpoints.get(&id).and_then(|endpoint| endpoint.written);
                    self.endpoints.insert(id, Endpoint { row, written });
                }
                (Ok(()), None) => {}
            }
        }
    }

    /// What the program must know, before it is attached.
    fn configure(&self, row: &EndpointRow, others: &BTreeSet<u32>) -> Result<(), DatapathError> {
        let config = rows::lxc_config(row, &self.config, self.host_ifindex);
        let known = |ifindex| self.endpoints.values().any(|other| other.row.ifindex == ifindex);
        match self.tables.ep_config.insert(&config) {
            // Of a device that went without a word, or that an agent before knew.
            Err(MapError::Taken { by, .. }) if !known(by) && !others.contains(&by) => {
                self.tables.ep_config.remove(by)?;
                Ok(self.tables.ep_config.insert(&config)?)
            }
            written => Ok(written?),
        }
    }

    fn publish(&self, id: u16) -> Result<(), DatapathError> {
        self.policies.get(&id).map_or(Ok(()), |table| table.publish(&self.tables.policy))
    }

    fn attach(&self, row: &EndpointRow) -> Result<(), DatapathError> {
        let before = self.endpoints.get(&row.id).map(|endpoint| endpoint.row.ifindex);
        if self.config.enable_ipv4 && before != Some(row.ifindex) {
            self.node.loose_source(&row.interface)?;
        }
        self.method.attach(self.program.as_fd(), &self.hook(row.id, row.ifindex))?;
        if let Some(before) = before.filter(|before| *before != row.ifindex) {
            self.tables.ep_config.remove(before)?;
        }
        Ok(())
    }

    fn write_row(&mut self, id: u16, round: &mut Round<'_>) {
        if round.is_broken(id) {
            return;
        }
        let (Some(endpoint), Some(table)) = (self.endpoints.get_mut(&id), self.policies.get(&id)) else {
            return;
        };
        let row = rows::lxc_row(&endpoint.row, table.prefixes());
        if endpoint.written == Some(row) {
            return;
        }
        match self.tables.lxc_by_id.insert(&id.into(), &row) {
            Ok(()) => endpoint.written = Some(row),
            Err(error) => round.fail_endpoint(id, &error),
        }
    }

    fn write_address(&mut self, id: u16, address: IpAddr, round: &mut Round<'_>) {
        let Some(row) = round.row(id) else { return };
        match self.tables.lxc.insert(&address.into(), &rows::endpoint_info(row)) {
            Ok(()) => drop(self.hosts.remove(&address)),
            Err(error) => round.fail_endpoint(id, &error),
        }
    }

    fn write_host(&mut self, address: IpAddr, round: &mut Round<'_>) {
        match self.tables.lxc.insert(&address.into(), &rows::host_info()) {
            Ok(()) => drop(self.hosts.insert(address)),
            Err(error) => {
                let host = IpcacheRow { identity: rows::host_info().sec_id, tunnel_endpoint: None };
                round.fail_ipcache(address.into(), Some(host), &error);
            }
        }
    }

    fn write_ipcache(&mut self, group: &[Write], round: &mut Round<'_>) {
        let rows: Vec<(IpNet, IpcacheRow)> = group
            .iter()
            .filter_map(|write| match write {
                Write::Ipcache(prefix, row) => Some((*prefix, *row)),
                _ => None,
            })
            .collect();
        let kernel: Vec<_> = rows
            .iter()
            .map(|(prefix, row)| {
                (rows::ipcache_key(*prefix), IpcacheEntry::new(row.identity, row.tunnel_endpoint))
            })
            .collect();
        let mut refused: std::collections::HashMap<_, _> =
            self.tables.ipcache.insert_all(&kernel).into_iter().collect();
        for ((prefix, row), (key, _)) in rows.into_iter().zip(kernel) {
            match refused.remove(&key) {
                Some(error) => round.fail_ipcache(prefix, Some(row), &error),
                None => {
                    self.ipcache.as_mut().map(|known| known.insert(prefix));
                }
            }
        }
    }

    fn remove_ipcache(&mut self, group: &[Write], round: &mut Round<'_>) {
        let prefixes: Vec<IpNet> = group
            .iter()
            .filter_map(|write| match write {
                Write::RemoveIpcache(prefix) => Some(*prefix),
                _ => None,
            })
            .collect();
        let keys: Vec<_> = prefixes.iter().copied().map(rows::ipcache_key).collect();
        let mut refused: std::collections::HashMap<_, _> =
            self.tables.ipcache.remove_all(&keys).into_iter().collect();
        for (prefix, key) in prefixes.into_iter().zip(keys) {
            match refused.remove(&key) {
                Some(error) => round.fail_ipcache(prefix, None, &error),
                None => {
                    self.ipcache.as_mut().map(|known| known.remove(&prefix));
                }
            }
        }
    }

    fn remove_address(&mut self, address: IpAddr, round: &mut Round<'_>) {
        if self.routers().contains(&address) {
            return;
        }
        match self.tables.lxc.remove(&address.into()) {
            Ok(_) => drop(self.hosts.remove(&address)),
            Err(error) => {
                let owner = self.endpoints.values().find(|e| addresses(&e.row).any(|own| own == address));
                match owner.map(|endpoint| endpoint.row.id) {
                    Some(id) if round.row(id).is_some() => round.fail_endpoint(id, &error),
                    Some(id) => round.fail_removal(id, &error),
                    None => round.fail_ipcache(address.into(), None, &error),
                }
            }
        }
    }

    fn detach(&self, group: &[Write], round: &mut Round<'_>) {
        let gone = group.iter().filter_map(|write| match write {
            Write::Detach(id) => {
                Some((*id, self.endpoints.get(id).map_or(0, |endpoint| endpoint.row.ifindex)))
            }
            _ => None,
        });
        let gone = self.silence(gone.collect(), round);
        let done = parallel::each(gone, |(id, ifindex)| {
            let detached = self.method.detach(&self.hook(id, ifindex));
            (id, detached.and_then(|()| Ok(self.tables.ep_config.remove(ifindex).map(drop)?)))
        });
        for (id, result) in done {
            if let Err(error) = result {
                round.fail_removal(id, &error);
            }
        }
    }

    /// A pod whose device outlives its endpoint (its state file was lost, somebody removed it through the API) must not
    /// speak without a policy: its device goes down before the program leaves it. Returns those that may be detached.
    fn silence(&self, gone: Vec<(u16, u32)>, round: &mut Round<'_>) -> Vec<(u16, u32)> {
        let links = match self.node.netlink().links() {
            Ok(links) => links,
            Err(error) => {
                gone.iter().for_each(|(id, _)| round.fail_removal(*id, &error));
                return Vec::new();
            }
        };
        gone.into_iter()
            .filter(|(id, ifindex)| {
                let Some(link) = links.iter().find(|link| link.index == *ifindex && link.up) else {
                    return true;
                };
                match self.node.netlink().set_down(&link.name) {
                    // It may have gone in the meantime, which is as good.
                    Err(error) if self.node.netlink().link(&link.name).is_ok() => {
                        round.fail_removal(*id, &error);
                        false
                    }
                    _ => true,
                }
            })
            .collect()
    }

    fn remove_policy(&mut self, id: u16, group: &[Write], round: &mut Round<'_>) {
        let Some(table) = self.policies.get_mut(&id) else { return };
        let keys: Vec<PolicyKey> = group
            .iter()
            .filter_map(|write| match write {
                Write::RemovePolicyRow(_, key) => Some(*key),
                _ => None,
            })
            .collect();
        for (key, error) in table.remove(&keys) {
            round.fail_policy_removal(id, key, &error);
        }
    }

    fn remove_policy_maps(&mut self, group: &[Write], round: &mut Round<'_>) {
        let gone = group.iter().filter_map(|write| match write {
            Write::RemovePolicyMap(id) => Some(*id),
            _ => None,
        });
        let gone: Vec<u16> = gone.collect();
        for id in &gone {
            self.policies.remove(id);
        }
        let (directory, outer) = (self.pins.maps(), &self.tables.policy);
        let done = parallel::each(gone, |id| (id, PolicyTable::delete(&directory, id, outer)));
        for (id, result) in done {
            if let Err(error) = result {
                round.fail_removal(id, &error);
            }
        }
    }
}

/// Whether the second may be written together with the first.
fn is_one_group(first: &Write, second: &Write) -> bool {
    match (first, second) {
        (Write::PolicyRow(one, ..), Write::PolicyRow(other, ..))
        | (Write::RemovePolicyRow(one, _), Write::RemovePolicyRow(other, _)) => one == other,
        (Write::PublishPolicyMap(_) | Write::Attach(_), Write::PublishPolicyMap(_) | Write::Attach(_))
        | (Write::Ipcache(..), Write::Ipcache(..))
        | (Write::RemoveIpcache(_), Write::RemoveIpcache(_))
        | (Write::Detach(_), Write::Detach(_))
        | (Write::FlushConntrack(_), Write::FlushConntrack(_))
        | (Write::RemovePolicyMap(_), Write::RemovePolicyMap(_))
        | (Write::Backend(..), Write::Backend(..))
        | (Write::ReverseNat(..), Write::ReverseNat(..))
        | (Write::Slot(..), Write::Slot(..))
        | (Write::Frontend(..), Write::Frontend(..))
        | (Write::RemoveFrontend(_), Write::RemoveFrontend(_))
        | (Write::ForgetAffinity(..), Write::ForgetAffinity(..))
        | (Write::SourceRange(..), Write::SourceRange(..))
        | (Write::RemoveSourceRange(..), Write::RemoveSourceRange(..))
        | (Write::RemoveSlot(..), Write::RemoveSlot(..))
        | (Write::RemoveReverseNat(..), Write::RemoveReverseNat(..))
        | (Write::RemoveBackend(..), Write::RemoveBackend(..)) => true,
        _ => first == second,
    }
}
