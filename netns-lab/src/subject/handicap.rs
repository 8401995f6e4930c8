// SPDX-License-Identifier: Apache-2.0
//! A subject slowed on purpose, to show that a regression is noticed.

use std::io;

use super::{Built, restore};
use crate::classifier::{self, Attached};
use crate::rules::{self, RulesError};

/// Why a subject cannot be slowed.
#[derive(Debug, thiserror::Error)]
pub enum HandicapError {
    /// Its packets pass neither.
    #[error(
        "{subject} cannot be handicapped: its packets pass no FORWARD chain of a node, and no program of our agent's"
    )]
    NoPlace {
        /// The subject.
        subject: String,
    },
    /// The rules could not be loaded.
    #[error(transparent)]
    Rules(#[from] RulesError),
    /// The program could not be attached.
    #[error("attach a program in front of our agent's to interface {interface} of the node: {source}")]
    Attach {
        /// Index of the interface.
        interface: u32,
        /// Why not.
        source: io::Error,
    },
    /// The pods' links.
    #[error(transparent)]
    Netlink(#[from] netlink::NetlinkError),
    /// The node's namespace.
    #[error(transparent)]
    NetNs(#[from] netlink::NetNsError),
}

/// A subject that is slowed, as long as this lives.
#[derive(Debug)]
pub struct Handicapped(#[expect(dead_code, reason = "holds the programs")] Vec<Attached>);

/// Puts `amount` things that do nothing in the way of a subject's packets: with our agent, instructions in front of its
/// program at the node's end of either pod's link, so once for each packet; otherwise iptables rules that never match, at
/// the head of the FORWARD chain of the (first) node.
///
/// # Errors
/// [`HandicapError`].
pub fn handicap(built: &Built, amount: u32) -> Result<Handicapped, HandicapError> {
    let Some(node) = built.node_netns() else { return Err(no_place(built)) };
    if built.parts.agent.is_some() {
        let mut attached = Vec::new();
        for pod in built.pods() {
            let Some(interface) = pod.netlink().link(pod.interface())?.peer else {
                return Err(no_place(built));
            };
            let delayed = node.run(|| classifier::delay(interface, amount))?;
            attached.push(delayed.map_err(|source| HandicapError::Attach { interface, source })?);
        }
        return Ok(Handicapped(attached));
    }
    if !built.parts.forwards {
        return Err(no_place(built));
    }
    restore(&built.lab, node, &rules::handicap(amount))?;
    Ok(Handicapped(Vec::new()))
}

fn no_place(built: &Built) -> HandicapError {
    HandicapError::NoPlace { subject: built.info.name.clone() }
}
