// SPDX-License-Identifier: Apache-2.0
//! The parts of detaching a container. What is not there any more is no error.

use api::Client;
use netlink::{Batch, BatchSocket, NetlinkError};

use crate::attachment::Attachment;
use crate::error::{Error, from_agent};

/// Deletes the node's end of a veth pair, and with it the pod's.
///
/// # Errors
/// [`Error::Network`].
pub fn interface(name: &str) -> Result<(), Error> {
    let mut batch = Batch::new();
    batch.delete_link(name);
    match BatchSocket::here()?.send(&batch) {
        Ok(()) | Err(NetlinkError::Missing { .. }) => Ok(()),
        Err(e) => Err(e.into()),
    }
}

/// Deletes an endpoint; the agent gives its addresses back.
///
/// # Errors
/// [`Error::Later`], [`Error::Agent`].
pub fn endpoint(agent: &Client, id: &str) -> Result<(), Error> {
    match agent.delete_endpoint(id) {
        Ok(_) => Ok(()),
        Err(e) if e.status() == Some(404) => Ok(()),
        Err(e) => Err(from_agent("ask the agent to delete the endpoint", e)),
    }
}

/// DEL. The interface goes first: once the endpoint is gone, nothing would police what the pod sends. That works also
/// while the agent is down, and with a namespace that is gone, for the name follows from the container's.
///
/// # Errors
/// [`Error::Later`] while the agent does not answer: the pod has lost its network, but its endpoint and addresses are
/// still there. Runtimes call DEL again until it succeeds, so nothing has to be remembered here.
pub fn del(agent: &Client, attachment: &Attachment) -> Result<(), Error> {
    interface(&attachment.node_interface())?;
    endpoint(agent, &attachment.endpoint())
}
