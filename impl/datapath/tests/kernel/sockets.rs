// SPDX-License-Identifier: Apache-2.0
//! Services at the sockets of pods and of the node, with real sockets. Needs root and a cgroup2 hierarchy.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use addr::Protocol;
use controlplane::{Delta, Deltas};
use datapath::{Datapath, cleanup};
use loadbalancer::{BackendRow, BackendState, Frontend, FrontendKind, Scope, ServiceRow};
use maps::Direction;

use crate::bench::{Bench, Cgroup, Pod};
use crate::node::{desired, made};
use crate::services::{backend, config, frontend, gone, service, services};

const PATIENCE: Duration = Duration::from_secs(5);
const CLUSTER4: IpAddr = IpAddr::V4(Ipv4Addr::new(172, 30, 0, 1));
const CLUSTER6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, 1));
const LOOPBACK4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const LOOPBACK6: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

/// A datapath whose programs are at the sockets of a control group, with pods.
fn started(bench: &Bench, cgroup: &Cgroup, pods: &[&Pod]) -> Datapath {
    let mut datapath = Datapath::start(&config(bench, Some(cgroup))).unwrap();
    assert_eq!(datapath.socket_translation(), Ok(()));
    assert_eq!(datapath.apply(&made(pods)), []);
    datapath
}

/// A listener in a pod.
struct Server(TcpListener);

impl Server {
    fn new(pod: &Pod, address: IpAddr) -> Self {
        let listener = pod.run(|| TcpListener::bind(SocketAddr::new(address, 0)).unwrap());
        listener.set_nonblocking(true).unwrap();
        Self(listener)
    }

    fn address(&self) -> SocketAddr {
        self.0.local_addr().unwrap()
    }

    fn row(&self) -> BackendRow {
        backend(self.address(), Protocol::Tcp)
    }

    /// The server's end of a client's connection, if it has come.
    fn accept(&self, client: &TcpStream) -> Option<TcpStream> {
        let own = client.local_addr().unwrap();
        let own = SocketAddr::new(own.ip().to_canonical(), own.port());
        let (accepted, from) = self.0.accept().ok()?;
        (from == own).then_some(accepted)
    }
}

/// Which of the servers a client is connected to.
fn server_of(client: &TcpStream, servers: &[Server]) -> usize {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        if let Some(index) = servers.iter().position(|server| server.accept(client).is_some()) {
            return index;
        }
        thread::yield_now();
    }
    panic!("no server has the connection of {client:?}");
}

/// A socket in a pod that sends datagrams back.
struct Echo(UdpSocket);

impl Echo {
    fn new(pod: &Pod, address: IpAddr) -> Self {
        let socket = pod.run(|| UdpSocket::bind(SocketAddr::new(address, 0)).unwrap());
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        Self(socket)
    }

    fn row(&self) -> BackendRow {
        backend(self.0.local_addr().unwrap(), Protocol::Udp)
    }

    fn answer(&self) {
        let mut bytes = [0; 16];
        let (length, from) = self.0.recv_from(&mut bytes).unwrap();
        self.0.send_to(&bytes[..length], from).unwrap();
    }
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

fn of_family(addresses: &[IpAddr], ipv6: bool) -> IpAddr {
    *addresses.iter().find(|address| address.is_ipv6() == ipv6).unwrap()
}

fn mapped(address: IpAddr, port: u16) -> SocketAddr {
    let IpAddr::V4(v4) = address else { panic!("{address} is not of IPv4") };
    SocketAddr::new(v4.to_ipv6_mapped().into(), port)
}

fn node_port(id: u16, slots: &[u32]) -> ServiceRow {
    ServiceRow { kind: FrontendKind::NodePort, ..service(id, slots) }
}

/// Waits until something is so.
fn wait_until(what: &str, mut so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < deadline, "{what}");
        thread::yield_now();
    }
}

