// SPDX-License-Identifier: Apache-2.0
//! What the agent tells of itself. The subtypes are 1.4's words.

use serde::{Deserialize, Serialize};

/// Something that the agent did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "subtype", content = "message")]
pub enum AgentEvent {
    /// It started.
    #[serde(rename = "Cilium agent started")]
    Started {
        /// When, RFC 3339.
        time: String,
    },
    /// An endpoint was created.
    #[serde(rename = "Endpoint created")]
    EndpointCreated {
        /// Its number.
        id: u16,
        /// Its labels.
        labels: Vec<String>,
    },
    /// What the datapath knows of an endpoint is up to date again.
    #[serde(rename = "Endpoint regenerated")]
    EndpointRegenerated {
        /// Its number.
        id: u16,
        /// Its labels.
        labels: Vec<String>,
    },
    /// It is not.
    #[serde(rename = "Failed endpoint regeneration")]
    EndpointRegenerationFailed {
        /// Its number.
        id: u16,
        /// Its labels.
        labels: Vec<String>,
        /// Why.
        error: String,
    },
    /// An endpoint is gone.
    #[serde(rename = "Endpoint deleted")]
    EndpointDeleted {
        /// Its number.
        id: u16,
        /// Its labels.
        labels: Vec<String>,
    },
    /// Rules were added.
    #[serde(rename = "Policy updated")]
    PolicyUpdated {
        /// The labels of the rules.
        labels: Vec<String>,
        /// The revision of the repository with them.
        revision: u64,
        /// How many they are.
        rule_count: usize,
    },
    /// Rules were removed.
    #[serde(rename = "Policy deleted")]
    PolicyDeleted {
        /// The labels by which they were chosen.
        labels: Vec<String>,
        /// The revision of the repository without them.
        revision: u64,
        /// How many they were.
        rule_count: usize,
    },
}

impl AgentEvent {
    /// The endpoint that it is about.
    pub const fn endpoint(&self) -> Option<u32> {
        match self {
            Self::EndpointCreated { id, .. }
            | Self::EndpointRegenerated { id, .. }
            | Self::EndpointRegenerationFailed { id, .. }
            | Self::EndpointDeleted { id, .. } => Some(*id as u32),
            Self::Started { .. } | Self::PolicyUpdated { .. } | Self::PolicyDeleted { .. } => None,
        }
    }
}
