// SPDX-License-Identifier: Apache-2.0
//! The manifests in an agent's directory: written whole, and waited for until every endpoint has what they say.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use serde_json::{Value, json};

use super::{Agent, AgentError};

/// What is wrong with a manifest before the agent has seen it.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// Its name is that of a file.
    #[error("{0:?} is no name of a manifest: letters, digits, '-' and '.'")]
    Name(String),
    /// There is none of that name.
    #[error("there is no manifest {0:?} to delete")]
    Absent(String),
}

/// A file of manifests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest<'a> {
    /// Name of the file, without its ending.
    pub name: &'a str,
    /// YAML; several documents are separated by `---`.
    pub text: &'a str,
}

/// Namespace and name of a pod.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PodName {
    /// Kubernetes namespace.
    pub namespace: String,
    /// Name in it.
    pub name: String,
}

impl fmt::Display for PodName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Labels of a pod or namespace.
pub type LabelMap = BTreeMap<String, String>;

/// A port of a pod.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PodPort<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its number.
    pub port: u16,
    /// `TCP` or `UDP`.
    pub protocol: &'a str,
    /// The port of the node that leads to it.
    pub host_port: Option<u16>,
}

/// The manifest of a pod, as much of it as a network agent looks at.
pub(crate) fn pod(name: &PodName, labels: &LabelMap, ports: &[PodPort<'_>]) -> Value {
    let ports: Vec<Value> = ports
        .iter()
        .map(|PodPort { name, port, protocol, host_port }| {
            let mut value = json!({"name": name, "containerPort": port, "protocol": protocol});
            if let Some(port) = host_port {
                value["hostPort"] = (*port).into();
            }
            value
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": name.name, "namespace": name.namespace, "labels": labels},
        "spec": {"containers": [{"name": "main", "image": "none", "ports": ports}]},
    })
}

/// The manifest of a namespace.
pub(crate) fn namespace(name: &str, labels: &LabelMap) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
}

/// Several documents as one text: JSON is YAML.
pub(crate) fn documents(values: &[Value]) -> String {
    values.iter().map(|value| format!("---\n{value}\n")).collect()
}

/// Puts files of manifests into an agent's directory.
#[derive(Clone, Debug)]
pub struct Writer {
    /// Where they are written.
    staging: PathBuf,
    /// Where they then appear whole.
    directory: PathBuf,
}

impl Writer {
    /// Puts a file of manifests there, in place of one of that name, and does not wait for anything.
    ///
    /// # Errors
    /// [`AgentError::Manifest`], [`AgentError::Io`].
    pub fn put(&self, manifest: &Manifest<'_>) -> Result<(), AgentError> {
        let file = file_name(manifest.name)?;
        let (new, path) = (self.staging.join(&file), self.directory.join(&file));
        fs::write(&new, manifest.text).map_err(AgentError::io("write", &new))?;
        fs::rename(&new, &path).map_err(AgentError::io("write", &path))
    }
}

/// A policy that selects nobody, by its name. A file that has it shows among the rules when it has been taken in, and so
/// it is known when an agent has realized all of the file, whatever else is in it: a file is one change.
struct Mark(String);

impl Mark {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        // Of one length, so that none is the beginning of another.
        Self(format!("lab-mark-{:010}", NEXT.fetch_add(1, Ordering::Relaxed)))
    }

    fn document(&self) -> String {
        let value = json!({
            "apiVersion": "cilium.io/v2", "kind": "CiliumNetworkPolicy",
            "metadata": {"name": self.0, "namespace": "lab-marks"},
            "spec": {"endpointSelector": {"matchLabels": {"lab-mark": "nobody"}}, "ingress": [{}]},
        });
        documents(&[value])
    }

    /// Whether it is among the rules of `GET /policy`.
    fn is_in(&self, policy: &Value) -> bool {
        policy["policy"].as_str().is_some_and(|rules| rules.contains(&self.0))
    }
}

impl Agent {
    /// What puts files of manifests into its directory.
    pub fn writer(&self) -> Writer {
        Writer { staging: self.staging_dir(), directory: self.policy_dir() }
    }

    /// Puts a file of manifests in its directory, in place of one of that name, and does not wait for anything.
    ///
    /// # Errors
    /// [`AgentError::Manifest`], [`AgentError::Io`].
    pub fn put(&self, manifest: &Manifest<'_>) -> Result<(), AgentError> {
        self.writer().put(manifest)
    }

