// SPDX-License-Identifier: Apache-2.0
//! `/ipam`.

use std::net::IpAddr;

use api::{AddressPair, IpamResponse};
use controlplane::{Answer, Event, Family, IpamRequest};
use hyper::StatusCode;

use super::route::parameter;
use super::{Api, Refused, Reply};
use crate::realize::Target;

/// Who has an address of which the request does not say it.
const NOBODY: &str = "api";
/// Longest name of an owner, bytes: it is shown, and kept while the address is.
const OWNER_LIMIT: usize = 1024;

fn owner(query: &str) -> Result<String, Refused> {
    let owner = parameter(query, "owner")?.unwrap_or_else(|| NOBODY.into());
    if owner.len() > OWNER_LIMIT {
        return Err(Refused::field("owner", format!("is longer than {OWNER_LIMIT} bytes")));
    }
    Ok(owner)
}

fn address(text: &str) -> Result<IpAddr, Refused> {
    text.parse().map_err(|_| Refused::field("ip", format!("{text:?} is no IP address")))
}

impl<T: Target> Api<T> {
    /// `POST /ipam`: 201 with an address of `?family=`, or of each that is on.
    pub(super) async fn allocate(&self, query: &str) -> Result<Reply, Refused> {
        let family = match parameter(query, "family")?.as_deref() {
            None => None,
            Some("ipv4") => Some(Family::Ipv4),
            Some("ipv6") => Some(Family::Ipv6),
            Some(other) => return Err(Refused::field("family", format!("{other:?} is not ipv4 or ipv6"))),
        };
        // Unless the caller says otherwise: a plugin may die before it makes the endpoint.
        let expires = match parameter(query, "expiration")?.as_deref() {
            None | Some("true") => true,
            Some("false") => false,
            Some(other) => {
                return Err(Refused::field("expiration", format!("{other:?} is not true or false")));
            }
        };
        let request = IpamRequest::Allocate { family, owner: owner(query)?, expires };
        let answer = self.request(move |ticket| Event::Ipam { ticket, request }).await?;
        let Answer::Addresses { ipv4, ipv6 } = answer else {
            return Err(Refused::new(
                StatusCode::INTERNAL_SERVER_ERROR,
                "the control plane answered otherwise",
            ));
        };
        let given = [("ipv4", ipv4.is_some()), ("ipv6", ipv6.is_some())];
        for (family, _) in given.into_iter().filter(|(_, given)| *given) {
            self.counters.ipam("allocate", family);
        }
        let text = |address: Option<String>| address.unwrap_or_default();
        let address = AddressPair {
            ipv4: text(ipv4.map(|address| address.to_string())),
            ipv6: text(ipv6.map(|address| address.to_string())),
        };
        Reply::created(StatusCode::CREATED, &IpamResponse { address, host_addressing: self.addressing() })
    }

    /// `POST /ipam/{ip}`.
    pub(super) async fn allocate_ip(&self, ip: &str, query: &str) -> Result<Reply, Refused> {
        let ip = address(ip)?;
        let request = IpamRequest::AllocateIp { ip, owner: owner(query)? };
        self.request(move |ticket| Event::Ipam { ticket, request }).await?;
        self.counters.ipam("allocate", family(ip));
        Ok(Reply::done())
    }

    /// `DELETE /ipam/{ip}`.
    pub(super) async fn release_ip(&self, ip: &str) -> Result<Reply, Refused> {
        let ip = address(ip)?;
        let request = IpamRequest::Release { ip };
        self.request(move |ticket| Event::Ipam { ticket, request }).await?;
        self.counters.ipam("release", family(ip));
        Ok(Reply::done())
    }
}

fn family(ip: IpAddr) -> &'static str {
    if ip.is_ipv4() { "ipv4" } else { "ipv6" }
}
