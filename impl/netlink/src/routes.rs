// SPDX-License-Identifier: Apache-2.0
//! Routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use rtnetlink::RouteMessageBuilder;
use rtnetlink::packet_route::AddressFamily;
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteMessage, RouteMetric, RouteScope, RouteType,
};

use crate::{Netlink, NetlinkError};

/// A unicast route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Where to; `0.0.0.0/0` or `::/0` for the default route.
    pub destination: IpNet,
    /// The next hop.
    pub via: Option<IpAddr>,
    /// The device.
    pub device: Option<String>,
    /// The destination is on the link itself (scope link).
    pub scope_link: bool,
    /// The next hop is on the link even if no route says so.
    pub onlink: bool,
    /// Preferred source address.
    pub source: Option<IpAddr>,
    /// Routing table; `None` for the main one.
    pub table: Option<u32>,
    /// Largest packet that is sent this way, bytes; `None` for the MTU of the device.
    pub mtu: Option<u32>,
}

impl Route {
    /// A route to `destination` by `device`, directly on the link.
    pub fn link(destination: IpNet, device: &str) -> Self {
        Self {
            destination,
            via: None,
            device: Some(device.into()),
            scope_link: true,
            onlink: false,
            source: None,
            table: None,
            mtu: None,
        }
    }

    /// A route to `destination` by way of `via`, which is on the link of `device`.
    pub fn onlink(destination: IpNet, via: IpAddr, device: &str) -> Self {
        Self { via: Some(via), scope_link: false, onlink: true, ..Self::link(destination, device) }
    }

    fn bad(&self, error: &dyn std::error::Error) -> NetlinkError {
        NetlinkError::Answer { action: "describe route", object: self.describe(), answer: error.to_string() }
    }

    /// The message that sets it, by the device of this interface index.
    pub(crate) fn message(&self, device: Option<u32>) -> Result<RouteMessage, NetlinkError> {
        let mut builder = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(self.destination.addr(), self.destination.prefix_len())
            .map_err(|e| self.bad(&e))?;
        if let Some(via) = self.via {
            builder = builder.gateway(via).map_err(|e| self.bad(&e))?;
        }
        if let Some(device) = device {
            builder = builder.output_interface(device);
        }
        if let Some(source) = self.source {
            builder = builder.pref_source(source).map_err(|e| self.bad(&e))?;
        }
        if self.scope_link {
            builder = builder.scope(RouteScope::Link);
        }
        if self.onlink {
            builder = builder.onlink();
        }
        if let Some(table) = self.table {
            builder = builder.table_id(table);
        }
        let mut message = builder.build();
        if let Some(mtu) = self.mtu {
            message.attributes.push(RouteAttribute::Metrics(vec![RouteMetric::Mtu(mtu)]));
        }
        Ok(message)
    }

    pub(crate) fn describe(&self) -> String {
        let mut text = self.destination.to_string();
        for (word, value) in [("via", self.via.map(|via| via.to_string())), ("dev", self.device.clone())] {
            if let Some(value) = value {
                text.push_str(&format!(" {word} {value}"));
            }
        }
        text
    }
}

impl Netlink {
    fn route_message(&self, route: &Route) -> Result<RouteMessage, NetlinkError> {
        let device = route.device.as_deref().map(|device| self.index(device)).transpose()?;
        route.message(device)
    }

    /// Adds a route.
    ///
    /// # Errors
    /// [`NetlinkError::Exists`]; [`NetlinkError::Missing`] without the device.
    pub fn add_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let message = self.route_message(route)?;
        self.wait("add route", &route.describe(), self.handle.route().add(message).execute())
    }

    /// Deletes a route.
    ///
    /// # Errors
    /// [`NetlinkError::Missing`] when it is not there.
    pub fn delete_route(&self, route: &Route) -> Result<(), NetlinkError> {
        let message = self.route_message(route)?;
        self.wait("delete route", &route.describe(), self.handle.route().del(message).execute())
    }

    /// The unicast routes of all tables, both families.
    ///
    /// # Errors
    /// [`NetlinkError`] of the dump.
    pub fn routes(&self) -> Result<Vec<Route>, NetlinkError> {
        let names = self.links()?;
        let name = |index: u32| names.iter().find(|link| link.index == index).map(|l| l.name.clone());
        let mut routes = Vec::new();
        for filter in
            [RouteMessageBuilder::<Ipv4Addr>::new().build(), RouteMessageBuilder::<Ipv6Addr>::new().build()]
        {
            let messages = self.collect("list the routes of", self.handle.route().get(filter).execute())?;
            routes.extend(
                messages
                    .into_iter()
                    .filter(|message| message.header.kind == RouteType::Unicast)
                    .filter_map(|message| route(message, &name)),
            );
        }
        Ok(routes)
    }
}

fn route(message: RouteMessage, name: &impl Fn(u32) -> Option<String>) -> Option<Route> {
    let any = match message.header.address_family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AddressFamily::Inet6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let mut found = Route {
        destination: IpNet::new(any, 0).ok()?,
        via: None,
        device: None,
        scope_link: message.header.scope == RouteScope::Link,
        onlink: message.header.flags.contains(RouteFlags::Onlink),
        source: None,
        table: Some(message.header.table.into()),
        mtu: None,
    };
    for attribute in message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => {
                found.destination =
                    IpNet::new(ip(&address)?, message.header.destination_prefix_length).ok()?;
            }
            RouteAttribute::Gateway(address) => found.via = ip(&address),
            RouteAttribute::PrefSource(address) => found.source = ip(&address),
            RouteAttribute::Oif(index) => found.device = name(index),
            RouteAttribute::Table(table) => found.table = Some(table),
            RouteAttribute::Metrics(metrics) => found.mtu = metrics.iter().find_map(mtu),
            _ => {}
        }
    }
    Some(found)
}

fn mtu(metric: &RouteMetric) -> Option<u32> {
    match metric {
        RouteMetric::Mtu(mtu) => Some(*mtu),
        _ => None,
    }
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(v4) => Some((*v4).into()),
        RouteAddress::Inet6(v6) => Some((*v6).into()),
        _ => None,
    }
}
