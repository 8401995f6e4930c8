// SPDX-License-Identifier: Apache-2.0
//! Those who send and answer in a scenario, with their addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use netlink::NetNs;

use super::answer::{AnswerError, Answering};
use super::file::{End, Family, HOST, Listen, Target, WORLD};
use crate::agent::{NEIGHBOUR, NEIGHBOUR6, NODE, NODE6};
use crate::lab::Pod;
use crate::subject::Built;

/// One end.
#[derive(Debug)]
struct Place<'a> {
    netns: &'a NetNs,
    /// The one of each family that probes go to comes first.
    addresses: Vec<IpAddr>,
}

/// All ends by name, and the service in front of one of them.
#[derive(Debug)]
pub struct Ends<'a> {
    places: BTreeMap<String, Place<'a>>,
    service: Option<SocketAddr>,
}

impl<'a> Ends<'a> {
    /// A client and a server; on `loopback` they are the same.
    pub fn pair(
        client: (&'a NetNs, IpAddr),
        server: (&'a NetNs, IpAddr),
        service: Option<SocketAddr>,
    ) -> Self {
        let place = |(netns, address)| Place { netns, addresses: vec![address] };
        let places = [("client", client), ("server", server)];
        Self { places: places.map(|(name, end)| (name.to_owned(), place(end))).into(), service }
    }

    /// Those of a subject.
    pub fn of(built: &'a Built) -> Self {
        let pair = built.pair();
        let client = built.pods().next().map_or(pair.listen, |pod| pod.address());
        let service = pair.dial_port.map(|port| SocketAddr::new(pair.dial, port));
        Self::pair((&pair.client, client), (&pair.server, pair.listen), service)
    }

    /// Pods, the node and the world of a scenario's own cluster.
    pub(super) fn of_cluster(
        pods: &'a BTreeMap<String, Pod>,
        ground: (&'a crate::lab::Node, &'a crate::lab::Namespace),
        world: &[IpAddr],
        ipv6: bool,
    ) -> Self {
        let mut places: BTreeMap<String, Place<'a>> = pods
            .iter()
            .map(|(name, pod)| (name.clone(), Place { netns: pod.netns(), addresses: pod.addresses() }))
            .collect();
        let both = |v4: std::net::Ipv4Addr, v6: std::net::Ipv6Addr| {
            [Some(IpAddr::from(v4)), ipv6.then_some(v6.into())].into_iter().flatten()
        };
        let (node, neighbours) = (both(NODE, NODE6).collect(), both(NEIGHBOUR, NEIGHBOUR6));
        places.insert(HOST.into(), Place { netns: ground.0.netns(), addresses: node });
        let addresses = neighbours.chain(world.iter().copied()).collect();
        places.insert(WORLD.into(), Place { netns: ground.1.netns(), addresses });
        Self { places, service: None }
    }

    fn place(&self, end: &End) -> Result<&Place<'a>, String> {
        self.places.get(&end.0).ok_or_else(|| format!("there is no {end}"))
    }

    /// The namespace of an end.
    pub(super) fn netns(&self, end: &End) -> Result<&'a NetNs, String> {
        Ok(self.place(end)?.netns)
    }

    /// Where something for a target goes. The port of an ICMP probe means nothing.
    pub(super) fn address(
        &self,
        to: &Target,
        family: Family,
        port: Option<u16>,
    ) -> Result<SocketAddr, String> {
        match to {
            Target::End(end) => {
                let wanted = |address: &&IpAddr| address.is_ipv6() == (family == Family::Ipv6);
                let address = self.place(end)?.addresses.iter().find(wanted);
                let address = address.ok_or_else(|| format!("{end} has no such address"))?;
                Ok(SocketAddr::new(*address, port.unwrap_or(0)))
            }
            Target::Address(address) => Ok(SocketAddr::new(*address, port.unwrap_or(0))),
            Target::Service => {
                let service = self.service.ok_or("the subject has no service")?;
                Ok(SocketAddr::new(service.ip(), port.unwrap_or(service.port())))
            }
        }
    }

    /// Lets every end answer at each of its addresses. Two ends that are one and the same answer once.
    pub(super) fn answer(&self, listen: &Listen) -> Result<Vec<Answering>, AnswerError> {
        let mut seen: Vec<IpAddr> = Vec::new();
        let mut answering = Vec::new();
        for place in self.places.values() {
            for address in &place.addresses {
                if !seen.contains(address) {
                    seen.push(*address);
                    answering.push(Answering::start(place.netns, *address, listen)?);
                }
            }
        }
        Ok(answering)
    }
}
