// SPDX-License-Identifier: Apache-2.0
//! `/endpoint/{id}/config` and `/endpoint/{id}/labels`.

use serde::{Deserialize, Serialize};

use crate::{ConfigurationMap, ErrorBody};

/// What can be changed of an endpoint; the body of `PATCH /endpoint/{id}/config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case", deny_unknown_fields)]
pub struct EndpointConfigurationSpec {
    /// The mutable options.
    #[serde(skip_serializing_if = "ConfigurationMap::is_empty")]
    pub options: ConfigurationMap,
    /// Labels that the user gave.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label_configuration: Option<LabelConfigurationSpec>,
}

/// The answer of `GET /endpoint/{id}/config`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointConfigurationStatus {
    /// In effect.
    pub realized: EndpointConfigurationSpec,
    /// What cannot be changed.
    #[serde(skip_serializing_if = "ConfigurationMap::is_empty")]
    pub immutable: ConfigurationMap,
    /// Why the last change failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ErrorBody>,
}

/// The answer of `GET /endpoint/{id}/labels`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LabelConfiguration {
    /// What the user asked for.
    pub spec: LabelConfigurationSpec,
    /// What is in effect.
    pub status: LabelConfigurationStatus,
}

/// The labels that a user gave; the body of `PATCH /endpoint/{id}/labels`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LabelConfigurationSpec {
    /// Beside those of the orchestration system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub user: Vec<String>,
}

/// The labels of an endpoint, by what they are for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
pub struct LabelConfigurationStatus {
    /// What the user asked for and is in effect.
    pub realized: LabelConfigurationSpec,
    /// Those that make its identity.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub security_relevant: Vec<String>,
    /// Those of the orchestration system.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<String>,
    /// Those of the orchestration system that the user removed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub disabled: Vec<String>,
}
