// SPDX-License-Identifier: Apache-2.0
//! The process: from its arguments to its end.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::os::unix::net::UnixListener;
use std::path::PathBuf;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use anyhow::{Context, Result};
use controlplane::Event;
use monitor::{AgentEvent, Server};
use netlink::{NetNs, Netlink};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};

use super::{Assembly, NamespaceLock, Parts, listen_unix, restore};
use crate::config::{Config, Loaded, Services, load};
use crate::kernel::{self, EventThread, Kernel};
use crate::metrics::Counters;
use crate::node::{Facts, Kept, Node, warn_of_overlap};
use crate::rest::{Api, rfc3339, serve_metrics, serve_unix};
use crate::state::{NodeFile, StateDir};
use crate::{logging, realize};

/// How often the node's addresses are looked at.
const ADDRESSES: Duration = Duration::from_secs(15);

/// How often the threads are looked at.
const WATCH: Duration = Duration::from_secs(1);

/// Runs the agent until it is told to end. The first argument is the program's name.
///
/// # Errors
/// What keeps it from starting, in one line.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<()> {
    let (config, settings, unknown_variables) = match load(arguments, std::env::vars_os())? {
        Loaded::Print(text) => {
            print!("{text}");
            return Ok(());
        }
        Loaded::Run { config, settings, unknown_variables } => (*config, settings, unknown_variables),
    };
    let counters = Counters::new()?;
    logging::start(config.telling.debug, counters.clone()).map_err(anyhow::Error::msg)?;
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "agent");
    logging::settings(&settings, &unknown_variables);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    // First of all: a signal while it starts must not leave things half done.
    let signals = {
        let _reactor = runtime.enter();
        [signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?]
    };
    let agent = Agent::start(config, counters, runtime.handle())?;
    let served = runtime.block_on(agent.serve(signals));
    // Requests under way are cut off: what was handed over is done, and their clients ask again.
    runtime.shutdown_background();
    agent.stop();
    served
}

/// The agent with its sockets.
struct Agent {
    assembly: Assembly<Kernel>,
    events: EventThread,
    monitor: Server,
    listener: UnixListener,
    metrics: Option<std::net::TcpListener>,
    sockets: [PathBuf; 2],
    netlink: Arc<Netlink>,
    namespace: NamespaceLock,
}

