// SPDX-License-Identifier: Apache-2.0
//! A subject slowed on purpose, to show that a regression is noticed.

use super::{Built, restore};
use crate::rules::{self, RulesError};

/// Why a subject cannot be slowed.
#[derive(Debug, thiserror::Error)]
pub enum HandicapError {
    /// Its packets pass no FORWARD chain.
    #[error("{subject} cannot be handicapped: its packets pass no FORWARD chain of a node")]
    NoForward {
        /// The subject.
        subject: String,
    },
    /// The rules could not be loaded.
    #[error(transparent)]
    Rules(#[from] RulesError),
}

/// Puts `rules` iptables rules that never match at the head of the FORWARD chain of the subject's (first) node.
///
/// # Errors
/// [`HandicapError`].
pub fn handicap(built: &Built, rules: u32) -> Result<(), HandicapError> {
    let node = built.node_netns().filter(|_| built.parts.forwards);
    let Some(node) = node else {
        return Err(HandicapError::NoForward { subject: built.info.name.clone() });
    };
    Ok(restore(&built.lab, node, &rules::handicap(rules))?)
}
