// SPDX-License-Identifier: Apache-2.0
//! The generated text against what Felix's has.

use std::collections::HashSet;

use super::*;

const CLIENT: Ipv4Addr = Ipv4Addr::new(10, 244, 0, 2);

fn generate(policies: u32) -> String {
    rules(&[
        Endpoint { interface: "cali12ab34cd56e", policies: 0 },
        Endpoint { interface: "cali98fe76dc54b", policies },
    ])
}

fn pool() -> Ipv4Net {
    "10.244.0.0/16".parse().unwrap()
}

#[test]
fn every_chain_that_is_jumped_to_is_declared() {
    for policies in [0, 1, 100] {
        crate::rules::tests::assert_chains_are_declared(&generate(policies));
    }
}

#[test]
fn the_server_has_a_jump_and_a_test_for_each_policy_and_the_client_none() {
    let rules = generate(1000);
    assert_eq!(rules.matches("-m mark --mark 0x0/0x20000 -j cali-pi-_").count(), 1000);
    assert_eq!(rules.matches("Return if policy accepted").count(), 1000);
    assert_eq!(rules.lines().filter(|l| l.starts_with("-A cali-fw-") && l.contains("cali-pi-")).count(), 0);
    assert_eq!(generate(0).matches("Start of policies").count(), 0);
}

#[test]
fn only_the_last_policy_admits_the_client() {
    for policies in [1, 100, 1000] {
        let sets = ipsets(policies, pool(), CLIENT);
        let admits: Vec<_> = sets.lines().filter(|l| l.ends_with(" 10.244.0.2")).collect();
        assert_eq!(admits, [format!("add {} 10.244.0.2", set_name(policies - 1))]);
        let mut lines = HashSet::new();
        assert!(sets.lines().all(|line| lines.insert(line)), "a line comes twice");
    }
}

#[test]
fn every_set_that_is_matched_is_made_and_its_name_is_short_enough() {
    let (rules, sets) = (generate(100), ipsets(100, pool(), CLIENT));
    for line in rules.lines().filter(|line| line.contains("--match-set")) {
        let name = line.split("--match-set ").nth(1).and_then(|rest| rest.split(' ').next()).unwrap();
        assert!(sets.contains(&format!("create {name} ")), "{line}");
        assert!(name.len() <= 31, "{name}");
    }
}

#[test]
fn no_two_rules_carry_the_same_hash() {
    let rules = generate(1000);
    let mut hashes = HashSet::new();
    for part in rules.split("\"cali:").skip(1) {
        assert!(hashes.insert(&part[..16]), "{}", &part[..16]);
    }
    assert!(hashes.len() > 4000);
}
