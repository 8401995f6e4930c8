// SPDX-License-Identifier: Apache-2.0
//! Requests in batches, against this machine's kernel. Needs root.

use std::net::IpAddr;

use ipnet::IpNet;
use netlink::{Batch, BatchSocket, LinkEnd, MacAddr, NetNs, Netlink, NetlinkError, Route};

const MAC: MacAddr = MacAddr([2, 0, 0x5e, 0, 0, 1]);
const ROUTER: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

fn scratch() -> (NetNs, BatchSocket) {
    let netns = NetNs::create_unnamed().expect("these tests need root");
    let socket = BatchSocket::open(&netns).unwrap();
    (netns, socket)
}

fn pair(node: &NetNs, pod: &NetNs) -> Batch {
    let mut batch = Batch::new();
    batch.add_veth(&LinkEnd::new("lxc1", node).mtu(1400), &LinkEnd::new("eth0", pod).mtu(1400).mac(MAC));
    batch.set_up_with_alias("lxc1", "network/container/eth0");
    batch
}

#[test]
fn a_pod_is_connected_by_two_batches() {
    let ((node, mut near), (pod, mut far)) = (scratch(), scratch());
    near.send(&pair(&node, &pod)).unwrap();
    let eth0 = far.link("eth0").unwrap();
    let lxc = near.link("lxc1").unwrap();
    assert_eq!((eth0.mac, eth0.mtu, eth0.up, eth0.peer), (Some(MAC), 1400, false, Some(lxc.index)));
    assert_eq!((lxc.up, lxc.alias.as_deref()), (true, Some("network/container/eth0")));

    let addresses = ["192.0.2.7/32", "2001:db8::7/128"].map(|text| text.parse::<IpNet>().unwrap());
    let mut batch = Batch::new();
    batch.set_up("eth0");
    let mut routes = Vec::new();
    for (address, router) in addresses.into_iter().zip(ROUTER) {
        let router: IpAddr = router.parse().unwrap();
        batch.add_address(eth0.index, address).set_neighbour(eth0.index, router, MAC);
        let any: IpNet = if router.is_ipv6() { "::/0" } else { "0.0.0.0/0" }.parse().unwrap();
        routes.push(Route { mtu: Some(1350), ..Route::link(router.into(), "eth0") });
        routes.push(Route {
            via: Some(router),
            scope_link: false,
            mtu: Some(1350),
            ..Route::link(any, "eth0")
        });
    }
    for route in &routes {
        batch.add_route(eth0.index, route).unwrap();
    }
    far.send(&batch).unwrap();

    let netlink = Netlink::open(&pod).unwrap();
    let set = netlink.addresses("eth0").unwrap();
    assert!(addresses.iter().all(|address| set.contains(address)), "{set:?}");
    let found = netlink.routes().unwrap();
    for route in routes {
        // IPv6 knows no scopes of routes.
        let scope_link = route.scope_link && route.destination.addr().is_ipv4();
        let expected = Route { table: Some(254), scope_link, ..route };
        assert!(found.contains(&expected), "{expected:?} is not in {found:?}");
    }
    let neighbours = netlink.neighbours().unwrap();
    for router in ROUTER {
        let router: IpAddr = router.parse().unwrap();
        assert!(neighbours.iter().any(|n| n.address == router && n.mac == Some(MAC) && n.permanent));
    }
}

#[test]
fn the_first_request_that_failed_is_named_and_the_others_are_carried_out() {
    let ((node, mut near), (pod, mut far)) = (scratch(), scratch());
    near.send(&pair(&node, &pod)).unwrap();
    let again = near.send(&pair(&node, &pod)).unwrap_err();
    assert!(matches!(again, NetlinkError::Exists { .. }), "{again}");
    assert_eq!(again.to_string(), "create veth pair lxc1 and eth0: exists already");

    let mut batch = Batch::new();
    batch.delete_link("nothing").delete_link("nobody").set_up("eth0");
    let missing = far.send(&batch).unwrap_err();
    assert!(matches!(missing, NetlinkError::Missing { .. }), "{missing}");
    assert_eq!(missing.to_string(), "delete link nothing: not found");
    assert!(far.link("eth0").unwrap().up);
    assert!(matches!(far.link("nothing"), Err(NetlinkError::Missing { .. })));
}

#[test]
fn deleting_one_end_deletes_the_other() {
    let ((node, mut near), (pod, mut far)) = (scratch(), scratch());
    near.send(&pair(&node, &pod)).unwrap();
    let mut batch = Batch::new();
    batch.delete_link("lxc1");
    near.send(&batch).unwrap();
    assert!(matches!(far.link("eth0"), Err(NetlinkError::Missing { .. })));
}

#[test]
fn an_empty_batch_asks_nothing() {
    let (_node, mut near) = scratch();
    near.send(&Batch::new()).unwrap();
}
