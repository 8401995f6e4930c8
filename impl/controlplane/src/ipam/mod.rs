// SPDX-License-Identifier: Apache-2.0
//! Addresses of pods on this node.

mod pool;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::{Config, ConfigError};
use crate::event::{Family, Timestamp};
use crate::reply::RefusalKind;
use crate::view::IpamView;
use pool::Pool;

/// Why an address cannot be had or given back.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IpamError {
    /// The family is off.
    #[error("{0} is not enabled")]
    Disabled(Family),
    /// Every address is given.
    #[error("no address of {0} is free")]
    Exhausted(IpNet),
    /// Outside of the range of pods.
    #[error("{ip} is not an address for pods of this node: they are in {range}")]
    OutOfRange {
        /// The address.
        ip: IpAddr,
        /// The range, as far as addresses are given from it.
        range: IpNet,
    },
    /// Never given to pods.
    #[error(
        "{0} is reserved: it is the range's first or last address, the router's, the node's, or in a local subnet"
    )]
    Reserved(IpAddr),
    /// Somebody has it.
    #[error("{ip} is given to {owner} already")]
    Taken {
        /// The address.
        ip: IpAddr,
        /// Who has it.
        owner: String,
    },
    /// Nobody has it.
    #[error("{0} is not given to anybody")]
    NotGiven(IpAddr),
    /// An endpoint has it.
    #[error("{ip} belongs to endpoint {id}: delete the endpoint")]
    InUse {
        /// The address.
        ip: IpAddr,
        /// The endpoint.
        id: u16,
    },
}

impl IpamError {
    /// How it is to be understood.
    pub fn kind(&self) -> RefusalKind {
        match self {
            Self::Disabled(_) | Self::OutOfRange { .. } => RefusalKind::Invalid,
            Self::Exhausted(_) => RefusalKind::Exhausted,
            Self::Reserved(_) | Self::Taken { .. } | Self::InUse { .. } => RefusalKind::Conflict,
            Self::NotGiven(_) => RefusalKind::NotFound,
        }
    }
}

/// Who has an address.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Holder {
    /// As asked for; empty where an endpoint came with the address.
    owner: String,
    /// The endpoint that uses it.
    endpoint: Option<u16>,
    /// When it is given back if no endpoint uses it by then.
    expires: Option<Timestamp>,
}

impl Holder {
    fn describe(&self) -> String {
        match self.endpoint {
            Some(id) if self.owner.is_empty() => format!("endpoint {id}"),
            Some(id) => format!("{} (endpoint {id})", self.owner),
            None => self.owner.clone(),
        }
    }
}

/// The pools of the families that are on.
#[derive(Debug, Clone)]
pub(crate) struct Ipam {
    ipv4: Option<Pool>,
    ipv6: Option<Pool>,
}

impl Ipam {
    pub(crate) fn new(config: &Config) -> Result<Self, ConfigError> {
        if config.ipv4.is_none() && config.ipv6.is_none() {
            return Err(ConfigError::NoFamily);
        }
        let make = |(range, router): (IpNet, IpAddr)| Pool::new(range, router, &config.reserved);
        Ok(Self {
            ipv4: config.ipv4.map(|pods| make((pods.range.into(), pods.router.into()))).transpose()?,
            ipv6: config.ipv6.map(|pods| make((pods.range.into(), pods.router.into()))).transpose()?,
        })
    }

    /// Any free address of this family, or one of each that is on: both or none.
    pub(crate) fn allocate(
        &mut self,
        family: Option<Family>,
        owner: &str,
        expires: Option<Timestamp>,
    ) -> Result<(Option<Ipv4Addr>, Option<Ipv6Addr>), IpamError> {
        let on = |one: &Family| family.map_or(self.is_on(*one), |asked| asked == *one);
        let wanted: Vec<Family> = [Family::Ipv4, Family::Ipv6].into_iter().filter(on).collect();
        let mut given = Vec::new();
        for family in wanted {
            let pool = self.pool(family)?;
            given.push(pool.next_free().ok_or(IpamError::Exhausted(pool.range()))?);
        }
        for address in &given {
            self.pool(Family::of(*address))?.give(*address, holder(owner, expires))?;
        }
        Ok((given.iter().find_map(v4), given.iter().find_map(v6)))
    }

