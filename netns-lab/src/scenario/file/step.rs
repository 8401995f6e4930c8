// SPDX-License-Identifier: Apache-2.0
//! What happens in a scenario, one step after the other.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{IntoDeserializer, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::http::Http;
use super::probe::{End, Family, Kind, Probe, Target, check_port, family_of, within};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Packets are sent, and something is expected of them.
    Probe(Probe),
    /// A question over HTTP, and its answer.
    Http(Http),
    /// A file of policies is put before the agent, and every endpoint comes to enforce it.
    ApplyPolicy(Policy),
    /// The file of this name is taken away again.
    DeletePolicy(String),
    /// A file of any manifests is put before the agent, and the agent comes to have realized it.
    Apply(Policy),
    /// The same without waiting for anything; the agent need not run.
    Put(Policy),
    /// The file of this name is taken away again.
    Delete(String),
    /// A pod gets other labels.
    SetLabels(SetLabels),
    /// The agent is killed by SIGKILL.
    KillAgent(Whose),
    /// The agent is ended by SIGTERM.
    StopAgent(Whose),
    /// The agent is started after one of these and becomes ready.
    StartAgent(Whose),
    /// The agent is ended by SIGTERM and started again.
    RestartAgent(Whose),
    /// From here on requests are sent, one after the other without end.
    StartLoad(Load),
    /// They end, and something is expected of all that were sent.
    StopLoad(StopLoad),
    /// From here on a file of manifests is written again and again.
    StartChurn(Churn),
    /// That ends, once it has happened often enough; the file stays as it was written last.
    StopChurn(StopChurn),
}

/// Whose agent something is done to.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Whose {
    /// A node; `None`: each node's.
    pub node: Option<String>,
}

/// A step as it is written: one that needs nothing said is its name alone, as if it were `NAME: {}`.
pub(super) struct Written(pub Step);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Steps;
        impl<'de> Visitor<'de> for Steps {
            type Value = Step;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a step")
            }

            fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<Step, E> {
                let nothing = BTreeMap::<&str, &str>::new();
                let map = BTreeMap::from([(name, nothing)]);
                Step::deserialize(MapAccessDeserializer::new(map.into_deserializer()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Step, A::Error> {
                Step::deserialize(MapAccessDeserializer::new(map))
            }
        }
        deserializer.deserialize_any(Steps).map(Self)
    }
}

/// A file of manifests that changes without end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawChurn")]
pub struct Churn {
    /// By which it is ended.
    pub name: String,
    /// The file that is written, by its name.
    pub file: String,
    /// How often.
    pub per_second: u32,
    /// What is written, in turn.
    pub manifests: Vec<String>,
}

/// The end of a churn.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopChurn {
    /// Which.
    pub name: String,
    /// After how many changes.
    pub changes: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawChurn {
    name: String,
    file: String,
    per_second: u32,
    manifests: Vec<String>,
}

impl TryFrom<RawChurn> for Churn {
    type Error = String;

    fn try_from(raw: RawChurn) -> Result<Self, String> {
        let RawChurn { name, file, per_second, manifests } = raw;
        within("per_second", per_second.into(), 1, 1000)?;
        if manifests.len() < 2 {
            return Err("`manifests` of a churn must be two at least: nothing changes".into());
        }
        Ok(Self { name, file, per_second, manifests })
    }
}

/// A file of manifests.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name, by which it is taken away again.
    pub name: String,
    /// Manifests, separated by `---`. But for those of `apply-policy`, they name addresses of ends as `${NAME.ipv4}`.
    pub manifest: String,
}

/// A pod's new labels.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetLabels {
    /// The pod.
    pub pod: String,
    /// All that it has from now on.
    pub labels: BTreeMap<String, String>,
}

/// Requests without end.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawLoad")]
pub struct Load {
    /// By which it is ended.
    pub name: String,
    /// What is sent.
    pub kind: LoadKind,
    /// Who sends.
    pub from: End,
    /// Where to.
    pub to: Target,
    /// By which of the target's addresses.
    pub family: Family,
    /// To which port.
    pub port: u16,
}

/// What a load sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadKind {
    /// Requests and answers over one TCP connection, which is never renewed.
    Established,
    /// A new TCP connection for each request.
    Connections,
    /// UDP datagrams of one socket: here every lost packet is a failure, as nobody sends it again.
    Datagrams,
}

/// The end of a load.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopLoad {
    /// Which.
    pub name: String,
    /// What became of it.
    pub expect: LoadExpectation,
}

/// What must have become of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LoadExpectation {
    /// Not one request failed, and they still do not.
    Unharmed,
    /// Requests came to fail.
    Cut,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawLoad {
    name: String,
    kind: LoadKind,
    from: End,
    to: Target,
    family: Option<Family>,
    port: u16,
}

impl TryFrom<RawLoad> for Load {
    type Error = String;

    fn try_from(raw: RawLoad) -> Result<Self, String> {
        let RawLoad { name, kind, from, to, family, port } = raw;
        check_port(Kind::Tcp, Some(port), &to)?;
        let family = family_of(family, &to)?;
        Ok(Self { name, kind, from, to, family, port })
    }
}

