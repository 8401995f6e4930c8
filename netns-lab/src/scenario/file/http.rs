// SPDX-License-Identifier: Apache-2.0
//! A question over HTTP, as a file tells it.

use serde::Deserialize;

use super::probe::{End, Family, Target, family_of};

/// One `GET`, and what must be answered.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "RawHttp")]
pub struct Http {
    /// Who asks.
    pub from: End,
    /// Whom.
    pub to: Target,
    /// By which of the target's addresses.
    pub family: Family,
    /// At which port.
    pub port: u16,
    /// HTTP's status.
    pub status: u16,
    /// What the body holds.
    pub body: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHttp {
    from: End,
    to: Target,
    family: Option<Family>,
    port: u16,
    status: u16,
    #[serde(default)]
    body: String,
}

impl TryFrom<RawHttp> for Http {
    type Error = String;

    fn try_from(raw: RawHttp) -> Result<Self, String> {
        let RawHttp { from, to, family, port, status, body } = raw;
        if port == 0 {
            return Err("a port is between 1 and 65535".into());
        }
        if !(100..600).contains(&status) {
            return Err(format!("`status` must be between 100 and 599, not {status}"));
        }
        let family = family_of(family, &to)?;
        Ok(Self { from, to, family, port, status, body })
    }
}
