// SPDX-License-Identifier: Apache-2.0
//! Ports by the names that container specs give them.

use std::collections::{BTreeMap, BTreeSet};

use addr::{Port, Protocol};
use identity::Labels;

/// A name is of one protocol: a pod may have `dns` for UDP and for TCP.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PortName {
    /// The name.
    pub name: String,
    /// TCP, UDP or SCTP.
    pub protocol: Protocol,
}

/// The named ports of an endpoint.
pub type NamedPorts = BTreeMap<PortName, Port>;

/// The named ports of all endpoints, by their labels: what a rule's name means when others are the destination.
#[derive(Debug, Default)]
pub(crate) struct Destinations {
    ports: BTreeMap<Labels, BTreeMap<PortName, BTreeMap<Port, usize>>>,
}

impl Destinations {
    pub(crate) fn add(&mut self, labels: &Labels, ports: &NamedPorts) {
        for (name, port) in ports {
            let names = self.ports.entry(labels.clone()).or_default();
            *names.entry(name.clone()).or_default().entry(*port).or_default() += 1;
        }
    }

    pub(crate) fn remove(&mut self, labels: &Labels, ports: &NamedPorts) {
        let Some(names) = self.ports.get_mut(labels) else { return };
        for (name, port) in ports {
            if let Some(counts) = names.get_mut(name) {
                if let Some(count) = counts.get_mut(port) {
                    *count -= 1;
                }
                counts.retain(|_, count| *count > 0);
            }
        }
        names.retain(|_, counts| !counts.is_empty());
        if names.is_empty() {
            self.ports.remove(labels);
        }
    }

    /// What endpoints with these labels call so: more than one port, if they do not agree.
    pub(crate) fn of<'a>(&'a self, labels: &Labels, name: &PortName) -> impl Iterator<Item = Port> + use<'a> {
        let counts = self.ports.get(labels).and_then(|names| names.get(name));
        counts.into_iter().flat_map(|counts| counts.keys().copied())
    }

    /// Labels of endpoints that have any.
    pub(crate) fn labels(&self) -> impl Iterator<Item = &Labels> {
        self.ports.keys()
    }

    /// Every name that some endpoint has.
    pub(crate) fn names(&self) -> BTreeSet<&PortName> {
        self.ports.values().flat_map(BTreeMap::keys).collect()
    }
}
