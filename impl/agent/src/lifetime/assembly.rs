// SPDX-License-Identifier: Apache-2.0
//! The threads of the agent, joined.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};
use std::{io, thread};

use anyhow::{Context, Result};
use controlplane::{ControlPlane, EndpointOptions, Event, PodRange, SourceName};
use monitor::Hub;

use super::Restored;
use crate::config::{AllowLocalhost, Config};
use crate::control::{self, Control};
use crate::files::Watcher;
use crate::health::HealthPorts;
use crate::metrics::Counters;
use crate::monitoring::Monitoring;
use crate::node::Node;
use crate::realize::{Realizer, StateFiles, Target};
use crate::rest::Api;
use crate::state::StateDir;

/// How long threads may take to end. What is not done by then is done at the next start.
const END: Duration = Duration::from_millis(700);
/// How often a thread is looked at while it ends.
const LOOK: Duration = Duration::from_millis(2);

/// What the agent is made of.
pub struct Parts {
    /// What it was told.
    pub config: Config,
    /// The node it runs on.
    pub node: Node,
    /// Its state directory.
    pub state: StateDir,
    /// What was found there.
    pub restored: Restored,
    /// All addresses of the node.
    pub addresses: Vec<IpAddr>,
    /// What is counted.
    pub counters: Counters,
    /// Where health checks are answered.
    pub runtime: tokio::runtime::Handle,
}

/// The agent without its sockets: sources, control thread, realizing thread.
pub struct Assembly<T> {
    /// What the REST API is made of.
    pub api: Arc<Api<T>>,
    watcher: Option<Watcher>,
    controlling: JoinHandle<()>,
    realizing: JoinHandle<()>,
}

impl<T: Target> Assembly<T> {
    /// Starts the threads, and tells the control plane what was found.
    ///
    /// # Errors
    /// What cannot be had: the datapath, a thread, a watch.
    pub fn start<E>(parts: Parts, make: impl FnOnce() -> Result<T, E> + Send + 'static) -> Result<Self>
    where
        E: std::error::Error + From<io::Error> + Send + Sync + 'static,
    {
        let Parts { config, node, state, restored, addresses, counters, runtime } = parts;
        let plane = ControlPlane::new(desired(&config, &node))?;
        let (control, inbox) = Control::pair();
        let waker = control.clone();
        let copies = state.copies();
        let ports = HealthPorts::new(runtime, node.ipv4.is_some(), node.ipv6.is_some());
        let (realizer, realizing) =
            Realizer::start(StateFiles::new(state), ports, make, move || waker.look())
                .context("start the datapath")?;
        let listener = realizer.clone();
        let monitoring =
            Arc::new(Monitoring::new(config.telling.aggregation, move |level| listener.listen(level)));
        let heard = monitoring.clone();
        let hub = Hub::new(config.telling.monitor_queue, move |listening| heard.heard(listening));
        let parts = control::Parts {
            plane,
            realizer: realizer.clone(),
            hub: hub.clone(),
            counters: counters.clone(),
        };
        let controlling = control::start(&control, inbox, parts).context("start the control thread")?;
        // Before the state is known to be all: flows know frontends and backends by the ids that the tables have.
        match realizer.ask(|target| target.services())?.blocking_recv()? {
            Ok(restored) => control.tell(Event::RestoredServices(restored)),
            Err(reason) => tracing::error!(
                reason,
                "the ids of services are lost: connections through them may be chosen anew"
            ),
        }
        for event in restored.into_events() {
            control.tell(event);
        }
        control.tell(Event::NodeAddresses(addresses));
        let watcher = config.places.policy_dir.as_deref().map(|dir| {
            let (control, counters) = (control.clone(), counters.clone());
            Watcher::start(dir, &copies, config.services.kubernetes, move |event| {
                counters.event("k8s");
                control.tell(event);
            })
        });
        let watcher = watcher.transpose()?;
        let started = SystemTime::now();
        let api = Api { control, realizer, config, node, counters, hub, monitoring, started };
        Ok(Self { api: Arc::new(api), watcher, controlling, realizing })
    }

    /// A thread that has ended though nobody told it to: it panicked.
    pub fn dead_thread(&self) -> Option<String> {
        let dead = [&self.controlling, &self.realizing].into_iter().find(|thread| thread.is_finished());
        let name = |thread: &JoinHandle<()>| thread.thread().name().unwrap_or_default().to_owned();
        dead.map(name)
            .or_else(|| self.watcher.as_ref().filter(|watcher| watcher.is_dead()).map(|_| "files".into()))
    }

    /// Ends the sources, then the control thread, then the realizing thread, each after what it was told, and all within
    /// a moment. Whether all of it was done.
    pub fn stop(self) -> bool {
        let Self { api, watcher, controlling, realizing } = self;
        drop(watcher);
        api.control.stop();
        // Behind what the control thread hands over; should that thread never end, the process does.
        let deadline = Instant::now() + END;
        let ended = ends(controlling, deadline);
        api.realizer.stop();
        ends(realizing, deadline) && ended
    }
}

fn ends(thread: JoinHandle<()>, deadline: Instant) -> bool {
    let name = thread.thread().name().unwrap_or_default().to_owned();
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            tracing::error!(
                thread = name,
                "has not ended in time; what it was doing is done at the next start"
            );
            return false;
        }
        thread::sleep(LOOK);
    }
    let ended = thread.join().is_ok();
    if !ended {
        tracing::error!(thread = name, "had panicked");
    }
    ended
}

/// What the control plane is told once.
fn desired(config: &Config, node: &Node) -> controlplane::Config {
    let (workloads, services) = (&config.workloads, &config.services);
    let mut sources = BTreeSet::from([SourceName::State, SourceName::Node]);
    if config.places.policy_dir.is_some() {
        sources.insert(SourceName::Files);
    }
    controlplane::Config {
        services: loadbalancer::Config {
            kubernetes: services.kubernetes,
            algorithm: services.algorithm,
            node_ports: services.node_ports,
            local: node.pod_ranges(),
            frontends_max: services.frontends_max as usize,
            backends_max: services.backends_max as usize,
            slots_max: services.slots_max as usize,
        },
        cluster_name: workloads.cluster_name.clone(),
        cluster_id: 0,
        fixed_identities: workloads.fixed_identities.clone(),
        label_filter: workloads.label_filter.clone(),
        ipv4: node.ipv4.map(|ipv4| PodRange { range: ipv4.range, router: ipv4.router }),
        ipv6: node.ipv6.map(|ipv6| PodRange { range: ipv6.range, router: ipv6.router }),
        reserved: node.reserved.clone(),
        enforcement: workloads.enforcement,
        allow_localhost: workloads.allow_localhost == AllowLocalhost::Always,
        options: EndpointOptions::defaults(config.telling.debug),
        sources,
    }
}
