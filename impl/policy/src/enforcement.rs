// SPDX-License-Identifier: Apache-2.0
//! Whether an endpoint without rules is open or closed.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// No mode of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown policy enforcement {0:?}: one of default, always, never")]
pub struct UnknownEnforcementMode(pub String);

/// When policy is enforced.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum EnforcementMode {
    /// In a direction in which a rule selects the endpoint; and for endpoints that have no labels yet.
    #[default]
    Default,
    /// For all endpoints.
    Always,
    /// For none.
    Never,
}

impl EnforcementMode {
    /// The word of `--enable-policy`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

impl fmt::Display for EnforcementMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for EnforcementMode {
    type Err = UnknownEnforcementMode;

    fn from_str(text: &str) -> Result<Self, UnknownEnforcementMode> {
        [Self::Default, Self::Always, Self::Never]
            .into_iter()
            .find(|mode| mode.as_str().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownEnforcementMode(text.to_owned()))
    }
}

/// The mode of each direction.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Enforcement {
    /// To the endpoint.
    pub ingress: EnforcementMode,
    /// From the endpoint.
    pub egress: EnforcementMode,
}

impl Enforcement {
    /// One mode both ways.
    pub const fn both(mode: EnforcementMode) -> Self {
        Self { ingress: mode, egress: mode }
    }
}
