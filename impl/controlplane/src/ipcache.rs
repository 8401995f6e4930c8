// SPDX-License-Identifier: Apache-2.0
//! Who has which address: several may say, the most trusted counts.

use std::collections::BTreeMap;

use identity::NumericIdentity;
use ipnet::IpNet;

use crate::deltas::IpcacheRow;
use crate::table::{Delta, Table};

/// Who says it, from the most to the least trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Layer {
    /// An endpoint has the address.
    Endpoint,
    /// The node has it.
    Node,
    /// A rule names the prefix.
    Cidr,
    /// Everything else is the world.
    Default,
}

const LAYERS: usize = 4;

/// `cilium_ipcache` as desired.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ipcache {
    said: BTreeMap<IpNet, [Option<NumericIdentity>; LAYERS]>,
    table: Table<IpNet, IpcacheRow>,
}

impl Ipcache {
    /// One layer says, or says no more, who has these addresses.
    pub(crate) fn set(&mut self, layer: Layer, prefix: IpNet, identity: Option<NumericIdentity>) {
        let said = self.said.entry(prefix).or_default();
        said[layer as usize] = identity;
        let counts = said.iter().flatten().next().copied();
        if counts.is_none() {
            self.said.remove(&prefix);
        }
        let row =
            |identity: NumericIdentity| IpcacheRow { identity: identity.as_u32(), tunnel_endpoint: None };
        self.table.set(prefix, counts.map(row));
    }

    pub(crate) fn touch(&mut self, prefix: IpNet) {
        self.table.touch(prefix);
    }

    pub(crate) fn drain(&mut self) -> Delta<IpNet, IpcacheRow> {
        self.table.drain()
    }

    pub(crate) fn rows(&self) -> &BTreeMap<IpNet, IpcacheRow> {
        self.table.rows()
    }
}