#[test]
fn a_connection_to_a_cluster_ip_is_one_to_a_backend_and_the_client_does_not_see_it() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut datapath = started(&bench, &cgroup, &[&one, &two]);
        let mut reaches = |id: u16, cluster: IpAddr, to: SocketAddr| {
            let server = [Server::new(&two, of_family(&two.addresses(), cluster.is_ipv6()))];
            let rows = vec![(u32::from(id), server[0].row())];
            let key = frontend(cluster, 80, Protocol::Tcp);
            assert_eq!(datapath.apply(&services(vec![(key, service(id, &[id.into()]))], rows)), []);
            let of_pod = inside(&one, &cgroup, || connect(to)).unwrap();
            let of_node = on_node(&bench, &cgroup, || connect(to)).unwrap();
            for client in [of_pod, of_node] {
                assert_eq!(server_of(&client, &server), 0);
                assert_eq!(client.peer_addr().unwrap(), to);
            }
        };
        reaches(1, CLUSTER4, SocketAddr::new(CLUSTER4, 80));
        reaches(2, CLUSTER6, SocketAddr::new(CLUSTER6, 80));
        // An IPv6 socket that speaks IPv4.
        reaches(1, CLUSTER4, mapped(CLUSTER4, 80));
    });
}

#[test]
fn datagrams_to_a_cluster_ip_reach_a_backend_and_answers_come_from_the_cluster_ip() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut datapath = started(&bench, &cgroup, &[&one, &two]);
        let mut id = 0_u16;
        let mut exchange = |cluster: IpAddr, to: SocketAddr| {
            id += 1;
            let echo = Echo::new(&two, of_family(&two.addresses(), cluster.is_ipv6()));
            let key = frontend(cluster, 53, Protocol::Udp);
            let rows = vec![(u32::from(id), echo.row())];
            assert_eq!(
                datapath.apply(&services(
                    vec![(key, service(1 + u16::from(cluster.is_ipv6()), &[id.into()]))],
                    rows
                )),
                []
            );
            let any = if to.is_ipv6() { "[::]:0" } else { "0.0.0.0:0" };
            let client = inside(&one, &cgroup, || UdpSocket::bind(any).unwrap());
            client.set_read_timeout(Some(PATIENCE)).unwrap();
            let mut bytes = [0; 16];
            for word in [b"one", b"two"] {
                client.send_to(word, to).unwrap();
                echo.answer();
                let (length, from) = client.recv_from(&mut bytes).unwrap();
                assert_eq!((&bytes[..length], from), (word.as_slice(), to), "not connected");
            }
            client.connect(to).unwrap();
            assert_eq!(client.peer_addr().unwrap(), to);
            client.send(b"three").unwrap();
            echo.answer();
            let (length, from) = client.recv_from(&mut bytes).unwrap();
            assert_eq!((&bytes[..length], from), (b"three".as_slice(), to), "connected");
            client.send_to(b"four", to).unwrap();
            echo.answer();
            let (length, from) = client.recv_from(&mut bytes).unwrap();
            assert_eq!((&bytes[..length], from), (b"four".as_slice(), to), "connected, to an address");
        };
        exchange(CLUSTER4, SocketAddr::new(CLUSTER4, 53));
        exchange(CLUSTER6, SocketAddr::new(CLUSTER6, 53));
        exchange(CLUSTER4, mapped(CLUSTER4, 53));
    });
}

