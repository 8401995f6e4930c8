// SPDX-License-Identifier: Apache-2.0
//! What the datapath is to be like.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::DatapathError;
use crate::loader::{MapSizes, ServiceSizes};

/// RFC 791, section 3.2.
const MTU_MIN_IPV4: u32 = 68;
/// RFC 8200, section 5.
const MTU_MIN_IPV6: u32 = 1280;

/// The configuration, from the agent's flags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatapathConfig {
    /// `--bpf-root`: where a BPF file system is, or is to be mounted.
    pub bpf_root: PathBuf,
    /// `--enable-ipv4`.
    pub enable_ipv4: bool,
    /// `--enable-ipv6`.
    pub enable_ipv6: bool,
    /// `--ipv4-range`: this node's pods.
    pub pod_cidr4: Option<Ipv4Net>,
    /// `--ipv6-range`: this node's pods.
    pub pod_cidr6: Option<Ipv6Net>,
    /// The pods' gateway, an address of `cilium_host`.
    pub router_ip4: Option<Ipv4Addr>,
    /// The pods' gateway, an address of `cilium_host`.
    pub router_ip6: Option<Ipv6Addr>,
    /// `--device`: by which the node reaches others.
    pub native_devices: Vec<String>,
    /// `--masquerade`: what pods send by a native device gets the node's address.
    pub masquerade: bool,
    /// What is reached with the pod's own address.
    pub native_cidr4: Option<Ipv4Net>,
    /// What is reached with the pod's own address.
    pub native_cidr6: Option<Ipv6Net>,
    /// `--bpf-ct-global-tcp-max`.
    pub ct_tcp_max: u32,
    /// `--bpf-ct-global-any-max`.
    pub ct_any_max: u32,
    /// Rows of each endpoint's policy map.
    pub policy_map_max: u32,
    /// MTU of `cilium_host`, bytes.
    pub mtu: u32,
    /// `--preallocate-bpf-maps`.
    pub preallocate: bool,
    /// Load balancing; none: there are no services.
    pub services: Option<ServicesConfig>,
}

/// How services are brought about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicesConfig {
    /// Whether slots are Maglev tables.
    pub maglev: bool,
    /// `--node-port-range`, both inclusive.
    pub node_ports: (u16, u16),
    /// Remote backends answer clients themselves.
    pub dsr: bool,
    /// Whom a pod sees as its client when it reaches itself through a service.
    pub loopback_ip4: Ipv4Addr,
    /// Whom a pod sees as its client when it reaches itself through a service.
    pub loopback_ip6: Ipv6Addr,
    /// Where sockets are translated: those of processes in this control group and below it. `None`: no sockets are, only
    /// packets.
    pub cgroup: Option<PathBuf>,
    /// Rows of frontends, per family, and clients with affinity.
    pub frontends_max: u32,
    /// Rows of slots.
    pub slots_max: u32,
    /// Rows of backends, per family.
    pub backends_max: u32,
    /// Rows of source ranges, per family.
    pub source_ranges_max: u32,
}

impl DatapathConfig {
    pub(crate) fn sizes(&self) -> MapSizes {
        MapSizes {
            ct_tcp_max: self.ct_tcp_max,
            ct_any_max: self.ct_any_max,
            policy_map_max: self.policy_map_max,
            preallocate: self.preallocate,
            services: self.services.as_ref().map(|services| ServiceSizes {
                frontends_max: services.frontends_max,
                slots_max: services.slots_max,
                backends_max: services.backends_max,
                source_ranges_max: services.source_ranges_max,
            }),
        }
    }

    /// The prefixes of this node's pods, of the families that are on.
    pub(crate) fn pod_cidrs(&self) -> impl Iterator<Item = (IpNet, IpNet)> {
        let v4 = self.pod_cidr4.zip(self.router_ip4).filter(|_| self.enable_ipv4);
        let v6 = self.pod_cidr6.zip(self.router_ip6).filter(|_| self.enable_ipv6);
        let v4 =
            v4.map(|(cidr, router)| (IpNet::V4(cidr.trunc()), IpNet::from(std::net::IpAddr::V4(router))));
        let v6 =
            v6.map(|(cidr, router)| (IpNet::V6(cidr.trunc()), IpNet::from(std::net::IpAddr::V6(router))));
        v4.into_iter().chain(v6)
    }

    pub(crate) fn check(&self) -> Result<(), DatapathError> {
        let wrong = |field, message: &str| Err(DatapathError::Config { field, message: message.into() });
        if !self.enable_ipv4 && !self.enable_ipv6 {
            return wrong("enable-ipv4", "at least one of IPv4 and IPv6 must be on");
        }
        if self.enable_ipv4 && (self.pod_cidr4.is_none() || self.router_ip4.is_none()) {
            return wrong("ipv4-range", "with IPv4 on, the node's range and router address must be known");
        }
        if self.enable_ipv6 && (self.pod_cidr6.is_none() || self.router_ip6.is_none()) {
            return wrong("ipv6-range", "with IPv6 on, the node's range and router address must be known");
        }
        if self.policy_map_max == 0 || self.ct_tcp_max == 0 || self.ct_any_max == 0 {
            return wrong("bpf-ct-global-tcp-max", "the size of a map must not be 0");
        }
        if let Some(services) = &self.services {
            for (option, size) in [
                ("bpf-lb-map-max", services.frontends_max),
                ("bpf-lb-slot-map-max", services.slots_max),
                ("bpf-lb-backend-map-max", services.backends_max),
                ("bpf-lb-source-range-map-max", services.source_ranges_max),
            ] {
                if size == 0 {
                    return wrong(option, "the size of a map must not be 0");
                }
            }
        }
        let (least, family) = if self.enable_ipv6 { (MTU_MIN_IPV6, "IPv6") } else { (MTU_MIN_IPV4, "IPv4") };
        if self.mtu < least {
            return wrong("mtu", &format!("{family} needs an MTU of at least {least} bytes"));
        }
        if self.masquerade && self.native_devices.is_empty() {
            return wrong("device", "masquerading needs the device by which the node reaches others");
        }
        Ok(())
    }
}

/// Where things are pinned below `--bpf-root`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pins {
    root: PathBuf,
}

impl Pins {
    /// Below this directory.
    pub fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// The root.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The maps, where Cilium has them.
    pub fn maps(&self) -> PathBuf {
        self.root.join("tc/globals")
    }

    /// What is ours alone.
    pub fn own(&self) -> PathBuf {
        self.root.join("ciliate")
    }

    /// The links.
    pub fn links(&self) -> PathBuf {
        self.own().join("links")
    }

    /// The link of an endpoint's program.
    pub fn endpoint_link(&self, id: u16) -> PathBuf {
        self.links().join(format!("lxc_{id:05}"))
    }

    /// The endpoint whose link has this name.
    pub fn link_endpoint(name: &str) -> Option<u16> {
        name.strip_prefix("lxc_")?.parse().ok()
    }
}
