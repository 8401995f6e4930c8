// SPDX-License-Identifier: Apache-2.0
//! Services at the sockets of pods and of the node, with real sockets. Needs root and a cgroup2 hierarchy.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use addr::{Port, Protocol};
use controlplane::{Delta, Deltas, Desired};
use datapath::{Datapath, DatapathConfig, ServicesConfig};
use loadbalancer::{BackendAddress, BackendRow, BackendState, Frontend, FrontendKind, Scope, ServiceRow};

use crate::bench::{Bench, Cgroup, Pod};
use crate::node::made;

const PATIENCE: Duration = Duration::from_secs(5);
const CLUSTER4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 0, 1));
const CLUSTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 1));

/// A configuration with services, at the sockets of a control group.
pub fn with_services(bench: &Bench, cgroup: Option<&Cgroup>) -> DatapathConfig {
    DatapathConfig {
        services: Some(ServicesConfig {
            maglev: false,
            node_ports: (30_000, 32_767),
            dsr: false,
            loopback_ip4: [169, 254, 42, 1].into(),
            loopback_ip6: "fd00:a9fe:2a01::1".parse().unwrap(),
            cgroup: cgroup.map(|cgroup| cgroup.path().into()),
            frontends_max: 256,
            slots_max: 1024,
            backends_max: 256,
        }),
        ..bench.config()
    }
}

/// What connects to this address and port.
pub fn frontend(address: IpAddr, port: u16, protocol: Protocol) -> Frontend {
    Frontend { address, port: Port::new(port).unwrap(), protocol, scope: Scope::External }
}

/// A service of this id with these backends, by id.
pub fn service(id: u16, slots: &[u32]) -> ServiceRow {
    ServiceRow {
        id,
        kind: FrontendKind::ClusterIp,
        affinity_timeout_s: None,
        two_scopes: false,
        slots: slots.to_vec(),
        owner: "default/web:http".into(),
    }
}

/// A backend.
pub fn backend(socket: SocketAddr, protocol: Protocol) -> BackendRow {
    let port = Port::new(socket.port()).unwrap();
    let address = BackendAddress { address: socket.ip(), port, protocol };
    BackendRow { address, state: BackendState::Active }
}

/// Changes that make services.
pub fn services(services: Vec<(Frontend, ServiceRow)>, backends: Vec<(u32, BackendRow)>) -> Deltas {
    Deltas {
        services: Delta { upserts: services, removals: Vec::new() },
        backends: Delta { upserts: backends, removals: Vec::new() },
        ..Deltas::default()
    }
}

/// A listener in a pod, which says which one it is.
struct Server {
    listener: TcpListener,
}

impl Server {
    fn new(pod: &Pod, address: IpAddr) -> Self {
        Self { listener: pod.run(|| TcpListener::bind(SocketAddr::new(address, 0)).unwrap()) }
    }

    fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap()
    }
}

/// A datagram socket in a pod.
fn datagrams(pod: &Pod, address: IpAddr) -> UdpSocket {
    let socket = pod.run(|| UdpSocket::bind(SocketAddr::new(address, 0)).unwrap());
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket
}

/// Runs in a pod and the control group.
fn inside<T: Send>(pod: &Pod, cgroup: &Cgroup, work: impl FnOnce() -> T + Send) -> T {
    pod.run(|| {
        cgroup.join();
        work()
    })
}

/// Runs in the node's namespace and the control group.
fn on_node<T: Send>(bench: &Bench, cgroup: &Cgroup, work: impl FnOnce() -> T + Send) -> T {
    let mut result = None;
    bench.run(|| {
        cgroup.join();
        result = Some(work());
    });
    result.unwrap()
}

fn connect(to: SocketAddr) -> std::io::Result<TcpStream> {
    TcpStream::connect_timeout(&to, PATIENCE)
}

/// Whether the server gets what the client sends.
fn is_connected_to(client: &TcpStream, server: &Server) -> bool {
    server.listener.set_nonblocking(false).unwrap();
    let (mut accepted, _) = server.listener.accept().unwrap();
    accepted.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut byte = [0];
    let mut client = client;
    client.write_all(&[7]).is_ok() && accepted.read_exact(&mut byte).is_ok() && byte == [7]
}

#[test]
fn a_connection_to_a_cluster_ip_is_one_to_a_backend_and_the_client_does_not_see_it() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let mut datapath = Datapath::start(&with_services(&bench, Some(&cgroup))).unwrap();
        assert_eq!(datapath.socket_translation(), Ok(()));
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        assert_eq!(datapath.apply(&made(&[&one, &two])), []);
        for (id, cluster) in [(1, CLUSTER4), (2, CLUSTER6)] {
            let address = two.addresses()[usize::from(cluster.is_ipv6())];
            let server = Server::new(&two, address);
            let key = frontend(cluster, 80, Protocol::Tcp);
            let row = (u32::from(id), backend(server.address(), Protocol::Tcp));
            assert_eq!(datapath.apply(&services(vec![(key, service(id, &[row.0]))], vec![row])), []);
            let to = SocketAddr::new(cluster, 80);
            let client = inside(&one, &cgroup, || connect(to)).unwrap();
            assert!(is_connected_to(&client, &server));
            assert_eq!(inside(&one, &cgroup, || client.peer_addr()).unwrap(), to);
            let client = on_node(&bench, &cgroup, || connect(to)).unwrap();
            assert!(is_connected_to(&client, &server));
            assert_eq!(client.peer_addr().unwrap(), to);
        }
    });
}
