// SPDX-License-Identifier: Apache-2.0
//! What programs are told: that of the endpoints by `cilium_ep_config`, for each device; those of the node's devices by a
//! constant, set when they are loaded, by which the verifier prunes what is not used.

use addr::Be32;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// `struct lxc_config`: one endpoint, by its device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct LxcConfig {
    /// The endpoint's number.
    pub lxc_id: u32,
    /// The host's end of its pair.
    pub ifindex: u32,
    /// Its address; 0 for none.
    pub ipv4: Be32,
    /// Its address; 0 for none.
    pub ipv6: [Be32; 4],
    /// 1 if IPv4 is on.
    pub enable_ipv4: u32,
    /// 1 if IPv6 is on.
    pub enable_ipv6: u32,
    /// The pods' gateway.
    pub router_ipv4: Be32,
    /// The pods' gateway.
    pub router_ipv6: [Be32; 4],
    /// Ethernet address of the pod's end.
    pub mac: [u8; 6],
    /// Ethernet address of the host's end: what the pod takes for its gateway.
    pub node_mac: [u8; 6],
    /// `cilium_host`.
    pub host_ifindex: u32,
}

/// `struct host_config`, of the programs of the node's devices.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct HostConfig {
    /// 1 if IPv4 is on.
    pub enable_ipv4: u32,
    /// 1 if IPv6 is on.
    pub enable_ipv6: u32,
    /// 1 if what leaves the node gets the node's address.
    pub enable_masquerade: u32,
    /// The address it gets; 0 for none.
    pub masq_ipv4: Be32,
    /// The address it gets; 0 for none.
    pub masq_ipv6: [Be32; 4],
    /// What is reached with the pod's own address.
    pub native_cidr4: Be32,
    /// Its mask.
    pub native_mask4: Be32,
    /// What is reached with the pod's own address.
    pub native_cidr6: [Be32; 4],
    /// Its mask.
    pub native_mask6: [Be32; 4],
    /// The node's pods.
    pub pod_cidr4: Be32,
    /// Its mask.
    pub pod_mask4: Be32,
    /// The node's pods.
    pub pod_cidr6: [Be32; 4],
    /// Its mask.
    pub pod_mask6: [Be32; 4],
    /// `cilium_host`.
    pub host_ifindex: u32,
}
