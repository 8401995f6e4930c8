// SPDX-License-Identifier: Apache-2.0
//! GC: removes what no valid attachment of the network has.

use std::collections::BTreeSet;

use api::{Client, Endpoint};
use netlink::{Link, Netlink};

use crate::attachment::{Alias, Attachment};
use crate::conf::{NetworkConfig, ValidAttachment};
use crate::detach;
use crate::error::{Error, from_agent};
use crate::namespace;

/// Detaches every stale attachment. The runtime runs no ADD or DEL of the network meanwhile (specification 1.1.0,
/// "Lifecycle & Ordering").
///
/// # Errors
/// [`Error::Config`] without a list of what is valid, [`Error::Later`] without the agent, [`Error::Garbage`] when
/// some could not be removed: all the others were.
pub fn gc(agent: &Client, config: &NetworkConfig) -> Result<(), Error> {
    let valid = config.valid.as_deref().ok_or_else(|| Error::Config {
        field: "cni.dev/valid-attachments".into(),
        reason: "is missing: without it nothing is known to be valid".into(),
    })?;
    let endpoints = agent.endpoints(&[]).map_err(|e| from_agent("ask the agent for its endpoints", e))?;
    let links = Netlink::open(&namespace::node()?)?.links()?;
    let stale = stale(&config.name, valid, &links, &endpoints);
    let failures: Vec<String> = stale
        .iter()
        .filter_map(|attachment| {
            let error = detach::del(agent, attachment).err()?;
            Some(format!("{} of {}: {error}", attachment.interface, attachment.container))
        })
        .collect();
    if failures.is_empty() { Ok(()) } else { Err(Error::Garbage { of: stale.len(), failures }) }
}

/// What is not valid: interfaces on the node that say that they are of this network; and endpoints whose interface is
/// gone, which can be of no network any more. Endpoints that no CNI plugin made are left alone.
fn stale(
    network: &str,
    valid: &[ValidAttachment],
    links: &[Link],
    endpoints: &[Endpoint],
) -> BTreeSet<Attachment> {
    let is_valid = |attachment: &Attachment| {
        valid.iter().any(|v| v.container == attachment.container && v.interface == attachment.interface)
    };
    let by_link = links.iter().filter_map(|link| {
        let alias = Alias::parse(link.alias.as_deref()?)?;
        let ours = alias.network == network && alias.attachment.node_interface() == link.name;
        ours.then_some(alias.attachment)
    });
    let by_endpoint = endpoints.iter().filter_map(|endpoint| {
        let id = &endpoint.status.external_identifiers.container_id;
        let attachment = Attachment::of_container_id(id);
        let name = attachment.node_interface();
        let ours = !id.is_empty() && endpoint.status.networking.interface_name == name;
        (ours && links.iter().all(|link| link.name != name)).then_some(attachment)
    });
    by_link.chain(by_endpoint).filter(|attachment| !is_valid(attachment)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(network: &str, attachment: &Attachment) -> Link {
        let alias = Alias { network: network.into(), attachment: attachment.clone() };
        Link {
            index: 7,
            name: attachment.node_interface(),
            kind: Some("veth".into()),
            mac: None,
            mtu: 1500,
            up: true,
            arp: true,
            peer: None,
            controller: None,
            alias: Some(alias.text()),
        }
    }

    fn endpoint(attachment: &Attachment) -> Endpoint {
        let mut endpoint = Endpoint::default();
        endpoint.status.external_identifiers.container_id = attachment.container_id();
        endpoint.status.networking.interface_name = attachment.node_interface();
        endpoint
    }

    #[test]
    fn only_what_is_of_this_network_and_not_valid_is_stale() {
        let [valid, stale_one, other, gone, gone_but_valid] =
            ["valid", "stale", "other", "gone", "gone-but-valid"].map(|id| Attachment::new(id, "eth0"));
        let second = Attachment::new("valid", "net1");
        let links = [
            link("n", &valid),
            link("n", &second),
            link("n", &stale_one),
            link("m", &other),
            Link { alias: None, name: "eth0".into(), ..link("n", &valid) },
            // Somebody wrote an alias of ours on another interface.
            Link { name: "eth1".into(), ..link("n", &Attachment::new("forged", "eth0")) },
        ];
        let mut foreign = endpoint(&gone);
        foreign.status.external_identifiers.container_id.clear();
        let mut made_by_hand = endpoint(&Attachment::new("by-hand", "eth0"));
        made_by_hand.status.networking.interface_name = "veth7".into();
        let endpoints = [
            endpoint(&valid),
            endpoint(&stale_one),
            endpoint(&other),
            endpoint(&gone),
            endpoint(&gone_but_valid),
            foreign,
            made_by_hand,
        ];
        let list = [&valid, &gone_but_valid]
            .map(|a| ValidAttachment { container: a.container.clone(), interface: a.interface.clone() });
        assert_eq!(stale("n", &list, &links, &endpoints), BTreeSet::from([gone, stale_one, second]));
    }

    #[test]
    fn an_empty_list_keeps_nothing_of_the_network() {
        let one = Attachment::new("one", "eth0");
        assert_eq!(stale("n", &[], &[link("n", &one)], &[]), BTreeSet::from([one]));
    }
}
