// SPDX-License-Identifier: Apache-2.0
//! Over what a scenario is run: subjects as they are, or pods of its own on a node with our agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use super::probe::{HOST, WORLD, within};

/// The subject that pods of a scenario's own are built on.
pub const CLUSTER_SUBJECT: &str = "ciliate-veth";

/// What a way can be narrowed to, bytes: what IPv6 asks of every way, up to the wire's own.
const MTUS: (u64, u64) = (1280, 1500);

/// Pods of a scenario's own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// By name.
    pub pods: BTreeMap<String, PodSpec>,
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Addresses of machines beyond the node.
    pub world: Vec<IpAddr>,
    /// Those of them whose way from the node takes no longer packets than so many bytes.
    pub narrow: BTreeMap<IpAddr, u32>,
    /// Addresses that nobody has, and that the machines beyond the node send to the node.
    pub routed_to_node: Vec<IpAddr>,
    /// IPv6 beside IPv4.
    pub ipv6: bool,
    /// Flags of the agent.
    pub agent_flags: Vec<String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodSpec {
    /// Its Kubernetes namespace.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Its labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Its ports that have names.
    #[serde(default)]
    pub ports: BTreeMap<String, NamedPort>,
}

/// A port with a name.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NamedPort {
    /// Its number.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: String,
    /// The port of the node that leads to it.
    #[serde(rename = "hostPort")]
    pub host_port: Option<u16>,
}

fn default_namespace() -> String {
    "default".into()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTopology {
    subject: Option<String>,
    subjects: Option<Vec<String>>,
    #[serde(default)]
    client_addresses: Vec<Ipv4Addr>,
    pods: Option<BTreeMap<String, PodSpec>>,
    namespaces: Option<BTreeMap<String, BTreeMap<String, String>>>,
    world: Option<Vec<IpAddr>>,
    narrow: Option<BTreeMap<IpAddr, u32>>,
    routed_to_node: Option<Vec<IpAddr>>,
    ipv6: Option<bool>,
    agent_flags: Option<Vec<String>>,
}

#[derive(Deserialize)]
#[serde(try_from = "RawTopology")]
pub(super) struct Topology {
    pub subjects: Vec<String>,
    pub client_addresses: Vec<Ipv4Addr>,
    pub cluster: Option<Cluster>,
}

impl TryFrom<RawTopology> for Topology {
    type Error = String;

    fn try_from(raw: RawTopology) -> Result<Self, String> {
        let subjects = match (&raw.subject, &raw.subjects) {
            (Some(one), None) => vec![one.clone()],
            (None, Some(several)) => several.clone(),
            _ => return Err("`topology` must have either `subject` or `subjects`".into()),
        };
        if subjects.is_empty() {
            return Err("`subjects` is empty".into());
        }
        let unique: BTreeSet<_> = subjects.iter().collect();
        if unique.len() < subjects.len() {
            return Err("a subject is named twice".into());
        }
        let client_addresses = raw.client_addresses.clone();
        let cluster = raw.cluster()?;
        if cluster.is_some() && !client_addresses.is_empty() {
            return Err(
                "`client_addresses` are of a subject's own client: with `pods`, make another pod".into()
            );
        }
        if cluster.is_some() && subjects.iter().any(|subject| subject != CLUSTER_SUBJECT) {
            return Err(format!("`pods` can be built on the subject {CLUSTER_SUBJECT} and no other"));
        }
        Ok(Self { subjects, client_addresses, cluster })
    }
}

impl RawTopology {
    fn cluster(self) -> Result<Option<Cluster>, String> {
        let Some(pods) = self.pods else {
            let given = [
                ("namespaces", self.namespaces.is_some()),
                ("world", self.world.is_some()),
                ("narrow", self.narrow.is_some()),
                ("routed_to_node", self.routed_to_node.is_some()),
                ("ipv6", self.ipv6.is_some()),
                ("agent_flags", self.agent_flags.is_some()),
            ];
            return match given.iter().find(|(_, given)| *given) {
                Some((field, _)) => Err(format!("`{field}` needs `pods`")),
                None => Ok(None),
            };
        };
        if pods.is_empty() {
            return Err("`pods` is empty".into());
        }
        // Part of the name of a namespace, a file and a manifest.
        let good = |name: &String| {
            !name.is_empty()
                && name.len() <= 32
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        if let Some(name) = pods.keys().find(|name| !good(name)) {
            return Err(format!("{name:?} is no name of a pod: at most 32 of a-z, 0-9 and '-'"));
        }
        if let Some(name) = pods.keys().find(|name| [HOST, WORLD, "service", "same"].contains(&name.as_str()))
        {
            return Err(format!("a pod cannot be called {name}"));
        }
        let ipv6 = self.ipv6.unwrap_or(false);
        let world = self.world.unwrap_or_default();
        let routed_to_node = self.routed_to_node.unwrap_or_default();
        for (field, addresses) in [("world", &world), ("routed_to_node", &routed_to_node)] {
            if let Some(address) = addresses.iter().find(|address| address.is_ipv6() && !ipv6) {
                return Err(format!("`{field}` has {address}, but `ipv6` is not on"));
            }
        }
        let narrow = self.narrow.unwrap_or_default();
        if let Some(address) = narrow.keys().find(|address| !world.contains(address)) {
            return Err(format!("`narrow` has {address}, which is not one of the `world`"));
        }
        if let Some(address) = narrow.keys().find(|address| address.is_ipv6()) {
            return Err(format!(
                "`narrow` has {address}: an MTU of a route of IPv6 is for what the node sends itself"
            ));
        }
        for mtu in narrow.values() {
            within("narrow", (*mtu).into(), MTUS.0, MTUS.1)?;
        }
        Ok(Some(Cluster {
            pods,
            namespaces: self.namespaces.unwrap_or_default(),
            world,
            narrow,
            routed_to_node,
            ipv6,
            agent_flags: self.agent_flags.unwrap_or_default(),
        }))
    }
}
