// SPDX-License-Identifier: Apache-2.0
//! What policy does to an endpoint.

use serde::{Deserialize, Serialize};

use crate::{CidrPolicy, L4Policy};

/// The policy that an endpoint should have and the one that it has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct EndpointPolicyStatus {
    /// Should have.
    pub spec: EndpointPolicy,
    /// Has.
    pub realized: EndpointPolicy,
    /// The revision that its proxy enforces.
    #[serde(skip_serializing_if = "is_zero")]
    pub proxy_policy_revision: u64,
}

/// What an endpoint may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct EndpointPolicy {
    /// The revision of the rules that it comes from.
    pub policy_revision: u64,
    /// The endpoint's own identity.
    pub id: u32,
    /// In which directions policy is enforced.
    pub policy_enabled: EndpointPolicyEnabled,
    /// How often it has been computed.
    #[serde(skip_serializing_if = "is_zero")]
    pub build: u64,
    /// Identities that may talk to it at every port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_ingress_identities: Vec<u32>,
    /// Identities that it may talk to at every port.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub allowed_egress_identities: Vec<u32>,
    /// By port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub l4: Option<L4Policy>,
    /// By prefix.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cidr_policy: Option<CidrPolicy>,
}

/// In which directions policy is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EndpointPolicyEnabled {
    /// In none.
    #[default]
    None,
    /// Into the endpoint.
    Ingress,
    /// Out of it.
    Egress,
    /// In both.
    Both,
}

impl EndpointPolicyEnabled {
    /// From the two directions.
    pub const fn of(ingress: bool, egress: bool) -> Self {
        match (ingress, egress) {
            (false, false) => Self::None,
            (true, false) => Self::Ingress,
            (false, true) => Self::Egress,
            (true, true) => Self::Both,
        }
    }

    /// Whether traffic into the endpoint is checked.
    pub const fn ingress(self) -> bool {
        matches!(self, Self::Ingress | Self::Both)
    }

    /// Whether traffic out of the endpoint is checked.
    pub const fn egress(self) -> bool {
        matches!(self, Self::Egress | Self::Both)
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
