// SPDX-License-Identifier: Apache-2.0
//! What happens in a scenario, one step after the other.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::probe::{End, Family, Kind, Probe, Target, check_port, family_of};

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Step {
    /// Packets are sent, and something is expected of them.
    Probe(Probe),
    /// A file of policies is put before the agent, and every endpoint comes to enforce it.
    ApplyPolicy(Policy),
    /// The file of this name is taken away again.
    DeletePolicy(String),
    /// A pod gets other labels.
    SetLabels(SetLabels),
    /// The agent is killed by SIGKILL.
    KillAgent,
    /// The agent is ended by SIGTERM.
    StopAgent,
    /// The agent is started after one of these and becomes ready.
    StartAgent,
    /// The agent is ended by SIGTERM and started again.
    RestartAgent,
    /// From here on requests are sent, one after the other without end.
    StartLoad(Load),
    /// They end, and something is expected of all that were sent.
    StopLoad(StopLoad),
}

/// A file of policies.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// Its name, by which it is taken away again.
    pub name: String,
    /// Manifests of NetworkPolicy and CiliumNetworkPolicy, separated by `---`.
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
        !matches!(self, Self::Probe(_) | Self::StartLoad(_) | Self::StopLoad(_))
    }

    /// Who sends, and to whom, if it sends.
    pub(super) fn ends(&self) -> Option<(&End, &Target)> {
        match self {
            Self::Probe(probe) => Some((&probe.from, &probe.to)),
            Self::StartLoad(load) => Some((&load.from, &load.to)),
            _ => None,
        }
    }
}

/// Checks what only the order of the steps tells: loads that end have begun, an agent that is started was ended.
pub(super) fn check_order(steps: &[Step]) -> Result<(), String> {
    let mut loads: BTreeMap<&str, bool> = BTreeMap::new();
    let mut runs = true;
    for step in steps {
        match step {
            Step::StartLoad(load) if loads.insert(&load.name, true).is_some() => {
                return Err(format!("there are two loads of the name {:?}", load.name));
            }
            Step::StopLoad(stop) => match loads.get_mut(stop.name.as_str()) {
                Some(running @ true) => *running = false,
                _ => return Err(format!("no load {:?} is running where it is stopped", stop.name)),
            },
            Step::KillAgent | Step::StopAgent | Step::RestartAgent if !runs => {
                return Err("the agent does not run where it is ended".into());
            }
            Step::ApplyPolicy(_) | Step::DeletePolicy(_) | Step::SetLabels(_) if !runs => {
                return Err("the agent does not run where it has something to do".into());
            }
            Step::KillAgent | Step::StopAgent => runs = false,
            Step::StartAgent if runs => return Err("the agent runs where it is started".into()),
            Step::StartAgent => runs = true,
            _ => {}
        }
    }
    match loads.into_iter().find(|(_, running)| *running) {
        Some((name, _)) => Err(format!("load {name:?} is never stopped, so nothing is expected of it")),
        None => Ok(()),
    }
}
