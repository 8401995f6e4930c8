// SPDX-License-Identifier: Apache-2.0
//! The datapath of a node: what one thread of the agent owns.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use controlplane::{Deltas, EndpointRow};
use ipnet::IpNet;
use loadbalancer::{BackendAddress, Frontend};
use maps::{
    BpfMap, Bytes, EndpointConfigs, EndpointInfo, EndpointKey, IpcacheEntry, IpcacheKey, LbConfig,
    LbFrontend, LxcRow, PolicyMaps, RuntimeConfig, names,
};

use crate::config::Pins;
use crate::conntrack::{Collector, CollectorTotals, monotonic_s};
use crate::events::EventReader;
use crate::loader::{AttachMethod, Hook, MapSet, Side, has_filter, load_host, load_lxc};
use crate::node::Node;
use crate::order::{Present, PresentServices};
use crate::owed::{Owed, Unfinished};
use crate::policy_table::PolicyTable;
use crate::services::{Known, Services};
use crate::{DatapathConfig, DatapathError, bpffs, node, rows};

/// The tables that realization writes.
#[derive(Debug)]
pub(crate) struct Tables {
    pub lxc: BpfMap<EndpointKey, EndpointInfo>,
    pub lxc_by_id: BpfMap<u32, LxcRow>,
    pub ep_config: EndpointConfigs,
    pub ipcache: BpfMap<IpcacheKey, IpcacheEntry>,
    pub policy: PolicyMaps,
    pub runtime: BpfMap<u32, RuntimeConfig>,
}

/// An endpoint whose program is attached.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    pub row: EndpointRow,
    /// What `cilium_lxc_by_id` says.
    pub written: Option<LxcRow>,
}

/// What was done and what failed since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Calls that changed something.
    pub rounds: u64,
    /// Rows that could not be written, counted at each try.
    pub failures: u64,
}

/// The datapath of a node.
#[derive(Debug)]
pub struct Datapath {
    pub(crate) config: DatapathConfig,
    pub(crate) pins: Pins,
    pub(crate) method: AttachMethod,
    pub(crate) node: Node,
    pub(crate) host_ifindex: u32,
    pub(crate) maps: MapSet,
    pub(crate) tables: Tables,
    pub(crate) program: OwnedFd,
    pub(crate) endpoints: BTreeMap<u16, Endpoint>,
    pub(crate) policies: BTreeMap<u16, PolicyTable>,
    pub(crate) hosts: BTreeSet<IpAddr>,
    /// None if there are to be none.
    pub(crate) services: Option<Services>,
    pub(crate) socket_translation: Result<(), String>,
    /// What `cilium_ipcache` has; unknown until everything desired is known.
    pub(crate) ipcache: Option<BTreeSet<IpNet>>,
    pub(crate) pending: Deltas,
    pub(crate) owed: Owed,
    pub(crate) unfinished: Option<Unfinished>,
    pub(crate) collector: Collector,
    pub(crate) totals: Totals,
}

impl Present for Datapath {
    fn endpoint(&self, id: u16) -> Option<&EndpointRow> {
        self.endpoints.get(&id).map(|endpoint| &endpoint.row)
    }

    fn is_host(&self, address: IpAddr) -> bool {
        self.hosts.contains(&address)
    }
}

impl Datapath {
    fn known_services(&self) -> Option<&Known> {
        self.services.as_ref().map(Services::known)
    }
}

impl PresentServices for Datapath {
    fn frontend(&self, frontend: &Frontend) -> Option<LbFrontend> {
        self.known_services().and_then(|known| known.frontend(frontend))
    }

    fn owner(&self, id: u16) -> Option<Frontend> {
        self.known_services().and_then(|known| known.owner(id))
    }

    fn slots(&self, id: u16) -> &[u32] {
        self.known_services().map_or(&[], |known| known.slots(id))
    }

    fn source_ranges(&self, id: u16) -> Option<&BTreeSet<IpNet>> {
        self.known_services().and_then(|known| known.source_ranges(id))
    }

    fn reverse_nat(&self, id: u16, ipv6: bool) -> Option<SocketAddr> {
        self.known_services().and_then(|known| known.reverse_nat(id, ipv6))
    }

    fn backend(&self, id: u32) -> Option<BackendAddress> {
        self.known_services().and_then(|known| known.backend(id))
    }

    fn external_frontends(&self) -> u32 {
        self.known_services().map_or(0, PresentServices::external_frontends)
    }
}

