// SPDX-License-Identifier: Apache-2.0
//! The namespaces of node and pod.

use std::io;

use netlink::{NetNs, NetNsError, NetlinkError};

use crate::error::Error;
use crate::invocation::Container;

/// The plugin's own namespace, which is the node's, and that of `CNI_NETNS`.
///
/// # Errors
/// [`Error::UnknownContainer`], [`Error::Environment`], [`Error::OwnNamespace`].
pub fn both(container: &Container) -> Result<(NetNs, NetNs), Error> {
    let node = node()?;
    let environment = |reason: String| Error::Environment { name: "CNI_NETNS", reason };
    let path = container.netns.as_deref().ok_or_else(|| environment("is not set".into()))?;
    let pod = NetNs::open(path).map_err(not_opened)?;
    if !pod.is_namespace().map_err(system)? {
        return Err(environment(format!("{} is not a network namespace", path.display())));
    }
    if pod.is_same(&node).map_err(system)? {
        return Err(Error::OwnNamespace(path.display().to_string()));
    }
    Ok((node, pod))
}

/// The plugin's own namespace.
///
/// # Errors
/// [`Error::Network`] without `/proc`.
pub fn node() -> Result<NetNs, Error> {
    NetNs::current().map_err(system)
}

/// `CNI_NETNS` as the runtime wrote it.
pub fn text(container: &Container) -> String {
    container.netns.as_deref().map(|path| path.display().to_string()).unwrap_or_default()
}

fn system(error: NetNsError) -> Error {
    Error::Network(NetlinkError::NetNs(error))
}

fn not_opened(error: NetNsError) -> Error {
    match error {
        NetNsError::System { ref source, .. } if source.kind() == io::ErrorKind::NotFound => {
            Error::UnknownContainer(error)
        }
        error => Error::Environment { name: "CNI_NETNS", reason: error.to_string() },
    }
}
