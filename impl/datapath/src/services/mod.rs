// SPDX-License-Identifier: Apache-2.0
//! Services in the kernel: their maps, what is known of them, and how they are changed.

mod known;
mod realize;
mod resync;
mod tables;
mod terminate;

use std::collections::{BTreeSet, HashSet};
use std::net::IpAddr;

use addr::Protocol;
use ipnet::IpNet;
use loadbalancer::{BackendAddress, Restored};
use maps::{LbConfig, names};

pub use known::Known;
pub use tables::ServiceTables;
pub use terminate::SocketTotals;

use self::terminate::Terminator;
use crate::loader::{MapSet, attach_sockets, detach_sockets, load_sock};
use crate::order::addresses;
use crate::{Datapath, DatapathError};

/// Backends that went before their pods of which it is known that connections to them may go on. Of more, connections are
/// ended at once.
const OUTLIVED_MAX: usize = 65_536;

/// The services of a datapath.
#[derive(Debug)]
pub struct Services {
    tables: ServiceTables,
    known: Known,
    /// Backends that went while connections to them may remain.
    gone: BTreeSet<BackendAddress>,
    /// None where sockets are not translated.
    terminator: Option<Terminator>,
}

impl Services {
    /// Of these maps, with what is in them.
    ///
    /// # Errors
    /// [`DatapathError::Map`], [`DatapathError::Object`].
    pub fn open(maps: &MapSet) -> Result<Self, DatapathError> {
        let tables = ServiceTables::open(maps)?;
        let known = tables.load()?;
        Ok(Self { tables, known, gone: BTreeSet::new(), terminator: None })
    }

    /// What the kernel has.
    pub const fn known(&self) -> &Known {
        &self.known
    }

    /// Forgets which clients of these frontends' ids had these backends.
    ///
    /// # Errors
    /// [`DatapathError::Map`].
    pub fn forget_affinity(&self, is_gone: impl Fn((u16, u32)) -> bool) -> Result<(), DatapathError> {
        Ok(self.tables.forget_affinity(is_gone)?)
    }

    /// Programs know how many frontends the network may reach.
    pub const fn tell_external(&mut self, count: u32) {
        self.known.told_external = count;
    }
}

impl Datapath {
    /// The ids that the kernel's tables have, of this agent or of one before.
    ///
    /// # Errors
    /// [`DatapathError::Map`].
    pub fn services(&self) -> Result<Restored, DatapathError> {
        Ok(match &self.services {
            Some(services) => services.tables.restore()?,
            None => Restored::default(),
        })
    }

    /// How many rows a map of services has, if that is known.
    pub(crate) fn service_entries(&self, map: &str) -> Option<u64> {
        let known = self.services.as_ref()?.known();
        let of_family =
            |ipv6: bool| known.frontends().keys().filter(|key| key.address.is_ipv6() == ipv6).count();
        let backends = |ipv6: bool| {
            known.backends().values().filter(|backend| backend.address.is_ipv6() == ipv6).count()
        };
        let ranges =
            |ipv6: bool| known.ranges().filter(|(_, range)| matches!(range, IpNet::V6(_)) == ipv6).count();
        let count = match map {
            names::LB4_SERVICES => of_family(false),
            names::LB6_SERVICES => of_family(true),
            names::LB4_BACKENDS => backends(false),
            names::LB6_BACKENDS => backends(true),
            names::LB4_SOURCE_RANGE => ranges(false),
            names::LB6_SOURCE_RANGE => ranges(true),
            names::LB_SLOTS => return Some(known.slots_count()),
            names::LB4_REVERSE_NAT => known.ids_with_reverse(false).len(),
            names::LB6_REVERSE_NAT => known.ids_with_reverse(true).len(),
            _ => return None,
        };
        Some(count as u64)
    }

    /// Whether sockets are translated; otherwise why not, and packets are.
    ///
    /// # Errors
    /// The reason, readable.
    pub fn socket_translation(&self) -> Result<(), String> {
        self.socket_translation.clone()
    }

    /// Attaches the programs at sockets, or, where they are not wanted or cannot be had, takes away all that are there: some
    /// of them alone would translate what others do not translate back.
    pub(crate) fn attach_sockets(&mut self, lb_config: &LbConfig) -> Result<(), DatapathError> {
        let links = self.pins.links();
        let cgroup = self.config.services.as_ref().map(|services| services.cgroup.clone());
        let Some(Some(cgroup)) = cgroup else {
            let reason =
                if cgroup.is_some() { "no control group is configured" } else { "there are no services" };
            self.socket_translation = Err(reason.into());
            return detach_sockets(&links);
        };
        let attached =
            load_sock(&self.maps, lb_config).and_then(|loaded| attach_sockets(&loaded, &cgroup, &links));
        self.socket_translation = attached.map_err(|error| error.to_string());
        if self.socket_translation.is_err() {
            return detach_sockets(&links);
        }
        if let Some(services) = &mut self.services {
            services.terminator = Some(Terminator::start(&self.maps)?);
        }
        Ok(())
    }

    /// Ends connections to backends that have gone. Those over TCP to a pod that is still there go on, as they do where a
    /// service is changed to other pods: they end when the pod does. The programs decide alike about packets.
    pub(crate) fn end_connections(&mut self) {
        let Some(services) = self.services.as_mut().filter(|services| !services.gone.is_empty()) else {
            return;
        };
        let Some(terminator) = &services.terminator else { return services.gone.clear() };
        let pods = self.endpoints.values().flat_map(|endpoint| addresses(&endpoint.row));
        let present: HashSet<IpAddr> = pods.chain(self.hosts.iter().copied()).collect();
        let goes_on = |backend: &BackendAddress| {
            backend.protocol == Protocol::Tcp && present.contains(&backend.address)
        };
        let (rest, ended): (BTreeSet<_>, BTreeSet<_>) =
            std::mem::take(&mut services.gone).into_iter().partition(goes_on);
        services.gone = rest;
        let surplus = services.gone.len().saturating_sub(OUTLIVED_MAX);
        let more = (0..surplus).filter_map(|_| services.gone.pop_first());
        terminator.backends_went(ended.into_iter().chain(more));
    }

    /// What became of connections to backends that went, where sockets are translated.
    pub fn socket_totals(&self) -> SocketTotals {
        let terminator = self.services.as_ref().and_then(|services| services.terminator.as_ref());
        terminator.map(Terminator::totals).unwrap_or_default()
    }
}
