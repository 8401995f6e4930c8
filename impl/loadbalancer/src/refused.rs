// SPDX-License-Identifier: Apache-2.0
//! What is not done, and why.

use std::collections::{BTreeMap, BTreeSet};

use addr::Port;

use crate::owner::Owner;
use crate::row::{BackendAddress, Frontend};

/// Why a service of the API is not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// A field makes no sense.
    #[error("{field}: {reason}")]
    Field {
        /// The field, as the API names it.
        field: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// Its frontend is another's.
    #[error("frontend-address: {frontend} belongs to {owner} already")]
    Taken {
        /// The frontend.
        frontend: Frontend,
        /// Who has it.
        owner: String,
    },
    /// Its number is another frontend's.
    #[error("id: {id} is {frontend} of {owner} already: take another, or delete that first")]
    IdTaken {
        /// The number.
        id: u16,
        /// The frontend that has it.
        frontend: Frontend,
        /// Whose.
        owner: String,
    },
    /// Its number was another frontend's, which is not gone everywhere.
    #[error("id: {0} is still being given back: try again")]
    IdEnds(u16),
    /// A table has no room.
    #[error("{0}")]
    Full(String),
}

/// What is not done: what a reason is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Subject {
    /// A field of an object.
    Part(Owner, String),
    /// A frontend that somebody wants.
    Frontend(Frontend, Owner),
    /// A backend.
    Backend(BackendAddress),
    /// A port at which a load balancer asks for a service.
    HealthCheck(Port, Owner),
}

/// All reasons, and which of them were not told yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Reasons {
    reasons: BTreeMap<Subject, String>,
    untold: BTreeSet<Subject>,
}

impl Reasons {
    /// These are now the reasons about the subjects from `first` that `concerns` holds for.
    pub(crate) fn replace(
        &mut self,
        first: Subject,
        concerns: impl Fn(&Subject) -> bool,
        now: BTreeMap<Subject, String>,
    ) {
        let known = self.reasons.range(first..).take_while(|(subject, _)| concerns(subject));
        let gone: Vec<Subject> = known
            .filter(|(subject, _)| !now.contains_key(subject))
            .map(|(subject, _)| subject.clone())
            .collect();
        for subject in gone {
            self.set(subject, None);
        }
        for (subject, reason) in now {
            self.set(subject, Some(reason));
        }
    }

    pub(crate) fn set(&mut self, subject: Subject, reason: Option<String>) {
        match reason {
            None => {
                self.reasons.remove(&subject);
                self.untold.remove(&subject);
            }
            Some(reason) => {
                if self.reasons.get(&subject) != Some(&reason) {
                    self.untold.insert(subject.clone());
                    self.reasons.insert(subject, reason);
                }
            }
        }
    }

    pub(crate) fn all(&self) -> &BTreeMap<Subject, String> {
        &self.reasons
    }

    /// Those that are new since it was last asked.
    pub(crate) fn drain(&mut self) -> BTreeMap<Subject, String> {
        let untold = std::mem::take(&mut self.untold).into_iter();
        untold.filter_map(|subject| self.reasons.get(&subject).cloned().map(|why| (subject, why))).collect()
    }
}
