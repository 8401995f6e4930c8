// SPDX-License-Identifier: Apache-2.0
//! `/map`.

use serde::{Deserialize, Serialize};

/// The maps that the agent has open.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BpfMapList {
    /// One by one.
    pub maps: Vec<BpfMap>,
}

/// A map and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BpfMap {
    /// Where it is pinned.
    pub path: String,
    /// Its entries; none in the list of maps where they are not told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cache: Option<Vec<BpfMapEntry>>,
}

/// One entry of a map.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct BpfMapEntry {
    /// The key as text.
    pub key: String,
    /// The value as text.
    pub value: String,
    /// What the agent still has to do with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_action: Option<DesiredAction>,
    /// Why that failed.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_error: String,
}

/// What is to be done with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DesiredAction {
    /// Nothing: it is in the kernel.
    Ok,
    /// Write it.
    Insert,
    /// Remove it.
    Delete,
}
