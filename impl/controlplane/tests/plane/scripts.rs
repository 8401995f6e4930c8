// SPDX-License-Identifier: Apache-2.0
//! Scripts: events in the formats that users write, and the tables that follow.

use std::collections::BTreeMap;
use std::net::IpAddr;

use controlplane::{EndpointRef, EndpointRequest, Event, NamedPort, Namespace, Objects, Pod};
use identity::Labels;
use loadbalancer::{ApiService, kubernetes};
use serde::Deserialize;
use serde_json::Value;

use crate::world::{World, dump, request};

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct Script {
    about: String,
    /// Whether every rotation and reversal of the steps makes the same tables.
    #[serde(default)]
    any_order: bool,
    steps: Vec<Step>,
    tables: String,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
enum Step {
    /// An endpoint is made.
    Endpoint(Endpoint),
    /// The endpoint of this number is deleted.
    Delete(u8),
    /// A file holds these documents.
    File(File),
    /// `policy import`.
    Import(String),
    /// `PUT /service/{id}`.
    Service(ApiService),
    /// The addresses of the node.
    Node(Vec<IpAddr>),
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Endpoint {
    /// Its address is `10.0.0.<n>`, its container `c<n>`.
    n: u8,
    /// `NAMESPACE/NAME`.
    pod: Option<String>,
    #[serde(default)]
    labels: Vec<String>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default)]
    text: String,
}

fn objects(text: &str) -> Objects {
    let mut objects = Objects::default();
    for document in policy::kubernetes::documents(text).unwrap() {
        match document["kind"].as_str() {
            Some("Pod") => objects.pods.push(pod(&document)),
            Some("Namespace") => objects.namespaces.push(Namespace {
                name: text_of(&document["metadata"]["name"]),
                labels: map(&document["metadata"]["labels"]),
            }),
            Some("Service") => objects.services.push(kubernetes::service(&document).unwrap()),
            Some("EndpointSlice") => objects.slices.push(kubernetes::endpoint_slice(&document).unwrap()),
            Some("Endpoints") => objects.slices.extend(kubernetes::endpoints(&document).unwrap()),
            _ => objects.rules.extend(policy::kubernetes::policy_of(&document).unwrap().unwrap().rules),
        }
    }
    objects
}

fn text_of(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn map(value: &Value) -> BTreeMap<String, String> {
    let pairs = value.as_object().into_iter().flatten();
    pairs.map(|(key, value)| (key.clone(), text_of(value))).collect()
}

fn pod(document: &Value) -> Pod {
    let containers = document["spec"]["containers"].as_array().into_iter().flatten();
    let ports = containers.flat_map(|container| container["ports"].as_array().into_iter().flatten());
    Pod {
        host_ports: kubernetes::pod_host_ports(document).unwrap(),
        namespace: text_of(&document["metadata"]["namespace"]),
        name: text_of(&document["metadata"]["name"]),
        labels: map(&document["metadata"]["labels"]),
        service_account: document["spec"]["serviceAccountName"].as_str().map(str::to_owned),
        named_ports: ports
            .filter(|port| port["name"].is_string())
            .map(|port| NamedPort {
                name: text_of(&port["name"]),
                protocol: port["protocol"].as_str().unwrap_or("TCP").parse().unwrap(),
                port: addr::Port::new(port["containerPort"].as_u64().unwrap() as u16).unwrap(),
            })
            .collect(),
    }
}

fn take(world: &mut World, step: &Step) {
    let ticket = world.ticket();
    let event = match step {
        Step::Endpoint(endpoint) => {
            let mut request: EndpointRequest = request(endpoint.n, &[]);
            request.labels = Labels::parse(&endpoint.labels).unwrap();
            if let Some((namespace, name)) = endpoint.pod.as_deref().and_then(|pod| pod.split_once('/')) {
                (request.k8s_namespace, request.k8s_pod_name) = (namespace.to_owned(), name.to_owned());
            }
            Event::EndpointCreate { ticket, request }
        }
        Step::Delete(n) => {
            Event::EndpointDelete { ticket, endpoint: EndpointRef::ContainerId(format!("c{n}")) }
        }
        Step::File(file) => Event::Source { file: file.name.clone(), objects: objects(&file.text) },
        Step::Import(json) => {
            Event::PolicyAdd { ticket, rules: policy::parse_rules_json(json).unwrap(), replace: false }
        }
        Step::Service(service) => Event::ServicePut { ticket, service: service.clone() },
        Step::Node(addresses) => Event::NodeAddresses(addresses.clone()),
    };
    world.send(event);
    world.realize();
    assert!(world.replies.values().all(Result::is_ok), "{:?}", world.replies);
}

fn run(script: &str) {
    let script: Script = serde_saphyr::from_str(script).unwrap();
    let mut orders = vec![script.steps.clone()];
    if script.any_order {
        for at in 0..script.steps.len() {
            let mut rotated = script.steps.clone();
            rotated.rotate_left(at);
            orders.push(rotated.iter().rev().cloned().collect());
            orders.push(rotated);
        }
    }
    for steps in orders {
        let mut world = World::started();
        steps.iter().for_each(|step| take(&mut world, step));
        let tables = dump(&world.plane);
        assert!(tables == script.tables, "{}\nexpected\n{}\nfound\n{tables}", script.about, script.tables);
    }
}

#[test]
fn a_network_policy_selects_pods_by_their_namespace() {
    run(include_str!("scripts/namespaces.yaml"));
}

#[test]
fn a_rule_with_prefixes_speaks_of_the_world_and_of_no_pod() {
    run(include_str!("scripts/prefixes.yaml"));
}

#[test]
fn a_rule_with_services_speaks_of_the_endpoints_of_those_without_a_selector_and_of_no_pod() {
    run(include_str!("scripts/to-services.yaml"));
}

#[test]
fn named_ports_mean_what_the_pod_calls_so() {
    run(include_str!("scripts/named-ports.yaml"));
}

#[test]
fn a_service_has_the_backends_of_its_slices_in_whatever_file_they_are() {
    run(include_str!("scripts/services.yaml"));
}

#[test]
fn a_node_port_and_a_host_port_are_at_the_addresses_of_the_node() {
    run(include_str!("scripts/node-ports.yaml"));
}

#[test]
fn of_two_that_want_a_frontend_one_has_it_and_the_other_is_listed() {
    run(include_str!("scripts/contested.yaml"));
}

#[test]
fn a_deleted_endpoint_leaves_nothing() {
    run(include_str!("scripts/deleted.yaml"));
}
