// SPDX-License-Identifier: Apache-2.0
//! Many services as manifests, and what they cost our agent besides packets.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::manifests::documents;
use super::measure::{MeasureError, nanoseconds};
use super::{Agent, AgentError, AgentOptions, Ground, LabelMap, Manifest, PodName, pod_manifest};
use crate::lab::{Lab, Namespace, Pod};
use crate::plan::ServicesPlan;
use crate::record::ServicesRecord;
use crate::rules::kube_proxy::{MOST_SERVICES, SERVICE_PORT, cluster_ip};
use crate::scenario::{Answering, Kind, Listen, Manner, Outcome, Shot, send};

/// Services of one file: the agent reads no more than 1024 documents of one, and each service has two.
const PER_FILE: u32 = 500;
/// The port of backends that nobody ever connects to.
const PORT: u16 = 8080;
/// The first of their addresses: none of a pod's, of a service's, or of the world's.
const ELSEWHERE: u32 = u32::from_be_bytes([10, 128, 0, 0]);

/// A service of the lab's.
#[derive(Clone, Debug)]
pub(crate) struct ServiceManifest<'a> {
    /// Its name, and what its slice's begins with.
    pub name: &'a str,
    /// Its address.
    pub cluster_ip: Ipv4Addr,
    /// Its ports, with their protocols and the ports of its backends.
    pub ports: &'a [(u16, &'a str, u16)],
}

impl ServiceManifest<'_> {
    /// The service itself.
    pub(crate) fn service(&self) -> Value {
        let port = |(port, protocol, target): &(u16, &str, u16)| {
            json!({
                "name": format!("port-{port}"), "port": port, "protocol": protocol, "targetPort": target,
            })
        };
        let ports: Vec<Value> = self.ports.iter().map(port).collect();
        json!({
            "apiVersion": "v1", "kind": "Service",
            "metadata": {"name": self.name, "namespace": "default"},
            "spec": {"clusterIP": self.cluster_ip, "ports": ports},
        })
    }

    /// Its backends.
    pub(crate) fn slice(&self, backends: impl IntoIterator<Item = IpAddr>) -> Value {
        let port = |(port, protocol, target): &(u16, &str, u16)| json!({"name": format!("port-{port}"), "port": target, "protocol": protocol});
        let endpoint = |address: IpAddr| json!({"addresses": [address], "conditions": {"ready": true}});
        let endpoints: Vec<Value> = backends.into_iter().map(endpoint).collect();
        let ports: Vec<Value> = self.ports.iter().map(port).collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice",
            "metadata": {
                "name": format!("{}-1", self.name), "namespace": "default",
                "labels": {"kubernetes.io/service-name": self.name},
            },
            "addressType": "IPv4", "endpoints": endpoints, "ports": ports,
        })
    }
}

/// Files of the services of these numbers, each with so many backends that are nowhere: name and text.
pub(crate) fn services_elsewhere(numbers: &[u32], backends: u32) -> Vec<(String, String)> {
    let file = |(file, numbers): (usize, &[u32])| {
        let of = |number: &u32| {
            let name = format!("service-{number}");
            let ports = [(SERVICE_PORT, "TCP", PORT)];
            let service = ServiceManifest { name: &name, cluster_ip: cluster_ip(*number), ports: &ports };
            let first = number.wrapping_mul(backends);
            let address = |n| Ipv4Addr::from(ELSEWHERE.wrapping_add(first).wrapping_add(n)).into();
            [service.service(), service.slice((0..backends).map(address))]
        };
        let values: Vec<Value> = numbers.iter().flat_map(of).collect();
        (format!("services-{file}"), documents(&values))
    };
    numbers.chunks(PER_FILE as usize).enumerate().map(file).collect()
}

impl Agent {
    /// Puts several files of manifests, by name and text, in its directory and waits until all are realized.
    pub(crate) fn apply_files(&mut self, files: &[(String, String)]) -> Result<(), AgentError> {
        let manifests: Vec<_> = files.iter().map(|(name, text)| Manifest { name, text }).collect();
        self.apply_all(&manifests)
    }

