// SPDX-License-Identifier: Apache-2.0
//! What ADD answers, in the words of each version; and how CHECK reads it back.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink::MacAddr;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::conf::Dns;
use crate::version::{VERSIONS, Version};

/// An address of the pod.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodAddress {
    /// The address with its full prefix: no other host is on the pod's link.
    pub address: IpNet,
    /// The node's router address, by which everything else is reached.
    pub gateway: IpAddr,
}

impl PodAddress {
    /// Where everything else is.
    pub fn anywhere(&self) -> IpNet {
        match self.gateway {
            IpAddr::V4(_) => IpNet::new_assert(Ipv4Addr::UNSPECIFIED.into(), 0),
            IpAddr::V6(_) => IpNet::new_assert(Ipv6Addr::UNSPECIFIED.into(), 0),
        }
    }
}

/// One end of the veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    pub mac: MacAddr,
}

/// An attachment as ADD has made it.
#[derive(Clone, Debug)]
pub struct Added {
    /// The node's end.
    pub node: End,
    /// The pod's end.
    pub pod: End,
    /// `CNI_NETNS`.
    pub sandbox: String,
    /// The pod's addresses, IPv4 first.
    pub addresses: Vec<PodAddress>,
    /// MTU of both ends, bytes.
    pub mtu: u32,
    /// MTU of the default routes, bytes.
    pub route_mtu: u32,
    /// Name resolution.
    pub dns: Dns,
}

impl Added {
    /// The result in the words of a version.
    pub fn json(&self, version: Version) -> Value {
        let mut result = Map::new();
        result.insert("cniVersion".into(), version.as_str().into());
        if version < Version::V0_3_0 {
            self.by_family(&mut result);
        } else {
            result.insert("interfaces".into(), self.interfaces(version));
            result.insert("ips".into(), self.ips(version));
            result.insert("routes".into(), self.routes(version));
        }
        result.insert("dns".into(), json!(self.dns));
        Value::Object(result)
    }

    /// Up to 0.2.0 a result knew one address of each family, and no interfaces.
    fn by_family(&self, result: &mut Map<String, Value>) {
        for address in &self.addresses {
            let name = if address.gateway.is_ipv4() { "ip4" } else { "ip6" };
            let ip = json!({
                "ip": address.address,
                "gateway": address.gateway,
                "routes": [{"dst": address.anywhere(), "gw": address.gateway}],
            });
            result.insert(name.into(), ip);
        }
    }

    fn interfaces(&self, version: Version) -> Value {
        let mut ends = [
            json!({"name": self.node.name, "mac": self.node.mac.to_string()}),
            json!({"name": self.pod.name, "mac": self.pod.mac.to_string(), "sandbox": self.sandbox}),
        ];
        if version >= Version::V1_1_0 {
            for end in &mut ends {
                end["mtu"] = self.mtu.into();
            }
        }
        json!(ends)
    }

    fn ips(&self, version: Version) -> Value {
        let ip = |address: &PodAddress| {
            // The pod's end is the second of the interfaces.
            let mut ip = json!({"address": address.address, "gateway": address.gateway, "interface": 1});
            if version < Version::V1_0_0 {
                ip["version"] = if address.gateway.is_ipv4() { "4" } else { "6" }.into();
            }
            ip
        };
        self.addresses.iter().map(ip).collect()
    }

    fn routes(&self, version: Version) -> Value {
        let route = |address: &PodAddress| {
            let mut route = json!({"dst": address.anywhere(), "gw": address.gateway});
            if version >= Version::V1_1_0 {
                route["mtu"] = self.route_mtu.into();
            }
            route
        };
        self.addresses.iter().map(route).collect()
    }
}

/// What VERSION answers: the version of the question, and all that are spoken.
pub fn versions(asked: Version) -> Value {
    json!({"cniVersion": asked.as_str(), "supportedVersions": VERSIONS.map(Version::as_str)})
}

/// The result of ADD as the runtime has kept it, from 0.3.0 on: what CHECK compares with. A later plugin of a chain may
/// have added to it.
#[derive(Clone, Debug, Deserialize)]
pub struct Previous {
    /// Interfaces, of the node and of the pod.
    #[serde(default)]
    pub interfaces: Vec<PreviousInterface>,
    /// Addresses.
    #[serde(default)]
    pub ips: Vec<PreviousIp>,
    /// Routes of the pod.
    #[serde(default)]
    pub routes: Vec<PreviousRoute>,
}

