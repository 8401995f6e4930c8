// SPDX-License-Identifier: Apache-2.0
//! The figures of the Cilium 1.4 announcement (2019-02-12), and which of our subjects is the counterpart of each bar.
//!
//! The numbers were read off the bars of the announcement's nine charts; the raw data was never published. Conditions stated
//! there: netperf between two local containers pinned to a single core of a 3.40 GHz Xeon without hyper-threading, one byte
//! requests and responses. "netfilter" means that the kernel's iptables modules were loaded.

use netns_lab::plan::WorkloadKind;

/// Where the numbers are from.
pub const SOURCE: &str = "Cilium 1.4 announcement, 2019-02-12; numbers read off the bars";

/// What a bar's length is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metric {
    /// netperf's RT_LATENCY: elapsed time divided by transactions, µs.
    RoundTrip,
    /// MEAN_LATENCY, µs.
    Mean,
    /// MIN_LATENCY, µs.
    Min,
    /// P99_LATENCY, µs.
    P99,
    /// Requests per second.
    Rate,
    /// Gbit/s.
    Throughput,
}

impl Metric {
    /// Heading of a panel.
    pub fn title(self) -> &'static str {
        match self {
            Self::RoundTrip => "Round trip",
            Self::Mean => "Mean latency",
            Self::Min => "Minimum latency",
            Self::P99 => "99th percentile",
            Self::Rate => "Request rate",
            Self::Throughput => "Throughput",
        }
    }

    /// Unit of the published number.
    pub fn unit(self) -> &'static str {
        match self {
            Self::RoundTrip | Self::Mean | Self::Min | Self::P99 => "µs",
            Self::Rate => "1/s",
            Self::Throughput => "Gbit/s",
        }
    }

    /// A lower number is better.
    pub fn lower_is_better(self) -> bool {
        !matches!(self, Self::Rate | Self::Throughput)
    }
}

/// One configuration of the announcement.
#[derive(Clone, Copy, Debug)]
pub struct Configuration {
    /// As the announcement names it.
    pub name: &'static str,
    /// The subject of ours that is its counterpart.
    pub counterpart: &'static str,
    /// Under TCP_STREAM, when that was measured with policy only.
    pub stream_counterpart: &'static str,
    /// TCP_RR: round trip, mean, min, p99 in µs.
    pub rr_us: [f64; 4],
    /// TCP_RR: requests per second.
    pub rr_rate: f64,
    /// TCP_STREAM: Gbit/s, where charted.
    pub stream_gbit_s: Option<f64>,
    /// TCP_CRR: round trip, mean, min, p99 in µs, where charted.
    pub crr_us: Option<[f64; 4]>,
}

const fn configuration(
    name: &'static str,
    counterpart: &'static str,
    rr_us: [f64; 4],
    rr_rate: f64,
    stream_gbit_s: Option<f64>,
    crr_us: Option<[f64; 4]>,
) -> Configuration {
    Configuration {
        name,
        counterpart,
        stream_counterpart: counterpart,
        rr_us,
        rr_rate,
        stream_gbit_s,
        crr_us,
    }
}

const SOCKMAP: Configuration = configuration(
    "Cilium sockmap",
    "ciliate-veth-sockmap",
    [13.9, 13.7, 11.0, 15.0],
    71_500.0,
    Some(38.3),
    None,
);
const IPVLAN: Configuration = configuration(
    "Cilium IPVLAN L3",
    "ipvlan-l3",
    [26.5, 26.3, 23.0, 27.0],
    37_300.0,
    Some(17.6),
    Some([86.0, 85.0, 76.0, 99.0]),
);
const IPVLAN_POLICY: Configuration = configuration(
    "Cilium IPVLAN L3 + policy",
    "ciliate-ipvlan-policy",
    [26.7, 26.5, 24.0, 28.0],
    37_300.0,
    Some(17.0),
    Some([86.0, 86.0, 84.0, 99.0]),
);
const IPVLAN_NETFILTER: Configuration = configuration(
    "Cilium IPVLAN L3 (netfilter)",
    "ciliate-ipvlan",
    [29.9, 29.6, 26.0, 31.0],
    33_100.0,
    None,
    Some([105.0, 105.0, 99.0, 132.0]),
);
const IPVLAN_POLICY_NETFILTER: Configuration = configuration(
    "Cilium IPVLAN L3 + policy (netf.)",
    "ciliate-ipvlan-policy",
    [29.8, 29.6, 27.0, 31.0],
    33_100.0,
    Some(13.7),
    Some([106.0, 106.0, 101.0, 130.0]),
);
const VETH: Configuration = Configuration {
    stream_counterpart: "ciliate-veth-policy",
    ..configuration(
        "Cilium veth (netfilter)",
        "ciliate-veth",
        [30.5, 30.3, 26.0, 31.0],
        32_600.0,
        Some(13.2),
        Some([107.0, 107.0, 101.0, 130.0]),
    )
};
const FLANNEL: Configuration =
    configuration("Flannel, no policy", "bridge", [29.2, 29.0, 26.0, 30.0], 34_200.0, Some(14.3), None);
