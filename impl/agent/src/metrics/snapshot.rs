// SPDX-License-Identifier: Apache-2.0
//! What is the case when somebody looks.

use std::collections::BTreeMap;

use maps::Direction;
use monitor::HubStatistics;
use prometheus::proto::MetricFamily;

use super::family::{Sample, alone, counter, gauge};
use crate::realize::{Cleaning, EndedSockets, MapSummary, PacketCount};

/// Tables of connections, with the labels of 1.4.
const CONNECTIONS: [(&str, &str, &str); 4] = [
    (maps::names::CT4_GLOBAL, "ipv4", "TCP"),
    (maps::names::CT_ANY4_GLOBAL, "ipv4", "non-TCP"),
    (maps::names::CT6_GLOBAL, "ipv6", "TCP"),
    (maps::names::CT_ANY6_GLOBAL, "ipv6", "non-TCP"),
];

/// Endpoints, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EndpointCounts {
    /// By state, in the words of the API.
    pub states: BTreeMap<&'static str, usize>,
    /// By directions in which policy is enforced: `none`, `ingress`, `egress`, `both`.
    pub enforcement: BTreeMap<&'static str, usize>,
}

/// Times that a queue was full, by its name.
pub type QueueCounts = BTreeMap<&'static str, u64>;

/// What is the case when somebody looks. What could not be found out is empty.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// Endpoints.
    pub endpoints: EndpointCounts,
    /// Rules.
    pub rules: usize,
    /// Their revision.
    pub policy_revision: u64,
    /// Addresses that are given, by family.
    pub addresses: BTreeMap<&'static str, usize>,
    /// Identities in use.
    pub identities: usize,
    /// Frontends of services.
    pub services: usize,
    /// Backends of services, by state.
    pub backends: BTreeMap<&'static str, usize>,
    /// Parts of services that cannot be.
    pub services_refused: usize,
    /// Rows that are not as desired.
    pub failures: usize,
    /// Times that queues were full.
    pub queues: QueueCounts,
    /// Packets in the datapath.
    pub packets: Vec<PacketCount>,
    /// Maps.
    pub maps: Vec<MapSummary>,
    /// What the cleaning of connection tables has done.
    pub cleaning: Cleaning,
    /// Connections of sockets to backends that went.
    pub ended_sockets: EndedSockets,
    /// Events.
    pub events: HubStatistics,
}

impl Snapshot {
    pub(super) fn families(&self) -> Vec<MetricFamily> {
        let endpoints: usize = self.endpoints.states.values().sum();
        let mut families = vec![
            gauge("endpoint_count", "Endpoints", alone(endpoints as f64)),
            gauge("endpoint_state", "Endpoints by state", counts("endpoint_state", &self.endpoints.states)),
            gauge(
                "policy_endpoint_enforcement_status",
                "Endpoints by directions in which policy is enforced",
                counts("enforcement", &self.endpoints.enforcement),
            ),
            gauge("policy_count", "Rules", alone(self.rules as f64)),
            gauge("policy_max_revision", "Revision of the rules", alone(self.policy_revision as f64)),
            gauge("ip_addresses", "Addresses that are given", counts("family", &self.addresses)),
            gauge("identity_count", "Identities in use", alone(self.identities as f64)),
            gauge("service_count", "Frontends of services", alone(self.services as f64)),
            gauge("service_backend_count", "Backends of services", counts("state", &self.backends)),
            gauge(
                "service_refused_count",
                "Parts of services that cannot be",
                alone(self.services_refused as f64),
            ),
            gauge("datapath_failures", "Rows that are not as desired", alone(self.failures as f64)),
            counter("queue_full_total", "Times that a queue was full", queue_samples(&self.queues)),
            counter(
                "monitor_events_lost_total",
                "Events that a listener was too slow for",
                alone(self.events.lost as f64),
            ),
        ];
        families.extend(self.packet_families());
        families.extend(self.conntrack_families());
        families.extend(self.socket_families());
        let pressure: Vec<_> = self.maps.iter().filter_map(pressure).collect();
        families.push(gauge("bpf_map_pressure", "How full a map is, from 0 to 1", pressure));
        families.retain(|family| !family.get_metric().is_empty());
        families
    }

