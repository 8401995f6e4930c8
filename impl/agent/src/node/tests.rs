// SPDX-License-Identifier: Apache-2.0
//! Which addresses a node uses, from made-up facts.

use ipnet::IpNet;

use super::*;
use crate::config::{Config, Loaded, load};

fn network(flags: &[&str]) -> Network {
    let arguments = std::iter::once("cilium-agent").chain(flags.iter().copied()).map(Into::into);
    let Ok(Loaded::Run { config, .. }) = load(arguments, []) else { panic!("{flags:?}") };
    let Config { network, .. } = *config;
    network
}

fn facts(addresses: &[&str]) -> Facts {
    let addresses: Vec<IpNet> = addresses.iter().map(|address| address.parse().unwrap()).collect();
    let routes = addresses.iter().map(IpNet::trunc).filter(|net| net.prefix_len() < net.max_prefix_len());
    Facts {
        routes: routes.collect(),
        devices: vec![
            Device { name: "lo".into(), mtu: 65536, addresses: vec!["127.0.0.1/8".parse().unwrap()] },
            Device { name: "eth0".into(), mtu: 9000, addresses },
        ],
        default_routes: vec!["eth0".into()],
    }
}

fn decide(flags: &[&str], facts: &Facts, kept: Kept) -> Result<Node, NodeError> {
    Node::decide(&network(flags), facts, kept)
}

#[test]
fn automatic_ranges_follow_the_rules_of_1_4() {
    let node = decide(&[], &facts(&["192.0.2.15/24", "2001:db8::1/64"]), Kept::default()).unwrap();
    let (ipv4, ipv6) = (node.ipv4.unwrap(), node.ipv6.unwrap());
    assert_eq!(
        (ipv4.range.to_string(), ipv4.router.to_string()),
        ("10.15.0.0/16".into(), "10.15.0.1".into())
    );
    assert_eq!(
        (ipv6.range.to_string(), ipv6.router.to_string()),
        ("f00d::a0f:0:0:0/96".into(), "f00d::a0f:0:0:1".into())
    );
    assert_eq!(
        (ipv4.node, ipv6.node),
        (Some("192.0.2.15".parse().unwrap()), Some("2001:db8::1".parse().unwrap()))
    );
    assert_eq!((node.device.as_deref(), node.mtu), (Some("eth0"), 9000));
}

#[test]
fn what_is_said_outweighs_what_was_kept_outweighs_what_is_derived() {
    let kept = Kept {
        ipv4: Some(Addressing {
            range: "10.9.0.0/16".parse().unwrap(),
            router: "10.9.0.7".parse().unwrap(),
            node: None,
        }),
        ipv6: None,
    };
    let facts = facts(&["192.0.2.15/24"]);
    let node = decide(&[], &facts, kept).unwrap();
    let ipv4 = node.ipv4.unwrap();
    assert_eq!((ipv4.range.to_string(), ipv4.router.to_string()), ("10.9.0.0/16".into(), "10.9.0.7".into()));
    let node = decide(&["--ipv4-range=10.8.0.0/24", "--mtu=1400"], &facts, kept).unwrap();
    let ipv4 = node.ipv4.unwrap();
    assert_eq!((ipv4.range.to_string(), ipv4.router.to_string()), ("10.8.0.0/24".into(), "10.8.0.1".into()));
    assert_eq!(node.ipv6.unwrap().range.to_string(), "f00d::a08:0:0:0/96");
    assert_eq!(node.mtu, 1400);
    let json = serde_json::to_string(&node.kept()).unwrap();
    assert_eq!(serde_json::from_str::<Kept>(&json).unwrap().ipv4.unwrap().router, ipv4.router);
}

#[test]
fn a_node_without_addresses_needs_to_be_told_and_names_the_flag() {
    let facts = Facts::default();
    let refused = decide(&[], &facts, Kept::default()).unwrap_err().to_string();
    assert!(refused.contains("--ipv4-range"), "{refused}");
    let refused = decide(&["--enable-ipv4=false"], &facts, Kept::default()).unwrap_err().to_string();
    assert!(refused.contains("--ipv6-range"), "{refused}");
    let node = decide(&["--ipv4-range=10.1.0.0/24"], &facts, Kept::default()).unwrap();
    assert_eq!((node.device, node.mtu), (None, 1500));
    assert_eq!(node.ipv6.unwrap().range.to_string(), "f00d::a01:0:0:0/96");
}

#[test]
fn a_device_that_is_not_there_is_refused() {
    let refused = decide(&["--device=eth9"], &facts(&["192.0.2.1/24"]), Kept::default()).unwrap_err();
    assert!(refused.to_string().contains("eth9"), "{refused}");
}

#[test]
fn masquerading_needs_an_address_to_give() {
    let facts = facts(&[]);
    let flags = ["--ipv4-range=10.1.0.0/24", "--enable-ipv6=false"];
    let refused = decide(&flags, &facts, Kept::default()).unwrap_err().to_string();
    assert!(refused.contains("--masquerade=false") && refused.contains("eth0"), "{refused}");
    decide(&[&flags[..], &["--masquerade=false"]].concat(), &facts, Kept::default()).unwrap();
}

#[test]
fn what_others_use_inside_the_range_is_not_given_to_pods() {
    let facts = facts(&["10.1.3.1/24", "10.200.0.1/8", "fe80::1/64"]);
    let node = decide(&["--ipv4-range=10.1.0.0/16"], &facts, Kept::default()).unwrap();
    let reserved: Vec<_> = node.reserved.iter().map(ToString::to_string).collect();
    assert_eq!(reserved, ["10.1.3.0/24", "10.1.3.1/32"]);
}