impl Datapath {
    /// Brings up the node's part, in the calling thread's network namespace: pins, maps, devices, routes, sysctls, and
    /// the programs of the node's devices. Maps and links of an agent before are taken over; programs are replaced
    /// while they work.
    ///
    /// # Errors
    /// [`DatapathError`]; what was brought up stays, and is taken over by the next start.
    pub fn start(config: &DatapathConfig) -> Result<Self, DatapathError> {
        Self::start_with(config, AttachMethod::probe()?)
    }

    /// As [`Datapath::start`], attaching programs by this method.
    ///
    /// # Errors
    /// [`DatapathError`].
    pub fn start_with(config: &DatapathConfig, method: AttachMethod) -> Result<Self, DatapathError> {
        config.check()?;
        let pins = Pins::new(&config.bpf_root);
        bpffs::ensure(&pins)?;
        let here = Node::here()?;
        let host_ifindex = here.set_up(config)?;
        let maps = MapSet::pinned(&pins.maps(), config.sizes())?;
        let tables = Tables {
            lxc: maps.typed(names::LXC)?,
            lxc_by_id: maps.typed(names::LXC_BY_ID)?,
            ep_config: EndpointConfigs::new(maps.typed(names::EP_CONFIG)?),
            ipcache: maps.typed(names::IPCACHE)?,
            policy: PolicyMaps::open(&pins.maps().join(names::EP_TO_POLICY))?,
            runtime: maps.typed(names::RUNTIME)?,
        };
        let services = config.services.is_some().then(|| Services::open(&maps)).transpose()?;
        let lb_config = match &config.services {
            Some(services) => {
                rows::lb_config(services, node::netns_cookie()?, &here.masquerade_addresses(config)?)
            }
            None => LbConfig::default(),
        };
        let program = load_lxc(&maps, &lb_config)?.program("from_container")?.as_fd().try_clone_to_owned();
        let program = program.map_err(|e| crate::loader::file("keep", pins.root(), e))?;
        let mut datapath = Self {
            config: config.clone(),
            collector: Collector::new(&maps)?,
            pins,
            method,
            node: here,
            host_ifindex,
            maps,
            tables,
            program,
            endpoints: BTreeMap::new(),
            policies: BTreeMap::new(),
            hosts: BTreeSet::new(),
            services,
            socket_translation: Ok(()),
            ipcache: None,
            pending: Deltas::default(),
            owed: Owed::default(),
            unfinished: None,
            totals: Totals::default(),
        };
        datapath.start_epoch()?;
        datapath.set_routers()?;
        datapath.attach_host(&lb_config)?;
        datapath.attach_sockets(&lb_config)?;
        Ok(datapath)
    }

    /// The hooks of the node's devices, with the programs for them.
    fn host_hooks(&self) -> Result<Vec<(Hook, &'static str)>, DatapathError> {
        let links = self.pins.links();
        let hook = |ifindex, side: Side, name: &str| Hook { ifindex, side, pin: links.join(name) };
        let mut hooks = vec![(hook(self.host_ifindex, Side::Egress, "host_egress"), "from_host")];
        for device in &self.config.native_devices {
            let index = self.node.ifindex(device)?;
            let mut netdev = |side: Side, program| {
                let name = format!("netdev_{index}_{}", side.as_str());
                hooks.push((hook(index, side, &name), program));
            };
            netdev(Side::Ingress, "from_netdev");
            // Also what goes to a backend on the node, and its answers.
            if self.config.masquerade || self.config.services.is_some() {
                netdev(Side::Egress, "to_netdev");
            }
        }
        Ok(hooks)
    }

    /// Loads and attaches the programs of the node's devices, and takes away those of devices that are not ours any more.
    fn attach_host(&mut self, lb_config: &LbConfig) -> Result<(), DatapathError> {
        let masquerade = self.node.masquerade_addresses(&self.config)?;
        let constants = rows::host_config(&self.config, &masquerade, self.host_ifindex);
        let hooks = self.host_hooks()?;
        let programs: Vec<&str> = hooks.iter().map(|(_, program)| *program).collect();
        let loaded = load_host(&self.maps, &constants, lb_config, &programs)?;
        for (hook, program) in &hooks {
            self.method.attach(loaded.program(program)?.as_fd(), hook)?;
        }
        self.detach_others(&hooks)
    }

    /// Takes away the programs of devices that are not native any more.
    fn detach_others(&self, hooks: &[(Hook, &str)]) -> Result<(), DatapathError> {
        for pin in crate::cleanup::pins_in(&self.pins.links())? {
            let name = pin.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with("netdev_") && hooks.iter().all(|(hook, _)| hook.pin != pin) {
                // The kernel detaches what is unpinned when it finds the time: this does it at once.
                AttachMethod::Tcx.detach(&Hook { ifindex: 0, side: Side::Ingress, pin })?;
            }
        }
        if self.method == AttachMethod::Tcx {
            return Ok(());
        }
        for link in self.node.netlink().links()? {
            for (side, program) in [(Side::Ingress, "from_netdev"), (Side::Egress, "to_netdev")] {
                let hook = Hook { ifindex: link.index, side, pin: self.pins.links() };
                let wanted =
                    hooks.iter().any(|(wanted, _)| (wanted.ifindex, wanted.side) == (link.index, side));
                if !wanted && has_filter(&hook, &[program]) {
                    self.method.detach(&hook)?;
                }
            }
        }
        Ok(())
    }