    /// All tables are gone through at once, so runs are not told apart by family and protocol as in 1.4; entries are.
    fn conntrack_families(&self) -> [MetricFamily; 3] {
        let Cleaning { passes, removed, errors } = self.cleaning;
        let runs = [("completed", passes), ("uncompleted", errors)];
        let runs = runs.map(|(status, times)| (vec![("status", status.into())], times as f64));
        let entries = CONNECTIONS.iter().filter_map(|(name, family, protocol)| {
            let map = self.maps.iter().find(|map| map.name == *name)?;
            let labels = [("family", *family), ("protocol", *protocol), ("status", "alive")]
                .map(|(l, v)| (l, v.into()));
            Some((labels.into(), map.entries? as f64))
        });
        [
            counter("datapath_conntrack_gc_runs_total", "Times that connections were looked through", runs),
            counter(
                "datapath_conntrack_gc_deleted_total",
                "Connections that had ended and were removed",
                alone(removed as f64),
            ),
            gauge("datapath_conntrack_gc_entries", "Connections when they were last looked through", entries),
        ]
    }

    fn socket_families(&self) -> [MetricFamily; 2] {
        let EndedSockets { ended, failures, .. } = &self.ended_sockets;
        [
            counter(
                "service_sockets_ended_total",
                "Sockets that were ended, since their backend went",
                alone(*ended as f64),
            ),
            counter(
                "service_sockets_ended_failures_total",
                "Times that such sockets could not be ended",
                alone(*failures as f64),
            ),
        ]
    }

    /// 1.4's four: what is dropped by reason, what is forwarded. The reason that is no packet is an event lost.
    fn packet_families(&self) -> [MetricFamily; 5] {
        let dropped = |value: fn(&PacketCount) -> u64| {
            let counts = self.packets.iter().filter(|count| maps::is_drop(count.reason));
            counts.map(move |count| {
                let labels = vec![
                    ("reason", maps::reason_name(count.reason)),
                    ("direction", direction(count.direction)),
                ];
                (labels, value(count) as f64)
            })
        };
        let forwarded = |value: fn(&PacketCount) -> u64| {
            let counts = self.packets.iter().filter(|count| count.reason == maps::FORWARDED);
            counts.map(move |count| (vec![("direction", direction(count.direction))], value(count) as f64))
        };
        let lost: u64 = self
            .packets
            .iter()
            .filter(|count| count.reason == maps::EVENT_LOST)
            .map(|count| count.packets)
            .sum();
        [
            counter("drop_count_total", "Packets that were dropped", dropped(|count| count.packets)),
            counter("drop_bytes_total", "Bytes that were dropped", dropped(|count| count.bytes)),
            counter("forward_count_total", "Packets that were forwarded", forwarded(|count| count.packets)),
            counter("forward_bytes_total", "Bytes that were forwarded", forwarded(|count| count.bytes)),
            counter(
                "datapath_events_lost_total",
                "Events for which the ring had no room",
                alone(lost as f64),
            ),
        ]
    }
}

fn direction(direction: Direction) -> String {
    direction.as_str().into()
}

fn counts<'a>(label: &'a str, counts: &'a BTreeMap<&'static str, usize>) -> impl Iterator<Item = Sample<'a>> {
    counts.iter().map(move |(value, count)| (vec![(label, (*value).into())], *count as f64))
}

fn queue_samples(queues: &QueueCounts) -> impl Iterator<Item = Sample<'_>> {
    queues.iter().map(|(queue, count)| (vec![("queue", (*queue).into())], *count as f64))
}

fn pressure(map: &MapSummary) -> Option<Sample<'static>> {
    let entries = map.entries? as f64;
    (map.max_entries > 0)
        .then(|| (vec![("map_name", map.name.clone())], entries / f64::from(map.max_entries)))
}
