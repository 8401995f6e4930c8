// SPDX-License-Identifier: Apache-2.0
//! `/healthz`.

use std::sync::atomic::Ordering;
use std::time::SystemTime;

use api::{
    ClusterStatus, ControllerRuns, ControllerStatus, IpamStatus, K8sStatus, MonitorStatus, NodeAddressing,
    NodeAddressingElement, NodeElement, ServicesStatus, Status as Part, StatusResponse, StatusState,
};
use controlplane::{ControlPlane, IpamView, PoolView, Status};
use loadbalancer::{Algorithm, BackendState};
use nix::unistd::{SysconfVar, gethostname, sysconf};

use super::{Api, Refused, Reply, rfc3339};
use crate::realize::{EndedSockets, Sockets, Target};

/// Pages of the ring of events: 4 MiB, see the datapath.
const RING_BYTES: u64 = 4 << 20;
/// Reasons that one message names; of more it gives the number.
const REASONS: usize = 3;

/// Parts of services that cannot be, of which the reply gives reasons.
const REFUSED: usize = 256;

/// How many backends are in each state.
#[derive(Clone, Copy, Debug, Default)]
pub struct BackendCounts {
    /// They take new connections.
    pub active: u64,
    /// They keep those that they have.
    pub terminating: u64,
    /// They keep those that they have, and are not ready for others.
    pub not_ready: u64,
}

impl BackendCounts {
    pub fn of(plane: &ControlPlane) -> Self {
        let mut counts = Self::default();
        for row in plane.backends().values() {
            match row.state {
                BackendState::Active => counts.active += 1,
                BackendState::Terminating => counts.terminating += 1,
                BackendState::NotReady => counts.not_ready += 1,
            }
        }
        counts
    }
}

impl<T: Target> Api<T> {
    /// `GET /healthz`: 200 whatever the state; what is wrong is in it.
    pub(super) async fn healthz(&self) -> Result<Reply, Refused> {
        Reply::json(&self.status().await)
    }

    /// How everything is.
    pub(super) async fn status(&self) -> StatusResponse {
        let absent = |msg: &str| Part { state: StatusState::Disabled, msg: msg.into() };
        let mut response = StatusResponse {
            kvstore: Some(absent("")),
            container_runtime: Some(absent("")),
            kubernetes: Some(K8sStatus { state: StatusState::Disabled, ..K8sStatus::default() }),
            node_monitor: Some(self.monitor_status().await),
            cluster: Some(self.cluster()),
            ..StatusResponse::default()
        };
        let asked = self.plane(|plane| (plane.status(), plane.ipam(), BackendCounts::of(plane)));
        match asked.await {
            Ok((status, ipam, backends)) => {
                response.services = Some(self.services_status(&status, backends).await);
                response.cilium = Some(daemon(&status));
                response.ipam = Some(ipam_status(&ipam));
                response.controllers = self.controllers(&status);
                response.controllers.push(controller("maps", 0, 0, &self.full_maps().await));
                response.controllers.push(self.ended_sockets().await);
            }
            Err(refused) => {
                let msg = refused.body.to_string();
                response.cilium = Some(Part { state: StatusState::Failure, msg });
                response.stale.insert("cilium".into(), now());
            }
        }
        response
    }