#[test]
fn slots_of_a_table_are_chosen_by_the_socket_and_datagrams_of_one_stay_with_their_backend() {
    for maglev in [false, true] {
        let (bench, cgroup) = (Bench::new(), Cgroup::new());
        bench.run(|| {
            let (one, two) = (bench.add_pod(1), bench.add_pod(2));
            let mut config = config(&bench, Some(&cgroup));
            config.services.as_mut().unwrap().maglev = maglev;
            let mut datapath = Datapath::start(&config).unwrap();
            assert_eq!(datapath.apply(&made(&[&one, &two])), []);
            let (tcp, udp) = (frontend(CLUSTER4, 80, Protocol::Tcp), frontend(CLUSTER4, 53, Protocol::Udp));
            let servers: Vec<_> = (0..3).map(|_| Server::new(&two, two.addresses()[0])).collect();
            let echoes: Vec<_> = (0..3).map(|_| Echo::new(&two, two.addresses()[0])).collect();
            let rows = servers.iter().map(Server::row).chain(echoes.iter().map(Echo::row));
            let table = [1, 2, 3, 3, 2, 1, 1];
            let of_udp = table.map(|id| id + 3);
            let change = services(
                vec![(tcp, service(1, &table)), (udp, service(2, &of_udp))],
                (1..).zip(rows).collect(),
            );
            assert_eq!(datapath.apply(&change), []);
            let mut met = BTreeSet::new();
            wait_until("not all backends are chosen", || {
                let client = inside(&one, &cgroup, || connect(tcp.socket())).unwrap();
                met.insert(server_of(&client, &servers));
                met.len() == 3
            });
            let client = inside(&one, &cgroup, || UdpSocket::bind("0.0.0.0:0").unwrap());
            for _ in 0..20 {
                client.send_to(b"ask", udp.socket()).unwrap();
            }
            let got = |echo: &Echo| {
                echo.0.set_nonblocking(true).unwrap();
                std::iter::from_fn(|| echo.0.recv_from(&mut [0; 16]).ok()).count()
            };
            let mut counts: Vec<_> = echoes.iter().map(got).collect();
            counts.sort_unstable();
            assert_eq!(counts, [0, 0, 20]);
        });
    }
}

#[test]
fn sockets_meet_the_internal_row_of_a_frontend_that_has_two() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut datapath = started(&bench, &cgroup, &[&one, &two]);
        let servers = [Server::new(&two, two.addresses()[0])];
        let external = frontend(CLUSTER4, 80, Protocol::Tcp);
        let internal = Frontend { scope: Scope::Internal, ..external };
        let rows = vec![
            (external, ServiceRow { two_scopes: true, ..node_port(1, &[]) }),
            (internal, node_port(2, &[1])),
        ];
        assert_eq!(datapath.apply(&services(rows, vec![(1, servers[0].row())])), []);
        for client in [
            inside(&one, &cgroup, || connect(external.socket())).unwrap(),
            on_node(&bench, &cgroup, || connect(external.socket())).unwrap(),
        ] {
            assert_eq!(server_of(&client, &servers), 0);
            assert_eq!(client.peer_addr().unwrap(), external.socket());
        }
    });
}

#[test]
fn an_answer_is_not_ascribed_to_a_service_that_is_gone() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut datapath = started(&bench, &cgroup, &[&one, &two]);
        let echo = Echo::new(&two, two.addresses()[0]);
        let key = frontend(CLUSTER4, 53, Protocol::Udp);
        assert_eq!(datapath.apply(&services(vec![(key, service(1, &[1]))], vec![(1, echo.row())])), []);
        let client = inside(&one, &cgroup, || UdpSocket::bind("0.0.0.0:0").unwrap());
        client.set_read_timeout(Some(PATIENCE)).unwrap();
        client.send_to(b"ask", key.socket()).unwrap();
        assert_eq!(datapath.apply(&gone(vec![key], vec![1])), []);
        echo.answer();
        let (_, from) = client.recv_from(&mut [0; 16]).unwrap();
        assert_eq!(from, echo.0.local_addr().unwrap());
        // A socket that is connected anew speaks to whom it says.
        assert_eq!(datapath.apply(&services(vec![(key, service(1, &[2]))], vec![(2, echo.row())])), []);
        client.connect(key.socket()).unwrap();
        assert_eq!(client.peer_addr().unwrap(), key.socket());
        client.connect(echo.0.local_addr().unwrap()).unwrap();
        assert_eq!(client.peer_addr().unwrap(), echo.0.local_addr().unwrap());
    });
}

