// SPDX-License-Identifier: Apache-2.0
//! Numbers for sets of labels, counted by reference.

use std::collections::{BTreeMap, HashMap};

use crate::labels::Labels;
use crate::numeric::{IdentityRange, NumericIdentity};

/// Why an allocator refused. It is as it was before.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AllocatorError {
    /// Every number is in use.
    #[error("no numeric identity is free: all of {0} are in use")]
    Exhausted(IdentityRange),
    /// The number is not one that this allocator may give.
    #[error("identity {identity} is not one of {range}")]
    OutOfRange {
        /// The number.
        identity: u32,
        /// What may be given.
        range: IdentityRange,
    },
    /// The number stands for other labels, or the labels have another number.
    #[error("identity {identity} cannot stand for {labels}: one of the two is in use already")]
    Taken {
        /// The number.
        identity: u32,
        /// The labels, readable.
        labels: String,
    },
    /// Nobody holds the number.
    #[error("identity {0} is not in use")]
    NotInUse(u32),
}

/// What [`Allocator::acquire`] gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Acquired {
    /// The number.
    pub identity: NumericIdentity,
    /// Whether nobody held it before: policy must now take it into account.
    pub new: bool,
}

#[derive(Debug, Clone)]
struct Entry {
    labels: Labels,
    references: u64,
}

/// Gives each set of labels a number of its range, for as long as anybody holds it.
///
/// A number given back is given again as late as possible (the next number is the one after the last given, the first
/// after the last of the range), so that a packet in flight does not meet another's policy. The same calls always give
/// the same numbers.
#[derive(Debug, Clone)]
pub struct Allocator {
    range: IdentityRange,
    last_given: Option<NumericIdentity>,
    by_labels: HashMap<Labels, NumericIdentity>,
    by_identity: BTreeMap<NumericIdentity, Entry>,
}

impl Allocator {
    /// Gives numbers of `range`.
    pub fn new(range: IdentityRange) -> Self {
        Self { range, last_given: None, by_labels: HashMap::new(), by_identity: BTreeMap::new() }
    }

    /// Takes a reference to the number of these labels.
    pub fn acquire(&mut self, labels: &Labels) -> Result<Acquired, AllocatorError> {
        if let Some(&identity) = self.by_labels.get(labels) {
            self.add_reference(identity);
            return Ok(Acquired { identity, new: false });
        }
        let identity = self.next_free().ok_or(AllocatorError::Exhausted(self.range))?;
        self.last_given = Some(identity);
        self.insert(identity, labels);
        Ok(Acquired { identity, new: true })
    }

    /// Takes a reference to this number for these labels: what an earlier run of the agent, or another node, had given.
    pub fn restore(
        &mut self,
        identity: NumericIdentity,
        labels: &Labels,
    ) -> Result<Acquired, AllocatorError> {
        if !self.range.contains(identity) {
            return Err(AllocatorError::OutOfRange { identity: identity.as_u32(), range: self.range });
        }
        match (self.by_labels.get(labels), self.by_identity.get(&identity)) {
            (None, None) => {
                self.last_given = self.last_given.max(Some(identity));
                self.insert(identity, labels);
                Ok(Acquired { identity, new: true })
            }
            (Some(own), Some(_)) if *own == identity => {
                self.add_reference(identity);
                Ok(Acquired { identity, new: false })
            }
            _ => Err(AllocatorError::Taken { identity: identity.as_u32(), labels: labels.to_string() }),
        }
    }

    /// Gives a reference back. The labels, if it was the last one.
    pub fn release(&mut self, identity: NumericIdentity) -> Result<Option<Labels>, AllocatorError> {
        let Some(entry) = self.by_identity.get_mut(&identity) else {
            return Err(AllocatorError::NotInUse(identity.as_u32()));
        };
        entry.references -= 1;
        if entry.references > 0 {
            return Ok(None);
        }
        let gone = self.by_identity.remove(&identity).map(|entry| entry.labels);
        if let Some(labels) = &gone {
            self.by_labels.remove(labels);
        }
        Ok(gone)
    }

    /// The number of these labels, if anybody holds it.
    pub fn identity_of(&self, labels: &Labels) -> Option<NumericIdentity> {
        self.by_labels.get(labels).copied()
    }

    /// The labels of this number, if anybody holds it.
    pub fn labels_of(&self, identity: NumericIdentity) -> Option<&Labels> {
        self.by_identity.get(&identity).map(|entry| &entry.labels)
    }

    /// How often the number is held.
    pub fn references(&self, identity: NumericIdentity) -> u64 {
        self.by_identity.get(&identity).map_or(0, |entry| entry.references)
    }

    /// All that are held, by number.
    pub fn iter(&self) -> impl Iterator<Item = (NumericIdentity, &Labels)> {
        self.by_identity.iter().map(|(identity, entry)| (*identity, &entry.labels))
    }

    /// How many numbers are held.
    pub fn len(&self) -> usize {
        self.by_identity.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.by_identity.is_empty()
    }

    fn insert(&mut self, identity: NumericIdentity, labels: &Labels) {
        self.by_labels.insert(labels.clone(), identity);
        self.by_identity.insert(identity, Entry { labels: labels.clone(), references: 1 });
    }

    fn add_reference(&mut self, identity: NumericIdentity) {
        if let Some(entry) = self.by_identity.get_mut(&identity) {
            entry.references += 1;
        }
    }

    fn next_free(&self) -> Option<NumericIdentity> {
        if self.by_identity.len() as u64 >= self.range.size() {
            return None;
        }
        let mut candidate = self.last_given.map_or(self.range.first(), |last| self.range.after(last));
        // One is free, so this ends.
        while self.by_identity.contains_key(&candidate) {
            candidate = self.range.after(candidate);
        }
        Some(candidate)
    }
}