const CALICO: Configuration =
    configuration("Calico, no policy", "calico-like-0", [31.7, 31.5, 28.0, 33.0], 31_200.0, Some(11.6), None);

/// One chart of the announcement.
#[derive(Clone, Copy, Debug)]
pub struct PublishedChart {
    /// Its file there, without `.png`.
    pub file: &'static str,
    /// What it shows.
    pub title: &'static str,
    /// The workload.
    pub workload: WorkloadKind,
    /// The bar that all others are taken relative to.
    pub reference: Configuration,
    /// Its bars, the reference among them.
    pub bars: &'static [Configuration],
}

impl PublishedChart {
    /// What is charted.
    pub fn metrics(&self) -> &'static [Metric] {
        const LATENCY: &[Metric] = &[Metric::RoundTrip, Metric::Mean, Metric::Min, Metric::P99];
        match (self.workload, self.file.contains("rr")) {
            (WorkloadKind::TcpStream, _) => &[Metric::Throughput],
            (WorkloadKind::TcpRr, true) => &[Metric::Rate],
            _ => LATENCY,
        }
    }

    /// The published number of a bar.
    pub fn published(&self, bar: &Configuration, metric: Metric) -> Option<f64> {
        let latency = |us: [f64; 4]| match metric {
            Metric::RoundTrip => Some(us[0]),
            Metric::Mean => Some(us[1]),
            Metric::Min => Some(us[2]),
            Metric::P99 => Some(us[3]),
            Metric::Rate | Metric::Throughput => None,
        };
        match metric {
            Metric::Rate => Some(bar.rr_rate),
            Metric::Throughput => bar.stream_gbit_s,
            _ if self.workload == WorkloadKind::TcpCrr => bar.crr_us.and_then(latency),
            _ => latency(bar.rr_us),
        }
    }

    /// The counterpart of a bar in this chart.
    pub fn counterpart(&self, bar: &Configuration) -> &'static str {
        if self.workload == WorkloadKind::TcpStream { bar.stream_counterpart } else { bar.counterpart }
    }
}

const fn chart(
    file: &'static str,
    title: &'static str,
    workload: WorkloadKind,
    reference: Configuration,
    bars: &'static [Configuration],
) -> PublishedChart {
    PublishedChart { file, title, workload, reference, bars }
}

const RR_CILIUM: &[Configuration] =
    &[SOCKMAP, IPVLAN, IPVLAN_POLICY, IPVLAN_NETFILTER, IPVLAN_POLICY_NETFILTER, VETH];
const RR_ALL: &[Configuration] =
    &[SOCKMAP, IPVLAN, IPVLAN_POLICY, IPVLAN_NETFILTER, IPVLAN_POLICY_NETFILTER, VETH, FLANNEL, CALICO];

/// The announcement's charts, in its order.
pub const CHARTS: [PublishedChart; 9] = [
    chart(
        "ipvlan_perf_latency",
        "IPVLAN: TCP_CRR latency",
        WorkloadKind::TcpCrr,
        VETH,
        &[IPVLAN, IPVLAN_POLICY, IPVLAN_NETFILTER, IPVLAN_POLICY_NETFILTER, VETH],
    ),
    chart(
        "ipvlan_perf",
        "IPVLAN: TCP_STREAM throughput",
        WorkloadKind::TcpStream,
        VETH,
        &[IPVLAN, IPVLAN_POLICY, IPVLAN_POLICY_NETFILTER, VETH],
    ),
    chart("sockmap_latency", "Sockmap: TCP_RR latency", WorkloadKind::TcpRr, VETH, RR_CILIUM),
    chart("sockmap_rr", "Sockmap: TCP_RR rate", WorkloadKind::TcpRr, VETH, RR_CILIUM),
    chart(
        "sockmap_stream",
        "Sockmap: TCP_STREAM throughput",
        WorkloadKind::TcpStream,
        VETH,
        &[SOCKMAP, IPVLAN, IPVLAN_POLICY, IPVLAN_POLICY_NETFILTER, VETH],
    ),
    chart("cni_latency", "CNI plugins: TCP_RR latency", WorkloadKind::TcpRr, FLANNEL, RR_ALL),
    chart("cni_rr2", "CNI plugins: TCP_RR rate", WorkloadKind::TcpRr, FLANNEL, RR_ALL),
    chart(
        "cni_stream",
        "CNI plugins: TCP_STREAM throughput",
        WorkloadKind::TcpStream,
        FLANNEL,
        &[IPVLAN, IPVLAN_POLICY, IPVLAN_POLICY_NETFILTER, VETH, FLANNEL, CALICO],
    ),
    chart(
        "cni_stream_sockmap",
        "CNI plugins and sockmap: TCP_STREAM throughput",
        WorkloadKind::TcpStream,
        FLANNEL,
        &[SOCKMAP, IPVLAN, IPVLAN_POLICY, IPVLAN_POLICY_NETFILTER, VETH, FLANNEL, CALICO],
    ),
];