    /// How services are brought about. What cannot be does not make the agent unwell, which would have it started again
    /// for the mistake of one user.
    async fn services_status(&self, status: &Status, backends: BackendCounts) -> ServicesStatus {
        let services = &self.config.services;
        let (sockets, sockets_msg) = match self.target(|target| target.sockets()).await {
            Ok(Sockets::Translated(cgroup)) => (true, cgroup),
            Ok(Sockets::Not(reason)) => (false, reason),
            Err(refused) => (false, refused.body.to_string()),
        };
        let refused = &status.services_refused;
        ServicesStatus {
            kubernetes: services.kubernetes,
            frontends: status.services as u64,
            active_backends: backends.active,
            terminating_backends: backends.terminating,
            not_ready_backends: backends.not_ready,
            health_checks: status.health_checks as u64,
            sockets,
            sockets_msg,
            mode: if services.dsr { "dsr" } else { "snat" }.into(),
            algorithm: match services.algorithm {
                Algorithm::Random => "random".into(),
                Algorithm::Maglev { table_size } => format!("maglev with tables of {table_size}"),
            },
            node_port_range: services.node_ports.to_string(),
            refused_count: refused.len() as u64,
            refused: refused.iter().take(REFUSED).map(|(what, why)| (what.clone(), why.clone())).collect(),
        }
    }

    /// What runs again and again, with what went wrong.
    fn controllers(&self, status: &Status) -> Vec<ControllerStatus> {
        let realizer = self.realizer.statistics();
        let failures: Vec<_> =
            status.failures.iter().map(|failure| format!("{}: {}", failure.row, failure.reason)).collect();
        let named = |reasons: &std::collections::BTreeMap<String, String>| -> Vec<String> {
            reasons.iter().map(|(name, reason)| format!("{name}: {reason}")).collect()
        };
        let restore: Vec<_> =
            status.restore_failures.iter().map(|(id, reason)| format!("endpoint {id}: {reason}")).collect();
        let overflowing: Vec<_> = status
            .overflowing
            .iter()
            .map(|id| {
                format!(
                    "endpoint {id}: its rules ask for more than {} entries in a direction; what does not fit is denied",
                    policy::MAX_ENTRIES
                )
            })
            .collect();
        let full: Vec<_> = self
            .queues()
            .into_iter()
            .filter(|(_, times)| *times > 0)
            .map(|(queue, times)| format!("{queue}: full {times} times"))
            .collect();
        vec![
            controller(
                "realize",
                realizer.applied.load(Ordering::Relaxed),
                realizer.retries.load(Ordering::Relaxed),
                &failures,
            ),
            controller("read-files", 0, 0, &named(&status.source_failures)),
            controller("restore-endpoints", 0, 0, &restore),
            controller("allocate-identities", 0, 0, &named(&status.without_identity)),
            controller("resolve-named-ports", 0, 0, &status.unresolved_ports),
            controller("resolve-services", 0, 0, &status.unresolved_services),
            controller("fit-policy-maps", 0, 0, &overflowing),
            controller("place-services", 0, 0, &named(&status.services_refused)),
            controller("queues", 0, self.queues().values().sum(), &full),
        ]
    }

    /// Maps that are almost full: what does not fit any more fails.
    async fn full_maps(&self) -> Vec<String> {
        let maps = self.target(|target| target.maps()).await.unwrap_or_default();
        let full = |map: &crate::realize::MapSummary| {
            let entries = map.entries.filter(|entries| *entries * 10 >= u64::from(map.max_entries) * 9)?;
            Some(format!("{} holds {entries} of {}", map.name, map.max_entries))
        };
        maps.iter().filter(|map| map.max_entries > 0).filter_map(full).collect()
    }

    /// Connections of sockets to backends that went. One that could not be ended is told, and lies behind.
    async fn ended_sockets(&self) -> ControllerStatus {
        let EndedSockets { passes, failures, reason, unsupported, .. } =
            self.target(|target| target.ended_sockets()).await.unwrap_or_default();
        let (now, before) = if unsupported { (reason, None) } else { (None, reason) };
        let mut controller = controller("end-sockets", passes, failures, now.as_slice());
        if let (Some(runs), Some(before)) = (&mut controller.status, before) {
            runs.last_failure_msg = before;
        }
        controller
    }

