// SPDX-License-Identifier: Apache-2.0
//! IPAM: which addresses are given, and which are not.

use std::net::IpAddr;

use controlplane::{
    Answer, ConfigError, ControlPlane, EndpointRef, Event, Family, IpamError, IpamRequest, PodRange, Refusal,
    RefusalKind, Timestamp,
};

use crate::world::{World, config, request};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn allocate(world: &mut World, family: Option<Family>) -> Result<Vec<String>, Refusal> {
    let reply = world.done(|ticket| Event::Ipam {
        ticket,
        request: IpamRequest::Allocate { family, owner: "default/a".to_owned(), expires: false },
    });
    match reply? {
        Answer::Addresses { ipv4, ipv6 } => {
            let v6 = ipv6.map(|ip| ip.to_string());
            Ok(ipv4.map(|ip| ip.to_string()).into_iter().chain(v6).collect())
        }
        other => panic!("{other:?}"),
    }
}

fn allocate_ip(world: &mut World, address: &str) -> Result<Answer, Refusal> {
    let request = IpamRequest::AllocateIp { ip: ip(address), owner: "by hand".to_owned() };
    world.done(|ticket| Event::Ipam { ticket, request })
}

fn release(world: &mut World, address: &str) -> Result<Answer, Refusal> {
    world.done(|ticket| Event::Ipam { ticket, request: IpamRequest::Release { ip: ip(address) } })
}

fn small() -> World {
    let mut config = config(&[]);
    config.ipv4 =
        Some(PodRange { range: "10.0.0.0/29".parse().unwrap(), router: "10.0.0.1".parse().unwrap() });
    let mut world = World::new(config);
    world.send(Event::Tick);
    world
}

#[test]
fn addresses_are_given_in_turn_and_reused_as_late_as_possible() {
    let mut world = small();
    let next = |world: &mut World| allocate(world, Some(Family::Ipv4)).unwrap().remove(0);
    assert_eq!(next(&mut world), "10.0.0.2");
    assert_eq!(next(&mut world), "10.0.0.3");
    release(&mut world, "10.0.0.2").unwrap();
    assert_eq!(next(&mut world), "10.0.0.4");
    assert_eq!(next(&mut world), "10.0.0.5");
    assert_eq!(next(&mut world), "10.0.0.6");
    assert_eq!(next(&mut world), "10.0.0.2");
}

#[test]
fn an_empty_pool_says_so_and_gives_nothing_of_the_other_family() {
    let mut world = small();
    for _ in 0..5 {
        allocate(&mut world, None).unwrap();
    }
    let given = world.plane.ipam();
    let refusal = allocate(&mut world, None).unwrap_err();
    assert_eq!(refusal.to_string(), "no address of 10.0.0.0/29 is free");
    assert_eq!(refusal.kind(), RefusalKind::Exhausted);
    assert_eq!(world.plane.ipam(), given);
    assert_eq!(given.ipv4.unwrap().free, 0);
    assert_eq!(given.ipv6.unwrap().free, 65536 - 3 - 5);
    assert_eq!(allocate(&mut world, Some(Family::Ipv6)).unwrap(), ["fd00::7"]);
}

#[test]
fn both_families_are_given_at_once_unless_one_is_asked_for_or_off() {
    let mut world = World::started();
    assert_eq!(allocate(&mut world, None).unwrap(), ["10.0.0.2", "fd00::2"]);
    assert_eq!(allocate(&mut world, Some(Family::Ipv6)).unwrap(), ["fd00::3"]);
    let mut config = config(&[]);
    config.ipv6 = None;
    let mut world = World::new(config);
    assert_eq!(allocate(&mut world, None).unwrap(), ["10.0.0.2"]);
    let refusal = allocate(&mut world, Some(Family::Ipv6)).unwrap_err();
    assert_eq!(refusal, Refusal::Ipam(IpamError::Disabled(Family::Ipv6)));
}

