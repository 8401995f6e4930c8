// SPDX-License-Identifier: Apache-2.0
//! A bitmap over a range of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use super::{Holder, IpamError};
use crate::config::ConfigError;
use crate::event::Timestamp;
use crate::view::PoolView;

/// As many addresses of a range are given at most: the first ones. A node has at most 65535 endpoints.
const MOST_BITS: u32 = 20;
const WORD: u32 = u64::BITS;

/// Addresses of one family. One that is given back is given again as late as possible: the search begins after the last
/// that was given.
#[derive(Debug, Clone)]
pub(super) struct Pool {
    range: IpNet,
    router: IpAddr,
    /// The first address, as a number.
    first: u128,
    size: u32,
    /// A bit for each address that cannot be given now.
    taken: Vec<u64>,
    /// Where the next search begins.
    next: u32,
    reserved: BTreeSet<u32>,
    node: BTreeSet<u32>,
    given: BTreeMap<u32, Holder>,
}

impl Pool {
    pub(super) fn new(range: IpNet, router: IpAddr, reserved: &[IpNet]) -> Result<Self, ConfigError> {
        let range = range.trunc();
        let bits = u32::from(range.max_prefix_len() - range.prefix_len()).min(MOST_BITS);
        let size = 1 << bits;
        let mut pool = Self {
            range,
            router,
            first: number(range.addr()),
            size,
            taken: vec![0; size.div_ceil(WORD) as usize],
            next: 0,
            reserved: BTreeSet::new(),
            node: BTreeSet::new(),
            given: BTreeMap::new(),
        };
        let ends = [range.network(), range.broadcast()];
        if !range.contains(&router) || ends.contains(&router) {
            return Err(ConfigError::Router { router, range });
        }
        for one in ends.into_iter().chain([router]).map(IpNet::from).chain(reserved.iter().copied()) {
            pool.reserve(one);
        }
        for at in pool.reserved.clone() {
            pool.mark(at);
        }
        if pool.free() == 0 { Err(ConfigError::TooSmall(range)) } else { Ok(pool) }
    }

    fn reserve(&mut self, subnet: IpNet) {
        if self.range.contains(&subnet) {
            let (from, to) = (number(subnet.network()), number(subnet.broadcast()));
            let from = (from - self.first).min(u128::from(self.size)) as u32;
            let to = (to - self.first).min(u128::from(self.size - 1)) as u32;
            self.reserved.extend(from..=to);
        } else if subnet.contains(&self.range) {
            self.reserved.extend(0..self.size);
        }
    }

    pub(super) fn range(&self) -> IpNet {
        self.range
    }

    pub(super) fn range_contains(&self, ip: IpAddr) -> bool {
        self.range.contains(&ip)
    }

    /// Whether it is an address that this pool could give.
    pub(super) fn has(&self, ip: IpAddr) -> bool {
        self.offset(ip).is_some()
    }

    pub(super) fn holder(&self, ip: IpAddr) -> Result<Option<&Holder>, IpamError> {
        let at = self.offset(ip).ok_or(self.out_of_range(ip))?;
        Ok(self.given.get(&at))
    }

    /// The next address that nobody has. It is given by [`Pool::give`].
    pub(super) fn next_free(&self) -> Option<IpAddr> {
        let words = self.taken.len() as u32;
        let start = self.next / WORD;
        // The first word is looked at twice: from where the search begins, and in the end up to there.
        for step in 0..=words {
            let word = (start + step) % words;
            let mut free = !self.taken[word as usize];
            if step == 0 {
                free &= u64::MAX << (self.next % WORD);
            }
            let at = word * WORD + free.trailing_zeros();
            if free != 0 && at < self.size {
                return Some(self.address(at));
            }
        }
        None
    }

    pub(super) fn give(&mut self, ip: IpAddr, holder: Holder) -> Result<(), IpamError> {
        let at = self.offset(ip).ok_or(self.out_of_range(ip))?;
        if let Some(holder) = self.given.get(&at) {
            return Err(IpamError::Taken { ip, owner: holder.describe() });
        }
        if self.is_reserved(at) {
            return Err(IpamError::Reserved(ip));
        }
        self.given.insert(at, holder);
        self.mark(at);
        self.next = (at + 1) % self.size;
        Ok(())
    }

