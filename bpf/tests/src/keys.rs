// SPDX-License-Identifier: Apache-2.0
//! Keys of the maps' rows, made apart from the programs' way of making them.

use std::net::IpAddr;

use addr::Be16;
use maps::{ConntrackKey4, ConntrackKey6, PolicyKey};
use nix::time::{ClockId, clock_gettime};

use crate::setting::{word4, words6};

/// The policy entry of a direction for everybody and everything.
pub fn any_key(egress: u8) -> PolicyKey {
    PolicyKey { sec_label: 0, dport: Be16::new(0), protocol: 0, egress, port_prefix: 0, pad: [0; 3] }
}

/// The time in which lifetimes are counted.
pub fn now_s() -> u32 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC_COARSE).unwrap();
    u32::try_from(now.tv_sec()).unwrap()
}

/// The smaller end first.
fn ordered<T>(one: (IpAddr, u16), other: (IpAddr, u16), word: impl Fn(IpAddr) -> T) -> ([T; 2], [Be16; 2]) {
    let (small, large) = if one <= other { (one, other) } else { (other, one) };
    ([word(small.0), word(large.0)], [Be16::new(small.1), Be16::new(large.1)])
}

/// The key of a connection over IPv4.
pub fn key4(protocol: u8, one: (IpAddr, u16), other: (IpAddr, u16)) -> ConntrackKey4 {
    let (addr, port) = ordered(one, other, word4);
    ConntrackKey4 { addr, port, protocol, pad: [0; 3] }
}

/// The key of a connection over IPv6.
pub fn key6(protocol: u8, one: (IpAddr, u16), other: (IpAddr, u16)) -> ConntrackKey6 {
    let (addr, port) = ordered(one, other, words6);
    ConntrackKey6 { addr, port, protocol, pad: [0; 3] }
}
