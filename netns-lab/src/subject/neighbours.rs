// SPDX-License-Identifier: Apache-2.0
//! No ARP while it is measured: what the first exchange has found out is made permanent.

use netlink::{Netlink, NetlinkError};

use super::Parts;

impl Parts {
    /// Makes all resolved neighbours of all namespaces permanent.
    pub(super) fn pin_neighbours(&self) -> Result<(), NetlinkError> {
        let pods = self.pods().map(|pod| pod.netlink());
        let nodes = self.nodes.iter().map(|node| node.netlink());
        pods.chain(nodes).try_for_each(pin)
    }
}

fn pin(netlink: &Netlink) -> Result<(), NetlinkError> {
    for neighbour in netlink.neighbours()? {
        if let Some(mac) = neighbour.mac
            && !neighbour.permanent
            && !neighbour.noarp
        {
            netlink.set_neighbour(&neighbour.device, neighbour.address, mac)?;
        }
    }
    Ok(())
}