    /// That the kernel's table of IPv4 backends has so many at least.
    fn check_backends(&self, wanted: u64) -> Result<(), AgentError> {
        let table = self.api().read("/map/cilium_lb4_backends")?;
        let found = table["cache"].as_array().map_or(0, Vec::len);
        if (found as u64) < wanted {
            return Err(AgentError::TooFewBackends { found, wanted });
        }
        Ok(())
    }

    /// That it has so many frontends of services at least.
    ///
    /// # Errors
    /// [`AgentError::TooFewServices`], [`AgentError::Api`].
    pub fn check_services(&self, wanted: u32) -> Result<(), AgentError> {
        let found = self.api().read("/service")?.as_array().map_or(0, Vec::len);
        if (found as u64) < u64::from(wanted) {
            return Err(AgentError::TooFewServices { found, wanted });
        }
        Ok(())
    }
}

/// The port that the measured service's backends answer at.
const ANSWERED: u16 = 7001;
/// How long a change may take until it is seen.
const SEEN: Duration = Duration::from_secs(10);
/// Name of the file of the slice that changes.
const SLICE: &str = "measured-slice";

/// Measures on a node of its own.
///
/// # Errors
/// [`MeasureError`]; nothing is left behind.
pub(super) fn measure(
    lab: &Lab,
    plan: &ServicesPlan,
    step: &mut dyn FnMut(String) -> Result<(), MeasureError>,
) -> Result<ServicesRecord, MeasureError> {
    let ServicesPlan { services, backends, changes, repetitions } = *plan;
    let mut record = ServicesRecord { services, backends, ..ServicesRecord::default() };
    step(format!("changing the backend of a service, {changes} times"))?;
    let mut ground = Ground::build(lab, "services", AgentOptions::default())?;
    let [client, a, b] = pods(lab, &ground)?;
    let listen = Listen { tcp: [ANSWERED].into(), ..Listen::default() };
    let _answering = [("a", &a), ("b", &b)]
        .map(|(name, pod)| Answering::start(ground.origin(pod), name, pod.address(), &listen));
    for answering in &_answering {
        if let Err(e) = answering {
            return Err(MeasureError::Load(e.to_string()));
        }
    }
    let others: Vec<u32> = (0..services.min(MOST_SERVICES - 1)).collect();
    let measured = ServiceManifest {
        name: "measured",
        cluster_ip: cluster_ip(MOST_SERVICES - 1),
        ports: &[(SERVICE_PORT, "TCP", ANSWERED)],
    };
    let service = documents(&[measured.service()]);
    ground.agent.apply(&Manifest { name: "measured", text: &service })?;
    let seen = Changes { ground: &ground, client: &client, service: &measured, ends: [&a, &b] };
    record.change_one_ns = seen.measure(changes)?;

    let files = services_elsewhere(&others, backends);
    for repetition in 1..=repetitions {
        step(format!("{services} services with {backends} backends each, {repetition} of {repetitions}"))?;
        for (name, _) in &files {
            if ground.agent.policy_dir().join(format!("{name}.yaml")).exists() {
                ground.agent.delete(name)?;
            }
        }
        let began = Instant::now();
        ground.agent.apply_files(&files)?;
        record.program_ns.push(nanoseconds(began));
        // At once: what it says is realized must be in the kernel by now.
        ground.agent.check_backends(u64::from(services) * u64::from(backends) + 1)?;
        ground.agent.check_services(services + 1)?;
    }
    record.resident_bytes = ground.agent.resident_bytes()?;
    step(format!("changing the backend of a service among {services}, {changes} times"))?;
    let seen = Changes { ground: &ground, client: &client, service: &measured, ends: [&a, &b] };
    record.change_all_ns = seen.measure(changes)?;
    Ok(record)
}