impl Step {
    /// Whether it is something that only an agent of ours can do or suffer.
    pub(super) fn needs_agent(&self) -> bool {
        !matches!(self, Self::Probe(_) | Self::Http(_) | Self::StartLoad(_) | Self::StopLoad(_))
    }

    /// Who sends, and to whom, if it sends.
    pub(super) fn ends(&self) -> Option<(&End, &Target)> {
        match self {
            Self::Probe(probe) => Some((&probe.from, &probe.to)),
            Self::Http(http) => Some((&http.from, &http.to)),
            Self::StartLoad(load) => Some((&load.from, &load.to)),
            _ => None,
        }
    }
}

impl Step {
    /// The texts in which ends are named by their addresses.
    pub(super) fn manifests(&self) -> impl Iterator<Item = &str> {
        let (one, several) = match self {
            Self::Apply(policy) | Self::Put(policy) => (Some(policy.manifest.as_str()), &[][..]),
            Self::StartChurn(churn) => (None, churn.manifests.as_slice()),
            _ => (None, &[][..]),
        };
        one.into_iter().chain(several.iter().map(String::as_str))
    }
}

/// Things that begin with a step and end with another, by name.
#[derive(Default)]
struct Running<'a>(BTreeMap<&'a str, bool>);

impl<'a> Running<'a> {
    fn start(&mut self, what: &str, name: &'a str) -> Result<(), String> {
        match self.0.insert(name, true) {
            None => Ok(()),
            Some(_) => Err(format!("there are two {what}s of the name {name:?}")),
        }
    }

    fn stop(&mut self, what: &str, name: &str) -> Result<(), String> {
        match self.0.get_mut(name) {
            Some(running @ true) => {
                *running = false;
                Ok(())
            }
            _ => Err(format!("no {what} {name:?} is running where it is stopped")),
        }
    }

    fn left(&self) -> Option<&str> {
        self.0.iter().find(|(_, running)| **running).map(|(name, _)| *name)
    }
}

/// Which nodes' agents run.
struct Agents<'a>(BTreeMap<&'a str, bool>);

impl<'a> Agents<'a> {
    fn new(nodes: &[&'a str]) -> Self {
        Self(nodes.iter().map(|node| (*node, true)).collect())
    }

    /// The agent of a node as an error calls it.
    fn name(&self, node: &str) -> String {
        if self.0.len() == 1 { "the agent".into() } else { format!("the agent of node {node:?}") }
    }

    /// Those that are meant run or do not, and change that, if they are to.
    fn turn(&mut self, whose: &Whose, from: bool, to: bool) -> Result<(), String> {
        if let Some(node) = whose.node.as_ref().filter(|node| !self.0.contains_key(node.as_str())) {
            return Err(format!("there is no node {node:?} whose agent could be ended or started"));
        }
        let meant = |node: &str| whose.node.as_ref().is_none_or(|wanted| wanted == node);
        if let Some((node, _)) = self.0.iter().find(|(node, runs)| meant(node) && **runs != from) {
            let name = self.name(node);
            return Err(match from {
                true => format!("{name} does not run where it is ended"),
                false => format!("{name} runs where it is started"),
            });
        }
        self.0.iter_mut().filter(|(node, _)| meant(node)).for_each(|(_, runs)| *runs = to);
        Ok(())
    }

    fn all_run(&self) -> Result<(), String> {
        match self.0.iter().find(|(_, runs)| !**runs) {
            Some((node, _)) => Err(format!("{} does not run where it has something to do", self.name(node))),
            None => Ok(()),
        }
    }
}

/// Checks what only the order of the steps tells: loads that end have begun, an agent that is started was ended. `nodes` have agents.
pub(super) fn check_order(steps: &[Step], nodes: &[&str]) -> Result<(), String> {
    let (mut loads, mut churns) = (Running::default(), Running::default());
    let mut agents = Agents::new(nodes);
    for step in steps {
        match step {
            Step::StartLoad(load) => loads.start("load", &load.name)?,
            Step::StopLoad(stop) => loads.stop("load", &stop.name)?,
            Step::StartChurn(churn) => churns.start("churn", &churn.name)?,
            Step::StopChurn(stop) => churns.stop("churn", &stop.name)?,
            Step::KillAgent(whose) | Step::StopAgent(whose) => agents.turn(whose, true, false)?,
            Step::RestartAgent(whose) => agents.turn(whose, true, true)?,
            Step::StartAgent(whose) => agents.turn(whose, false, true)?,
            Step::ApplyPolicy(_)
            | Step::DeletePolicy(_)
            | Step::Apply(_)
            | Step::Delete(_)
            | Step::SetLabels(_) => agents.all_run()?,
            Step::Probe(_) | Step::Http(_) | Step::Put(_) => {}
        }
    }
    match (loads.left(), churns.left()) {
        (Some(name), _) => Err(format!("load {name:?} is never stopped, so nothing is expected of it")),
        (_, Some(name)) => Err(format!("churn {name:?} is never stopped")),
        _ => Ok(()),
    }
}
