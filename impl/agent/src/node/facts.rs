// SPDX-License-Identifier: Apache-2.0
//! What the kernel says of this node's devices, addresses and routes.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink::Netlink;

use super::NodeError;

/// What our own devices' names begin with: their addresses are not the node's.
const OWN_DEVICES: [&str; 2] = ["cilium_", "lxc"];
/// `RT_TABLE_MAIN` of linux/rtnetlink.h.
const MAIN_TABLE: u32 = 254;

/// A device with its addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Device {
    /// Its name.
    pub name: String,
    /// Its MTU, bytes.
    pub mtu: u32,
    /// Its addresses with the lengths of their prefixes.
    pub addresses: Vec<IpNet>,
}

/// What the kernel says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// All devices but our own.
    pub devices: Vec<Device>,
    /// Prefixes to which there is a route by a device that is not our own.
    pub routes: Vec<IpNet>,
    /// The devices of the default routes of the main table, IPv4 first.
    pub default_routes: Vec<String>,
}

impl Facts {
    /// Asks the kernel.
    ///
    /// # Errors
    /// [`NodeError::Netlink`].
    pub fn read(netlink: &Netlink) -> Result<Self, NodeError> {
        let mut facts = Self::default();
        for link in netlink.links()?.into_iter().filter(|link| !is_own(&link.name)) {
            // A device may go between the two questions.
            let addresses = match netlink.addresses(&link.name) {
                Err(netlink::NetlinkError::Missing { .. }) => continue,
                other => other?,
            };
            facts.devices.push(Device { name: link.name, mtu: link.mtu, addresses });
        }
        for route in netlink.routes()? {
            let Some(device) = route.device.filter(|device| !is_own(device)) else { continue };
            match route.destination.prefix_len() {
                0 if route.table == Some(MAIN_TABLE) => facts.default_routes.push(device),
                0 => {}
                _ => facts.routes.push(route.destination),
            }
        }
        Ok(facts)
    }

    /// A device by its name.
    pub fn device(&self, name: &str) -> Option<&Device> {
        self.devices.iter().find(|device| device.name == name)
    }

    /// The device of the first default route.
    pub fn default_device(&self) -> Option<&Device> {
        self.default_routes.iter().find_map(|name| self.device(name))
    }

    /// The first global address of a device, else of any, that `family` takes.
    pub fn address<T>(&self, device: Option<&Device>, family: impl Fn(IpAddr) -> Option<T>) -> Option<T> {
        device
            .into_iter()
            .chain(&self.devices)
            .flat_map(|device| &device.addresses)
            .map(IpNet::addr)
            .filter(|address| is_global(*address))
            .find_map(family)
    }

    /// All addresses of the node, each once: also those that only the node itself can use.
    pub fn addresses(&self) -> Vec<IpAddr> {
        let mut addresses: Vec<_> =
            self.devices.iter().flat_map(|device| &device.addresses).map(IpNet::addr).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    }

    /// Addresses and routes inside of prefixes.
    pub fn inside(&self, prefixes: &[IpNet]) -> Vec<IpNet> {
        let addresses = self.addresses().into_iter().map(IpNet::from);
        let mut inside: Vec<_> = addresses
            .chain(self.routes.iter().copied())
            .filter(|net| prefixes.iter().any(|prefix| prefix.contains(net) && prefix != net))
            .collect();
        inside.sort_unstable();
        inside.dedup();
        inside
    }
}

fn is_own(device: &str) -> bool {
    OWN_DEVICES.iter().any(|own| device.starts_with(own))
}

/// Whether others can reach the address.
fn is_global(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local() && !v4.is_unspecified(),
        IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local() && !v6.is_unspecified(),
    }
}