impl Agent {
    fn start(config: Config, counters: Counters, runtime: &tokio::runtime::Handle) -> Result<Self> {
        let state = StateDir::open(&config.places.state_dir)?;
        let namespace = NamespaceLock::take()?;
        let netlink = Netlink::open(&NetNs::current()?)?;
        let facts = Facts::read(&netlink)?;
        let kept = kept(&state);
        let node = Node::decide(&config.network, &facts, kept)?;
        if node.kept() != kept {
            state.write_node(NodeFile::Addressing, &node.kept())?;
        }
        tracing::info!(device = node.device, mtu = node.mtu, ipv4 = ?node.ipv4, ipv6 = ?node.ipv6, "node");
        let restored = if config.places.restore {
            let links: BTreeMap<_, _> =
                netlink.links()?.into_iter().map(|link| (link.name, link.index)).collect();
            restore(&state, &links)?
        } else {
            tracing::warn!("--restore=false: endpoints of the agent before are taken away");
            super::Restored::default()
        };
        tracing::info!(
            endpoints = restored.endpoints.len(),
            gone = restored.gone.len(),
            failed = restored.failed.len(),
            "restored"
        );

        let (socket, monitor_socket) =
            (config.places.socket_path.clone(), config.places.monitor_socket.clone());
        let metrics = config.telling.prometheus.map(|address| {
            std::net::TcpListener::bind(address).with_context(|| format!("--prometheus-serve-addr {address}"))
        });
        let metrics = metrics.transpose()?;
        let (target, services) = (kernel::config(&config, &node), config.services.clone());
        let addresses = facts.addresses();
        services.check_loopback(&node.pod_ranges(), &addresses)?;
        warn_of_overlap(services.node_ports);
        let runtime = runtime.clone();
        let parts = Parts { config, node, state, restored, addresses, counters, runtime };
        let assembly = Assembly::start(parts, move || start_kernel(target, &services))?;
        let api = &assembly.api;
        let reader = api.realizer.ask(|kernel| kernel.events())?.blocking_recv()??;
        let events = EventThread::start(reader, api.hub.clone()).context("start the thread of events")?;
        let monitor = Server::start(listen_unix("--monitor-socket", &monitor_socket)?, api.hub.clone())
            .context("--monitor-socket")?;
        let listener = listen_unix("--socket-path", &socket)?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            assembly,
            events,
            monitor,
            listener,
            metrics,
            sockets: [socket, monitor_socket],
            netlink: Arc::new(netlink),
            namespace,
        })
    }

    /// Serves until a signal comes.
    async fn serve(&self, signals: [tokio::signal::unix::Signal; 2]) -> Result<()> {
        let api = &self.assembly.api;
        let listener = tokio::net::UnixListener::from_std(self.listener.try_clone()?)?;
        tokio::spawn(serve_unix(listener, api.clone()));
        if let Some(metrics) = &self.metrics {
            let metrics = metrics.try_clone()?;
            metrics.set_nonblocking(true)?;
            tokio::spawn(serve_metrics(TcpListener::from_std(metrics)?, api.clone()));
        }
        tokio::spawn(follow_addresses(self.netlink.clone(), api.clone()));
        let since = api.started.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        let time = rfc3339(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
        api.hub.publish(monitor::Event::Agent(AgentEvent::Started { time }));
        tracing::info!(socket = %self.sockets[0].display(), "serving");
        let [mut terminate, mut interrupt] = signals;
        let mut watch = tokio::time::interval(WATCH);
        loop {
            let signal = std::future::poll_fn(|context| {
                if terminate.poll_recv(context).is_ready() {
                    return Poll::Ready(Some("SIGTERM"));
                }
                if interrupt.poll_recv(context).is_ready() {
                    return Poll::Ready(Some("SIGINT"));
                }
                watch.poll_tick(context).map(|_| None)
            });
            if let Some(name) = signal.await {
                tracing::info!(signal = name, "ending");
                return Ok(());
            }
            // Without one of its threads the agent does nothing any more, and whoever started it starts it again.
            if let Some(thread) = self.assembly.dead_thread().or_else(|| self.events.dead_thread()) {
                anyhow::bail!("the thread {thread:?} has ended: this is a defect of the agent, see the log");
            }
        }
    }

    /// Ends everything within a second. Programs and maps stay: pods go on talking.
    fn stop(self) {
        let Self { assembly, events, monitor, listener, metrics, sockets, netlink: _, namespace } = self;
        drop((listener, metrics));
        for path in sockets {
            if let Err(error) = fs::remove_file(&path) {
                tracing::warn!(path = %path.display(), %error, "the socket stays");
            }
        }
        drop(monitor);
        drop(events);
        if assembly.stop() {
            tracing::info!("ended");
        }
        // Last: the next agent must not start before this one has written all.
        drop(namespace);
    }
}

fn start_kernel(
    config: datapath::DatapathConfig,
    services: &Services,
) -> Result<Kernel, realize::TargetError> {
    Kernel::start(config, services).map_err(|e| realize::TargetError(e.to_string()))
}

/// What the agent before decided. Without it pods' addresses may change, so its loss is told.
fn kept(state: &StateDir) -> Kept {
    state
        .node(NodeFile::Addressing)
        .unwrap_or_else(|error| {
            tracing::error!(%error, "the prefixes of the agent before are lost and decided anew");
            None
        })
        .unwrap_or_default()
}

/// Tells the control plane when the node's addresses change.
async fn follow_addresses(netlink: Arc<Netlink>, api: Arc<Api<Kernel>>) {
    let mut known: Option<Vec<IpAddr>> = None;
    loop {
        tokio::time::sleep(ADDRESSES).await;
        let (netlink, control) = (netlink.clone(), api.control.clone());
        let before = known.take();
        // On a thread of its own: it blocks on the kernel, and on the control thread's queue.
        let looked = tokio::task::spawn_blocking(move || match Facts::read(&netlink) {
            Ok(facts) => {
                let addresses = facts.addresses();
                if before.as_ref() != Some(&addresses) {
                    control.tell(Event::NodeAddresses(addresses.clone()));
                }
                Some(addresses)
            }
            Err(error) => {
                tracing::warn!(%error, "the node's addresses cannot be looked at");
                before
            }
        });
        known = looked.await.ok().flatten();
    }
}
