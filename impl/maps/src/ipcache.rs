// SPDX-License-Identifier: Apache-2.0
//! `cilium_ipcache`: the identity of each prefix.

use std::net::Ipv4Addr;

use addr::Be32;
use ipnet::IpNet;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

use crate::endpoint::{Family, address, words};

/// A key that no prefix corresponds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("ipcache key with family {family} and {prefixlen} bits is no prefix")]
pub struct NotAPrefix {
    /// What it says of the family.
    pub family: u8,
    /// What it says of its length.
    pub prefixlen: u32,
}

/// `struct ipcache_key`. The family is matched in full, so that the two families do not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcacheKey {
    /// Bits that count: [`IpcacheKey::STATIC_BITS`] and those of the prefix.
    pub prefixlen: u32,
    /// Zero.
    pub pad1: u16,
    /// Zero.
    pub pad2: u8,
    /// A [`Family`].
    pub family: u8,
    /// The address; IPv4 in the first word.
    pub ip: [Be32; 4],
}

impl IpcacheKey {
    /// Bits before the address.
    pub const STATIC_BITS: u32 = 32;

    /// The prefix.
    ///
    /// # Errors
    /// [`NotAPrefix`].
    pub fn prefix(&self) -> Result<IpNet, NotAPrefix> {
        let error = NotAPrefix { family: self.family, prefixlen: self.prefixlen };
        let length = self.prefixlen.checked_sub(Self::STATIC_BITS).and_then(|bits| u8::try_from(bits).ok());
        let (Some(address), Some(length)) = (address(self.family, self.ip), length) else {
            return Err(error);
        };
        IpNet::new(address, length).map_err(|_| error)
    }
}

impl From<IpNet> for IpcacheKey {
    fn from(prefix: IpNet) -> Self {
        let prefix = prefix.trunc();
        Self {
            prefixlen: Self::STATIC_BITS + u32::from(prefix.prefix_len()),
            pad1: 0,
            pad2: 0,
            family: Family::of(prefix.addr()) as u8,
            ip: words(prefix.addr()),
        }
    }
}

/// `struct ipcache_entry`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct IpcacheEntry {
    /// The identity.
    pub sec_label: u32,
    /// The node that it is behind; 0 for none.
    pub tunnel_endpoint: Be32,
}

impl IpcacheEntry {
    /// An entry.
    pub fn new(identity: u32, tunnel_endpoint: Option<Ipv4Addr>) -> Self {
        Self { sec_label: identity, tunnel_endpoint: tunnel_endpoint.unwrap_or(Ipv4Addr::UNSPECIFIED).into() }
    }

    /// The node that it is behind.
    pub fn tunnel_endpoint(&self) -> Option<Ipv4Addr> {
        Some(Ipv4Addr::from(self.tunnel_endpoint)).filter(|node| !node.is_unspecified())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_comes_back_from_its_key() {
        for text in ["0.0.0.0/0", "10.1.0.0/16", "192.0.2.7/32", "::/0", "2001:db8::/33", "fd00::1/128"] {
            let prefix: IpNet = text.parse().unwrap();
            assert_eq!(IpcacheKey::from(prefix).prefix(), Ok(prefix));
        }
    }

    #[test]
    fn bits_beyond_the_length_do_not_get_into_a_key() {
        let (loose, strict): (IpNet, IpNet) =
            ("10.1.2.3/16".parse().unwrap(), "10.1.0.0/16".parse().unwrap());
        assert_eq!(IpcacheKey::from(loose), IpcacheKey::from(strict));
    }

    #[test]
    fn a_key_that_is_no_prefix_is_told() {
        let key = IpcacheKey::from("10.0.0.0/8".parse::<IpNet>().unwrap());
        for wrong in [
            IpcacheKey { prefixlen: 31, ..key },
            IpcacheKey { prefixlen: 65, ..key },
            IpcacheKey { prefixlen: u32::MAX, ..key },
            IpcacheKey { family: 7, ..key },
        ] {
            assert_eq!(wrong.prefix(), Err(NotAPrefix { family: wrong.family, prefixlen: wrong.prefixlen }));
        }
    }
}
