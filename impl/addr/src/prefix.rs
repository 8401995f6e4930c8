// SPDX-License-Identifier: Apache-2.0
//! The arithmetic of prefixes that `ipnet` leaves to its users.

use std::net::IpAddr;

use ipnet::IpNet;

/// Why a string is not a prefix.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefixError {
    /// No `/`.
    #[error("{0:?} is not a CIDR: it has no /LENGTH")]
    NoLength(String),
    /// What stands before the `/` is no address.
    #[error("{text:?} is not a CIDR: {address:?} is not an IP address")]
    Address {
        /// All of it.
        text: String,
        /// The part before the `/`.
        address: String,
    },
    /// What stands after the `/` is no length.
    #[error("{text:?} is not a CIDR: the length must be a number from 0 to {max}")]
    Length {
        /// All of it.
        text: String,
        /// 32 or 128.
        max: u8,
    },
}

/// Parses `ADDRESS/LENGTH`. Bits beyond the length are dropped, as Cilium 1.4 does.
pub fn parse_prefix(text: &str) -> Result<IpNet, PrefixError> {
    let (address, length) = text.split_once('/').ok_or_else(|| PrefixError::NoLength(text.to_owned()))?;
    let address = parse_address(text, address)?;
    let max = if address.is_ipv4() { 32 } else { 128 };
    // The parser of numbers takes a sign, a length has none.
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse().ok().filter(|_| digits);
    length
        .and_then(|length| IpNet::new(address, length).ok())
        .map(|prefix| prefix.trunc())
        .ok_or_else(|| PrefixError::Length { text: text.to_owned(), max })
}

/// Parses a prefix, or an address, which is the prefix that holds it alone: what `fromCIDR` and `toCIDR` take.
pub fn parse_prefix_or_address(text: &str) -> Result<IpNet, PrefixError> {
    if text.contains('/') { parse_prefix(text) } else { parse_address(text, text).map(IpNet::from) }
}

fn parse_address(text: &str, address: &str) -> Result<IpAddr, PrefixError> {
    address.parse().map_err(|_| PrefixError::Address { text: text.to_owned(), address: address.to_owned() })
}

/// The fewest prefixes that together are `prefix` without all of `except`, in ascending order. Exceptions outside of it
/// change nothing. Nothing is left where an exception encloses it.
pub fn without(prefix: IpNet, except: &[IpNet]) -> Vec<IpNet> {
    let mut left = Vec::new();
    cut(prefix.trunc(), except.to_vec(), &mut left);
    left
}

/// As deep as a prefix is long, and only where an exception is.
fn cut(prefix: IpNet, mut except: Vec<IpNet>, left: &mut Vec<IpNet>) {
    if except.iter().any(|hole| hole.contains(&prefix)) {
        return;
    }
    except.retain(|hole| prefix.contains(hole));
    if except.is_empty() {
        left.push(prefix);
        return;
    }
    // A hole is strictly inside, so the prefix can be halved.
    let halves = prefix.subnets(prefix.prefix_len() + 1).into_iter().flatten();
    for half in halves {
        cut(half, except.clone(), left);
    }
}

/// The fewest prefixes that hold the same addresses, in ascending order, IPv4 first.
pub fn aggregated(prefixes: &[IpNet]) -> Vec<IpNet> {
    let mut fewest = IpNet::aggregate(&prefixes.to_vec());
    fewest.sort();
    fewest
}

/// Every prefix that holds this one, from `/0` to itself.
pub fn enclosing(prefix: IpNet) -> impl DoubleEndedIterator<Item = IpNet> {
    (0..=prefix.prefix_len())
        .filter_map(move |length| IpNet::new(prefix.addr(), length).ok())
        .map(|wider| wider.trunc())
}
