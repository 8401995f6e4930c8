// SPDX-License-Identifier: Apache-2.0
//! Ports that are opened, asked, and closed.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use addr::Port;
use controlplane::{Delta, Row};
use loadbalancer::{HealthCheck, ObjectKey};
use tokio::sync::oneshot;

use super::HealthPorts;

const DEADLINE: Duration = Duration::from_secs(10);

/// A runtime on a thread, as the agent's main thread is.
struct Bench {
    ports: HealthPorts,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Bench {
    fn new(ipv6: bool) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ports = HealthPorts::new(runtime.handle().clone(), true, ipv6);
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::spawn(move || runtime.block_on(stopped).unwrap());
        Self { ports, stop: Some(stop), thread: Some(thread) }
    }

    fn reasons(&self) -> Vec<(Row, String)> {
        self.ports.failures().map(|failure| (failure.row, failure.reason)).collect()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
        self.thread.take().unwrap().join().unwrap();
    }
}

fn check(local_endpoints: u32) -> HealthCheck {
    let service = ObjectKey { namespace: "shop".into(), name: "web".into() };
    HealthCheck { service, local_endpoints }
}

fn set(port: Port, local_endpoints: u32) -> Delta<Port, HealthCheck> {
    Delta { upserts: vec![(port, check(local_endpoints))], removals: vec![] }
}

/// A port that nobody has. Somebody else may take it before it is used: then the test fails, and says so.
fn free() -> Port {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    Port::new(listener.local_addr().unwrap().port()).unwrap()
}

fn connect(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream
}

fn ask_at(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).unwrap();
    let mut reply = String::new();
    stream.read_to_string(&mut reply).unwrap();
    reply
}

fn local(port: Port) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port.get()).into()
}

const GET: &str = "GET /whatever HTTP/1.1\r\nhost: node\r\nconnection: close\r\n\r\n";

#[test]
fn a_load_balancer_is_told_how_many_endpoints_are_here() {
    let mut bench = Bench::new(false);
    let port = free();
    bench.ports.apply(&set(port, 2));
    assert_eq!(bench.reasons(), []);
    let reply = ask_at(local(port), GET).to_lowercase();
    assert!(reply.starts_with("http/1.1 200 ok\r\n"), "{reply}");
    assert!(reply.contains("\r\ncontent-type: application/json\r\n"), "{reply}");
    assert!(reply.contains("\r\nx-load-balancing-endpoint-weight: 2\r\n"), "{reply}");
    let body = r#"{"service":{"namespace":"shop","name":"web"},"localendpoints":2}"#;
    assert!(reply.ends_with(&format!("\r\n\r\n{body}")), "{reply}");
    // A connection that is kept hears of changes too.
    let mut kept = connect(local(port));
    bench.ports.apply(&set(port, 0));
    kept.write_all(GET.as_bytes()).unwrap();
    let mut reply = String::new();
    kept.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 503 Service Unavailable\r\n"), "{reply}");
    assert!(reply.contains("\"localEndpoints\":0"), "{reply}");
    let head = ask_at(local(port), &GET.replace("GET", "HEAD"));
    assert!(head.starts_with("HTTP/1.1 503") && head.ends_with("\r\n\r\n"), "{head}");
    let post = ask_at(local(port), &GET.replace("GET", "POST"));
    assert!(post.starts_with("HTTP/1.1 405"), "{post}");
}

#[test]
fn each_family_that_is_on_has_a_listener() {
    let mut bench = Bench::new(true);
    let port = free();
    bench.ports.apply(&set(port, 1));
    assert_eq!(bench.reasons(), []);
    assert!(ask_at(local(port), GET).starts_with("HTTP/1.1 200"));
    assert!(ask_at((Ipv6Addr::LOCALHOST, port.get()).into(), GET).starts_with("HTTP/1.1 200"));
    let mut only = Bench::new(false);
    let port = free();
    only.ports.apply(&set(port, 1));
    assert!(TcpStream::connect((Ipv6Addr::LOCALHOST, port.get())).is_err());
}

#[test]
fn a_port_that_is_gone_is_closed_at_once_with_its_connections() {
    let mut bench = Bench::new(false);
    let (port, other) = (free(), free());
    bench.ports.apply(&set(port, 1));
    let mut kept = connect(local(port));
    kept.write_all(GET.replace("connection: close\r\n", "").as_bytes()).unwrap();
    assert!(kept.read(&mut [0; 1024]).unwrap() > 0);
    // Another port in its place.
    let moved = Delta { removals: vec![port], ..set(other, 1) };
    bench.ports.apply(&moved);
    assert!(TcpStream::connect(local(port)).is_err());
    assert_eq!(kept.read(&mut [0; 1]).unwrap_or(0), 0, "the connection has ended");
    let again = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port.get()));
    assert!(again.is_ok(), "{again:?}");
    assert!(ask_at(local(other), GET).starts_with("HTTP/1.1 200"));
    bench.ports.resync(&[].into());
    assert!(TcpStream::connect(local(other)).is_err());
}

#[test]
fn a_port_that_another_has_is_told_and_had_when_that_is_gone() {
    let mut bench = Bench::new(false);
    let taken = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).unwrap();
    let port = Port::new(taken.local_addr().unwrap().port()).unwrap();
    bench.ports.apply(&set(port, 1));
    let other = free();
    bench.ports.apply(&set(other, 1));
    let told = [(
        Row::HealthCheck(port),
        format!(
            "load balancers cannot ask for shop/web: listen on 0.0.0.0:{port}: Address already in use (os error 98)"
        ),
    )];
    assert_eq!(bench.reasons(), told);
    assert!(ask_at(local(other), GET).starts_with("HTTP/1.1 200"), "others are not harmed");
    bench.ports.retry();
    assert_eq!(bench.reasons(), told);
    // What is the case by then is what is answered.
    bench.ports.apply(&set(port, 3));
    drop(taken);
    bench.ports.retry();
    assert_eq!(bench.reasons(), []);
    assert!(ask_at(local(port), GET).contains("\"localEndpoints\":3"));
}

#[test]
fn a_head_without_an_end_and_too_many_connections_harm_nobody() {
    let mut bench = Bench::new(false);
    let port = free();
    bench.ports.apply(&set(port, 1));
    let mut large = connect(local(port));
    let head = format!("GET / HTTP/1.1\r\nlong: {}", "x".repeat(64 << 10));
    // It may be closed before all of it is written.
    let _ = large.write_all(head.as_bytes());
    let mut reply = Vec::new();
    let _ = large.read_to_end(&mut reply);
    assert!(reply.is_empty() || reply.starts_with(b"HTTP/1.1 431"), "{}", String::from_utf8_lossy(&reply));
    // More than there are places for.
    let held: Vec<TcpStream> = (0..40).map(|_| connect(local(port))).collect();
    let mut waiting = connect(local(port));
    waiting.write_all(GET.as_bytes()).unwrap();
    waiting.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    let early = waiting.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(early.kind(), std::io::ErrorKind::WouldBlock), "{early}");
    drop(held);
    waiting.set_read_timeout(Some(DEADLINE)).unwrap();
    let mut reply = String::new();
    waiting.read_to_string(&mut reply).unwrap();
    assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
}