    /// Verdicts that an agent before may not have ended are found again, and whoever remembers a backend asks for it again:
    /// the agent may have died between a change and its epoch. With a new map, connections may carry any epoch: one by the
    /// clock has not been used yet.
    fn start_epoch(&mut self) -> Result<(), DatapathError> {
        let mut runtime = self.tables.runtime.lookup(&0)?.unwrap_or_default();
        if self.maps.created().iter().any(|name| name == names::RUNTIME) {
            runtime.epoch = monotonic_s().wrapping_mul(1 << 8);
            runtime.lb_epoch = runtime.epoch;
        }
        let external = self.known_services().map_or(0, Known::external);
        let runtime = RuntimeConfig {
            epoch: runtime.epoch.wrapping_add(1),
            // Whoever listened to the agent before is not connected to this one.
            monitor: 0,
            lb_epoch: runtime.lb_epoch.wrapping_add(1),
            lb_external: external,
        };
        self.tables.runtime.insert(&0, &runtime)?;
        if let Some(services) = &mut self.services {
            services.tell_external(external);
        }
        Ok(())
    }

    pub(crate) fn change_runtime(
        &self,
        change: impl FnOnce(RuntimeConfig) -> RuntimeConfig,
    ) -> Result<(), DatapathError> {
        let runtime = self.tables.runtime.lookup(&0)?.unwrap_or_default();
        Ok(self.tables.runtime.insert(&0, &change(runtime))?)
    }

    pub(crate) fn bump_epoch(&self) -> Result<(), DatapathError> {
        self.change_runtime(|runtime| RuntimeConfig { epoch: runtime.epoch.wrapping_add(1), ..runtime })
    }

    pub(crate) fn routers(&self) -> Vec<IpAddr> {
        self.config.pod_cidrs().map(|(_, router)| router.addr()).collect()
    }

    /// The pods' gateway is the node, before any table says so.
    fn set_routers(&mut self) -> Result<(), DatapathError> {
        for router in self.routers() {
            self.tables.lxc.insert(&router.into(), &rows::host_info())?;
            self.hosts.insert(router);
        }
        Ok(())
    }

    pub(crate) fn hook(&self, id: u16, ifindex: u32) -> Hook {
        Hook { ifindex, side: Side::Ingress, pin: self.pins.endpoint_link(id) }
    }

    /// Somebody listens to traces, with this level of aggregation (0 to 3), or nobody does.
    ///
    /// # Errors
    /// [`DatapathError::Map`].
    pub fn set_monitor(&mut self, level: Option<u32>) -> Result<(), DatapathError> {
        let monitor = level.map_or(0, |level| 1 + level.min(3));
        self.change_runtime(|runtime| RuntimeConfig { monitor, ..runtime })
    }

    /// The ring of events. Its reader may move to another thread.
    ///
    /// # Errors
    /// [`DatapathError::Attach`].
    pub fn events(&self) -> Result<EventReader, DatapathError> {
        EventReader::new(self.maps.handle(names::EVENTS)?)
    }

    /// Takes out connections that ended, for some milliseconds. Returns when it wants to be called again.
    pub fn clean(&mut self, now: Instant) -> Duration {
        self.collector.step(now)
    }

    /// What the cleaning has done.
    pub const fn collector_totals(&self) -> CollectorTotals {
        self.collector.totals()
    }

    /// What was done and what failed.
    pub const fn totals(&self) -> Totals {
        self.totals
    }

    /// How programs are attached.
    pub const fn method(&self) -> AttachMethod {
        self.method
    }

    /// A shared map, with rows of these types.
    ///
    /// # Errors
    /// [`DatapathError::Object`] if there is none of this name, [`DatapathError::Map`] if it has other rows.
    pub fn map<K: Bytes, V: Bytes>(&self, name: &str) -> Result<BpfMap<K, V>, DatapathError> {
        self.maps.typed(name)
    }

    /// The policy map of an endpoint.
    pub fn policy_map(&self, id: u16) -> Option<&BpfMap<maps::PolicyKey, maps::PolicyEntry>> {
        self.policies.get(&id).map(PolicyTable::map)
    }
}