#[test]
fn reserved_addresses_are_given_to_nobody() {
    let mut config = config(&[]);
    config.reserved = vec!["10.0.0.64/26".parse().unwrap(), "192.168.0.0/16".parse().unwrap()];
    let mut world = World::new(config);
    world.send(Event::NodeAddresses(vec![ip("10.0.0.2"), ip("192.0.2.1")]));
    for reserved in ["10.0.0.0", "10.0.0.255", "10.0.0.1", "10.0.0.64", "10.0.0.127", "10.0.0.2", "fd00::"] {
        let refusal = allocate_ip(&mut world, reserved).unwrap_err();
        assert_eq!(refusal, Refusal::Ipam(IpamError::Reserved(ip(reserved))));
    }
    let free = 256 - 3 - 64 - 1;
    assert_eq!(world.plane.ipam().ipv4.unwrap().free, free);
    let given: Vec<String> =
        (0..free).map(|_| allocate(&mut world, Some(Family::Ipv4)).unwrap().remove(0)).collect();
    assert!(!given.iter().any(|one| one == "10.0.0.2" || one == "10.0.0.100"));
    assert_eq!(given.iter().collect::<std::collections::BTreeSet<_>>().len() as u64, free);
    world.send(Event::NodeAddresses(vec![ip("192.0.2.1")]));
    assert_eq!(allocate(&mut world, Some(Family::Ipv4)).unwrap(), ["10.0.0.2"]);
}

#[test]
fn an_address_asked_for_is_given_once_and_only_from_the_range() {
    let mut world = World::started();
    allocate_ip(&mut world, "10.0.0.77").unwrap();
    let refusal = allocate_ip(&mut world, "10.0.0.77").unwrap_err();
    assert_eq!(refusal.to_string(), "10.0.0.77 is given to by hand already");
    assert_eq!(refusal.kind(), RefusalKind::Conflict);
    let refusal = allocate_ip(&mut world, "10.0.1.77").unwrap_err();
    assert_eq!(
        refusal.to_string(),
        "10.0.1.77 is not an address for pods of this node: they are in 10.0.0.0/24"
    );
    release(&mut world, "10.0.0.77").unwrap();
    assert_eq!(release(&mut world, "10.0.0.77").unwrap_err().kind(), RefusalKind::NotFound);
    assert_eq!(release(&mut world, "10.0.0.1").unwrap_err().kind(), RefusalKind::NotFound);
}

#[test]
fn an_endpoint_keeps_its_address_until_its_end_is_realized() {
    let mut world = World::started();
    assert_eq!(allocate(&mut world, Some(Family::Ipv4)).unwrap(), ["10.0.0.2"]);
    let id = world.create(request(2, &["k8s:a"]));
    let owner = world.plane.ipam().ipv4.unwrap().given[&ip("10.0.0.2")].clone();
    assert_eq!(owner, format!("default/a (endpoint {id})"));
    let refusal = release(&mut world, "10.0.0.2").unwrap_err();
    assert_eq!(refusal.to_string(), format!("10.0.0.2 belongs to endpoint {id}: delete the endpoint"));
    let mut other = request(9, &["k8s:b"]);
    other.ipv4 = Some("10.0.0.2".parse().unwrap());
    let ticket = world.ask(|ticket| Event::EndpointDelete { ticket, endpoint: EndpointRef::Local(id) });
    let again = world.ask(|ticket| Event::EndpointCreate { ticket, request: other.clone() });
    assert_eq!(world.replies[&again].as_ref().unwrap_err().kind(), RefusalKind::Conflict);
    assert!(!world.replies.contains_key(&ticket));
    world.realize();
    assert_eq!(world.replies[&ticket], Ok(Answer::Done));
    assert!(world.plane.ipam().ipv4.unwrap().given.is_empty());
    assert_ne!(world.create(other), id);
}

