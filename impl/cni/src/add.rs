// SPDX-License-Identifier: Apache-2.0
//! ADD: addresses from the agent, a veth pair, the pod's end set up, the endpoint; or nothing of all that.

use std::net::IpAddr;

use api::{
    AddressPair, Client, DatapathMode, EndpointChangeRequest, EndpointState, IpamResponse,
    NodeAddressingElement,
};
use ipnet::IpNet;

use crate::attachment::{Alias, Attachment};
use crate::conf::NetworkConfig;
use crate::error::{Error, from_agent};
use crate::invocation::Container;
use crate::labels;
use crate::link::{self, Pair};
use crate::namespace;
use crate::result::{Added, PodAddress};
use crate::undo::Undo;

/// The smallest MTU on which IPv6 works (RFC 8200, section 5).
const MIN_IPV6_MTU: u32 = 1280;

/// Attaches a container. On an error nothing is left, except for what the second value names.
///
/// # Errors
/// Any [`Error`] but those of other commands.
pub fn add(
    agent: &Client,
    config: &NetworkConfig,
    container: &Container,
) -> Result<Added, (Error, Vec<String>)> {
    let mut undo = Undo::new(agent);
    attach(agent, config, container, &mut undo).map_err(|error| (error, undo.revert()))
}

/// What the agent says of MTUs.
struct Mtus {
    device: u32,
    route: u32,
}

fn attach(
    agent: &Client,
    config: &NetworkConfig,
    container: &Container,
    undo: &mut Undo<'_>,
) -> Result<Added, Error> {
    let attachment = Attachment::new(&container.id, &container.interface);
    let (node, pod) = namespace::both(container)?;
    let mut pair = Pair::open(&attachment)?;
    pair.must_be_absent()?;
    let mtus = mtus(agent, config)?;

    let alias = Alias { network: config.name.clone(), attachment: attachment.clone() };
    let owner = alias.text();
    let given = agent.allocate(None, &owner).map_err(|e| from_agent("ask the agent for addresses", e))?;
    undo.addresses(&given.address);
    let addresses = addresses(&given)?;
    if mtus.device < MIN_IPV6_MTU && addresses.iter().any(|address| address.gateway.is_ipv6()) {
        return Err(Error::Config {
            field: "mtu".into(),
            reason: format!("{} is too small for IPv6, which needs {MIN_IPV6_MTU}", mtus.device),
        });
    }

    pair.create(&node, &pod, mtus.device)?;
    undo.interface(attachment.node_interface());
    let ends = pair.configure(&node, &pod, &owner, &addresses, mtus.route)?;

    undo.endpoint(attachment.endpoint());
    let request = request(config, container, &attachment, &given.address, &ends);
    create_endpoint(agent, &attachment, &request, undo)?;
    Ok(Added {
        node: ends.node,
        pod: ends.pod,
        sandbox: namespace::text(container),
        addresses,
        mtu: mtus.device,
        route_mtu: mtus.route,
        dns: config.dns.clone(),
    })
}

fn mtus(agent: &Client, config: &NetworkConfig) -> Result<Mtus, Error> {
    let agent = agent.config().map_err(|e| from_agent("ask the agent for its configuration", e))?.status;
    if agent.datapath_mode == Some(DatapathMode::Ipvlan) {
        let reason = "the agent wants ipvlan, this plugin makes veth pairs (--datapath-mode=veth)".into();
        return Err(Error::Answer { field: "datapathMode", reason });
    }
    let missing = || Error::Answer { field: "deviceMTU", reason: "is missing".into() };
    let device = config.mtu.or(agent.device_mtu).ok_or_else(missing)?;
    Ok(Mtus { device, route: agent.route_mtu.unwrap_or(device).min(device) })
}

fn addresses(given: &IpamResponse) -> Result<Vec<PodAddress>, Error> {
    let host = &given.host_addressing;
    let both = [(&given.address.ipv4, &host.ipv4), (&given.address.ipv6, &host.ipv6)];
    let addresses = both
        .into_iter()
        .filter(|(address, _)| !address.is_empty())
        .map(|(address, router)| pod_address(address, router.as_ref()))
        .collect::<Result<Vec<_>, Error>>()?;
    if addresses.is_empty() {
        return Err(Error::Answer { field: "address", reason: "is empty: no family is enabled".into() });
    }
    Ok(addresses)
}

fn pod_address(address: &str, router: Option<&NodeAddressingElement>) -> Result<PodAddress, Error> {
    let parse = |field, text: &str| {
        text.parse::<IpAddr>()
            .map_err(|e| Error::Answer { field, reason: format!("{text:?} is not an address: {e}") })
    };
    let address = parse("address", address)?;
    let gateway = parse("host-addressing", router.map_or("", |router| &router.ip))?;
    if address.is_ipv4() != gateway.is_ipv4() {
        let reason = format!("{gateway} is no router for {address}");
        return Err(Error::Answer { field: "host-addressing", reason });
    }
    Ok(PodAddress { address: IpNet::from(address), gateway })
}

fn request(
    config: &NetworkConfig,
    container: &Container,
    attachment: &Attachment,
    addresses: &AddressPair,
    ends: &link::Ends,
) -> EndpointChangeRequest {
    let some = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let labels = labels::of(&config.labels, &container.kubernetes);
    EndpointChangeRequest {
        state: EndpointState::WaitingForIdentity,
        container_id: Some(attachment.container_id()),
        labels: (!labels.is_empty()).then_some(labels),
        interface_name: Some(ends.node.name.clone()),
        interface_index: Some(ends.node_index),
        mac: Some(ends.pod.mac.to_string()),
        host_mac: Some(ends.node.mac.to_string()),
        addressing: Some(addresses.clone()),
        k8s_pod_name: some(&container.kubernetes.pod),
        k8s_namespace: some(&container.kubernetes.namespace),
        sync_build_endpoint: Some(true),
        ..EndpointChangeRequest::default()
    }
}

fn create_endpoint(
    agent: &Client,
    attachment: &Attachment,
    request: &EndpointChangeRequest,
    undo: &mut Undo<'_>,
) -> Result<(), Error> {
    match agent.create_endpoint(&attachment.endpoint(), request) {
        Ok(_) => Ok(()),
        Err(e) if e.status() == Some(409) => {
            // It is another one's: of an ADD that was not followed by DEL, or with the same address.
            undo.endpoint_is_of_another();
            Err(Error::Attached {
                container: attachment.container.clone(),
                interface: attachment.interface.clone(),
                what: e.to_string(),
            })
        }
        Err(e) => Err(from_agent("ask the agent to make the endpoint", e)),
    }
}
