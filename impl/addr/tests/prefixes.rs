// SPDX-License-Identifier: Apache-2.0
//! Prefixes: what is read, what is refused, and the algebra of exceptions.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use addr::{PrefixError, aggregated, enclosing, parse_prefix, parse_prefix_or_address, without};
use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

fn net(text: &str) -> IpNet {
    parse_prefix(text).unwrap()
}

fn nets(texts: &[&str]) -> Vec<IpNet> {
    texts.iter().map(|text| net(text)).collect()
}

#[test]
fn a_prefix_is_read_in_canonical_form() {
    assert_eq!(net("10.1.2.3/8").to_string(), "10.0.0.0/8");
    assert_eq!(net("2001:DB8:0:0::1/32").to_string(), "2001:db8::/32");
    assert_eq!(parse_prefix_or_address("10.0.0.1").unwrap().to_string(), "10.0.0.1/32");
    assert_eq!(parse_prefix_or_address("::1").unwrap().to_string(), "::1/128");
}

#[test]
fn what_is_no_prefix_is_refused_and_the_part_that_is_wrong_is_named() {
    assert_eq!(parse_prefix("10.0.0.1"), Err(PrefixError::NoLength("10.0.0.1".into())));
    for (text, part) in [
        ("/8", ""),
        ("10.0.0/8", "10.0.0"),
        ("010.0.0.1/8", "010.0.0.1"),
        ("fe80::1%eth0/64", "fe80::1%eth0"),
    ] {
        assert_eq!(parse_prefix(text), Err(PrefixError::Address { text: text.into(), address: part.into() }));
    }
    for (text, max) in [
        ("10.0.0.0/", 32),
        ("10.0.0.0/33", 32),
        ("10.0.0.0/+8", 32),
        ("10.0.0.0/8/8", 32),
        ("::/129", 128),
        ("::/-1", 128),
        ("::/99999", 128),
    ] {
        assert_eq!(parse_prefix(text), Err(PrefixError::Length { text: text.into(), max }));
    }
    assert!(parse_prefix_or_address("").is_err());
}

#[test]
fn exceptions_are_cut_out_of_a_prefix() {
    assert_eq!(without(net("10.0.0.0/8"), &[]), nets(&["10.0.0.0/8"]));
    assert_eq!(without(net("10.0.0.0/8"), &nets(&["192.168.0.0/16", "::/0"])), nets(&["10.0.0.0/8"]));
    assert_eq!(without(net("10.0.0.0/8"), &nets(&["10.0.0.0/8"])), nets(&[]));
    assert_eq!(without(net("10.0.0.0/8"), &nets(&["0.0.0.0/0"])), nets(&[]));
    assert_eq!(
        without(net("10.0.0.0/8"), &nets(&["10.96.0.0/12"])),
        nets(&["10.0.0.0/10", "10.64.0.0/11", "10.112.0.0/12", "10.128.0.0/9"])
    );
    assert_eq!(without(net("::/126"), &nets(&["::1/128"])), nets(&["::/128", "::2/127"]));
}

#[test]
fn a_prefix_is_enclosed_by_itself_and_all_that_are_wider() {
    assert_eq!(
        enclosing(net("10.0.0.0/3")).collect::<Vec<_>>(),
        nets(&["0.0.0.0/0", "0.0.0.0/1", "0.0.0.0/2", "0.0.0.0/3"])
    );
    assert_eq!(enclosing(net("2001:db8::/32")).count(), 33);
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 300,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

/// Prefixes of one /24 and of one /120, so that they meet often.
fn narrow() -> impl Strategy<Value = IpNet> {
    let v4 = (any::<u8>(), 22u8..=32).prop_map(|(byte, length)| {
        Ipv4Net::new(Ipv4Addr::new(10, 0, 0, byte), length).unwrap().trunc().into()
    });
    let v6 = (any::<u8>(), 118u8..=128).prop_map(|(byte, length)| {
        Ipv6Net::new(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, u16::from(byte)), length)
            .unwrap()
            .trunc()
            .into()
    });
    prop_oneof![v4, v6]
}

fn every_address() -> impl Iterator<Item = IpAddr> {
    (0..=1023u16).flat_map(|n| {
        let [high, low] = n.to_be_bytes();
        [IpAddr::from([10, 0, high, low]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n])]
    })
}

fn holds(set: &[IpNet], address: &IpAddr) -> bool {
    set.iter().any(|prefix| prefix.contains(address))
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_printed_is_read_back(prefix in narrow()) {
        prop_assert_eq!(parse_prefix(&prefix.to_string()), Ok(prefix));
    }

    #[test]
    fn no_text_makes_the_parser_panic(text in "[0-9a-f:./%+ -]{0,24}") {
        let _ = parse_prefix_or_address(&text);
    }

    #[test]
    fn cutting_leaves_exactly_the_addresses_outside_the_exceptions(
        prefix in narrow(), except in prop::collection::vec(narrow(), 0..6)
    ) {
        let left = without(prefix, &except);
        for address in every_address() {
            prop_assert_eq!(holds(&left, &address), prefix.contains(&address) && !holds(&except, &address), "{}", address);
        }
        prop_assert_eq!(&aggregated(&left), &left, "sorted, disjoint and as few as can be");
    }

    #[test]
    fn aggregating_changes_no_address(prefixes in prop::collection::vec(narrow(), 0..8)) {
        let fewest = aggregated(&prefixes);
        for address in every_address() {
            prop_assert_eq!(holds(&fewest, &address), holds(&prefixes, &address));
        }
        prop_assert!(fewest.len() <= prefixes.len());
    }

    #[test]
    fn enclosing_prefixes_hold_the_prefix_and_grow_by_one(prefix in narrow()) {
        let all: Vec<IpNet> = enclosing(prefix).collect();
        prop_assert!(all.iter().all(|wider| wider.contains(&prefix)));
        prop_assert!(all.iter().enumerate().all(|(n, wider)| usize::from(wider.prefix_len()) == n));
        prop_assert_eq!(all.last(), Some(&prefix));
    }
}
