// SPDX-License-Identifier: Apache-2.0
//! Against this machine's kernel, in namespaces without a name. Needs root.

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket};

use netlink::{
    IpvlanMode, LinkEnd, MacAddr, NetNs, NetkitMode, Netlink, NetlinkError, Route, Rule, SocketDiag,
    SocketProtocol, Vxlan, set_sysctl, set_sysctls, sysctl,
};

const MAC: MacAddr = MacAddr([2, 0, 0x5e, 0, 0, 1]);

fn scratch() -> (NetNs, Netlink) {
    let netns = NetNs::create_unnamed().expect("these tests need root");
    let netlink = Netlink::open(&netns).unwrap();
    (netns, netlink)
}

fn veth(netns: &NetNs, netlink: &Netlink) {
    netlink.add_veth(&LinkEnd::new("a", netns), &LinkEnd::new("b", netns)).unwrap();
}

#[test]
fn each_end_of_a_veth_pair_is_made_in_its_own_namespace() {
    let ((here, near), (there, far)) = (scratch(), scratch());
    near.add_veth(&LinkEnd::new("same", &here).mac(MAC), &LinkEnd::new("same", &there).mtu(1400)).unwrap();
    let (one, other) = (near.link("same").unwrap(), far.link("same").unwrap());
    assert_eq!((one.kind.as_deref(), one.mac), (Some("veth"), Some(MAC)));
    assert_eq!((other.mtu, other.up), (1400, false));
    assert_eq!(one.peer, Some(other.index));
    near.delete_link("same").unwrap();
    assert!(matches!(far.link("same"), Err(NetlinkError::Missing { .. })));
}

#[test]
fn a_link_is_changed_renamed_moved_and_enslaved() {
    let ((here, near), (there, far)) = (scratch(), scratch());
    veth(&here, &near);
    near.set_mac("a", MAC).unwrap();
    near.set_mtu("a", 1300).unwrap();
    near.rename("a", "c").unwrap();
    near.set_up("c").unwrap();
    let link = near.link("c").unwrap();
    assert_eq!((link.mac, link.mtu, link.up), (Some(MAC), 1300, true));
    near.set_down("c").unwrap();
    assert!(!near.link("c").unwrap().up);
    near.add_bridge("br").unwrap();
    near.enslave("c", "br").unwrap();
    assert_eq!(near.link("c").unwrap().controller, Some(near.link("br").unwrap().index));
    near.move_to("b", &there).unwrap();
    assert_eq!(far.links().unwrap().iter().filter(|link| link.name == "b").count(), 1);
    assert!(near.links().unwrap().iter().all(|link| link.name != "b"));
}

#[test]
fn what_exists_and_what_is_missing_are_told_apart() {
    let (netns, netlink) = scratch();
    veth(&netns, &netlink);
    let again = netlink.add_veth(&LinkEnd::new("a", &netns), &LinkEnd::new("d", &netns)).unwrap_err();
    assert!(matches!(again, NetlinkError::Exists { .. }), "{again}");
    assert_eq!(again.to_string(), "create veth pair a and d: exists already");
    let missing = netlink.set_up("nothing").unwrap_err();
    assert!(matches!(missing, NetlinkError::Missing { .. }), "{missing}");
    let address = "192.0.2.1/24".parse().unwrap();
    netlink.add_address("a", address).unwrap();
    let again = netlink.add_address("a", address).unwrap_err();
    assert!(matches!(again, NetlinkError::Exists { .. }), "{again}");
    let long = netlink.add_bridge("sixteen-bytes-xx").unwrap_err();
    assert!(matches!(long, NetlinkError::Refused { .. }), "{long}");
}

#[test]
fn addresses_and_routes_of_both_families_come_back_as_they_were_set() {
    let (netns, netlink) = scratch();
    veth(&netns, &netlink);
    let addresses = ["192.0.2.1/24", "2001:db8::1/64"].map(|text| text.parse().unwrap());
    for end in ["a", "b"] {
        netlink.set_up(end).unwrap();
    }
    for address in addresses {
        netlink.add_address("a", address).unwrap();
    }
    let set: Vec<_> = netlink.addresses("a").unwrap();
    assert!(addresses.iter().all(|address| set.contains(address)), "{set:?}");
    let main = Some(254);
    let routes = [
        Route { table: main, ..Route::link("198.51.100.0/24".parse().unwrap(), "a") },
        Route {
            table: main,
            ..Route::onlink("0.0.0.0/0".parse().unwrap(), Ipv4Addr::new(169, 254, 1, 1).into(), "a")
        },
        Route {
            via: Some("2001:db8::2".parse().unwrap()),
            scope_link: false,
            ..Route::link("2001:db8:1::/48".parse().unwrap(), "a")
        },
        Route { table: Some(1000), ..Route::link("203.0.113.0/24".parse().unwrap(), "a") },
    ];
    for route in &routes {
        netlink.add_route(route).unwrap();
    }
    assert!(matches!(netlink.add_route(&routes[0]), Err(NetlinkError::Exists { .. })));
    let found = netlink.routes().unwrap();
    for route in routes {
        let expected = Route { table: route.table.or(main), ..route.clone() };
        assert!(found.contains(&expected), "{expected:?} is not in {found:?}");
        netlink.delete_route(&route).unwrap();
        assert!(matches!(netlink.delete_route(&route), Err(NetlinkError::Missing { .. })));
    }
}