    /// Puts a file of any manifests in its directory and waits until it is realized.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn apply(&mut self, manifest: &Manifest<'_>) -> Result<(), AgentError> {
        self.apply_all(std::slice::from_ref(manifest))
    }

    /// As [`Self::apply`], with several files at once.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn apply_all(&mut self, manifests: &[Manifest<'_>]) -> Result<(), AgentError> {
        let mut marks = Vec::new();
        for manifest in manifests {
            let mark = Mark::new();
            let text = format!("{}\n{}", manifest.text.trim_end(), mark.document());
            self.put(&Manifest { text: &text, ..manifest.clone() })?;
            marks.push((manifest.name, mark));
        }
        let names: Vec<&str> = marks.iter().map(|(name, _)| *name).collect();
        self.wait_realized(&names, |policy| {
            let missing = marks.iter().find(|(_, mark)| !mark.is_in(policy));
            missing.map_or(Ok(()), |(name, _)| Err(format!("{name:?} is not taken in")))
        })
    }

    /// Puts a file of policies in its directory and waits until every endpoint enforces it.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn apply_policy(&mut self, manifest: &Manifest<'_>) -> Result<(), AgentError> {
        let before = self.policy_revision()?;
        self.put(manifest)?;
        self.wait_realized(&[manifest.name], |policy| newer(policy, before))
    }

    /// Takes a file away that was put there by [`Self::apply_policy`], [`Self::apply`] or [`Self::apply_all`], and waits until
    /// nothing of it is in force any more.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn delete(&mut self, name: &str) -> Result<(), AgentError> {
        let before = self.policy_revision()?;
        let path = self.policy_dir().join(file_name(name)?);
        if !path.is_file() {
            return Err(ManifestError::Absent(name.into()).into());
        }
        fs::remove_file(&path).map_err(AgentError::io("remove", &path))?;
        self.wait_realized(&[name], |policy| newer(policy, before))
    }

    /// That the policy map of every endpoint has so many entries in the kernel.
    ///
    /// # Errors
    /// [`AgentError::TooFewEntries`], [`AgentError::Api`].
    pub fn check_policy_entries(&self, wanted: u32) -> Result<(), AgentError> {
        let api = self.api();
        let endpoints = api.read("/endpoint")?;
        for endpoint in endpoints.as_array().into_iter().flatten().filter_map(|e| e["id"].as_u64()) {
            let map = api.read(&format!("/map/cilium_policy_{endpoint:05}"))?;
            let found = map["cache"].as_array().map_or(0, Vec::len);
            if (found as u64) < u64::from(wanted) {
                return Err(AgentError::TooFewEntries { endpoint, found, wanted });
            }
        }
        Ok(())
    }

    /// The revision of the policies that the agent has.
    ///
    /// # Errors
    /// [`AgentError::Api`].
    pub fn policy_revision(&self) -> Result<u64, AgentError> {
        Ok(revision_of(&self.api().read("/policy")?))
    }

    /// Waits until the agent's policies, as `GET /policy` tells of them, are as they should be, and every endpoint has them.
    fn wait_realized(
        &mut self,
        names: &[&str],
        taken: impl Fn(&Value) -> Result<(), String>,
    ) -> Result<(), AgentError> {
        let all = names.join(", ");
        let taken_in = self.wait_until(format!("the agent did not take the change of {all} in"), |api| {
            let policy = api.read("/policy")?;
            let Err(last) = taken(&policy) else { return Ok(Ok(Ok(revision_of(&policy)))) };
            let health = api.read("/healthz")?;
            let refused = names.iter().find_map(|name| {
                let said = refusal_of(&health, &format!("/{name}.yaml"))?;
                Some(AgentError::Refused { name: (*name).into(), said })
            });
            Ok(refused.map_or(Err(last), |refused| Ok(Err(refused))))
        })?;
        let revision = taken_in?;
        self.wait_until(format!("not every endpoint had the change of {all}"), |api| {
            Ok(behind(&api.read("/endpoint")?, revision).map_or(Ok(()), Err))
        })
    }

    /// Waits until an endpoint's identity has these labels, given as the agent prints them (`k8s:app=x`).
    ///
    /// # Errors
    /// [`AgentError::NotRealized`], [`AgentError::Api`].
    pub fn wait_for_labels(&mut self, pod: &PodName, labels: &[String]) -> Result<(), AgentError> {
        self.wait_until(format!("endpoint {pod} had not the labels {}", labels.join(" ")), |api| {
            let endpoints = api.read("/endpoint")?;
            let Some(endpoint) = endpoint_of(&endpoints, pod) else {
                return Ok(Err("there is no such endpoint".into()));
            };
            let has = endpoint.pointer("/status/identity/labels").and_then(Value::as_array);
            let has: Vec<&str> = has.into_iter().flatten().filter_map(Value::as_str).collect();
            let all = labels.iter().all(|label| has.contains(&label.as_str()));
            let ready = endpoint.pointer("/status/state").and_then(Value::as_str) == Some("ready");
            Ok(if all && ready { Ok(()) } else { Err(has.join(" ")) })
        })
    }
}

