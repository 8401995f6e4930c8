// SPDX-License-Identifier: Apache-2.0
//! The format of a scenario's file. What is not understood is refused with its line; nothing is guessed.

mod http;
mod placeholder;
mod probe;
mod step;
mod topology;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use serde::Deserialize;

pub use http::Http;
pub use placeholder::{Placeholder, resolve};
pub use probe::{Answered, End, Expectation, Family, HOST, Kind, Manner, Probe, Target, WORLD};
pub use step::{Churn, Load, LoadExpectation, LoadKind, Policy, SetLabels, Step, StopChurn, StopLoad, Whose};
use topology::Topology;
pub use topology::{CLUSTER_SUBJECT, Cluster, NamedPort, PodSpec};

/// A behaviour and how it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Scenario {
    /// The behaviour, in a sentence.
    pub name: String,
    /// What it covers, for example `reachability/tcp`; `reports/coverage.md` is made of these.
    pub covers: Vec<String>,
    /// The subjects over which it is run, one after the other.
    pub subjects: Vec<String>,
    /// Addresses that the client is given besides its own, as of another pod behind the same interface.
    pub client_addresses: Vec<Ipv4Addr>,
    /// Pods of its own, in place of the subject's client and server.
    pub cluster: Option<Cluster>,
    /// Where every end answers.
    pub listen: Listen,
    /// Files of policies that stand before anything is sent, by name.
    pub policies: BTreeMap<String, String>,
    /// Files of manifests that stand before anything is sent, by name; they may name addresses of ends.
    pub manifests: BTreeMap<String, String>,
    /// What happens, in this order, and what must become of it.
    pub steps: Vec<Step>,
}

/// The ports at which every end sends back what they are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawListen")]
pub struct Listen {
    /// TCP ports.
    pub tcp: BTreeSet<u16>,
    /// UDP ports.
    pub udp: BTreeSet<u16>,
}

/// What is wrong with a file.
#[derive(Debug, thiserror::Error)]
pub enum ScenarioError {
    /// Not YAML, or not a scenario.
    #[error("{file}:{line}:{column}: {reason}")]
    At {
        /// The file, as it was given.
        file: String,
        /// From 1.
        line: u64,
        /// From 1.
        column: u64,
        /// In one line.
        reason: String,
    },
    /// As [`ScenarioError::At`], where the parser knows no place: an empty file, for example.
    #[error("{file}: {reason}")]
    Whole {
        /// The file, as it was given.
        file: String,
        /// In one line.
        reason: String,
    },
}

