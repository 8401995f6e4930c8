// SPDX-License-Identifier: Apache-2.0
//! Over what a scenario is run: subjects as they are, or pods of its own on a node with our agent.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

use super::probe::{HOST, WORLD, within};
use crate::agent::MAX_NODES;

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
    /// Where they are, with an agent each. One that is alone is called [`HOST`].
    pub nodes: Vec<NodeSpec>,
    /// Addresses of machines beyond the nodes.
    pub world: Vec<IpAddr>,
    /// Those of them whose way from the nodes takes no longer packets than so many bytes.
    pub narrow: BTreeMap<IpAddr, u32>,
    /// IPv6 beside IPv4.
    pub ipv6: bool,
}

impl Cluster {
    /// The names of the nodes, which are ends, too.
    pub fn node_names(&self) -> impl Iterator<Item = &str> {
        self.nodes.iter().map(|node| node.name.as_str())
    }

    /// Which of the nodes a pod is on, by its place among them.
    pub fn node_of(&self, pod: &PodSpec) -> usize {
        let on = pod.node.as_deref().unwrap_or(HOST);
        self.node_names().position(|name| name == on).unwrap_or(0)
    }

    /// Whether the nodes have names of their own, and a wire between them.
    pub fn has_fabric(&self) -> bool {
        self.node_names().any(|name| name != HOST)
    }
}

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSpec {
    /// Its name.
    pub name: String,
    /// Addresses that nobody has, and that the machines beyond the nodes send to this one.
    pub routed_to_node: Vec<IpAddr>,
    /// Flags of its agent.
    pub agent_flags: Vec<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawNode {
    #[serde(default)]
    routed_to_node: Vec<IpAddr>,
    #[serde(default)]
    agent_flags: Vec<String>,
}

/// A pod.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PodSpec {
    /// The node that it is on, where nodes have names.
    pub node: Option<String>,
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
    nodes: Option<BTreeMap<String, RawNode>>,
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
    fn cluster(mut self) -> Result<Option<Cluster>, String> {
        let Some(pods) = self.pods.take() else {
            let given = [
                ("nodes", self.nodes.is_some()),
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
        let nodes = self.nodes()?;
        let (ipv6, world) = (self.ipv6.unwrap_or(false), self.world.unwrap_or_default());
        let routed =
            nodes.iter().flat_map(|node| &node.routed_to_node).map(|address| ("routed_to_node", address));
        let mut addresses = world.iter().map(|address| ("world", address)).chain(routed);
        if let Some((field, address)) = addresses.find(|(_, address)| address.is_ipv6() && !ipv6) {
            return Err(format!("`{field}` has {address}, but `ipv6` is not on"));
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
        let namespaces = self.namespaces.unwrap_or_default();
        let cluster = Cluster { pods, namespaces, nodes, world, narrow, ipv6 };
        cluster.check()?;
        Ok(Some(cluster))
    }

    /// The nodes with all that is said of each; without `nodes` one that is called [`HOST`].
    fn nodes(&mut self) -> Result<Vec<NodeSpec>, String> {
        let flags = self.agent_flags.take().unwrap_or_default();
        let routed = self.routed_to_node.take();
        let Some(nodes) = self.nodes.take() else {
            let routed_to_node = routed.unwrap_or_default();
            return Ok(vec![NodeSpec { name: HOST.into(), routed_to_node, agent_flags: flags }]);
        };
        if routed.is_some() {
            return Err("with `nodes`, `routed_to_node` is a field of one of them".into());
        }
        if nodes.contains_key(HOST) {
            return Err(format!("a node cannot be called {HOST}"));
        }
        if nodes.is_empty() || nodes.len() > MAX_NODES {
            return Err(format!("`nodes` has {} nodes; it must be 1 to {MAX_NODES}", nodes.len()));
        }
        Ok(nodes
            .into_iter()
            .map(|(name, RawNode { routed_to_node, agent_flags })| NodeSpec {
                name,
                routed_to_node,
                agent_flags: [flags.clone(), agent_flags].concat(),
            })
            .collect())
    }
}

impl Cluster {
    /// That names are such, and that each pod is on a node.
    fn check(&self) -> Result<(), String> {
        // Part of the name of a namespace, a file and a manifest.
        let good = |name: &&str| {
            !name.is_empty()
                && name.len() <= 32
                && name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        };
        let fabric = self.has_fabric();
        let nodes = self.node_names().filter(|_| fabric).map(|name| ("node", name));
        for (what, name) in nodes.chain(self.pods.keys().map(|name| ("pod", name.as_str()))) {
            if !good(&name) {
                return Err(format!("{name:?} is no name of a {what}: at most 32 of a-z, 0-9 and '-'"));
            }
            // Other ends, words of a probe, and namespaces that there are besides.
            if [HOST, WORLD, "service", "same", "node", "wire"].contains(&name) {
                return Err(format!("a {what} cannot be called {name}"));
            }
        }
        for (name, pod) in &self.pods {
            match &pod.node {
                _ if fabric && self.node_names().any(|node| node == name) => {
                    return Err(format!("{name:?} is a pod and a node: both are ends"));
                }
                Some(_) if !fabric => return Err(format!("`node` of pod {name:?} needs `nodes`")),
                None if fabric => return Err(format!("pod {name:?} has no `node`")),
                Some(node) if !self.node_names().any(|known| known == node) => {
                    return Err(format!("`node` of pod {name:?} is {node:?}, which is none of `nodes`"));
                }
                _ => {}
            }
        }
        Ok(())
    }
}