/// An interface of an earlier result.
#[derive(Clone, Debug, Deserialize)]
pub struct PreviousInterface {
    /// Its name.
    pub name: String,
    /// Its Ethernet address.
    #[serde(default)]
    pub mac: String,
    /// Its namespace; empty for one of the node.
    #[serde(default)]
    pub sandbox: String,
}

/// An address of an earlier result.
#[derive(Clone, Debug, Deserialize)]
pub struct PreviousIp {
    /// The address.
    pub address: IpNet,
    /// Index into the interfaces.
    #[serde(default)]
    pub interface: Option<usize>,
}

/// A route of an earlier result.
#[derive(Clone, Debug, Deserialize)]
pub struct PreviousRoute {
    /// Where to.
    pub dst: IpNet,
    /// By way of.
    #[serde(default)]
    pub gw: Option<IpAddr>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn added() -> Added {
        let address = |address: &str, gateway: &str| PodAddress {
            address: address.parse().unwrap(),
            gateway: gateway.parse().unwrap(),
        };
        Added {
            node: End { name: "lxc1".into(), mac: MacAddr([2, 0, 0, 0, 0, 1]) },
            pod: End { name: "eth0".into(), mac: MacAddr([2, 0, 0, 0, 0, 2]) },
            sandbox: "/run/netns/x".into(),
            addresses: vec![address("192.0.2.7/32", "192.0.2.1"), address("2001:db8::7/128", "2001:db8::1")],
            mtu: 1500,
            route_mtu: 1450,
            dns: Dns { nameservers: vec!["192.0.2.53".into()], ..Dns::default() },
        }
    }

    #[test]
    fn version_1_0_says_interfaces_addresses_and_routes() {
        assert_eq!(
            added().json(Version::V1_0_0),
            json!({
                "cniVersion": "1.0.0",
                "interfaces": [
                    {"name": "lxc1", "mac": "02:00:00:00:00:01"},
                    {"name": "eth0", "mac": "02:00:00:00:00:02", "sandbox": "/run/netns/x"},
                ],
                "ips": [
                    {"address": "192.0.2.7/32", "gateway": "192.0.2.1", "interface": 1},
                    {"address": "2001:db8::7/128", "gateway": "2001:db8::1", "interface": 1},
                ],
                "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.1"}, {"dst": "::/0", "gw": "2001:db8::1"}],
                "dns": {"nameservers": ["192.0.2.53"]},
            })
        );
    }

    #[test]
    fn addresses_say_their_version_before_1_0() {
        for version in [Version::V0_3_0, Version::V0_3_1, Version::V0_4_0] {
            let result = added().json(version);
            assert_eq!(result["cniVersion"], version.as_str());
            assert_eq!(
                (&result["ips"][0]["version"], &result["ips"][1]["version"]),
                (&json!("4"), &json!("6"))
            );
            assert_eq!(result["interfaces"][1].get("mtu"), None);
        }
    }

    #[test]
    fn mtus_are_said_from_1_1_on() {
        let result = added().json(Version::V1_1_0);
        assert_eq!(
            (&result["interfaces"][0]["mtu"], &result["routes"][1]["mtu"]),
            (&json!(1500), &json!(1450))
        );
        assert_eq!(result["ips"][0].get("version"), None);
    }

    #[test]
    fn results_before_0_3_are_by_family() {
        for version in [Version::V0_1_0, Version::V0_2_0] {
            let result = added().json(version);
            assert_eq!(result["ip4"]["ip"], "192.0.2.7/32");
            assert_eq!(result["ip6"]["routes"], json!([{"dst": "::/0", "gw": "2001:db8::1"}]));
            assert_eq!((result.get("ips"), result.get("interfaces")), (None, None));
        }
    }

    #[test]
    fn check_reads_what_add_wrote() {
        for version in [Version::V0_4_0, Version::V1_0_0, Version::V1_1_0] {
            let previous = Previous::deserialize(added().json(version)).unwrap();
            assert_eq!(previous.interfaces[1].sandbox, "/run/netns/x");
            assert_eq!(previous.ips[1].address, "2001:db8::7/128".parse().unwrap());
            assert_eq!(previous.routes[0].gw, Some("192.0.2.1".parse().unwrap()));
        }
    }
}
