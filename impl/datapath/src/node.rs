// SPDX-License-Identifier: Apache-2.0
//! The node's own part: the pair `cilium_host` and `cilium_net`, the routes to its pods, and sysctls.
//!
//! What the node's stack sends to pods is routed to `cilium_host`, at whose egress it is policed and redirected into the
//! pod. The other end of the pair has no part in that: a device must have one.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use ipnet::IpNet;
use netlink::{LinkEnd, NetNs, Netlink, NetlinkError, Route, set_sysctl};

use nix::libc;

use crate::loader::file;
use crate::{DatapathConfig, DatapathError};

/// The device by which the node reaches its pods.
pub const HOST_DEVICE: &str = "cilium_host";
/// Its other end.
pub const NET_DEVICE: &str = "cilium_net";

/// The cookie of the calling thread's network namespace, by which programs at sockets know it.
///
/// # Errors
/// [`DatapathError::File`].
pub fn netns_cookie() -> Result<u64, DatapathError> {
    let failed = |e| file("read the cookie of", Path::new("/proc/thread-self/ns/net"), e);
    let socket = UnixDatagram::unbound().map_err(failed)?;
    let (mut cookie, mut length) = (0_u64, size_of::<u64>() as libc::socklen_t);
    // SAFETY: the socket is open, and the kernel writes no more than `length` bytes to the cookie.
    let answer = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if answer == 0 { Ok(cookie) } else { Err(failed(io::Error::last_os_error())) }
}

/// `asm-generic/socket.h`, since Linux 5.14; libc knows it not.
const SO_NETNS_COOKIE: libc::c_int = 71;

/// The network namespace that the datapath is in.
#[derive(Debug)]
pub struct Node {
    netns: NetNs,
    netlink: Netlink,
}

impl Node {
    /// Of the calling thread's namespace.
    ///
    /// # Errors
    /// [`DatapathError::Netlink`].
    pub fn here() -> Result<Self, DatapathError> {
        let netns = NetNs::current().map_err(NetlinkError::from)?;
        let netlink = Netlink::open(&netns)?;
        Ok(Self { netns, netlink })
    }

    /// Its socket.
    pub const fn netlink(&self) -> &Netlink {
        &self.netlink
    }

    fn sysctl(&self, name: &str, value: &str) -> Result<(), DatapathError> {
        Ok(set_sysctl(&self.netns, name, value)?)
    }

    /// Makes devices, addresses, routes and sysctls, as far as they are not there. Returns the index of `cilium_host`.
    ///
    /// # Errors
    /// [`DatapathError::Netlink`].
    pub fn set_up(&self, config: &DatapathConfig) -> Result<u32, DatapathError> {
        if self.is_outdated(config)? {
            self.tear_down()?;
        }
        match self
            .netlink
            .add_veth(&LinkEnd::new(HOST_DEVICE, &self.netns), &LinkEnd::new(NET_DEVICE, &self.netns))
        {
            Ok(()) | Err(NetlinkError::Exists { .. }) => {}
            Err(e) => return Err(e.into()),
        }
        self.set_sysctls(config)?;
        for device in [HOST_DEVICE, NET_DEVICE] {
            let link = self.netlink.link(device)?;
            if link.mtu != config.mtu {
                self.netlink.set_mtu(device, config.mtu)?;
            }
            // No neighbour is there to be resolved: the program writes the pod's address.
            self.netlink.set_arp(device, false)?;
            self.netlink.set_up(device)?;
        }
        for (cidr, router) in config.pod_cidrs() {
            self.set_address(router)?;
            self.set_route(cidr, router.addr())?;
        }
        Ok(self.netlink.link(HOST_DEVICE)?.index)
    }

    /// Whether `cilium_host` has addresses or routes of another configuration. They go with the device.
    fn is_outdated(&self, config: &DatapathConfig) -> Result<bool, DatapathError> {
        let found = match self.netlink.addresses(HOST_DEVICE) {
            Ok(found) => found,
            Err(NetlinkError::Missing { .. }) => return Ok(false),
            Err(e) => return Err(e.into()),
        };
        let (cidrs, routers): (Vec<IpNet>, Vec<IpNet>) = config.pod_cidrs().unzip();
        // What the kernel itself gives to each device that is up.
        let is_automatic = |network: &IpNet| match network.addr() {
            IpAddr::V4(_) => false,
            IpAddr::V6(v6) => v6.is_unicast_link_local() || v6.is_multicast(),
        };
        let strange = found.iter().any(|address| !is_automatic(address) && !routers.contains(address));
        let routes = self.netlink.routes()?;
        let mut routes = routes.iter().filter(|route| route.device.as_deref() == Some(HOST_DEVICE));
        Ok(strange
            || routes.any(|route| {
                let known = cidrs.contains(&route.destination) || routers.contains(&route.destination);
                !known && !is_automatic(&route.destination)
            }))
    }

