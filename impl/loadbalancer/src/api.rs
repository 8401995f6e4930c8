// SPDX-License-Identifier: Apache-2.0
//! Services of the API: their users choose their ids.

use std::net::IpAddr;

use crate::balancer::LoadBalancer;
use crate::object::{ApiService, unusable};
use crate::owner::Owner;
use crate::refused::ApiError;
use crate::row::{BackendAddress, FRONTEND_ID_MAX, Frontend, Scope};
use crate::slots::MAX_SLOTS;

impl LoadBalancer {
    /// Makes a service, or changes its backends. Whether it is new.
    ///
    /// # Errors
    /// [`ApiError`], and then nothing changed.
    pub fn put_api(&mut self, service: ApiService) -> Result<bool, ApiError> {
        check(&service)?;
        // Before the first decision there are no rows that could be asked, and services of the API come before others.
        if self.decided {
            self.decide();
        }
        let frontend = frontend_of(&service);
        let id = service.id;
        let new = match self.api.get(&id).map(frontend_of) {
            Some(own) if own == frontend => false,
            Some(other) => {
                return Err(ApiError::IdTaken { id, frontend: other, owner: Owner::Api(id).to_string() });
            }
            None => true,
        };
        self.check_free(&service, &frontend, new)?;
        if new {
            self.take_id(id)?;
        }
        self.api.insert(id, service);
        self.dirty.insert(Owner::Api(id));
        Ok(new)
    }

    /// Deletes a service of the API, if there is one of this id.
    pub fn delete_api(&mut self, id: u16) -> Option<ApiService> {
        let service = self.api.remove(&id)?;
        self.freed.push((frontend_of(&service), id));
        self.dirty.insert(Owner::Api(id));
        Some(service)
    }

    /// The services of the API, by id.
    pub fn api(&self) -> Vec<ApiService> {
        self.api.values().cloned().collect()
    }

    fn check_free(&self, service: &ApiService, frontend: &Frontend, new: bool) -> Result<(), ApiError> {
        if !(if frontend.address.is_ipv4() { self.node.families.0 } else { self.node.families.1 }) {
            let reason = format!("{} is of a family that is off", frontend.address);
            return Err(ApiError::Field { field: "frontend-address.ip", reason });
        }
        let winner = match self.decided {
            true => {
                self.claims.get(frontend).and_then(|claims| claims.first()).map(|claim| claim.owner.clone())
            }
            false => {
                self.api.values().find(|other| frontend_of(other) == *frontend).map(|one| Owner::Api(one.id))
            }
        };
        if let Some(winner) = winner.filter(|_| new) {
            return Err(ApiError::Taken { frontend: *frontend, owner: self.name(frontend, &winner) });
        }
        let room = match self.decided {
            true => self.room(),
            false => self.node.config.frontends_max.saturating_sub(self.api.len()),
        };
        if new && room == 0 {
            let max = self.node.config.frontends_max;
            return Err(ApiError::Full(format!("all {max} frontends are in use: raise --bpf-lb-map-max")));
        }
        let addresses: std::collections::BTreeSet<BackendAddress> =
            service.backends.iter().map(|backend| backend_of(service, *backend)).collect();
        let (missing, room) = self.backends.room_for(addresses.iter());
        if missing > room {
            let max = self.node.config.backends_max;
            let reason = format!(
                "{missing} of its backends are new, and there is room for {room} of at most {max}: raise --bpf-lb-backend-map-max"
            );
            return Err(ApiError::Full(reason));
        }
        Ok(())
    }

    /// Takes an id that nobody has, or that an earlier run gave to somebody who did not claim it yet.
    fn take_id(&mut self, id: u16) -> Result<(), ApiError> {
        if self.ids.take(id.into()) {
            return Ok(());
        }
        // Nothing was told of it.
        if let Some(at) = self.freed.iter().position(|(_, freed)| *freed == id).filter(|_| !self.decided) {
            self.freed.remove(at);
            return Ok(());
        }
        if let Some(frontend) =
            self.restored.iter().find(|(_, known)| **known == id).map(|(frontend, _)| *frontend)
        {
            self.restored.remove(&frontend);
            return Ok(());
        }
        let (frontend, owner) = self
            .rows
            .rows()
            .iter()
            .find(|(_, row)| row.id == id)
            .map(|(frontend, row)| (*frontend, row.owner.clone()))
            .ok_or(ApiError::IdEnds(id))?;
        Err(ApiError::IdTaken { id, frontend, owner })
    }
}

fn frontend_of(service: &ApiService) -> Frontend {
    Frontend {
        address: service.address,
        port: service.port,
        protocol: service.protocol,
        scope: Scope::External,
    }
}

fn backend_of(service: &ApiService, (address, port): (IpAddr, addr::Port)) -> BackendAddress {
    BackendAddress { address, port, protocol: service.protocol }
}

/// What cannot be whatever else is there.
fn check(service: &ApiService) -> Result<(), ApiError> {
    let refuse = |field, reason: String| Err(ApiError::Field { field, reason });
    if !(1..=FRONTEND_ID_MAX).contains(&service.id) {
        return refuse("id", format!("must be from 1 to {FRONTEND_ID_MAX}"));
    }
    if !service.protocol.has_ports() {
        let reason = format!("{} is none of TCP, UDP, SCTP", service.protocol);
        return refuse("frontend-address.protocol", reason);
    }
    if let Some(reason) = unusable(service.address) {
        return refuse("frontend-address.ip", format!("{} {reason}", service.address));
    }
    for (address, _) in &service.backends {
        if let Some(reason) = unusable(*address) {
            return refuse("backend-addresses", format!("{address} {reason}"));
        }
        if address.is_ipv4() != service.address.is_ipv4() {
            let reason = format!("{address} is of another family than the frontend's {}", service.address);
            return refuse("backend-addresses", reason);
        }
    }
    if service.backends.len() > MAX_SLOTS {
        return refuse(
            "backend-addresses",
            format!("{}: at most {MAX_SLOTS} are allowed", service.backends.len()),
        );
    }
    Ok(())
}
