// SPDX-License-Identifier: Apache-2.0
//! Numbers for labels: fixed ones, the cluster's, this node's, each counted by who holds it.

use std::collections::BTreeMap;

use identity::{
    Acquired, Allocator, AllocatorError, FixedIdentities, IdentityRange, Labels, Numbering, NumericIdentity,
};

use crate::view::IdentityView;

/// Identities in use.
#[derive(Debug, Clone)]
pub(crate) struct Identities {
    fixed: FixedIdentities,
    fixed_labels: BTreeMap<NumericIdentity, Labels>,
    fixed_references: BTreeMap<NumericIdentity, u64>,
    cluster: Allocator,
    local: Allocator,
}

impl Identities {
    /// Without any in use; the cluster's numbers and this node's are of these ranges.
    pub(crate) fn new(fixed: FixedIdentities, cluster: IdentityRange, local: IdentityRange) -> Self {
        Self {
            fixed_labels: fixed.iter().map(|(identity, labels)| (identity, labels.clone())).collect(),
            fixed,
            fixed_references: BTreeMap::new(),
            cluster: Allocator::new(cluster),
            local: Allocator::new(local),
        }
    }

    /// Those that are there without anybody holding them: host, world, unmanaged, health, init.
    pub(crate) fn permanent(&self) -> impl Iterator<Item = (NumericIdentity, &Labels)> {
        self.fixed_labels
            .iter()
            .filter(|(identity, _)| is_permanent(**identity))
            .map(|(identity, labels)| (*identity, labels))
    }

    /// Takes a reference to the number of these labels.
    pub(crate) fn acquire(&mut self, labels: &Labels) -> Result<Acquired, AllocatorError> {
        match self.fixed.numbering(labels) {
            Numbering::Fixed(identity) => Ok(self.acquire_fixed(identity)),
            Numbering::Cluster => self.cluster.acquire(labels),
            Numbering::Local => self.local.acquire(labels),
        }
    }

    /// Takes a reference to this number for these labels, or says why they cannot have it.
    pub(crate) fn restore(
        &mut self,
        identity: NumericIdentity,
        labels: &Labels,
    ) -> Result<Acquired, AllocatorError> {
        match self.fixed.numbering(labels) {
            Numbering::Fixed(fixed) if fixed == identity => Ok(self.acquire_fixed(identity)),
            Numbering::Fixed(_) => {
                Err(AllocatorError::Taken { identity: identity.as_u32(), labels: labels.to_string() })
            }
            Numbering::Cluster => self.cluster.restore(identity, labels),
            Numbering::Local => self.local.restore(identity, labels),
        }
    }

    /// Gives a reference back. Whether it was the last one, and nothing has this number now.
    pub(crate) fn release(&mut self, identity: NumericIdentity) -> bool {
        if let Some(references) = self.fixed_references.get_mut(&identity) {
            *references -= 1;
            let last = *references == 0;
            if last {
                self.fixed_references.remove(&identity);
            }
            return last && !is_permanent(identity);
        }
        let allocator = if identity.is_local() { &mut self.local } else { &mut self.cluster };
        // Only what was acquired is released, so the number is known.
        matches!(allocator.release(identity), Ok(Some(_)))
    }

    /// The labels of a number that is in use.
    pub(crate) fn labels_of(&self, identity: NumericIdentity) -> Option<&Labels> {
        self.fixed_labels
            .get(&identity)
            .or_else(|| self.cluster.labels_of(identity))
            .or_else(|| self.local.labels_of(identity))
    }

    /// One that is permanent, or that somebody holds.
    pub(crate) fn find(&self, identity: NumericIdentity) -> Option<IdentityView> {
        let labels = self.labels_of(identity)?.clone();
        let fixed = self.fixed_references.get(&identity).copied();
        let references = match self.fixed_labels.contains_key(&identity) {
            true if fixed.is_none() && !is_permanent(identity) => return None,
            true => fixed.unwrap_or(0),
            false if identity.is_local() => self.local.references(identity),
            false => self.cluster.references(identity),
        };
        Some(IdentityView { identity, labels, references })
    }

    /// Permanent ones and those that somebody holds, by number.
    pub(crate) fn view(&self) -> Vec<IdentityView> {
        let fixed = self.fixed_labels.iter().filter_map(|(identity, labels)| {
            let references = self.fixed_references.get(identity).copied();
            let shown = is_permanent(*identity) || references.is_some();
            shown.then(|| IdentityView {
                identity: *identity,
                labels: labels.clone(),
                references: references.unwrap_or(0),
            })
        });
        let allocated = [&self.cluster, &self.local].into_iter().flat_map(|allocator| {
            allocator.iter().map(|(identity, labels)| IdentityView {
                identity,
                labels: labels.clone(),
                references: allocator.references(identity),
            })
        });
        fixed.chain(allocated).collect()
    }

    fn acquire_fixed(&mut self, identity: NumericIdentity) -> Acquired {
        let references = self.fixed_references.entry(identity).or_default();
        *references += 1;
        Acquired { identity, new: *references == 1 && !is_permanent(identity) }
    }
}

fn is_permanent(identity: NumericIdentity) -> bool {
    identity <= NumericIdentity::INIT
}
