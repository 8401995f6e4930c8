// SPDX-License-Identifier: Apache-2.0
//! A small agent: it gives addresses, keeps endpoints, and can be told to misbehave. HTTP over a unix socket, in the
//! models of the `api` crate.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use api::{
    AddressPair, DaemonConfiguration, Endpoint, EndpointChangeRequest, EndpointState, ErrorBody,
    IpamResponse, NodeAddressing, NodeAddressingElement, Status, StatusResponse, StatusState,
};
use serde::Serialize;
use tempfile::TempDir;

/// The router of the node in both families.
pub const ROUTER: [&str; 2] = ["192.0.2.1", "2001:db8::1"];

/// A reply that is sent instead of the proper one.
#[derive(Clone, Debug)]
pub enum Fault {
    /// This status with this message.
    Refuse(u16, &'static str),
    /// The request is carried out, and then the connection is closed without a reply.
    CarryOutAndHangUp,
    /// The request is carried out, and no reply ever comes.
    CarryOutAndStall,
}

/// What the agent knows, and what was asked.
#[derive(Debug)]
pub struct State {
    pub ipv4: bool,
    pub ipv6: bool,
    pub device_mtu: Option<u32>,
    pub route_mtu: Option<u32>,
    pub health: StatusState,
    pub given: BTreeSet<String>,
    pub endpoints: BTreeMap<String, (EndpointChangeRequest, EndpointState)>,
    /// `METHOD /path` of each request.
    pub requests: Vec<String>,
    /// By the beginning of `METHOD /path`.
    pub faults: Vec<(&'static str, Fault)>,
    next: u8,
    stalled: Vec<UnixStream>,
}

/// The agent; it ends with the test.
pub struct Agent {
    directory: TempDir,
    state: Arc<Mutex<State>>,
}

impl Agent {
    /// With both families.
    pub fn start() -> Self {
        let directory = tempfile::tempdir().expect("temporary directory");
        let listener = UnixListener::bind(directory.path().join("agent.sock")).expect("listen");
        let state = Arc::new(Mutex::new(State {
            ipv4: true,
            ipv6: true,
            device_mtu: Some(1500),
            route_mtu: Some(1450),
            health: StatusState::Ok,
            given: BTreeSet::new(),
            endpoints: BTreeMap::new(),
            requests: Vec::new(),
            faults: Vec::new(),
            next: 10,
            stalled: Vec::new(),
        }));
        let shared = state.clone();
        // It holds nothing but memory, and dies with the process.
        thread::spawn(move || listener.incoming().flatten().for_each(|stream| serve(stream, &shared)));
        Self { directory, state }
    }

    pub fn socket(&self) -> PathBuf {
        self.directory.path().join("agent.sock")
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("state")
    }

    /// From now on, requests that begin so are answered so.
    pub fn fault(&self, request: &'static str, fault: Fault) {
        self.state().faults.push((request, fault));
    }

    /// Waits until a request that begins so has come.
    pub fn wait_for(&self, request: &str) {
        let end = Instant::now() + Duration::from_secs(20);
        while !self.state().requests.iter().any(|known| known.starts_with(request)) {
            assert!(Instant::now() < end, "{request} never came: {:?}", self.state().requests);
            thread::yield_now();
        }
    }

    /// Fails unless nothing is left of any ADD.
    #[track_caller]
    pub fn is_clean(&self) {
        let state = self.state();
        assert_eq!((&state.given, state.endpoints.len()), (&BTreeSet::new(), 0), "{:?}", state.requests);
    }
}

fn serve(mut stream: UnixStream, state: &Mutex<State>) {
    let Some((request, body)) = read(&stream) else { return };
    let mut state = state.lock().expect("state");
    state.requests.push(request.clone());
    let fault = state.faults.iter().find(|(begin, _)| request.starts_with(begin)).map(|f| f.1.clone());
    let (status, body) = match fault {
        Some(Fault::Refuse(status, message)) => reply(status, &ErrorBody::new(message)),
        Some(Fault::CarryOutAndHangUp) => {
            state.answer(&request, &body);
            return;
        }
        Some(Fault::CarryOutAndStall) => {
            state.answer(&request, &body);
            state.stalled.push(stream);
            return;
        }
        None => state.answer(&request, &body),
    };
    drop(state);
    // A plugin that was killed does not read its answer.
    let _ = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
}

fn read(stream: &UnixStream) -> Option<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream);
    let (mut first, mut length) = (String::new(), 0);
    reader.read_line(&mut first).ok()?;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).ok()?;
        if line.trim().is_empty() {
            break;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().ok()?;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some((first.trim().strip_suffix(" HTTP/1.1")?.replace("/v1", ""), body))
}

