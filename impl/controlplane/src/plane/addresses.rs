// SPDX-License-Identifier: Apache-2.0
//! Addresses: those given to pods, and those of the node.

use std::net::IpAddr;

use identity::NumericIdentity;

use super::ControlPlane;
use crate::endpoint::EndpointRef;
use crate::event::{IpamRequest, Timestamp};
use crate::ipcache::Layer;
use crate::reply::{Answer, Notice, Reply};

impl ControlPlane {
    pub(super) fn ipam_request(&mut self, request: IpamRequest, now: Timestamp) -> Reply {
        match request {
            IpamRequest::Allocate { family, owner, expires } => {
                let at = expires.then(|| Timestamp(now.0.saturating_add(IpamRequest::EXPIRY_MS)));
                let (ipv4, ipv6) = self.ipam.allocate(family, &owner, at)?;
                Ok(Answer::Addresses { ipv4, ipv6 })
            }
            IpamRequest::AllocateIp { ip, owner } => {
                self.ipam.allocate_ip(ip, &owner)?;
                Ok(match ip {
                    IpAddr::V4(ip) => Answer::Addresses { ipv4: Some(ip), ipv6: None },
                    IpAddr::V6(ip) => Answer::Addresses { ipv4: None, ipv6: Some(ip) },
                })
            }
            IpamRequest::Release { ip } => {
                self.ipam.release(ip)?;
                Ok(Answer::Done)
            }
        }
    }

    /// The node has these addresses and the routers' now.
    pub(super) fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        let routers = [
            self.config.ipv4.map(|pods| IpAddr::from(pods.router)),
            self.config.ipv6.map(|pods| IpAddr::from(pods.router)),
        ];
        let now: std::collections::BTreeSet<IpAddr> = addresses
            .iter()
            .copied()
            .chain(routers.into_iter().flatten())
            .filter(|one| self.has_family(one))
            .collect();
        for gone in self.node.difference(&now) {
            self.ipcache.set(Layer::Node, (*gone).into(), None);
        }
        for new in now.difference(&self.node) {
            self.ipcache.set(Layer::Node, (*new).into(), Some(NumericIdentity::HOST));
            let reference = match new {
                IpAddr::V4(address) => EndpointRef::Ipv4(*address),
                IpAddr::V6(address) => EndpointRef::Ipv6(*address),
            };
            if let Some(endpoint) = self.endpoints.find(&reference) {
                self.notices.push(Notice::AddressOfNode { address: *new, id: endpoint.id });
            }
        }
        self.node = now;
        self.ipam.set_node_addresses(addresses);
        let own: Vec<IpAddr> = addresses.iter().copied().filter(|one| self.has_family(one)).collect();
        self.balancer.set_node_addresses(&own);
    }

    /// Whether the node, or its end of the pods' links, has this address.
    pub fn is_of_node(&self, address: IpAddr) -> bool {
        self.node.contains(&address)
    }

    fn has_family(&self, address: &IpAddr) -> bool {
        match address {
            IpAddr::V4(_) => self.config.ipv4.is_some(),
            IpAddr::V6(_) => self.config.ipv6.is_some(),
        }
    }
}