    pub(super) fn claimable(&self, ip: IpAddr) -> Result<(), IpamError> {
        let at = self.offset(ip).ok_or(self.out_of_range(ip))?;
        match self.given.get(&at) {
            Some(holder) if holder.endpoint.is_some() => {
                Err(IpamError::Taken { ip, owner: holder.describe() })
            }
            Some(_) => Ok(()),
            None if self.is_reserved(at) => Err(IpamError::Reserved(ip)),
            None => Ok(()),
        }
    }

    pub(super) fn claim(&mut self, ip: IpAddr, endpoint: u16) {
        let Some(at) = self.offset(ip) else { return };
        match self.given.get_mut(&at) {
            Some(holder) => holder.endpoint = Some(endpoint),
            None => {
                self.given
                    .insert(at, Holder { owner: String::new(), endpoint: Some(endpoint), expires: None });
                self.mark(at);
                // A restored endpoint moves the search too: what was given before the restart is not given again soon.
                self.next = self.next.max((at + 1) % self.size);
            }
        }
    }

    pub(super) fn take_back(&mut self, ip: IpAddr) {
        if let Some(at) = self.offset(ip)
            && self.given.remove(&at).is_some()
        {
            self.unmark(at);
        }
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        let expired =
            |holder: &Holder| holder.endpoint.is_none() && holder.expires.is_some_and(|at| at <= now);
        let gone: Vec<u32> =
            self.given.iter().filter(|(_, holder)| expired(holder)).map(|(at, _)| *at).collect();
        for at in gone {
            self.given.remove(&at);
            self.unmark(at);
        }
    }

    pub(super) fn set_node_addresses(&mut self, addresses: &[IpAddr]) {
        let now: BTreeSet<u32> = addresses.iter().filter_map(|address| self.offset(*address)).collect();
        for gone in std::mem::replace(&mut self.node, now.clone()) {
            self.unmark(gone);
        }
        for at in now {
            self.mark(at);
        }
    }

    pub(super) fn view(&self) -> PoolView {
        PoolView {
            range: self.range,
            router: self.router,
            given: self.given.iter().map(|(at, holder)| (self.address(*at), holder.describe())).collect(),
            free: self.free(),
        }
    }

    fn free(&self) -> u64 {
        let taken: u64 = self.taken.iter().map(|word| u64::from(word.count_ones())).sum();
        u64::from(self.size) - taken
    }

    fn is_reserved(&self, at: u32) -> bool {
        self.reserved.contains(&at) || self.node.contains(&at)
    }

    fn mark(&mut self, at: u32) {
        self.taken[(at / WORD) as usize] |= 1 << (at % WORD);
    }

    /// Clears the bit unless there is another reason for it.
    fn unmark(&mut self, at: u32) {
        if !self.is_reserved(at) && !self.given.contains_key(&at) {
            self.taken[(at / WORD) as usize] &= !(1 << (at % WORD));
        }
    }

    /// Which of the pool's addresses it is.
    fn offset(&self, ip: IpAddr) -> Option<u32> {
        if !self.range.contains(&ip) {
            return None;
        }
        // The range contains it, so it is not before the first.
        u32::try_from(number(ip) - self.first).ok().filter(|at| *at < self.size)
    }

    fn address(&self, at: u32) -> IpAddr {
        let number = self.first + u128::from(at);
        match self.range {
            // All addresses of an IPv4 range fit in 32 bits.
            IpNet::V4(_) => Ipv4Addr::from_bits(number as u32).into(),
            IpNet::V6(_) => Ipv6Addr::from_bits(number).into(),
        }
    }

    fn out_of_range(&self, ip: IpAddr) -> IpamError {
        let bits = self.size.trailing_zeros() as u8;
        let range = IpNet::new(self.range.addr(), self.range.max_prefix_len() - bits).unwrap_or(self.range);
        IpamError::OutOfRange { ip, range }
    }
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(address) => address.to_bits().into(),
        IpAddr::V6(address) => address.to_bits(),
    }
}