#[test]
fn rules_of_both_families_come_back_as_they_were_set() {
    let (_netns, netlink) = scratch();
    let rule = Rule {
        ipv6: false,
        priority: 100,
        from: Some("192.0.2.0/24".parse().unwrap()),
        to: None,
        mark: Some((0x200, 0xf00)),
        input: Some("lo".into()),
        table: 2004,
    };
    let rule6 = Rule { ipv6: true, from: None, to: Some("2001:db8::/32".parse().unwrap()), ..rule.clone() };
    for rule in [&rule, &rule6] {
        netlink.add_rule(rule).unwrap();
        assert!(netlink.rules().unwrap().contains(rule), "{:?}", netlink.rules());
        assert!(matches!(netlink.add_rule(rule), Err(NetlinkError::Exists { .. })));
    }
    let mixed = Rule { ipv6: true, ..rule };
    assert!(matches!(netlink.add_rule(&mixed), Err(NetlinkError::Refused { .. })));
}

#[test]
fn neighbours_are_permanent_and_replaced() {
    let (netns, netlink) = scratch();
    veth(&netns, &netlink);
    for end in ["a", "b"] {
        netlink.set_up(end).unwrap();
    }
    let other = MacAddr([2, 0, 0x5e, 0, 0, 2]);
    for address in ["192.0.2.7", "2001:db8::7"] {
        let address: IpAddr = address.parse().unwrap();
        for mac in [MAC, other] {
            netlink.set_neighbour("a", address, mac).unwrap();
        }
        let neighbours = netlink.neighbours().unwrap();
        let found: Vec<_> = neighbours.iter().filter(|n| n.address == address).collect();
        assert_eq!(found.len(), 1, "{neighbours:?}");
        assert_eq!((found[0].mac, found[0].permanent, found[0].device.as_str()), (Some(other), true, "a"));
    }
}

/// A kind of link that a kernel may lack is made, or refused as unsupported: nothing in between.
fn made_or_unsupported(netlink: &Netlink, kind: &str, made: Result<(), NetlinkError>) {
    match made {
        Ok(()) => assert_eq!(netlink.link("new").unwrap().kind.as_deref(), Some(kind)),
        Err(e) => assert!(matches!(e, NetlinkError::Unsupported { .. }), "{kind}: {e}"),
    }
}

#[test]
fn kinds_that_a_kernel_may_lack_are_made_or_said_to_be_unsupported() {
    for kind in ["vxlan", "ipvlan", "netkit"] {
        let (netns, netlink) = scratch();
        veth(&netns, &netlink);
        let new = LinkEnd::new("new", &netns);
        let made = match kind {
            "vxlan" => netlink.add_vxlan(&Vxlan {
                name: "new",
                vni: 7,
                port: 8472,
                local: Ipv4Addr::new(192, 0, 2, 1),
                device: "a",
                learning: false,
            }),
            "ipvlan" => netlink.add_ipvlan(&new, "a", IpvlanMode::L2),
            _ => netlink.add_netkit(&new, &LinkEnd::new("new2", &netns), NetkitMode::L3),
        };
        made_or_unsupported(&netlink, kind, made);
        if kind == "vxlan" && netlink.link("new").is_ok() {
            netlink.set_fdb("new", MAC, Ipv4Addr::new(192, 0, 2, 2).into()).unwrap();
        }
    }
}