#[test]
fn a_service_without_backends_refuses() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let one = bench.add_pod(1);
        let mut datapath = started(&bench, &cgroup, &[&one]);
        let rows = [(1, CLUSTER4, Protocol::Tcp), (2, CLUSTER6, Protocol::Tcp), (3, CLUSTER4, Protocol::Udp)];
        let rows = rows.map(|(id, address, protocol)| (frontend(address, 80, protocol), service(id, &[])));
        assert_eq!(datapath.apply(&services(rows.to_vec(), Vec::new())), []);
        inside(&one, &cgroup, || {
            for to in [SocketAddr::new(CLUSTER4, 80), SocketAddr::new(CLUSTER6, 80), mapped(CLUSTER4, 80)] {
                assert_eq!(connect(to).unwrap_err().kind(), ErrorKind::ConnectionRefused, "{to}");
            }
            let client = UdpSocket::bind("0.0.0.0:0").unwrap();
            let to = SocketAddr::new(CLUSTER4, 80);
            assert_eq!(client.send_to(b"ask", to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
            assert_eq!(client.connect(to).unwrap_err().kind(), ErrorKind::ConnectionRefused);
        });
        let counts = datapath.packets().unwrap();
        let refused = counts.iter().find(|count| count.reason == 158).expect("refusals are counted");
        assert_eq!((refused.direction, refused.value.count), (Direction::Egress, 5));
    });
}

#[test]
fn a_client_with_affinity_keeps_its_backend_until_that_is_taken_out() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two, three) = (bench.add_pod(1), bench.add_pod(2), bench.add_pod(3));
        let mut datapath = started(&bench, &cgroup, &[&one, &two, &three]);
        let servers: Vec<Server> = (0..4)
            .map(|index| Server::new([&two, &three][index % 2], [&two, &three][index % 2].addresses()[0]))
            .collect();
        let rows = (1..).zip(&servers).map(|(id, server)| (id, server.row())).collect();
        let key = frontend(CLUSTER4, 80, Protocol::Tcp);
        let row = |slots: &[u32]| ServiceRow { affinity_timeout_s: Some(600), ..service(1, slots) };
        assert_eq!(datapath.apply(&services(vec![(key, row(&[1, 2, 3, 4]))], rows)), []);
        let server_of_pod = |pod: &Pod| {
            let client = inside(pod, &cgroup, || connect(key.socket())).unwrap();
            server_of(&client, &servers)
        };
        let first = server_of_pod(&one);
        for _ in 0..30 {
            assert_eq!(server_of_pod(&one), first);
        }
        // It ends, and has its row still: only new connections go elsewhere.
        let left: Vec<u32> = (1..=4).filter(|id| *id as usize != first + 1).collect();
        assert_eq!(datapath.apply(&services(vec![(key, row(&left))], Vec::new())), []);
        let second = server_of_pod(&one);
        assert_ne!(second, first);
        for _ in 0..30 {
            assert_eq!(server_of_pod(&one), second);
        }
        // Without affinity all are met.
        assert_eq!(datapath.apply(&services(vec![(key, service(1, &left))], Vec::new())), []);
        let mut met = BTreeSet::new();
        wait_until("not all backends are chosen", || {
            met.insert(server_of_pod(&one));
            met.len() == 3
        });
    });
}

#[test]
fn the_port_of_a_node_port_is_taken_in_the_nodes_namespace() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let one = bench.add_pod(1);
        let mut datapath = started(&bench, &cgroup, &[&one]);
        let node = bench.routers();
        let addresses = [node[0], node[1], LOOPBACK4, LOOPBACK6];
        let keys = addresses.map(|address| frontend(address, 30_080, Protocol::Tcp));
        let rows = (1..).zip(keys).map(|(id, key)| (key, node_port(id, &[]))).collect();
        assert_eq!(datapath.apply(&services(rows, Vec::new())), []);
        let any = [IpAddr::from(Ipv4Addr::UNSPECIFIED), Ipv6Addr::UNSPECIFIED.into()];
        let bind = |address: IpAddr, port| TcpListener::bind(SocketAddr::new(address, port));
        on_node(&bench, &cgroup, || {
            for address in addresses.into_iter().chain(any) {
                let refused = bind(address, 30_080).unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::AddrInUse, "{address}");
                assert!(bind(address, 30_081).is_ok(), "{address}");
                assert!(UdpSocket::bind(SocketAddr::new(address, 30_080)).is_ok(), "{address}");
            }
            assert!(TcpListener::bind(mapped(LOOPBACK4, 30_080)).is_err());
            assert!(bind(Ipv4Addr::new(127, 0, 0, 2).into(), 30_080).is_ok(), "no address of a NodePort");
        });
        inside(&one, &cgroup, || assert!(bind(any[0], 30_080).is_ok(), "a pod's ports are its own"));
        assert_eq!(datapath.apply(&gone(keys.to_vec(), Vec::new())), []);
        on_node(&bench, &cgroup, || assert!(bind(any[1], 30_080).is_ok()));
    });
}