fn reply(status: u16, body: &impl Serialize) -> (u16, String) {
    (status, serde_json::to_string(body).expect("JSON"))
}

fn refuse(status: u16, message: &str) -> (u16, String) {
    reply(status, &ErrorBody::new(message))
}

impl State {
    fn answer(&mut self, request: &str, body: &[u8]) -> (u16, String) {
        let (method, path) = request.split_once(' ').expect("a request line");
        match (method, path) {
            ("GET", "/healthz") => reply(200, &self.status()),
            ("GET", "/config") => reply(200, &self.config()),
            ("GET", "/endpoint") => {
                reply(200, &self.endpoints.keys().map(|id| self.view(id)).collect::<Vec<_>>())
            }
            ("POST", _) if path.starts_with("/ipam?") => self.allocate(),
            ("DELETE", _) if path.starts_with("/ipam/") => self.release(&path["/ipam/".len()..]),
            _ => match (method, path.strip_prefix("/endpoint/container-id:")) {
                ("PUT", Some(id)) => self.create(id, body),
                ("GET", Some(id)) if self.endpoints.contains_key(id) => reply(200, &self.view(id)),
                ("DELETE", Some(id)) if self.endpoints.contains_key(id) => self.delete(id),
                ("GET" | "DELETE", Some(_)) => refuse(404, "no such endpoint"),
                _ => refuse(501, "this agent does not know that"),
            },
        }
    }

    fn status(&self) -> StatusResponse {
        let cilium = Some(Status { state: self.health, msg: "as told".into() });
        StatusResponse { cilium, ..StatusResponse::default() }
    }

    fn config(&self) -> DaemonConfiguration {
        let mut config = DaemonConfiguration::default();
        config.status.device_mtu = self.device_mtu;
        config.status.route_mtu = self.route_mtu;
        config
    }

    fn allocate(&mut self) -> (u16, String) {
        let n = self.next;
        self.next += 1;
        let router = |on: bool, ip: &str| {
            on.then(|| NodeAddressingElement {
                enabled: true,
                ip: ip.into(),
                ..NodeAddressingElement::default()
            })
        };
        let mut address = AddressPair::default();
        if self.ipv4 {
            address.ipv4 = Ipv4Addr::new(192, 0, 2, n).to_string();
        }
        if self.ipv6 {
            address.ipv6 = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, n.into()).to_string();
        }
        for ip in [&address.ipv4, &address.ipv6].into_iter().filter(|ip| !ip.is_empty()) {
            self.given.insert(ip.clone());
        }
        let host_addressing =
            NodeAddressing { ipv4: router(self.ipv4, ROUTER[0]), ipv6: router(self.ipv6, ROUTER[1]) };
        reply(201, &IpamResponse { address, host_addressing })
    }

    fn release(&mut self, ip: &str) -> (u16, String) {
        // The client writes the colons of IPv6 as they are.
        if self.given.remove(ip) { (200, String::new()) } else { refuse(404, "nobody has it") }
    }

    fn create(&mut self, id: &str, body: &[u8]) -> (u16, String) {
        let request: EndpointChangeRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(e) => return refuse(400, &e.to_string()),
        };
        if self.endpoints.contains_key(id) {
            return refuse(409, "this container has an endpoint");
        }
        self.endpoints.insert(id.into(), (request, EndpointState::Ready));
        (201, String::new())
    }

    fn delete(&mut self, id: &str) -> (u16, String) {
        if let Some((request, _)) = self.endpoints.remove(id) {
            let address = request.addressing.unwrap_or_default();
            self.given.retain(|ip| *ip != address.ipv4 && *ip != address.ipv6);
        }
        (200, String::new())
    }

    fn view(&self, id: &str) -> Endpoint {
        let (request, state) = &self.endpoints[id];
        let mut endpoint = Endpoint::default();
        endpoint.status.state = *state;
        endpoint.status.external_identifiers.container_id = request.container_id.clone().unwrap_or_default();
        let networking = &mut endpoint.status.networking;
        networking.interface_name = request.interface_name.clone().unwrap_or_default();
        networking.interface_index = request.interface_index.unwrap_or_default();
        networking.addressing = request.addressing.clone().into_iter().collect();
        endpoint
    }
}