    fn set_sysctls(&self, config: &DatapathConfig) -> Result<(), DatapathError> {
        if config.enable_ipv4 {
            self.sysctl("net/ipv4/ip_forward", "1")?;
            // Of this one and a device's own the larger counts. Answers of pods come by other devices than packets to
            // them go.
            self.sysctl("net/ipv4/conf/all/rp_filter", "0")?;
            let native = config.native_devices.iter().map(String::as_str);
            for device in [HOST_DEVICE, NET_DEVICE].into_iter().chain(native) {
                self.loose_source(device)?;
            }
            self.sysctl(&format!("net/ipv4/conf/{HOST_DEVICE}/send_redirects"), "0")?;
        }
        if config.enable_ipv6 {
            self.sysctl("net/ipv6/conf/all/forwarding", "1")?;
            for device in [HOST_DEVICE, NET_DEVICE] {
                self.sysctl(&format!("net/ipv6/conf/{device}/disable_ipv6"), "0")?;
                self.sysctl(&format!("net/ipv6/conf/{device}/accept_ra"), "0")?;
            }
        }
        Ok(())
    }

    /// Lets a device take packets whose answers would go out by another.
    ///
    /// # Errors
    /// [`DatapathError::Netlink`].
    pub fn loose_source(&self, device: &str) -> Result<(), DatapathError> {
        self.sysctl(&format!("net/ipv4/conf/{device}/rp_filter"), "0")
    }

    fn set_address(&self, router: IpNet) -> Result<(), DatapathError> {
        if self.netlink.addresses(HOST_DEVICE)?.contains(&router) {
            return Ok(());
        }
        Ok(self.netlink.add_address(HOST_DEVICE, router)?)
    }

    fn set_route(&self, cidr: IpNet, router: IpAddr) -> Result<(), DatapathError> {
        let route = Route { source: Some(router), ..Route::link(cidr, HOST_DEVICE) };
        let there = self.netlink.routes()?.into_iter().any(|found| {
            found.destination == cidr && found.device.as_deref() == Some(HOST_DEVICE) && found.via.is_none()
        });
        if there {
            return Ok(());
        }
        Ok(self.netlink.add_route(&route)?)
    }

    /// The index of a device.
    ///
    /// # Errors
    /// [`DatapathError::Netlink`]: there is none of this name.
    pub fn ifindex(&self, device: &str) -> Result<u32, DatapathError> {
        Ok(self.netlink.link(device)?.index)
    }

    /// The addresses that masqueraded packets get, and those to a service's backend on another node: the first of each family
    /// that is not local to a link.
    ///
    /// # Errors
    /// [`DatapathError::Config`] if IPv4 is on and there is none.
    pub fn masquerade_addresses(&self, config: &DatapathConfig) -> Result<Vec<IpNet>, DatapathError> {
        if !config.masquerade && config.services.is_none() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for device in &config.native_devices {
            found.extend(self.netlink.addresses(device)?);
        }
        found.retain(|address| match address.addr() {
            IpAddr::V4(v4) => !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        });
        if config.masquerade && config.enable_ipv4 && !found.iter().any(|address| address.addr().is_ipv4()) {
            return Err(DatapathError::Config {
                field: "masquerade",
                message: format!("{} has no IPv4 address", config.native_devices.join(", ")),
            });
        }
        Ok(found)
    }

    /// Takes the pair of devices away, and with it addresses and routes.
    ///
    /// # Errors
    /// [`DatapathError::Netlink`].
    pub fn tear_down(&self) -> Result<(), DatapathError> {
        match self.netlink.delete_link(HOST_DEVICE) {
            Ok(()) | Err(NetlinkError::Missing { .. }) => Ok(()),
            Err(e) => Err(e.into()),
        }
    }
}
