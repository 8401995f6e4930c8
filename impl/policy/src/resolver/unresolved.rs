// SPDX-License-Identifier: Apache-2.0
//! What rules in force name and nobody has.

use std::collections::BTreeSet;

use super::Resolver;
use crate::map_state::Direction;
use crate::named_port::PortName;
use crate::rule::ServiceRule;
use crate::services::MAX_SERVICE_ADDRESSES;

/// A named port of a rule that means nothing: no destination has a port of this name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnresolvedPort {
    /// The rule's number.
    pub rule: u32,
    /// The section of the rule.
    pub direction: Direction,
    /// The name.
    pub name: PortName,
}

/// An entry of `toServices` that does not allow what its author may think.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct UnresolvedService {
    /// The rule's number.
    pub rule: u32,
    /// The entry.
    pub entry: ServiceRule,
    /// How many addresses its services have: 0, so that it allows nothing, or more than [`MAX_SERVICE_ADDRESSES`], of
    /// which it allows so many.
    pub addresses: usize,
}

impl Resolver {
    /// Named ports of rules in force that no destination has: such a rule allows nothing there.
    pub fn unresolved_ports(&self) -> BTreeSet<UnresolvedPort> {
        let anywhere = self.destinations.names();
        let mut unresolved = BTreeSet::new();
        for group in self.groups.values() {
            for direction in Direction::BOTH {
                for (rule, name) in group.side(direction).names() {
                    let known = match direction {
                        Direction::Ingress => group.endpoint.named_ports.contains_key(name),
                        Direction::Egress => anywhere.contains(name),
                    };
                    if !known {
                        unresolved.insert(UnresolvedPort { rule, direction, name: name.clone() });
                    }
                }
            }
        }
        unresolved
    }

    /// Entries of `toServices` of rules in force that mean no address, or more than they may.
    pub fn unresolved_services(&self) -> BTreeSet<UnresolvedService> {
        let mut unresolved = BTreeSet::new();
        for (rule, known) in self.rules.iter().filter(|(_, known)| !known.groups.is_empty()) {
            for entry in known.stored.rule().services() {
                let addresses = self.services.count(entry);
                if addresses == 0 || addresses > MAX_SERVICE_ADDRESSES {
                    unresolved.insert(UnresolvedService { rule: *rule, entry: entry.clone(), addresses });
                }
            }
        }
        unresolved
    }
}