    /// The ring of events and those who listen.
    pub(super) async fn monitor_status(&self) -> MonitorStatus {
        let packets = self.target(|target| target.packets()).await;
        let ring: u64 = packets
            .ok()
            .and_then(Result::ok)
            .into_iter()
            .flatten()
            .filter(|count| count.reason == maps::EVENT_LOST)
            .map(|count| count.packets)
            .sum();
        let number = |variable| sysconf(variable).ok().flatten().and_then(|n| u64::try_from(n).ok());
        let page = number(SysconfVar::PAGE_SIZE).unwrap_or(4096).max(1);
        let hub = self.hub.statistics();
        MonitorStatus {
            cpus: number(SysconfVar::_NPROCESSORS_ONLN).unwrap_or(1),
            npages: RING_BYTES / page,
            pagesize: page,
            lost: ring + hub.lost,
            unknown: hub.unknown,
        }
    }

    fn cluster(&self) -> ClusterStatus {
        let host = gethostname().ok().and_then(|name| name.into_string().ok()).unwrap_or_default();
        let name = format!("{}/{host}", self.config.workloads.cluster_name);
        let element = |ip: String, alloc_range: String| NodeAddressingElement {
            enabled: true,
            ip,
            alloc_range,
            address_type: "InternalIP".into(),
        };
        let primary = NodeAddressing {
            ipv4: self.node.ipv4.and_then(|f| Some(element(f.node?.to_string(), f.range.to_string()))),
            ipv6: self.node.ipv6.and_then(|f| Some(element(f.node?.to_string(), f.range.to_string()))),
        };
        ClusterStatus {
            this: name.clone(),
            nodes: vec![NodeElement { name, primary_address: Some(primary), ..NodeElement::default() }],
            cilium_health: None,
        }
    }
}

/// The daemon in one word and a sentence.
fn daemon(status: &Status) -> Part {
    if !status.unsynced.is_empty() {
        let sources: Vec<_> = status.unsynced.iter().map(ToString::to_string).collect();
        let msg = format!("starting: waiting for {}", sources.join(", "));
        return Part { state: StatusState::Failure, msg };
    }
    let troubles = [
        (status.failures.len(), "rows of the datapath are not as desired"),
        (status.source_failures.len(), "files cannot be read"),
        (status.restore_failures.len(), "endpoints were not taken up"),
        (status.without_identity.len(), "workloads or prefixes have no identity"),
    ];
    let troubles: Vec<_> = troubles
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if troubles.is_empty() {
        return Part { state: StatusState::Ok, msg: "OK".into() };
    }
    Part { state: StatusState::Warning, msg: troubles.join("; ") }
}

fn controller(name: &str, success_count: u64, failure_count: u64, failing: &[String]) -> ControllerStatus {
    let mut message = failing.iter().take(REASONS).cloned().collect::<Vec<_>>().join("; ");
    if failing.len() > REASONS {
        message.push_str(&format!("; and {} more", failing.len() - REASONS));
    }
    ControllerStatus {
        name: name.into(),
        status: Some(ControllerRuns {
            success_count,
            failure_count,
            consecutive_failure_count: failing.len() as u64,
            last_failure_msg: message,
            ..ControllerRuns::default()
        }),
        ..ControllerStatus::default()
    }
}

fn ipam_status(view: &IpamView) -> IpamStatus {
    let addresses = |pool: &Option<PoolView>| -> Vec<String> {
        pool.iter().flat_map(|pool| pool.given.keys()).map(ToString::to_string).collect()
    };
    let pool = |(name, pool): (&str, &Option<PoolView>)| {
        let pool = pool.as_ref()?;
        let given = pool.given.len() as u64;
        Some(format!("{name}: {given}/{} allocated from {}", pool.free.saturating_add(given), pool.range))
    };
    let pools: Vec<_> = [("IPv4", &view.ipv4), ("IPv6", &view.ipv6)].into_iter().filter_map(pool).collect();
    IpamStatus { ipv4: addresses(&view.ipv4), ipv6: addresses(&view.ipv6), status: pools.join(", ") }
}

fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
