// SPDX-License-Identifier: Apache-2.0
//! `/metrics/`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One time series at this moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Metric {
    /// As in Prometheus, with the `cilium_` in front.
    pub name: String,
    /// What it shows.
    pub value: f64,
    /// What it is about.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}