#[test]
fn a_node_port_at_the_loopback_is_the_nodes_own() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut datapath = started(&bench, &cgroup, &[&one, &two]);
        for (id, loopback) in [(1, LOOPBACK4), (2, LOOPBACK6)] {
            let servers = [Server::new(&two, of_family(&two.addresses(), loopback.is_ipv6()))];
            let key = frontend(loopback, 30_080, Protocol::Tcp);
            let rows = vec![(u32::from(id), servers[0].row())];
            assert_eq!(datapath.apply(&services(vec![(key, node_port(id, &[id.into()]))], rows)), []);
            let client = on_node(&bench, &cgroup, || connect(key.socket())).unwrap();
            assert_eq!(server_of(&client, &servers), 0);
            let refused = inside(&one, &cgroup, || connect(key.socket())).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "nobody listens in the pod");
        }
    });
}

#[test]
fn connections_come_about_while_agents_come_and_go() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut datapath = started(&bench, &cgroup, &[&one, &two]);
        let servers = [Server::new(&two, two.addresses()[0])];
        let key = frontend(CLUSTER4, 80, Protocol::Tcp);
        let row = (key, service(1, &[1]));
        assert_eq!(datapath.apply(&services(vec![row.clone()], vec![(1, servers[0].row())])), []);
        drop(datapath);
        let mut wanted = desired(&[&one, &two]);
        wanted.services = [row].into();
        wanted.backends = [(1, servers[0].row())].into();
        let stop = AtomicBool::new(false);
        let made = thread::scope(|scope| {
            let clients = scope.spawn(|| {
                let mut made = 0;
                while !stop.load(Ordering::Relaxed) {
                    let client = inside(&one, &cgroup, || connect(key.socket())).unwrap();
                    assert_eq!(server_of(&client, &servers), 0);
                    assert_eq!(client.peer_addr().unwrap(), key.socket());
                    made += 1;
                }
                made
            });
            for _ in 0..5 {
                let mut next = Datapath::start(&config(&bench, Some(&cgroup))).unwrap();
                assert_eq!(next.socket_translation(), Ok(()));
                assert_eq!(cgroup.links(), 10);
                assert_eq!(next.resync(&wanted), []);
            }
            stop.store(true, Ordering::Relaxed);
            clients.join().unwrap()
        });
        assert!(made > 20, "only {made} connections");
    });
}

#[test]
fn programs_follow_the_configured_group_and_go_with_services() {
    let (bench, first, second) = (Bench::new(), Cgroup::new(), Cgroup::new());
    bench.run(|| {
        drop(Datapath::start(&config(&bench, Some(&first))).unwrap());
        drop(Datapath::start(&config(&bench, Some(&second))).unwrap());
        assert_eq!((first.links(), second.links()), (0, 10));
        // Sockets are not translated where they cannot be.
        let mut elsewhere = config(&bench, Some(&second));
        let nowhere = bench.bpffs().join("nowhere");
        elsewhere.services.as_mut().unwrap().cgroup = Some(nowhere.clone());
        let datapath = Datapath::start(&elsewhere).unwrap();
        let reason = datapath.socket_translation().unwrap_err();
        assert!(reason.contains(&nowhere.display().to_string()), "{reason}");
        drop(datapath);
        assert_eq!(second.links(), 0);
        drop(Datapath::start(&config(&bench, Some(&second))).unwrap());
        assert_eq!(second.links(), 10);
        let without = Datapath::start(&bench.config()).unwrap();
        assert_eq!(without.socket_translation(), Err("there are no services".into()));
        assert_eq!(second.links(), 0);
        drop(without);
        drop(Datapath::start(&config(&bench, Some(&second))).unwrap());
        cleanup(bench.bpffs()).unwrap();
        assert_eq!(second.links(), 0);
        assert_eq!(bench.pins(), Vec::<String>::new());
    });
}

