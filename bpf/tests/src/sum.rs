// SPDX-License-Identifier: Apache-2.0
//! The internet checksum, apart from the programs' way of keeping it.

use std::net::IpAddr;

/// RFC 1071 over all bytes. Over what contains its own checksum it is 0 when that is right.
pub fn internet_checksum(bytes: &[u8]) -> u16 {
    let mut sum = 0_u64;
    for pair in bytes.chunks(2) {
        sum += u64::from(u16::from_be_bytes([pair[0], pair.get(1).copied().unwrap_or(0)]));
    }
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// The checksum of a transport's bytes with their pseudo-header; ICMP for IPv4 has none.
pub fn transport_checksum(from: IpAddr, to: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let mut all = Vec::new();
    match (from, to) {
        (IpAddr::V4(_), IpAddr::V4(_)) if protocol == 1 => {}
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            all.extend(from.octets());
            all.extend(to.octets());
            all.extend([0, protocol]);
            all.extend(u16::try_from(bytes.len()).expect("a packet").to_be_bytes());
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            all.extend(from.octets());
            all.extend(to.octets());
            all.extend(u32::try_from(bytes.len()).expect("a packet").to_be_bytes());
            all.extend([0, 0, 0, protocol]);
        }
        _ => panic!("{from} and {to} are of two families"),
    }
    all.extend(bytes);
    internet_checksum(&all)
}
