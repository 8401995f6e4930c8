// SPDX-License-Identifier: Apache-2.0
//! The entries of a cell.

use identity::NumericIdentity;

use super::{ANYBODY, GrantId, Side, World};
use crate::grant::PortKey;
use crate::map_state::{Direction, MapState, NOT_A_RULE, PolicyEntry, PolicyKey};
use crate::named_port::PortName;

impl Side {
    /// The entries for one identity, or for anybody.
    pub(super) fn cell(&self, identity: u32, world: &World<'_>) -> MapState {
        let mut cell = MapState::new();
        if identity == ANYBODY {
            for id in &self.anybody {
                self.put(&mut cell, identity, *id, true, world);
            }
            return cell;
        }
        for grants in world.cache.selecting(identity).filter_map(|selector| self.uses.get(&selector)) {
            for id in grants {
                self.put(&mut cell, identity, *id, true, world);
            }
        }
        if self.direction() == Direction::Egress {
            for id in self.naming.intersection(&self.anybody) {
                self.put(&mut cell, identity, *id, false, world);
            }
        } else if world.host_always_allowed && identity == NumericIdentity::HOST.as_u32() {
            let entry = PolicyEntry { proxy_port: 0, rule: NOT_A_RULE };
            cell.entry(PolicyKey::identity(identity, Direction::Ingress)).or_insert(entry);
        }
        cell
    }

    /// Puts the entries of a grant into a cell; `fixed` tells whether those of ports with numbers too.
    fn put(&self, cell: &mut MapState, identity: u32, id: GrantId, fixed: bool, world: &World<'_>) {
        let Some(grant) = self.grant(id) else { return };
        let direction = self.direction();
        let mut entry = |PortKey { protocol, port, prefix }: PortKey| {
            let key = PolicyKey { identity, protocol, port, port_prefix: prefix, direction };
            let entry = cell.entry(key).or_insert(PolicyEntry { proxy_port: 0, rule: id.0 });
            entry.rule = entry.rule.min(id.0);
        };
        grant.ports.fixed.iter().filter(|_| fixed).for_each(|port| entry(*port));
        for name in &grant.ports.named {
            self.resolve(identity, name, world).into_iter().for_each(&mut entry);
        }
    }

    /// A name is resolved by the destination: the endpoints themselves at ingress, the peer at egress.
    fn resolve(&self, identity: u32, name: &PortName, world: &World<'_>) -> Vec<PortKey> {
        let key =
            |port: addr::Port| PortKey { protocol: name.protocol.number(), port: port.get(), prefix: 16 };
        match self.direction() {
            Direction::Ingress => world.named_ports.get(name).map(|port| key(*port)).into_iter().collect(),
            Direction::Egress => {
                let labels = world.cache.labels(identity);
                labels
                    .map(|labels| world.destinations.of(labels, name).map(key).collect())
                    .unwrap_or_default()
            }
        }
    }
}
