// SPDX-License-Identifier: Apache-2.0
//! Those who send and answer in a scenario, with their addresses.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::answer::{AnswerError, Answering};
use super::file::{Cluster, End, Family, Listen, Placeholder, Target, WORLD, resolve};
use crate::agent::{NEIGHBOUR, NEIGHBOUR6, NodeAddresses};
use crate::lab::{Namespace, Node, Origin, Pod, Seat};
use crate::subject::Built;

/// One end.
#[derive(Debug)]
struct Place<'a> {
    origin: Origin<'a>,
    /// The one of each family that probes go to comes first.
    addresses: Vec<IpAddr>,
}

/// A node that stands.
#[derive(Clone, Copy, Debug)]
pub(super) struct Standing<'a> {
    pub node: &'a Node,
    pub seat: &'a Seat,
    pub addresses: NodeAddresses,
}

impl<'a> Standing<'a> {
    /// Where it, or a pod of it, opens sockets.
    fn origin(&self, namespace: &'a Namespace) -> Origin<'a> {
        Origin { netns: namespace.netns(), seat: Some(self.seat) }
    }
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
        client: (Origin<'a>, IpAddr),
        server: (Origin<'a>, IpAddr),
        service: Option<SocketAddr>,
    ) -> Self {
        let place = |(origin, address)| Place { origin, addresses: vec![address] };
        let places = [("client", client), ("server", server)];
        Self { places: places.map(|(name, end)| (name.to_owned(), place(end))).into(), service }
    }

    /// Those of a subject.
    pub fn of(built: &'a Built) -> Self {
        let pair = built.pair();
        let client = built.pods().next().map_or(pair.listen, |pod| pod.address());
        let service = pair.dial_port.map(|port| SocketAddr::new(pair.dial, port));
        Self::pair((pair.client_origin(), client), (pair.server_origin(), pair.listen), service)
    }

    /// Pods, nodes and the world of a scenario's own cluster.
    pub(super) fn of_cluster(
        spec: &Cluster,
        pods: &'a BTreeMap<String, Pod>,
        nodes: &[Standing<'a>],
        world: &'a Namespace,
    ) -> Self {
        let mut places = BTreeMap::new();
        for (pod, of_pod) in pods.iter().zip(spec.pods.values()) {
            let on = &nodes[spec.node_of(of_pod)];
            let (name, pod) = pod;
            places.insert(name.clone(), Place { origin: on.origin(pod), addresses: pod.addresses() });
        }
        let both = |v4: Ipv4Addr, v6: Ipv6Addr| {
            [Some(IpAddr::from(v4)), spec.ipv6.then_some(v6.into())].into_iter().flatten()
        };
        for (name, on) in spec.node_names().zip(nodes) {
            let addresses = both(on.addresses.ipv4, on.addresses.ipv6).collect();
            places.insert(name.into(), Place { origin: on.origin(on.node), addresses });
        }
        let addresses = both(NEIGHBOUR, NEIGHBOUR6).chain(spec.world.iter().copied()).collect();
        places.insert(WORLD.into(), Place { origin: Origin::plain(world.netns()), addresses });
        Self { places, service: None }
    }

    fn place(&self, end: &End) -> Result<&Place<'a>, String> {
        self.places.get(&end.0).ok_or_else(|| format!("there is no {end}"))
    }

    /// Where an end opens its sockets.
    pub(super) fn origin(&self, end: &End) -> Result<Origin<'a>, String> {
        Ok(self.place(end)?.origin)
    }

    /// A text with the addresses that it calls by the names of ends.
    pub(super) fn resolve(&self, text: &str) -> Result<String, String> {
        resolve(text, |Placeholder { end, family }| {
            Ok(self.address(&Target::End(End(end.into())), family, None)?.ip())
        })
    }

    /// Whether an address is one of a target's.
    pub(super) fn is_of(&self, target: &Target, address: IpAddr) -> Result<bool, String> {
        Ok(match target {
            Target::End(end) => self.place(end)?.addresses.contains(&address),
            Target::Address(wanted) => *wanted == address,
            Target::Service => self.service.is_some_and(|service| service.ip() == address),
        })
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
        for (name, place) in &self.places {
            for address in &place.addresses {
                if !seen.contains(address) {
                    seen.push(*address);
                    answering.push(Answering::start(place.origin, name, *address, listen)?);
                }
            }
        }
        Ok(answering)
    }
}
