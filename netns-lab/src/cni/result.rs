// SPDX-License-Identifier: Apache-2.0
//! What a plugin answers, as types.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use serde::Deserialize;

/// Result of ADD.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddResult {
    /// Version of the result.
    pub cni_version: String,
    /// Interfaces that the plugin has made, in the container and on the node.
    #[serde(default)]
    pub interfaces: Vec<Interface>,
    /// Addresses that it has given.
    #[serde(default)]
    pub ips: Vec<Ip>,
    /// Routes that it has set in the container.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Name resolution that it proposes.
    #[serde(default)]
    pub dns: Dns,
}

/// An interface.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Interface {
    /// Its name.
    pub name: String,
    /// Its hardware address; empty when it has none.
    #[serde(default)]
    pub mac: String,
    /// The container's namespace; empty for an interface of the node.
    #[serde(default)]
    pub sandbox: String,
}

/// An address with its prefix.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Ip {
    /// The address.
    pub address: IpNet,
    /// The gateway of its subnet.
    #[serde(default)]
    pub gateway: Option<IpAddr>,
    /// Index into [`AddResult::interfaces`].
    #[serde(default)]
    pub interface: Option<usize>,
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Route {
    /// Where to.
    pub dst: IpNet,
    /// By way of; without it, the gateway of the address.
    #[serde(default)]
    pub gw: Option<IpAddr>,
}

/// Name resolution.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Dns {
    /// Servers, by priority.
    pub nameservers: Vec<String>,
    /// Local domain.
    pub domain: String,
    /// Domains to search.
    pub search: Vec<String>,
    /// Options of the resolver.
    pub options: Vec<String>,
}

/// Result of VERSION.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct VersionResult {
    /// Version of the result.
    pub cni_version: String,
    /// Versions that the plugin speaks.
    pub supported_versions: Vec<String>,
}

/// Error of the protocol.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct PluginFailure {
    /// 1 to 99 are the specification's own, from 100 on the plugin's.
    pub code: u32,
    /// What happened.
    pub msg: String,
    /// More about it.
    #[serde(default)]
    pub details: String,
}

impl fmt::Display for PluginFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (code {})", self.msg, self.code)?;
        if self.details.is_empty() { Ok(()) } else { write!(f, ": {}", self.details) }
    }
}

impl AddResult {
    /// The first address of the container's interface `name`.
    pub fn address_of(&self, name: &str) -> Option<IpAddr> {
        self.addresses_of(name).next()
    }

    /// All addresses of the container's interface `name`.
    pub fn addresses_of(&self, name: &str) -> impl Iterator<Item = IpAddr> {
        let of_container = move |ip: &&Ip| match ip.interface.and_then(|index| self.interfaces.get(index)) {
            Some(interface) => interface.name == name && !interface.sandbox.is_empty(),
            // A plugin that says nothing of interfaces means the one that it was asked for.
            None => ip.interface.is_none(),
        };
        self.ips.iter().filter(of_container).map(|ip| ip.address.addr())
    }
}
