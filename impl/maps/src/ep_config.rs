// SPDX-License-Identifier: Apache-2.0
//! `cilium_ep_config`: what the endpoints' program is told, by the device behind which an endpoint is.
//!
//! An array, since a program asks it for each packet: the row of a device is its index modulo the array's size, and says
//! whose it is.

use libbpf_rs::MapHandle;

use crate::{BpfMap, LxcConfig, MapError};

/// The configurations of the endpoints' devices.
#[derive(Debug)]
pub struct EndpointConfigs {
    map: BpfMap<u32, LxcConfig>,
}

impl EndpointConfigs {
    /// How many rows the array has. Devices whose indices differ by a multiple of it cannot both have one.
    pub const ROWS: u32 = 1 << 16;

    /// From the map.
    pub const fn new(map: BpfMap<u32, LxcConfig>) -> Self {
        Self { map }
    }

    /// What libbpf knows it by.
    pub const fn handle(&self) -> &MapHandle {
        self.map.handle()
    }

    fn row(&self, ifindex: u32) -> Result<(u32, LxcConfig), MapError> {
        let key = ifindex % Self::ROWS;
        Ok((key, self.map.lookup(&key)?.unwrap_or_default()))
    }

    /// The configuration of a device.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn lookup(&self, ifindex: u32) -> Result<Option<LxcConfig>, MapError> {
        Ok(Some(self.row(ifindex)?.1).filter(|config| ifindex != 0 && config.ifindex == ifindex))
    }

    /// Writes the configuration of the device that it names.
    ///
    /// # Errors
    /// [`MapError::Taken`] if another device has the row, [`MapError::Refused`].
    pub fn insert(&self, config: &LxcConfig) -> Result<(), MapError> {
        let (key, found) = self.row(config.ifindex)?;
        if found.ifindex != 0 && found.ifindex != config.ifindex {
            return Err(MapError::Taken {
                map: self.map.name().to_owned(),
                ifindex: config.ifindex,
                by: found.ifindex,
            });
        }
        self.map.insert(&key, config)
    }

    /// Forgets a device. False if it was not there.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn remove(&self, ifindex: u32) -> Result<bool, MapError> {
        let (key, found) = self.row(ifindex)?;
        if ifindex == 0 || found.ifindex != ifindex {
            return Ok(false);
        }
        self.map.insert(&key, &LxcConfig::default())?;
        Ok(true)
    }

    /// All that there are.
    ///
    /// # Errors
    /// [`MapError::Refused`].
    pub fn rows(&self) -> Result<Vec<LxcConfig>, MapError> {
        let rows = self.map.rows()?;
        Ok(rows.into_iter().map(|(_, config)| config).filter(|config| config.ifindex != 0).collect())
    }
}
