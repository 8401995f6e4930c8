// SPDX-License-Identifier: Apache-2.0
//! What an ADD that fails takes back.

use api::{AddressPair, Client};

use crate::detach;

/// What has been done so far.
pub struct Undo<'a> {
    agent: &'a Client,
    addresses: Vec<String>,
    interface: Option<String>,
    endpoint: Option<String>,
}

impl<'a> Undo<'a> {
    /// Nothing yet.
    pub fn new(agent: &'a Client) -> Self {
        Self { agent, addresses: Vec::new(), interface: None, endpoint: None }
    }

    /// The agent has given these.
    pub fn addresses(&mut self, given: &AddressPair) {
        self.addresses = [&given.ipv4, &given.ipv6].into_iter().filter(|a| !a.is_empty()).cloned().collect();
    }

    /// The pair has been made; this is the node's end.
    pub fn interface(&mut self, name: String) {
        self.interface = Some(name);
    }

    /// The agent is asked to make this endpoint. From now on it may be there, whatever comes back.
    pub fn endpoint(&mut self, id: String) {
        self.endpoint = Some(id);
    }

    /// The endpoint was there before.
    pub fn endpoint_is_of_another(&mut self) {
        self.endpoint = None;
    }

    /// Takes everything back, the last first; returns what could not be.
    pub fn revert(&mut self) -> Vec<String> {
        let mut left = Vec::new();
        if let Some(name) = self.interface.take()
            && let Err(e) = detach::interface(&name)
        {
            left.push(e.to_string());
        }
        if let Some(id) = self.endpoint.take()
            && let Err(e) = detach::endpoint(self.agent, &id)
        {
            left.push(e.to_string());
        }
        for address in self.addresses.drain(..) {
            match self.agent.release_ip(&address) {
                Ok(()) => {}
                // It went with the endpoint.
                Err(e) if e.status() == Some(404) => {}
                Err(e) => left.push(e.to_string()),
            }
        }
        left
    }
}
