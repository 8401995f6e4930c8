// SPDX-License-Identifier: Apache-2.0
//! `cilium_ep_to_policy`: the policy map of each endpoint, for programs of other endpoints.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use libbpf_rs::{MapCore, MapHandle};
use zerocopy::IntoBytes;

use crate::bpf_map::open_handle;
use crate::{BpfMap, MapError, PolicyEntry, PolicyKey, raw};

/// The policy maps by number of endpoint.
#[derive(Debug)]
pub struct PolicyMaps {
    handle: MapHandle,
}

impl PolicyMaps {
    /// The map of maps behind a handle.
    pub const fn new(handle: MapHandle) -> Self {
        Self { handle }
    }

    /// The map of maps that is pinned there.
    ///
    /// # Errors
    /// [`MapError::Open`].
    pub fn open(pin: &Path) -> Result<Self, MapError> {
        Ok(Self::new(open_handle(pin)?))
    }

    /// What libbpf knows it by.
    pub const fn handle(&self) -> &MapHandle {
        &self.handle
    }

    fn error(&self, action: &'static str, source: io::Error) -> MapError {
        MapError::new(action, crate::names::EP_TO_POLICY, self.handle.max_entries(), source)
    }

    /// Sets the policy map of an endpoint. The kernel answers when no program uses the one before any more.
    ///
    /// # Errors
    /// [`MapError::Refused`], also for a map that was created with other flags.
    pub fn set(&self, lxc_id: u16, map: &BpfMap<PolicyKey, PolicyEntry>) -> Result<(), MapError> {
        let descriptor = map.handle().as_fd().as_raw_fd();
        raw::update(self.handle.as_fd(), u32::from(lxc_id).as_bytes(), descriptor.as_bytes(), 0)
            .map_err(|e| self.error("write to", e))
    }

    /// Sets the policy map of an endpoint, unless it is that already: the kernel would be waited for all the same.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn publish(&self, lxc_id: u16, map: &BpfMap<PolicyKey, PolicyEntry>) -> Result<(), MapError> {
        let info = map.handle().info();
        let id = info.map_err(|source| MapError::Open { path: map.name().into(), source })?.info.id;
        if self.map_id(lxc_id)? == Some(id) { Ok(()) } else { self.set(lxc_id, map) }
    }

    /// Clears the policy map of an endpoint: it is then denied everything.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn clear(&self, lxc_id: u16) -> Result<(), MapError> {
        match raw::delete(self.handle.as_fd(), u32::from(lxc_id).as_bytes()) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(self.error("delete from", e)),
            _ => Ok(()),
        }
    }

    /// The kernel's number for the policy map of an endpoint.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn map_id(&self, lxc_id: u16) -> Result<Option<u32>, MapError> {
        let mut id = 0_u32;
        match raw::lookup(self.handle.as_fd(), u32::from(lxc_id).as_bytes(), id.as_mut_bytes()) {
            Ok(()) => Ok(Some(id)),
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(self.error("look up in", e)),
        }
    }
}
