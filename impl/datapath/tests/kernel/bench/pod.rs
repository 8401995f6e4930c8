// SPDX-License-Identifier: Apache-2.0
//! A network namespace behind a pair of devices, as the CNI plugin makes it.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use controlplane::{EndpointRow, IpcacheRow};
use ipnet::IpNet;
use netlink::{LinkEnd, NetNs, Netlink, Route};

use super::{Bench, ROUTER4, ROUTER6};

/// Longer than a packet takes, and than the kernel needs to ask for a neighbour once more.
const PATIENCE: Duration = Duration::from_millis(1500);

/// A pod.
pub struct Pod {
    /// What the datapath is told of it.
    pub row: EndpointRow,
    netns: NetNs,
}

/// A connection between two pods.
pub struct Open {
    client: TcpStream,
    server: TcpStream,
}

impl Open {
    /// Whether a byte goes there and comes back.
    pub fn echoes(&self) -> bool {
        let mut byte = [7];
        let (mut client, mut server) = (&self.client, &self.server);
        client.write_all(&byte).is_ok()
            && server.read_exact(&mut byte).is_ok()
            && server.write_all(&byte).is_ok()
            && client.read_exact(&mut byte).is_ok()
    }
}

impl Pod {
    /// The pod with this number, whose identity is the number and 1000.
    pub fn new(bench: &Bench, id: u16) -> Self {
        let netns = NetNs::create_unnamed().unwrap();
        let inside = Netlink::open(&netns).unwrap();
        let interface = format!("lxc{id}");
        bench
            .netlink
            .add_veth(&LinkEnd::new(&interface, &bench.netns), &LinkEnd::new("eth0", &netns))
            .unwrap();
        let [high, low] = id.to_be_bytes();
        let ipv4 = Ipv4Addr::new(10, 200, high, low);
        let ipv6 = Ipv6Addr::new(0xfd00, 0x200, 0, 0, 0, 0, 0, id);
        for address in [IpAddr::from(ipv4), ipv6.into()] {
            inside.add_address("eth0", address.into()).unwrap();
        }
        bench.netlink.set_up(&interface).unwrap();
        for device in ["lo", "eth0"] {
            inside.set_up(device).unwrap();
        }
        for (router, all) in [(IpAddr::from(ROUTER4), "0.0.0.0/0"), (ROUTER6.into(), "::/0")] {
            inside.add_route(&Route::link(router.into(), "eth0")).unwrap();
            inside.add_route(&Route::onlink(all.parse().unwrap(), router, "eth0")).unwrap();
        }
        let (near, far) = (bench.netlink.link(&interface).unwrap(), inside.link("eth0").unwrap());
        let row = EndpointRow {
            id,
            ifindex: near.index,
            interface,
            ipv4: Some(ipv4),
            ipv6: Some(ipv6),
            mac: far.mac.unwrap().0,
            node_mac: near.mac.unwrap().0,
            identity: 1000 + u32::from(id),
            options: 0b111,
        };
        Self { row, netns }
    }

    /// Its addresses, IPv4 first.
    pub fn addresses(&self) -> Vec<IpAddr> {
        [self.row.ipv4.map(IpAddr::from), self.row.ipv6.map(IpAddr::from)].into_iter().flatten().collect()
    }

    /// Runs in its network namespace.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        self.netns.run(work).unwrap()
    }

    /// Its rows of `cilium_ipcache`.
    pub fn ipcache(&self) -> Vec<(IpNet, IpcacheRow)> {
        let row = IpcacheRow { identity: self.row.identity, tunnel_endpoint: None };
        self.addresses().into_iter().map(|address| (address.into(), row)).collect()
    }

    /// Connects to an address of another pod.
    pub fn connect(&self, to: &Self, address: IpAddr) -> Option<Open> {
        connect(&self.netns, &to.netns, address)
    }

    /// Whether a connection to an address of another pod comes about.
    pub fn reaches(&self, to: &Self, address: IpAddr) -> bool {
        self.connect(to, address).is_some_and(|open| open.echoes())
    }

    /// Sends datagrams to another pod one after the other until told to stop. Returns how many, and how many of them did
    /// not arrive.
    pub fn datagrams(&self, to: &Self, address: IpAddr, stop: &AtomicBool) -> (u32, u32) {
        let bind = |pod: &Self, address| {
            pod.netns.run(|| UdpSocket::bind(SocketAddr::new(address, 0))).unwrap().unwrap()
        };
        let receiver = bind(to, address);
        receiver.set_read_timeout(Some(PATIENCE)).unwrap();
        let sender = bind(self, IpAddr::from([0; 4]));
        sender.connect(receiver.local_addr().unwrap()).unwrap();
        let (mut sent, mut lost) = (0, 0);
        while !stop.load(Ordering::Relaxed) {
            sent += 1;
            let mut number = [0; 4];
            let arrived = sender.send(&u32::to_be_bytes(sent)).is_ok() && receiver.recv(&mut number).is_ok();
            lost += u32::from(!arrived || u32::from_be_bytes(number) != sent);
        }
        (sent, lost)
    }

    /// Whether a connection to an address of the node comes about.
    pub fn reaches_node(&self, bench: &Bench, address: IpAddr) -> bool {
        connect(&self.netns, &bench.netns, address).is_some_and(|open| open.echoes())
    }
}

impl Bench {
    /// Whether the node's connection to an address of a pod comes about.
    pub fn node_reaches(&self, to: &Pod, address: IpAddr) -> bool {
        connect(&self.netns, &to.netns, address).is_some_and(|open| open.echoes())
    }
}

fn connect(from: &NetNs, to: &NetNs, address: IpAddr) -> Option<Open> {
    let listener = to.run(|| TcpListener::bind(SocketAddr::new(address, 0))).unwrap().unwrap();
    let target = listener.local_addr().unwrap();
    let client = from.run(|| TcpStream::connect_timeout(&target, PATIENCE)).unwrap().ok()?;
    let (server, _) = listener.accept().ok()?;
    for end in [&client, &server] {
        end.set_read_timeout(Some(PATIENCE)).unwrap();
        end.set_nodelay(true).unwrap();
    }
    Some(Open { client, server })
}
