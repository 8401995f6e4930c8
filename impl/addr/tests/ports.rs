// SPDX-License-Identifier: Apache-2.0
//! Ports, ranges as masks, protocols, network order.

use std::net::Ipv4Addr;

use addr::{Be16, Be32, Port, PortMask, PortRange, Protocol};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn range(first: u16, last: u16) -> PortRange {
    PortRange::new(Port::new(first).unwrap(), Port::new(last).unwrap()).unwrap()
}

#[test]
fn a_port_is_a_number_from_1_to_65535() {
    assert_eq!("80".parse::<Port>().unwrap().get(), 80);
    assert_eq!("65535".parse::<Port>().unwrap(), Port::MAX);
    for text in ["", "0", "65536", "-1", "+80", " 80", "80-90", "http", "8e1"] {
        let error = text.parse::<Port>().unwrap_err();
        assert!(error.to_string().contains(&format!("{text:?}")), "{error}");
    }
    assert_eq!(Port::new(0), None);
}

#[test]
fn a_range_that_ends_before_it_begins_is_refused() {
    let error = PortRange::new(Port::MAX, Port::MIN).unwrap_err();
    assert_eq!(error.to_string(), "port range 65535-1 ends before it begins");
}

#[test]
fn a_range_becomes_aligned_masks() {
    let mask = |port, bits: u32| PortMask { port, mask: (0xffffu32 << (16 - bits)) as u16 };
    assert_eq!(range(80, 80).masks(), [mask(80, 16)]);
    assert_eq!(range(1024, 2047).masks(), [mask(1024, 6)]);
    assert_eq!(range(1, 3).masks(), [mask(1, 16), mask(2, 15)]);
    assert_eq!(range(32768, 65535).masks(), [mask(32768, 1)]);
    assert_eq!(range(1, 65535).masks().len(), 16);
    assert_eq!(range(1, 65534).masks().len(), 30);
    assert_eq!(mask(1024, 6).prefix_len(), 6);
    assert_eq!(PortMask::ANY.prefix_len(), 0);
    assert!(PortMask::ANY.contains(0) && PortMask::ANY.contains(65535));
}

#[test]
fn protocols_are_read_in_any_case_and_written_as_in_rules() {
    for protocol in Protocol::EVERY {
        assert_eq!(protocol.as_str().to_lowercase().parse(), Ok(protocol));
        assert_eq!(Protocol::from_number(protocol.number()), Some(protocol));
        let json = serde_json::to_string(&protocol).unwrap();
        assert_eq!(serde_json::from_str::<Protocol>(&json).unwrap(), protocol);
    }
    assert_eq!(Protocol::Sctp.number(), 132);
    assert!("".parse::<Protocol>().is_err());
    let error = serde_json::from_str::<Protocol>("\"tcp6\"").unwrap_err();
    assert!(error.to_string().contains("unknown protocol \"tcp6\""), "{error}");
    assert_eq!(Protocol::from_number(2), None);
}

#[test]
fn network_order_is_the_order_of_bytes_in_a_packet() {
    assert_eq!(Be16::new(0x0102).to_bytes(), [1, 2]);
    assert_eq!(Be16::from_bytes([1, 2]).get(), 0x0102);
    assert!(Be16::new(0x00ff) < Be16::new(0x0100));
    assert_eq!(Be32::from(Ipv4Addr::new(10, 0, 0, 1)).to_bytes(), [10, 0, 0, 1]);
    assert_eq!(Be32::from(Ipv4Addr::new(10, 0, 0, 1)).get(), 0x0a00_0001);
    assert_eq!(Ipv4Addr::from(Be32::new(0x0a00_0001)), Ipv4Addr::new(10, 0, 0, 1));
    assert_eq!(size_of::<(Be16, Be32)>(), 8);
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..ProptestConfig::default()
    })]

    #[test]
    fn masks_hold_exactly_the_range_once_and_are_as_few_as_can_be(a in 1u16.., b in 1u16..) {
        let range = range(a.min(b), a.max(b));
        let masks = range.masks();
        for port in 0..=u16::MAX {
            let inside = Port::new(port).is_some_and(|port| range.contains(port));
            prop_assert_eq!(masks.iter().filter(|mask| mask.contains(port)).count(), usize::from(inside), "{}", port);
        }
        prop_assert!(masks.len() <= 30);
        // Two halves of one mask would be one key too many; in ascending order they would be neighbours.
        let halves = |pair: &[PortMask]| {
            pair[0].mask == pair[1].mask && pair[0].port & (pair[0].mask << 1) == pair[1].port & (pair[0].mask << 1)
        };
        prop_assert!(!masks.windows(2).any(halves));
    }
}
