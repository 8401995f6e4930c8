// SPDX-License-Identifier: Apache-2.0
//! Names in rules for peers that have no labels of their own.

use std::fmt;
use std::str::FromStr;

use serde::de::Deserializer;
use serde::{Deserialize, Serialize, Serializer, de};

use crate::label::Label;
use crate::reserved;
use crate::selector::EndpointSelector;
use crate::source::Source;

/// The label that says which cluster a pod is in.
pub const CLUSTER_LABEL: &str = "io.cilium.k8s.policy.cluster";

/// This is no entity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown entity {0:?}: one of all, world, host, cluster, init, health, unmanaged, none")]
pub struct UnknownEntity(pub String);

/// An entry of `fromEntities` and `toEntities`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Entity {
    /// Everything.
    All,
    /// What is outside the cluster, CIDR identities too.
    World,
    /// The node itself.
    Host,
    /// Everything in the cluster, managed or not.
    Cluster,
    /// Endpoints without labels yet.
    Init,
    /// The health endpoints of nodes. Cilium 1.4 had no such entity; later versions have.
    Health,
    /// Pods of the cluster that are not managed. Not in Cilium 1.4 either.
    Unmanaged,
    /// Nothing.
    None,
}

impl Entity {
    /// All of them.
    pub const EVERY: [Self; 8] = [
        Self::All,
        Self::World,
        Self::Host,
        Self::Cluster,
        Self::Init,
        Self::Health,
        Self::Unmanaged,
        Self::None,
    ];

    /// The word in rules.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::All => reserved::ALL,
            Self::World => reserved::WORLD,
            Self::Host => reserved::HOST,
            Self::Cluster => "cluster",
            Self::Init => reserved::INIT,
            Self::Health => reserved::HEALTH,
            Self::Unmanaged => reserved::UNMANAGED,
            Self::None => reserved::NONE,
        }
    }

    /// What it selects in the cluster of this name: any one of these selectors.
    pub fn selectors(self, cluster: &str) -> Vec<EndpointSelector> {
        match self {
            Self::All => vec![EndpointSelector::wildcard()],
            Self::Cluster => [reserved::HOST, reserved::INIT, reserved::UNMANAGED]
                .map(EndpointSelector::reserved)
                .into_iter()
                .chain([EndpointSelector::from_labels([&Label::of(Source::K8s, CLUSTER_LABEL, cluster)])])
                .collect(),
            one => vec![EndpointSelector::reserved(one.as_str())],
        }
    }
}

impl fmt::Display for Entity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Entity {
    type Err = UnknownEntity;

    fn from_str(text: &str) -> Result<Self, UnknownEntity> {
        Self::EVERY
            .into_iter()
            .find(|entity| entity.as_str() == text)
            .ok_or_else(|| UnknownEntity(text.to_owned()))
    }
}

impl Serialize for Entity {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Entity {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}