#[test]
fn an_address_that_no_endpoint_comes_for_expires_if_that_was_asked() {
    let mut world = World::started();
    for (expires, address) in [(true, "10.0.0.2"), (false, "10.0.0.3"), (true, "10.0.0.4")] {
        let request =
            IpamRequest::Allocate { family: Some(Family::Ipv4), owner: "plugin".to_owned(), expires };
        let reply = world.done(|ticket| Event::Ipam { ticket, request });
        assert_eq!(reply, Ok(Answer::Addresses { ipv4: Some(address.parse().unwrap()), ipv6: None }));
    }
    world.create(request(4, &["k8s:a"]));
    world.now += IpamRequest::EXPIRY_MS - 10;
    world.send(Event::Tick);
    assert_eq!(world.plane.ipam().ipv4.unwrap().given.len(), 3);
    world.now += 10;
    world.send(Event::Tick);
    let given: Vec<IpAddr> = world.plane.ipam().ipv4.unwrap().given.into_keys().collect();
    assert_eq!(given, [ip("10.0.0.3"), ip("10.0.0.4")]);
}

#[test]
fn a_large_range_gives_its_first_million_addresses() {
    let mut config = config(&[]);
    config.ipv6 =
        Some(PodRange { range: "fd00:1::/64".parse().unwrap(), router: "fd00:1::1".parse().unwrap() });
    let mut world = World::new(config);
    assert_eq!(world.plane.ipam().ipv6.unwrap().free, (1 << 20) - 2);
    assert_eq!(allocate(&mut world, Some(Family::Ipv6)).unwrap(), ["fd00:1::2"]);
    allocate_ip(&mut world, "fd00:1::f:ffff").unwrap();
    let refusal = allocate_ip(&mut world, "fd00:1::10:0").unwrap_err();
    assert!(refusal.to_string().ends_with("they are in fd00:1::/108"), "{refusal}");
}

#[test]
fn ranges_that_cannot_be_are_refused() {
    let with = |range: &str, router: &str, reserved: &[&str]| {
        let mut config = config(&[]);
        config.ipv4 = Some(PodRange { range: range.parse().unwrap(), router: router.parse().unwrap() });
        config.reserved = reserved.iter().map(|one| one.parse().unwrap()).collect();
        ControlPlane::new(config).map(|_| ())
    };
    let refused =
        |range: &str, router: &str| ConfigError::Router { router: ip(router), range: range.parse().unwrap() };
    assert_eq!(with("10.0.0.0/24", "10.0.1.1", &[]), Err(refused("10.0.0.0/24", "10.0.1.1")));
    assert_eq!(with("10.0.0.0/24", "10.0.0.0", &[]), Err(refused("10.0.0.0/24", "10.0.0.0")));
    assert_eq!(with("10.0.0.0/31", "10.0.0.1", &[]), Err(refused("10.0.0.0/31", "10.0.0.1")));
    let small = "10.0.0.0/24".parse().unwrap();
    assert_eq!(with("10.0.0.0/24", "10.0.0.1", &["10.0.0.0/8"]), Err(ConfigError::TooSmall(small)));
    assert_eq!(with("10.0.0.0/30", "10.0.0.1", &[]), Ok(()));
    let mut none = config(&[]);
    (none.ipv4, none.ipv6) = (None, None);
    assert_eq!(ControlPlane::new(none).map(|_| ()), Err(ConfigError::NoFamily));
}

#[test]
fn the_first_event_starts_a_node_without_sources() {
    let mut plane = ControlPlane::new(config(&[])).unwrap();
    let effects = plane.handle(Event::Tick, Timestamp(1));
    let rows: Vec<(String, u32)> = effects
        .deltas
        .unwrap()
        .ipcache
        .upserts
        .into_iter()
        .map(|(prefix, row)| (prefix.to_string(), row.identity))
        .collect();
    let row = |prefix: &str, identity| (prefix.to_owned(), identity);
    assert_eq!(rows, [row("0.0.0.0/0", 2), row("10.0.0.1/32", 1), row("::/0", 2), row("fd00::1/128", 1)]);
}
