// SPDX-License-Identifier: Apache-2.0
//! Several nodes, each with an agent of its own, on one wire with the world.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::{NetlinkError, Route};

use super::ground::{MTU, address};
use super::{
    Agent, AgentError, AgentOptions, Ground, NEIGHBOUR, NEIGHBOUR6, NODE, NODE6, POD_RANGE, POD_RANGE6,
    UPLINK,
};
use crate::lab::{Lab, LabError, LinkSide, Namespace, Node, Seat, connect};

/// The world's interface to the nodes.
const WORLD_LINK: &str = "eth0";
/// What joins all of them.
const BRIDGE: &str = "wire0";
/// Most nodes of a fabric: each runs an agent, and takes its memory and its time to start.
pub const MAX_NODES: usize = 4;

/// Addresses of one of the nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeAddresses {
    /// On the wire.
    pub ipv4: Ipv4Addr,
    /// The same for IPv6.
    pub ipv6: Ipv6Addr,
    /// Its pods'.
    pub pods: PodRanges,
}

/// Pods' addresses of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PodRanges {
    /// A /24.
    pub ipv4: Ipv4Net,
    /// A /96, as the agent asks for.
    pub ipv6: Ipv6Net,
}

impl Default for PodRanges {
    fn default() -> Self {
        Self { ipv4: POD_RANGE, ipv6: POD_RANGE6 }
    }
}

impl NodeAddresses {
    /// Those of the node of this number, from 0: the first has those of a node that is alone, the world comes second.
    pub fn of(number: u8) -> Self {
        let host = if number == 0 { 1 } else { number + 2 };
        let [a, b, c, _] = NODE.octets();
        let mut wire6 = NODE6.segments();
        wire6[7] = host.into();
        let [pod_a, pod_b, pod_c, _] = POD_RANGE.network().octets();
        let mut pods6 = POD_RANGE6.network().segments();
        pods6[5] += u16::from(number);
        Self {
            ipv4: Ipv4Addr::new(a, b, c, host),
            ipv6: wire6.into(),
            pods: PodRanges {
                ipv4: Ipv4Net::new_assert(
                    Ipv4Addr::new(pod_a, pod_b, pod_c + number, 0),
                    POD_RANGE.prefix_len(),
                ),
                ipv6: Ipv6Net::new_assert(pods6.into(), POD_RANGE6.prefix_len()),
            },
        }
    }

    /// What the others must know to reach it and its pods: destination and next hop.
    fn routes(&self, ipv6: bool) -> impl Iterator<Item = (IpNet, IpAddr)> + use<> {
        let of4 = (self.pods.ipv4.into(), self.ipv4.into());
        let of6 = (self.pods.ipv6.into(), self.ipv6.into());
        [Some(of4), ipv6.then_some(of6)].into_iter().flatten()
    }
}

/// A node of a fabric.
#[derive(Debug)]
pub struct Member {
    // In the order in which they are dropped.
    /// Its agent.
    pub agent: Agent,
    /// Its control group: for whoever opens sockets for a pod of it, or for itself.
    pub seat: Seat,
    /// Itself.
    pub node: Node,
    /// Its addresses.
    pub addresses: NodeAddresses,
}

/// Nodes with agents, and a namespace that stands for all other machines. Each node's default route leads there, and from
/// there each node is reached by a link of its own: what one node has forwarded another may answer.
#[derive(Debug)]
pub struct Fabric {
    // In the order in which they are dropped.
    /// The nodes.
    pub members: Vec<Member>,
    /// All other machines.
    pub world: Namespace,
    wire: Option<Namespace>,
}

impl From<Ground> for Fabric {
    /// A node that is alone has a link to the world and no wire.
    fn from(ground: Ground) -> Self {
        let Ground { agent, seat, node, world } = ground;
        Self {
            members: vec![Member { agent, seat, node, addresses: NodeAddresses::of(0) }],
            world,
            wire: None,
        }
    }
}

impl Fabric {
    /// Builds nodes of these names, joins them and starts their agents, whose ranges of pods' addresses it sets. `place` is what the
    /// names of its namespaces begin with. There are addresses for [`MAX_NODES`].
    ///
    /// # Errors
    /// [`AgentError`]; nothing is left behind.
    pub fn build(lab: &Lab, place: &str, nodes: Vec<(String, AgentOptions)>) -> Result<Self, AgentError> {
        let ipv6 = nodes.iter().any(|(_, options)| options.ipv6);
        let wire = bridge(lab, &format!("{place}-wire"))?;
        let world = Namespace::create(lab, &format!("{place}-world"))?;
        settings(&world, ipv6)?;
        join(&world, WORLD_LINK, &wire, "world")?;
        address(&world, WORLD_LINK, NEIGHBOUR, NEIGHBOUR6, ipv6)?;
        let mut fabric = Self { members: Vec::new(), world, wire: Some(wire) };
        let mut built: Vec<(Node, NodeAddresses)> = Vec::new();
        for (number, (name, _)) in (0..).zip(&nodes) {
            let addresses = NodeAddresses::of(number);
            let node = fabric.node(lab, &format!("{place}-{name}"), number, addresses, ipv6)?;
            for (other, of_other) in &built {
                route(other, UPLINK, addresses.routes(ipv6))?;
                route(&node, UPLINK, of_other.routes(ipv6))?;
            }
            built.push((node, addresses));
        }
        for ((node, addresses), (name, options)) in built.into_iter().zip(nodes) {
            let options = AgentOptions { pods: addresses.pods, ..options };
            let agent = Agent::start(lab, &node, &format!("{place}-{name}"), options)?;
            let seat = agent.seat().clone();
            fabric.members.push(Member { agent, seat, node, addresses });
        }
        Ok(fabric)
    }