/// A process in a pod, by which its namespace is found. It ends with this value.
struct Process(Child);

impl Process {
    fn new(pod: &Pod) -> Self {
        Self(pod.run(|| Command::new("sleep").arg("600").spawn().unwrap()))
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

/// Whether a socket is told that its connection was ended.
fn ends(socket: &TcpStream) -> bool {
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    (&*socket).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionAborted)
}

#[test]
fn connections_to_a_backend_that_went_are_ended_and_no_others() {
    let (bench, cgroup) = (Bench::new(), Cgroup::new());
    bench.run(|| {
        let (one, two) = (bench.add_pod(1), bench.add_pod(2));
        let mut datapath = started(&bench, &cgroup, &[&one, &two]);
        let _process = Process::new(&one);
        let servers = [Server::new(&two, two.addresses()[0])];
        let echo = Echo::new(&two, two.addresses()[1]);
        let (tcp, udp) = (frontend(CLUSTER4, 80, Protocol::Tcp), frontend(CLUSTER6, 53, Protocol::Udp));
        let backends = vec![(1, servers[0].row()), (2, echo.row())];
        let rows = vec![(tcp, service(1, &[1])), (udp, service(2, &[2]))];
        assert_eq!(datapath.apply(&services(rows, backends)), []);
        let of_pod = inside(&one, &cgroup, || connect(tcp.socket())).unwrap();
        let of_node = on_node(&bench, &cgroup, || connect(mapped(CLUSTER4, 80))).unwrap();
        let direct = inside(&one, &cgroup, || connect(servers[0].address())).unwrap();
        let datagrams = inside(&one, &cgroup, || UdpSocket::bind("[::]:0").unwrap());
        datagrams.connect(udp.socket()).unwrap();
        datagrams.set_read_timeout(Some(PATIENCE)).unwrap();
        // Those of a backend that ends go on.
        let ending = BackendRow { state: BackendState::Terminating, ..servers[0].row() };
        assert_eq!(datapath.apply(&services(vec![(tcp, service(1, &[]))], vec![(1, ending)])), []);
        assert_eq!(datapath.socket_totals().destroyed, 0);
        datagrams.send(b"ask").unwrap();
        echo.answer();
        datagrams.recv(&mut [0; 16]).unwrap();
        // To a pod that is still there TCP connections go on, which datagrams do not.
        assert_eq!(datapath.apply(&gone(vec![udp], vec![1, 2])), []);
        let told = datagrams.recv(&mut [0; 16]).unwrap_err();
        assert_eq!(told.kind(), ErrorKind::ConnectionAborted);
        wait_until("a pass ended", || datapath.socket_totals().passes > 0);
        assert_eq!(datapath.socket_totals().destroyed, 1);
        for open in [&of_pod, &of_node] {
            open.set_nonblocking(true).unwrap();
            assert_eq!((&*open).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
            open.set_nonblocking(false).unwrap();
        }
        let pod_ends = Deltas {
            endpoints: Delta { upserts: Vec::new(), removals: vec![two.row.id] },
            ..Deltas::default()
        };
        assert_eq!(datapath.apply(&pod_ends), []);
        assert!(ends(&of_pod) && ends(&of_node));
        wait_until("both were counted", || datapath.socket_totals().destroyed == 3);
        let totals = datapath.socket_totals();
        assert_eq!((totals.failures, totals.last_error), (0, None));
        direct.set_nonblocking(true).unwrap();
        assert_eq!((&direct).read(&mut [0]).unwrap_err().kind(), ErrorKind::WouldBlock);
    });
}
