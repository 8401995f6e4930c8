// SPDX-License-Identifier: Apache-2.0
//! CHECK: whether everything is as ADD left it.

use api::{Client, Endpoint, EndpointState};
use netlink::{Link, MacAddr, Netlink, NetlinkError};
use serde_json::Value;

use crate::attachment::Attachment;
use crate::conf::NetworkConfig;
use crate::error::{Error, from_agent};
use crate::invocation::Container;
use crate::namespace;
use crate::result::Previous;

fn differs(what: impl Into<String>, found: impl Into<String>) -> Error {
    Error::Check { what: what.into(), found: found.into() }
}

/// Compares the interfaces, addresses and routes of the result of ADD with the kernel's, and the endpoint with the
/// agent's. What a later plugin has added does not matter.
///
/// # Errors
/// [`Error::Check`] names what differs.
pub fn check(agent: &Client, config: &NetworkConfig, container: &Container) -> Result<(), Error> {
    let previous = previous(config.previous.as_ref())?;
    let attachment = Attachment::new(&container.id, &container.interface);
    let (node, pod) = namespace::both(container)?;
    let (near, far) = (Netlink::open(&node)?, Netlink::open(&pod)?);
    let pod_end = link(&far, &attachment.interface, "pod")?;
    let node_end = link(&near, &attachment.node_interface(), "node")?;
    if node_end.peer != Some(pod_end.index) {
        let found = format!("is not the other end of {} in the pod", attachment.interface);
        return Err(differs(format!("interface {} of the node", node_end.name), found));
    }
    let mut expected = previous.interfaces.iter();
    let own = expected.find(|interface| interface.name == pod_end.name && !interface.sandbox.is_empty());
    let own = own.ok_or_else(|| Error::Config {
        field: "prevResult.interfaces".into(),
        reason: format!("{} of the pod is not there", pod_end.name),
    })?;
    mac(&pod_end, &own.mac, "pod")?;
    mac(&node_end, &attachment.node_mac().to_string(), "node")?;
    addresses(&far, &pod_end, &previous)?;
    routes(&far, &pod_end, &previous)?;
    let own = previous.ips.iter().filter(|ip| is_of(&previous, ip.interface, &pod_end));
    let own: Vec<String> = own.map(|ip| ip.address.addr().to_string()).collect();
    endpoint(agent, &attachment, &node_end, &own)
}

fn previous(value: Option<&Value>) -> Result<Previous, Error> {
    let value = value.ok_or_else(|| Error::Config {
        field: "prevResult".into(),
        reason: "is missing: CHECK compares with the result of ADD".into(),
    })?;
    serde_path_to_error::deserialize(value).map_err(|e| Error::Config {
        field: format!("prevResult.{}", e.path()),
        reason: e.inner().to_string(),
    })
}

fn link(netlink: &Netlink, name: &str, whose: &str) -> Result<Link, Error> {
    let what = format!("interface {name} of the {whose}");
    match netlink.link(name) {
        Err(NetlinkError::Missing { .. }) => Err(differs(what, "is not there")),
        Ok(link) if link.kind.as_deref() != Some("veth") => Err(differs(what, "is not a veth device")),
        Ok(link) if !link.up => Err(differs(what, "is down")),
        Ok(link) => Ok(link),
        Err(e) => Err(e.into()),
    }
}

fn mac(link: &Link, expected: &str, whose: &str) -> Result<(), Error> {
    let found = link.mac.map(|mac: MacAddr| mac.to_string()).unwrap_or_default();
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    let what = format!("interface {} of the {whose}", link.name);
    Err(differs(what, format!("has Ethernet address {found}, it should be {expected:?}")))
}

/// Whether an entry of the result is about the pod's end. One that names no interface is.
fn is_of(previous: &Previous, index: Option<usize>, pod_end: &Link) -> bool {
    index.is_none_or(|index| {
        previous.interfaces.get(index).is_some_and(|i| i.name == pod_end.name && !i.sandbox.is_empty())
    })
}

fn addresses(pod: &Netlink, pod_end: &Link, previous: &Previous) -> Result<(), Error> {
    let found = pod.addresses(&pod_end.name)?;
    for ip in previous.ips.iter().filter(|ip| is_of(previous, ip.interface, pod_end)) {
        if !found.contains(&ip.address) {
            return Err(differs(format!("address {} of {}", ip.address, pod_end.name), "is not there"));
        }
    }
    Ok(())
}

fn routes(pod: &Netlink, pod_end: &Link, previous: &Previous) -> Result<(), Error> {
    let found = pod.routes()?;
    for route in &previous.routes {
        let there = found.iter().any(|other| {
            other.destination == route.dst
                && other.device.as_deref() == Some(pod_end.name.as_str())
                && (route.gw.is_none() || other.via == route.gw)
        });
        if !there {
            let via = route.gw.map(|gw| format!(" via {gw}")).unwrap_or_default();
            let what = format!("route to {}{via} by {}", route.dst, pod_end.name);
            return Err(differs(what, "is not there"));
        }
    }
    Ok(())
}

fn endpoint(
    agent: &Client,
    attachment: &Attachment,
    node_end: &Link,
    addresses: &[String],
) -> Result<(), Error> {
    let id = attachment.endpoint();
    let Endpoint { status, .. } = match agent.endpoint(&id) {
        Ok(endpoint) => endpoint,
        Err(e) if e.status() == Some(404) => {
            return Err(differs(format!("endpoint {id}"), "the agent does not know it"));
        }
        Err(e) => return Err(from_agent("ask the agent for the endpoint", e)),
    };
    let what = format!("endpoint {id}");
    match status.state {
        // What was in place stays so until the new policy is, or until an agent that restarted has taken it over.
        EndpointState::Ready
        | EndpointState::WaitingToRegenerate
        | EndpointState::Regenerating
        | EndpointState::Restoring => {}
        state => return Err(differs(what, format!("is {state}, not ready"))),
    }
    if status.networking.interface_index != node_end.index {
        let index = status.networking.interface_index;
        return Err(differs(what, format!("has interface {index}, it should be {}", node_end.index)));
    }
    let known = |address: &str| {
        status.networking.addressing.iter().any(|pair| pair.ipv4 == address || pair.ipv6 == address)
    };
    for address in addresses {
        if !known(address) {
            return Err(differs(what, format!("does not have address {address}")));
        }
    }
    Ok(())
}
