// SPDX-License-Identifier: Apache-2.0
//! A file's text into what the control plane is told: rules, pods, namespaces, services and their endpoints.

use std::collections::BTreeMap;

use addr::{Port, Protocol};
use controlplane::{NamedPort, Namespace, Objects, Pod};
use identity::{Label, Source};
use loadbalancer::kubernetes as services;
use policy::ParseError;
use policy::kubernetes::{each_document, policy_of};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// The namespace of an object that names none.
const DEFAULT_NAMESPACE: &str = "default";

/// Versions of EndpointSlice.
const SLICES: &str = "discovery.k8s.io/v1";
const SLICES_BETA: &str = "discovery.k8s.io/v1beta1";

/// Why a file's objects are not taken.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// Nothing is in it: it may be half written. To take its objects away, delete the file.
    #[error("it holds no object; delete the file to take away what it held")]
    Empty,
    /// It is neither YAML nor JSON.
    #[error(transparent)]
    Syntax(#[from] ParseError),
    /// One of its objects makes no sense.
    #[error("object {number} ({name}): {problem}")]
    Object {
        /// Which, from one.
        number: usize,
        /// Its kind and name, as far as it says them.
        name: String,
        /// What is wrong, with the path of the field.
        problem: String,
    },
}

/// What a text holds.
#[derive(Debug, Default)]
pub struct Found {
    /// Its objects.
    pub objects: Objects,
    /// What its author should know.
    pub warnings: Vec<String>,
    /// How many services and endpoints were left out.
    pub left_out: usize,
}

/// What a text holds; of services and endpoints, if they are wanted.
///
/// # Errors
/// [`ObjectError`] about the first object that is wrong: a file is taken as a whole or not at all.
pub fn objects(text: &str, services: bool) -> Result<Found, ObjectError> {
    let mut found = Found::default();
    let mut empty = true;
    each_document(text, |index, document| {
        if document.is_null() {
            return Ok(());
        }
        empty = false;
        found.add(&document, services).map_err(|problem| ObjectError::Object {
            number: index + 1,
            name: name(&document),
            problem,
        })
    })?;
    if empty { Err(ObjectError::Empty) } else { Ok(found) }
}

impl Found {
    fn add(&mut self, document: &Value, services: bool) -> Result<(), String> {
        if let Some(policy) = policy_of(document).map_err(|e| e.to_string())? {
            let name = format!("{} {}/{}", policy.kind, policy.namespace, policy.name);
            self.warnings.extend(policy.warnings.into_iter().map(|warning| format!("{name}: {warning}")));
            self.objects.rules.extend(policy.rules);
            return Ok(());
        }
        let objects = &mut self.objects;
        let text = |field| document.get(field).and_then(Value::as_str).unwrap_or_default();
        match (text("apiVersion"), text("kind")) {
            ("v1", "Pod") => objects.pods.push(pod(document)?),
            ("v1", "Namespace") => objects.namespaces.push(namespace(read(document)?)?),
            ("v1", "Service" | "Endpoints") | (SLICES | SLICES_BETA, "EndpointSlice") if !services => {
                self.left_out += 1;
            }
            ("v1", "Service") => {
                objects.services.push(services::service(document).map_err(|e| e.to_string())?);
            }
            ("v1", "Endpoints") => {
                objects.slices.extend(services::endpoints(document).map_err(|e| e.to_string())?);
            }
            (SLICES | SLICES_BETA, "EndpointSlice") => {
                objects.slices.push(services::endpoint_slice(document).map_err(|e| e.to_string())?);
            }
            (version, kind) => {
                return Err(format!(
                    "kind {kind:?} of {version:?} is not read from files: only CiliumNetworkPolicy, NetworkPolicy, \
                     Pod, Namespace, Service, EndpointSlice and Endpoints are"
                ));
            }
        }
        Ok(())
    }
}

fn name(document: &Value) -> String {
    let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or("?").to_owned();
    let metadata = document.get("metadata");
    format!("{} {}", text(document.get("kind")), text(metadata.and_then(|metadata| metadata.get("name"))))
}

fn read<T: DeserializeOwned>(document: &Value) -> Result<T, String> {
    serde_path_to_error::deserialize(document).map_err(|e| format!("{}: {}", e.path(), e.inner()))
}

/// What matters of `v1` objects; the rest of them is Kubernetes' own.
#[derive(Deserialize)]
struct Object {
    metadata: Metadata,
    #[serde(default)]
    spec: PodSpec,
}

#[derive(Deserialize)]
struct Metadata {
    name: String,
    namespace: Option<String>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PodSpec {
    service_account_name: Option<String>,
    #[serde(default)]
    containers: Vec<Container>,
}

#[derive(Deserialize)]
struct Container {
    ports: Option<Vec<ContainerPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ContainerPort {
    name: Option<String>,
    container_port: u16,
    protocol: Option<String>,
}

fn pod(document: &Value) -> Result<Pod, String> {
    let object: Object = read(document)?;
    let Metadata { name, namespace, labels } = object.metadata;
    let mut named_ports = Vec::new();
    let ports = object.spec.containers.into_iter().flat_map(|container| container.ports.unwrap_or_default());
    for port in ports {
        let Some(name) = port.name.filter(|name| !name.is_empty()) else { continue };
        let protocol = match port.protocol.as_deref() {
            None | Some("") => Ok(Protocol::Tcp),
            Some(protocol) => protocol.parse::<Protocol>().map_err(|e| e.to_string()),
        };
        let number = Port::new(port.container_port).ok_or_else(|| "containerPort must not be 0".to_owned());
        let (protocol, port) = protocol
            .and_then(|protocol| Ok((protocol, number?)))
            .map_err(|e| format!("port {name:?}: {e}"))?;
        named_ports.push(NamedPort { name, protocol, port });
    }
    Ok(Pod {
        name: named(name)?,
        namespace: namespace.filter(|name| !name.is_empty()).unwrap_or_else(|| DEFAULT_NAMESPACE.into()),
        labels: checked(labels)?,
        service_account: object.spec.service_account_name.filter(|name| !name.is_empty()),
        named_ports,
        host_ports: services::pod_host_ports(document).map_err(|e| e.to_string())?,
    })
}

fn namespace(object: Object) -> Result<Namespace, String> {
    Ok(Namespace { name: named(object.metadata.name)?, labels: checked(object.metadata.labels)? })
}

fn named(name: String) -> Result<String, String> {
    if name.is_empty() { Err("metadata.name: must not be empty".into()) } else { Ok(name) }
}

/// Labels that can be labels of a workload.
fn checked(labels: Option<BTreeMap<String, String>>) -> Result<BTreeMap<String, String>, String> {
    let labels = labels.unwrap_or_default();
    for (key, value) in &labels {
        Label::new(Source::K8s, key, value).map_err(|e| format!("metadata.labels.{key}: {e}"))?;
    }
    Ok(labels)
}