    /// This address.
    pub(crate) fn allocate_ip(&mut self, ip: IpAddr, owner: &str) -> Result<(), IpamError> {
        self.pool(Family::of(ip))?.give(ip, holder(owner, None))
    }

    /// Gives an address back that no endpoint uses.
    pub(crate) fn release(&mut self, ip: IpAddr) -> Result<(), IpamError> {
        let pool = self.pool(Family::of(ip))?;
        match pool.holder(ip)? {
            Some(Holder { endpoint: Some(id), .. }) => Err(IpamError::InUse { ip, id: *id }),
            Some(_) => {
                pool.take_back(ip);
                Ok(())
            }
            None => Err(IpamError::NotGiven(ip)),
        }
    }

    /// Whether the endpoint could have this address: it is free, or was asked for and no endpoint uses it yet. Addresses
    /// outside of the range are none of this node's business.
    pub(crate) fn claimable(&self, ip: IpAddr) -> Result<(), IpamError> {
        match self.pool_of(ip)? {
            Some(pool) => pool.claimable(ip),
            None => Ok(()),
        }
    }

    /// The endpoint uses this address.
    pub(crate) fn claim(&mut self, ip: IpAddr, endpoint: u16) -> Result<(), IpamError> {
        self.claimable(ip)?;
        let pool = self.pool(Family::of(ip))?;
        if pool.has(ip) {
            pool.claim(ip, endpoint);
        }
        Ok(())
    }

    /// The endpoint does not use this address any more, and nobody else does.
    pub(crate) fn unclaim(&mut self, ip: IpAddr, endpoint: u16) {
        if let Ok(pool) = self.pool(Family::of(ip))
            && let Ok(Some(Holder { endpoint: Some(user), .. })) = pool.holder(ip)
            && *user == endpoint
        {
            pool.take_back(ip);
        }
    }

    /// Gives back what expired.
    pub(crate) fn expire(&mut self, now: Timestamp) {
        for pool in [&mut self.ipv4, &mut self.ipv6].into_iter().flatten() {
            pool.expire(now);
        }
    }

    /// The node has these addresses, and gives them to nobody.
    pub(crate) fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        for pool in [&mut self.ipv4, &mut self.ipv6].into_iter().flatten() {
            pool.set_node_addresses(addresses);
        }
    }

    pub(crate) fn view(&self) -> IpamView {
        IpamView { ipv4: self.ipv4.as_ref().map(Pool::view), ipv6: self.ipv6.as_ref().map(Pool::view) }
    }

    fn is_on(&self, family: Family) -> bool {
        match family {
            Family::Ipv4 => self.ipv4.is_some(),
            Family::Ipv6 => self.ipv6.is_some(),
        }
    }

    fn pool(&mut self, family: Family) -> Result<&mut Pool, IpamError> {
        match family {
            Family::Ipv4 => self.ipv4.as_mut(),
            Family::Ipv6 => self.ipv6.as_mut(),
        }
        .ok_or(IpamError::Disabled(family))
    }

    /// The pool that the address is of; none where it is outside.
    fn pool_of(&self, ip: IpAddr) -> Result<Option<&Pool>, IpamError> {
        let family = Family::of(ip);
        let pool = match family {
            Family::Ipv4 => self.ipv4.as_ref(),
            Family::Ipv6 => self.ipv6.as_ref(),
        };
        Ok(Some(pool.ok_or(IpamError::Disabled(family))?).filter(|pool| pool.range_contains(ip)))
    }
}

fn holder(owner: &str, expires: Option<Timestamp>) -> Holder {
    let owner = if owner.is_empty() { "an unnamed owner" } else { owner };
    Holder { owner: owner.to_owned(), endpoint: None, expires }
}

fn v4(address: &IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    }
}

fn v6(address: &IpAddr) -> Option<Ipv6Addr> {
    match address {
        IpAddr::V4(_) => None,
        IpAddr::V6(address) => Some(*address),
    }
}
