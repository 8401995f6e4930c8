// SPDX-License-Identifier: Apache-2.0
//! The states of an endpoint and of its parts.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Where an endpoint is in its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EndpointState {
    /// It has been asked for.
    #[default]
    Creating,
    /// Its labels have no identity yet.
    WaitingForIdentity,
    /// Its datapath could not be made.
    NotReady,
    /// Its datapath is out of date.
    WaitingToRegenerate,
    /// Its datapath is being made.
    Regenerating,
    /// The agent has restarted and is taking it over.
    Restoring,
    /// It works.
    Ready,
    /// It is being removed.
    Disconnecting,
    /// It is removed.
    Disconnected,
}

impl EndpointState {
    /// As in JSON and in `endpoint list`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Creating => "creating",
            Self::WaitingForIdentity => "waiting-for-identity",
            Self::NotReady => "not-ready",
            Self::WaitingToRegenerate => "waiting-to-regenerate",
            Self::Regenerating => "regenerating",
            Self::Restoring => "restoring",
            Self::Ready => "ready",
            Self::Disconnecting => "disconnecting",
            Self::Disconnected => "disconnected",
        }
    }
}

impl fmt::Display for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One change of an endpoint's state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct EndpointStatusChange {
    /// When, RFC 3339.
    pub timestamp: String,
    /// Whether it succeeded.
    pub code: StatusChangeCode,
    /// What happened.
    pub message: String,
    /// The state after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<EndpointState>,
}

/// Whether a change succeeded.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StatusChangeCode {
    /// Yes.
    #[default]
    Ok,
    /// No.
    Failed,
}

/// Whether the parts of an endpoint work; the answer of `GET /endpoint/{id}/healthz`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct EndpointHealth {
    /// All together.
    pub overall_health: EndpointHealthStatus,
    /// Its programs and maps.
    pub bpf: EndpointHealthStatus,
    /// Its policy.
    pub policy: EndpointHealthStatus,
    /// Whether packets reach it.
    pub connected: bool,
}

/// Whether a part of an endpoint works.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EndpointHealthStatus {
    /// Yes.
    #[serde(rename = "OK")]
    Ok,
    /// It is being made.
    Bootstrap,
    /// A change is on its way.
    Pending,
    /// With an old policy.
    Warning,
    /// No.
    Failure,
    /// It is not wanted.
    #[default]
    Disabled,
}

impl EndpointHealthStatus {
    /// As in JSON.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Bootstrap => "Bootstrap",
            Self::Pending => "Pending",
            Self::Warning => "Warning",
            Self::Failure => "Failure",
            Self::Disabled => "Disabled",
        }
    }
}

impl fmt::Display for EndpointHealthStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
