// SPDX-License-Identifier: Apache-2.0
//! A node that runs our agent, and the world beyond it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use netlink::Route;

use super::{Agent, AgentError, AgentOptions, POD_RANGE, POD_RANGE6};
use crate::lab::{Lab, LinkSide, Namespace, Node, Origin, Seat, connect};

/// MTU of the wire between the node and the world, bytes.
const MTU: u32 = 1500;
/// The node's interface to the world.
pub const UPLINK: &str = "uplink0";
/// The node's addresses on it.
pub const NODE: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// The same for IPv6.
pub const NODE6: Ipv6Addr = Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 1);
/// A machine in the node's own network.
pub const NEIGHBOUR: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 2);
/// The same for IPv6.
pub const NEIGHBOUR6: Ipv6Addr = Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 2);

/// A node with an agent, and a namespace that stands for all other machines: the node's default route leads there.
#[derive(Debug)]
pub struct Ground {
    // In the order in which they are dropped.
    /// The agent.
    pub agent: Agent,
    /// The control group of the node: for whoever opens sockets for a pod or for the node.
    pub seat: Seat,
    /// The node.
    pub node: Node,
    /// All other machines.
    pub world: Namespace,
}

impl Ground {
    /// Builds the node and starts its agent. `place` is what the names of its namespaces begin with.
    ///
    /// # Errors
    /// [`AgentError`]; nothing is left behind.
    pub fn build(lab: &Lab, place: &str, options: AgentOptions) -> Result<Self, AgentError> {
        let node = Node::create(lab, &format!("{place}-node"))?;
        let world = Namespace::create(lab, &format!("{place}-world"))?;
        if options.ipv6 {
            node.enable_ipv6()?;
            node.set_sysctl("net/ipv6/conf/all/forwarding", "1")?;
            world.enable_ipv6()?;
        }
        wire(&node, &world, options.ipv6)?;
        let agent = Agent::start(lab, &node, place, options)?;
        let seat = agent.seat().clone();
        Ok(Self { agent, seat, node, world })
    }

    /// Where a pod, or the node, opens its sockets.
    pub fn origin<'a>(&'a self, namespace: &'a Namespace) -> Origin<'a> {
        Origin { netns: namespace.netns(), seat: Some(&self.seat) }
    }

    /// Lets the world send to the node what is for this address.
    ///
    /// # Errors
    /// [`AgentError::Netlink`].
    pub fn route_to_node(&self, address: IpAddr) -> Result<(), AgentError> {
        let node: IpAddr = if address.is_ipv4() { NODE.into() } else { NODE6.into() };
        Ok(self.world.netlink().add_route(&Route::onlink(IpNet::from(address), node, "eth0"))?)
    }

    /// Makes the node's way to one of the world's IPv4 addresses narrower: `mtu` bytes.
    ///
    /// # Errors
    /// [`AgentError::Netlink`].
    pub fn narrow_way(&self, address: IpAddr, mtu: u32) -> Result<(), AgentError> {
        let way = Route { mtu: Some(mtu), ..Route::onlink(IpNet::from(address), NEIGHBOUR.into(), UPLINK) };
        self.node.netlink().add_route(&way)?;
        // A route's MTU is otherwise for what the node sends itself.
        Ok(self.node.set_sysctl("net/ipv4/ip_forward_use_pmtu", "1")?)
    }

    /// Gives the world another address.
    ///
    /// # Errors
    /// [`AgentError::Netlink`].
    pub fn add_world_address(&self, address: IpAddr) -> Result<(), AgentError> {
        Ok(self
            .world
            .netlink()
            .add_address("lo", IpNet::from(address))
            .map_err(crate::lab::LabError::from)?)
    }
}

fn wire(node: &Node, world: &Namespace, ipv6: bool) -> Result<(), crate::lab::LabError> {
    connect(LinkSide::new(node, UPLINK), LinkSide::new(world, "eth0"), MTU)?;
    let v4 = |address| IpNet::V4(Ipv4Net::new_assert(address, 24));
    node.netlink().add_address(UPLINK, v4(NODE))?;
    world.netlink().add_address("eth0", v4(NEIGHBOUR))?;
    node.netlink().add_route(&Route::onlink(Ipv4Net::default().into(), NEIGHBOUR.into(), UPLINK))?;
    world.netlink().add_route(&Route::onlink(POD_RANGE.into(), NODE.into(), "eth0"))?;
    if ipv6 {
        let v6 = |address| IpNet::V6(Ipv6Net::new_assert(address, 64));
        node.netlink().add_address(UPLINK, v6(NODE6))?;
        world.netlink().add_address("eth0", v6(NEIGHBOUR6))?;
        node.netlink().add_route(&Route::onlink(Ipv6Net::default().into(), NEIGHBOUR6.into(), UPLINK))?;
        world.netlink().add_route(&Route::onlink(POD_RANGE6.into(), NODE6.into(), "eth0"))?;
    }
    Ok(())
}