impl Scenario {
    /// Reads the text of a file; `file` is what an error calls it.
    ///
    /// # Errors
    /// [`ScenarioError`] with file and line.
    pub fn parse(file: &str, text: &str) -> Result<Self, ScenarioError> {
        let options = serde_saphyr::options! { with_snippet: false };
        serde_saphyr::from_str_with_options(text, options).map_err(|error| {
            let file = file.to_owned();
            let plain = error.without_snippet();
            let full = plain.to_string();
            // The place is told in front, as compilers do.
            let reason = full.lines().next().unwrap_or_default();
            match plain.location() {
                Some(at) if at.line() > 0 => {
                    let tail = format!(" at line {}, column {}", at.line(), at.column());
                    let reason = reason.replace(&tail, "");
                    ScenarioError::At { file, line: at.line(), column: at.column(), reason }
                }
                _ => ScenarioError::Whole { file, reason: reason.into() },
            }
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    name: String,
    covers: Vec<String>,
    topology: Topology,
    #[serde(default)]
    listen: Listen,
    #[serde(default)]
    policies: BTreeMap<String, String>,
    #[serde(default)]
    manifests: BTreeMap<String, String>,
    probes: Option<Vec<Probe>>,
    steps: Option<Vec<step::Written>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawListen {
    #[serde(default)]
    tcp: Vec<u16>,
    #[serde(default)]
    udp: Vec<u16>,
}

impl TryFrom<Raw> for Scenario {
    type Error = String;

    fn try_from(raw: Raw) -> Result<Self, String> {
        let Raw { name, covers, topology, listen, policies, manifests, probes, steps } = raw;
        let Topology { subjects, client_addresses, cluster } = topology;
        if name.trim().is_empty() || name.contains('\n') {
            return Err("`name` must be a sentence in one line".into());
        }
        let item = |c: &String| {
            !c.is_empty()
                && c.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"/-.".contains(&b))
        };
        if covers.is_empty() || !covers.iter().all(item) {
            return Err(
                "`covers` must list words of a-z, 0-9, '/', '-' and '.', for example reachability/tcp".into(),
            );
        }
        let steps = match (probes, steps) {
            (Some(probes), None) => probes.into_iter().map(Step::Probe).collect(),
            (None, Some(steps)) => steps.into_iter().map(|step| step.0).collect(),
            _ => return Err("a scenario must have either `probes` or `steps`".into()),
        };
        let scenario =
            Self { name, covers, subjects, client_addresses, cluster, listen, policies, manifests, steps };
        scenario.check()?;
        Ok(scenario)
    }
}

impl Scenario {
    /// All its probes.
    pub fn probes(&self) -> impl Iterator<Item = &Probe> {
        self.steps.iter().filter_map(|step| match step {
            Step::Probe(probe) => Some(probe),
            _ => None,
        })
    }

    /// What a file can get wrong in the relation of its parts.
    fn check(&self) -> Result<(), String> {
        if !self.steps.iter().any(|step| matches!(step, Step::Probe(_) | Step::Http(_) | Step::StopLoad(_))) {
            return Err("nothing is expected of any probe or load: such a scenario cannot fail".into());
        }
        let given = !self.policies.is_empty() || !self.manifests.is_empty();
        if self.cluster.is_none() && (given || self.steps.iter().any(Step::needs_agent)) {
            return Err(
                "manifests, policies, labels and faults of the agent need `pods` in the topology".into()
            );
        }
        let nodes: Vec<&str> = self.cluster.iter().flat_map(Cluster::node_names).collect();
        step::check_order(&self.steps, &nodes)?;
        if let Some(name) = self.manifests.keys().find(|name| self.policies.contains_key(*name)) {
            return Err(format!("{name:?} is in `policies` and in `manifests`"));
        }
        let texts = self.manifests.values().map(String::as_str);
        texts
            .chain(self.steps.iter().flat_map(Step::manifests))
            .try_for_each(|text| self.check_text(text))?;
        self.steps.iter().filter_map(Step::ends).try_for_each(|(from, to)| {
            self.check_end(from)?;
            if let Target::End(end) = to { self.check_end(end) } else { Ok(()) }
        })?;
        self.probes().try_for_each(|probe| {
            self.check_source(probe)?;
            let seen = probe.seen_from.iter().filter_map(|seen| match seen {
                Target::End(end) => Some(end),
                _ => None,
            });
            probe.answered.ends().iter().chain(seen).try_for_each(|end| self.check_end(end))
        })?;
        let pod =
            |name: &String| self.cluster.as_ref().is_some_and(|cluster| cluster.pods.contains_key(name));
        match self.steps.iter().find_map(|step| match step {
            Step::SetLabels(set) if !pod(&set.pod) => Some(&set.pod),
            _ => None,
        }) {
            Some(name) => Err(format!("there is no pod {name:?} to set the labels of")),
            None => Ok(()),
        }
    }

    /// That every end has the address by which a manifest calls it.
    fn check_text(&self, text: &str) -> Result<(), String> {
        let ipv6 = self.cluster.as_ref().is_some_and(|cluster| cluster.ipv6);
        let address = |of: Placeholder<'_>| {
            self.check_end(&End(of.end.into()))?;
            match of.family {
                Family::Ipv6 if !ipv6 => Err(format!("{} has no IPv6 address: `ipv6` is not on", of.end)),
                _ => Ok(Ipv4Addr::UNSPECIFIED.into()),
            }
        };
        resolve(text, address).map(drop)
    }

    fn check_end(&self, end: &End) -> Result<(), String> {
        let names: Vec<&str> = match &self.cluster {
            Some(cluster) => {
                let pods = cluster.pods.keys().map(String::as_str);
                pods.chain(cluster.node_names()).chain([WORLD]).collect()
            }
            None => vec!["client", "server"],
        };
        if names.contains(&end.0.as_str()) {
            return Ok(());
        }
        Err(format!("{:?} is neither {} nor an IP address", end.0, names.join(", ")))
    }

    /// A sender has the addresses that the topology gives it.
    fn check_source(&self, probe: &Probe) -> Result<(), String> {
        let Some(source) = probe.source else { return Ok(()) };
        let (field, given) = match &self.cluster {
            Some(cluster) if probe.from.0 == WORLD => ("world", cluster.world.contains(&source)),
            Some(_) => return Err(format!("`source` is for probes from {WORLD}")),
            None => {
                let own = self.client_addresses.iter().any(|address| IpAddr::from(*address) == source);
                ("client_addresses", own && probe.from.0 == "client")
            }
        };
        if given { Ok(()) } else { Err(format!("`source` {source} is not one of the `{field}`")) }
    }
}

impl TryFrom<RawListen> for Listen {
    type Error = &'static str;

    fn try_from(raw: RawListen) -> Result<Self, Self::Error> {
        if raw.tcp.contains(&0) || raw.udp.contains(&0) {
            return Err("a port is between 1 and 65535");
        }
        let listen = Self { tcp: raw.tcp.iter().copied().collect(), udp: raw.udp.iter().copied().collect() };
        if listen.tcp.len() < raw.tcp.len() || listen.udp.len() < raw.udp.len() {
            return Err("a port is named twice");
        }
        Ok(listen)
    }
}