fn pods(lab: &Lab, ground: &Ground) -> Result<[Pod; 3], MeasureError> {
    let names = ["client", "a", "b"].map(|name| PodName { namespace: "default".into(), name: name.into() });
    let manifests = names.each_ref().map(|pod| pod_manifest(pod, &LabelMap::new(), &[]));
    ground.agent.put(&Manifest { name: "pods", text: &documents(&manifests) })?;
    let attach = |name: &PodName| -> Result<Pod, MeasureError> {
        Ok(ground.agent.attach(Namespace::create(lab, &format!("services-{}", name.name))?, name)?)
    };
    Ok([attach(&names[0])?, attach(&names[1])?, attach(&names[2])?])
}

/// A service whose one backend changes, and a client that sees it.
struct Changes<'a> {
    ground: &'a Ground,
    client: &'a Pod,
    service: &'a ServiceManifest<'a>,
    ends: [&'a Pod; 2],
}

impl Changes<'_> {
    /// How long each of so many changes takes from the file to the first new connection that the other backend answers.
    fn measure(&self, changes: u32) -> Result<Vec<u64>, MeasureError> {
        let to = SocketAddr::new(self.service.cluster_ip.into(), SERVICE_PORT);
        let manner = Manner { ask: true, ..Manner::default() };
        let shot = Shot { kind: Kind::Tcp, source: None, to, size: 1, within: SEEN, manner };
        // One thread for all of them: it enters the control group only once.
        self.ground.origin(self.client).run(|| {
            // The first one is not measured: where it began is not known.
            (0..=changes).map(|number| self.change(number, &shot)).skip(1).collect()
        })?
    }

    fn change(&self, number: u32, shot: &Shot) -> Result<u64, MeasureError> {
        let (pod, name) = if number.is_multiple_of(2) { (self.ends[0], "a") } else { (self.ends[1], "b") };
        let text = documents(&[self.service.slice([pod.address()])]);
        let began = Instant::now();
        self.ground.agent.put(&Manifest { name: SLICE, text: &text })?;
        loop {
            let seen = send(shot)?;
            if seen.answer.is_some_and(|answer| answer.by == name) {
                return Ok(nanoseconds(began));
            }
            // Before the very first there is no backend, and a refusal is right.
            if seen.outcome == Outcome::Dropped || began.elapsed() > SEEN {
                return Err(MeasureError::NotSeen { was: seen.outcome.name() });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_and_its_slice_name_each_other_and_their_ports() {
        let manifest = ServiceManifest {
            name: "web",
            cluster_ip: Ipv4Addr::new(10, 96, 0, 1),
            ports: &[(80, "TCP", 8080), (53, "UDP", 53)],
        };
        let (service, slice) = (manifest.service(), manifest.slice([IpAddr::from([10, 0, 0, 1])]));
        assert_eq!(slice["metadata"]["labels"]["kubernetes.io/service-name"], service["metadata"]["name"]);
        assert_eq!(
            service["spec"]["ports"][1],
            json!({"name": "port-53", "port": 53, "protocol": "UDP", "targetPort": 53})
        );
        assert_eq!(slice["ports"][0], json!({"name": "port-80", "port": 8080, "protocol": "TCP"}));
        assert_eq!(slice["endpoints"][0]["addresses"][0], "10.0.0.1");
    }

    #[test]
    fn ten_thousand_services_have_their_own_addresses_and_fit_the_agents_files() {
        let files = services_elsewhere(&(0..10_000).collect::<Vec<_>>(), 10);
        assert_eq!(files.len(), 20);
        // The agent reads no more of a file, the mark that comes to it included.
        assert!(files.iter().all(|(_, text)| text.len() < 4 << 20 && text.matches("---\n").count() < 1024));
        let (_, last) = &files[19];
        let last: Value = serde_json::from_str(last.rsplit("---\n").next().unwrap()).unwrap();
        let addresses: Vec<_> =
            last["endpoints"].as_array().unwrap().iter().map(|e| &e["addresses"][0]).collect();
        assert_eq!(
            (addresses.len(), addresses[0], addresses[9]),
            (10, &json!("10.129.134.150"), &json!("10.129.134.159"))
        );
    }
}