fn file_name(name: &str) -> Result<String, ManifestError> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
    if name.is_empty() || name.starts_with('.') || !name.bytes().all(good) {
        return Err(ManifestError::Name(name.into()));
    }
    Ok(format!("{name}.yaml"))
}

/// `revision` of `GET /policy`.
fn revision_of(policy: &Value) -> u64 {
    policy["revision"].as_u64().unwrap_or(0)
}

/// That the policies are newer than this.
fn newer(policy: &Value, before: u64) -> Result<(), String> {
    match revision_of(policy) {
        revision if revision > before => Ok(()),
        revision => Err(format!("revision {revision}")),
    }
}

/// What the agent says of a file that it cannot read: the failure of the controller that reads files.
fn refusal_of(health: &Value, file: &str) -> Option<String> {
    let controllers = health["controllers"].as_array()?;
    let failures = controllers.iter().filter_map(|c| c.pointer("/status/last-failure-msg")?.as_str());
    failures.filter(|said| said.contains(file)).map(String::from).next()
}

/// The first endpoint that is not ready or has not this revision, in words.
fn behind(endpoints: &Value, revision: u64) -> Option<String> {
    let all = endpoints.as_array()?;
    all.iter().find_map(|endpoint| {
        let realized = endpoint.pointer("/status/policy/realized/policy-revision").and_then(Value::as_u64);
        let state = endpoint.pointer("/status/state").and_then(Value::as_str).unwrap_or("without a state");
        let id = &endpoint["id"];
        match realized {
            Some(realized) if realized >= revision && state == "ready" => None,
            realized => Some(format!("endpoint {id} is {state} at revision {realized:?} of {revision}")),
        }
    })
}

/// The endpoint of a pod.
fn endpoint_of<'a>(endpoints: &'a Value, pod: &PodName) -> Option<&'a Value> {
    let name = format!("{}/{}", pod.namespace, pod.name);
    endpoints.as_array()?.iter().find(|endpoint| {
        endpoint.pointer("/status/external-identifiers/pod-name").and_then(Value::as_str) == Some(&name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_cannot_leave_its_directory() {
        assert_eq!(file_name("allow-web.v2").unwrap(), "allow-web.v2.yaml");
        for name in ["", "../x", ".hidden", "a/b", "a b"] {
            assert!(file_name(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_endpoint_is_behind_until_it_is_ready_with_the_revision() {
        let endpoint = |state: &str, revision: u64| json!([{"id": 7, "status": {"state": state, "policy": {"realized": {"policy-revision": revision}}}}]);
        assert_eq!(behind(&endpoint("ready", 3), 3), None);
        assert!(
            behind(&endpoint("ready", 2), 3).unwrap().contains("endpoint 7 is ready at revision Some(2)")
        );
        assert!(behind(&endpoint("regenerating", 3), 3).unwrap().contains("regenerating"));
        assert!(behind(&json!([{"id": 7}]), 1).unwrap().contains("None"));
        assert_eq!(behind(&json!([]), 1), None);
    }

    #[test]
    fn a_file_that_the_agent_cannot_read_is_found_among_its_controllers() {
        let health = json!({"controllers": [
            {"name": "a", "status": {}},
            {"name": "files", "status": {"last-failure-msg": "/run/x/policy/web.yaml: no such field"}},
        ]});
        assert_eq!(
            refusal_of(&health, "/web.yaml").as_deref(),
            Some("/run/x/policy/web.yaml: no such field")
        );
        assert_eq!(refusal_of(&health, "/db.yaml"), None);
        assert_eq!(refusal_of(&Value::Null, "/web.yaml"), None);
    }

    #[test]
    fn an_endpoint_is_found_by_namespace_and_name() {
        let endpoints = json!([{"id": 1, "status": {"external-identifiers": {"pod-name": "a/x"}}}]);
        let pod = |namespace: &str| PodName { namespace: namespace.into(), name: "x".into() };
        assert_eq!(endpoint_of(&endpoints, &pod("a")).unwrap()["id"], 1);
        assert!(endpoint_of(&endpoints, &pod("b")).is_none());
        assert!(endpoint_of(&Value::Null, &pod("a")).is_none());
    }

    #[test]
    fn a_mark_is_found_among_the_rules_and_not_taken_for_another() {
        let (first, second) = (Mark::new(), Mark::new());
        let policy = json!({"revision": 3, "policy": first.document()});
        assert!(first.is_in(&policy) && !second.is_in(&policy));
        assert!(!first.is_in(&Value::Null));
        assert_eq!(newer(&policy, 2), Ok(()));
        assert_eq!(newer(&policy, 3), Err("revision 3".into()));
    }

    #[test]
    fn documents_are_separated() {
        let text = documents(&[json!({"a": 1}), json!({"b": 2})]);
        assert_eq!(text, "---\n{\"a\":1}\n---\n{\"b\":2}\n");
    }
}
