// SPDX-License-Identifier: Apache-2.0
//! The REST API as its clients see it: the real control plane, a datapath in memory, and the client of the `api` crate.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use api::{
    AddressPair, Client, ClientError, DaemonConfigurationSpec, EndpointChangeRequest,
    EndpointConfigurationSpec, EndpointHealthStatus, EndpointState, LabelConfigurationSpec, Port,
    PortProtocol, StatusState, TraceFrom, TraceSelector, TraceTo, Verdict,
};
use tokio::sync::oneshot;

use crate::config::{Loaded, load};
use crate::lifetime::{Assembly, Parts, Restored, listen_unix, restore};
use crate::memory::{MAP, Memory};
use crate::metrics::Counters;
use crate::node::{Facts, Kept, Node};
use crate::rest::serve_unix;
use crate::state::StateDir;

const DEADLINE: Duration = Duration::from_secs(20);
const RULE: &str = r#"[{"endpointSelector":{"matchLabels":{"app":"web"}},
  "ingress":[{"fromEndpoints":[{"matchLabels":{"app":"client"}}],"toPorts":[{"ports":[{"port":"80","protocol":"TCP"}]}]}],
  "labels":[{"key":"name","value":"web","source":"unspec"}]}]"#;

mod endpoints;
mod requests;
mod rules;
mod services;
mod starting;
mod views;

/// An agent without a kernel's datapath.
struct Bench {
    dir: PathBuf,
    client: Client,
    assembly: Assembly<Memory>,
    stop: oneshot::Sender<()>,
    server: JoinHandle<()>,
}

impl Bench {
    fn start(
        dir: &Path,
        flags: &[&str],
        target: Memory,
        restored: impl FnOnce(&StateDir) -> Restored,
    ) -> Self {
        let socket = dir.join("agent.sock");
        let own = [
            "cilium-agent".to_owned(),
            "--ipv4-range=10.1.0.0/24".to_owned(),
            format!("--socket-path={}", socket.display()),
        ];
        let arguments = own.into_iter().chain(flags.iter().map(ToString::to_string)).map(Into::into);
        let Ok(Loaded::Run { config, .. }) = load(arguments, []) else { panic!("{flags:?}") };
        let node = Node::decide(&config.network, &Facts::default(), Kept::default()).unwrap();
        let state = StateDir::open(dir).unwrap();
        let restored = restored(&state);
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        let counters = Counters::new().unwrap();
        let serving = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let runtime = serving.handle().clone();
        let parts = Parts { config: *config, node, state, restored, addresses, counters, runtime };
        let assembly = Assembly::start(parts, || Ok::<_, std::io::Error>(target)).unwrap();
        let (stop, stopped) = oneshot::channel();
        let listener = listen_unix("--socket-path", &socket).unwrap();
        listener.set_nonblocking(true).unwrap();
        let api = assembly.api.clone();
        let server = std::thread::spawn(move || {
            serving.block_on(async {
                let listener = tokio::net::UnixListener::from_std(listener).unwrap();
                tokio::spawn(serve_unix(listener, api));
                stopped.await.unwrap();
            });
        });
        Self { dir: dir.into(), client: Client::with_timeout(socket, DEADLINE), assembly, stop, server }
    }

    fn new(dir: &Path) -> Self {
        Self::start(dir, &[], Memory::default(), |_| Restored::default())
    }

    fn ask<R: Send + 'static>(&self, question: impl FnOnce(&mut Memory) -> R + Send + 'static) -> R {
        self.assembly.api.realizer.ask(question).unwrap().blocking_recv().unwrap()
    }

    /// A pod as the CNI plugin attaches it, with its address.
    fn attach(&self, name: &str, labels: &[&str]) -> (u16, String) {
        let given = self.client.allocate(Some("ipv4"), name).unwrap();
        let request = attachment(name, labels, &given.address.ipv4);
        let endpoint =
            self.client.create_endpoint(&format!("container-id:{name}"), &request).unwrap().unwrap();
        (endpoint.id, given.address.ipv4)
    }

    /// The raw reply to raw bytes.
    fn raw(&self, request: &str) -> String {
        let mut stream = UnixStream::connect(self.dir.join("agent.sock")).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        reply
    }

    fn stop(self) {
        self.stop.send(()).unwrap();
        self.server.join().unwrap();
        assert!(self.assembly.stop());
    }
}

fn attachment(name: &str, labels: &[&str], ipv4: &str) -> EndpointChangeRequest {
    EndpointChangeRequest {
        state: EndpointState::WaitingForIdentity,
        container_id: Some(name.into()),
        labels: Some(labels.iter().map(ToString::to_string).collect()),
        interface_name: Some(format!("lxc-{name}")),
        interface_index: Some(7),
        mac: Some("02:00:00:00:00:01".into()),
        host_mac: Some("02:00:00:00:00:02".into()),
        addressing: Some(AddressPair { ipv4: ipv4.into(), ipv6: String::new() }),
        sync_build_endpoint: Some(true),
        ..EndpointChangeRequest::default()
    }
}

#[track_caller]
fn refused<R: std::fmt::Debug>(reply: Result<R, ClientError>, status: u16, parts: &[&str]) {
    let error = reply.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.status(), Some(status), "{text}");
    for part in parts {
        assert!(text.contains(part), "{text:?} does not say {part:?}");
    }
}

fn wait<R>(condition: impl Fn() -> Option<R>) -> R {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = condition() {
            return found;
        }
        assert!(Instant::now() < deadline, "it did not come to be");
        std::thread::yield_now();
    }
}
