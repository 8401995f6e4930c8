// SPDX-License-Identifier: Apache-2.0
//! By what an endpoint is asked for.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// This names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EndpointRefError {
    /// The number is none that an endpoint can have.
    #[error("endpoint id {0:?}: the number must be from 1 to 65535")]
    Number(String),
    /// No address.
    #[error("endpoint id {0:?}: what follows the prefix is no address of that family")]
    Address(String),
    /// Nothing follows the prefix.
    #[error("endpoint id {0:?}: nothing follows the prefix")]
    Empty(String),
    /// A pod's name has no namespace.
    #[error("endpoint id {0:?}: write pod-name:NAMESPACE:NAME")]
    Pod(String),
    /// No such prefix.
    #[error(
        "endpoint id {0:?}: unknown prefix; one of cilium-local, container-id, container-name, pod-name, ipv4, ipv6"
    )]
    Prefix(String),
    /// Cilium 1.4 knows the prefix, this does not.
    #[error("endpoint id {0:?}: the prefix {1} is not supported")]
    Unsupported(String, &'static str),
}

/// By what an endpoint is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum EndpointRef {
    /// `cilium-local:` and a number, or the number alone.
    Local(u16),
    /// `container-id:`.
    ContainerId(String),
    /// `container-name:`.
    ContainerName(String),
    /// `pod-name:` namespace `:` name.
    PodName {
        /// The namespace.
        namespace: String,
        /// The name.
        name: String,
    },
    /// `ipv4:`.
    Ipv4(Ipv4Addr),
    /// `ipv6:`.
    Ipv6(Ipv6Addr),
}

impl FromStr for EndpointRef {
    type Err = EndpointRefError;

    fn from_str(text: &str) -> Result<Self, EndpointRefError> {
        use EndpointRefError as E;
        let whole = || text.to_owned();
        let (prefix, rest) = text.split_once(':').unwrap_or(("cilium-local", text));
        if rest.is_empty() && text.contains(':') {
            return Err(E::Empty(whole()));
        }
        match prefix {
            "cilium-local" => match rest.parse() {
                // The parser of numbers takes a sign.
                Ok(id) if id > 0 && !rest.starts_with('+') => Ok(Self::Local(id)),
                _ => Err(E::Number(whole())),
            },
            "container-id" => Ok(Self::ContainerId(rest.to_owned())),
            "container-name" => Ok(Self::ContainerName(rest.to_owned())),
            "pod-name" => match rest.split_once(':') {
                Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => {
                    Ok(Self::PodName { namespace: namespace.to_owned(), name: name.to_owned() })
                }
                _ => Err(E::Pod(whole())),
            },
            "ipv4" => rest.parse().map(Self::Ipv4).map_err(|_| E::Address(whole())),
            "ipv6" => rest.parse().map(Self::Ipv6).map_err(|_| E::Address(whole())),
            "cilium-global" => Err(E::Unsupported(whole(), "cilium-global")),
            "docker-endpoint" => Err(E::Unsupported(whole(), "docker-endpoint")),
            _ => Err(E::Prefix(whole())),
        }
    }
}

impl fmt::Display for EndpointRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Local(id) => write!(f, "cilium-local:{id}"),
            Self::ContainerId(id) => write!(f, "container-id:{id}"),
            Self::ContainerName(name) => write!(f, "container-name:{name}"),
            Self::PodName { namespace, name } => write!(f, "pod-name:{namespace}:{name}"),
            Self::Ipv4(address) => write!(f, "ipv4:{address}"),
            Self::Ipv6(address) => write!(f, "ipv6:{address}"),
        }
    }
}
