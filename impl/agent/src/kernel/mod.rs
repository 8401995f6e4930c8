// SPDX-License-Identifier: Apache-2.0
//! The kernel's datapath as a target.

mod dump;
mod events;
mod text;
mod text_lb;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use controlplane::{Deltas, Desired, Failure};
use datapath::{Datapath, DatapathConfig, DatapathError, EventReader, Pins, ServicesConfig, cgroup};
use loadbalancer::Algorithm;

use crate::config::{Config, Services};
use crate::node::Node;
use crate::realize::{Cleaning, EndedSockets, MapDump, MapSummary, PacketCount, Sockets, Target};

pub use events::EventThread;

/// Rows of each endpoint's policy map, as in 1.4.
const POLICY_ROWS: u32 = 16_384;

/// What the datapath is to be like. Where sockets are to be translated is found out when it starts.
pub fn config(config: &Config, node: &Node) -> DatapathConfig {
    let network = &config.network;
    if network.masquerade && node.device.is_none() {
        tracing::info!(
            "there is no device towards others: nothing leaves the node, and nothing is masqueraded"
        );
    }
    // Prefixes that all nodes' pods share are reached with the pod's own address.
    let cluster4 = node.ipv4.and_then(|ipv4| {
        ipnet::Ipv4Net::new(ipv4.range.addr(), network.ipv4_cluster_bits).ok().map(|net| net.trunc())
    });
    let cluster6 = node.ipv6.map(|ipv6| {
        if network.ipv6_cluster.contains(&ipv6.range) { network.ipv6_cluster } else { ipv6.range }
    });
    DatapathConfig {
        bpf_root: config.places.bpf_root.clone(),
        enable_ipv4: node.ipv4.is_some(),
        enable_ipv6: node.ipv6.is_some(),
        pod_cidr4: node.ipv4.map(|ipv4| ipv4.range),
        pod_cidr6: node.ipv6.map(|ipv6| ipv6.range),
        router_ip4: node.ipv4.map(|ipv4| ipv4.router),
        router_ip6: node.ipv6.map(|ipv6| ipv6.router),
        native_devices: node.device.iter().cloned().collect(),
        // Without a device nothing leaves the node.
        masquerade: network.masquerade && node.device.is_some(),
        native_cidr4: cluster4,
        native_cidr6: cluster6,
        ct_tcp_max: network.connections_tcp,
        ct_any_max: network.connections_any,
        policy_map_max: POLICY_ROWS,
        mtu: node.mtu,
        preallocate: network.preallocate,
        services: Some(services(&config.services)),
    }
}

fn services(services: &Services) -> ServicesConfig {
    ServicesConfig {
        maglev: matches!(services.algorithm, Algorithm::Maglev { .. }),
        node_ports: (services.node_ports.first().get(), services.node_ports.last().get()),
        dsr: services.dsr,
        loopback_ip4: services.loopback4,
        loopback_ip6: services.loopback6,
        cgroup: None,
        frontends_max: services.frontends_max,
        slots_max: services.slots_max,
        backends_max: services.backends_max,
        source_ranges_max: services.source_ranges_max,
    }
}

/// The kernel's datapath, and where its maps are.
#[derive(Debug)]
pub struct Kernel {
    datapath: Datapath,
    pins: Pins,
    sockets: Sockets,
}

impl Kernel {
    /// Brings the node's part up, in the calling thread's network namespace.
    ///
    /// # Errors
    /// [`DatapathError`].
    pub fn start(mut config: DatapathConfig, services: &Services) -> Result<Self, DatapathError> {
        let cgroup = cgroup_of(services);
        if let Some(config) = &mut config.services {
            config.cgroup = cgroup.as_ref().ok().cloned();
        }
        let datapath = Datapath::start(&config)?;
        let translated = cgroup.and_then(|cgroup| datapath.socket_translation().map(|()| cgroup));
        let sockets = match translated {
            Ok(cgroup) => Sockets::Translated(cgroup.display().to_string()),
            Err(reason) => Sockets::Not(reason),
        };
        match &sockets {
            Sockets::Translated(cgroup) => tracing::info!(cgroup, "sockets are translated to backends"),
            Sockets::Not(reason) if services.sockets => {
                tracing::warn!(reason, "sockets are not translated to backends: each packet is");
            }
            Sockets::Not(_) => {}
        }
        Ok(Self { datapath, pins: Pins::new(&config.bpf_root), sockets })
    }

    /// What programs tell. Its reader may move to another thread.
    ///
    /// # Errors
    /// [`DatapathError`].
    pub fn events(&self) -> Result<EventReader, DatapathError> {
        self.datapath.events()
    }
}

/// Whose sockets are translated, or why none are. What is not there does not keep the agent from starting: packets are
/// translated then.
fn cgroup_of(services: &Services) -> Result<PathBuf, String> {
    if !services.sockets {
        return Err("--bpf-lb-sock=false".into());
    }
    cgroup::find_or_mount(services.cgroup_root.as_deref()).map_err(|error| error.to_string())
}

impl Target for Kernel {
    fn apply(&mut self, deltas: &Deltas) -> Vec<Failure> {
        self.datapath.apply(deltas)
    }

    fn resync(&mut self, desired: &Desired) -> Vec<Failure> {
        self.datapath.resync(desired)
    }

    fn retry(&mut self) -> Vec<Failure> {
        self.datapath.retry()
    }

    fn listen(&mut self, level: Option<u32>) -> Result<(), String> {
        self.datapath.set_monitor(level).map_err(|e| e.to_string())
    }

    fn clean(&mut self, now: Instant) -> Duration {
        self.datapath.clean(now)
    }

    fn cleaning(&self) -> Cleaning {
        let totals = self.datapath.collector_totals();
        Cleaning { passes: totals.passes, removed: totals.removed, errors: totals.errors }
    }

    fn services(&self) -> Result<loadbalancer::Restored, String> {
        self.datapath.services().map_err(|error| error.to_string())
    }

    fn sockets(&self) -> Sockets {
        self.sockets.clone()
    }

    fn ended_sockets(&self) -> EndedSockets {
        let totals = self.datapath.socket_totals();
        let unsupported = "this kernel ends no sockets (INET_DIAG_DESTROY): those of a backend that went wait for their time-outs";
        EndedSockets {
            passes: totals.passes,
            ended: totals.destroyed,
            failures: totals.failures,
            reason: if totals.unsupported { Some(unsupported.into()) } else { totals.last_error },
            unsupported: totals.unsupported,
        }
    }

    fn maps(&self) -> Vec<MapSummary> {
        let maps = self.datapath.maps().unwrap_or_else(|error| {
            tracing::warn!(%error, "the maps cannot be looked at");
            Vec::new()
        });
        let summary = |map: datapath::MapStatus| MapSummary {
            name: map.name,
            path: map.path.display().to_string(),
            max_entries: map.capacity,
            entries: map.entries,
        };
        maps.into_iter().map(summary).collect()
    }

    fn dump(&self, name: &str, limit: usize) -> Option<Result<MapDump, String>> {
        dump::dump(&self.datapath, &self.pins, name, limit)
    }

    fn packets(&self) -> Result<Vec<PacketCount>, String> {
        let counts = self.datapath.packets().map_err(|e| e.to_string())?;
        let count = |count: datapath::PacketCount| PacketCount {
            reason: count.reason,
            direction: count.direction,
            packets: count.value.count,
            bytes: count.value.bytes,
        };
        Ok(counts.into_iter().map(count).collect())
    }
}
