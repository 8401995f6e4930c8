// SPDX-License-Identifier: Apache-2.0
//! `/metrics/` of the API, and the same for Prometheus.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use controlplane::ControlPlane;
use prometheus::proto::MetricFamily;

use super::status::BackendCounts;
use super::{Api, Refused, Reply, endpoint_model as model};
use crate::metrics::{EndpointCounts, QueueCounts, Snapshot, gather, list, text};
use crate::realize::Target;

/// The content type of Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4; charset=utf-8";

impl<T: Target> Api<T> {
    /// `GET /metrics/`.
    pub(super) async fn metrics(&self) -> Result<Reply, Refused> {
        Reply::json(&list(&self.families().await?))
    }

    /// `GET /metrics` of `--prometheus-serve-addr`.
    pub(super) async fn prometheus(&self) -> Result<Reply, Refused> {
        Ok(Reply::text(PROMETHEUS, text(&self.families().await?)))
    }

    /// Times that queues were full.
    pub(super) fn queues(&self) -> QueueCounts {
        let (control, realizer) = (self.control.statistics(), self.realizer.statistics());
        BTreeMap::from([
            ("control-sources", control.waited.load(Ordering::Relaxed)),
            ("control-requests", control.refused.load(Ordering::Relaxed)),
            ("realize", realizer.full.load(Ordering::Relaxed)),
        ])
    }

    async fn families(&self) -> Result<Vec<MetricFamily>, Refused> {
        let mut snapshot = self.plane(of_plane).await?;
        // Metrics of the control plane are worth having without those of the datapath.
        let asked = self
            .target(|target| (target.packets(), target.maps(), target.cleaning(), target.ended_sockets()));
        match asked.await {
            Ok((packets, maps, cleaning, ended_sockets)) => {
                snapshot.cleaning = cleaning;
                snapshot.ended_sockets = ended_sockets;
                snapshot.packets = packets.unwrap_or_else(|error| {
                    tracing::warn!(error, "packets are not counted");
                    Vec::new()
                });
                snapshot.maps = maps;
            }
            Err(refused) => tracing::warn!(reason = %refused.body, "the datapath is not asked for metrics"),
        }
        snapshot.queues = self.queues();
        snapshot.events = self.hub.statistics();
        Ok(gather(&self.counters, &snapshot))
    }
}

fn of_plane(plane: &ControlPlane) -> Snapshot {
    let status = plane.status();
    let ipam = plane.ipam();
    let mut enforcement = BTreeMap::from([("none", 0), ("ingress", 0), ("egress", 0), ("both", 0)]);
    for view in plane.endpoints() {
        let policy = model::enforcement(&view);
        let word = match (policy.ingress(), policy.egress()) {
            (false, false) => "none",
            (true, false) => "ingress",
            (false, true) => "egress",
            (true, true) => "both",
        };
        *enforcement.entry(word).or_default() += 1;
    }
    let backends = BackendCounts::of(plane);
    let backends = [
        ("active", backends.active),
        ("terminating", backends.terminating),
        ("not-ready", backends.not_ready),
    ];
    let pools = [("ipv4", ipam.ipv4), ("ipv6", ipam.ipv6)];
    Snapshot {
        endpoints: EndpointCounts {
            states: status.endpoints.iter().map(|(state, count)| (state.as_str(), *count)).collect(),
            enforcement,
        },
        rules: status.rules.values().sum(),
        policy_revision: status.policy_revision,
        addresses: pools.into_iter().filter_map(|(family, pool)| Some((family, pool?.given.len()))).collect(),
        identities: status.identities,
        services: status.services,
        backends: backends.into_iter().map(|(state, count)| (state, count as usize)).collect(),
        services_refused: status.services_refused.len(),
        failures: status.failures.len(),
        ..Snapshot::default()
    }
}