    /// A node on the wire, without an agent. The world knows the way to it and its pods.
    fn node(
        &self,
        lab: &Lab,
        name: &str,
        number: u8,
        addresses: NodeAddresses,
        ipv6: bool,
    ) -> Result<Node, LabError> {
        let node = Node::create(lab, name)?;
        settings(&node, ipv6)?;
        if ipv6 {
            node.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
        }
        if let Some(wire) = &self.wire {
            join(&node, UPLINK, wire, &format!("node{number}"))?;
        }
        address(&node, UPLINK, addresses.ipv4, addresses.ipv6, ipv6)?;
        let v4 = (Ipv4Net::default().into(), NEIGHBOUR.into());
        let v6 = (Ipv6Net::default().into(), NEIGHBOUR6.into());
        route(&node, UPLINK, [Some(v4), ipv6.then_some(v6)].into_iter().flatten())?;
        route(&self.world, WORLD_LINK, addresses.routes(ipv6))?;
        Ok(node)
    }

    /// Lets the world send to a node what is for this address.
    ///
    /// # Errors
    /// [`AgentError::Netlink`].
    pub fn route_to(&self, member: &Member, address: IpAddr) -> Result<(), AgentError> {
        let NodeAddresses { ipv4, ipv6, .. } = member.addresses;
        let node: IpAddr = if address.is_ipv4() { ipv4.into() } else { ipv6.into() };
        Ok(self.world.netlink().add_route(&Route::onlink(IpNet::from(address), node, WORLD_LINK))?)
    }

    /// Makes each node's way to one of the world's IPv4 addresses narrower: `mtu` bytes.
    ///
    /// # Errors
    /// [`AgentError::Netlink`].
    pub fn narrow_way(&self, address: IpAddr, mtu: u32) -> Result<(), AgentError> {
        let way = Route { mtu: Some(mtu), ..Route::onlink(IpNet::from(address), NEIGHBOUR.into(), UPLINK) };
        for Member { node, .. } in &self.members {
            node.netlink().add_route(&way)?;
            // A route's MTU is otherwise for what the node sends itself.
            node.set_sysctl("net/ipv4/ip_forward_use_pmtu", "1")?;
        }
        Ok(())
    }

    /// Gives the world another address.
    ///
    /// # Errors
    /// [`AgentError::Netlink`].
    pub fn add_world_address(&self, address: IpAddr) -> Result<(), AgentError> {
        Ok(self.world.netlink().add_address("lo", IpNet::from(address)).map_err(LabError::from)?)
    }
}

/// A namespace with a bridge that no rules look into.
fn bridge(lab: &Lab, name: &str) -> Result<Namespace, LabError> {
    let wire = Namespace::create(lab, name)?;
    wire.netlink().add_bridge(BRIDGE)?;
    for family in ["ip", "ip6", "arp"] {
        match wire.set_sysctl(&format!("net/bridge/bridge-nf-call-{family}tables"), "0") {
            // Without br_netfilter none does.
            Ok(()) | Err(NetlinkError::Missing { .. }) => {}
            Err(e) => return Err(e.into()),
        }
    }
    Ok(wire)
}

/// IPv4 packets are taken from where their source would be sent to, and from nowhere else: the strictest that machines are set
/// to. Before there is a link: what it begins with is of this.
fn settings(namespace: &Namespace, ipv6: bool) -> Result<(), NetlinkError> {
    for scope in ["all", "default"] {
        namespace.set_sysctl(&format!("net/ipv4/conf/{scope}/rp_filter"), "1")?;
    }
    if ipv6 { namespace.enable_ipv6() } else { Ok(()) }
}

fn join(end: &Namespace, interface: &str, wire: &Namespace, port: &str) -> Result<(), NetlinkError> {
    connect(LinkSide::new(end, interface), LinkSide::new(wire, port), MTU)?;
    wire.netlink().enslave(port, BRIDGE)
}

fn route(
    from: &Namespace,
    by: &str,
    routes: impl Iterator<Item = (IpNet, IpAddr)>,
) -> Result<(), NetlinkError> {
    for (to, via) in routes {
        from.netlink().add_route(&Route::onlink(to, via, by))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_share_no_address_and_the_first_has_those_of_a_node_that_is_alone() {
        let all: Vec<_> = (0..u8::try_from(MAX_NODES).unwrap()).map(NodeAddresses::of).collect();
        assert_eq!((all[0].ipv4, all[0].ipv6, all[0].pods), (NODE, NODE6, PodRanges::default()));
        for (number, one) in all.iter().enumerate() {
            assert!(one.ipv4 != NEIGHBOUR && one.ipv6 != NEIGHBOUR6, "{one:?}");
            for other in &all[number + 1..] {
                assert!(one.ipv4 != other.ipv4 && one.ipv6 != other.ipv6, "{one:?} {other:?}");
                assert!(!one.pods.ipv4.contains(&other.pods.ipv4), "{one:?} {other:?}");
                assert!(!one.pods.ipv6.contains(&other.pods.ipv6), "{one:?} {other:?}");
            }
        }
    }
}
