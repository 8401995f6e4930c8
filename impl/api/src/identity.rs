// SPDX-License-Identifier: Apache-2.0
//! `/identity`.

use serde::{Deserialize, Serialize};

/// A security identity: a number and the labels that it stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Identity {
    /// The number.
    pub id: u32,
    /// Labels as `source:key=value`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    /// SHA-256 of the labels, in hexadecimal.
    #[serde(rename = "labelsSHA256", skip_serializing_if = "String::is_empty")]
    pub labels_sha256: String,
}