#[test]
fn a_sysctl_is_written_in_its_namespace_only() {
    let ((one, _), (other, _)) = (scratch(), scratch());
    let name = "net/ipv4/ip_forward";
    set_sysctl(&one, name, "1").unwrap();
    set_sysctl(&other, name, "0").unwrap();
    assert_eq!((sysctl(&one, name).unwrap(), sysctl(&other, name).unwrap()), ("1".into(), "0".into()));
    let missing = sysctl(&one, "net/ipv4/no_such_thing").unwrap_err();
    assert!(matches!(missing, NetlinkError::Missing { .. }), "{missing}");
    for outside in ["kernel/panic", "net/../kernel/panic", "/proc/sys/net/ipv4/ip_forward", ""] {
        assert!(matches!(sysctl(&one, outside), Err(NetlinkError::Refused { .. })), "{outside}");
    }
}

#[test]
fn several_sysctls_are_written_up_to_the_first_that_fails() {
    let (netns, _) = scratch();
    let (first, last) = ("net/ipv4/ip_forward", "net/ipv4/conf/all/forwarding");
    set_sysctls(&netns, &[(first, "0"), (last, "1")]).unwrap();
    assert_eq!(sysctl(&netns, last).unwrap(), "1");
    let missing = set_sysctls(&netns, &[("net/ipv4/nothing", "1"), (last, "0")]).unwrap_err();
    assert!(matches!(missing, NetlinkError::Missing { .. }), "{missing}");
    assert_eq!(sysctl(&netns, last).unwrap(), "1");
}

#[test]
fn handles_on_one_namespace_are_told_from_handles_on_two() {
    let ((one, _), (other, _)) = (scratch(), scratch());
    assert!(one.is_same(&one.try_clone().unwrap()).unwrap());
    assert!(!one.is_same(&other).unwrap());
    assert!(!one.is_same(&NetNs::current().unwrap()).unwrap());
    assert!(one.is_namespace().unwrap());
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(!NetNs::open(file.path()).unwrap().is_namespace().unwrap());
}

#[test]
fn a_socket_serves_several_threads() {
    let (netns, netlink) = scratch();
    veth(&netns, &netlink);
    std::thread::scope(|s| {
        for _ in 0..4 {
            s.spawn(|| assert_eq!(netlink.link("a").unwrap().name, "a"));
        }
    });
}

#[test]
fn a_link_without_a_clsact_qdisc_has_no_filters_and_none_to_delete() {
    let (netns, netlink) = scratch();
    veth(&netns, &netlink);
    let link = netlink.link("a").unwrap();
    assert_eq!(netlink.clsact_filters(&link).unwrap(), 0);
    let refused = netlink.delete_clsact(&link).unwrap_err();
    assert!(matches!(refused, NetlinkError::Refused { .. } | NetlinkError::Missing { .. }), "{refused}");
}

#[test]
fn a_link_that_resolves_no_neighbours_says_so() {
    let (netns, netlink) = scratch();
    veth(&netns, &netlink);
    assert!(netlink.link("a").unwrap().arp);
    for on in [false, true] {
        netlink.set_arp("a", on).unwrap();
        assert_eq!(netlink.link("a").unwrap().arp, on);
    }
    assert!(matches!(netlink.set_arp("nothing", false), Err(NetlinkError::Missing { .. })));
}

#[test]
fn a_connected_socket_is_found_by_its_destination_and_destroyed() {
    let (netns, netlink) = scratch();
    netlink.set_up("lo").unwrap();
    let (tcp, listener, udp, receiver) = netns
        .run(|| {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let tcp = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let receiver = UdpSocket::bind("[::1]:0").unwrap();
            let udp = UdpSocket::bind("[::]:0").unwrap();
            udp.connect(receiver.local_addr().unwrap()).unwrap();
            (tcp, listener, udp, receiver)
        })
        .unwrap();
    let mut diag = SocketDiag::open(&netns).unwrap();
    let to = tcp.peer_addr().unwrap();
    let found = diag.connected(SocketProtocol::Tcp, false, Some(to.port())).unwrap();
    assert_eq!(found.iter().map(|socket| socket.remote).collect::<Vec<_>>(), [to]);
    assert_eq!(found[0].local, tcp.local_addr().unwrap());
    assert!(diag.destroy(&found[0]).unwrap());
    assert_eq!((&tcp).read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    // The server's end, which has not been accepted yet, was reset with it.
    assert_eq!(diag.connected(SocketProtocol::Tcp, false, None).unwrap(), []);
    drop(listener);
    let found = diag.connected(SocketProtocol::Udp, true, None).unwrap();
    assert_eq!(
        found.iter().map(|socket| socket.remote).collect::<Vec<_>>(),
        [receiver.local_addr().unwrap()]
    );
    assert!(diag.destroy(&found[0]).unwrap());
    assert_eq!(udp.recv(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionAborted);
    assert!(!diag.destroy(&found[0]).unwrap());
}
