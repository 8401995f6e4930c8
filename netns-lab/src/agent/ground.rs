// SPDX-License-Identifier: Apache-2.0
//! A node that runs our agent, and the world beyond it.

use std::net::{Ipv4Addr, Ipv6Addr};

use ipnet::{Ipv4Net, Ipv6Net};
use netlink::Route;

use super::{Agent, AgentError, AgentOptions, POD_RANGE, POD_RANGE6};
use crate::lab::{Lab, LabError, LinkSide, Namespace, Node, Origin, Seat, connect};

/// MTU of the wire between the node and the world, bytes.
pub(super) const MTU: u32 = 1500;
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
}

/// Gives a namespace its addresses on a link.
pub(super) fn address(
    namespace: &Namespace,
    link: &str,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
    with_ipv6: bool,
) -> Result<(), LabError> {
    namespace.netlink().add_address(link, Ipv4Net::new_assert(ipv4, 24).into())?;
    if with_ipv6 {
        namespace.netlink().add_address(link, Ipv6Net::new_assert(ipv6, 64).into())?;
    }
    Ok(())
}

fn wire(node: &Node, world: &Namespace, ipv6: bool) -> Result<(), LabError> {
    connect(LinkSide::new(node, UPLINK), LinkSide::new(world, "eth0"), MTU)?;
    address(node, UPLINK, NODE, NODE6, ipv6)?;
    address(world, "eth0", NEIGHBOUR, NEIGHBOUR6, ipv6)?;
    node.netlink().add_route(&Route::onlink(Ipv4Net::default().into(), NEIGHBOUR.into(), UPLINK))?;
    world.netlink().add_route(&Route::onlink(POD_RANGE.into(), NODE.into(), "eth0"))?;
    if ipv6 {
        node.netlink().add_route(&Route::onlink(Ipv6Net::default().into(), NEIGHBOUR6.into(), UPLINK))?;
        world.netlink().add_route(&Route::onlink(POD_RANGE6.into(), NODE6.into(), "eth0"))?;
    }
    Ok(())
}
